"""Doctor: a callback that applies rules to each validation and reports what they find."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.trainer.states import TrainerFn

from aeframe.core.errors import UserError
from aeframe.evaluation.card import Card
from aeframe.evaluation.metrics import COUNTED
from aeframe.monitoring.doctor.code_units import Collapse, DeadUnits
from aeframe.monitoring.doctor.end_of_training import SPREADS, find_in_card
from aeframe.monitoring.doctor.finding import Finding
from aeframe.monitoring.doctor.learning import UNRELATED, LearningRate, MeanImage
from aeframe.monitoring.doctor.overfitting import FewSamples, Overfitting
from aeframe.monitoring.doctor.rule import Patient, Rule, Vitals
from aeframe.monitoring.doctor.saturation import SaturatedOutput, SaturatedUnits, measure_saturation
from aeframe.monitoring.doctor.waiting import DataWaiting
from aeframe.monitoring.sharding import is_sharded

RULES: tuple[type[Rule], ...] = (
    *(Collapse, DeadUnits, SaturatedOutput, SaturatedUnits, LearningRate),
    *(MeanImage, FewSamples, Overfitting, DataWaiting),
)
"""Rules in the order in which they report: of several for one cause, the first reports."""
IMPROVES = 0.9
"""Share of the steps; if the best validation is later, training still improves."""
EXACT = {"loss": "train/loss", "gradient_norm": "vitals/gradient_norm"}
"""Tags of the values averaged between validations and kept in checkpoints; none depends on time."""


@dataclass(frozen=True)
class Signs:
    """Measurements of a training run.

    listeners: called with the logged values of each step, by tag. first_loss: the loss of the first
    step, or None before it. waited: seconds that training has waited for batches.
    """

    listeners: list[Callable[[Mapping[str, float]], None]]
    first_loss: Callable[[], float | None]
    waited: Callable[[], float]


class Doctor(pl.Callback):
    """Callback that reports each finding once, in the terminal and in TensorBoard; training steps
    cost no more.

    findings: all that were reported. on: whether to report at all. added: rules of plug-ins, by name.
    """

    def __init__(
        self,
        patient: Patient,
        signs: Signs,
        *,
        on: bool,
        added: Mapping[str, Callable[[Patient], Rule]] | None = None,
    ) -> None:
        self.patient, self.signs, self.on = patient, signs, on
        self.rules = [rule(patient) for rule in RULES]
        for name, make in (added or {}).items():
            self.rules.append(_make_rule(name, make, patient))
        self.sums = {name: Mean() for name in EXACT}
        self.waiting = Mean()
        self.last: list[Finding] = []  # findings of the card
        self.validated = 0  # steps before the last validation of this process

    @property
    def findings(self) -> list[Finding]:
        """List the findings in the order of their epochs; those on speed stand last."""
        found = [finding for rule in self.rules if (finding := rule.build_finding()) is not None]
        return sorted(found + self.last, key=lambda one: (one.rule in UNRELATED, one.epoch))

    def state_dict(self) -> dict[str, Any]:
        state = {
            f"{rule.name}.{name}": value
            for rule in self.rules
            for name, value in rule.state_dict().items()
        }
        for name, mean in self.sums.items():
            state |= {f"{name}.total": mean.total, f"{name}.count": mean.count}
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for rule in self.rules:
            for name in rule.state_dict():
                setattr(rule, name, state_dict.get(f"{rule.name}.{name}", getattr(rule, name)))
        for name, mean in self.sums.items():
            mean.total, mean.count = state_dict[f"{name}.total"], state_dict[f"{name}.count"]

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.on and trainer.is_global_zero:
            self.signs.listeners.append(self.collect)

    def collect(self, values: Mapping[str, float]) -> None:
        """Take the logged values of a step."""
        for name, mean in self.sums.items():
            mean.add(values[EXACT[name]])
        self.waiting.add(values["vitals/data_waiting"])

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        fits = trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking
        self.validated = trainer.global_step if fits else self.validated
        if not (fits and self.on and trainer.is_global_zero):
            return
        vitals = self._measure_vitals(trainer)
        for rule in self.rules:
            if rule.judge_validation(vitals):
                finding = rule.build_finding()
                assert finding is not None
                if not rule.waits:
                    print(finding, flush=True)
                self._write(finding, trainer)
                vitals = vitals._replace(reported=vitals.reported | {rule.name})

    def _measure_vitals(self, trainer: pl.Trainer) -> Vitals:
        metrics = trainer.callback_metrics.items()
        means = {name: mean.take_mean() for name, mean in self.sums.items()}
        return Vitals(
            epoch=trainer.current_epoch + 1,
            steps=trainer.global_step,
            val={k.removeprefix("val/"): float(v) for k, v in metrics if k.startswith("val/")},
            start=self.signs.first_loss(),
            loss=means["loss"],
            gradient_norm=means["gradient_norm"],
            waiting=self.waiting.take_mean(),
            waited=self.signs.waited(),
            saturated={} if is_sharded(trainer) else measure_saturation(self.patient),
            samples=min(COUNTED, self.patient.data.spec.samples),
            reported=frozenset(rule.name for rule in self.rules if rule.spoke is not None),
        )

    def _write(self, finding: Finding, trainer: pl.Trainer) -> None:
        """Write a finding to TensorBoard."""
        for logger in trainer.loggers:
            assert isinstance(logger, TensorBoardLogger)
            logger.experiment.add_text(f"doctor/{finding.rule}", str(finding), trainer.global_step)

    def has_improved_late(self, best_step: int, steps: int) -> bool:
        """Check whether the best validation is the last one, or lies in the last tenth of training."""
        return best_step > IMPROVES * (self.validated or steps)

    def read(self, card: Card, trainer: pl.Trainer, best_step: int) -> list[Finding]:
        """Return the findings that the card confirms, and those of the card itself, for the closing
        lines.

        best_step: of the tested checkpoint.
        """
        if not self.on:
            return []
        epoch, steps = max(1, trainer.current_epoch), trainer.global_step
        before = {finding.rule for finding in self.findings}
        for rule in self.rules:
            rule.review(card, epoch, steps)
        improves = self.has_improved_late(best_step, steps)
        has_others = bool(self.findings)
        self.last = list(find_in_card(card, self.patient, epoch, steps, improves, has_others))
        if any(finding.rule == SPREADS for finding in self.last):
            for rule in self.rules:
                rule.spoke = rule.spoke if rule.name in UNRELATED else None
        for finding in self.findings:
            if finding.rule not in before:
                self._write(finding, trainer)
        return self.findings


def _make_rule(name: str, make: Callable[[Patient], Rule], patient: Patient) -> Rule:
    """Make a rule of a plug-in, with the name of its option."""
    if name in (rule.name for rule in RULES):
        raise UserError(f"rules.{name}", "the doctor has a rule of this name", "Rename its option.")
    try:
        rule = make(patient)
    except ValueError as error:
        raise UserError(f"rules.{name}", str(error)) from error
    rule.name = name
    return rule


class Mean:
    """Mean of the finite numbers that were added since the last reset."""

    def __init__(self) -> None:
        self.total, self.count = 0.0, 0

    def add(self, value: float) -> None:
        """Add a number."""
        if math.isfinite(value):
            self.total, self.count = self.total + value, self.count + 1

    def take_mean(self) -> float | None:
        """Return the mean, or None without numbers, and reset it."""
        mean = self.total / self.count if self.count else None
        self.total, self.count = 0.0, 0
        return mean
