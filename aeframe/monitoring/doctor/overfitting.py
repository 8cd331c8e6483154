"""Rules on over-fitting: of few training samples, and of many."""

from __future__ import annotations

from aeframe.monitoring.doctor.rule import Patient, Rule, Vitals

MORE = "More data helps most"


class Overfitting(Rule):
    """Rule on over-fitting: the validation loss rose above its best by a twentieth of all progress,
    while the training loss fell by as much, and the validation error rose by a fiftieth, or by more than
    chance where validation samples are few.
    """

    name = "overfitting"
    patience = 5
    waits = True  # the best weights are kept
    share, rise = 0.05, 0.02
    spread = 0.5  # of the change of one sample's error beside the mean error; measured on tables: 0.25 to 1.1

    def __init__(self, patient: Patient) -> None:
        super().__init__(patient)
        self.best: float | None = None
        self.best_epoch = 0
        self.best_error = 0.0
        self.train_at_best: float | None = None
        self.train: float | None = None  # running average with weight 1/2
        self.val = 0.0

    def is_responsible(self) -> bool:
        """Check whether this rule reports over-fitting for so many samples."""
        return not self.patient.has_few_samples

    def has_symptom(self, vitals: Vitals) -> bool:
        self.val = vitals.val["loss"]
        if vitals.loss is not None:
            self.train = vitals.loss if self.train is None else (self.train + vitals.loss) / 2
        if self.best is None or self.val < self.best:
            self.best, self.best_epoch = self.val, vitals.epoch
            self.best_error = vitals.val["mse"]
            losses = [loss for loss in (vitals.loss, self.train) if loss is not None]
            self.train_at_best = min(losses, default=None)  # an average lags behind a falling loss
        if self.train is None or self.train_at_best is None or vitals.start is None:
            return False
        margin = max(0.0, self.share * (vitals.start - self.best))  # 0 if it began as PCA
        rises = self.val > self.best + margin
        chance = self.spread / max(1, len(self.patient.data.splits["val"])) ** 0.5
        worse = vitals.val["mse"] > (1 + max(self.rise, chance)) * self.best_error
        shown = rises and worse and self.train < self.train_at_best - margin
        return shown and self.is_responsible()

    def describe_symptom(self) -> str:
        return f"over-fitting: {self._describe_losses()}"

    def _describe_losses(self) -> str:
        return (
            f"after epoch {self.best_epoch}, the best, the validation loss rose from "
            f"{self.best or 0.0:.5g} to {self.val:.5g} nats, while the training loss fell from "
            f"{self.train_at_best or 0.0:.5g} to {self.train or 0.0:.5g}"
        )

    def suggest_remedy(self) -> str | None:
        return None  # the best weights are kept; no single option was measured to help


class FewSamples(Overfitting):
    """Rule on over-fitting of few training samples. More samples help most. A lower learning rate helps where
    training began as PCA: the best epoch comes after a few steps.
    """

    name = "few_samples"

    def is_responsible(self) -> bool:
        return self.patient.has_few_samples

    def describe_symptom(self) -> str:
        why = f"over-fitting, as {self.patient.counted_samples} are few"
        return f"{why}: {self._describe_losses()}. {MORE}"

    def suggest_remedy(self) -> str | None:
        return self.patient.choose_remedy(*self.patient.suggest_for_few_samples())
