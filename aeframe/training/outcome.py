"""Outcome of a run, and the files that hold it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import pytorch_lightning as pl
from hydra.core.hydra_config import HydraConfig

from aeframe import codec
from aeframe.constraints.constrained import ConstrainedAutoencoder
from aeframe.core.files import write_atomically
from aeframe.core.schedules import Clock
from aeframe.core.strict_json import format_json
from aeframe.evaluation.metric_names import find_better
from aeframe.evaluation.tradeoffs import Trade
from aeframe.monitoring.dashboard.dashboard import Dashboard
from aeframe.monitoring.doctor.doctor import Doctor
from aeframe.monitoring.doctor.finding import Finding
from aeframe.monitoring.event_files import Curves
from aeframe.runs import model_file
from aeframe.training.attempt import Attempt
from aeframe.training.ending import count_epochs, explain_end, list_limits
from aeframe.training.hparams import select_choices, select_results
from aeframe.training.stopping import Until
from aeframe.training.testing import Tested

Callback = TypeVar("Callback", bound=pl.Callback)


@dataclass(frozen=True)
class Outcome:
    """Outcome of a finished run. end: last step and epoch. seconds: of this process. resumed: it continued
    a run.
    """

    attempt: Attempt
    tested: Tested
    end: Clock
    seconds: float
    resumed: bool = False

    @cached_property
    def findings(self) -> list[Finding]:
        """Findings of the doctor, from training and from the card. New ones are written to TensorBoard."""
        trainer = self.attempt.trainer
        return self._find_callback(Doctor).read(self.tested.card, trainer, self.tested.steps)

    @cached_property
    def result(self) -> dict[str, Any]:
        """Contents of evaluation.json."""
        built, trainer, best = self.attempt.built, self.attempt.trainer, self.attempt.best
        metric, validation = built.node["optimized_metric"], self.tested.validation
        until = self._find_callback(Until)
        return {
            **self.tested.card.as_dict(),
            "normalization": built.data.spec.normalization,
            "digest": built.data.as_dict()["digest"],
            "validation": validation,
            "optimized_metric": {
                "name": metric,
                "value": self.attempt.value,
                "direction": find_better(metric),
            },
            "trade": Trade.read_from(built.net, validation).as_dict() if validation else None,
            "weights": "last" if best.is_last else "best",
            "until": {"metric": until.wanted.metric, "reached": until.reached},
            "doctor": [finding.as_dict() for finding in self.findings],
            "epochs": count_epochs(self.end),
            "steps": trainer.global_step,
            "best_step": self.tested.steps,
            "ended_by": list_limits(trainer, self.end),
            "seconds": round(self.seconds, 2),
        }

    @property
    def length(self) -> str:
        """Describe the length of training, e.g. `12 epochs, 30 s`."""
        epochs = f"{self.result['epochs']} epoch{'' if self.result['epochs'] == 1 else 's'}"
        since = " since it was resumed" if self.resumed else ""
        return f"{epochs}, {self.seconds:.0f} s{since}"

    @property
    def improves(self) -> bool:
        """Check whether validation still improved when training ended."""
        doctor, steps = self._find_callback(Doctor), self.attempt.trainer.global_step
        return doctor.has_improved_late(self.tested.steps, steps)

    @property
    def chosen(self) -> Finding | None:
        """Finding whose remedy is the one command that is suggested; None without a remedy."""
        return next((found for found in self.findings if found.remedy is not None), None)

    @property
    def needs_longer(self) -> bool:
        """Check whether the one command that is suggested is to train longer."""
        return self.improves if self.chosen is None else self.chosen.longer

    @property
    def reasons(self) -> list[str]:
        """Sentences that explain an early end of training, and why the last weights are kept."""
        built = self.attempt.built
        ended = explain_end(self.attempt.trainer, self.end, built.training.max_time)
        kept = self._explain_last_weights()
        return ended if kept is None else [*ended, kept]

    def _explain_last_weights(self) -> str | None:
        best, changing = self.attempt.best, self.attempt.built.net.changing
        if best.best_model_score is None:
            return "The last weights are kept: nothing was validated (dataset.val_fraction=0)."
        if not best.is_last or not changing:
            return None
        keys, their = " and ".join(changing), "its" if len(changing) == 1 else "their"
        what = f"at no validation had {keys} reached {their} final value"
        return f"The last weights are kept, not the best: {what}."

    def _find_callback(self, kind: type[Callback]) -> Callback:
        return next(c for c in self.attempt.built.callbacks if isinstance(c, kind))

    def log_choices(self) -> None:
        """Log the choices and the results for TensorBoard's HParams, and the card as text."""
        built, trainer, card = self.attempt.built, self.attempt.trainer, self.tested.card
        assert isinstance(trainer.logger, Curves)
        hydra = HydraConfig.get() if HydraConfig.initialized() else None
        typed = map(str, hydra.overrides.task) if hydra else ()
        chosen = select_choices(built.module.hparams, built.net.model.latent_dim, typed)
        results = select_results(card, built.node["optimized_metric"], self.attempt.value)
        trainer.logger.write_columns(chosen | results)
        self._find_callback(Dashboard).write_card(trainer, card)
        trainer.logger.close()


def write_results(folder: Path, outcome: Outcome, net: ConstrainedAutoencoder) -> str | None:
    """Write the model, its codec if it has one, and evaluation.json, which marks the run as finished.

    net: with the best weights. Returns a sentence if the codec had to be changed.
    """
    built, result, changed = outcome.attempt.built, outcome.result, None
    outcome.log_choices()  # the last to write into the event file
    model_file.save(folder, net, built.node, built.data, outcome.tested.card.metrics)
    outcome.tested.errors.save(folder)
    if net.step is not None:
        changed = codec.save(folder, codec.calibrate(model_file.load(folder), built.data))
    with write_atomically(folder / "evaluation.json") as file:
        file.write(f"{format_json(result)}\n".encode())
    outcome.attempt.delivery.finish(result)
    return changed
