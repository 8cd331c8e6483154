"""Checks of trainer and hardware: lengths, batches, and the machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from aeframe.config.options import MATMUL, Hardware, Training
from aeframe.core.durations import is_duration
from aeframe.core.errors import Problem

CLUSTERS = {"MASTER_ADDR", "SLURM_JOB_ID", "LSB_JOBID", "OMPI_COMM_WORLD_SIZE"}
"""Variables by which processes on several machines find each other; one of them must be set."""
MOST_WORKERS = 8
"""For each core: those that wait for a disk leave it to others."""


def build_trainer_arguments(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of Lightning's Trainer. A key of `trainer` beats the same key of `hardware`."""
    merged = {**node["hardware"], **node["trainer"]}
    if merged.get("precision") in MATMUL:
        merged["precision"] = "32-true"
    ours = ("threads", "steps_per_call", "compile", "log_every_n_steps")
    given = {k: v for k, v in merged.items() if v is not None and k not in ours}
    return {**given, "log_every_n_steps": 0}  # Lightning writes no step: training/scalars.py does


def list_length_problems(trainer: Mapping[str, Any]) -> list[Problem]:
    """List what makes a run that never ends, or that ends before it should."""
    epochs, every = trainer.get("max_epochs"), trainer.get("check_val_every_n_epoch", 1)
    if all(trainer.get(key) is None for key in ("max_epochs", "max_steps", "max_time")):
        what = "no limit ends training"
        return [Problem("trainer.max_epochs=null", what, "Write trainer.max_epochs=20.")]
    limit = trainer.get("max_time")
    if isinstance(limit, str) and not is_duration(limit):
        remedy = "Write DAYS:HOURS:MINUTES:SECONDS, e.g. '00:01:30:00' in quotes."
        return [Problem(f"trainer.max_time={limit}", "is not a duration", remedy)]
    for unit in ("epochs", "steps"):
        least, most = (trainer.get(f"{which}_{unit}") for which in ("min", "max"))
        if isinstance(most, int) and isinstance(least, int) and least > most > 0:
            what = f"is more than trainer.max_{unit}={most}"
            return [Problem(f"trainer.min_{unit}={least}", what)]
    if isinstance(epochs, int) and isinstance(every, int) and every > epochs > 0:
        what = f"none of the {epochs} epochs would end with a validation"
        remedy = f"Write {epochs} or less."
        return [Problem(f"trainer.check_val_every_n_epoch={every}", what, remedy)]
    return []


def list_batch_problems(training: Training, batches: Mapping[str, int]) -> list[Problem]:
    """List splits without a batch, and runs without a validation. batches: the number in each split."""
    found, steps = [], batches["train"]
    for split, count in batches.items():
        limit = getattr(training, key := f"limit_{split}_batches")
        if isinstance(limit, float) and count * limit < 1:
            what = f"selects none of the {count} batches"
            remedy = f"Write trainer.{key}=1 for one batch, or a larger share."
            found.append(Problem(f"trainer.{key}={limit:g}", what, remedy))
        elif split == "train" and limit is not None:
            steps = min(count, limit) if isinstance(limit, int) else int(count * limit)
    every = training.val_check_interval
    if isinstance(every, int) and every > steps:
        what = f"no validation would run: an epoch has {steps} batch{'es' * (steps > 1)}"
        remedy = f"Write trainer.val_check_interval={steps} or less."
        found.append(Problem(f"trainer.val_check_interval={every}", what, remedy))
    return found


def list_machine_problems(hardware: Hardware, precision: Any, workers: Any) -> list[Problem]:
    """List what this machine cannot do, or only slowly. workers: processes that fetch batches."""
    found, cores = [], os.cpu_count() or 1
    if isinstance(hardware.threads, int) and hardware.threads > cores:
        what = f"more threads than the {cores} cores of this machine"
        where = f"hardware.threads={hardware.threads}"
        found.append(Problem(where, what, f"Write {cores} or less, or auto."))
    if hardware.accelerator == "cpu" and precision == "16-mixed":
        what = "only GPUs compute in float16"
        remedy = "Write trainer.precision=bf16-mixed, or hardware=gpu."
        found.append(Problem("trainer.precision=16-mixed", what, remedy))
    if isinstance(workers, int) and workers > (most := MOST_WORKERS * cores):
        what = f"more workers than the {cores} cores of this machine can serve"
        where = f"dataset.num_workers={workers}"
        found.append(Problem(where, what, f"Write {most} or less, or auto."))
    if hardware.num_nodes > 1 and not os.environ.keys() & CLUSTERS:
        what = "the addresses of the other machines are unknown"
        remedy = "Set MASTER_ADDR, and NODE_RANK on each machine, or start it with Slurm."
        found.append(Problem(f"hardware.num_nodes={hardware.num_nodes}", what, remedy))
    return found
