"""Rules on learning: a wrong learning rate, no learning, over-fitting."""

from __future__ import annotations

from collections.abc import Mapping

from aeframe.config.suggested_options import CONSTRAINTS
from aeframe.evaluation.card import Card
from aeframe.monitoring.doctor.rule import Patient, Rule, Vitals
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
        shown = self._is_worse(vitals) or jumps or self._explodes
        return shown and "saturated_output" not in vitals.told

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
        error = 1 - self.explained
        if error > 1 + self.worse:
            return (
                f"training makes the error grow: since epoch {self.since} it is above that of the mean "
                f"image, now {error:.3g} times as large"
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
        """Return False where the best checkpoint beats the mean image."""
        told_worse = 1 - self.explained > 1 + self.worse
        return False if told_worse and compute_explained(card) > MeanImage.least else None

    def suggest_remedy(self) -> str | None:
        return self.patient.choose_remedy(
            slow_down(self.patient), Override("trainer.gradient_clip_val", 1.0)
        )


class MeanImage(Rule):
    """Rule on no learning: the reconstruction is no better than the mean image, whose squared error
    is the variance of the data. It is silent where another rule explains it.
    """

    name = "mean_image"
    least = 0.05  # explained_variance

    def __init__(self, patient: Patient) -> None:
        super().__init__(patient)
        self.explained = 0.0

    def has_symptom(self, vitals: Vitals) -> bool:
        self.explained = vitals.val["explained_variance"]
        varies = vitals.val["mse"] > 1e-9
        learned = self.explained > self.least
        return varies and vitals.has_begun and not learned and not vitals.told - UNRELATED

    def describe_symptom(self) -> str:
        return (
            f"nothing is learned: the reconstruction explains {max(self.explained, 0.0):.1%} of the "
            f"variance, no more than the data's mean would{self.begun}"
        )

    def judge_card(self, card: Card) -> bool | None:
        return False if compute_explained(card) > self.least else None

    def suggest_remedy(self) -> str | None:
        rate = self.patient.node["optimizer"].get("lr", 1e-3)
        usual = rate > 3e-3 and not self.patient.penalties
        return self.patient.choose_remedy(
            Override("optimizer.lr", 1e-3) if rate < 3e-4 else None,
            slow_down(self.patient) if usual else None,
            *self.patient.suggest_scaled_penalties(0.1),
            slow_down(self.patient) if rate > 3e-3 else None,
            self.patient.suggest_longer(),
            self.patient.suggest_scaled("optimizer.lr", 10.0),
        )


class Overfitting(Rule):
    """Rule on over-fitting: the validation loss rose above its best by a twentieth of all progress,
    while the training loss fell by as much.
    """

    name = "overfitting"
    patience = 5
    share = 0.05

    def __init__(self, patient: Patient) -> None:
        super().__init__(patient)
        self.best: float | None = None
        self.best_epoch = 0
        self.train_at_best: float | None = None
        self.train: float | None = None  # running average with weight 1/2
        self.val = 0.0

    def has_symptom(self, vitals: Vitals) -> bool:
        self.val = vitals.val["loss"]
        if vitals.loss is not None:
            self.train = vitals.loss if self.train is None else (self.train + vitals.loss) / 2
        if self.best is None or self.val < self.best:
            self.best, self.best_epoch = self.val, vitals.epoch
            losses = [loss for loss in (vitals.loss, self.train) if loss is not None]
            self.train_at_best = min(losses, default=None)  # an average lags behind a falling loss
        if self.train is None or self.train_at_best is None or vitals.start is None:
            return False
        margin = self.share * (vitals.start - self.best)
        rises = self.val > self.best + margin
        return margin > 0 and rises and self.train < self.train_at_best - margin

    def describe_symptom(self) -> str:
        return (
            f"over-fitting: since epoch {self.best_epoch} the validation loss rose from "
            f"{self.best or 0.0:.5g} to {self.val:.5g} nats, while the training loss fell from "
            f"{self.train_at_best or 0.0:.5g} to {self.train or 0.0:.5g}"
        )

    def suggest_remedy(self) -> str | None:
        stops = self.patient.node["early_stopping"].get("patience") is not None
        return self.patient.choose_remedy(
            None if stops else Override("early_stopping.patience", 5),
            self.patient.suggest_constraints(CONSTRAINTS["corrupted input"][0]),
            self.patient.suggest_scaled("model.latent_dim", 0.5),
            self.patient.suggest_constraints(CONSTRAINTS["weight decay"][0]),
        )


def compute_explained(card: Card) -> float:
    """Return the share of the mean image's error that the tested network removes."""
    return 1 - card.metrics["mse"] / max(card.baselines[0].mse, 1e-12)


def slow_down(patient: Patient) -> Override | None:
    """Suggest a third of the learning rate, or of the highest rate of a schedule."""
    schedule = patient.node["scheduler"]
    if isinstance(schedule, Mapping) and isinstance(schedule.get("max_lr"), float):
        return patient.suggest_scaled("scheduler.max_lr", 1 / 3)
    return patient.suggest_scaled("optimizer.lr", 1 / 3)
