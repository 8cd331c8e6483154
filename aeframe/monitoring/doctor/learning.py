"""Rules on learning: a wrong learning rate, and no learning."""

from __future__ import annotations

from aeframe.evaluation.card import Card
from aeframe.monitoring.doctor.rule import (
    FAST,
    LEAST,
    RATE,
    SLOW,
    USUAL_RATE,
    Patient,
    Rule,
    Vitals,
    compute_explained,
)
from aeframe.monitoring.doctor.suggestions import Override

UNRELATED = {"data_waiting"}
"""Rules that do not explain a failure to learn."""


class LearningRate(Rule):
    """Rule on a learning rate that is too high: the error exceeds that of the mean image, or jumps
    repeatedly, or gradients explode while it grows.

    Jumps are measured by explained_variance, which does not depend on weights or schedules of the
    loss.
    """

    name = "learning_rate"
    patience = 2
    worse, jump, jumps, explosion = 0.1, 0.1, 3, 100.0

    def __init__(self, patient: Patient) -> None:
        super().__init__(patient)
        # how often explained_variance fell by a jump; whether it fell in the last validation
        self.fell = self.falling = 0
        self.first_fall = 0
        # at the last validation, and the best so far; 0 is the mean image's
        self.explained = self.best = 0.0
        self.norm = self.least_norm = 0.0  # of the gradient, likewise
        self.is_worse = 0  # whether the last validation was worse than the mean image

    def has_symptom(self, vitals: Vitals) -> bool:
        before, self.explained = self.explained, vitals.val["explained_variance"]
        self.best = max(self.best, self.explained)
        falls = self.explained < before - self.jump
        if falls and not self.falling:  # a long decline counts once, as under a heavy penalty
            self.fell += 1
            self.first_fall = self.first_fall or vitals.epoch
        self.falling = int(falls)
        self.norm = vitals.gradient_norm or self.norm
        self.least_norm = min(self.least_norm, self.norm) if self.least_norm else self.norm
        jumps = self.fell >= self.jumps and not self.patient.cycles
        self.is_worse = int(self._is_worse(vitals))
        shown = bool(self.is_worse) or jumps or self._explodes
        return shown and "saturated_output" not in vitals.reported

    def _is_worse(self, vitals: Vitals) -> bool:
        """Check whether the network is worse than the mean image and the loss above its start."""
        loss, start = vitals.loss, vitals.start
        rises = loss is not None and start is not None and loss > start
        return rises and self.explained < -self.worse

    @property
    def _explodes(self) -> bool:
        grows = self.explained < self.best - self.jump
        return grows and self.norm > self.explosion * self.least_norm

    def describe_symptom(self) -> str:
        if self.is_worse:
            return (
                f"training makes the error grow: since epoch {self.since} it is above that of the mean "
                f"image, now {1 - self.explained:.3g} times as large"
            )
        if self.fell >= self.jumps:
            return (
                f"the validation error jumps: {self.fell} times since epoch {self.first_fall} it rose by "
                "more than a tenth of the data's variance"
            )
        return (
            f"the gradient's norm explodes: {self.norm:.3g} since epoch {self.since}, after "
            f"{self.least_norm:.3g}, and the error grows"
        )

    def judge_card(self, card: Card) -> bool | None:
        """Return False if the best checkpoint beats the mean image."""
        if not self.is_worse:
            return None
        self.explained = compute_explained(card)
        return False if self.explained > LEAST else None

    def suggest_remedy(self) -> str | None:
        return self.patient.choose_remedy(
            self.patient.suggest_slower(), Override("trainer.gradient_clip_val", 1.0)
        )


class MeanImage(Rule):
    """Rule on no learning: the reconstruction is no better than the mean image, whose squared error is
    the variance of the data. It is silent if another rule explains it.
    """

    name = "mean_image"

    def __init__(self, patient: Patient) -> None:
        super().__init__(patient)
        self.explained = self.best = 0.0

    def has_symptom(self, vitals: Vitals) -> bool:
        self.explained = vitals.val["explained_variance"]
        self.best = max(self.best, self.explained)
        varies = vitals.val["mse"] > 1e-9
        learned = self.best > LEAST
        return varies and vitals.has_begun and not learned and not vitals.reported - UNRELATED

    def describe_symptom(self) -> str:
        return (
            f"nothing is learned: the reconstruction explains {max(self.explained, 0.0):.1%} of the "
            f"variance, no more than the data's mean would{self.begun}"
        )

    def judge_card(self, card: Card) -> bool | None:
        self.explained = compute_explained(card)
        return False if self.explained > LEAST else None

    def suggest_remedy(self) -> str | None:
        rate = self.patient.rate
        usual = rate > FAST and not self.patient.penalties
        return self.patient.choose_remedy(
            Override(RATE, USUAL_RATE) if rate < SLOW else None,
            self.patient.suggest_slower() if usual else None,
            *self.patient.suggest_lighter_penalties(),
            self.patient.suggest_slower() if rate > FAST else None,
            self.patient.suggest_longer(),
            self.patient.suggest_scaled("optimizer.lr", 10.0),
        )
