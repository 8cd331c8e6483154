"""Objects made from a checked configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from aeframe.config.result import Parts
from aeframe.config.signature import parameters
from aeframe.config.targets import keys, options_of
from aeframe.data import DataModule, Source
from aeframe.models import Autoencoder, Setting


def batch_size(node: dict[str, Any]) -> int:
    """Return the batch size of all devices together."""
    default, _ = parameters(DataModule)["batch_size"]
    return int(node["dataset"].get("batch_size", default))


def make_model(node: dict[str, Any], parts: Parts, shape: tuple[int, ...]) -> Autoencoder:
    """Make the model for samples of this shape, with the code size that the constraints give it."""
    arguments = options_of(node["model"]) | {"latent_dim": code_size(node, parts, shape)}
    assert parts.model is not None
    setting = Setting(parts.made["network"], parts.made["likelihood"], shape)
    return parts.model(setting, **arguments)


def code_size(node: dict[str, Any], parts: Parts, shape: tuple[int, ...]) -> int:
    """Return the number of code units after all constraints."""
    latent_dim = int(node["model"]["latent_dim"])
    for part in parts.constraints.values():
        latent_dim = part.code_size(latent_dim, torch.Size(shape).numel())
    return latent_dim


def data_module(node: Mapping[str, Any], source: Source) -> DataModule:
    """Make a source's data module, split and batched as configured. Nothing is read yet."""
    shared = {k: v for k, v in node["dataset"].items() if k in keys(DataModule)}
    return DataModule(source=source, seed=node["seed"], **shared)
