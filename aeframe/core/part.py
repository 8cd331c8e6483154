"""Parts that declare what they need of each other and what they give each other."""

from __future__ import annotations

from collections.abc import Iterable, Set
from typing import Any, Literal, get_args

Word = Literal[
    # the input
    "corrupted input",  # training corrupts what the encoder reads
    "weighted elements",  # elements weigh differently in the reconstruction
    "even elements",  # elements weigh the same in the reconstruction
    "separate target",  # the data has targets, which are not the samples
    # the code
    "deterministic code",  # a code that is not drawn from a posterior
    "posterior",  # the code is drawn from a posterior
    "prior",  # new codes can be drawn, and log p(x) estimated
    "small code",  # fewer units than inputs
    "large code",  # more units than inputs
    "sparsity",  # few units are active at once
    "dormant units",  # it alone decides which units are dormant
    "revived units",  # dead units become active again
    "units in (0, 1)",
    "noisy code",  # training adds noise to each unit
    "rounded code",  # the code is rounded for entropy coding
    "dense inference",  # far more units are active in inference than in training
    # the loss
    "penalty",  # a term of the loss
    "objective",  # this term is a goal of training, so the loss picks the checkpoint
    "shrinkage",  # the term makes active units smaller
    "bounded means",  # the term bounds each unit's mean over the batch
    "insensitivity",  # the term makes the code insensitive to small changes of the input
    "weight decay",  # the term makes all weights smaller
    "derivatives",  # the derivative of each sample's code, and its gradient
    "derivatives of hidden layers",  # the same, but only where the network has hidden layers
    # layers and weights
    "hidden layers",
    "batch norm",
    "tied weights",
    "linear encoder",  # one linear layer
    "linear decoder",  # one linear layer
    "linear mean",  # the likelihood's mean is the decoder's output itself
    "linearized mean",  # the likelihood's mean has a slope, with which a linear path can start
    "own weights",  # each code unit has weights that serve it alone
    "shared weights",  # a code unit's weights serve at other positions as well
    "whole weights",  # weights that are changed in place, outside the optimizer
    "sharded weights",  # each process holds a piece of the weights
    "fixed norms",  # the decoder's columns keep their norms
]
"""The words in which parts declare what they need and give."""
WORDS: tuple[Word, ...] = get_args(Word)

FORMER: tuple[tuple[str, object, Literal["needs", "gives"], Word], ...] = (
    ("kind", "size", "gives", "small code"),
    ("kind", "corruption", "gives", "corrupted input"),
    ("kind", "activation", "gives", "dormant units"),
    ("kind", "revival", "gives", "revived units"),
    ("requires", "corruption", "needs", "corrupted input"),
    ("requires", "sparsity", "needs", "sparsity"),
    ("stochastic", True, "gives", "posterior"),
    ("sparse", True, "gives", "sparsity"),
    ("deterministic", True, "needs", "deterministic code"),
    ("unit_interval", "gives", "gives", "units in (0, 1)"),
    ("unit_interval", "needs", "needs", "units in (0, 1)"),
    ("unit_interval", "needs", "gives", "bounded means"),
    ("codes_as_trained", False, "gives", "dense inference"),
    ("penalises", True, "gives", "penalty"),
    ("blurs", True, "gives", "noisy code"),
    ("is_aim", True, "gives", "objective"),
    ("weighs", True, "gives", "weighted elements"),
    ("differentiates", "always", "needs", "derivatives"),
    ("differentiates", "deep", "needs", "derivatives of hidden layers"),
    ("single_layer", True, "needs", "linear encoder"),
    ("linear_decoder", True, "needs", "linear decoder"),
    ("linear_mean", True, "needs", "linear mean"),
    ("linear", True, "gives", "linear mean"),
    ("own_weights", True, "needs", "own weights"),
    ("shares_weights", True, "gives", "shared weights"),
    ("edits_weights", True, "needs", "whole weights"),
    ("fixes_norms", True, "gives", "fixed norms"),
)
"""Attributes with which classes of earlier versions declared the same."""
FORMER_OPTIONS = (
    *("codes_as_trained", "differentiates", "edits_weights", "fixes_norms", "linear_decoder"),
    *("own_weights", "single_layer", "weighs"),
)
"""Former flags that constructors of constraints could set."""


class Part:
    """A part of an autoencoder that declares its `needs` and what it `gives`, in words of `WORDS`.

    A class adds its own words to those of its bases. Both are checked when the class is made. Raises
    TypeError for an unknown word.
    """

    needs: Set[Word] = frozenset()
    gives: Set[Word] = frozenset()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        own = {
            name: set(_require_known(cls, name, getattr(cls, name))) for name in ("needs", "gives")
        }
        for flag, value, name, word in FORMER:
            if cls.__dict__.get(flag) == value:
                own[name].add(word)
        bases = [base for base in cls.__bases__ if issubclass(base, Part)]
        cls.needs = frozenset(own["needs"]).union(*(base.needs for base in bases))
        cls.gives = frozenset(own["gives"]).union(*(base.gives for base in bases))

    def declare(self, *, needs: Iterable[Word] = (), gives: Iterable[Word] = ()) -> None:
        """Add words that follow from this part's options. Call it in the constructor."""
        self.needs = self.needs | _require_known(type(self), "needs", needs)
        self.gives = self.gives | _require_known(type(self), "gives", gives)

    def reject_former_options(self) -> None:
        """Raise TypeError for a flag of earlier versions that the constructor set but did not declare."""
        for flag, value, name, word in FORMER:
            if flag not in FORMER_OPTIONS or word in getattr(self, name):
                continue
            found = vars(self).get(flag)
            if isinstance(found, type(value)) and found == value:
                cls = type(self).__name__
                raise TypeError(
                    f"{cls}.{flag}: {value!r} has no effect if the constructor sets it. "
                    f"Write self.declare({name}=[{word!r}]) instead."
                )


def _require_known(cls: type, name: str, words: Iterable[Word]) -> Set[Word]:
    """Return the words as a set. Raises TypeError if one is unknown."""
    given: list[Any] = [words] if isinstance(words, str) else list(words)
    unknown = [word for word in given if word not in WORDS]
    if unknown or isinstance(words, str):
        what = f"unknown words {unknown}" if unknown else f"expected a set, {{{words!r}}}"
        raise TypeError(f"{cls.__name__}.{name}: {what}. Known: {', '.join(WORDS)}.")
    return frozenset(given)
