"""Which choices do not go together, why, and what to write instead."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from aeframe.config.options import MATMUL
from aeframe.constraints import Constraint
from aeframe.core.errors import Problem
from aeframe.models import Autoencoder
from aeframe.models.likelihoods import Likelihood
from aeframe.networks import Network

SPARSE = "topk, batch_topk, winner_take_all, jump_relu, threshold, sigmoid, l1 or kl_sparsity"
CORRUPTIONS = "masking, gaussian_noise or salt_and_pepper"


@dataclass(frozen=True)
class Choices:
    """What was picked. variant: the model's name as it is typed; options: its YAML.

    constraints: by name; the class alone where its options are wrong, so that pairs are judged still.
    """

    variant: str
    model: type[Autoencoder]
    options: Mapping[str, Any]
    constraints: Mapping[str, Constraint | type[Constraint]]
    network: Network | None = None
    likelihood: Likelihood | None = None
    normalization: str = "auto"
    strategy: str = "auto"
    precision: str = "32-true"
    batch_size: int | None = None

    @property
    def written(self) -> str:
        """The constraints as they are typed."""
        return f"constraint=[{','.join(self.constraints)}]"

    @property
    def possible(self) -> dict[str, Constraint | type[Constraint]]:
        """The constraints that suit the model's code: of the others one thing is said, and no more."""
        drawn = self.model.stochastic
        return {n: p for n, p in self.constraints.items() if not (drawn and p.deterministic)}

    @property
    def differentiating(self) -> list[str]:
        """The names of those that differentiate twice in this network."""
        deep = self.network is not None and self.network.depth > 0
        kinds = ("always", "deep") if deep else ("always",)
        return [name for name, part in self.possible.items() if part.differentiates in kinds]

    def of_kind(self, kind: str) -> list[str]:
        """The names of the constraints of one kind."""
        return [name for name, part in self.constraints.items() if part.kind == kind]


def pair_problems(choices: Choices) -> list[Problem]:
    """Every illegal pair among the choices."""
    rules = (
        _required,
        _posterior,
        _activations,
        _unit_interval,
        _blurred,
        _size,
        _revival,
        _sharded,
        _network,
        _data,
    )
    return [problem for rule in rules for problem in rule(choices)]


def pair_notes(choices: Choices) -> list[Problem]:
    """What is legal, but redundant or likely to work badly."""
    return list(_redundant(choices))


def _redundant(c: Choices) -> Iterator[Problem]:
    corruptions = c.of_kind("corruption")
    for name, part in c.constraints.items():
        if name == "l1" and (active := c.of_kind("activation")):
            what = f"{active[0]} already says which units are active; l1 only shrinks them as well"
            yield Problem(c.written, what)
        if name == "contractive" and corruptions:
            what = (
                f"{corruptions[0]} already makes the code insensitive to small changes of the input"
            )
            yield Problem(c.written, what)
        if name == "kl_sparsity" and "l2" not in c.constraints:
            what = "it bounds means only: small changes around rho can carry all to a large decoder"
            yield Problem(c.written, what, "Add l2, and heed the copy check.")
        if isinstance(part, Constraint) and c.batch_size is not None:
            note = part.note(c.batch_size)
            if note is not None:
                yield Problem(f"dataset.batch_size={c.batch_size}", note)


def _required(c: Choices) -> Iterator[Problem]:
    if c.model.requires == "corruption" and not c.of_kind("corruption"):
        what = f"model={c.variant} needs a corrupted input, and nothing corrupts it"
        yield Problem(c.written, what, f"Add one of {CORRUPTIONS}.")
    if c.model.requires == "sparsity" and not any(p.sparse for p in c.constraints.values()):
        what = f"model={c.variant} needs few active units, and nothing makes the code sparse"
        yield Problem(c.written, what, f"Add one of {SPARSE}.")


def _posterior(c: Choices) -> Iterator[Problem]:
    if not c.model.stochastic:
        return
    for name, part in c.constraints.items():
        if part.deterministic:
            what = (
                f"acts on a code that is not drawn from a posterior, and model={c.variant} draws it"
            )
            model = "sparse" if part.sparse or part.kind == "revival" else "undercomplete"
            remedy = (
                f"Write model={model}, or one of bottleneck, l1, l2, contractive, {CORRUPTIONS}."
            )
            yield Problem(f"constraint={name}", what, remedy)


def _activations(c: Choices) -> Iterator[Problem]:
    names = c.of_kind("activation")
    if len(names) > 1:
        what = f"{' and '.join(names)} each decide alone which units are dormant"
        yield Problem(c.written, what, f"Keep one of them, e.g. constraint={names[0]}.")


