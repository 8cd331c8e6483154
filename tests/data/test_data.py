"""Sources, splits, batches."""

from __future__ import annotations

import gzip
import pickle
from collections.abc import Callable
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aeframe.core.errors import UserError
from aeframe.data import CIFAR10, MNIST, SVHN, Array, DataModule, Digits, EpochBatches, Source
from aeframe.data.source import Share
from tests.support.idx_files import write_idx


def module(source: Source, **options: object) -> DataModule:
    made = DataModule(source=source, seed=0, **options)  # type: ignore[arg-type]
    made.setup()
    return made


def test_digits_are_split_by_seed_and_in_range() -> None:
    first, again = module(Digits()), module(Digits())
    sizes = {name: len(split) for name, split in first.splits.items()}
    assert sizes == {"train": 1437, "val": 180, "test": 180}
    rows = torch.cat([split.index for split in first.splits.values()])
    assert rows.sort().values.tolist() == list(range(1797))
    for name, split in first.splits.items():
        assert torch.equal(split.index, again.splits[name].index)
    other = DataModule(source=Digits(), seed=1)
    other.setup()
    assert not torch.equal(first.splits["test"].index, other.splits["test"].index)
    assert (first.spec.shape, first.spec.low, first.spec.high) == ((1, 8, 8), 0, 1)
    x = first.peek("train", 100)
    assert (x.min(), x.max()) == (0, 1)


@given(
    n=st.integers(1, 60),
    per_rank=st.integers(1, 5),
    world=st.integers(1, 4),
    epoch=st.integers(0, 3),
    shuffle=st.booleans(),
)
def test_ranks_share_out_what_one_process_sees(
    n: int, per_rank: int, world: int, epoch: int, shuffle: bool
) -> None:
    def batches(rank: int, of: int, training: bool) -> list[list[int]]:
        made = EpochBatches(
            n, per_rank * world, training=training, shuffle=shuffle, rank=rank, world=of
        )
        made.set_epoch(epoch)
        found = [share.positions.tolist() for share in made]
        assert len(made) == len(found)
        return found

    # in evaluation every sample is seen once
    seen = [i for rank in range(world) for batch in batches(rank, world, False) for i in batch]
    assert sorted(seen) == list(range(n))
    # in training the ranks share out all of one process's batches, in its order
    ranks = [batches(rank, world, True) for rank in range(world)]
    for whole, *parts in zip(batches(0, 1, True), *ranks, strict=True):
        for rank, own in enumerate(parts):
            assert own == (whole[rank::world] or whole[:1])  # which counts for nothing


def test_the_order_changes_with_the_epoch_and_is_a_function_of_the_seed() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        made = EpochBatches(50, 50, seed=seed, training=True, shuffle=True)
        made.set_epoch(epoch)
        return next(iter(made)).positions.tolist()

    assert order(0, 1) == order(0, 1)
    assert len({tuple(order(s, e)) for s in (0, 1) for e in (0, 1)}) == 4


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_carry_raw_values_and_rows(workers: int) -> None:
    made = module(Digits(), num_workers=workers, batch_size=100)
    source = Digits().load()
    loader = made.make_loader("train", training=True)
    rows = []
    for batch in loader:
        assert batch.x.dtype == torch.uint8
        assert torch.equal(batch.x, source.data[batch.row])
        rows += batch.row.tolist()
    assert sorted(rows) == made.splits["train"].index.tolist()


def test_too_few_samples_to_split(tmp_path: Path) -> None:
    np.save(tmp_path / "two.npy", np.ones((2, 3), np.float32))
    with pytest.raises(
        UserError, match="no samples are left to train on: of 2, validation takes 1 and the test 1"
    ):
        module(Array(path=str(tmp_path / "two.npy")))


# torchvision's layout, from local files


@pytest.mark.parametrize("compressed", [True, False])
def test_mnist_from_local_files_without_unpacking(tmp_path: Path, compressed: bool) -> None:
    folder = tmp_path / "MNIST" / "raw"
    write_idx(folder, compressed=compressed)
    before = sorted(folder.iterdir())
    made = module(MNIST(root=str(tmp_path), download=False))
    assert {k: len(v) for k, v in made.splits.items()} == {"train": 18, "val": 2, "test": 5}
    expected = np.random.default_rng(0).integers(0, 256, (20, 28, 28), np.uint8)
    assert np.array_equal(made.splits["train"].raw.data[:, 0].numpy(), expected)
    assert sorted(folder.iterdir()) == before


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:50])


