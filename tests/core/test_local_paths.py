"""Paths: ~ is the user's folder everywhere, addresses are refused everywhere, and odd names can be typed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone

import aeframe as package
from aeframe import codec
from aeframe.cli.command_line import parse
from aeframe.config.check import check
from aeframe.config.node import to_plain
from aeframe.core.errors import UserError
from aeframe.core.local_paths import expand_path, is_address
from aeframe.estimators import AutoencoderTransformer
from tests.support.runs import TINY

Command = Callable[..., tuple[int, str, str]]
ADDRESSES = ("s3://bucket/x", "hf://datasets/x", "https://host/x.npy", "gs://b", "file:///x")
SAID = "is an address, and aeframe reads and writes local files only. "


@pytest.mark.parametrize("address", ADDRESSES)
def test_addresses_are_told_from_paths(address: str) -> None:
    assert is_address(address)
    assert is_address(str(Path(address)))  # which has one slash
    with pytest.raises(UserError, match=f"^{address}: is an address"):
        expand_path(address)


@pytest.mark.parametrize("path", ["outputs/x", "C:/x", "x:y", "a/s3://x", "/s3:/x", "~/x", "s3:x"])
def test_paths_are_no_addresses(path: str) -> None:
    assert not is_address(path)


def test_a_folder_that_is_there_is_none_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s3:" / "x").mkdir(parents=True)  # of an older version's run
    assert expand_path("s3://x") == Path("s3:/x")


@pytest.mark.parametrize(
    "words",
    [
        ("hydra.run.dir=s3://b/run",),
        ("hydra.run.dir='s3://b/run'",),
        ("-m", "seed=1,2", "hydra.sweep.dir=s3://b/run"),
        ("resume=s3://b/run",),
        ("dataset=array", "dataset.path=s3://b/x.npy"),
        ("dataset=array", "dataset.path=https://b/x.npy?a&b#c"),
        ("dataset=array", "dataset.path=x.npy", "dataset.test_path=gs://b/x.npy"),
        ("dataset=mnist", "dataset.root=hf://b"),
        ("dataset=image_folder", "dataset.root=s3://b"),
    ],
)
def test_training_refuses_addresses(
    aeframe: Command, tmp_path: Path, words: tuple[str, ...]
) -> None:
    np.save(tmp_path / "x.npy", np.zeros((20, 4), np.float32))
    status, out, err = aeframe(*TINY, *words)
    assert (status, out) == (2, "")
    assert SAID in err
    assert err.count("\n") == 1
    assert err.startswith(f"aeframe: {words[-1].replace(chr(39), '')}: ")
    assert [path.name for path in tmp_path.iterdir()] == ["x.npy"]


def test_a_file_that_names_one_is_told(aeframe: Command, tmp_path: Path) -> None:
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    for folder in ("s3://b/x", "~/x"):
        text = f"# @package _global_\nhydra: {{run: {{dir: {folder}}}}}\n"
        (tmp_path / "mine" / "experiment" / "x.yaml").write_text(text)
        status, _, err = aeframe("--config-dir", "mine", "experiment=x")
        assert status == 2
        assert err.startswith(f"aeframe: hydra.run.dir={folder}: ")
    assert err.endswith(f"Hydra does not know ~. Write hydra.run.dir={Path('~/x').expanduser()}.\n")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    "words",
    [
        ("encode", "s3://b/run", "x.npy", "--out", "y.npy"),
        ("encode", "run", "s3://b/x.npy", "--out", "y.npy"),
        ("encode", "run", "x.npy", "--out", "s3://b/y.npy"),
        ("encode", "run", "mnist", "--root", "hf://b", "--out", "y.npy"),
        ("evaluate", "https://b/run"),
        ("export", "gs://b/run", "--out", "y"),
        ("compress", "run", "s3://b", "--out", "y.aez"),
        ("runs", "s3://b"),
    ],
)
def test_verbs_refuse_addresses(verb: Command, tmp_path: Path, words: tuple[str, ...]) -> None:
    status, out, err = verb(*words)
    assert (status, out) == (2, "")
    assert SAID in err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_python_refuses_addresses() -> None:
    for load in (package.load, codec.load):
        with pytest.raises(UserError, match="is an address"):
            load("s3://b/run")
    estimator = clone(AutoencoderTransformer(folder="s3://b/run"))
    with pytest.raises(ValueError, match="folder=s3://b/run: is an address"):
        estimator.fit(np.zeros((9, 3)))


# what is typed


NAMES = (
    *("~/x.npy", "a#1.npy", "wow!.npy", "a&b.npy", "a;b.npy", "it's.npy", 'say "x".npy', "a b.npy"),
    *("'half.npy", "a`b.npy", "a<b>.npy", "ö#.npy", "a^b.npy"),
)
QUOTED = ("a,b&c.npy", "a=b#.npy", "(x)!.npy", 'x]"y".npy', "a,'b.npy", "a}#.npy")


@pytest.mark.parametrize("name", NAMES)
def test_odd_names_are_taken_as_they_are_typed(name: str) -> None:
    cfg, *_ = parse(["dataset=array", f"dataset.path={name}"]).compose()
    assert cfg.dataset.path == name


@pytest.mark.parametrize("name", QUOTED)
def test_other_names_are_told_with_the_word_to_type(aeframe: Command, name: str) -> None:
    status, _, err = aeframe("dataset=array", f"dataset.path={name}")
    assert status == 2
    found = re.search(r"[Ww]rite (.+?) for a (text|name)", err)
    assert found is not None, err
    (word,) = shlex.split(found[1])
    cfg, *_ = parse(["dataset=array", word]).compose()
    assert cfg.dataset.path == name


@pytest.mark.parametrize("word", ["constraint=[topk,masking]", "network.widths=[8, 4]", "seed='1'"])
def test_values_that_hydra_reads_stay_as_they_are(word: str) -> None:
    assert parse([word]).overrides[0].lstrip("+") == word


def test_the_users_folder_is_meant_by_a_tilde(
    aeframe: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compose: Callable[..., Any]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    _, _, folder, _ = parse(["hydra.run.dir=~/runs/a#1"]).compose()
    assert folder == tmp_path / "home" / "runs" / "a#1"
    assert parse(["-m", "hydra.sweep.dir=~/sweep"]).sweep == tmp_path / "home" / "sweep"
    assert "resume=~/run: does not exist" in aeframe("resume=~/run")[2]
    np.save(tmp_path / "home" / "x.npy", np.zeros((20, 4), np.float32))
    check(to_plain(compose("dataset=array", "dataset.path='~/x.npy'", "model.latent_dim=2")))
