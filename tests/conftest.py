"""What several test files use."""

from __future__ import annotations

import gc
import itertools
import os
import pickle
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra._internal import config_loader_impl
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository
from hydra._internal.defaults_list import DefaultsList
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import settings
from omegaconf import DictConfig
from sklearn import datasets

from aeframe import cli
from aeframe.launch import CONF, Folders
from tests.forks import Server

torch.set_num_threads(1)
settings.register_profile("untimed", deadline=None)  # a busy machine is no failure
settings.load_profile("untimed")

TINY = (
    *("trainer.max_epochs=1", "trainer.limit_train_batches=2", "evaluation.images=32"),
    "dashboard.images=0",
)
"""What makes a run as short as a run can be."""
TRAIN = Path(__file__).parent.parent / "train.py"
EPOCH = (
    *("network.widths=[]", "model.latent_dim=8", "dataset.batch_size=128"),
    *("trainer.limit_train_batches=4", "evaluation.images=32", "dashboard.images=0"),
)
TWO = (*EPOCH, "trainer.max_epochs=2")
"""Two short epochs, of four steps each."""


def pytest_collection_finish() -> None:
    """What was imported is not looked through again each time that garbage is collected."""
    gc.collect()
    gc.freeze()


NUMBERS = itertools.count()
"""Of the tests, for folders of their own."""


class Killed(BaseException):
    """What cannot be caught: only what was written before is left."""


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
    """No test takes the power away, so that no file of theirs has to reach the disk."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


OWN = {str(CONF), "pkg://hydra.conf", "hydra.conf", "structured://", ""}
"""Where Hydra finds what no test changes."""


@pytest.fixture(autouse=True, scope="session")
def _composed_once() -> Iterator[None]:
    """Configurations of the project's own files are made once of the same words: most of a short test."""
    loader, repository = ConfigLoaderImpl, ConfigRepository
    with pytest.MonkeyPatch.context() as patch:
        for kind, name in (
            (repository, "load_config"),
            (loader, "_compose_config_from_defaults_list"),
            (loader, "_load_configuration_impl"),
        ):
            patch.setattr(kind, name, once(getattr(kind, name)))
        lists = config_loader_impl.create_defaults_list
        patch.setattr(config_loader_impl, "create_defaults_list", listed_once(lists))
        yield


@pytest.fixture(autouse=True, scope="session")
def _digits() -> Iterator[None]:
    """The digits of most tests are parsed once: 1,797 lines of text."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets, "load_digits", cache(datasets.load_digits))
        yield


@pytest.fixture(autouse=True, scope="session")
def _copied_by_bytes() -> Iterator[None]:
    """A configuration that is no part of another is copied as pickle does, in a fifth of the time."""
    deeply = DictConfig.__deepcopy__

    def copied(self: DictConfig, memo: dict[int, Any]) -> DictConfig:
        if self._get_parent() is not None:
            return deeply(self, memo)
        memo[id(self)] = new = pickle.loads(pickle.dumps(self))
        return new

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DictConfig, "__deepcopy__", copied)
        yield


def listed_once(make: Callable[..., DefaultsList]) -> Callable[..., DefaultsList]:
    """The same function of Hydra's, which looks for the same options once: values choose no files."""
    known: dict[str, DefaultsList] = {}

    def made(repo: Any, config_name: str, overrides_list: list[Any], **named: Any) -> DefaultsList:
        def chooses(word: Any) -> bool:
            if word.is_sweep_override():
                return True
            return repo.group_exists(word.key_or_group) and not isinstance(word.value(), dict)

        choices = [word for word in overrides_list if chooses(word)]
        values = [word for word in overrides_list if not chooses(word)]
        key = f"{config_name} {[word.input_line for word in choices]} {named}"
        if not {source.path for source in repo.get_sources()} <= OWN:
            return make(repo=repo, config_name=config_name, overrides_list=overrides_list, **named)
        if key not in known:
            known[key] = make(repo=repo, config_name=config_name, overrides_list=choices, **named)
        return replace(known[key], config_overrides=values)

    return made


def once(make: Callable[..., Any]) -> Callable[..., Any]:
    """The same method of Hydra's, which gives copies of what the same arguments gave before."""
    known: dict[str, bytes] = {}

    def made(self: Any, *args: Any, **named: Any) -> Any:
        repository = named.get("repo", self)
        sources = (
            repository.config_search_path.get_path()
            if isinstance(repository, ConfigLoaderImpl)
            else repository.get_sources()
        )
        key = f"{args} { {k: v for k, v in named.items() if k != 'repo'} }"
        if not {source.path for source in sources} <= OWN or "searchpath" in key:
            return make(self, *args, **named)
        if key not in known:
            known[key] = pickle.dumps(make(self, *args, **named))
        found = pickle.loads(known[key])  # as deepcopy() makes, in a fifth of its time
        if isinstance(repository, ConfigLoaderImpl):
            found.hydra.runtime.cwd = os.getcwd()
        return found

    return made


@pytest.fixture(autouse=True)
def _sigint() -> Iterator[None]:
    """As in a terminal: what starts in the background may ignore it, and Lightning takes handlers away."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, handler)


COMPOSED: dict[tuple[str, ...], bytes] = {}


@pytest.fixture
def compose() -> Callable[..., DictConfig]:
    """A configuration from overrides, as the command line composes it.

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
    """Whether a word of the command line says which files are read."""
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
            cli.train()
        out, err = capfd.readouterr()
        return int(ended.value.code or 0), out, err

    return run


def is_installed(plugin: str) -> bool:
    """Whether a plugin of Hydra's is."""
    try:
        return find_spec(f"hydra_plugins.{plugin}") is not None
    except ModuleNotFoundError:  # none is
        return False


def contents(root: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below a folder, with its date."""
    files = (f for f in sorted(root.rglob("*")) if f.is_file())
    return {str(f.relative_to(root)): (f.stat().st_mtime_ns, f.read_bytes()) for f in files}


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """What runs are forked from, each of which would take seconds to import what it needs."""
    with Server() as started:
        yield started


def trained_in(server: Server, root: Path, *words: str) -> Path:
    """The folder of a run that a fixture starts in `root`."""
    said = root / "said"
    assert server.start([*words, "hydra.run.dir=run"], root, said).wait(200) == 0, said.read_text()
    return root / "run"


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
    """The same, of which only the end is missing."""
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
            cli.main()
        out, err = capfd.readouterr()
        return int(ended.value.code or 0), out, err

    return run
