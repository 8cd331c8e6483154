"""Photographs of any size as bytes: rounded code maps, with each position as a sample for the coder.

photograph  height, width, bands of BAND positions from the top left (the last one may have fewer)
band        length, output of Tables.encode for its positions
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from aeframe.codec.codec import Codec, Decibels, Samples, compute_errors, to_decibels
from aeframe.codec.container.file_errors import DamagedError
from aeframe.codec.container.inflate import inflate
from aeframe.codec.container.sections import Part
from aeframe.codec.entropy.fitting import estimate_bits
from aeframe.codec.entropy.tables import FARTHEST, Codes, Tables
from aeframe.codec.tiles import decode_image, encode_image, get_decoder
from aeframe.core.errors import UserError
from aeframe.runs.sample_arrays import convert_to_stored

SIZE, LENGTH = struct.Struct("<II"), struct.Struct("<I")
BAND = 2**12  # positions that are coded together
PER_LANE = 2**14  # most numbers of a map are 0 and cheap, so that a lane needs more of them
MOST_SIDE, MOST_PIXELS = 2**15, 2**26
MOST_NUMBERS = 2**26  # of a map; each needs up to 16 bytes
ROWS = 256  # of pixels, compared at once


def pack(codec: Codec, image: Samples) -> tuple[bytes, float, Decibels]:
    """Pack an image [colors, H, W]: its bytes, an estimate of their bits, and the PSNR when decoded, [1].

    Raises DamagedError if the decoded code differs.
    """
    height, width = image.shape[1:]
    patch = get_decoder(codec.model.net).patch
    if not is_within_limits(height, width, codec.tables.m, patch):
        what = f"an image of {width} x {height} pixels is too large for this codec"
        raise UserError("INPUT", what, "Cut it into pieces.")
    codes = round_map(codec, image)
    payload = pack_map(codec.tables, codes, height, width)
    if not np.array_equal(_unpack_codes(codec, payload), codes):
        raise DamagedError("does not decode to its codes")
    bits = sum(estimate_bits(codec.tables, codes[i : i + BAND]) for i in range(0, len(codes), BAND))
    return (
        payload,
        bits,
        to_decibels(compute_error(codec, image, restore_image(codec, codes, height, width))),
    )


def unpack(codec: Codec, part: Part) -> Samples:
    """Unpack the image of a part, [1, colors, H, W]. Raises DamagedError."""
    payload, stored = part.coded.payload, part.stored
    if part.coded.samples != 1 or (stored is not None and payload):
        raise DamagedError("has more than one image")
    if stored is not None:
        return read_stored_image(codec, stored.payload)[None]
    return restore_image(codec, _unpack_codes(codec, payload), *read_size(payload))[None]


def round_map(codec: Codec, image: Samples) -> Codes:
    """Encode an image [colors, H, W] and round its map to steps, [positions, C]."""
    steps = np.clip(encode_image(codec.model.net, image) / codec.step, -FARTHEST, FARTHEST)
    return order_by_position(np.rint(steps).astype(np.int32)[None], len(steps))


def restore_image(codec: Codec, codes: Codes, height: int, width: int) -> Samples:
    """Decode a rounded map to an image [colors, height, width], in the type of the training data."""
    net, data = codec.model.net, codec.model.description.data
    code = (codes.T * codec.step).astype(np.float32)
    code = code.reshape(-1, *get_decoder(net).positions(height, width))
    return decode_image(net, code, height, width, lambda raw: convert_to_stored(raw, data))


def compute_error(codec: Codec, image: Samples, back: Samples) -> NDArray[np.float64]:
    """Compute the error of an image, [1], as codec.compute_errors does, a few rows at a time."""
    ends = [*range(0, image.shape[1], ROWS), image.shape[1]]
    parts = (
        compute_errors(codec.model, image[None, :, a:b], back[None, :, a:b]) * (b - a)
        for a, b in pairwise(ends)
    )
    return sum(parts, start=np.zeros(1)) / image.shape[1]


def store_image(image: Samples) -> bytes:
    """Store an image [colors, H, W] losslessly."""
    raw = zlib.compress(image.astype(image.dtype.newbyteorder("<")).tobytes(), 9)
    return SIZE.pack(*image.shape[1:]) + raw


def read_stored_image(codec: Codec, payload: bytes) -> Samples:
    """Read a losslessly stored image. Raises DamagedError."""
    colors = codec.model.shape[0]
    dtype = torch.empty(0, dtype=codec.model.description.data.dtype).numpy().dtype
    height, width = read_size(payload)
    count = colors * height * width * dtype.itemsize
    raw = inflate(payload[SIZE.size :], count)
    if len(raw) != count:
        raise DamagedError("does not contain its image")
    return np.frombuffer(raw, dtype.newbyteorder("<")).reshape(colors, height, width)


def _unpack_codes(codec: Codec, payload: bytes) -> Codes:
    return unpack_map(codec.tables, payload, get_decoder(codec.model.net).patch)


def order_by_position(codes: Codes, channels: int) -> Codes:
    """Reorder flattened maps [n, C * positions] to one row for each position, [n * positions, C].

    A code that is not a map has one position, and is not changed.
    """
    maps = codes.reshape(len(codes), channels, -1)
    return np.ascontiguousarray(maps.transpose(0, 2, 1).reshape(-1, channels))


def pack_map(tables: Tables, codes: Codes, height: int, width: int) -> bytes:
    """Pack the map of an image, [positions, C], into bytes."""
    streams = [tables.encode(codes[i : i + BAND], PER_LANE) for i in range(0, len(codes), BAND)]
    parts = (LENGTH.pack(len(stream)) + stream for stream in streams)
    return SIZE.pack(height, width) + b"".join(parts)


def count_positions(height: int, width: int, patch: int) -> int:
    """Count the positions in the map of an image."""
    return math.ceil(height / patch) * math.ceil(width / patch)


def is_within_limits(height: int, width: int, channels: int = 0, patch: int = 1) -> bool:
    """Check whether an image and its map need at most about 2 GB."""
    numbers = channels * count_positions(height, width, patch)
    pixels = height * width
    return max(height, width) <= MOST_SIDE and 0 < pixels <= MOST_PIXELS and numbers <= MOST_NUMBERS


def read_size(payload: bytes) -> tuple[int, int]:
    """Read the height and the width of a packed image. Raises DamagedError."""
    if len(payload) < SIZE.size:
        raise DamagedError("is shorter than an image's size")
    height, width = SIZE.unpack(payload[: SIZE.size])
    if not is_within_limits(height, width):
        raise DamagedError(f"claims an image of {height} x {width} pixels")
    return height, width


def unpack_map(tables: Tables, payload: bytes, patch: int) -> Codes:
    """Unpack the map that `pack_map` packed, [positions, C]. Raises DamagedError."""
    height, width = read_size(payload)
    if not is_within_limits(height, width, tables.m, patch):
        raise DamagedError(f"claims an image of {height} x {width} pixels")
    positions = count_positions(height, width, patch)
    bands = [min(BAND, positions - i) for i in range(0, positions, BAND)]
    parts = zip(_split_streams(payload, len(bands)), bands, strict=True)
    return np.concatenate([tables.decode(stream, rows, PER_LANE) for stream, rows in parts])


def _split_streams(payload: bytes, count: int) -> Iterator[bytes]:
    """Split the payload into `count` streams. Raises DamagedError for a missing one or trailing bytes."""
    start = SIZE.size
    for _ in range(count):
        head = payload[start : start + LENGTH.size]
        length = LENGTH.unpack(head)[0] if len(head) == LENGTH.size else len(payload)
        start += LENGTH.size + length
        if start > len(payload):
            raise DamagedError("ends within an image")
        yield payload[start - length : start]
    if start != len(payload):
        raise DamagedError("has trailing bytes after an image")
