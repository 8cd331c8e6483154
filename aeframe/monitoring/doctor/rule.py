"""Rule: base class of the doctor's rules, with their input and their findings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from aeframe.config.suggested_options import MEASURED_NOISE
from aeframe.constraints.constrained import ConstrainedAutoencoder
from aeframe.core.part import Word
from aeframe.core.plain import as_mapping, flatten
from aeframe.data import DataModule
from aeframe.data.augmentation import CHANGES
from aeframe.evaluation.card import Card
from aeframe.monitoring.doctor.finding import Finding
from aeframe.monitoring.doctor.suggestions import Override, find_valid, has_option, load_option

BEGUN = 100
"""Optimizer steps after which results are judged."""
RATE, USUAL_RATE = "optimizer.lr", 1e-3
SLOW, FAST = 3e-4, 3e-3
"""Learning rates below and above which the usual one is suggested."""
FEW = 5_000
"""Number of training samples below which over-fitting is put down to their number."""
COLORS = 3
LEAST = 0.05
"""Explained variance below which nothing is learned."""
HEAVY = 10
"""Times the usual weight of a penalty from which the usual one is suggested."""


@dataclass(frozen=True)
class Patient:
    """Run under observation: everything that does not change in it. node: its configuration."""

    node: Mapping[str, Any]
    net: ConstrainedAutoencoder
    data: DataModule

    @property
    def units(self) -> int:
        """Return the number of code units."""
        return self.net.model.latent_dim

    @property
    def has_few_samples(self) -> bool:
        """Check whether training samples are few."""
        return self.data.spec.samples < FEW

    @property
    def counted_samples(self) -> str:
        """Count the training samples in words."""
        spec = self.data.spec
        return spec.nouns.count_samples(spec.samples, "training")

    @property
    def has_fewer_samples_than_values(self) -> bool:
        """Check for vectors of more values than there are training samples."""
        spec = self.data.spec
        return len(spec.shape) == 1 and spec.samples < spec.shape[0]

    @property
    def begins_as_pca(self) -> bool:
        """Check whether the first weights were those of PCA."""
        return bool(self.node["network"].get("start") == "pca")

    def suggest_measured_noise(self) -> Override | None:
        """Suggest a variance measured from the errors, where a variational model assumes a fixed one. Units
        that carry less than the assumed noise collapse (Lucas et al. 2019).
        """
        node = self.node["likelihood"]
        if not self.net.is_stochastic or isinstance(node.get("variance"), str):
            return None
        key = "likelihood.variance" if "variance" in node else "likelihood"
        return Override(key, "optimal" if "variance" in node else MEASURED_NOISE)

    def suggest_for_few_samples(self) -> list[Override | None]:
        """Suggest augmentation, or smaller steps from weights that are good from the beginning."""
        is_usual = self.rate >= USUAL_RATE  # once obeyed, it does not help again
        finer = self.suggest_slower() if self.begins_as_pca and is_usual else None
        return [self._suggest_augmentation(), finer]

    def _suggest_augmentation(self) -> Override | None:
        """Suggest to augment color images. Gray ones are mostly characters, which it does not help."""
        shape = self.data.spec.shape
        is_color = len(shape) == 3 and shape[0] == COLORS
        can_change = is_color and not self.data.augmentation.changes and not self.data.spec.target
        return Override("dataset.augment", list(CHANGES)) if can_change else None

    def choose_remedy(self, *candidates: Override | None) -> str | None:
        """Return the first candidate that is a valid override for this run, as typed."""
        found = find_valid(self.node, [c for c in candidates if c is not None])
        return None if found is None else str(found)

    def suggest_scaled(self, key: str, factor: float) -> Override | None:
        """Suggest a key's present value times the factor, or None if it is not a number.

        The value is rounded where the key takes whole numbers only.
        """
        value: Any = self.node
        for name in key.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        scaled = Override(key, float(f"{value * factor:.2g}"))
        if isinstance(value, int) and find_valid(self.node, [scaled]) is None:
            return Override(key, max(1, round(value * factor)))
        return scaled

    @property
    def rate(self) -> float:
        """Return the learning rate."""
        return float(self.node["optimizer"].get("lr", USUAL_RATE))

    def suggest_slower(self) -> Override | None:
        """Suggest a lower learning rate: Adam's usual one, or a third of the present one."""
        schedule = as_mapping(self.node["scheduler"])
        if isinstance(schedule.get("max_lr"), float):
            return self.suggest_scaled("scheduler.max_lr", 1 / 3)
        if self.rate > FAST and "Adam" in str(self.node["optimizer"].get("_target_")):
            return Override(RATE, USUAL_RATE)
        return self.suggest_scaled(RATE, 1 / 3)

    def suggest_longer(self) -> Override | None:
        """Suggest twice as much training, by the limit that ends it."""
        steps = self.node["trainer"].get("max_steps")
        is_limit = isinstance(steps, int) and steps > 0
        return self.suggest_scaled(f"trainer.{'max_steps' if is_limit else 'max_epochs'}", 2)

    def suggest_constraints(self, *names: str) -> Override:
        """Suggest the run's constraints and these."""
        given = list(self.node["constraint"] or {})
        return Override("constraint", [*given, *(name for name in names if name not in given)])

    def list_options(self, option: str, word: Word) -> list[str]:
        """List the keys of this option of constraints that give the word and name the option in `trades`."""
        chosen = (
            name for name, part in self.net.parts if word in part.gives and option in part.trades
        )
        return [f"constraint.{name}.{option}" for name in chosen]

    @property
    def penalties(self) -> list[str]:
        """List the constraints that add a penalty to the loss."""
        added = [(name, part) for name, part in self.net.parts if "penalty" in part.gives]
        return [name for name, part in added if "revived units" not in part.gives]

    def suggest_scaled_penalties(self, factor: float) -> list[Override | None]:
        """Suggest the weight of each of them times the factor."""
        return [self.suggest_scaled(f"constraint.{name}.weight", factor) for name in self.penalties]

    def suggest_lighter_penalties(self) -> list[Override | None]:
        """Suggest for each of them the usual weight if the present one is far heavier, else a tenth."""
        pairs = zip(self.suggest_usual_weights(), self.suggest_scaled_penalties(0.1), strict=True)
        return [usual or tenth for usual, tenth in pairs]

    def suggest_usual_weights(self) -> list[Override | None]:
        """Suggest for each of them the usual weight, or None if the present one is not far heavier."""
        return [self._suggest_usual_weight(name) for name in self.penalties]

    def _suggest_usual_weight(self, name: str) -> Override | None:
        options = self.node["constraint"][name]
        weight, is_relative = options.get("weight"), options.get("relative", True)
        if not (isinstance(weight, int | float) and is_relative and has_option("constraint", name)):
            return None
        usual = load_option("constraint", name).get("weight")
        is_heavy = isinstance(usual, int | float) and weight > HEAVY * usual
        return Override(f"constraint.{name}.weight", usual) if is_heavy else None

    @property
    def cycles(self) -> bool:
        """Check whether a weight of the loss follows a cyclic schedule."""
        return any(key.endswith(".schedule") and v == "cyclic" for key, v in flatten(self.node))


