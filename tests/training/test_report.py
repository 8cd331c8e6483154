"""Report of a run at its beginning, and the commands that it suggests next."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import DictConfig

from aeframe.core.process import shorten_path
from aeframe.training.build import build
from aeframe.training.next_commands import list_next_commands
from aeframe.training.report import describe_sizes

Command = Callable[..., tuple[int, str, str]]
Compose = Callable[..., DictConfig]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "1 x 8 x 8 -> 16 units; compression 4.0:1 (64 values to 16)"),
        (["model.latent_dim=64", "model.allow_overcomplete=true", "constraint=[]"],
         "1 x 8 x 8 -> 64 units; compression 1.0:1 (64 values to 64)"),
        (["model=sparse", "constraint=l1"],
         "1 x 8 x 8 -> 128 units; expansion 1:2.0 (64 values to 128)"),
        (["model=sparse", "model.latent_dim=1024",
          "constraint.topk.k={schedule: linear, start: 100, end: 8, epochs: 2}"],
         "1 x 8 x 8 -> 1024 units, 8 of them active; compression 8.0:1 (64 values to 8)"),
        (["model=sparse", "model.latent_dim=1024", "constraint=batch_topk", "constraint.batch_topk.k=32"],
         "1 x 8 x 8 -> 1024 units, 32 of them active; compression 2.0:1 (64 values to 32)"),
        (["model=sparse", "model.latent_dim=1024", "constraint=winner_take_all"],
         "1 x 8 x 8 -> 1024 units, 51 of them active; compression 1.2:1 (64 values to 51)"),
        (["model=sparse", "model.latent_dim=1024", "constraint=threshold", "constraint.threshold.rate=0.125"],
         "1 x 8 x 8 -> 1024 units, 128 of them active; expansion 1:2.0 (64 values to 128)"),
        (["model=variational", "model.latent_dim=2"],
         "1 x 8 x 8 -> 2 units; compression 32.0:1 (64 values to 2)"),
        (["network=fully_conv", "network.widths=[4]", "network.patch=4", "network.overlap=0"],
         "1 x 8 x 8 -> 4 x 2 x 2 units; compression 4.0:1 (64 values to 16)"),
    ],
    ids=["small", "equal", "l1", "schedule", "batch_topk", "wta", "threshold", "variational", "map"],
)  # fmt: skip
def test_the_code_is_told_beside_the_input(compose: Compose, words: list[str], told: str) -> None:
    assert describe_sizes(build(compose(*words)).net) == told


def test_a_path_is_written_as_one_would_type_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deep" / "down").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "deep")
    assert shorten_path(tmp_path / "deep" / "outputs" / "run") == "outputs/run"
    assert shorten_path(Path("/a")) == "/a"  # not ../../../a


DONE = {"epochs": 20, "steps": 900, "ended_by": ["trainer.max_epochs"]}


@pytest.mark.parametrize(
    ("words", "result", "longer"),
    [
        ([], {}, "trainer.max_epochs=40"),
        (["++trainer.max_steps=900"], {"ended_by": ["trainer.max_steps"]}, "trainer.max_steps=1800"),
        (["until.metric=val/mse", "until.at_most=0.1"], {"ended_by": ["until"]},
         "until.metric=null until.at_most=null"),
        (["early_stopping.patience=2"], {"ended_by": ["early_stopping"]},
         "early_stopping.patience=null"),
        (["early_stopping.patience=2"], {"ended_by": ["trainer.max_epochs", "early_stopping"]},
         "trainer.max_epochs=40 early_stopping.patience=null"),
        (["++trainer.max_time='00:00:40:30'"], {"ended_by": ["trainer.max_time"]},
         "trainer.max_time=00:01:21:00"),
        ([], {"ended_by": []}, None),
    ],
    ids=["epochs", "steps", "until", "patience", "both", "time", "unknown"],
)  # fmt: skip
def test_a_finished_run_is_told_how_it_goes_on(
    compose: Compose, words: list[str], result: dict[str, Any], longer: str | None
) -> None:
    found = list_next_commands(
        compose("trainer.max_epochs=20", *words), DONE | result, Path("my runs/1"), compresses=False
    )
    assert found["TensorBoard"] == "tensorboard --logdir 'my runs/1'"
    if longer is None:
        assert "Train longer" not in found
    else:
        assert found["Train longer"].endswith(f" 'resume=my runs/1' {longer}")


@pytest.mark.parametrize(
    ("words", "compresses", "command"),
    [
        (["dataset=digits"], False, "aeframe encode run digits --out codes.npy"),
        (["dataset=digits"], True, "aeframe compress run digits --out samples.aez"),
        (["dataset=mnist"], False, "aeframe encode run mnist --root data --out codes.npy"),
        (["dataset=image_folder", "dataset.root='my photos'"], False,
         "aeframe encode run 'my photos' --out codes.npy"),
        (["dataset=array", "dataset.path=x.npz", "dataset.key=a"], False,
         "aeframe encode run x.npz --key a --out codes.npy"),
    ],
    ids=["digits", "codec", "mnist", "folder", "array"],
)  # fmt: skip
def test_the_network_is_put_to_work_on_the_runs_own_data(
    compose: Compose, words: list[str], compresses: bool, command: str
) -> None:
    found = list_next_commands(compose(*words), DONE, Path("run"), compresses=compresses)
    assert found["Compress" if compresses else "Encode"] == command
    assert "Score" not in found


def test_rows_of_a_table_are_encoded_and_scored_as_tables(compose: Compose) -> None:
    cfg = compose("dataset=table", "dataset.path=x.csv")
    found = list_next_commands(cfg, DONE, Path("run"), is_table=True)
    assert found["Encode"] == "aeframe encode run x.csv --out codes.csv"
    assert found["Score"] == "aeframe score run x.csv --out scores.csv"


def test_printed_commands_can_be_pasted(
    aeframe: Command, verb: Command, vectors: Path, tmp_path: Path
) -> None:
    os.rename(vectors, tmp_path / "my numbers.npy")
    words = ("dataset=array", "dataset.path='my numbers.npy'", "model.latent_dim=3")
    status, out, err = aeframe(*words, "trainer.max_epochs=1", "hydra.run.dir='a run'")
    assert status == 0, err
    told = dict(line.split(":", 1) for line in out.splitlines()[-3:])
    encode, longer = shlex.split(told["Encode"]), shlex.split(told["Train longer"])
    assert encode[0] == "aeframe"
    assert verb(*encode[1:])[0] == 0
    assert np.load(tmp_path / "codes.npy").shape == (64, 3)
    assert longer[:2] == ["python", "train.py"]
    status, out, err = aeframe(*longer[2:])
    assert status == 0, err
    assert "Test metrics after 2 epochs" in out
    again = next(line for line in out.splitlines() if line.startswith("Not the defaults: "))
    assert "'dataset.path='\"'\"'my numbers.npy'\"'\"''" in again  # those of the run that goes on


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["model=sparse", "constraint.topk.k=16"],
            "constraint.topk.k=16: 16 active units for the 12 values of a sample compress nothing, and "
            "the table has no PCA of equal code size. Write constraint.topk.k=3.",
        ),
        (["model=sparse", "constraint.topk.k=4"], None),
        (
            ["model=denoising"],
            "model.latent_dim=64: 64 code units for the 12 values of a sample compress nothing: only the "
            "corruption keeps the network from copying, and the table has no PCA of equal code size. "
            "For a small code write model.latent_dim=6.",
        ),
        (["model=denoising", "model.latent_dim=6"], None),
        (
            ["model=variational", "model.latent_dim=3"],
            "likelihood=bernoulli: values from -0.9 to 0.9 are scaled to [0, 1] and treated as "
            "probabilities. Write likelihood=gaussian for signals.",
        ),
        (["model=variational", "model.latent_dim=3", "likelihood=gaussian"], None),
    ],
    ids=[
        "too many active",
        "few active",
        "too many units",
        "few units",
        "signed values",
        "gaussian",
    ],
)
def test_choices_that_do_not_suit_the_data_are_noted(
    compose: Compose, tmp_path: Path, words: list[str], told: str | None
) -> None:
    x = np.random.default_rng(0).uniform(-0.8, 0.8, (200, 12)).astype(np.float32)
    x[:100, 0], x[100:, 0] = -0.9, 0.9
    np.save(tmp_path / "x.npy", x)
    built = build(compose("dataset=array", f"dataset.path={tmp_path / 'x.npy'}", *words))
    assert [str(note) for note in built.notes] == ([] if told is None else [told])
