"""Objects made from a checked configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from aeframe.config.auto_record import AUTO
from aeframe.config.auto_values import LARGEST
from aeframe.config.result import Parts
from aeframe.config.signature import list_parameters
from aeframe.config.targets import get_options, list_keys
from aeframe.data import DataModule, Schema, Source
from aeframe.models import Autoencoder, Setting


def count_batch_rows(node: dict[str, Any]) -> int:
    """Return the batch size of all devices together. The largest one stands for `auto`."""
    default, _ = list_parameters(DataModule)["batch_size"]
    size = node["dataset"].get("batch_size", default)
    return LARGEST if size == "auto" else int(size)


def make_model(
    node: dict[str, Any],
    parts: Parts,
    shape: tuple[int, ...],
    columns: Schema | None = None,
    target: tuple[int, ...] | None = None,
) -> Autoencoder:
    """Make the model for samples of this shape, with the code size that the constraints give it.

    columns: of a table, or None. target: the shape of targets beside the samples, if there are some.
    """
    arguments = get_options(node["model"]) | {"latent_dim": compute_code_size(node, parts, shape)}
    assert parts.model is not None
    setting = Setting(parts.made["network"], parts.made["likelihood"], shape, columns, target)
    return parts.model(setting, **arguments)


def compute_code_size(node: dict[str, Any], parts: Parts, shape: tuple[int, ...]) -> int:
    """Return the number of code units after all constraints."""
    inputs, options = torch.Size(shape).numel(), get_options(node["model"])
    latent_dim = options["latent_dim"]
    assert parts.model is not None
    if latent_dim == AUTO:
        latent_dim = parts.model.choose(options, inputs)["latent_dim"]
    for part in parts.constraints.values():
        latent_dim = part.code_size(latent_dim, inputs)
    return latent_dim


def make_data_module(node: Mapping[str, Any], source: Source) -> DataModule:
    """Make a source's data module, split and batched as configured. Nothing is read yet."""
    shared = {k: v for k, v in node["dataset"].items() if k in list_keys(DataModule)}
    return DataModule(source=source, seed=node["seed"], **shared)
