"""Choices that clash, with the reason and what to write instead."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from aeframe.config.clashes import (
    CLASHES,
    DRAWN,
    LACKS,
    MODEL_CLASHES,
    MODEL_LACKS,
    NOTES,
    Clash,
    Lack,
)
from aeframe.config.options import MATMUL
from aeframe.config.result import Parts
from aeframe.constraints import Constraint
from aeframe.core.errors import Problem
from aeframe.core.part import Word
from aeframe.core.plain import as_mapping
from aeframe.models import Autoencoder
from aeframe.models.likelihoods import Likelihood
from aeframe.networks import Network


@dataclass(frozen=True)
class Choices:
    """Chosen parts and settings. variant: the model's name as it is typed; options: its YAML.

    constraints: by name; with wrong options only the class, so that its pairs are still checked.
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
    has_target: bool = False

    @property
    def written(self) -> str:
        """Write the constraints as they are typed."""
        return f"constraint=[{','.join(self.constraints)}]"

    @cached_property
    def given(self) -> dict[Word, list[str]]:
        """Map each given word to the constraints that give it: an empty list if another part does."""
        others = set(self.model.gives)
        # an unknown likelihood is not judged
        others |= {"linear mean"} if self.likelihood is None else self.likelihood.gives
        if self.network is not None:
            others |= self.network.gives | self.network.layout
        if self.has_target:
            others.add("separate target")
        if self.strategy == "fsdp":
            others.add("sharded weights")
        found: dict[Word, list[str]] = {word: [] for word in others}
        for name, part in self.constraints.items():
            for word in part.gives:
                found.setdefault(word, []).append(name)
        return found

    def list_words(self, part: Constraint | type[Constraint]) -> Set[Word]:
        """Return what a constraint gives, and what it needs in this network."""
        deep = "derivatives of hidden layers" in part.needs and "hidden layers" in self.given
        return part.gives | part.needs | ({"derivatives"} if deep else set())

    @property
    def suited(self) -> Iterator[tuple[str, Set[Word]]]:
        """Yield the constraints that suit the model's code, with their words."""
        for name, part in self.constraints.items():
            if not self.are_clashing(DRAWN, part.needs):
                yield name, self.list_words(part)

    def are_clashing(self, clash: Clash, words: Set[Word]) -> bool:
        """Check whether a part with these words clashes with another."""
        return not (words.isdisjoint(clash.words) or self.given.keys().isdisjoint(clash.others))

    def find_clashes(self, clash: Clash, name: str, words: Set[Word]) -> Iterator[Problem]:
        """Yield a problem for each part that clashes with the named one, which has these words."""
        if not self.are_clashing(clash, words):
            return
        word = next(word for word in clash.others if word in self.given)
        for giver in self.given[word] or [""]:
            yield self.build_problem(clash.where, clash.what, clash.remedy, name, words, giver)

    def find_lacks(self, lack: Lack, name: str, words: Set[Word]) -> Iterator[Problem]:
        """Yield a problem if no part gives what the named one needs."""
        if lack.word in words and self.given.keys().isdisjoint((lack.word, *lack.instead)):
            yield self.build_problem("{written}", lack.what, lack.remedy, name, words)

    def build_problem(
        self, where: str, what: str, remedy: str, name: str, words: Set[Word], giver: str = ""
    ) -> Problem:
        """Fill in a message."""
        filled = {
            "name": name,
            "giver": giver,
            "variant": self.variant,
            "suited": "model=sparse" if "sparsity" in words else "model=undercomplete",
            "written": self.written,
        }
        return Problem(*(text.format(**filled) for text in (where, what, remedy)))


def collect_choices(
    node: dict[str, Any],
    parts: Parts,
    model: type[Autoencoder],
    size: int | None,
    *,
    has_target: bool,
) -> Choices:
    """Collect the choices. size: of a batch, if known. has_target: the data has targets beside samples."""
    return Choices(
        variant=model.__name__.lower(),
        model=model,
        options=node["model"],
        constraints={**parts.classes, **parts.constraints},
        network=parts.made.get("network"),
        likelihood=parts.made.get("likelihood"),
        normalization=str(as_mapping(node["dataset"]).get("normalization")),
        strategy=str(as_mapping(node["hardware"]).get("strategy")),
        precision=str(as_mapping(node["trainer"]).get("precision")),
        batch_size=size,
        has_target=has_target,
    )


def list_pair_problems(choices: Choices) -> list[Problem]:
    """List every illegal pair among the choices."""
    rules = (
        _check_model,
        _check_constraints,
        _check_activations,
        _check_unit_interval,
        _check_network,
        _check_start,
        _check_precision,
        _check_data,
    )
    return [problem for rule in rules for problem in rule(choices)]


def list_pair_notes(choices: Choices) -> list[Problem]:
    """List choices that are legal, but redundant or likely to work badly."""
    return list(_find_redundant(choices))


