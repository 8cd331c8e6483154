"""Packing: samples to the sections of a file, and back."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np

from aeframe.codec import photographs
from aeframe.codec.codec import Codec, Decibels, Samples
from aeframe.codec.container.file_errors import DamagedError
from aeframe.codec.container.format import MOST_SAMPLES, Header, Kind, Section
from aeframe.codec.container.inflate import inflate
from aeframe.codec.container.sections import group_sections
from aeframe.codec.entropy.fitting import count_bits
from aeframe.codec.entropy.tables import Tables
from aeframe.codec.likeness import Finding, Likeness

OnUnlike = Literal["error", "lossless", "keep"]
LONGEST = 200  # characters in a name
MOST_NAMES = 2**21  # in a file: all are in memory at once
ELEMENTS = 2**23  # of the samples in memory at once
NUMBERS = 2**22  # of their codes: the coder needs several times 8 bytes for each


class Packed(NamedTuple):
    """Samples as sections of a file.

    psnr: of each sample, infinite for losslessly stored ones. bits: estimate for their codes.
    findings: samples unlike the training data.
    """

    sections: list[Section]
    psnr: Decibels
    bits: float
    findings: list[Finding]

    @property
    def unlike(self) -> np.ndarray:
        """The positions in the findings, without repetition."""
        return _find_places(self.findings)


@dataclass(frozen=True)
class Packer:
    """Packer of samples with a codec.

    on_unlike: treatment of samples unlike the training data, single or in groups: `error` leaves the error to
    the caller, `lossless` stores them losslessly (whole groups), `keep` codes them like others.
    min_psnr: in dB, replaces the codec's limit for a single sample.
    """

    codec: Codec
    on_unlike: OnUnlike = "error"
    min_psnr: float | None = None

    @cached_property
    def likeness(self) -> Likeness:
        """The test for samples unlike the training data."""
        own = self.codec.likeness
        return own if self.min_psnr is None else replace(own, limit=self.min_psnr)

    def pack(self, x: Samples) -> Packed:
        """Pack samples, [n, *shape], into sections; they are decoded again and compared.

        Raises DamagedError if the decoded codes differ.
        """
        if self.codec.any_size:
            return self._pack_photograph(x)
        codes = self.codec.encode(x)
        psnr = self.codec.compute_psnr(x, self.codec.decode(codes))
        bits = count_bits(self.codec.tables, codes)
        findings = self.likeness.list_findings(psnr, bits)
        unlike = _find_places(findings)
        sections, kept = [], np.ones(len(x), bool)
        if len(unlike) and self.on_unlike == "lossless":
            kept[unlike], psnr[unlike] = False, np.inf
            sections.append(_store(x[unlike], unlike))
        stream = self.codec.tables.encode(codes[kept]) if kept.any() else b""
        if kept.any() and not np.array_equal(
            self.codec.tables.decode(stream, int(kept.sum())), codes[kept]
        ):
            raise DamagedError("does not decode to its codes")
        sections.append(Section(Kind.CODED, len(x), stream))
        return Packed(sections, psnr, float(bits[kept].sum(dtype=np.float64)), findings)

    def _pack_photograph(self, x: Samples) -> Packed:
        """Pack one image, [1, colors, H, W]."""
        (image,) = x
        payload, bits, psnr = photographs.pack(self.codec, image)
        findings = self.likeness.list_findings(psnr, np.array([bits]))
        if not findings or self.on_unlike != "lossless":
            return Packed([Section(Kind.CODED, 1, payload)], psnr, bits, findings)
        raw = Section(Kind.STORED, 1, photographs.store_image(image))
        return Packed([raw, Section(Kind.CODED, 1, b"")], np.full(1, np.inf), 0.0, findings)


def _find_places(findings: list[Finding]) -> np.ndarray:
    return np.unique(np.concatenate([np.zeros(0, np.int64), *(f.places for f in findings)]))


def build_header(codec: Codec) -> Header:
    """Build the header of a file of this codec."""
    dtype = str(codec.model.description.data.dtype).removeprefix("torch.")
    shape = codec.model.shape
    return Header(codec.identity, dtype, (shape[0], 0, 0) if codec.any_size else shape)


def count_rows_at_once(codec: Codec) -> int:
    """Count the samples that the encoder packs into one section."""
    return limit_coded_rows(codec.tables, build_header(codec).shape)


def limit_coded_rows(tables: Tables, shape: tuple[int, ...]) -> int:
    """Limit the samples in one section by the size of samples of this shape, and of their codes."""
    return int(np.clip(NUMBERS // tables.m, 1, limit_rows(shape)))


def limit_rows(shape: tuple[int, ...]) -> int:
    """Limit the samples in one section by their size alone, as older encoders do."""
    return 1 if 0 in shape else int(np.clip(ELEMENTS // np.prod(shape), 1, MOST_SAMPLES))


def unpack(codec: Codec, sections: Iterator[Section]) -> Iterator[Samples]:
    """Iterate over the samples of a file in blocks. Raises DamagedError."""
    for part in group_sections(sections):
        if codec.any_size:
            yield photographs.unpack(codec, part)
        else:
            yield _merge(codec, part.coded, part.stored)


def _merge(codec: Codec, section: Section, stored: Section | None) -> Samples:
    places, apart = _read_stored(codec, stored)
    coded = section.samples - len(places)
    shape, dtype = build_header(codec).shape, build_header(codec).dtype
    if coded < 0 or (len(places) and places[-1] >= section.samples) or section.samples == 0:
        raise DamagedError("has positions outside of its samples")
    if section.samples > limit_rows(shape):
        raise DamagedError("has more samples than an encoder packs together")
    samples = np.empty((section.samples, *shape), dtype)
    kept = np.ones(section.samples, bool)
    kept[places] = False
    samples[places] = apart
    if coded:
        samples[kept] = codec.decode(codec.tables.decode(section.payload, coded))
    elif section.payload:
        raise DamagedError("has bytes without samples")
    return samples


def _store(x: Samples, places: np.ndarray) -> Section:
    raw = zlib.compress(x.astype(x.dtype.newbyteorder("<")).tobytes(), 9)
    return Section(Kind.STORED, len(x), places.astype("<u4").tobytes() + raw)


def _read_stored(codec: Codec, section: Section | None) -> tuple[np.ndarray, Samples]:
    """Read the positions and the samples of a section of losslessly stored samples."""
    header = build_header(codec)
    dtype = np.dtype(header.dtype).newbyteorder("<")
    if section is None:
        return np.zeros(0, np.int64), np.zeros((0, *header.shape), dtype)
    size = 4 * section.samples
    if len(section.payload) < size or section.samples > limit_rows(header.shape):
        raise DamagedError("is shorter than its list of positions")
    places = np.frombuffer(section.payload[:size], "<u4").astype(np.int64)
    raw = inflate(section.payload[size:], section.samples * header.sample_bytes)
    if len(raw) != section.samples * header.sample_bytes or (np.diff(places) <= 0).any():
        raise DamagedError("does not contain its samples")
    return places, np.frombuffer(raw, dtype).reshape(section.samples, *header.shape)


def write_names(names: Sequence[str]) -> Section:
    """Write the names of the samples in the next section."""
    text = "\n".join(names).encode("utf-8", "surrogateescape")
    return Section(Kind.NAMES, len(names), zlib.compress(text, 9))


def read_names(section: Section) -> list[str]:
    """Read the names in a section. Raises DamagedError."""
    raw = inflate(section.payload, 4 * (LONGEST + 1) * section.samples)
    counted = raw.count(b"\n") + 1 == section.samples  # checked before each name takes memory
    names = raw.decode("utf-8", "surrogateescape").split("\n") if counted else []
    if not names or not all(map(is_name, names)):
        raise DamagedError("has invalid file names")
    return names


def choose_names(files: Sequence[str]) -> list[str] | None:
    """Choose the stored names of files: as given, or relative to their common folder.

    Returns None if some names cannot be stored.
    """
    if not files or len(files) > MOST_NAMES:
        return None
    if all(map(is_name, files)):
        return list(files)
    paths = [os.path.abspath(file) for file in files]
    parent = os.path.commonpath([os.path.dirname(path) for path in paths])
    found = [os.path.relpath(path, parent) for path in paths]
    return found if all(map(is_name, found)) else None


def is_name(name: str) -> bool:
    """Check whether a name is that of a file inside a folder or its subfolders."""
    plain = len(name) <= LONGEST and not any(c in "\\:" or c < " " for c in name)
    return plain and all(part and part[0] != "." for part in name.split("/"))
