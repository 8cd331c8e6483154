"""Files of compressed samples: compress, decompress, inspect and verify."""

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
    """Result of a compression.

    bytes: of the whole file; payload: of the coded samples in it; estimate: of the bytes that their codes
    need. unlike: number of samples unlike the training data. named: whether the file contains their names.
    parts: PSNR of the samples, section by section.
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
        """The PSNR of each sample in dB, infinite for losslessly stored ones."""
        return np.concatenate(self.parts)

    @property
    def mean_psnr(self) -> float:
        """The PSNR of the mean error of all samples, in dB."""
        return float(to_decibels(float((10 ** (-self.psnr / 10)).mean())))


def compress(
    packer: Packer, blocks: Iterable[Samples], file: BinaryIO, names: Sequence[str] | None = None
) -> Summary:
    """Compress blocks of samples, [n, *shape], into a file. Each is decoded and compared first.

    names: the file name of each sample, stored if possible (see choose_names). Raises UserError.
    """
    header, summary = build_header(packer.codec), Summary()
    if header.dtype not in DTYPES:
        what = f"samples of type {header.dtype} cannot be compressed"
        raise UserError("model", what, f"Train on one of {', '.join(DTYPES)}.")
    stored_names = None if names is None else choose_names(names)
    summary.named = stored_names is not None
    writer = Writer(file, header)
    for x in blocks:
        here = slice(summary.samples, summary.samples + len(x))
        packed = packer.pack(x)
        if packer.on_unlike == "error" and packed.findings:
            raise _build_unlike_error(packed.findings[0], summary.samples, names)
        own = [] if stored_names is None else [write_names(stored_names[here])]
        for section in (*own, *packed.sections):
            writer.write_section(*section)
            summary.payload += len(section.payload) * (section.kind is Kind.CODED)
        summary.samples += len(x)
        summary.estimate += packed.bits / 8
        summary.unlike += len(packed.unlike)
        summary.parts.append(packed.psnr)
    if not summary.samples:
        raise UserError("INPUT", "contains no samples")
    writer.write_end()
    summary.bytes = file.tell()
    return summary


def _build_unlike_error(finding: Finding, before: int, names: Sequence[str] | None) -> UnlikeError:
    """Build the error for samples unlike the training data. before: number of samples in earlier sections."""
    first, last = (before + int(place) for place in finding.places[[0, -1]])
    where = " to ".join(
        f"{place}" if names is None else names[place] for place in sorted({first, last})
    )
    if names is None:
        where = f"sample{'s' if last > first else ''} {where}"
    remedy = "Write --on-unlike lossless to store such samples losslessly, or --on-unlike keep."
    return UnlikeError(where, finding.what, remedy)


@dataclass
class Contents:
    """Contents of an undamaged file.

    stored: number of losslessly stored samples. named: number of samples with names. kinds: bytes of each
    kind of section.
    """

    header: Header
    bytes: int
    samples: int = 0
    stored: int = 0
    sections: int = 0
    named: int = 0
    kinds: dict[str, int] = field(default_factory=dict)

    def add(self, part: Part) -> None:
        """Count one part. Its names are checked, but not kept."""
        self.samples += part.coded.samples
        self.stored += part.stored.samples if part.stored else 0
        if part.names:
            self.named += part.names.samples
            if self.named > MOST_NAMES:
                raise DamagedError("makes no sense: it contains more names than a file may have")
            read_names(part.names)
        for section in filter(None, (part.names, part.stored, part.coded)):
            self.sections += 1
            kind = section.kind.name.lower()
            self.kinds[kind] = self.kinds.get(kind, 0) + len(section.payload)


def inspect(file: Path) -> Contents:
    """Inspect a file without its model. Raises ContainerError if any byte is damaged."""
    reader = Reader(file)
    found = Contents(reader.header, reader.size)
    with _translate_errors(file):
        for part in group_sections(reader.read_sections()):
            found.add(part)
    return found


def list_names(file: Path, found: Contents) -> list[str] | None:
    """List the names of all samples in an inspected file, if it has them. Raises ContainerError."""
    if found.named != found.samples:
        return None
    with _translate_errors(file):
        named = (part.names for part in group_sections(Reader(file).read_sections()))
        return [name for section in named if section for name in read_names(section)]


def decompress(codec: Codec, file: Path) -> Iterator[Samples]:
    """Iterate over the samples of a file in blocks, [n, *shape]. Raises ContainerError."""
    reader, ours = Reader(file), build_header(codec)
    if reader.header != ours:
        theirs, own = (header.identity.hex()[:12] for header in (reader.header, ours))
        what = f"was compressed by model {theirs}, but this is model {own}"
        remedy = "Name the run that compressed it, with its codec.safetensors of that time."
        raise ModelMismatchError(file, what, remedy)
    with _translate_errors(file):
        yield from unpack(codec, reader.read_sections())


def verify(codec: Codec, file: Path, against: Iterator[Samples] | None) -> tuple[int, np.ndarray]:
    """Decode a whole file; returns the number of samples, and the error of each if `against` is given.

    Errors: see codec.compute_errors. Raises ContainerError.
    """
    samples, errors = 0, [np.zeros(0)]
    rest = np.zeros(0)
    for x in decompress(codec, file):
        samples += len(x)
        while against is not None and len(rest) < len(x):
            block = next(against, None)
            if block is None:
                originals = samples - len(x) + len(rest)
                what = f"contains more samples than the {originals:,} originals"
                raise ContainerError(file, what, "Name all originals, in the same order.")
            rest = np.concatenate([rest, block]) if len(rest) else block
        if against is not None and rest.shape[1:] != x.shape[1:]:
            raise ContainerError(file, "contains images of another size than the originals")
        if against is not None:
            errors.append(compute_errors(codec.model, rest[: len(x)], x))
            rest = rest[len(x) :]
    if len(rest) or (against is not None and next(against, None) is not None):
        raise ContainerError(file, "contains fewer samples than the originals")
    return samples, np.concatenate(errors)


@contextmanager
def _translate_errors(file: Path) -> Iterator[None]:
    """Translate the error of a part into one that names the file."""
    try:
        yield
    except DamagedError as error:
        raise ContainerError(
            file, f"contains a part that {error}", "Compress the samples again."
        ) from error