class Vitals(NamedTuple):
    """Measurements at the end of a validation.

    epoch: from 1. steps: of the optimizer. val: the validation's metrics. start: the loss of the first
    step, that of the mean image. loss, gradient_norm: means of the values logged since the previous
    validation, or None. waiting: the share of time, averaged in the same way; waited: seconds in all.
    saturated: see `saturation.py`. samples: number of samples in which dead units were counted. reported:
    names of the rules that have reported a finding.
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
    reported: frozenset[str] = frozenset()

    @property
    def has_begun(self) -> bool:
        """Check whether there were enough steps to learn something."""
        return self.steps >= BEGUN and (self.epoch >= 3 or self.steps >= 10 * BEGUN)


class Rule(ABC):
    """Base class of rules. A rule reports once, when `patience` validations in a row have shown its
    symptom.

    A report follows from the numbers among the attributes: checkpoints save them. name: for a rule of a
    plug-in that of its option.
    """

    name: str
    patience: ClassVar[int] = 3
    waits: ClassVar[bool] = False  # print the finding at the end of training alone

    def __init__(self, patient: Patient) -> None:
        self.patient = patient
        self.since: int | None = None  # first epoch with the symptom
        self.shown = 0  # number of validations with the symptom
        self.spoke: int | None = None  # epoch of the report
        self.healthy = 0  # last validations without the symptom, after the report

    def judge_validation(self, vitals: Vitals) -> bool:
        """Check a validation, and return whether there is a new finding."""
        if self.spoke is not None:
            self._count_healthy(vitals)
            return False
        if not self.has_symptom(vitals):
            self.since, self.shown = None, 0
            return False
        if self.since is None:
            self.since = vitals.epoch
        self.shown += 1
        if self.shown < self.patience:
            return False
        self.spoke = vitals.epoch
        return True

    def _count_healthy(self, vitals: Vitals) -> None:
        """Count the last validations without the symptom. The report's numbers stay as they are."""
        others = vitals._replace(reported=vitals.reported - {self.name})
        self.healthy = 0 if copy(self).has_symptom(others) else self.healthy + 1

    def build_finding(self) -> Finding | None:
        """Return the finding, if there is one."""
        if self.spoke is None:
            return None
        remedy, longer = self.suggest_remedy(), self.patient.suggest_longer()
        return Finding(
            self.name, self.spoke, self.describe_symptom(), remedy, remedy == str(longer)
        )

    def review(self, card: Card, epoch: int, steps: int) -> None:
        """Withdraw a finding that the last validations or the final card contradict, and add one that
        the card alone shows.
        """
        verdict = self.judge_card(card)
        learned = compute_explained(card) > LEAST  # else nothing has gone away
        has_healed = self.healthy >= self.patience and learned and not verdict
        if verdict is False or has_healed:
            self.spoke = None
        elif verdict and self.spoke is None and steps >= BEGUN:
            self.spoke = epoch

    def judge_card(self, card: Card) -> bool | None:
        """Judge by the final card alone, and keep its numbers; None if the card does not decide."""
        return None

    @property
    def begun(self) -> str:
        """Return the epoch of the first symptom as the end of a sentence."""
        return "" if self.since is None else f", since epoch {self.since}"

    def state_dict(self) -> dict[str, float | None]:
        """Return the numbers to save, by name."""
        return {k: v for k, v in vars(self).items() if v is None or isinstance(v, int | float)}

    @abstractmethod
    def has_symptom(self, vitals: Vitals) -> bool:
        """Check whether this validation shows the symptom."""

    @abstractmethod
    def describe_symptom(self) -> str:
        """Describe the symptom in a sentence without its full stop."""

    @abstractmethod
    def suggest_remedy(self) -> str | None:
        """Return the override to try."""


def compute_explained(card: Card) -> float:
    """Return the share of the mean image's error that the tested network removes."""
    return 1 - card.metrics["mse"] / max(card.baselines[0].mse, 1e-12)
