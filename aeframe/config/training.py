"""What may be written under hardware, trainer, optimizer and scheduler."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from inspect import unwrap
from typing import Annotated, Any, Literal

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from aeframe.config.classes import keys, options_of, resolve
from aeframe.config.signature import problems
from aeframe.config.torch_classes import library_class, make_scheduler, scheduler_class
from aeframe.core.bounds import Above, AtLeast, AtMost
from aeframe.core.durations import is_duration
from aeframe.core.errors import Problem

Count = Annotated[int, AtLeast(1)]
Share = Annotated[float, Above(0), AtMost(1)]
Precision = Literal["32-true", "high", "medium", "bf16-mixed", "16-mixed", "64-true"]
FUSED = (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD)
FLAT = (torch.optim.LBFGS,)
"""Optimizers that take all gradients as one vector, and so weights in the usual layout only."""
MATMUL = ("high", "medium")
"""Of torch.set_float32_matmul_precision; `highest` belongs to all other precisions."""
CLUSTERS = {"MASTER_ADDR", "SLURM_JOB_ID", "LSB_JOBID", "OMPI_COMM_WORLD_SIZE"}
"""Variables one of which is there where processes on several machines find each other."""
MOST_WORKERS = 8
"""For each core: those that wait for a disk leave it to others."""


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """The keys of `hardware`: those of Lightning's Trainer that say where it runs, and threads: of the
    CPU; `auto`: one for small networks, else all cores that other jobs of the sweep leave.
    """

    accelerator: Literal["cpu", "gpu"] = "cpu"
    devices: Count | list[Annotated[int, AtLeast(0)]] | Literal["auto"] = 1
    strategy: Literal["auto", "ddp", "ddp_find_unused_parameters_true", "fsdp"] = "auto"
    num_nodes: Count = 1
    sync_batchnorm: bool = False
    threads: Count | Literal["auto"] = "auto"

    @property
    def processes(self) -> int | None:
        """The number of processes that train together, where it is written."""
        return self.devices * self.num_nodes if isinstance(self.devices, int) else None


@dataclass(frozen=True, kw_only=True)
class Training:
    """The keys of `trainer`: those of Lightning's Trainer that aeframe does not set itself (null leaves
    Lightning's default), and our own: the precisions `high` and `medium`, 32-true whose matrix products
    may be rounded (MATMUL); steps_per_call: see aeframe/pace.py; compile: through torch.compile;
    cuda_graph: see aeframe/graph.py; log_every_n_steps: see aeframe/scalars.py.
    """

    precision: Precision | None = None
    max_epochs: Count | None = None
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
    cuda_graph: bool = False
    profiler: Literal["simple", "advanced", "pytorch"] | None = None


@dataclass(frozen=True, kw_only=True)
class SchedulerOptions:
    """The keys of `scheduler` that are Lightning's, not the class's; monitor: for ReduceLROnPlateau, whose
    frequency is by default that of the validations.
    """

    interval: Literal["epoch", "step"] = "epoch"
    frequency: Count = 1
    monitor: str | None = None


def trainer_arguments(node: Mapping[str, Any]) -> dict[str, Any]:
    """What Lightning's Trainer gets; a key of `trainer` beats the same of `hardware`."""
    merged = {**node["hardware"], **node["trainer"]}
    if merged.get("precision") in MATMUL:
        merged["precision"] = "32-true"
    ours = ("threads", "steps_per_call", "compile", "cuda_graph", "log_every_n_steps")
    given = {k: v for k, v in merged.items() if v is not None and k not in ours}
    return {**given, "log_every_n_steps": 0}  # Lightning writes no step: aeframe/scalars.py does


def optimizer_arguments(
    optimizer: Mapping[str, Any], cls: type, clips_mixed: bool
) -> dict[str, Any]:
    """What the class gets: as written, and its fused form where that is well-kept and none was chosen.

    clips_mixed: whether gradients are clipped in mixed precision, which Lightning refuses of fused forms.
    """
    given = options_of(optimizer)
    choices = {"foreach", "fused", "differentiable"}
    chosen = any(given.get(key) for key in choices) or "fused" in given
    if clips_mixed or chosen or cls not in FUSED:
        return given
    return {**given, "fused": True}


