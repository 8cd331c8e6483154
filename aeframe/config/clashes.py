"""Two tables: parts that clash, and needs that another part must meet."""

from __future__ import annotations

from typing import NamedTuple

from aeframe.config.suggested_options import CONSTRAINTS, join_names
from aeframe.core.part import Word

SPARSE = join_names(CONSTRAINTS["sparsity"])
CORRUPTIONS = join_names(CONSTRAINTS["corrupted input"])


class Clash(NamedTuple):
    """A part that needs or gives one of `words`, beside a part that gives one of `others`.

    where, what, remedy: the message. {name} is the first part, {giver} the second, {variant} the model,
    {suited} another model, {written} the constraints as they are typed.
    """

    words: tuple[Word, ...]
    others: tuple[Word, ...]
    where: str
    what: str
    remedy: str


class Lack(NamedTuple):
    """A part that needs a word, which no part gives. The rest is the message, as in `Clash`.

    instead: other words, of which each makes up for it.
    """

    word: Word
    what: str
    remedy: str
    instead: tuple[Word, ...] = ()


MODEL_LACKS = (
    Lack(
        "corrupted input",
        "model={name} needs a corrupted input, but nothing corrupts it",
        f"Add one of {CORRUPTIONS}, or give pairs: dataset.target=FILE.",
        ("separate target",),
    ),
    Lack(
        "sparsity",
        "model={name} needs few active units, but nothing makes the code sparse",
        f"Add one of {SPARSE}.",
    ),
)
MODEL_CLASHES = (
    Clash(
        ("large code",),
        ("small code",),
        "{written}",
        "{giver} gives fewer units than inputs, but model={name} needs more",
        "Write model=undercomplete, or model.allow_undercomplete=true.",
    ),
    Clash(
        ("even elements",),
        ("weighted elements",),
        "constraint.{giver}",
        "{giver} weighs elements differently, but the importance-weighted bound needs equal weights",
        "Write an emphasis of 1 for all elements, or model.objective=elbo.",
    ),
)
DRAWN = Clash(
    ("deterministic code",),
    ("posterior",),
    "constraint={name}",
    "needs a deterministic code, but model={variant} draws its code from a posterior",
    f"Write {{suited}}, or one of bottleneck, l1, l2, contractive, {CORRUPTIONS}.",
)
"""A constraint with this clash gets no other message: it does not suit the model at all."""
CLASHES = (
    Clash(
        ("dormant units", "bounded means"),
        ("noisy code",),
        "{written}",
        "{giver} adds noise to each unit, but {name} makes some of them exactly 0 or 1",
        "Write constraint={giver}: what it makes small is rounded to 0.",
    ),
    Clash(
        ("whole weights",),
        ("sharded weights",),
        "{written}",
        "{name} changes weights in place, but hardware=fsdp splits them among processes",
        "Write hardware=ddp.",
    ),
    Clash(
        ("derivatives",),
        ("sharded weights",),
        "{written}",
        "{name} needs second derivatives, which hardware=fsdp does not support",
        "Write hardware=ddp.",
    ),
    Clash(
        ("weighted elements",),
        ("separate target",),
        "constraint.{name}",
        "{name} weighs the elements that it corrupts, but the target is not the input",
        "Write an emphasis of 1 for all elements.",
    ),
    Clash(
        ("rounded code",),
        ("separate target",),
        "{written}",
        "{name} is for compression, but the network writes a target that is not its input",
        "Leave {name} out, or dataset.target.",
    ),
    Clash(
        ("linear decoder",),
        ("hidden layers",),
        "{written}",
        "{name} needs a decoder of one linear layer",
        "Write network=linear.",
    ),
    Clash(
        ("own weights",),
        ("shared weights",),
        "{written}",
        "{name} needs units with weights of their own, but this network shares them",
        "Write network=conv, or network=mlp.",
    ),
    Clash(
        ("linear encoder",),
        ("hidden layers", "posterior"),
        "constraint.{name}.method=exact",
        "the closed form holds only for one linear layer without a posterior",
        "Write constraint.{name}.method=hutchinson, or network=linear.",
    ),
    Clash(
        ("derivatives",),
        ("batch norm",),
        "network.norm=batch",
        "{name} differentiates each sample's code by itself, but norm=batch mixes samples",
        "Write network.norm=layer.",
    ),
)
LACKS = (
    Lack(
        "sparsity",
        "{name} revives the dead units of a sparse code, but nothing makes the code sparse",
        f"Add one of {SPARSE}.",
    ),
    Lack(
        "linear mean",
        "{name} needs a likelihood whose mean is the decoder's output",
        "Write likelihood=gaussian.",
    ),
)
NOTES = (
    Clash(
        ("shrinkage",),
        ("dormant units",),
        "{written}",
        "{giver} already says which units are active; {name} only shrinks them as well",
        "",
    ),
    Clash(
        ("insensitivity",),
        ("corrupted input",),
        "{written}",
        "{giver} already makes the code insensitive to small changes of the input",
        "",
    ),
)
"""Legal pairs with a redundant part."""
