"""Fit: run Trainer.fit, go back after a divergence, and translate exceptions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig
from lightning_fabric.utilities.exceptions import MisconfigurationException

from aeframe.core.distributed import is_connection_lost
from aeframe.core.errors import MachineError, TrainingError, UserError, describe_error
from aeframe.core.files import DISK, find_filename, find_os_error
from aeframe.core.process import is_first_process
from aeframe.monitoring import event_files
from aeframe.monitoring.loggers import forget_sent
from aeframe.monitoring.metrics_file import truncate_rows
from aeframe.runs.checkpoint import Saved, find_good_checkpoint, find_retried_checkpoint
from aeframe.runs.layout import BEST, CHECKPOINTS, LAST
from aeframe.training.attempt import Attempt, prepare
from aeframe.training.checkpointing import CALMER
from aeframe.training.divergence import DivergenceError
from aeframe.training.next_commands import repeat_with
from aeframe.training.speed.compute import compile_network, keep_narrow_layers_exact
from aeframe.training.trainer import is_from_lightning

WORKER_DIED = (
    "a process that loads data was killed, probably because memory ran out. "
    "Write resume=RUN to continue, perhaps with fewer dataset.num_workers."
)
OUT_OF_MEMORY = (MemoryError, torch.OutOfMemoryError)
USUAL_RATE = 1e-3
"""Learning rate that is suggested at most, instead of one with which the loss diverged."""
LESS_MEMORY = "Use a smaller dataset.batch_size, network or model.k."


def fit_with_retries(attempt: Attempt, folder: Path, saved: Saved | None) -> Attempt:
    """Train. After a divergence go back to a checkpoint and train again, as often as is allowed.

    saved: the checkpoint to begin with. Returns the attempt that succeeded. Raises DivergenceError if no
    retry is left.
    """
    while (tried := _try_once(attempt, folder, saved)) is not None:
        saved = find_retried_checkpoint(folder, tried)
        given, brief = attempt.built.given, attempt.brief
        attempt = prepare(given, folder, tried, saved, brief=brief)  # the weights before training
    return attempt


def _try_once(attempt: Attempt, folder: Path, saved: Saved | None) -> tuple[int, ...] | None:
    """Train, and return None. If a retry is left after a divergence, return the steps tried."""
    built, guard = attempt.built, attempt.built.module.guard
    if is_first_process():
        steps = saved.steps if saved else 0
        event_files.truncate_events(folder, steps)
        truncate_rows(folder, steps)
        forget_sent(folder, steps)
    keep_narrow_layers_exact(
        built.training.precision,
        built.net.model,
        built.data.batch_size,
        accelerator=built.hardware.accelerator,
    )
    if built.training.compile:
        compile_network(built.net)
    try:
        _fit(attempt, saved)
    except DivergenceError as error:
        if again := guard.may_go_back:
            good = find_good_checkpoint(folder, error.step, guard.tried)
            guard.tried = (*guard.tried, good.steps if good else 0)
        if is_first_process():
            error.write(folder, guard.tried)
        if not again:
            raise _add_command(error, attempt) from None
        print(f"{error} Going back: {guard.back} of {guard.options.retries}.", flush=True)
        return guard.tried
    return None


def _add_command(error: DivergenceError, attempt: Attempt) -> DivergenceError:
    """Add the whole command that repeats the run with a lower learning rate, if that is the advice."""
    node = attempt.built.node
    lr = node["optimizer"].get("lr")
    is_command = HydraConfig.initialized() and not attempt.brief
    if not (is_command and isinstance(lr, float | int) and str(error).endswith(CALMER)):
        return error
    command = repeat_with(node, f"optimizer.lr={min(lr / 10, USUAL_RATE):g}")
    text = f"{str(error)[:-1]} (for example: {command})."
    return DivergenceError(text, error.step, error.found)


def _fit(attempt: Attempt, saved: Saved | None) -> None:
    """Run Trainer.fit and translate its exceptions."""
    built, trainer, best = attempt.built, attempt.trainer, attempt.best
    # Lightning converts after it has loaded the weights, which single precision would round
    trainer.precision_plugin.convert_module(built.module)
    try:
        trainer.fit(built.module, ckpt_path=saved.checkpoint if saved else None)
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):  # Lightning would exit with status 1
            raise KeyboardInterrupt from None
        raise
    except (MisconfigurationException, ValueError) as error:
        if trainer.global_step or not is_from_lightning(error):
            raise
        raise UserError("trainer", str(error).strip().splitlines()[0].rstrip(".")) from error
    except RuntimeError as error:
        if "DataLoader worker" in str(error):
            raise MachineError(WORKER_DIED) from error
        if not (built.training.compile and type(error).__module__.startswith("torch._")):
            raise
        what = f"the network could not be translated ({str(error).strip().splitlines()[0]})"
        remedy = "Install a C++ compiler, or write trainer.compile=false."
        raise UserError("trainer.compile=true", what, remedy) from error
    if not best.has_best():  # e.g. training ended before the first validation
        best.is_last = True
        best.best_model_path = f"{best.dirpath}/{BEST}"
        if trainer.enable_validation:
            trainer.validate(built.module, verbose=False)
            best.best_model_score = trainer.callback_metrics[best.monitor or ""]
        trainer.save_checkpoint(best.best_model_path, weights_only=True)


@contextmanager
def translate_exceptions(folder: Path, trainer: pl.Trainer) -> Iterator[None]:
    """Translate exceptions of a run into one line that names the checkpoint to resume from."""
    try:
        with event_files.silence_writer():
            yield
    except (TrainingError, OSError, RuntimeError, MemoryError, ValueError) as error:
        if (words := _translate(error, folder, trainer)) is None:
            raise
        last, best = (folder / CHECKPOINTS / name for name in (LAST, BEST))
        left = f" The last good checkpoint is {last}." if last.exists() else ""
        if not left and best.exists():
            left = f" The best weights until then are in {best}."
        kind = MachineError if isinstance(words, MachineError) else TrainingError
        raise kind(f"{words}{left}") from error


def _translate(error: Exception, folder: Path, trainer: pl.Trainer) -> TrainingError | None:
    if not folder.exists():  # Lightning wraps in a ValueError what the event file's writer says
        return MachineError(f"{folder} was deleted during training.")
    if isinstance(error, TrainingError):
        return error
    if (why := find_os_error(error)) is not None and why.errno in DISK:
        return MachineError(
            f"{find_filename(why) or folder} could not be written ({describe_error(why)})."
        )
    if isinstance(error, OUT_OF_MEMORY) or "DefaultCPUAllocator" in str(error):
        what = str(error).strip().splitlines()[0].rstrip(".")
        return MachineError(f"memory ran out ({what}). {LESS_MEMORY}")
    if trainer.world_size > 1 and is_connection_lost(error):
        return MachineError(f"another process of the run has ended ({describe_error(error)}).")
    return None
