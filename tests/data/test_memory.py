"""Memory that a data set takes, measured in a process of its own."""

from __future__ import annotations

import gc
import gzip
import multiprocessing
import pickle
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from aeframe.data import MNIST, SVHN, Array, ImageFolder, Raw, Samples, Source
from aeframe.data.normalization.statistics import Statistics
from tests.support.published import LocalCIFAR10

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

SLACK = 12.0  # MiB: chunks, buffers, and what an allocator keeps


class Growth(NamedTuple):
    """MiB that some work added at its peak, that its result holds, and that the data has."""

    peak: float
    held: float
    size: float


def resident(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def growth(work: Callable[[Source], Raw], source: Source) -> Growth:
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    before = resident("VmRSS")
    raw = work(source)
    read = [part.nbytes for part in (raw, raw.test) if part is not None and part.mapping is None]
    size = sum(read or [raw.nbytes]) / 2**20
    return Growth(resident("VmHWM") - before, resident("VmRSS") - before, size)


Measure = Callable[[Callable[[Source], Raw], Source], Growth]


@pytest.fixture(scope="module")
def measured() -> Iterator[Measure]:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:

        def elsewhere(work: Callable[[Source], Raw], source: Source) -> Growth:
            return pool.submit(growth, work, source).result()

        yield elsewhere


# what is measured, in the other process


def load(source: Source) -> Raw:
    return source.load()


def load_to_memory(source: Source) -> Raw:
    return source.load().copy_to_memory()


def look_at_all(source: Source) -> Raw:
    raw = source.load()
    Statistics(Samples(raw, torch.arange(0, len(raw.data), 2)))
    return raw


def read_all(source: Source) -> Raw:
    raw = source.load()
    raw.data.sum()
    return raw


def read_all_and_release(source: Source) -> Raw:
    raw = read_all(source)
    raw.release()
    return raw


# data sets of some 64 MiB, in files


def idx(folder: Path, *, compressed: bool) -> MNIST:
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part, n in (("train", 80_000), ("t10k", 8_000)):
        for kind, shape in (("images-idx3", (n, 28, 28)), ("labels-idx1", (n,))):
            sizes = b"".join(size.to_bytes(4, "big") for size in shape)
            content = bytes((0, 0, 8, len(shape))) + sizes + bytes(int(np.prod(shape)))
            file = raw / f"{part}-{kind}-ubyte{'.gz' if compressed else ''}"
            file.write_bytes(gzip.compress(content, 1) if compressed else content)
    return MNIST(root=str(folder), download=False)


def idx_gz(folder: Path) -> MNIST:
    return idx(folder, compressed=True)


def idx_plain(folder: Path) -> MNIST:
    return idx(folder, compressed=False)


def cifar(folder: Path) -> LocalCIFAR10:
    (folder / "cifar-10-batches-py").mkdir()
    batch = pickle.dumps({b"data": np.ones((4000, 3072), np.uint8), b"labels": [1] * 4000})
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        (folder / "cifar-10-batches-py" / name).write_bytes(batch)
    return LocalCIFAR10(folder)


def svhn(folder: Path) -> SVHN:
    generator = np.random.default_rng(0)  # photographs, too, hardly get smaller
    for split, n in (("train", 16_000), ("test", 6_000)):
        images = generator.integers(0, 256, (32, 32, 3, n), np.uint8)
        stored = {"X": images, "y": np.ones((n, 1), np.uint8)}
        savemat(folder / f"{split}_32x32.mat", stored, do_compression=True)
    return SVHN(root=str(folder), download=False)


def npy(folder: Path, dtype: str = "<f4", order: str = "C", n: int = 2**14) -> Array:
    array = np.empty((n, 1024), np.dtype(dtype), order)  # type: ignore[call-overload]
    array[:] = np.arange(1024)
    np.save(folder / "a.npy", array)
    return Array(path=str(folder / "a.npy"))


def npy_fortran(folder: Path) -> Array:
    return npy(folder, order="F")


def npy_foreign(folder: Path) -> Array:
    return npy(folder, ">f4")


def npz(folder: Path) -> Array:
    np.savez(folder / "a.npz", np.ones((2**14, 1024), np.float32))
    return Array(path=str(folder / "a.npz"))


@pytest.mark.parametrize(
    "make", [idx_plain, idx_gz, cifar, svhn, npy, npy_fortran, npy_foreign, npz]
)
def test_loading_takes_no_more_than_the_data(
    tmp_path: Path, measured: Measure, make: Callable[[Path], Source]
) -> None:
    peak, held, size = measured(load_to_memory, make(tmp_path))
    assert size > 40
    assert size / 2 < held < 1.1 * size + SLACK
    assert peak < 1.1 * size + SLACK


@pytest.mark.parametrize("make", [idx_plain, npy, npy_fortran])
def test_mapped_data_is_not_read_by_loading(
    tmp_path: Path, measured: Measure, make: Callable[[Path], Source]
) -> None:
    assert measured(load, make(tmp_path)).peak < SLACK


@pytest.mark.parametrize("make", [idx_plain, npy])
def test_pages_that_were_read_can_be_let_go_of(
    tmp_path: Path, measured: Measure, make: Callable[[Path], Source]
) -> None:
    source = make(tmp_path)
    assert measured(read_all, source).held > 50
    assert measured(read_all_and_release, source).held < SLACK


def test_one_pass_over_all_data_holds_little_of_it(tmp_path: Path, measured: Measure) -> None:
    peak, held, size = measured(look_at_all, npy(tmp_path, n=2**16))
    assert size == 256
    assert peak < 48
    assert held < 32


def test_decoded_images_stay_in_their_file(tmp_path: Path, measured: Measure) -> None:
    for i in range(24):
        Image.new("RGB", (64, 64), (i, i, i)).save(tmp_path / f"{i}.png")
    source = ImageFolder(root=str(tmp_path), size=1024, cache=str(tmp_path / "cache"))
    source.load()
    assert measured(load, source).peak < SLACK
    assert measured(load_to_memory, source).peak < 1.1 * 72 + SLACK
