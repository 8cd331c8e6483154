"""A loaded network measured as a run measures it at its end."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch

from aeframe.cli.verbs.given import reading
from aeframe.cli.verbs.inputs import opened
from aeframe.cli.verbs.outputs import shown
from aeframe.cli.verbs.own_data import own_data
from aeframe.core.errors import UserError
from aeframe.core.noise import Noise
from aeframe.data import DataModule, DataSpec
from aeframe.data.memory_map import require_room
from aeframe.evaluation.metrics import Metrics
from aeframe.runs.model import Model
from aeframe.runs.sample_arrays import check_values, rows


def of_input(model: Model, options: argparse.Namespace) -> dict[str, Any]:
    """The metrics on what the command line names."""
    model.require_decoder("evaluate")
    given = opened(options.input, model, options)
    with reading(given):
        blocks = shown(given.blocks(model.batch_size), given.count, "Evaluating")
        metrics = _metrics(model, blocks, model.description.data)
        return {"metrics": metrics.compute(), "samples": given.count}


def of_test_split(model: Model, run: str) -> dict[str, Any]:
    """The evaluation card on the run's own test split, whose data must be where it was. run: its folder."""
    model.require_decoder("evaluate")
    parts, data = own_data(model, run, "; or write: aeframe evaluate RUN INPUT")
    count = len(data.splits["test"])
    # the batches of training's own test: to each belongs other noise
    rows = data.together(model.net.most_rows)
    _require_room(model, min(rows, count))
    blocks = _blocks(data, rows)
    metrics = _metrics(model, shown(blocks, count, "Evaluating"), data.spec)
    metrics.count_dead(data)
    return parts.made["evaluation"].card(model.net, data, metrics.compute()).as_dict()


def _require_room(model: Model, rows: int) -> None:
    """Raise UserError where one batch, as large as the run's configuration says, exceeds the memory."""
    net = model.net.model
    draws = getattr(net, "k", 1)
    numbers = rows * draws * (2 * net.inputs + net.latent_dim + sum(net.layer_sizes))
    try:
        require_room(4 * numbers)
    except MemoryError as error:
        what = f"the run's batches of {rows:,} samples, each decoded {draws:,} times, take {error}"
        remedy = "Write aeframe evaluate RUN INPUT, with a smaller --batch-size."
        raise UserError("evaluate", what, remedy) from error


def _blocks(data: DataModule, n: int) -> Iterator[np.ndarray]:
    samples = data.splits["test"]
    for start in range(0, len(samples), n):
        yield samples[start : start + n].x.numpy()


@torch.no_grad()
def _metrics(model: Model, blocks: Iterable[np.ndarray], spec: DataSpec) -> Metrics:
    """Clean and deterministic for the reconstruction; corrupted and sampled for the loss."""
    net = model.net
    low, high = spec.range_in(net.normalization)
    metrics = Metrics(net, high - low).to(model.device)
    for number, block in enumerate(blocks):
        raw = rows(block, "x")
        check_values(raw, spec, "x")
        x = net.normalization(raw.to(model.device))
        noise = Noise(model.config.get("seed", 0), "test", number)
        clean = net(x, noise=noise, as_trained=False)
        random = net.has_corruption or net.is_stochastic
        metrics.update(clean, net(x, noise=noise) if random else clean)
    return metrics
