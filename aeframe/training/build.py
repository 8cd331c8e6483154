"""Objects of a run, made from its configuration."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig

from aeframe.config.auto_record import AUTO, settle
from aeframe.config.auto_values import list_auto_values
from aeframe.config.check import make_parts
from aeframe.config.make import count_batch_rows, make_data_module, make_model
from aeframe.config.node import to_plain
from aeframe.config.optimized_metric import resolve_optimized_metric
from aeframe.config.optimizer_checks import FLAT, build_optimizer_arguments, build_scheduler_options
from aeframe.config.options import CheckpointOptions, Hardware, SchedulerOptions, Training
from aeframe.config.result import Parts
from aeframe.config.sizes import list_size_problems
from aeframe.config.targets import list_keys, resolve
from aeframe.config.torch_classes import make_scheduler
from aeframe.config.trainer_checks import build_trainer_arguments, list_batch_problems
from aeframe.constraints import Data
from aeframe.constraints.constrained import ConstrainedAutoencoder
from aeframe.core.errors import ConfigError, Problem, UserError
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
from aeframe.training.module import AutoencoderModule
from aeframe.training.objective import list_schedule_notes, plan_end
from aeframe.training.processes import find_accelerator, require_devices
from aeframe.training.schedule_lengths import list_length_notes
from aeframe.training.stopping import EarlyStopping, Until
from aeframe.training.warm_start import (
    Start,
    describe_start,
    freeze,
    read_start,
    require_same_kind,
    take_stack,
    take_weights,
)

ATTACH_SAMPLES = 2048  # training samples that set thresholds and the first output
PCA_SAMPLES = 8192  # training samples whose principal components are the first weights
ROUNDING = 1e-6  # allowed beyond a likelihood's support


@dataclass(frozen=True)
class Built:
    """Objects of a run.

    given: the configuration as the user gave it. node: the same as plain data, with what was chosen in place
    of `auto`. callbacks: ours. added: those of plug-ins. loggers: by name. begun: a sentence on a warm start.
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
    added: list[pl.Callback]
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
    pl.seed_everything(node["seed"], verbose=False)
    source = parts.made["dataset"]
    data = make_data_module(node, source)
    for name, logger in parts.loggers.items():
        logger.check_package(name)
    start = read_start(parts.made["init_from"], saved)
    if saved is None:
        require_same_kind(start, data.kind)
    data.setup(parts.made["likelihood"].support, None if start is None else start.kept)
    likelihood = parts.made["likelihood"]
    if (lack := likelihood.columns_problem(data.spec.columns)) is not None:
        raise UserError(f"likelihood={type(likelihood).__name__.lower()}", *lack)
    node, parts = _settle(node, parts, data, start)
    net, begun = _build_net(node, parts, data, start)
    freeze(net, node.get("freeze", ()))
    scheduler, training = node["scheduler"], parts.made["trainer"]
    module = AutoencoderModule(
        net,
        data,
        seed=node["seed"],
        guard=Guard(parts.made["divergence"]),
        log_every_n_steps=training.log_every_n_steps,
        optimizer=_build_optimizer(node),
        scheduler=scheduler and make_scheduler(scheduler, list(list_keys(SchedulerOptions))),
        scheduler_options=scheduler
        and build_scheduler_options(scheduler, node["trainer"], node["optimized_metric"]),
        hyperparameters=node,
    )
    made, end = parts.made, plan_end(training, data.batches["train"])
    signs = Signs(module.scalars.listeners, lambda: module.guard.first, lambda: module.waited)
    callbacks = [
        Until(made["until"]),
        EarlyStopping(node["optimized_metric"], made["early_stopping"]),
        Dashboard(made["dashboard"]),
        CustomScalars(),
        Doctor(Patient(node, net, data), signs, on=node["doctor"]),
    ]
    notes = [*parts.notes, *data.notes]
    notes += list_data_notes(node, net, data)
    notes += list_schedule_notes(net.schedules, end) + list_length_notes(scheduler, end)
    return Built(
        cfg,
        node,
        net,
        module,
        data,
        {
            **build_trainer_arguments(node),
            **({} if "val" in data.splits else {"limit_val_batches": 0}),
        },
        hardware,
        training,
        callbacks,
        list(parts.callbacks.values()),
        parts.loggers,
        made["checkpoint"],
        made["evaluation"],
        notes,
        begun,
    )


