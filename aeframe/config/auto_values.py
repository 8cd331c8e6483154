"""Options whose `auto` follows from the data: length, batch size, network and its first weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from aeframe.config.auto_record import AUTO
from aeframe.config.compatibility import collect_choices, explain_no_pca
from aeframe.config.result import Parts
from aeframe.config.targets import get_options
from aeframe.data import DataModule
from aeframe.models.autoencoder import SMALL

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


def choose_small_code(inputs: int) -> int:
    """Return code units that cannot copy samples of this many values: 16, and at most half of them."""
    return max(1, min(SMALL, inputs // 2))


def choose_active_units(inputs: int) -> int:
    """Return active units of a sparse code that compress samples of this many values: a quarter of them."""
    return max(1, inputs // 4)


def list_auto_values(
    node: dict[str, Any], parts: Parts, data: DataModule, begun: Mapping[str, Any]
) -> dict[str, Any]:
    """List the values that replace `auto` for this data, by key. begun: options of the model whose weights
    are the first ones, or none.
    """
    shape, samples = data.spec.shape, data.spec.samples
    network, trainer = parts.made["network"], node["trainer"]
    size = data.batch_size or choose_batch_size(samples, parts.made["hardware"].processes or 1)
    epochs, patience = trainer.get("max_epochs"), None
    if epochs == AUTO and trainer.get("max_steps") is None:
        epochs = choose_epochs(samples, size, trainer.get("accumulate_grad_batches", 1))
        patience = math.ceil(PATIENCE * epochs) if "val" in data.splits else None
    assert parts.model is not None
    has_target = data.spec.target is not None
    # of samples and targets a vector, or the smaller image, restricts the network more
    narrower = min(shape, data.spec.written.shape, key=lambda sides: (len(sides), sides[-1]))
    choices = collect_choices(node, parts, parts.model, size, has_target=has_target)
    linear = explain_no_pca(choices) is None and not choices.model.pairs_components
    linear &= not isinstance(parts.made["init_from"].run, list)  # whose layers have no linear path
    inputs = math.prod(shape)
    chosen = {**parts.model.choose(get_options(node["model"]), inputs, samples), **begun}
    given = node["model"]["latent_dim"]
    units = chosen["latent_dim"] if given == AUTO else given
    return {
        **{f"network.{key}": value for key, value in network.choose(narrower).items()},
        "network.start": "pca" if linear else "random",
        **{f"model.{key}": value for key, value in chosen.items()},
        **{
            f"constraint.{name}.{key}": value
            for name, part in parts.constraints.items()
            for key, value in part.choose(units, inputs).items()
        },
        "dataset.batch_size": size,
        "trainer.max_epochs": None if epochs == AUTO else epochs,
        "early_stopping.patience": patience,
        "dataset.augment": list(data.augmentation.changes),
        "dataset.normalization": data.spec.normalization,
    }
