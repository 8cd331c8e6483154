"""The loop: one LightningModule for every variant and every constraint."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.optim import Optimizer

from aeframe.constrained import ConstrainedAutoencoder
from aeframe.constraints.base import Step
from aeframe.data import Batch
from aeframe.errors import TrainingError, UserError
from aeframe.metrics import Metrics
from aeframe.models.base import Output
from aeframe.noise import Noise, mix
from aeframe.schedules import Clock

MakeOptimizer = Callable[[Any], Optimizer]
MakeScheduler = Callable[[Optimizer], Any]


class AutoencoderModule(pl.LightningModule):
    """Trains a constrained autoencoder; knows no variant and no constraint.

    peak: the width of the data's range. seed: all randomness is a function of it, the epoch, the batch
    and the rank. scheduler_options: Lightning's (`interval`, `monitor`, ...).
    hyperparameters: plain data, saved in every checkpoint.
    """

    def __init__(
        self,
        net: ConstrainedAutoencoder,
        *,
        peak: float,
        seed: int,
        optimizer: MakeOptimizer,
        scheduler: MakeScheduler | None = None,
        scheduler_options: Mapping[str, Any] | None = None,
        hyperparameters: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.net, self.seed = net, seed
        self.metrics = Metrics(net, peak)
        self._optimizer, self._scheduler = optimizer, scheduler
        self._scheduler_options = dict(scheduler_options or {})
        self._images, self._since = 0, time.perf_counter()
        self.save_hyperparameters(dict(hyperparameters or {}), logger=False)

    def clock(self, step: int) -> Clock:
        """So many optimizer steps, and the epochs that they make."""
        # Lightning steps on what is left of the last window of an epoch, too
        batches = math.ceil(
            self.trainer.num_training_batches / self.trainer.accumulate_grad_batches
        )
        return Clock(step, step / max(batches, 1))

    def noise(self, *key: int | str, rows: int | None = None) -> Noise:
        """The share of this rank in the random numbers of one moment. rows: of the global batch."""
        rank, world = self.global_rank, self.trainer.world_size
        return Noise(self.seed, *key, rank=rank, world=world, rows=rows)

    def configure_optimizers(self) -> Any:
        trained = [p for p in self.net.parameters() if p.requires_grad]
        optimizer = self._optimizer(trained)
        if self._scheduler is None:
            return optimizer
        scheduler = self._scheduler(optimizer)
        self._check_length(scheduler)
        options = {"scheduler": scheduler, **self._scheduler_options}
        return {"optimizer": optimizer, "lr_scheduler": options}

    def _check_length(self, scheduler: Any) -> None:
        """A schedule of fixed length fails when training goes on after its end."""
        per_step = self._scheduler_options.get("interval") == "step"
        steps = self.trainer.estimated_stepping_batches if per_step else self.trainer.max_epochs
        total = getattr(scheduler, "total_steps", None)
        if total is not None and steps is not None and total < steps:
            what = f"ends after {total} of training's {steps:g} {'steps' if per_step else 'epochs'}"
            raise UserError(
                "scheduler.total_steps", what, f"Write scheduler.total_steps={steps:g}."
            )

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        noise = self.noise("train", self.current_epoch, batch_idx)
        torch.manual_seed(mix(*noise.key, self.global_rank))  # dropout draws from the global stream
        self.net.clock = self.clock(self.global_step)
        output = self.net(self.net.normalization(batch.x), noise=noise)
        with torch.no_grad():
            self.net.observe(output)
        self._images += len(batch.x)
        if self._logs_this_step():
            self._log_step(output)
        elif self.device.type == "cpu":  # elsewhere it would wait for the device at each step
            self._check_finite(output)
        return output.loss

    def _logs_this_step(self) -> bool:
        """Whether the logger writes after this batch (Lightning counts it before it asks)."""
        done = self.trainer.fit_loop.epoch_loop._batches_that_stepped
        return (done + 1) % self.trainer.log_every_n_steps == 0  # type: ignore[attr-defined]

    def _log_step(self, output: Output) -> None:
        self._check_finite(output)
        now = time.perf_counter()
        rate = self._images * self.trainer.world_size / (now - self._since)
        self._images, self._since = 0, now
        values: dict[str, Any] = {"train/loss": output.loss, "train/images_per_second": rate}
        for name, term in output.terms.items():
            values[f"train/{name}"] = term.value
            values[f"train/{name}_weighted"] = term.value * term.weight
        if self.net.is_sparse:
            values["train/dormant"] = 1 - output.code.active.float().mean()
        values["train/learning_rate"] = self.trainer.optimizers[0].param_groups[0]["lr"]
        self.log_dict({name: _detached(value) for name, value in values.items()})

    def _check_finite(self, output: Output) -> None:
        if not bool(torch.isfinite(output.loss)):
            terms = {name: term.value.item() for name, term in output.terms.items()}
            self._refuse(output.loss.item(), terms, f"at step {self.global_step}")

    def _refuse(self, loss: float, terms: Mapping[str, float], when: str) -> None:
        bad = [name for name, value in terms.items() if not math.isfinite(value)]
        raise TrainingError(
            f"the loss became {loss} {when} (term: {', '.join(bad) or 'sum'}). "
            "Write a lower optimizer.lr, trainer.gradient_clip_val=1, or a smaller weight of the term."
        )

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        optimizer = self.trainer.optimizers[0]
        self.net.clock = clock = self.clock(self.global_step + 1)  # counted after this hook
        noise = Noise(self.seed, "after_step", self.global_step)
        for name, part in self.net.parts:
            stream = noise.stream(name)
            part.after_step(Step(self.net.model, optimizer, clock, stream, self.net.restart))

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        for _, part in self.net.parts:
            part.before_step(self.net.model)

    def on_train_epoch_start(self) -> None:
        self._images, self._since = 0, time.perf_counter()

    def on_validation_epoch_start(self) -> None:
        self.metrics.reset()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._evaluate(batch, "val", batch_idx)

    def on_validation_epoch_end(self) -> None:
        self._log_metrics("val")

    def on_test_epoch_start(self) -> None:
        self.metrics.reset()

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._evaluate(batch, "test", batch_idx)

    def on_test_epoch_end(self) -> None:
        self._log_metrics("test")

    def _evaluate(self, batch: Batch, split: str, batch_idx: int) -> None:
        """Clean and deterministic for the reconstruction; corrupted and sampled for the loss."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        noise = self.noise(split, batch_idx, rows=data.rows_of_batch(split, batch_idx))
        x = self.net.normalization(batch.x)
        clean = self.net(x, noise=noise, as_trained=False)
        random = self.net.corrupts or self.net.model.stochastic
        self.metrics.update(clean, self.net(x, noise=noise) if random else clean)

    def _log_metrics(self, split: str) -> None:
        found = self.metrics.compute()
        if not math.isfinite(found["loss"]):
            terms = {name: found[name] for name in self.net.term_names}
            self._refuse(found["loss"], terms, f"at step {self.global_step}, on the {split} split")
        values = {f"{split}/{name}": value for name, value in found.items()}
        values["step"] = float(self.global_step)  # Lightning would write it one step earlier
        self.log_dict(values, rank_zero_only=False, sync_dist=False)


def _detached(value: Any) -> Any:
    return value.detach() if isinstance(value, Tensor) else value