def length_problems(trainer: Mapping[str, Any]) -> list[Problem]:
    """What makes a run that never ends, or that ends before it should."""
    epochs, every = trainer.get("max_epochs"), trainer.get("check_val_every_n_epoch", 1)
    if all(trainer.get(key) is None for key in ("max_epochs", "max_steps", "max_time")):
        what = "nothing says when training ends"
        return [Problem("trainer.max_epochs=null", what, "Write trainer.max_epochs=20.")]
    limit = trainer.get("max_time")
    if isinstance(limit, str) and not is_duration(limit):
        remedy = "Write DAYS:HOURS:MINUTES:SECONDS, e.g. '00:01:30:00' in quotes."
        return [Problem(f"trainer.max_time={limit}", "is no length of time", remedy)]
    for unit in ("epochs", "steps"):
        least, most = (trainer.get(f"{which}_{unit}") for which in ("min", "max"))
        if isinstance(most, int) and isinstance(least, int) and least > most > 0:
            what = f"is more than trainer.max_{unit}={most}"
            return [Problem(f"trainer.min_{unit}={least}", what)]
    if isinstance(epochs, int) and isinstance(every, int) and every > epochs > 0:
        what = f"of {epochs} epochs none would end with a validation"
        remedy = f"Write {epochs} or less."
        return [Problem(f"trainer.check_val_every_n_epoch={every}", what, remedy)]
    return []


def batch_problems(training: Training, batches: Mapping[str, int]) -> list[Problem]:
    """What leaves no batch of a split, or no validation. batches: how many each split has."""
    found, steps = [], batches["train"]
    for split, count in batches.items():
        limit = getattr(training, key := f"limit_{split}_batches")
        if isinstance(limit, float) and count * limit < 1:
            what = f"leaves none of the {count} batches"
            remedy = f"Write trainer.{key}=1 for one batch, or a larger share."
            found.append(Problem(f"trainer.{key}={limit:g}", what, remedy))
        elif split == "train" and limit is not None:
            steps = min(count, limit) if isinstance(limit, int) else int(count * limit)
    every = training.val_check_interval
    if isinstance(every, int) and every > steps:
        what = f"no validation would come, as an epoch has {steps} batch{'es' * (steps > 1)}"
        remedy = f"Write trainer.val_check_interval={steps} or less."
        found.append(Problem(f"trainer.val_check_interval={every}", what, remedy))
    return found


def machine_problems(hardware: Hardware, precision: Any, workers: Any) -> list[Problem]:
    """What this machine cannot do, or only slowly. workers: processes that fetch batches."""
    found, cores = [], os.cpu_count() or 1
    if isinstance(hardware.threads, int) and hardware.threads > cores:
        what = f"this machine has {cores} cores, for which more threads would wait"
        where = f"hardware.threads={hardware.threads}"
        found.append(Problem(where, what, f"Write {cores} or less, or auto."))
    if hardware.accelerator == "cpu" and precision == "16-mixed":
        what = "only GPUs compute in float16"
        remedy = "Write trainer.precision=bf16-mixed, or hardware=gpu."
        found.append(Problem("trainer.precision=16-mixed", what, remedy))
    if isinstance(workers, int) and workers > (most := MOST_WORKERS * cores):
        what = f"this machine has {cores} cores, for which so many processes would wait"
        where = f"dataset.num_workers={workers}"
        found.append(Problem(where, what, f"Write {most} or less, or auto."))
    if hardware.num_nodes > 1 and not os.environ.keys() & CLUSTERS:
        what = "nothing says where the other machines are, for which this one would wait"
        remedy = "Set MASTER_ADDR, and on each of them NODE_RANK, or start it by Slurm."
        found.append(Problem(f"hardware.num_nodes={hardware.num_nodes}", what, remedy))
    return found


