"""Targets in shards beside those of the samples, row by row."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

import aeframe as package
from aeframe.core.errors import ConfigError, UserError
from aeframe.data import DataModule, Shards
from tests.support.shards import ENDS, ROWS, write_shards

Command = Callable[..., tuple[int, str, str]]
GOALS = np.stack([ROWS[:, 0] * 2, ROWS[:, 1] - ROWS[:, 2], np.arange(700) / 100], 1).astype(
    np.float32
)
"""Targets of three numbers, from which the row follows."""


@pytest.fixture
def both(tmp_path: Path) -> Path:
    """Folders `in` and `out` with shards."""
    write_shards(tmp_path / "in")
    write_shards(tmp_path / "out", GOALS, "safetensors")
    return tmp_path


def make(folder: Path, *, streamed: bool = True, **options: object) -> DataModule:
    words = {"path": str(folder / "in"), "target": str(folder / "out"), **options}
    source = Shards(window=0.003, **words)  # type: ignore[arg-type]
    limit = 1e-9 if streamed else 1.0
    data = DataModule(source=source, seed=0, batch_size=64, memory_limit=limit)
    data.setup()
    return data


@pytest.mark.parametrize("streamed", [True, False])
def test_each_row_comes_once_with_its_own_target(both: Path, streamed: bool) -> None:
    data = make(both, streamed=streamed)
    assert data.splits["train"].is_streamed is streamed
    assert (data.spec.shape, data.spec.target_shape) == ((6,), (3,))
    seen = list[int]()
    for split in ("train", "val", "test"):
        for batch in data.make_loader(split, training=split == "train"):
            rows = batch.row.long().numpy()
            assert batch.target is not None
            assert np.array_equal(batch.x.numpy(), ROWS[rows])
            assert np.array_equal(batch.target.numpy(), GOALS[rows])
            seen += rows.tolist()
    assert sorted(seen) == list(range(700))
    targets = data.splits["val"].targets
    assert targets is not None
    assert np.array_equal(targets[0:5].x.numpy(), GOALS[data.splits["val"].index[:5].long()])


def test_two_arrays_of_the_same_files(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for i, (x, y) in enumerate(zip(np.split(ROWS, ENDS), np.split(GOALS, ENDS), strict=True)):
        save_file({"in": x.copy(), "out": y.copy()}, tmp_path / "in" / f"{i}.safetensors")
    data = make(tmp_path, target=None, key="in", target_key="out")
    (batch, *_) = data.make_loader("train", training=True)
    assert batch.target is not None
    assert np.array_equal(batch.target.numpy(), GOALS[batch.row.long().numpy()])


def test_row_groups_of_either_file_divide_both(tmp_path: Path) -> None:
    write_shards(tmp_path / "in")
    write_shards(tmp_path / "out", GOALS, "parquet, columns")
    data = make(tmp_path)
    for batch in data.make_loader("train", training=True):
        assert batch.target is not None
        assert np.allclose(batch.target.numpy(), GOALS[batch.row.long().numpy()])


def test_files_that_are_no_pairs_are_named(both: Path) -> None:
    np.save(both / "short.npy", GOALS[:100])
    for target, told in (
        (str(both / "short.npy"), "holds 100 targets, but"),
        (str(both / "out" / "part0.safetensors"), "1 files of targets for 4 of samples"),
    ):
        with pytest.raises((UserError, ConfigError)) as raised:
            make(both, target=target)
        assert told in str(raised.value)
    with pytest.raises(ConfigError, match=r"dataset.target=.*none.npy"):
        make(both, target=str(both / "none.npy"))
    source = Shards(path=str(both / "in"), val_path=str(both / "in"), target=str(both / "out"))
    (problem,) = source.problems()
    assert problem.where == "dataset.val_target"


def test_a_resumed_run_keeps_rows_where_they_were(aeframe: Command, tmp_path: Path) -> None:
    """With a known range and splits of their own, nothing else tells in which order the rows come."""
    x = np.random.default_rng(0).integers(0, 256, (700, 6), np.uint8)
    for name, rows in (("in", x), ("val", x[:640]), ("test", x[:640])):
        write_shards(tmp_path / name, rows)
    words = ["dataset=shards", "dataset.window=0.003", "model.latent_dim=2", "network=linear"]
    words += [f"dataset.{key}={name}" for key, name in (("path", "in"), ("val_path", "val"))]
    words += ["dataset.test_path=test", "trainer.max_epochs=1", *QUIET]
    for limit, other, told in (
        (1e-9, 4.0, "keeps the rows in memory, where the run read them from their files"),
        (4.0, 1e-9, "reads the rows from their files, where the run kept them in memory"),
    ):
        run = f"hydra.run.dir=run{limit}"
        assert aeframe(*words, run, f"dataset.memory_limit={limit}")[0] == 0
        again = (f"resume=run{limit}", "trainer.max_epochs=2")
        status, _, err = aeframe(*again, f"dataset.memory_limit={other}")
        assert status == 2
        assert err.startswith(f"aeframe: dataset.memory_limit: {told}. Leave it")
        assert aeframe(*again)[0] == 0


QUIET = ("evaluation.images=32", "dashboard.images=0", "dataset.batch_size=64")


def test_a_transcoder_trains_resumes_and_writes_targets(aeframe: Command, both: Path) -> None:
    words = [
        *(
            "dataset=shards",
            "dataset.path=in/*.npy",
            "dataset.target=out",
            "dataset.memory_limit=1e-9",
        ),
        *("dataset.window=0.003", "model.latent_dim=2", "network=linear", "dataset.batch_size=64"),
        *("evaluation.images=32", "dashboard.images=0"),
    ]
    for name, epochs in (("whole", 2), ("part", 1)):
        status, _, err = aeframe(*words, f"trainer.max_epochs={epochs}", f"hydra.run.dir={name}")
        assert status == 0, err
    assert aeframe("resume=part", "trainer.max_epochs=2")[0] == 0
    whole, part = (package.load(name) for name in ("whole", "part"))
    ours, theirs = whole.net.state_dict(), part.net.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert whole.reconstruct(ROWS[:4]).shape == (4, 3)
    report = json.loads((both / "whole" / "evaluation.json").read_text())
    assert list(report["baselines"]) == ["mean target", "linear regression, rank 2"]
