"""CIFAR's batch files: pickles, of which nothing is executed."""

from __future__ import annotations

import math
import pickletools
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np
import torch
from torch import Tensor

from aeframe.core.errors import unreadable
from aeframe.core.regular_files import open_regular
from aeframe.data.memory_map import Mapped, mapped, tensor
from aeframe.data.source import Raw

SHAPE = (3, 32, 32)
MOST = 2**22  # operations in a file, of which a batch of 10,000 images has some 40,000
OPERATIONS = {operation.code.encode("latin-1"): operation for operation in pickletools.opcodes}
WIDTHS = {  # of the number of bytes that comes before a string
    pickletools.TAKEN_FROM_ARGUMENT4: 4,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}


def read_batches(files: Sequence[Path]) -> Raw:
    """The images, uint8 [N, 3, 32, 32], and labels of batch files, one after the other.

    Those of a single file stay memory-mapped, those of several are copied to memory.
    Raises UserError, which names the file, for one that is damaged.
    """
    batches = [_read_batch(file) for file in files]
    if len(batches) == 1:
        return batches[0]
    labels = torch.cat([batch.labels for batch in batches if batch.labels is not None])
    images = torch.empty((len(labels), *SHAPE), dtype=torch.uint8)
    end = 0
    for batch in batches:
        for _, chunk in batch.chunks():
            images[end : end + len(chunk)] = chunk
            end += len(chunk)
    return Raw(images, labels, low=0, high=255)


def _read_batch(file: Path) -> Raw:
    try:
        with warnings.catch_warnings(), open_regular(file) as stream:
            warnings.simplefilter("ignore")  # of odd escapes in a text
            labels, (pixels, mapping) = _scanned(stream)
            if not len(labels) or pixels.size != len(labels) * math.prod(SHAPE):
                raise ValueError(f"{len(labels)} labels and {pixels.size} values of pixels")
    except Exception as error:  # a damaged file raises many kinds in pickletools
        remedy = "Delete its folder, so that it is fetched again."
        raise unreadable(str(file), error, remedy) from error
    images = tensor(pixels.reshape(-1, *SHAPE))
    return Raw(images, labels, low=0, high=255, mapping=mapping)


def _scanned(stream: IO[bytes]) -> tuple[Tensor, Mapped]:
    """The labels in a batch, int64 [N], and its pixels, uint8 [N * 3072], where they lie in the file.

    Labels are the small numbers after the key "labels"; pixels the first long string after "data".
    """
    labels: list[int] = []
    pixels, key = Mapped(np.empty(0, np.uint8), None), ""
    for name, value in _operations(stream):
        if key == "labels" and isinstance(value, int) and name == "BININT1":
            labels.append(value)
        elif key == "data" and isinstance(value, range):
            key, pixels = "", _string(stream, value, text="UNICODE" in name)
        elif isinstance(value, str | bytes):
            text = value if isinstance(value, str) else value.decode("latin-1")
            if text in ("labels", "data"):
                key = text
            elif key == "labels" and labels:
                key = ""
    return torch.tensor(labels, dtype=torch.int64), pixels


def _operations(stream: IO[bytes]) -> Iterator[tuple[str, object]]:
    """Name and argument of each operation in a pickle; of long strings the range in the file.

    None is carried out: a stranger's file runs no code.
    """
    for _ in range(MOST):
        if (code := stream.read(1)) == b".":
            return
        if (operation := OPERATIONS.get(code)) is None:
            raise ValueError("it is no whole pickle")
        argument = operation.arg
        start = stream.tell()
        if argument is not None and (width := WIDTHS.get(argument.n)):
            size = int.from_bytes(stream.read(width), "little")
            if size >= math.prod(SHAPE):
                yield operation.name, range(start + width, start + width + size)
                stream.seek(start + width + size)
                continue
            stream.seek(start)
        yield operation.name, None if argument is None else argument.reader(stream)
    raise ValueError(f"it has more than {MOST} operations")


def _string(stream: IO[bytes], place: range, *, text: bool) -> Mapped:
    if not text:
        return mapped(stream, np.dtype(np.uint8), (len(place),), offset=place.start)
    stream.seek(place.start)  # Python 3 writes bytes as text in the protocols of Python 2
    pixels = bytearray(stream.read(len(place)).decode(), "latin-1")
    return Mapped(np.frombuffer(pixels, np.uint8), None)
