"""Runs that were begun when the defaults were others go on by the command that they were begun with."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from aeframe import load
from tests.support.resumed import auto

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def old(begun: Path) -> Path:
    """A run whose defaults were others: a variance of 1, normalization=unit, lr 2e-3, and no activation."""
    for file in (begun / "checkpoints").glob("*.ckpt"):
        state = torch.load(file, weights_only=True)
        node = state["hyper_parameters"]
        node["likelihood"]["variance"], node["dataset"]["normalization"] = 1.0, "unit"
        del node["network"]["activation"]
        node["optimizer"]["lr"] = 2e-3
        state.get("callbacks", {}).get("Dashboard", {}).pop("whole", None)  # it was not saved
        torch.save(state, file)
    return begun


def test_the_command_of_an_older_run_goes_on_with_its_own_values(
    aeframe: Command, old: Path
) -> None:
    status, out, err = aeframe(*auto("trainer.max_epochs=3"))
    assert (status, err) == (0, "")
    assert "Resuming at step 8 (epoch 2 of 3)." in out.splitlines()
    assert json.loads((old / "evaluation.json").read_text())["epochs"] == 3
    node = torch.load(old / "checkpoints" / "last.ckpt", weights_only=True)["hyper_parameters"]
    assert (node["likelihood"]["variance"], node["optimizer"]["lr"]) == (1.0, 2e-3)
    assert node["dataset"]["normalization"] == "unit"
    assert "activation" not in node["network"]


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("optimizer.lr=1e-3", ["optimizer.lr=0.001"]),
        ("dataset.normalization=none", ["dataset.normalization=none"]),
        ("likelihood.variance=auto", ["likelihood.variance=auto"]),
    ],
)
def test_only_what_was_typed_anew_is_refused(
    aeframe: Command, old: Path, word: str, told: list[str]
) -> None:
    status, _, err = aeframe(*auto(word))
    assert status == 2
    lines = [line.removeprefix("aeframe: ") for line in err.splitlines()]
    assert [line.partition(":")[0] for line in lines] == told


def test_another_command_is_another_runs(aeframe: Command, old: Path) -> None:
    """Here `model` was typed when the run was begun, and is not now; or it cannot be told."""
    words = old / ".hydra" / "overrides.yaml"
    words.write_text(f"{words.read_text()}- model=undercomplete\n")
    assert aeframe(*auto())[0] == 2
    shutil.rmtree(old / ".hydra")
    assert aeframe(*auto())[0] == 2


@pytest.mark.parametrize("value", [False, True])
@pytest.mark.parametrize(
    "how", [auto("trainer.max_epochs=3"), ["resume=run", "trainer.max_epochs=3"]]
)
def test_a_run_with_a_key_that_is_gone_goes_on_and_is_evaluated(
    aeframe: Command, begun: Path, value: bool, how: list[str]
) -> None:
    for file in (begun / "checkpoints").glob("*.ckpt"):
        state = torch.load(file, weights_only=True)
        state["hyper_parameters"]["trainer"]["cuda_graph"] = value
        torch.save(state, file)
    status, out, err = aeframe(*how)
    assert (status, err) == (0, "")
    assert "Resuming at step 8 (epoch 2 of 3)." in out.splitlines()
    node = torch.load(begun / "checkpoints" / "last.ckpt", weights_only=True)["hyper_parameters"]
    assert "cuda_graph" not in node["trainer"]
    assert load(begun).config["trainer"] == node["trainer"]


@pytest.mark.parametrize(
    "words", [auto("trainer.max_epochs=3"), ("resume=run", "trainer.max_epochs=3")]
)
def test_a_run_keeps_the_normalization_that_auto_was(
    aeframe: Command, begun: Path, words: tuple[str, ...]
) -> None:
    """A version that would choose another one for the same data."""
    for file in (begun / "checkpoints").glob("*.ckpt"):
        state = torch.load(file, weights_only=True)
        node = state["hyper_parameters"]
        node["dataset"]["normalization"] = "auto"  # the choice itself was not saved
        node["automatic"].pop("dataset.normalization", None)
        state["data"]["normalization"] = "none"
        state["data"] |= {"high": 16.0, "extent": [0.0, 16.0]}
        torch.save(state, file)
    status, _, err = aeframe(*words)
    assert (status, err) == (0, "")
    node = torch.load(begun / "checkpoints" / "last.ckpt", weights_only=True)["hyper_parameters"]
    assert node["dataset"]["normalization"] == "none"
    assert aeframe(*auto("trainer.max_epochs=3"))[0] == 0  # the same command finds it finished
