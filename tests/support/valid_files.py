"""A small valid file of each kind, and its place for its source."""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy.io import savemat

from aeframe.data import MNIST, SVHN, Array, ImageFolder, Source
from tests.support.published import LocalCIFAR10

Place = Callable[[Path, str], tuple[Path, Source]]


class Kind(NamedTuple):
    """A valid file, and how it comes to lie where a source reads it: place(folder, name).

    wrap: what is done last. With checksums that are right, broken content gets further.
    """

    content: bytes
    place: Place
    name: str
    wrap: Callable[[bytes], bytes] = bytes


# their contents


def picture(kind: str, **options: object) -> bytes:
    """A small image: mode and format, as `RGB png`."""
    mode, encoding = kind.split()
    ramp = np.linspace(0, 255, 11 * 13 * 3).reshape(13, 11, 3).astype(np.uint8)
    deep = Image.fromarray(ramp[..., 0].astype(np.uint16) * 257)
    image = deep if mode == "I;16" else Image.fromarray(ramp).convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, encoding, **options)
    return buffer.getvalue()


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def npz(*members: tuple[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


def idx(*shape: int) -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in shape)
    return (
        bytes((0, 0, 8, len(shape)))
        + sizes
        + np.resize(np.arange(10, dtype=np.uint8), shape).tobytes()
    )


def batch(protocol: int) -> bytes:
    pixels = np.arange(3072, dtype=np.uint64).astype(np.uint8)[None]
    return pickle.dumps({b"labels": [3], b"data": pixels, b"filenames": ["a.png"]}, protocol)


def mat(*, compressed: bool) -> bytes:
    buffer = io.BytesIO()
    stored = {"X": np.zeros((32, 32, 3, 2), np.uint8), "y": np.array([[1], [10]], np.uint8)}
    savemat(buffer, stored, do_compression=compressed)
    return buffer.getvalue()


# what is done last


def with_checksums(png: bytes) -> bytes:
    """Give each chunk of a PNG the checksum of its present content."""
    made, place = png[:8], 8
    while place + 8 <= len(png):
        end = place + 8 + int.from_bytes(png[place : place + 4], "big")
        made += png[place:end] + struct.pack(">I", zlib.crc32(png[place + 4 : end]))
        place = end + 4
    return made


def in_archive(content: bytes) -> bytes:
    return npz(("a.npy", content))


def in_mat(content: bytes) -> bytes:
    """Compress the first part of an uncompressed .mat file."""
    end = 136 + int.from_bytes(content[132:136], "little")
    packed = zlib.compress(content[128:end])
    return content[:128] + struct.pack("<II", 15, len(packed)) + packed + content[end:]


# where they lie


def images(folder: Path, name: str) -> tuple[Path, Source]:
    return folder / name, ImageFolder(root=str(folder), size=4, cache=None)


def arrays(folder: Path, name: str) -> tuple[Path, Source]:
    return folder / name, Array(path=str(folder / name))


def mnist(folder: Path, name: str) -> tuple[Path, Source]:
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part in ("train", "t10k"):
        (raw / f"{part}-images-idx3-ubyte").write_bytes(idx(4, 28, 28))
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(idx(4))
    (raw / name.removesuffix(".gz")).unlink()
    return raw / name, MNIST(root=str(folder), download=False)


def cifar(folder: Path, name: str, protocol: int) -> tuple[Path, Source]:
    (folder / "cifar-10-batches-py").mkdir()
    for other in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        (folder / "cifar-10-batches-py" / other).write_bytes(batch(protocol))
    return folder / "cifar-10-batches-py" / name, LocalCIFAR10(folder)


def svhn(folder: Path, name: str) -> tuple[Path, Source]:
    for other in ("train_32x32.mat", "test_32x32.mat"):
        (folder / other).write_bytes(mat(compressed=False))
    return folder / name, SVHN(root=str(folder), download=False)


@cache
def kinds() -> dict[str, Kind]:
    """Return all kinds, by name."""
    bits = np.arange(60).reshape(12, 5) % 2
    floats = npy(bits.astype("<f4"))
    labels, digits = "train-labels-idx1-ubyte", "train-images-idx3-ubyte"
    made = {
        "png": Kind(picture("RGB png"), images, "a.png"),
        "png, checksums right": Kind(
            picture("P png", transparency=3), images, "a.png", with_checksums
        ),
        "png, 16 bits": Kind(picture("I;16 png"), images, "a.png", with_checksums),
        "png, alpha": Kind(picture("RGBA png"), images, "a.png", with_checksums),
        "jpeg": Kind(picture("RGB jpeg", exif=turned()), images, "a.jpg"),
        "jpeg, CMYK": Kind(picture("CMYK jpeg", progressive=True), images, "a.jpg"),
        "gif": Kind(picture("P gif"), images, "a.gif"),
        "bmp": Kind(picture("RGB bmp"), images, "a.bmp"),
        "webp": Kind(picture("RGB webp", exif=turned()), images, "a.webp"),
        "tiff": Kind(picture("RGB tiff"), images, "a.tif"),
        "tiff, lzw": Kind(picture("RGB tiff", compression="tiff_lzw"), images, "a.tif"),
        "tiff, jpeg": Kind(picture("RGB tiff", compression="jpeg"), images, "a.tif"),
        "tiff, floats": Kind(picture("F tiff"), images, "a.tif"),
        "ppm": Kind(picture("RGB ppm"), images, "a.ppm"),
        "tga": Kind(picture("RGB tga"), images, "a.tga"),
        "jpeg 2000": Kind(picture("RGB jpeg2000"), images, "a.jp2"),
        "npy": Kind(floats, arrays, "a.npy"),
        "npy, bytes": Kind(npy(bits.astype(np.uint8)), arrays, "a.npy"),
        "npy, booleans": Kind(npy(bits.astype(bool)), arrays, "a.npy"),
        "npy, big-endian": Kind(npy(np.asarray(bits, ">f8", order="F")), arrays, "a.npy"),
        "npz": Kind(npz(("a.npy", floats), compression=zipfile.ZIP_STORED), arrays, "a.npz"),
        "npz, compressed": Kind(npz(("a.npy", floats)), arrays, "a.npz"),
        "npz, archive whole": Kind(floats, arrays, "a.npz", in_archive),
        "idx": Kind(idx(4, 28, 28), mnist, digits),
        "idx, labels": Kind(idx(4), mnist, labels),
        "idx.gz": Kind(gzip.compress(idx(4, 28, 28)), mnist, f"{digits}.gz"),
        "idx.gz, archive whole": Kind(idx(4, 28, 28), mnist, f"{digits}.gz", gzip.compress),
        "cifar": Kind(batch(2), partial(cifar, protocol=2), "data_batch_1"),
        "cifar, protocol 4": Kind(batch(4), partial(cifar, protocol=4), "data_batch_1"),
        "cifar, protocol 5": Kind(batch(5), partial(cifar, protocol=5), "test_batch"),
        "mat": Kind(mat(compressed=False), svhn, "train_32x32.mat"),
        "mat, compressed": Kind(mat(compressed=True), svhn, "train_32x32.mat"),
        "mat, archive whole": Kind(mat(compressed=False), svhn, "train_32x32.mat", in_mat),
    }
    if "AVIF" in Image.SAVE:  # not in every Pillow
        made["avif"] = Kind(picture("RGB avif"), images, "a.avif")
    return made
