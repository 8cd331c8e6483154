"""Options of until, early_stopping, checkpoint, divergence, dashboard, hardware, trainer and scheduler."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from aeframe.core.bounds import Above, AtLeast, AtMost, Below

Count = Annotated[int, AtLeast(1)]
Share = Annotated[float, Above(0), AtMost(1)]
Precision = Literal["32-true", "high", "medium", "bf16-mixed", "16-mixed", "64-true"]
MATMUL = ("high", "medium")
"""Values of torch.set_float32_matmul_precision. All other precisions use `highest`."""


@dataclass(frozen=True, kw_only=True)
class UntilOptions:
    """The level of a validation metric at which training may stop.

    metric: e.g. val/mse, or null for never. at_most, at_least: the level; one of them.
    """

    metric: str | None = None
    at_most: float | None = None
    at_least: float | None = None

    def __post_init__(self) -> None:
        if self.metric is not None and (self.at_most is None) == (self.at_least is None):
            raise ValueError("write either until.at_most or until.at_least beside until.metric")
        if self.metric is None and not self.at_most is self.at_least is None:
            raise ValueError("a level needs until.metric, e.g. until.metric=val/mse")

    @property
    def level(self) -> str:
        """Format the wanted level for a person."""
        sign, limit = ("<=", self.at_most) if self.at_least is None else (">=", self.at_least)
        return f"{self.metric} {sign} {limit:g}" if limit is not None else ""

    def is_reached_by(self, value: float) -> bool:
        """Check whether this value of the metric is good enough."""
        low = self.at_most is None or value <= self.at_most
        high = self.at_least is None or value >= self.at_least
        return low and high


@dataclass(frozen=True, kw_only=True)
class EarlyStoppingOptions:
    """Options of early stopping: training stops when optimized_metric has not improved by min_delta in
    `patience` validations (null: never; auto: a quarter of the epochs where trainer.max_epochs is auto).
    Validations in the first `warmup_epochs` do not count.
    """

    patience: Annotated[int, AtLeast(1)] | Literal["auto"] | None = None
    min_delta: Annotated[float, AtLeast(0)] = 0.0
    warmup_epochs: Annotated[int, AtLeast(0)] = 0


@dataclass(frozen=True, kw_only=True)
class WarmStart:
    """Options of a warm start: the first weights are those of a trained network.

    run: the folder of a run, or a file with its weights; null: random weights; a list: each run was trained
    on the codes of the one before, and all together are the layers of the network. normalization: `keep` that
    of the run, or `refit` it to this data. identity: the SHA-256 of that network; `auto`: that of the run,
    which is saved. Another network is refused.
    """

    run: str | list[str] | None = None
    normalization: Literal["keep", "refit"] = "keep"
    identity: str | None = "auto"

    def __post_init__(self) -> None:
        if self.run == []:
            raise ValueError("init_from.run names no run; write init_from.run=outputs/DAY/RUN")
        if isinstance(self.run, list) and self.normalization == "refit":
            raise ValueError("the layers of several runs need init_from.normalization=keep")

    @property
    def runs(self) -> list[str]:
        """List the runs."""
        return [] if self.run is None else [self.run] if isinstance(self.run, str) else self.run


@dataclass(frozen=True, kw_only=True)
class DivergenceOptions:
    """Options for a loss that diverges: it is NaN, or more than explodes_at times the first step's (or times
    one nat for each element if that is more). Training then ends. Up to `retries` times in a run it goes
    back to the last checkpoint instead, and multiplies the learning rate by lr_factor, under any schedule.
    """

    retries: Annotated[int, AtLeast(0)] = 0
    lr_factor: Annotated[float, Above(0), Below(1)] = 0.5
    explodes_at: Annotated[float, Above(1)] = 1e6


@dataclass(frozen=True, kw_only=True)
class CheckpointOptions:
    """Options of checkpoints. every_minutes: the training time that a crash may cost. A checkpoint to
    resume from is written this often, and before everything that may end training.
    """

    every_minutes: Annotated[float, AtLeast(0)] = 1.0


@dataclass(frozen=True, kw_only=True)
class DashboardOptions:
    """Options of the dashboard. images: validation samples that are drawn each time; 0 for no pictures.
    every_n_epochs: how often they are drawn at first; later whenever the number of epochs has
    doubled, and at the end. All but reconstructions, samples and code wait for 5,000 steps or the end.

    Each of the others turns a part off. A part is drawn only where it has a meaning:
    reconstructions: input, corrupted input, reconstruction and error of the same samples each time.
    extremes: the same of the samples that are reconstructed worst and best. corruptions: each of several
    alone, with its reconstruction. filters: weights of the first and the last layer.
    samples, traversal, interpolation, kl: for a code with a posterior: images from the prior, the effect of
    each unit, images between two samples, and the nats of each unit.
    units: for a sparse code, the most used units with the samples that activate each most, and how often all
    are active.
    code: histograms of its values. projection: its principal components and, of a long training, t-SNE,
    colored by label. projector: files for TensorBoard's projector. text: configuration, command, results.
    """

    images: Annotated[int, AtLeast(0)] = 8
    every_n_epochs: Annotated[int, AtLeast(1)] = 5
    reconstructions: bool = True
    extremes: bool = True
    corruptions: bool = True
    filters: bool = True
    samples: bool = True
    traversal: bool = True
    interpolation: bool = True
    kl: bool = True
    units: bool = True
    code: bool = True
    projection: bool = True
    projector: bool = True
    text: bool = True


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """The keys of `hardware`. They are those of Lightning's Trainer that say where it runs, and threads of
    the CPU. accelerator: `auto` is a GPU where there is one. threads: `auto` is one thread for small
    networks, else all cores that other jobs of the sweep leave.
    """

    accelerator: Literal["cpu", "gpu", "auto"] = "cpu"
    devices: Count | list[Annotated[int, AtLeast(0)]] | Literal["auto"] = 1
    strategy: Literal["auto", "ddp", "ddp_find_unused_parameters_true", "fsdp"] = "auto"
    num_nodes: Count = 1
    sync_batchnorm: bool = False
    threads: Count | Literal["auto"] = "auto"

    @property
    def processes(self) -> int | None:
        """Return the number of processes that train together, if it is written."""
        return self.devices * self.num_nodes if isinstance(self.devices, int) else None


@dataclass(frozen=True, kw_only=True)
class Training:
    """The keys of `trainer`. They are those of Lightning's Trainer that aeframe does not set itself (null
    leaves Lightning's default), and our own: the precisions `high` and `medium`, 32-true whose matrix
    products may be rounded (MATMUL); steps_per_call, see training/speed/steps_ahead.py; compile, by
    torch.compile; log_every_n_steps, see training/scalars.py.
    """

    precision: Precision | None = None
    max_epochs: Count | Literal["auto"] | None = None
    min_epochs: Count | None = None
    max_steps: Count | None = None
    min_steps: Count | None = None
    max_time: str | None = None
    limit_train_batches: Count | Share | None = None
    limit_val_batches: Count | Share | None = None
    limit_test_batches: Count | Share | None = None
    val_check_interval: Count | Share | None = None
    check_val_every_n_epoch: Count = 1
    accumulate_grad_batches: Count = 1
    gradient_clip_val: Annotated[float, Above(0)] | None = None
    gradient_clip_algorithm: Literal["norm", "value"] | None = None
    log_every_n_steps: Count = 20
    deterministic: bool | Literal["warn"] = False
    benchmark: bool | None = None
    detect_anomaly: bool = False
    steps_per_call: Count | Literal["auto"] = "auto"
    compile: bool = False
    profiler: Literal["simple", "advanced", "pytorch"] | None = None


@dataclass(frozen=True, kw_only=True)
class SchedulerOptions:
    """The keys of `scheduler` that are Lightning's, not the class's. monitor: for ReduceLROnPlateau, whose
    frequency is by default that of the validations.
    """

    interval: Literal["epoch", "step"] = "epoch"
    frequency: Count = 1
    monitor: str | None = None
