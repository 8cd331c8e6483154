"""Inflation of deflated bytes up to a limit."""

from __future__ import annotations

import zlib

from aeframe.codec.container.file_errors import DamagedError


def inflate(data: bytes, most: int) -> bytes:
    """Inflate data to at most `most` bytes. Raises DamagedError for more, and for damaged data."""
    try:
        inflater = zlib.decompressobj()
        found = inflater.decompress(data, most + 1)
    except zlib.error:
        raise DamagedError("cannot be inflated") from None
    if len(found) > most or not inflater.eof or inflater.unused_data:
        raise DamagedError("has a wrong length")
    return found