def scribble(file: Path) -> None:
    file.write_bytes(gzip.compress(b"no idx at all"))


def shorten(file: Path) -> None:
    file.write_bytes(gzip.compress(gzip.decompress(file.read_bytes())[:-9]))


@pytest.mark.parametrize("harm", [truncate, scribble, shorten])
def test_a_damaged_file_is_named(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    write_idx(tmp_path / "MNIST" / "raw")
    harm(tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte.gz")
    with pytest.raises(UserError) as caught:
        MNIST(root=str(tmp_path), download=False).load()
    assert "train-images-idx3-ubyte.gz: cannot be read" in str(caught.value)


@pytest.mark.parametrize("cls", [MNIST, CIFAR10, SVHN])
def test_a_missing_data_set_is_one_line_that_names_the_root(tmp_path: Path, cls: type) -> None:
    with pytest.raises(UserError) as caught:
        cls(root=str(tmp_path), download=False).load()
    line = str(caught.value)
    assert line.startswith(f"dataset.root={tmp_path}: {cls.__name__} was not found")
    assert f"Write dataset.root=FOLDER with {cls.__name__} in" in line
    assert "\n" not in line


def test_a_failed_download_is_one_line_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torchvision.datasets.mnist as remote

    def fail(*args: object, **kwargs: object) -> None:
        raise RuntimeError("Error downloading train-images-idx3-ubyte.gz:\nTried everything")

    monkeypatch.setattr(remote, "download_and_extract_archive", fail)
    with pytest.raises(UserError) as caught:
        MNIST(root=str(tmp_path)).load()
    assert str(caught.value).startswith(
        f"dataset.root={tmp_path}: MNIST was not found and could not"
    )
    assert "\n" not in str(caught.value)


def test_problems_that_show_without_reading(tmp_path: Path) -> None:
    assert MNIST(root=str(tmp_path / "later")).problems() == []
    assert "no such folder" in str(MNIST(root="/nowhere", download=False).problems()[0])
    (tmp_path / "file").write_text("")
    assert "is a file" in str(MNIST(root=str(tmp_path / "file")).problems()[0])


def test_some_samples_are_spread_evenly(tmp_path: Path) -> None:
    """Data that is sorted by class would else set thresholds and centres by its first class."""
    np.save(tmp_path / "sorted.npy", np.repeat(np.arange(1000.0)[:, None], 3, axis=1))
    made = module(Array(path=str(tmp_path / "sorted.npy")), normalization="none")
    seen = made.peek("train", 50)[:, 0]
    assert len(seen) == 50
    assert (seen.diff() > 0).all()
    assert seen.mean() == pytest.approx(500, abs=30)
    assert (seen[0] < 20) & (seen[-1] > 980)
    assert len(made.peek("train", 10**6)) == 800


def test_the_extent_counts_held_out_samples_too(tmp_path: Path) -> None:
    values = np.linspace(0.0, 1.0, 100)[:, None].repeat(2, axis=1)
    np.save(tmp_path / "train.npy", values)
    np.save(tmp_path / "test.npy", values * 3 - 1)
    paths = {"path": str(tmp_path / "train.npy"), "test_path": str(tmp_path / "test.npy")}
    spec = module(Array(**paths), normalization="none").spec
    assert spec.extent == (-1.0, 2.0)
    assert spec.high <= 1.0


def test_a_share_goes_to_another_process_by_its_numbers() -> None:
    """Not as shared memory, whose handing over complains where that process has been killed."""
    share = Share(torch.arange(1000)[3:9:2], 7)
    sent = bytes(ForkingPickler.dumps(share))
    assert b"torch.multiprocessing" not in sent
    assert b"torch.multiprocessing" in bytes(ForkingPickler.dumps(share.positions))
    positions, total = pickle.loads(sent)
    assert (positions.tolist(), total) == ([3, 5, 7], 7)
