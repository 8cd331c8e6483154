"""Trainer of a run, made from its configuration."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.profilers import AdvancedProfiler, Profiler, PyTorchProfiler, SimpleProfiler

from aeframe.core.errors import UserError
from aeframe.core.signals import Signals
from aeframe.monitoring import event_files as events
from aeframe.monitoring.loggers import TensorBoard
from aeframe.monitoring.loggers.delivery import Delivery
from aeframe.monitoring.progress_bar import Bar
from aeframe.training.build import Built
from aeframe.training.checkpointing import Best, Last, WholeFiles
from aeframe.training.lightning_adapter import FitLoop, ignore_signals
from aeframe.training.speed.steps_ahead import StepsAhead
from aeframe.training.stopping import EarlyStopping, Until

PROFILERS: dict[str, Callable[..., Profiler]] = {
    "simple": SimpleProfiler,
    "advanced": AdvancedProfiler,
    "pytorch": PyTorchProfiler,
}
"""Profilers by name. They write files into the run's folder."""


def make_trainer(
    built: Built, folder: Path, best: Best, delivery: Delivery, *, brief: bool = False
) -> pl.Trainer:
    """Make the Trainer of a run. brief: see Attempt.

    Raises UserError for hardware and keys that Lightning refuses.
    """
    name = built.training.profiler
    profiler = PROFILERS[name](dirpath=folder, filename="profile") if name else None
    may_stop = any(c.may_stop for c in built.callbacks if isinstance(c, Until | EarlyStopping))
    keeps = built.module.guard.options.retries > 0
    last = Last(folder, built.checkpoint, Signals(), may_stop=may_stop, keeps_previous=keeps)
    things = f"{built.data.spec.nouns.sample}s"
    bar = Bar(built.node["optimized_metric"], things, brief=brief)
    is_free = all(map(StepsAhead.is_possible_with, built.added.values()))
    ahead = StepsAhead(built.training.steps_per_call if is_free else 1)
    has_events = any(isinstance(logger, TensorBoard) for logger in built.loggers.values())
    ours = [*built.callbacks, bar, ahead, last, best, delivery]
    _require_own_states(ours, built.added)
    callbacks = [*built.callbacks, *built.added.values(), *ours[len(built.callbacks) :]]
    # Lightning may draw from the global stream
    with torch.random.fork_rng(devices=[]), _translate_refusals():
        trainer = pl.Trainer(
            **{k: v for k, v in built.trainer.items() if k != "profiler"},
            profiler=profiler,
            callbacks=callbacks,
            plugins=[WholeFiles()],
            logger=events.Curves(folder, has_events=has_events),
            # no folder: in a Slurm job Lightning would load an unchecked file hpc_ckpt_* that lies in it
            default_root_dir=os.devnull,
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
            enable_progress_bar=False,
            enable_model_summary=False,
            inference_mode=not built.net.needs_derivatives,
        )
    trainer.fit_loop = FitLoop(trainer, last)
    ignore_signals(trainer)
    return trainer


def _require_own_states(ours: Sequence[pl.Callback], added: Mapping[str, pl.Callback]) -> None:
    """Raise UserError for two callbacks whose states would be saved under one key."""
    taken = {callback.state_key: "one of aeframe" for callback in ours}
    for name, callback in added.items():
        if type(callback).state_dict is pl.Callback.state_dict:
            continue
        key = callback.state_key
        if key in taken:
            what = f"its state has the key {key} in checkpoints, as that of {taken[key]}"
            remedy = "Give its class a property state_key that differs, e.g. by an option of the constructor."
            raise UserError(f"callbacks.{name}", what, remedy)
        taken[key] = f"callbacks.{name}"


@contextmanager
def _translate_refusals() -> Iterator[None]:
    """Raise UserError if Lightning refuses a combination of hardware and trainer keys."""
    try:
        yield
    except (MisconfigurationException, ValueError, TypeError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not is_from_lightning(error):
            raise
        reason = str(error).splitlines()[0].rstrip(".")
        raise UserError("hardware and trainer", f"Lightning refuses them: {reason}") from error


def quiet_lightning() -> None:
    """Silence Lightning's advice and advertisements; its errors are kept."""
    # Lightning's import sets it. Each optimizer step would then load a library again to ask for GPUs
    os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for pattern in (
        ".*does not have many workers.*",  # batches are slices of memory
        ".*LeafSpec.*",
        ".*could not find the monitored key.*",  # training ended before the first validation
        ".*ReduceLROnPlateau conditioned on.*",  # the same
        "(?s).*exists and is not empty.*",  # the folder of a resumed run
        ".*sync_dist=True.*",  # torchmetrics has already reduced what is logged
        ".*attribute of a Tensor that is not a leaf.*",  # torch.compile, of tensors that it looks at
        ".*TensorFloat32 tensor cores.*",  # trainer.precision sets the rounding
        ".*GPU available but not used.*",  # the user chose hardware=cpu
    ):
        warnings.filterwarnings("ignore", pattern)


def is_from_lightning(error: BaseException) -> bool:
    """Check whether Lightning itself raised the error."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    raised_in = "" if trace is None else trace.tb_frame.f_globals.get("__name__", "")
    return raised_in.partition(".")[0] in ("pytorch_lightning", "lightning_fabric")
