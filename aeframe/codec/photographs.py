"""Photographs of any size as bytes: the rounded map of each, whose positions are samples to the coder.

photograph  height, width, bands of BAND positions from the top left on (the last one may have fewer)
band        length, what Tables.encode makes of its positions
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator

import numpy as np

from aeframe.codec.errors import DamagedError
from aeframe.codec.tables import FARTHEST, Codes, Tables
from aeframe.codec.tiles import decoder_of, image_of, map_of
from aeframe.constrained import ConstrainedAutoencoder

SIZE, LENGTH = struct.Struct("<II"), struct.Struct("<I")
BAND = 2**12  # positions that are coded together
PER_LANE = 2**14  # most numbers of a map are 0 and cost little: a coder has to pay for more of them
MOST_PIXELS = 2**27


def by_position(codes: Codes, channels: int) -> Codes:
    """Flattened maps [n, C * positions] as what the tables are of: a row for each position, [.., C].

    A code that is no map has one position, and stays as it is.
    """
    maps = codes.reshape(len(codes), channels, -1)
    return np.ascontiguousarray(maps.transpose(0, 2, 1).reshape(-1, channels))


def rounded(net: ConstrainedAutoencoder, image: np.ndarray, step: float) -> Codes:
    """The map of an image [colors, H, W] in steps, as whole numbers, [positions, C]."""
    steps = np.clip(map_of(net, image) / step, -FARTHEST, FARTHEST)
    return by_position(np.rint(steps).astype(np.int32)[None], len(steps))


def restored(
    net: ConstrainedAutoencoder, codes: Codes, step: float, height: int, width: int
) -> np.ndarray:
    """The image of such numbers, [colors, height, width], in the units of the stored data."""
    positions = decoder_of(net).positions(height, width)
    return image_of(net, (codes.T * step).astype(np.float32).reshape(-1, *positions), height, width)


def packed(tables: Tables, codes: Codes, height: int, width: int) -> bytes:
    """The bytes of an image's map, [positions, C]."""
    streams = [tables.encode(codes[i : i + BAND], PER_LANE) for i in range(0, len(codes), BAND)]
    parts = (LENGTH.pack(len(stream)) + stream for stream in streams)
    return SIZE.pack(height, width) + b"".join(parts)


def size_of(payload: bytes) -> tuple[int, int]:
    """The height and the width of a packed image. Raises DamagedError."""
    if len(payload) < SIZE.size:
        raise DamagedError("is shorter than an image's size")
    height, width = SIZE.unpack(payload[: SIZE.size])
    if not 0 < height * width <= MOST_PIXELS:
        raise DamagedError(f"claims an image of {height} x {width} pixels")
    return height, width


def unpacked(tables: Tables, payload: bytes, patch: int) -> Codes:
    """The numbers that `packed` was given, [positions, C]. Raises DamagedError."""
    height, width = size_of(payload)
    positions = math.ceil(height / patch) * math.ceil(width / patch)
    bands = [min(BAND, positions - i) for i in range(0, positions, BAND)]
    parts = zip(_streams(payload, len(bands)), bands, strict=True)
    return np.concatenate([tables.decode(stream, rows, PER_LANE) for stream, rows in parts])


def _streams(payload: bytes, count: int) -> Iterator[bytes]:
    """Exactly so many, with nothing behind them."""
    start = SIZE.size
    for _ in range(count):
        head = payload[start : start + LENGTH.size]
        length = LENGTH.unpack(head)[0] if len(head) == LENGTH.size else len(payload)
        start += LENGTH.size + length
        if start > len(payload):
            raise DamagedError("ends within an image")
        yield payload[start - length : start]
    if start != len(payload):
        raise DamagedError("goes on behind an image")
