"""Files of compressed samples: written, read, looked at and compared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

from aeframe.codec.codec import Codec, Samples, compute_errors, to_decibels
from aeframe.codec.container.file_errors import (
    ContainerError,
    DamagedError,
    ModelMismatchError,
    UnlikeError,
)
from aeframe.codec.container.format import DTYPES, Header, Kind, Reader, Writer
from aeframe.codec.container.sections import Part, group_sections
from aeframe.codec.likeness import Finding
from aeframe.codec.packing import (
    MOST_NAMES,
    Packer,
    build_header,
    choose_names,
    read_names,
    unpack,
    write_names,
)
from aeframe.core.errors import UserError


@dataclass
class Summary:
    """What compressing came to.

    bytes: of the whole file; payload: of the coded samples in it; estimate: what their codes should take.
    psnr: of each sample in dB, infinite where it is stored as it is. named: whether their names are kept.
    """

    samples: int = 0
    bytes: int = 0
    payload: int = 0
    estimate: float = 0.0
    unlike: int = 0
    named: bool = False
    parts: list[np.ndarray] = field(default_factory=list)

    @property
    def psnr(self) -> np.ndarray:
        """Of each sample in dB."""
        return np.concatenate(self.parts)

    @property
    def mean_psnr(self) -> float:
        """Of the mean error of all samples."""
        return float(to_decibels(float((10 ** (-self.psnr / 10)).mean())))


def compress(
    packer: Packer,
    blocks: Iterable[Samples],
    file: BinaryIO,
    names: Sequence[str] | None = None,
) -> Summary:
    """Write samples, [n, *shape] at a time, each decoded and compared before it is written.

    names: of the files that they are from, one each, to be kept (see kept_names). Raises UserError.
    """
    header, found = build_header(packer.codec), Summary()
    if header.dtype not in DTYPES:
        what = f"samples of {header.dtype} cannot be compressed"
        raise UserError("model", what, f"Train on one of {', '.join(DTYPES)}.")
    kept = None if names is None else choose_names(names)
    found.named = kept is not None
    writer = Writer(file, header)
    for x in blocks:
        here = slice(found.samples, found.samples + len(x))
        packed = packer.pack(x)
        if packer.on_unlike == "error" and packed.findings:
            raise _build_unlike_error(packed.findings[0], found.samples, names)
        own = [] if kept is None else [write_names(kept[here])]
        for section in (*own, *packed.sections):
            writer.section(*section)
            found.payload += len(section.payload) * (section.kind is Kind.CODED)
        found.samples += len(x)
        found.estimate += packed.bits / 8
        found.unlike += len(packed.unlike)
        found.parts.append(packed.psnr)
    if not found.samples:
        raise UserError("INPUT", "holds no samples")
    writer.end()
    found.bytes = file.tell()
    return found


def _build_unlike_error(finding: Finding, before: int, names: Sequence[str] | None) -> UnlikeError:
    """before: samples of earlier sections."""
    first, last = (before + int(place) for place in finding.places[[0, -1]])
    where = " to ".join(
        f"{place}" if names is None else names[place] for place in sorted({first, last})
    )
    if names is None:
        where = f"sample{'s' if last > first else ''} {where}"
    remedy = "Write --on-unlike lossless to store such samples as they are, or --on-unlike keep."
    return UnlikeError(where, finding.what, remedy)


@dataclass
class Contents:
    """What a whole, undamaged file says of itself.

    stored: samples that were not coded. named: those that have names. kinds: bytes of each kind of section.
    """

    header: Header
    bytes: int
    samples: int = 0
    stored: int = 0
    sections: int = 0
    named: int = 0
    kinds: dict[str, int] = field(default_factory=dict)

    def add(self, part: Part) -> None:
        """Count what belongs together. Its names are looked at, and forgotten."""
        self.samples += part.coded.samples
        self.stored += part.stored.samples if part.stored else 0
        if part.names:
            self.named += part.names.samples
            if self.named > MOST_NAMES:
                raise DamagedError("makes no sense: it holds more names than a file keeps")
            read_names(part.names)
        for section in filter(None, (part.names, part.stored, part.coded)):
            self.sections += 1
            kind = section.kind.name.lower()
            self.kinds[kind] = self.kinds.get(kind, 0) + len(section.payload)


def inspect(file: Path) -> Contents:
    """Look at a file without its model. Raises ContainerError unless every byte is as it was written."""
    reader = Reader(file)
    found = Contents(reader.header, reader.size)
    with _translate_errors(file):
        for part in group_sections(reader.sections()):
            found.add(part)
    return found


def list_names(file: Path, found: Contents) -> list[str] | None:
    """Of all samples of a file that was looked at; None unless each has one. Raises ContainerError."""
    if found.named != found.samples:
        return None
    with _translate_errors(file):
        named = (part.names for part in group_sections(Reader(file).sections()))
        return [name for section in named if section for name in read_names(section)]


def decompress(codec: Codec, file: Path) -> Iterator[Samples]:
    """The samples of a file, [n, *shape] at a time. Raises ContainerError."""
    reader, ours = Reader(file), build_header(codec)
    if reader.header != ours:
        theirs, own = (header.identity.hex()[:12] for header in (reader.header, ours))
        what = f"was compressed by model {theirs}, and this one is {own}"
        remedy = "Name the run that compressed it, with the codec.safetensors that it had then."
        raise ModelMismatchError(file, what, remedy)
    with _translate_errors(file):
        yield from unpack(codec, reader.sections())


def verify(codec: Codec, file: Path, against: Iterator[Samples] | None) -> tuple[int, np.ndarray]:
    """Decode a whole file; the number of its samples, and the error of each (see codec.errors) where there
    is something to compare them with. Raises ContainerError.
    """
    samples, found = 0, [np.zeros(0)]
    rest = np.zeros(0)
    for x in decompress(codec, file):
        samples += len(x)
        while against is not None and len(rest) < len(x):
            block = next(against, None)
            if block is None:
                given = samples - len(x) + len(rest)
                what = f"holds more samples than the {given:,} that it is compared with"
                raise ContainerError(file, what, "Name all that was compressed, in the same order.")
            rest = np.concatenate([rest, block]) if len(rest) else block
        if against is not None and rest.shape[1:] != x.shape[1:]:
            raise ContainerError(file, "holds images of another size than what it is compared with")
        if against is not None:
            found.append(compute_errors(codec.model, rest[: len(x)], x))
            rest = rest[len(x) :]
    if len(rest) or (against is not None and next(against, None) is not None):
        raise ContainerError(file, "holds fewer samples than what it is compared with")
    return samples, np.concatenate(found)


@contextmanager
def _translate_errors(file: Path) -> Iterator[None]:
    """What is wrong with a part that is whole, of its file."""
    try:
        yield
    except DamagedError as error:
        raise ContainerError(file, f"holds a part that {error}", "Make it again.") from error
