"""Objects of a run, made from its configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig

from aeframe.config.auto_record import AUTO, settle
from aeframe.config.auto_values import list_auto_values
from aeframe.config.check import make_parts
from aeframe.config.make import make_data_module
from aeframe.config.node import to_plain
from aeframe.config.optimized_metric import resolve_optimized_metric
from aeframe.config.optimizer_checks import build_optimizer_arguments, build_scheduler_options
from aeframe.config.options import CheckpointOptions, Hardware, SchedulerOptions, Training
from aeframe.config.result import Parts
from aeframe.config.targets import list_keys, resolve
from aeframe.config.torch_classes import make_scheduler
from aeframe.config.trainer_checks import build_trainer_arguments
from aeframe.constraints.constrained import ConstrainedAutoencoder
from aeframe.core.errors import Problem, UserError
from aeframe.data import DataModule
from aeframe.evaluation.card import Evaluation
from aeframe.monitoring.dashboard.custom_scalars import CustomScalars
from aeframe.monitoring.dashboard.dashboard import Dashboard
from aeframe.monitoring.doctor.doctor import Doctor, Signs
from aeframe.monitoring.doctor.rule import Patient
from aeframe.monitoring.loggers import RunLogger
from aeframe.runs.checkpoint import Saved
from aeframe.training.data_notes import list_data_notes
from aeframe.training.divergence import Guard
from aeframe.training.first_weights import build_net
from aeframe.training.module import AutoencoderModule
from aeframe.training.objective import list_schedule_notes, plan_end
from aeframe.training.processes import find_accelerator, require_devices
from aeframe.training.schedule_lengths import list_length_notes
from aeframe.training.stopping import EarlyStopping, Until
from aeframe.training.warm_start import (
    Start,
    freeze,
    read_start,
    require_same_kind,
)


@dataclass(frozen=True)
class Built:
    """Objects of a run.

    given: the configuration as the user gave it. node: the same as plain data, with what was chosen in place
    of `auto`. callbacks: ours. added: those of plug-ins, by name. loggers: by name. begun: a sentence on a
    warm start.
    """

    given: DictConfig | Mapping[str, Any]
    node: dict[str, Any]
    net: ConstrainedAutoencoder
    module: AutoencoderModule
    data: DataModule
    trainer: dict[str, Any]
    hardware: Hardware
    training: Training
    callbacks: list[pl.Callback]
    added: dict[str, pl.Callback]
    loggers: dict[str, RunLogger]
    checkpoint: CheckpointOptions
    evaluation: Evaluation
    notes: list[Problem]
    begun: str | None


def build(cfg: DictConfig | Mapping[str, Any], saved: Saved | None = None) -> Built:
    """Check the configuration, read the data, and make the objects of a run. Raises UserError.

    saved: the checkpoint from which the run resumes.
    """
    node = to_plain(cfg)
    if node["hardware"].get("accelerator") == AUTO:
        # not recorded: a run may resume on another machine
        node["hardware"] = {**node["hardware"], "accelerator": find_accelerator()}
    parts = make_parts(node)
    node["optimized_metric"] = resolve_optimized_metric(node)
    hardware = parts.made["hardware"]
    require_devices(hardware.accelerator, hardware.devices)
    for name, logger in parts.added["logger"].items():
        logger.check_package(name)
    pl.seed_everything(node["seed"], verbose=False)
    data, start = _read_data(node, parts, saved)
    node, parts = _settle(node, parts, data, start)
    net, begun = build_net(node, parts, data, start)
    freeze(net, node.get("freeze", ()))
    module = _make_module(node, parts, net, data)
    made = parts.made
    return Built(
        given=cfg,
        node=node,
        net=net,
        module=module,
        data=data,
        trainer={
            **build_trainer_arguments(node),
            **({} if "val" in data.splits else {"limit_val_batches": 0}),
        },
        hardware=hardware,
        training=made["trainer"],
        callbacks=_make_callbacks(node, parts, module),
        added=parts.added["callbacks"],
        loggers=parts.added["logger"],
        checkpoint=made["checkpoint"],
        evaluation=made["evaluation"],
        notes=_list_notes(node, parts, net, data),
        begun=begun,
    )


def _read_data(
    node: dict[str, Any], parts: Parts, saved: Saved | None
) -> tuple[DataModule, Start | None]:
    """Read the data, and the network of a warm start, which may bring its normalization."""
    data = make_data_module(node, parts.made["dataset"])
    start = read_start(parts.made["init_from"], saved)
    if saved is None:
        require_same_kind(start, data.kind)
    likelihood = parts.made["likelihood"]
    kept = (None, None) if start is None else (start.kept, start.kept_target)
    data.setup(likelihood.support, *kept)
    if (lack := likelihood.columns_problem(data.spec.written.columns)) is not None:
        raise UserError(f"likelihood={type(likelihood).__name__.lower()}", *lack)
    return data, start


def _settle(
    node: dict[str, Any], parts: Parts, data: DataModule, start: Start | None
) -> tuple[dict[str, Any], Parts]:
    """Put the values that follow from the data in place of `auto`, and make the parts with them."""
    identity = None if start is None else start.identity
    begun = {} if start is None or start.model is not parts.model else start.options
    values = {**list_auto_values(node, parts, data, begun), "init_from.identity": identity}
    settled = settle(node, values)
    data.batch_size = settled["dataset"].get("batch_size", data.batch_size)
    return settled, make_parts(settled)


def _make_module(
    node: dict[str, Any], parts: Parts, net: ConstrainedAutoencoder, data: DataModule
) -> AutoencoderModule:
    scheduler = node["scheduler"]
    return AutoencoderModule(
        net,
        data,
        seed=node["seed"],
        guard=Guard(parts.made["divergence"], net.model.outputs),
        log_every_n_steps=parts.made["trainer"].log_every_n_steps,
        optimizer=_build_optimizer(node),
        scheduler=scheduler and make_scheduler(scheduler, list(list_keys(SchedulerOptions))),
        scheduler_options=scheduler
        and build_scheduler_options(scheduler, node["trainer"], node["optimized_metric"]),
        hyperparameters=node,
        metrics=parts.added["metrics"],
    )


def _make_callbacks(
    node: dict[str, Any], parts: Parts, module: AutoencoderModule
) -> list[pl.Callback]:
    made, added = parts.made, parts.added
    signs = Signs(module.scalars.listeners, lambda: module.guard.first, lambda: module.waited)
    patient = Patient(node, module.net, module.data)
    return [
        Until(made["until"]),
        EarlyStopping(node["optimized_metric"], made["early_stopping"]),
        Dashboard(made["dashboard"], added["pictures"]),
        CustomScalars(),
        Doctor(patient, signs, on=node["doctor"], added=added["rules"]),
    ]


def _list_notes(
    node: dict[str, Any], parts: Parts, net: ConstrainedAutoencoder, data: DataModule
) -> list[Problem]:
    end = plan_end(parts.made["trainer"], data.batches["train"])
    notes = [*parts.notes, *data.notes, *list_data_notes(node, net, data)]
    return (
        notes + list_schedule_notes(net.schedules, end) + list_length_notes(node["scheduler"], end)
    )


def _build_optimizer(node: dict[str, Any]) -> Any:
    cls, training = resolve(node["optimizer"]["_target_"]), node["trainer"]
    mixed = training.get("precision") in ("16-mixed", "bf16-mixed")
    clips_mixed = mixed and bool(training.get("gradient_clip_val"))
    return partial(cls, **build_optimizer_arguments(node["optimizer"], cls, clips_mixed))
