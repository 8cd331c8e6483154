"""Network of a run with its first weights: random, principal components, or those of a warm start."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from aeframe.config.make import count_batch_rows, make_model
from aeframe.config.optimizer_checks import FLAT
from aeframe.config.result import Parts
from aeframe.config.sizes import list_size_problems
from aeframe.config.targets import resolve
from aeframe.config.trainer_checks import list_batch_problems
from aeframe.constraints import Data
from aeframe.constraints.constrained import ConstrainedAutoencoder
from aeframe.core.errors import ConfigError, Problem
from aeframe.data import DataModule
from aeframe.models import Autoencoder
from aeframe.training.warm_start import Start, describe_start, take_stack, take_weights

ATTACH_SAMPLES = 2048  # training samples that set thresholds and the first output
PCA_SAMPLES = 8192  # training samples whose principal components are the first weights
ROUNDING = 1e-6  # allowed beyond a likelihood's support


def build_net(
    node: dict[str, Any], parts: Parts, data: DataModule, start: Start | None
) -> tuple[ConstrainedAutoencoder, str | None]:
    """Build the network with its first weights, and describe a warm start.

    Raises ConfigError for parts that do not suit the data.
    """
    if found := _list_data_problems(node, parts, data):
        raise ConfigError(found)
    assert parts.model is not None
    spec = data.spec
    model = make_model(node, parts, spec.shape, spec.columns, spec.target_shape)
    batch = data.normalization.fill(data.peek("train", ATTACH_SAMPLES))
    if (targets := data.peek_targets("train", ATTACH_SAMPLES)) is not None:
        targets = data.written_normalization.fill(targets)
    weights = {} if start is None else start.weights
    with torch.no_grad():
        _choose_weights(model, parts, data, batch, targets)
        taken = take_weights(model, "model.", weights)
        begun = None if start is None else take_stack(start, model, batch)
        _attach(parts, model, data, batch, targets)
    if resolve(node["optimizer"]["_target_"]) in FLAT:
        for weight in (p for p in model.parameters() if not p.is_contiguous()):
            weight.data = weight.data.contiguous()
    # copies: the model's move to another device, the data's do not
    normalizations = deepcopy(data.normalization), deepcopy(data.target_normalization)
    net = ConstrainedAutoencoder(model, parts.constraints, *normalizations)
    if start is None or not weights:
        return net, begun
    # the thresholds that constraints have learned, in place of those that they chose for the first weights
    taken += take_weights(net.constraints, "constraints.", weights)
    return net, describe_start(start, taken, net)


def _choose_weights(
    model: Autoencoder, parts: Parts, data: DataModule, batch: Tensor, targets: Tensor | None
) -> None:
    """Set the first weights by the training data. batch, targets: samples of it, normalized."""
    model.likelihood.take_scale(data.written_normalization.scale)
    if targets is None:
        model.start_at(batch.mean(0))
    else:
        model.start_at(targets.mean(0), batch.mean(0))
    if parts.made["network"].start == "pca":
        model.start_as_pca(data.normalization.fill(data.peek("train", PCA_SAMPLES)))
    model.suit_likelihood(batch if targets is None else targets)


def _attach(
    parts: Parts, model: Autoencoder, data: DataModule, batch: Tensor, targets: Tensor | None
) -> None:
    """Show the model and some samples to the constraints, which may choose thresholds by them."""
    spec = data.spec
    whole = parts.made["hardware"].strategy == "fsdp" or any(
        part.needs_derivatives for part in parts.constraints.values()
    )
    for part in parts.constraints.values():
        facts = Data(spec.low, spec.high, spec.samples, batch, whole, spec.columns, targets)
        part.attach(model, facts)


def _list_data_problems(node: dict[str, Any], parts: Parts, data: DataModule) -> list[Problem]:
    """List the parts that do not suit the data: batches, sizes, range of values, batch norm."""
    spec = data.spec
    found = list_batch_problems(parts.made["trainer"], data.batches)
    found += list_size_problems(node, parts, spec.shape, spec.target_shape)
    low, high = parts.made["likelihood"].support
    first, last = spec.written.extent
    if first < low - ROUNDING or last > high + ROUNDING:
        name = type(parts.made["likelihood"]).__name__.lower()
        what = (
            f"needs values from {low:g} to {high:g}, but the data goes from {first:g} to {last:g}"
        )
        other = "" if spec.written.normalization == "unit" else "dataset.normalization=unit, or "
        remedy = f"Write {other}likelihood=gaussian."
        found.append(Problem(f"likelihood={name}", what, remedy))
    size, devices = count_batch_rows(node), parts.made["hardware"].processes or 1
    rest = spec.samples % size
    if parts.made["network"].norm == "batch" and 0 < rest < 2 * devices:
        what = f"the last batch has {rest} of {spec.samples} samples, but norm=batch needs {2 * devices}"
        remedy = f"Write dataset.batch_size={size + devices}, or network.norm=layer."
        found.append(Problem(f"dataset.batch_size={size}", what, remedy))
    for shape in dict.fromkeys((spec.shape, spec.written.shape)):
        if (wrong := parts.made["network"].training_problem(shape)) is not None:
            found.append(Problem("network", *wrong))
    return found
