"""Bytes that are stored as they are."""

from __future__ import annotations

import zlib

from aeframe.codec.container.file_errors import DamagedError


def inflate(data: bytes, most: int) -> bytes:
    """What was deflated, and is not larger than that. Raises DamagedError."""
    try:
        inflater = zlib.decompressobj()
        found = inflater.decompress(data, most + 1)
    except zlib.error:
        raise DamagedError("cannot be inflated") from None
    if len(found) > most or not inflater.eof or inflater.unused_data:
        raise DamagedError("is not as long as it should be")
    return found
