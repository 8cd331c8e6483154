"""A rule of the doctor: what it sees of a run, and what it answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from aeframe.constraints import Constraint
from aeframe.constraints.constrained import ConstrainedAutoencoder
from aeframe.core.part import Word
from aeframe.core.plain import flatten
from aeframe.data import DataModule
from aeframe.evaluation.card import Card
from aeframe.monitoring.doctor.suggestions import Override, first_valid

BEGUN = 100
"""Optimizer steps of which something can be expected."""


@dataclass(frozen=True)
class Finding:
    """The answer of one rule. seen: with its numbers, and since when. epoch: in which it was said.

    remedy: the override to try, as it is typed, where one is valid for this run. longer: it is to train on.
    """

    rule: str
    epoch: int
    seen: str
    remedy: str | None
    longer: bool = False

    def __str__(self) -> str:
        return f"Doctor: {self.seen}." + (f" Try: {self.remedy}" if self.remedy else "")

    def in_the_end(self, command: str | None) -> str:
        """Say it when training is over, with the whole command to try."""
        return f"Doctor: {self.seen}." + (f" Try: {command}" if command else "")

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {"rule": self.rule, "epoch": self.epoch, "seen": self.seen, "try": self.remedy}


@dataclass(frozen=True)
class Patient:
    """What does not change in a run. node: its configuration."""

    node: Mapping[str, Any]
    net: ConstrainedAutoencoder
    data: DataModule

    @property
    def units(self) -> int:
        """Of the code."""
        return self.net.model.latent_dim

    def remedy(self, *candidates: Override | None) -> str | None:
        """The first of these that the configuration's check accepts for this run, as it is typed."""
        found = first_valid(self.node, [c for c in candidates if c is not None])
        return None if found is None else str(found)

    def scaled(self, key: str, factor: float) -> Override | None:
        """That key with its present value times the factor; None where it has no number.

        Rounded to a whole number where the key takes no other, and not where 1 was typed for 1.0.
        """
        value: Any = self.node
        for name in key.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        scaled = Override(key, float(f"{value * factor:.2g}"))
        if isinstance(value, int) and first_valid(self.node, [scaled]) is None:
            return Override(key, max(1, round(value * factor)))
        return scaled

    def longer(self) -> Override | None:
        """Twice as much training, in what ends it: as the command to train on says it."""
        steps = self.node["trainer"].get("max_steps")
        is_limit = isinstance(steps, int) and steps > 0
        return self.scaled(f"trainer.{'max_steps' if is_limit else 'max_epochs'}", 2)

    def more_constraints(self, *names: str) -> Override:
        """The run's constraints and these."""
        given = list(self.node["constraint"] or {})
        return Override("constraint", [*given, *(name for name in names if name not in given)])

    def options_of(self, option: str, word: Word) -> list[str]:
        """List the keys of this option, of the run's constraints that give the word and whose `trades` name
        the option.
        """
        chosen = (
            name for name, part in self.net.parts if word in part.gives and option in part.trades
        )
        return [f"constraint.{name}.{option}" for name in chosen]

    @property
    def penalties(self) -> list[str]:
        """The constraints that hold the network back by a term of the loss."""
        return [n for n, part in self.net.parts if _holds_back(part)]

    @property
    def cycles(self) -> bool:
        """Whether a weight of the loss goes up and down by itself."""
        return any(key.endswith(".schedule") and v == "cyclic" for key, v in flatten(self.node))


def _holds_back(part: Constraint) -> bool:
    return "penalty" in part.gives and "revived units" not in part.gives


class Vitals(NamedTuple):
    """What is known at the end of a validation.

    epoch: from 1. steps: of the optimizer. val: the validation's metrics. start: the loss of the first step
    of all, that of the mean image. loss, gradient_norm: means of what was logged since the validation
    before; None where nothing was. waiting: likewise, the share of time; waited: the seconds in all.
    saturated: see aeframe/doctor/saturation.py. samples: in which dead units were looked for. told: the rules
    that have spoken.
    """

    epoch: int
    steps: int
    val: Mapping[str, float]
    start: float | None = None
    loss: float | None = None
    gradient_norm: float | None = None
    waiting: float | None = None
    waited: float = 0.0
    saturated: Mapping[str, float] = {}
    samples: int = 0
    told: frozenset[str] = frozenset()

    @property
    def has_begun(self) -> bool:
        """Check whether there were steps enough for something to be learned."""
        return self.steps >= BEGUN and (self.epoch >= 3 or self.steps >= 10 * BEGUN)


class Rule(ABC):
    """One thing that may ail a run, told once when `patience` validations in a row have shown it.

    Its attributes but the patient are numbers or None, and what it says follows from them: a checkpoint
    keeps them.
    """

    name: ClassVar[str]
    patience: ClassVar[int] = 3

    def __init__(self, patient: Patient) -> None:
        self.patient = patient
        self.since: int | None = None  # the epoch in which it began
        self.shown = 0  # in so many validations
        self.spoke: int | None = None  # the epoch

    def look(self, vitals: Vitals) -> bool:
        """Whether there is something to say now."""
        if self.spoke is not None:
            return False
        if not self.shows(vitals):
            self.since, self.shown = None, 0
            return False
        if self.since is None:
            self.since = vitals.epoch
        self.shown += 1
        if self.shown < self.patience:
            return False
        self.spoke = vitals.epoch
        return True

    def finding(self) -> Finding | None:
        """What was said, if anything."""
        if self.spoke is None:
            return None
        remedy, longer = self.remedy(), self.patient.longer()
        return Finding(self.name, self.spoke, self.seen(), remedy, remedy == str(longer))

    def review(self, card: Card, epoch: int, steps: int) -> None:
        """Take back what the final card contradicts, and say what it alone shows, as of a short run."""
        verdict = self.verdict(card)
        if verdict is False:
            self.spoke = None
        elif verdict and self.spoke is None and steps >= BEGUN:
            self.spoke = epoch

    def verdict(self, card: Card) -> bool | None:
        """Judge by the final card alone, whose numbers then are what is said; None where it says nothing."""
        return None

    @property
    def begun(self) -> str:
        """Since when it was seen, as the end of a sentence."""
        return "" if self.since is None else f", since epoch {self.since}"

    def state_dict(self) -> dict[str, float | None]:
        """What it remembers, by name."""
        return {name: value for name, value in vars(self).items() if name != "patient"}

    @abstractmethod
    def shows(self, vitals: Vitals) -> bool:
        """Whether this validation shows it."""

    @abstractmethod
    def seen(self) -> str:
        """What was seen: a sentence without its full stop."""

    @abstractmethod
    def remedy(self) -> str | None:
        """The override to try."""
