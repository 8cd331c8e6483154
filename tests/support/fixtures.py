"""Fixtures that several test files use."""

from __future__ import annotations

import gc
import itertools
import os
import pickle
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import settings
from omegaconf import DictConfig

from aeframe.cli import main, train
from aeframe.cli.run_folders import Folders
from aeframe.config.composition import CONF
from tests.support.forks import Server
from tests.support.made_once import made_once
from tests.support.runs import TWO, trained_in

torch.set_num_threads(1)
settings.register_profile("untimed", deadline=None)  # a busy machine is no failure
settings.load_profile("untimed")


NUMBERS = itertools.count()
"""Numbers of the tests, for folders of their own."""
SEARCHED = 0
"""Number of modules that were excluded from garbage collection."""


@pytest.fixture(autouse=True, scope="module")
def _garbage() -> None:
    """Runs search only what their own file has made: a search of all would take longer than to train."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _seed() -> None:
    """Every test draws the same numbers, whichever tests ran before it in its process."""
    torch.manual_seed(0)
    np.random.seed(0)


@pytest.fixture(autouse=True)
def _imports() -> None:
    """Modules that a test before has imported are no garbage either."""
    global SEARCHED
    if len(sys.modules) > SEARCHED:
        SEARCHED = len(sys.modules)
        gc.collect()
        gc.freeze()


@pytest.fixture(autouse=True)
def _folders() -> None:
    Folders(make=False).register()


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoded images do not outlive a test."""
    place = tmp_path_factory.getbasetemp() / "caches" / str(next(NUMBERS))
    monkeypatch.setenv("XDG_CACHE_HOME", str(place))


@pytest.fixture(autouse=True)
def _power(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests do not cut the power, so that no file of theirs has to reach the disk."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture(autouse=True, scope="session")
def _made_once() -> Iterator[None]:
    """Tests share results that do not change."""
    with made_once():
        yield


@pytest.fixture(autouse=True)
def _sigint() -> Iterator[None]:
    """SIGINT works as in a terminal: background jobs may ignore it, and Lightning takes handlers away."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, handler)


COMPOSED: dict[tuple[str, ...], bytes] = {}


@pytest.fixture
def compose() -> Callable[..., DictConfig]:
    """Compose a configuration from overrides, as the command line does.

    The choice of groups is composed once, and values are put in by what Hydra puts them in with: to look
    for files takes ten times as long.
    """

    def composed(*overrides: str) -> DictConfig:
        groups = tuple(word for word in overrides if _chooses(word))
        values = [word for word in overrides if not _chooses(word)]
        if groups not in COMPOSED:
            with initialize_config_dir(str(CONF), version_base="1.3"):
                COMPOSED[groups] = pickle.dumps(hydra_compose("config", list(groups)))
        cfg: DictConfig = pickle.loads(COMPOSED[groups])
        parsed = OverridesParser.create().parse_overrides(values)
        ConfigLoaderImpl._apply_overrides_to_config(parsed, cfg)
        return cfg

    return composed


def _chooses(word: str) -> bool:
    """Check whether a word of the command line chooses the files that are read."""
    key = word.partition("=")[0].lstrip("+~").partition("@")[0]
    return key.startswith("hydra") or (CONF / key).is_dir()


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    """64 vectors of 12 numbers near a 3-dimensional subspace, in a .npy file."""
    generator = np.random.default_rng(0)
    data = generator.normal(size=(64, 3)) @ generator.normal(size=(3, 12))
    file = tmp_path / "vectors.npy"
    np.save(file, data.astype(np.float32))
    return file


@pytest.fixture
def aeframe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Any]:
    """Run the command in this process and in tmp_path: (exit status, stdout, stderr)."""

    def run(*argv: str) -> tuple[int, str, str]:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["train.py", *argv])
        with pytest.raises(SystemExit) as ended:
            train.train()
        out, err = capfd.readouterr()
        return int(ended.value.code or 0), out, err

    return run


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """Start the server that forks runs, each of which would take seconds to import what it needs."""
    with Server() as started:
        yield started


@pytest.fixture(scope="session")
def trained(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs that has finished; to be copied."""
    root = tmp_path_factory.mktemp("trained")
    return trained_in(server, root, *TWO)


@pytest.fixture
def finished(trained: Path, tmp_path: Path) -> Path:
    """A finished run in ./run."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


@pytest.fixture
def begun(finished: Path) -> Path:
    """An unfinished run in ./run, which lacks only its end."""
    (finished / "evaluation.json").unlink()
    return finished


@pytest.fixture
def verb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Run `aeframe VERB` in this process and in tmp_path: (exit status, stdout, stderr)."""

    def run(*argv: str | Path) -> tuple[int, str, str]:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["aeframe", *map(str, argv)])
        with pytest.raises(SystemExit) as ended:
            main.main()
        out, err = capfd.readouterr()
        return int(ended.value.code or 0), out, err

    return run
