"""aeframe as `python train.py` runs it, with all its defaults."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from aeframe.cli import train as training_command
from tests.benchmarks.clock import clocked
from tests.benchmarks.networks import Autoencoder
from tests.benchmarks.stage import Screen
from tests.benchmarks.work import Trained, Work, adam_steps

LOGGED_EVERY = 20  # steps, by default: a run that writes less often does less


def overrides(work: Work) -> tuple[str, ...]:
    """Return the work as overrides of aeframe; the steps after training are kept short."""
    limit = () if work.limit is None else (f"trainer.limit_train_batches={work.limit}",)
    return (
        *work.network.overrides,
        f"dataset.batch_size={work.batch}",
        f"trainer.max_epochs={work.epochs}",
        *limit,
        f"dataset.val_fraction={work.val / work.total}",
        "trainer.limit_test_batches=1",
        "evaluation.images=32",
    )


def train(
    work: Work, words: tuple[str, ...], seed: int, folder: Path, screen: Screen, *, compared: bool
) -> Trained:
    """Train in this process. words: further overrides, with the data set.

    compared: whether the weights are wanted, and what was written about the error with them.
    """
    run = folder / "run"
    said = [*overrides(work), *words, f"seed={seed}", f"hydra.run.dir={run}"]
    with patch.object(sys, "argv", ["train.py", *said]), clocked() as clock:
        try:
            training_command.train()
        except SystemExit as end:
            if end.code:
                raise RuntimeError(f"aeframe ended with {end.code}: {screen.said}") from None
    last = _checkpoint(run / "checkpoints" / "last.ckpt")
    network = _network(work, last["state_dict"]) if compared else None
    faults = left_undone(run, last, work)
    return Trained(clock.seconds, adam_steps(last["optimizer_states"][0]), network, tuple(faults))


def left_undone(run: Path, last: dict[str, Any], work: Work) -> list[str]:
    """List the files of a run with default settings that this one did not leave."""
    found = []
    if last["global_step"] != work.steps:
        found.append(f"last.ckpt is of step {last['global_step']}, not {work.steps}")
    best = _checkpoint(run / "checkpoints" / "best.ckpt")
    if best["state_dict"].keys() != last["state_dict"].keys():
        found.append("best.ckpt holds other weights than last.ckpt")
    events = EventAccumulator(str(run), {"scalars": 0}, purge_orphaned_data=False).Reload()
    logged = min(LOGGED_EVERY, work.steps // work.epochs)  # each epoch has a point
    points = {"train/loss": work.steps // logged, "val/mse": work.epochs}
    for tag, count in points.items():
        steps = [e.step for e in events.Scalars(tag)] if tag in events.Tags()["scalars"] else []
        if not len(steps) == len(set(steps)) == count:
            found.append(f"{tag} has points at {steps}, not {count}")
    if not events.Tags()["histograms"]:
        found.append("the dashboard drew nothing")
    return found


def _checkpoint(file: Path) -> dict[str, Any]:
    return torch.load(file, map_location="cpu", weights_only=True)


def _network(work: Work, state: dict[str, Tensor]) -> Autoencoder:
    """The reference's network with aeframe's weights: the layers are the same, and in the same order."""
    network = work.network.build()
    own, theirs = network.state_dict(), list[Tensor]()
    for key, value in state.items():
        parts = key.split(".")
        if parts[-1] == "centre":  # an image there, a vector here
            theirs.append(value.flatten())
        elif "encoder" in parts or "decoder" in parts:
            theirs.append(value)
    if [t.shape for t in own.values()] != [t.shape for t in theirs]:
        raise RuntimeError("aeframe's network has other layers than the reference's")
    network.load_state_dict(dict(zip(own, theirs, strict=True)))
    return network
