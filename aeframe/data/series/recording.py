"""Recording: one series of steps in time, and its files of numbers and of sound."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aeframe.core.errors import UserError, build_read_error
from aeframe.core.regular_files import open_regular
from aeframe.data.arrays.npy_header import Header, read_header

LARGEST = float(np.finfo(np.float32).max)
DAMAGED = "Take an undamaged copy of the file, or save it again."


@dataclass(frozen=True)
class Recording:
    """A series of one file.

    where: the key and the file, for messages. names: of the channels. values: [C, T]; NaN is a gap.
    breaks: steps that do not follow the one before, because time jumps. labels: a text for each step, or
    None. times: the cells of the column of times, as in the file, or None. step: the time between two
    steps, in words.
    """

    where: str
    names: tuple[str, ...]
    values: np.ndarray
    breaks: tuple[int, ...] = ()
    labels: np.ndarray | None = None
    times: Any = None
    step: str = ""


def read_numbers(file: Path, where: str) -> list[Recording]:
    """Read an .npy file: [T], [T, C], or several series [N, C, T]. Raises UserError."""
    with _translate(where), open_regular(file) as stream:
        header = read_header(stream)
        _check(header, where)
        if header.size != (size := file.stat().st_size):
            what = (
                f"cannot be read (it has {size} bytes instead of the {header.size} of its header)"
            )
            raise UserError(where, what, "Save the array again.")
        stream.seek(0)
        array = np.lib.format.read_array(stream, allow_pickle=False)
    kind = np.float32 if array.dtype.kind == "f" else array.dtype.newbyteorder("=")
    if array.dtype.kind == "b":
        kind = np.dtype(np.uint8)
    with np.errstate(over="ignore"):
        array = array.astype(kind, copy=False)
    if array.ndim < 3:
        array = (array[:, None] if array.ndim == 1 else array).T[None]
    names = tuple(map(str, range(array.shape[1])))
    found = [Recording(where, names, values) for values in array]
    for number, one in enumerate(found):
        require_finite(one, f"series {number} (from 0), " if len(found) > 1 else "")
    return found


def require_finite(recording: Recording, prefix: str = "") -> None:
    """Raise UserError for infinity and values beyond float32."""
    values = recording.values
    if values.dtype.kind == "f" and (wrong := np.isinf(values)).any():
        channel, step = (int(place[0]) for place in wrong.nonzero())
        name = recording.names[channel]
        what = f"{prefix}channel {name} holds infinity, or a value beyond float32, at step {step} (from 0)"
        raise UserError(recording.where, what, "Correct it, or make it NaN: a gap.")


def _check(header: Header, where: str) -> None:
    if header.bfloat16 or header.dtype.kind not in "biuf" or header.dtype.itemsize > 8:
        what = f"holds {header.dtype}, not numbers"
        raise UserError(where, what, "Save it with a dtype of integers or floats.")
    if not 1 <= len(header.shape) <= 3 or min(header.shape) < 1:
        what = f"has shape {header.shape}"
        raise UserError(
            where, what, "Give a series [T], channels [T, C], or several series [N, C, T]."
        )
    if len(header.shape) == 2 and header.shape[1] > header.shape[0]:
        what = f"has shape {header.shape}: {header.shape[0]} steps of {header.shape[1]} channels"
        raise UserError(where, what, "Give time first, [T, C]: numpy.save(FILE, x.T).")


def read_sound(file: Path, where: str) -> list[Recording]:
    """Read a .wav file. Raises UserError."""
    with _translate(where):
        check_wave(file, where)
        from scipy.io import wavfile

        rate, array = wavfile.read(file)
    if array.dtype.kind == "f":
        array = array.astype(np.float32)
    values = array.reshape(len(array), -1).T
    recording = Recording(
        where, tuple(map(str, range(len(values)))), values, step=f"{1 / rate:.4g} s"
    )
    require_finite(recording)
    return [recording]


def check_wave(file: Path, where: str) -> None:
    """Raise UserError for a file that is no whole .wav file of samples."""
    size = file.stat().st_size
    with open_regular(file) as stream:
        head = stream.read(12)
        if head[:4] not in (b"RIFF", b"RIFX") or head[8:] != b"WAVE":
            raise UserError(
                where, "is no sound file (it does not begin with RIFF ... WAVE)", DAMAGED
            )
        order: Any = "little" if head[:4] == b"RIFF" else "big"
        seen = set[bytes]()
        while len(part := stream.read(8)) == 8:
            name, length = part[:4], int.from_bytes(part[4:], order)
            if stream.tell() + length > size:
                what = f"is cut: its header names {length:,} bytes of {name.decode('latin-1').strip()}, and "
                raise UserError(where, f"{what}{size - stream.tell():,} are there", DAMAGED)
            if name == b"data" and not length:
                raise UserError(where, "holds no sound", "Give a longer recording.")
            seen.add(name)
            stream.seek(length + length % 2, 1)
        if not {b"fmt ", b"data"} <= seen:
            raise UserError(where, "is a sound file without a format or without samples", DAMAGED)


@contextlib.contextmanager
def _translate(where: str) -> Iterator[None]:
    """Translate the exceptions for broken files into a UserError."""
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError(where, "no such file", "Correct the path.") from error
    except Exception as error:  # broken files raise nearly anything in numpy and scipy
        raise build_read_error(where, error, DAMAGED) from error
