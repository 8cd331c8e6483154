"""Rows in many files: read as one array, in memory or in windows, each row once an epoch."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aeframe.core.errors import TrainingError, UserError
from aeframe.data import Array, DataModule, Shards
from aeframe.data.streamed import PLACES, Streamed
from tests.support.runs import TINY, weights
from tests.support.shards import ENDS, KINDS, ROWS, expected, write_shards

Command = Callable[..., tuple[int, str, str]]

SMALL = 0.004  # MiB: 174 rows, with blocks of one row
STREAMED = {"in_memory": False, "seed": 3, "batch_size": 48}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("shards")
    for kind in KINDS:
        write_shards(root / kind, kind=kind)
    np.save(root / "whole.npy", ROWS)
    return root


def made(source: Any, **options: Any) -> DataModule:
    assert source.problems() == []
    data = DataModule(source=source, **{"seed": 3, "batch_size": 48, **options})
    data.setup()
    return data


def loader(data: DataModule, split: str = "train", epoch: int = 0, **options: Any) -> Streamed:
    found = data.make_loader(split, training=split == "train", **options)
    assert isinstance(found, Streamed)
    found.sampler.set_epoch(epoch)
    return found


def rows_of(batches: Any) -> list[int]:
    return [row for batch in batches for row in batch.row.tolist()]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_the_rows_of_all_files(folder: Path, kind: str) -> None:
    source = Shards(path=str(folder / kind), window=SMALL)
    assert source.problems() == []
    assert source.shape() == (6,)
    assert source.description() == "4 files of vectors of 6 numbers"
    rows, wanted = source.load().rows, expected(kind)
    assert (rows.shape, rows.dtype, rows.nbytes) == (wanted.shape, wanted.dtype, wanted.nbytes)
    assert torch.equal(rows.read_all(), wanted)
    some = torch.tensor([699, 0, 131, 0, 136, 500])
    assert torch.equal(rows.select(some), wanted[some])
    for start, chunk in pickle.loads(pickle.dumps(rows)).read_chunks():
        assert torch.equal(chunk, wanted[start : start + len(chunk)])


def test_images_channels_last_are_read_as_by_an_array(tmp_path: Path) -> None:
    x = np.random.default_rng(1).integers(0, 256, (30, 8, 9, 3), np.uint8)
    for i, part in enumerate(np.split(x, [7, 20])):
        np.save(tmp_path / f"{i}.npy", part)
    np.save(tmp_path / "whole", x)
    source = Shards(path=[str(tmp_path / f"{i}.npy") for i in range(3)])
    raw, array = source.load(), Array(path=str(tmp_path / "whole.npy")).load()
    assert source.shape() == (3, 8, 9)
    assert torch.equal(raw.rows.read_all(), array.rows.read_all())
    assert (raw.low, raw.high, raw.assumed) == (array.low, array.high, array.assumed)


@pytest.mark.parametrize("kind", ["npy", "parquet, columns"])
def test_data_that_fits_is_that_of_one_array(folder: Path, kind: str) -> None:
    shards = made(Shards(path=str(folder / kind)))
    array = made(Array(path=str(folder / "whole.npy")))
    assert shards.as_dict() == array.as_dict()
    for split in ("train", "val", "test"):
        both = (data.make_loader(split, training=split == "train") for data in (shards, array))
        for one, other in zip(*both, strict=True):
            assert torch.equal(one.x, other.x)
            assert torch.equal(one.row, other.row)
            assert one.total == other.total


def test_weights_are_those_of_one_array(aeframe: Command, folder: Path) -> None:
    small = (*TINY, "model.latent_dim=3", "network.widths=[8]")
    path = {"shards": folder / "npy", "array": folder / "whole.npy"}
    for name, place in path.items():
        words = (f"dataset={name}", f"dataset.path={place}", f"hydra.run.dir={name}")
        status, _, err = aeframe(*small, *words)
        assert status == 0, err
    one, other = weights(Path("shards")), weights(Path("array"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    kind=st.sampled_from(["npy", "npz, compressed", "parquet, columns"]),
    window=st.sampled_from([1e-5, 0.002, SMALL, 1.0]),
    batch=st.sampled_from([4, 48, 1000]),
    world=st.sampled_from([1, 2, 4]),
    workers=st.sampled_from([0, 3]),
    epoch=st.integers(0, 3),
)
def test_each_row_comes_once_an_epoch(
    folder: Path, kind: str, window: float, batch: int, world: int, workers: int, epoch: int
) -> None:
    """Counted over all splits and ranks; a batch has the rows of all ranks, and the right numbers."""
    source = Shards(path=str(folder / kind), window=window)
    data = made(source, in_memory=False, batch_size=batch, num_workers=workers)
    counted = Counter[int]()
    for split in ("train", "val", "test"):
        alone = list(loader(data, split, epoch))
        counted.update(rows_of(alone))
        for one in alone:
            assert torch.equal(one.x, expected(kind)[one.row.long()])
            assert one.total == len(one.row)
        shares = [list(loader(data, split, epoch, rank=r, world=world)) for r in range(world)]
        for i, one in enumerate(alone):
            parts = [share[i].row.tolist() for share in shares if i < len(share)]
            joined = [part[j] for j in range(batch) for part in parts if j < len(part)]
            assert joined[: one.total] == one.row.tolist()  # then rows of weight 0
            assert len(joined) <= max(one.total, world)
    assert counted == Counter(range(len(ROWS)))


def test_the_order_is_a_function_of_seed_and_epoch(folder: Path) -> None:
    data = made(Shards(path=str(folder / "npy"), window=SMALL), **STREAMED)
    first, again, second = (rows_of(loader(data, epoch=epoch)) for epoch in (0, 0, 1))
    assert first == again
    assert first != second
    assert sorted(first) == sorted(second)
    ordered = rows_of(
        loader(made(Shards(path=str(folder / "npy")), shuffle=False, in_memory=False))
    )
    assert ordered == sorted(ordered)
    # of all files in a batch, though only a part of the rows is in memory
    files = np.searchsorted(ENDS, first[:48], side="right")
    assert set(files) >= {0, 2, 3}


@pytest.mark.parametrize("done", range(0, 13))
def test_a_resumed_epoch_goes_on_with_the_next_batch(folder: Path, done: int) -> None:
    data = made(Shards(path=str(folder / "npy"), window=SMALL), **STREAMED)
    whole, rest = list(loader(data, epoch=2)), loader(data, epoch=2)
    rest.sampler.begun = (2, done)
    left = list(rest)
    assert len(left) == len(whole) - done
    assert rows_of(left) == rows_of(whole[done:])
    assert all(torch.equal(a.x, b.x) for a, b in zip(left, whole[done:], strict=True))


def test_a_resumed_epoch_reads_no_window_that_is_done(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = made(Shards(path=str(folder / "npy"), window=SMALL), **STREAMED)
    rest, read = loader(data), list[int]()
    plain = rest.rows.read
    monkeypatch.setattr(rest.rows, "read", lambda row, place: read.append(row) or plain(row, place))
    rest.sampler.begun = (0, 11)
    assert set(rows_of(rest)) <= set(read)  # a block is a row
    assert len(read) < 400


def test_splits_are_blocks_that_do_not_overlap(folder: Path) -> None:
    source = Shards(path=str(folder / "npy"), window=0.04)  # blocks of six rows
    data, other = made(source, **STREAMED), made(source, **{**STREAMED, "seed": 4})
    rows = {split: set(samples.index.tolist()) for split, samples in data.splits.items()}
    assert set.union(*rows.values()) == set(range(len(ROWS)))
    assert sum(map(len, rows.values())) == len(ROWS)
    assert 40 <= len(rows["val"]) <= 100
    assert rows["val"] != set(other.splits["val"].index.tolist())
    assert made(source, **STREAMED).as_dict() == data.as_dict()
    assert all(len({row // 6 * 6 for row in rows["val"]}) < len(rows["val"]) / 2 for _ in rows)


def test_files_of_other_splits(folder: Path) -> None:
    paths = {option: str(folder / "npy") for option in ("path", "val_path", "test_path")}
    data = made(Shards(**paths, window=SMALL), **STREAMED)
    assert [len(data.splits[split]) for split in ("train", "val", "test")] == [700, 700, 700]
    assert rows_of(loader(data, "test")) == list(range(700))


def test_rows_that_are_spread_evenly_come_from_all_files(tmp_path: Path) -> None:
    x = np.arange(4000, dtype=np.float32).reshape(2000, 2)
    data = made(Shards(path=str(write_shards(tmp_path / "x", x)), window=0.01), **STREAMED)
    train = data.splits["train"]
    assert len(train.spread_evenly(9)) == 9
    chosen = train.spread_evenly(800)
    assert len(chosen) == len(chosen.unique()) == 800 // PLACES * PLACES
    assert chosen.min() == 0
    assert chosen.max() == len(train) - 1
    assert len(train.spread_evenly(10**6)) == len(train)
    assert torch.equal(train[0:7].x, expected("npy", x)[train.index[:7].long()])


def test_statistics_of_a_part_are_near_those_of_all(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aeframe.data.streamed.MEASURED", 10_000)  # bytes: 400 rows
    data = made(
        Shards(path=str(folder / "npy"), window=SMALL), **STREAMED, normalization="standard"
    )
    assert data.normalization.shift.numpy() == pytest.approx(ROWS.mean(0), abs=0.15)
    assert data.normalization.scale.numpy() == pytest.approx(ROWS.std(0), rel=0.15)
    assert (
        data.spec.seen is None
    )  # reconstructions are not clipped to a range that was not measured


def test_labels_of_the_rows(folder: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "labels.npy", np.arange(700) // 350)
    source = Shards(path=str(folder / "npy"), window=SMALL, labels=str(tmp_path / "labels.npy"))
    data = made(source, **STREAMED)
    known = data.peek_labels("train", 20)
    rows = data.splits["train"].index[data.splits["train"].spread_evenly(20)]
    assert known is not None
    assert known.tolist() == (rows // 350).tolist()
    chosen = DataModule(source=source, in_memory=False, seed=0, only=["1"])
    with pytest.raises(UserError, match=r"dataset\.only: needs data in memory"):
        chosen.setup()
    assert len(made(source, only=["1"]).splits["train"]) == 280


def test_a_likelihood_with_a_range_needs_all_values(folder: Path) -> None:
    data = DataModule(source=Shards(path=str(folder / "npy")), in_memory=False, seed=0)
    with pytest.raises(UserError, match="Write likelihood=gaussian"):
        data.setup((0.0, 1.0))


def test_a_file_that_changes_ends_the_run(tmp_path: Path) -> None:
    shards = write_shards(tmp_path / "x")
    data = made(Shards(path=str(shards), window=SMALL), **STREAMED)
    np.save(shards / "part5.npy", ROWS[:7] + 1)
    with pytest.raises(TrainingError, match=r"part5.npy: was changed while it was in use"):
        list(loader(data))