def _find_redundant(c: Choices) -> Iterator[Problem]:
    for name, part in c.constraints.items():
        for note in NOTES:
            yield from list(c.find_clashes(note, name, part.gives))[:1]
        if "bounded means" in part.gives and "weight decay" not in c.given:
            what = (
                "it bounds only the mean of each unit: small changes around rho can carry everything to a "
                "decoder with large weights"
            )
            yield Problem(c.written, what, "Add l2, and look at the copy check.")
        if isinstance(part, Constraint) and c.batch_size is not None:
            note_of_batch = part.note(c.batch_size)
            if note_of_batch is not None:
                yield Problem(f"dataset.batch_size={c.batch_size}", note_of_batch)


def _check_model(c: Choices) -> Iterator[Problem]:
    words = c.model.needs_with(c.options)
    for lack in MODEL_LACKS:
        yield from c.find_lacks(lack, c.variant, words)
    for clash in MODEL_CLASHES:
        yield from c.find_clashes(clash, c.variant, words)


def _check_constraints(c: Choices) -> Iterator[Problem]:
    for name, part in c.constraints.items():
        yield from c.find_clashes(DRAWN, name, part.needs | part.gives)
    for name, words in c.suited:
        for lack in LACKS:
            yield from c.find_lacks(lack, name, words)
        for clash in CLASHES:
            yield from c.find_clashes(clash, name, words)


def _check_activations(c: Choices) -> Iterator[Problem]:
    names = c.given.get("dormant units", [])
    if len(names) > 1:
        what = f"{' and '.join(names)} each decide alone which units are dormant"
        yield Problem(c.written, what, f"Keep one of them, e.g. constraint={names[0]}.")


def _check_unit_interval(c: Choices) -> Iterator[Problem]:
    parts = c.constraints
    for name, part in parts.items():
        if "units in (0, 1)" not in part.needs:
            continue
        for other in c.given.get("dormant units", []):
            if "units in (0, 1)" not in parts[other].gives:
                what = f"{name} needs units in (0, 1), but {other} does not give them"
                yield Problem(c.written, what, f"Write constraint={name}, or [sigmoid,{name}].")
            elif list(parts).index(other) > list(parts).index(name):
                what = f"{other} comes after {name}, which would penalize other units"
                yield Problem(c.written, what, f"Write constraint=[{other},{name}].")


def _check_precision(c: Choices) -> Iterator[Problem]:
    if "sharded weights" in c.given and c.precision not in ("32-true", *MATMUL):
        what = "hardware=fsdp would round the normalization and the thresholds as well"
        yield Problem(f"trainer.precision={c.precision}", what, "Write trainer.precision=32-true.")


def _check_network(c: Choices) -> Iterator[Problem]:
    if "tied weights" not in c.given:
        return
    if c.model.heads > 1:
        what = f"model={c.variant} has {c.model.heads} encoder outputs for each unit to tie to"
        yield Problem("network.tied=true", what, "Write network.tied=false.")
    for name in c.given.get("fixed norms", []):
        for decay in c.given.get("weight decay", []):
            what = f"{decay} cannot decay tied weights, because {name} fixes their norms"
            other_form = f"constraint.{name}.form=norm_weighted"
            yield Problem(c.written, what, f"Leave {decay} out, or write {other_form}.")


def _check_data(c: Choices) -> Iterator[Problem]:
    if "batch norm" in c.given and c.batch_size == 1:
        what = "norm=batch needs at least two samples to compute a variance"
        yield Problem("dataset.batch_size=1", what, "Write 2 or more, or network.norm=layer.")
    if c.likelihood is None:
        return
    if c.likelihood.scales_columns and c.normalization in ("unit", "rms"):
        name = type(c.likelihood).__name__.lower()
        what = f"gives all columns one scale, but likelihood={name} needs one for each"
        remedy = "Write dataset.normalization=standard, or likelihood=gaussian."
        yield Problem(f"dataset.normalization={c.normalization}", what, remedy)
    if c.normalization not in ("standard", "rms", "rank"):
        return
    low, high = c.likelihood.support
    if math.isfinite(low) or math.isfinite(high):
        name = type(c.likelihood).__name__.lower()
        what = f"gives values outside [{low:g}, {high:g}], which likelihood={name} cannot take"
        remedy = "Write dataset.normalization=unit, or likelihood=gaussian."
        yield Problem(f"dataset.normalization={c.normalization}", what, remedy)


def explain_no_pca(c: Choices) -> str | None:
    """Explain why a network cannot start as principal component analysis; None if it can."""
    bends = ["units in (0, 1)", "dormant units", "sparsity", "noisy code"]
    if c.has_target:
        return "the target is not the input"
    if "tied weights" in c.given:
        return "the decoder has no weights of its own"
    if c.given.keys().isdisjoint(("linear mean", "linearized mean")):
        return "the likelihood's mean is not linear in the decoder's output"
    if "shared weights" in c.given:
        return "this network shares its weights among positions"
    pairs = c.model.pairs_components and "linear mean" in c.given
    if pairs and "hidden layers" not in c.given:
        del bends[1:]
    found = next((word for word in bends if word in c.given), None)
    return None if found is None else f"the code is not linear ({found})"


def _check_start(c: Choices) -> Iterator[Problem]:
    if c.network is not None and c.network.start == "pca" and (why := explain_no_pca(c)):
        yield Problem("network.start=pca", why, "Write network.start=random, or auto.")