def scheduler_options(
    scheduler: Mapping[str, Any], trainer: Mapping[str, Any], metric: str
) -> dict[str, Any]:
    """What Lightning gets beside the schedule. metric: what it looks at unless it says so itself."""
    given = {k: v for k, v in scheduler.items() if k in keys(SchedulerOptions)}
    if resolve(scheduler["_target_"]) is not ReduceLROnPlateau:
        return {"monitor": metric, **given}
    # not strict: a limit of steps or time may end training before the first validation
    return {
        "monitor": metric,
        "frequency": _between_validations(given, trainer),
        "strict": False,
        **given,
    }


def _between_validations(scheduler: Mapping[str, Any], trainer: Mapping[str, Any]) -> int | None:
    """Of the schedule's intervals, epochs or steps; None where validations come at no such moment."""
    epochs: Any = trainer.get("check_val_every_n_epoch", 1)
    steps: Any = trainer.get("val_check_interval")
    if scheduler.get("interval", "epoch") == "epoch":
        return epochs
    return steps if isinstance(steps, int) and epochs == 1 else None


def _plateau_problems(
    scheduler: Mapping[str, Any], trainer: Mapping[str, Any]
) -> Iterator[Problem]:
    """What would let a ReduceLROnPlateau look at a metric that no validation has just measured."""
    every, frequency = _between_validations(scheduler, trainer), scheduler.get("frequency")
    if every is None:
        what = "ReduceLROnPlateau waits for validations, which do not come after a number of steps"
        yield Problem("scheduler.interval=step", what, "Write scheduler.interval=epoch.")
    elif frequency is not None and isinstance(every, int) and frequency % every:
        unit = scheduler.get("interval", "epoch")
        what = f"ReduceLROnPlateau waits for validations, which come after {every} {unit}s"
        remedy = f"Write scheduler.frequency={every}, or leave it out."
        yield Problem(f"scheduler.frequency={frequency}", what, remedy)


def optimizer_problems(
    optimizer: Mapping[str, Any],
    scheduler: Mapping[str, Any] | None,
    trainer: Mapping[str, Any],
) -> list[Problem]:
    """What is wrong with either node, or with the two together."""
    found: list[Problem] = []
    made = library_class(optimizer, "optimizer", Optimizer, "params", found)
    own = keys(SchedulerOptions)
    if scheduler is not None:
        lightnings = {k: v for k, v in scheduler.items() if k in own}
        found += problems(lightnings, SchedulerOptions, "scheduler")
        named = {k: v for k, v in scheduler.items() if k not in own}
        planned = scheduler_class(named, "scheduler", found)
        if planned is ReduceLROnPlateau and not found:
            found += _plateau_problems(scheduler, trainer)
    if found or made is None:
        return found
    schedule = None if scheduler is None else make_scheduler(scheduler, list(own))
    problem = try_optimizer(made, options_of(optimizer), schedule)
    return [] if problem is None else [problem]


def try_optimizer(
    optimizer: type[Optimizer],
    arguments: Mapping[str, Any],
    schedule: Callable[[Optimizer], Any] | None,
) -> Problem | None:
    """What one step on a trial parameter shows to be wrong: classes check values only when used."""
    weight = nn.Parameter(torch.zeros(2))
    weight.grad = torch.ones(2)
    where = "optimizer"
    try:
        with torch.set_grad_enabled(arguments.get("differentiable", False)):
            made = _uncompiled(optimizer)([weight], **arguments)
            made.step(lambda: 0.0)
            where = "scheduler"
            if schedule is not None:
                planned = schedule(made)
                made.step(lambda: 0.0)
                advance: Any = planned.step
                advance(*([0.0] if isinstance(planned, ReduceLROnPlateau) else []))
    except Exception as error:  # each class has its own kinds
        reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
        return Problem(where, f"does not work ({reason})")
    return None


def _uncompiled(optimizer: type[Optimizer]) -> type[Optimizer]:
    """The class without what surrounds its methods for torch.compile's sake and imports torch._dynamo,
    which takes longer than all else that is checked.
    """
    methods = {name: unwrap(getattr(optimizer, name)) for name in ("add_param_group", "step")}
    return type(optimizer.__name__, (optimizer,), methods)