def _unit_interval(c: Choices) -> Iterator[Problem]:
    parts = c.constraints
    for name, part in parts.items():
        if part.unit_interval != "needs":
            continue
        for other in c.of_kind("activation"):
            if parts[other].unit_interval != "gives":
                what = f"{name} needs units in (0, 1), and {other} gives others"
                yield Problem(c.written, what, f"Write constraint={name}, or [sigmoid,{name}].")
            elif list(parts).index(other) > list(parts).index(name):
                what = f"{other} comes after {name}, which would penalise other units"
                yield Problem(c.written, what, f"Write constraint=[{other},{name}].")


def _blurred(c: Choices) -> Iterator[Problem]:
    for name in (name for name, part in c.possible.items() if part.blurs):
        for other, part in c.possible.items():
            if part.kind == "activation" or part.unit_interval == "needs":
                what = f"{name} adds noise to each unit, and {other} says which are exactly 0 or 1"
                remedy = f"Write constraint={name}: what it makes small is rounded to 0."
                yield Problem(c.written, what, remedy)


def _size(c: Choices) -> Iterator[Problem]:
    names = c.of_kind("size")
    if names and c.model.requires == "sparsity" and not c.options.get("allow_undercomplete"):
        what = f"{names[0]} wants fewer units than inputs, and model={c.variant} more"
        remedy = "Write model=undercomplete, or model.allow_undercomplete=true."
        yield Problem(c.written, what, remedy)


def _revival(c: Choices) -> Iterator[Problem]:
    for name in c.of_kind("revival"):
        if name in c.possible and not any(part.sparse for part in c.constraints.values()):
            what = f"{name} revives units that a sparse constraint left dead, and there is none"
            yield Problem(c.written, what, f"Add one of {SPARSE}.")


def _sharded(c: Choices) -> Iterator[Problem]:
    if c.strategy != "fsdp":
        return
    for name, part in c.constraints.items():
        if part.edits_weights:
            what = f"{name} changes weights in place, which hardware=fsdp keeps in pieces"
            yield Problem(c.written, what, "Write hardware=ddp.")
        elif name in c.differentiating:
            what = f"{name} differentiates twice, which hardware=fsdp does not"
            yield Problem(c.written, what, "Write hardware=ddp.")
    if c.precision not in ("32-true", *MATMUL):
        what = "hardware=fsdp would round the normalisation and the thresholds as well"
        yield Problem(f"trainer.precision={c.precision}", what, "Write trainer.precision=32-true.")


def _network(c: Choices) -> Iterator[Problem]:
    network = c.network
    if network is None:
        return
    if network.tied and c.model.heads > 1:
        what = f"model={c.variant} has {c.model.heads} encoder outputs for each unit to tie to"
        yield Problem("network.tied=true", what, "Write network.tied=false.")
    for name, part in c.possible.items():
        if part.linear_decoder and network.depth:
            what = f"{name} needs a decoder of one linear layer"
            yield Problem(c.written, what, "Write network=linear.")
        if part.own_weights and network.shares_weights:
            what = f"{name} needs units with weights of their own, and this network shares them"
            yield Problem(c.written, what, "Write network=conv, or network=mlp.")
        if part.linear_mean and c.likelihood is not None and not c.likelihood.linear:
            what = f"{name} adds up reconstructions, and this likelihood's mean is not linear"
            yield Problem(c.written, what, "Write likelihood=gaussian.")
        if part.single_layer and (network.depth or c.model.stochastic):
            what = "the closed form holds for one linear layer, and not for a posterior"
            remedy = f"Write constraint.{name}.method=hutchinson, or network=linear."
            yield Problem(f"constraint.{name}.method=exact", what, remedy)
        if name in c.differentiating and network.norm == "batch":
            what = (
                f"{name} differentiates each sample's code by itself, and norm=batch mixes samples"
            )
            yield Problem("network.norm=batch", what, "Write network.norm=layer.")
        if part.weighs and c.options.get("objective") == "importance_weighted":
            what = f"with {name}'s emphasis the importance-weighted objective is no bound"
            yield Problem(
                f"constraint.{name}", what, "Write emphasis 1 and 1, or model.objective=elbo."
            )
        if part.fixes_norms and network.tied and "l2" in c.constraints:
            what = f"tied weights whose norms {name} holds, which l2 then cannot decay"
            yield Problem(
                c.written, what, f"Leave l2 out, or write constraint.{name}.form=norm_weighted."
            )


def _data(c: Choices) -> Iterator[Problem]:
    if c.network is not None and c.network.norm == "batch" and c.batch_size == 1:
        what = "norm=batch has no variance of one sample"
        yield Problem("dataset.batch_size=1", what, "Write 2 or more, or network.norm=layer.")
    if c.likelihood is None or c.normalization not in ("standard", "rms"):
        return
    low, high = c.likelihood.support
    if math.isfinite(low) or math.isfinite(high):
        name = type(c.likelihood).__name__.lower()
        what = f"gives values outside [{low:g}, {high:g}], which likelihood={name} cannot take"
        remedy = "Write dataset.normalization=unit, or likelihood=gaussian."
        yield Problem(f"dataset.normalization={c.normalization}", what, remedy)
