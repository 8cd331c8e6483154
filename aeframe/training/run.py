"""One run, from configuration to report."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig

from aeframe import codec
from aeframe.constraints.constrained import ConstrainedAutoencoder
from aeframe.core.errors import UserError
from aeframe.core.files import replaced
from aeframe.core.process import is_first_process
from aeframe.core.strict_json import as_json
from aeframe.evaluation.card import Card
from aeframe.evaluation.metric_names import better_is
from aeframe.evaluation.tradeoffs import Trade
from aeframe.monitoring import event_files as events
from aeframe.monitoring.dashboard.dashboard import Dashboard
from aeframe.monitoring.doctor.doctor import Doctor
from aeframe.monitoring.doctor.rule import Finding
from aeframe.runs import model_file as artifact
from aeframe.runs.checkpoint import Saved, gone_back_to, stamp_of, state_in, tried_in
from aeframe.runs.folder import locked, used
from aeframe.runs.folder_guide import write_guide
from aeframe.runs.layout import CHECKPOINTS, DIVERGED, LAST
from aeframe.training import report
from aeframe.training.build import Built, build
from aeframe.training.checkpointing import Best
from aeframe.training.ending import ended_by, epochs_of, in_words
from aeframe.training.fit import fit_or_fail, told
from aeframe.training.garbage import collects
from aeframe.training.next_commands import TRAIN_ON, again, commands
from aeframe.training.processes import one_job
from aeframe.training.resume.checkpoint_check import check_fits
from aeframe.training.speed.compute import (
    computing,
    keep_freed_memory,
    parallel_jobs,
    rounding_for,
    threads_for,
    without_denormals,
)
from aeframe.training.stopping import Until
from aeframe.training.trainer import _quiet, _trainer


@collects
@without_denormals()
def run(
    node: Mapping[str, Any],
    folder: Path,
    flags: tuple[str, ...] | None = None,
    saved: Saved | None = None,
) -> float:
    """Check, seed, build, fit, report. Returns the optimized metric of the best checkpoint.

    node: the configuration. folder: for everything that the run writes. flags: of the command line, for
    other ranks; None where there is none, and no other rank. saved: the checkpoint in the folder to go on
    from.
    Raises UserError for the user's mistakes, TrainingError where training itself failed, and Interrupted
    after a signal.
    """
    _quiet()
    # Lightning's import sets it: each step of an optimizer would then load a library anew to ask for GPUs
    os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)
    started = time.perf_counter()
    built = build(node)
    node, metric = built.node, built.node["optimized_metric"]
    best = Best(folder, metric)
    trainer = _trainer(built, folder, metric, best)
    if saved is not None:
        check_fits(saved, built.module, trainer)
    begin, tried = saved, () if node["resume"] is None else tried_in(folder)
    if saved is not None and state_in(saved.checkpoint)["guard"]["back"] < len(tried):
        begin = gone_back_to(folder, tried)  # it was written before
    built.module.guard.tried = tried
    if is_first_process():
        report.opening(built, node, None if flags is None else folder, begin)
    net = deepcopy(built.net)  # untrained
    keep_freed_memory()
    with told(folder, trainer), _claimed(folder, node["resume"] is not None, saved):
        if begin is None and not tried and is_first_process():
            (folder / DIVERGED).unlink(missing_ok=True)  # of an attempt that left nothing else
        if is_first_process():
            write_guide(folder)
        jobs = 1 if flags is None else parallel_jobs(HydraConfig.get().launcher)
        with nullcontext() if flags is None else one_job(flags), _computing(built, jobs):
            while fit_or_fail(trainer, built, best, begin):
                tried = built.module.guard.tried
                begin = gone_back_to(folder, tried)
                built, best = build(node), Best(folder, metric)  # all as it was before training
                built.module.guard.tried = tried
                trainer = _trainer(built, folder, metric, best)
            end = built.net.clock  # before that of the best is loaded
            tested = _test(trainer, built, best, net)
        value = math.nan if best.best_model_score is None else float(best.best_model_score)
        if tested is None:  # another rank speaks
            return value
        card, validation, best_step = tested
        found = _doctor(built).read(card, trainer, best_step)
        _log_choices(trainer, built, card, value)
        result = {
            **card.as_dict(),
            "normalization": built.data.spec.normalization,
            "validation": validation,
            "optimized_metric": {"name": metric, "value": value, "direction": better_is(metric)},
            "trade": Trade.of(built.net, validation).as_dict() if validation else None,
            "weights": "last" if best.is_last else "best",
            "until": {"metric": _until(built).wanted.metric, "reached": _until(built).reached},
            "doctor": [finding.as_dict() for finding in found],
            "epochs": epochs_of(end),
            "steps": trainer.global_step,
            "ended_by": ended_by(trainer, end),
            "seconds": round(time.perf_counter() - started, 2),
        }
        artifact.save(folder, net, node, built.data, card.metrics)
        changed = None
        if net.step is not None:
            changed = codec.save(folder, codec.calibrated(artifact.load(folder), built.data))
        with replaced(folder / "evaluation.json") as file:  # last: it says that the run is done
            file.write(f"{as_json(result)}\n".encode())
    said = in_words(trainer, end, built.training.max_time)
    said += [text for text in (_kept(best, built.net), changed) if text]
    if flags is None:  # from Python, where the folder may go and the test is the caller's
        report.ending([*said, *map(str, found)])
        return value
    onward = commands(node, result, folder, net.step is not None)
    said += [finding.in_the_end(_command(finding, node, onward)) for finding in found]
    if any(finding.remedy and not finding.longer for finding in found):
        onward.pop(TRAIN_ON, None)  # more of the same is no remedy
    report.closing(card, result, said, folder, onward)
    return value


def _command(finding: Finding, node: Mapping[str, Any], onward: Mapping[str, str]) -> str | None:
    """The command to type against what the doctor found."""
    if finding.remedy is None:
        return None
    return onward.get(TRAIN_ON) if finding.longer else again(node, finding.remedy)


def _computing(built: Built, jobs: int) -> AbstractContextManager[None]:
    devices = built.hardware.devices
    threads = threads_for(
        built.hardware.threads,
        built.net.model,
        built.data.batch_size,
        processes=devices if isinstance(devices, int) else 1,
        jobs=jobs,
    )
    rounding = rounding_for(
        built.training.precision,
        built.net.model,
        built.data.batch_size,
        accelerator=built.hardware.accelerator,
    )
    return computing(threads, rounding)


def _test(
    trainer: pl.Trainer, built: Built, best: Best, net: ConstrainedAutoencoder
) -> tuple[Card, dict[str, float], int] | None:
    """Measure the best checkpoint on the test split: the card, the metrics that it had in validation, and
    after how many steps. On the first rank only.

    net: untrained. It takes what the checkpoint holds, for the trained one may be in pieces.
    """
    path = best.best_model_path
    tested = trainer.test(built.module, ckpt_path=path, verbose=False, weights_only=True)[0]
    if not trainer.is_global_zero:
        return None
    saved = torch.load(path, map_location="cpu", weights_only=True)
    state = _below("net.", saved["state_dict"])
    trainer.precision_plugin.convert_module(net)  # as the trained one was
    net.load_state_dict(state)
    net.to(trainer.strategy.root_device)
    card = built.evaluation.card(net, built.data, _below("test/", tested))
    return card, _below("val/", saved["callback_metrics"]), saved["global_step"]


def _below(prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {k.removeprefix(prefix): v for k, v in values.items() if k.startswith(prefix)}


def _kept(best: Best, net: ConstrainedAutoencoder) -> str | None:
    """Why the last weights are kept, where that is no matter of course."""
    if best.best_model_score is None:
        return "The last weights are kept: nothing was validated (dataset.val_fraction=0)."
    if not best.is_last or not net.changing:
        return None
    keys, their = " and ".join(net.changing), "its" if len(net.changing) == 1 else "their"
    what = f"at no validation had {keys} reached {their} final value"
    return f"The last weights are kept, not the best: {what}."


def _log_choices(trainer: pl.Trainer, built: Built, card: Card, value: float) -> None:
    """The choices and the final metrics, for TensorBoard's HParams, and the card as text."""
    assert isinstance(trainer.logger, events.Curves)
    chosen = report.choices(built.module.hparams, built.net.model.latent_dim)
    trainer.logger.log_hyperparams(chosen, report.headline(card, value), trainer.global_step)
    for dashboard in (c for c in built.callbacks if isinstance(c, Dashboard)):
        dashboard.write_card(trainer, card)
    trainer.logger.close()


@contextmanager
def _claimed(folder: Path, goes_on: bool, saved: Saved | None) -> Iterator[None]:
    """The folder as this run's own. Raises UserError where it is another's, at work or not.

    goes_on: whether it may hold this run already. saved: what was read of it before.
    """
    if not is_first_process():
        yield
        return
    checkpoints = folder / CHECKPOINTS
    with locked(folder):
        try:
            checkpoints.mkdir(exist_ok=goes_on)
        except FileExistsError:
            raise used(f"hydra.run.dir={folder}") from None
        if goes_on and stamp_of(checkpoints / LAST) != (saved.stamp if saved else None):
            what = "another process trained in it since this one looked"
            raise UserError(f"hydra.run.dir={folder}", what, "Start it again.")
        try:
            yield
        finally:
            with suppress(OSError):  # what is not empty stays
                checkpoints.rmdir()


def _until(built: Built) -> Until:
    return next(c for c in built.callbacks if isinstance(c, Until))


def _doctor(built: Built) -> Doctor:
    return next(c for c in built.callbacks if isinstance(c, Doctor))
