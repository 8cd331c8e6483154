"""The data sets that everyone compares on, from small files in their real formats."""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from scipy.io import savemat

from aeframe.core.errors import UserError
from aeframe.data import CIFAR10, MNIST, SVHN, Raw
from aeframe.data.builtin import checked_pickle
from tests.support.published import LocalCIFAR10

Images = dict[str, np.ndarray]


# CIFAR-10


def short(text: bytes) -> bytes:
    return b"U" + bytes((len(text),)) + text


def python_2_pickle(pixels: np.ndarray, labels: list[int]) -> bytes:
    """Write a pickle like the published files, operation by operation."""
    n = len(pixels)
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\nq\x07cnumpy\nndarray\nq\x08K\x00\x85q\tU\x01b\x87Rq\n"
        + (b"(K\x01M" + struct.pack("<H", n) + b"M\x00\x0c\x86q\x0bcnumpy\ndtype\nq\x0c")
        + b"U\x02u1K\x00K\x01\x87Rq\r(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        + (b"T" + struct.pack("<i", pixels.size) + pixels.tobytes() + b"tb")
    )
    return (
        b"\x80\x02}q\x01("
        + (short(b"batch_label") + b"q\x02" + short(b"training batch 1 of 5") + b"q\x03")
        + short(b"labels")
        + b"q\x04]q\x05("
        + b"".join(b"K" + bytes((label,)) for label in labels)
        + b"e"
        + (short(b"data") + b"q\x06" + array)
        + (short(b"filenames") + b"]q\x0e(" + b"".join(short(b"%d.png" % i) for i in range(n)))
        + b"eu."
    )


def python_3_pickle(protocol: int) -> Callable[[np.ndarray, list[int]], bytes]:
    def made(pixels: np.ndarray, labels: list[int]) -> bytes:
        return pickle.dumps({b"labels": labels, b"data": pixels, b"filenames": ["a"]}, protocol)

    return made


def write_cifar(root: Path, made: Callable[[np.ndarray, list[int]], bytes], n: int = 4) -> Images:
    generator = np.random.default_rng(0)
    folder, written = root / "cifar-10-batches-py", {}
    folder.mkdir()
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        written[name] = generator.integers(0, 256, (n, 3072), np.uint8)
        (folder / name).write_bytes(made(written[name], list(range(n))))
    return written


def first_batch(root: Path) -> Path:
    return root / "cifar-10-batches-py" / "data_batch_1"


@pytest.mark.parametrize(
    "made", [python_2_pickle, *map(python_3_pickle, (2, 3, 4, 5))], ids=["Python 2", *"2345"]
)
def test_cifar(tmp_path: Path, made: Callable[[np.ndarray, list[int]], bytes]) -> None:
    written = write_cifar(tmp_path, made)
    raw = LocalCIFAR10(tmp_path).load()
    train = np.concatenate([written[f"data_batch_{i}"] for i in range(1, 6)])
    check(raw, train.reshape(-1, 3, 32, 32), list(range(4)) * 5)
    assert raw.test is not None
    check(raw.test, written["test_batch"].reshape(-1, 3, 32, 32), list(range(4)))


def check(raw: Raw, images: np.ndarray, labels: list[int]) -> None:
    assert raw.data.dtype == torch.uint8
    assert raw.data.is_contiguous()
    assert np.array_equal(raw.data.numpy(), images)
    assert raw.labels is not None
    assert raw.labels.dtype == torch.int64
    assert raw.labels.tolist() == labels
    assert (raw.low, raw.high) == (0, 255)


class Evil:
    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.file), "w")


def test_a_pickle_runs_no_code(tmp_path: Path) -> None:
    write_cifar(tmp_path, python_2_pickle)
    mark = tmp_path / "ran"
    first_batch(tmp_path).write_bytes(pickle.dumps({b"data": Evil(mark), b"labels": [1]}))
    with pytest.raises(UserError, match=r"data_batch_1: cannot be read \(its checksum") as caught:
        CIFAR10(root=str(tmp_path), download=False).load()
    assert not mark.exists()
    assert "dataset.download=true" in str(caught.value)
    for way in ("dataset.root=ANOTHER_FOLDER", "dataset=array dataset.path=FILE"):
        assert way in str(caught.value)


