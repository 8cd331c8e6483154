"""Options whose `auto` follows from the data: length, batch size, network and its first weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from aeframe.config.compatibility import collect_choices, explain_no_pca
from aeframe.config.optimized_metric import AUTO
from aeframe.config.result import Parts
from aeframe.core.plain import as_mapping
from aeframe.data import DataModule

RECORD = "automatic"
"""Root key of a saved configuration: the options that were `auto`, and their values."""
STEPS, EPOCHS = 4000, 20
"""Optimizer steps and epochs that a run is given at least."""
PATIENCE = 0.25
"""Share of the epochs after which training without improvement stops."""
BATCHES, SMALLEST, LARGEST = 16, 16, 128
"""Batches that an epoch has at least, and the limits of a batch."""


def choose_batch_size(samples: int, processes: int) -> int:
    """Return the batch size for this number of training samples: the largest power of two, from 16 to
    128, that leaves 16 batches to an epoch, rounded up to a multiple of the processes.
    """
    size = min(LARGEST, max(SMALLEST, 2 ** int(math.log2(max(1, samples / BATCHES)))))
    return -(-size // processes) * processes


def choose_epochs(samples: int, batch_size: int, accumulated: int) -> int:
    """Return the epochs of a run with this number of training samples: 20, or those of 4,000 steps."""
    steps = math.ceil(math.ceil(samples / batch_size) / accumulated)
    return max(EPOCHS, math.ceil(STEPS / steps))


def list_auto_values(node: dict[str, Any], parts: Parts, data: DataModule) -> dict[str, Any]:
    """List the values that replace `auto` for this data, by key."""
    shape, samples = data.spec.shape, data.spec.samples
    network, trainer = parts.made["network"], node["trainer"]
    size = data.batch_size or choose_batch_size(samples, parts.made["hardware"].processes or 1)
    epochs, patience = trainer.get("max_epochs"), None
    if epochs == AUTO and trainer.get("max_steps") is None:
        epochs = choose_epochs(samples, size, trainer.get("accumulate_grad_batches", 1))
        patience = math.ceil(PATIENCE * epochs) if "val" in data.splits else None
    assert parts.model is not None
    linear = explain_no_pca(collect_choices(node, parts, parts.model, size)) is None
    linear &= not isinstance(parts.made["init_from"].run, list)  # whose layers have no linear path
    return {
        **{f"network.{key}": value for key, value in network.choose(shape).items()},
        "network.start": "pca" if linear else "random",
        "dataset.batch_size": size,
        "trainer.max_epochs": None if epochs == AUTO else epochs,
        "early_stopping.patience": patience,
        "dataset.augment": list(data.augmentation.changes),
        "dataset.normalization": data.spec.normalization,
    }


def settle(node: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration with values in place of `auto`, and the record of them.

    values: by dotted key. Only those that are written as `auto` are taken.
    """
    settled: dict[str, Any] = {**node, RECORD: dict(as_mapping(node.get(RECORD)))}
    for key, value in values.items():
        group, _, name = key.partition(".")
        if as_mapping(settled.get(group)).get(name) == AUTO:
            settled[group] = {**settled[group], name: value}
            settled[RECORD][key] = value
    return settled


def unsettle(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration as it was written, with `auto` for the values in the record."""
    written = {key: value for key, value in node.items() if key != RECORD}
    for key, value in as_mapping(node.get(RECORD)).items():
        group, _, name = key.partition(".")
        if as_mapping(written.get(group)).get(name) == value:
            written[group] = {**written[group], name: AUTO}
    return written
