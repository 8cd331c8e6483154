"""Runs at a pace, and where two of them differ."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from aeframe.monitoring.loggers.delivery import Delivery
from aeframe.training.build import Built, build
from aeframe.training.checkpointing import Best
from aeframe.training.trainer import make_trainer
from tests.support.events import Events

Compose = Callable[..., DictConfig]
Pace = int | str
SMALL = (
    *(
        "network.widths=[]",
        "network.start=random",
        "dataset.batch_size=128",
        "trainer.max_epochs=2",
    ),
    *("dashboard.images=0", "dashboard.every_n_epochs=1", "trainer.log_every_n_steps=5"),
)


class Run:
    """A run with the files that it leaves."""

    def __init__(self, cfg: DictConfig, folder: Path) -> None:
        self.built: Built = build(cfg)
        self.folder = folder
        best = Best(folder, self.built.node["optimized_metric"])
        self.trainer = make_trainer(self.built, folder, best, Delivery({}, folder, {}))

    def fit(self) -> Run:
        self.trainer.fit(self.built.module)
        self.trainer.save_checkpoint(self.folder / "checkpoints" / "end.ckpt")
        return self

    def move(self, folder: Path) -> Run:
        """Make room for another run of the same name, so that checkpoints name the same files."""
        self.folder = self.folder.rename(folder)
        return self

    def checkpoint(self, name: str) -> dict[str, Any]:
        return torch.load(self.folder / "checkpoints" / f"{name}.ckpt", weights_only=True)

    def story(self) -> dict[str, Any]:
        """Read all that a pace must not change."""
        names = [f.stem for f in (self.folder / "checkpoints").iterdir()]
        story = {name: self.checkpoint(name) for name in names}
        for state in story.values():
            del state["hyper_parameters"]  # the pace itself
        return {**story, "events": written(self.folder)}


def written(folder: Path) -> dict[str, Any]:
    """Read the steps and values in the event files; of speeds only the steps."""
    read = Events(folder).read
    found = {tag: [(e.step, e.value) for e in read.Scalars(tag)] for tag in read.Tags()["scalars"]}
    for tag in read.Tags()["images"]:
        found[tag] = [(e.step, e.encoded_image_string) for e in read.Images(tag)]
    for tag in read.Tags()["histograms"]:
        found[tag] = [(e.step, e.histogram_value) for e in read.Histograms(tag)]
    speeds = ("vitals/samples_per_second", "vitals/data_waiting")
    return {**found, **{speed: [step for step, _ in found.get(speed, [])] for speed in speeds}}


def differences(a: Any, b: Any, where: str = "") -> Iterator[str]:
    """List the places where two nested values are not the same, bit for bit."""
    if isinstance(a, list) and isinstance(b, list):
        a, b = dict(enumerate(a)), dict(enumerate(b))
    if isinstance(a, dict) and isinstance(b, dict):
        if a.keys() != b.keys():
            yield f"{where}: {a.keys() ^ b.keys()}"
        for key in a.keys() & b.keys():
            yield from differences(a[key], b[key], f"{where}/{key}")
    elif isinstance(a, Tensor) and isinstance(b, Tensor):
        if a.dtype != b.dtype or not torch.equal(a, b):
            yield where
    elif a != b:
        yield f"{where}: {a} {b}"


GROUPS = {"model", "network", "dataset", "constraint"}


COMPOSED: dict[tuple[str, ...], DictConfig] = {}


@pytest.fixture
def quickly(compose: Compose) -> Compose:
    """Compose a configuration; Hydra runs once for each choice of groups, since it takes longer than
    training.
    """

    def composed(*overrides: str) -> DictConfig:
        groups = tuple(o for o in overrides if o.partition("=")[0] in GROUPS)
        if groups not in COMPOSED:
            COMPOSED[groups] = compose(*groups)
            OmegaConf.set_struct(COMPOSED[groups], False)
        cfg = deepcopy(COMPOSED[groups])
        cfg.merge_with_dotlist([o.removeprefix("+") for o in overrides if o not in groups])
        return cfg

    return composed


@pytest.fixture
def trained(quickly: Compose, tmp_path: Path) -> Callable[..., Run]:
    """Train at a pace."""
    count = itertools.count()

    def ran(steps_per_call: Pace, *overrides: str) -> Run:
        cfg = quickly(*SMALL, *overrides, f"trainer.steps_per_call={steps_per_call}")
        return Run(cfg, tmp_path / "run").fit().move(tmp_path / f"run{next(count)}")

    return ran