def test_a_file_that_changes_after_its_checksum_is_not_unpickled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, mark, published = tmp_path / "batch", tmp_path / "ran", pickle.dumps({b"labels": [1]})

    class Changing(io.BytesIO):
        """A file that another process replaces as soon as its end was read."""

        def seek(self, offset: int, whence: int = 0) -> int:
            self.__init__(pickle.dumps(Evil(mark)))  # type: ignore[misc]
            return super().seek(offset, whence)

    monkeypatch.setattr(checked_pickle, "open_regular", lambda _: Changing(published))
    md5 = hashlib.md5(published).hexdigest()
    assert checked_pickle.load_checked_pickle(file, md5) == {b"labels": [1]}
    assert not mark.exists()


def test_the_checksums_are_those_of_the_published_files() -> None:
    published = torchvision.datasets.CIFAR10
    assert CIFAR10.checksums == dict(published.train_list + published.test_list)


@pytest.mark.parametrize("end", [0, 1, 40, 200, 5000, 12_300, -1])
def test_a_truncated_batch_is_named(tmp_path: Path, end: int) -> None:
    write_cifar(tmp_path, python_2_pickle)
    source = LocalCIFAR10(tmp_path)
    content = first_batch(tmp_path).read_bytes()
    first_batch(tmp_path).write_bytes(content[:end])
    with pytest.raises(UserError, match="data_batch_1: cannot be read"):
        source.load()


def test_any_bytes_are_a_batch_or_a_named_error(tmp_path: Path) -> None:
    write_cifar(tmp_path, python_2_pickle, n=1)
    source = LocalCIFAR10(tmp_path)
    content = first_batch(tmp_path).read_bytes()
    generator = np.random.default_rng(0)
    for _ in range(300):
        harmed = bytearray(content)
        for place in generator.integers(0, 500, 3):
            harmed[place] = generator.integers(256)
        first_batch(tmp_path).write_bytes(harmed)
        try:
            source._read(train=True)
        except UserError as error:
            assert "data_batch_1" in str(error)  # noqa: PT017


# SVHN


def write_svhn(root: Path, *, compressed: bool = True) -> Images:
    generator, written = np.random.default_rng(0), {}
    for split, n in (("train", 700), ("test", 4)):  # so few labels lie in a tag
        written[split] = generator.integers(0, 256, (32, 32, 3, n), np.uint8)
        labels = (np.arange(n) % 10 + 1).astype(np.uint8)[:, None]
        stored = {"X": written[split], "y": labels}
        savemat(root / f"{split}_32x32.mat", stored, do_compression=compressed)
    return written


@pytest.mark.parametrize("compressed", [True, False])
def test_svhn(tmp_path: Path, compressed: bool) -> None:
    written = write_svhn(tmp_path, compressed=compressed)
    raw = SVHN(root=str(tmp_path), download=False).load()
    digits = [*range(1, 10), 0]
    check(raw, written["train"].transpose(3, 2, 0, 1), digits * 70)
    assert raw.test is not None
    check(raw.test, written["test"].transpose(3, 2, 0, 1), digits[:4])


def test_a_damaged_mat_file_is_named(tmp_path: Path) -> None:
    write_svhn(tmp_path)
    file = tmp_path / "train_32x32.mat"
    content = file.read_bytes()
    for harmed in (b"", b"no mat file", content[:100], content[:5000], content[:-9]):
        file.write_bytes(harmed)
        with pytest.raises(UserError, match=r"train_32x32\.mat: cannot be read"):
            SVHN(root=str(tmp_path), download=False).load()


