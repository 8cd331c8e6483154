"""The data of a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aeframe.config.classes import keys
from aeframe.data import DataModule, Source


def data_module(node: Mapping[str, Any], source: Source) -> DataModule:
    """A source, split and batched as the configuration says. Nothing is read yet."""
    shared = {k: v for k, v in node["dataset"].items() if k in keys(DataModule)}
    return DataModule(source=source, seed=node["seed"], **shared)
