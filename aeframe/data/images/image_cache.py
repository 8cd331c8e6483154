"""Cache of decoded images, so that each folder is decoded once."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import shutil
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from aeframe.core.regular_files import open_regular
from aeframe.data.memory_map import Mapped, map_array
from aeframe.data.normalization.value_range import Range
from aeframe.data.user_cache import lock, write_private

HEADER = 4096  # bytes before the pixels, which so begin on a memory page
CHECKSUM = 8  # characters at the end of the header
BLOCK = 2**20  # bytes that are read at once


class Images(NamedTuple):
    """Decoded images of some files. kept: whether each file's image is included. measured: see Decoded."""

    pixels: Mapped
    kept: np.ndarray
    measured: Range | None


class Decoded(NamedTuple):
    """Images in the order of their files, None for a skipped one.

    measured: the measured values of black and white (brightness.measure_range), or None.
    """

    images: Iterable[np.ndarray | None]
    measured: Range | None


class CachedImages:
    """Decoded images of one folder, uint8 of `shape`, in one file of the cache.

    folder: the cache. key: names the file. content: one line with everything that the pixels
    depend on. shape: [N, ...], for N image files. complete: whether every image must be there.
    The file contains `content`, the measured values, the pixels, `kept` and a checksum. If any of them does
    not match, the images are decoded again.
    """

    def __init__(
        self, folder: Path, key: str, content: str, shape: tuple[int, ...], *, complete: bool
    ) -> None:
        self.path = folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.images"
        self.head = f"{content}\n".encode()
        self.shape, self.complete = shape, complete

    def get(self, decode: Callable[[], Decoded]) -> Images:
        """Return the images, memory-mapped; calls `decode` if they are not in the file.

        Raises OSError if they cannot be written.
        """
        if (found := self._read()) is not None:
            return found
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # images may be private
        with lock(self.path.with_suffix(".lock")):
            found = self._read()  # another process may have decoded them in the meantime
            if found is None:
                self._write(decode())
                found = self._read()
        if found is None:
            raise OSError(errno.EIO, "the images cannot be read back")
        return found

    def _read(self) -> Images | None:
        count, *image = self.shape
        try:
            with open_regular(self.path) as stream:
                header = stream.read(HEADER)
                size = os.fstat(stream.fileno()).st_size
                rows, rest = divmod(size - HEADER - count, math.prod(image))
                if not header.startswith(self.head) or not 0 < rows <= count or rest:
                    return None
                checksum = zlib.crc32(header[:-CHECKSUM])
                while block := stream.read(BLOCK):
                    checksum = zlib.crc32(block, checksum)
                if header[-CHECKSUM:] != _format_checksum(checksum) or (
                    self.complete and rows < count
                ):
                    return None
                stream.seek(-count, os.SEEK_END)
                kept = np.frombuffer(stream.read(), np.bool_)
                pixels = map_array(stream, np.dtype(np.uint8), (rows, *image), offset=HEADER)
                return Images(pixels, kept, _parse_range(header[len(self.head) : -CHECKSUM]))
        except OSError:
            return None

    def _write(self, decoded: Decoded) -> None:
        """Write a complete file, then rename it; processes that mapped the old file keep it."""
        most = HEADER + math.prod(self.shape) + self.shape[0]
        if shutil.disk_usage(self.path.parent).free < most:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        with write_private(self.path) as partial, partial.open("r+b") as stream:
            stream.write(bytes(HEADER))
            header = self.head + json.dumps(decoded.measured).encode()
            header = header.ljust(HEADER - CHECKSUM)
            checksum, kept = zlib.crc32(header), bytearray()
            for image in decoded.images:
                kept.append(image is not None)
                pixels = b"" if image is None else image.tobytes()
                checksum = zlib.crc32(pixels, checksum)
                stream.write(pixels)
            stream.write(kept)
            stream.seek(0)
            stream.write(header + _format_checksum(zlib.crc32(kept, checksum)))


def _parse_range(text: bytes) -> Range | None:
    """Parse the measured range; the checksum guarantees its format."""
    found = json.loads(text)
    return None if found is None else (float(found[0]), float(found[1]))


def _format_checksum(checksum: int) -> bytes:
    return f"{checksum:0{CHECKSUM}x}".encode()