@pytest.mark.parametrize(
    ("images", "labels", "reason"),
    [
        (np.zeros((8, 8, 3, 2), np.uint8), np.ones(2, np.uint8), r"images of \(2, 3, 8, 8\)"),
        (np.zeros((32, 32, 3, 2), np.uint8), np.ones(3, np.uint8), "and 3 labels"),
        (np.zeros((32, 32, 3, 2), np.uint8), np.zeros(2, np.uint8), "labels are not between"),
        (np.zeros((32, 32, 3, 2), np.uint8), np.ones(2), "its y is not an array of bytes"),
        (np.zeros((32, 32, 3, 2)), np.ones(2, np.uint8), "its X is not an array of bytes"),
        (np.zeros((32, 32, 3, 0), np.uint8), np.ones(2, np.uint8), "its X has 0 bytes"),
    ],
)
def test_a_mat_file_of_something_else_is_named(
    tmp_path: Path, images: np.ndarray, labels: np.ndarray, reason: str
) -> None:
    write_svhn(tmp_path)
    savemat(tmp_path / "train_32x32.mat", {"X": images, "other": {"a": "b"}, "y": labels})
    with pytest.raises(UserError, match=rf"train_32x32\.mat: cannot be read \(.*{reason}"):
        SVHN(root=str(tmp_path), download=False).load()


# idx files, without compression; damage to compressed ones is in test_data.py


def idx(values: np.ndarray) -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    return bytes((0, 0, 8, values.ndim)) + sizes + values.tobytes()


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gz"])
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not an idx file"),
        (b"\0\0\x09\x03", "not an idx file"),
        (idx(np.zeros(5, np.uint8)), "not an idx file of bytes with 3 axes"),
        (idx(np.zeros((5, 28, 27), np.uint8)), "shape"),
        (idx(np.zeros((0, 28, 28), np.uint8)), "shape"),
        (idx(np.zeros((5, 28, 28), np.uint8))[:9], ""),
        (idx(np.zeros((5, 28, 28), np.uint8))[:-1], "values"),
        (idx(np.zeros((5, 28, 28), np.uint8)) + b"\0", "values"),
        (b"\0\0\x08\x03\xff\xff\xff\xff\0\0\0\x1c\0\0\0\x1c", ""),
    ],
)
def test_a_damaged_idx_file_is_named(
    tmp_path: Path, content: bytes, reason: str, pack: Callable[[bytes], bytes]
) -> None:
    folder, ending = tmp_path / "MNIST" / "raw", "" if pack is bytes else ".gz"
    folder.mkdir(parents=True)
    for part in ("train", "t10k"):
        (folder / f"{part}-images-idx3-ubyte{ending}").write_bytes(pack(content))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx(np.zeros(5, np.uint8)))
    with pytest.raises(UserError, match=rf"train-images-idx3-ubyte.*cannot be read \(.*{reason}"):
        MNIST(root=str(tmp_path), download=False).load()


def test_images_and_labels_must_be_as_many(tmp_path: Path) -> None:
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for part in ("train", "t10k"):
        images, labels = np.zeros((5, 28, 28), np.uint8), np.zeros(4, np.uint8)
        (folder / f"{part}-images-idx3-ubyte").write_bytes(idx(images))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx(labels))
    with pytest.raises(UserError, match="holds 5 images and 4 labels"):
        MNIST(root=str(tmp_path), download=False).load()


def test_an_idx_file_is_mapped_and_never_written(tmp_path: Path) -> None:
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    images = np.random.default_rng(0).integers(0, 256, (5, 28, 28), np.uint8)
    for part in ("train", "t10k"):
        (folder / f"{part}-images-idx3-ubyte").write_bytes(idx(images))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx(np.arange(5, dtype=np.uint8)))
    raw = MNIST(root=str(tmp_path), download=False).load()
    check(raw, images[:, None], list(range(5)))
    assert raw.mapping is not None
    raw.data[0] = 7
    assert (folder / "train-images-idx3-ubyte").read_bytes() == idx(images)