def _settle(
    node: dict[str, Any], parts: Parts, data: DataModule, start: Start | None
) -> tuple[dict[str, Any], Parts]:
    """Put the values that follow from the data in place of `auto`, and make the parts with them."""
    identity = None if start is None else start.identity
    values = {**list_auto_values(node, parts, data), "init_from.identity": identity}
    settled = settle(node, values)
    data.batch_size = settled["dataset"].get("batch_size", data.batch_size)
    return settled, make_parts(settled)


def _build_optimizer(node: dict[str, Any]) -> Any:
    cls, training = resolve(node["optimizer"]["_target_"]), node["trainer"]
    mixed = training.get("precision") in ("16-mixed", "bf16-mixed")
    clips_mixed = mixed and bool(training.get("gradient_clip_val"))
    return partial(cls, **build_optimizer_arguments(node["optimizer"], cls, clips_mixed))


def _build_net(
    node: dict[str, Any], parts: Parts, data: DataModule, start: Start | None
) -> tuple[ConstrainedAutoencoder, str | None]:
    """Build the network with its first weights, and describe a warm start."""
    spec = data.spec
    found = list_batch_problems(parts.made["trainer"], data.batches)
    found += list_size_problems(node, parts, spec.shape)
    low, high = parts.made["likelihood"].support
    first, last = spec.extent
    if first < low - ROUNDING or last > high + ROUNDING:
        name = type(parts.made["likelihood"]).__name__.lower()
        what = (
            f"needs values from {low:g} to {high:g}, but the data goes from {first:g} to {last:g}"
        )
        other = "" if spec.normalization == "unit" else "dataset.normalization=unit, or "
        remedy = f"Write {other}likelihood=gaussian."
        found.append(Problem(f"likelihood={name}", what, remedy))
    size, devices = count_batch_rows(node), parts.made["hardware"].processes or 1
    rest = spec.samples % size
    if parts.made["network"].norm == "batch" and 0 < rest < 2 * devices:
        what = f"the last batch has {rest} of {spec.samples} samples, but norm=batch needs {2 * devices}"
        remedy = f"Write dataset.batch_size={size + devices}, or network.norm=layer."
        found.append(Problem(f"dataset.batch_size={size}", what, remedy))
    if (wrong := parts.made["network"].training_problem(spec.shape)) is not None:
        found.append(Problem("network", *wrong))
    if found:
        raise ConfigError(found)
    assert parts.model is not None
    model = make_model(node, parts, spec.shape, spec.columns)
    batch = data.normalization.fill(data.peek("train", ATTACH_SAMPLES))
    with torch.no_grad():
        model.likelihood.take_scale(data.normalization.scale)
        model.start_at(batch.mean(0))
        if parts.made["network"].start == "pca":
            model.start_as_pca(data.normalization.fill(data.peek("train", PCA_SAMPLES)))
        model.suit_likelihood(batch)
        weights = {} if start is None else start.weights
        taken = take_weights(model, "model.", weights)
        begun = None if start is None else take_stack(start, model, batch)
        whole = parts.made["hardware"].strategy == "fsdp" or any(
            part.needs_derivatives for part in parts.constraints.values()
        )
        for part in parts.constraints.values():
            part.attach(model, Data(spec.low, spec.high, spec.samples, batch, whole))
    if resolve(node["optimizer"]["_target_"]) in FLAT:
        for weight in (p for p in model.parameters() if not p.is_contiguous()):
            weight.data = weight.data.contiguous()
    # a copy: the model's moves to another device, the data's does not
    net = ConstrainedAutoencoder(model, parts.constraints, deepcopy(data.normalization))
    if start is None or not weights:
        return net, begun
    # the thresholds that constraints have learned, in place of those that they chose for the first weights
    taken += take_weights(net.constraints, "constraints.", weights)
    return net, describe_start(start, taken, net)
