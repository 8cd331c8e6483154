"""Metrics of a loaded network, as a run measures them at its end."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torchmetrics import Metric

from aeframe.cli.verbs.given import explain_samples
from aeframe.cli.verbs.inputs import open_input
from aeframe.cli.verbs.outputs import show_progress
from aeframe.cli.verbs.own_data import load_run_data
from aeframe.config.added_parts import make_group
from aeframe.config.result import Parts
from aeframe.core.errors import ConfigError, UserError
from aeframe.core.noise import Noise
from aeframe.data import DataModule, DataSpec
from aeframe.data.memory_map import require_room
from aeframe.evaluation.metrics import Metrics
from aeframe.runs.model import Model
from aeframe.runs.sample_arrays import convert_to_rows, normalize_samples
from aeframe.runs.test_errors import TestErrors


class Block(NamedTuple):
    """Stored samples, and their targets if they have some."""

    x: np.ndarray
    targets: torch.Tensor | None

    def __len__(self) -> int:
        return len(self.x)


def evaluate_input(model: Model, options: argparse.Namespace) -> dict[str, Any]:
    """Measure the metrics on the samples that the command names."""
    model.require_decoder("evaluate")
    if model.target_shape is not None:
        what = "this model was trained with targets, which INPUT does not have"
        raise UserError("evaluate", what, "Leave INPUT out, for the run's own test split.")
    added = _make_added_metrics(model)
    given = open_input(options.input, model, options)
    with explain_samples(given):
        blocks = show_progress(_pair(given.blocks(model.batch_size)), given.count, "Evaluating")
        metrics = _measure(model, blocks, model.description.data, added)
        return {"metrics": metrics.compute(), "samples": given.count}


def _make_added_metrics(model: Model) -> dict[str, Metric]:
    """Make the metrics that plug-ins have added to the run. Raises ConfigError if one is missing."""
    parts = Parts()
    make_group("metrics", model.config.get("metrics") or {}, parts)
    if parts.problems:
        raise ConfigError(parts.problems)
    return parts.added["metrics"]


def evaluate_test_split(model: Model, run: str) -> dict[str, Any]:
    """Make the evaluation card on the run's own test split; its data must still be there. run: its folder."""
    model.require_decoder("evaluate")
    parts, data = load_run_data(model, run, "; or write: aeframe evaluate RUN INPUT")
    count = len(data.splits["test"])
    # the same batches as in training: each has its own noise
    rows = data.count_together(model.net.most_rows)
    _require_room(model, min(rows, count))
    blocks = _split_blocks(data, rows)
    shown, added = show_progress(blocks, count, "Evaluating"), parts.added["metrics"]
    metrics = _measure(model, shown, data.spec, added)
    metrics.count_dead(data)
    found = metrics.compute()
    found["mse_standard_error"] = TestErrors.measure(model.net, data).standard_error
    return parts.made["evaluation"].make_card(model.net, data, found).as_dict()


def _require_room(model: Model, rows: int) -> None:
    """Raise UserError if one batch of the run's batch size does not fit into memory."""
    net = model.net.model
    draws = getattr(net, "k", 1)
    numbers = rows * draws * (net.inputs + net.outputs + net.latent_dim + sum(net.layer_sizes))
    try:
        require_room(4 * numbers)
    except MemoryError as error:
        what = f"the run's batches of {rows:,} samples, each decoded {draws:,} times, need {error}"
        remedy = "Write aeframe evaluate RUN INPUT, with a smaller --batch-size."
        raise UserError("evaluate", what, remedy) from error


def _split_blocks(data: DataModule, n: int) -> Iterator[Block]:
    samples = data.splits["test"]
    for start in range(0, len(samples), n):
        batch = samples[start : start + n]
        yield Block(batch.x.numpy(), batch.target)


def _pair(blocks: Iterable[np.ndarray]) -> Iterator[Block]:
    return (Block(block, None) for block in blocks)


@torch.no_grad()
def _measure(
    model: Model,
    blocks: Iterable[Block],
    spec: DataSpec,
    added: Mapping[str, Metric] | None = None,
) -> Metrics:
    """Measure reconstructions of clean input without sampling, and the loss with corruption and sampling.

    added: metrics of plug-ins.
    """
    net = model.net
    low, high = spec.written.get_range(net.written_normalization)
    metrics = Metrics(net, high - low, added).to(model.device)
    for number, (block, targets) in enumerate(blocks):
        raw = convert_to_rows(block, "x")
        target = net.normalize_target(None if targets is None else targets.to(model.device))
        x = normalize_samples(raw, spec, net.normalization, "x")
        noise = Noise(model.config.get("seed", 0), "test", number)
        clean = net(x, noise=noise, as_trained=False, target=target)
        random = net.has_corruption or net.is_stochastic
        metrics.update(clean, net(x, noise=noise, target=target) if random else clean)
    return metrics
