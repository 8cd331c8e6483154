"""Samples to the sections of a file, and back."""

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
LONGEST = 200  # characters of a name
MOST_NAMES = 2**21  # that a file keeps: all of them are in memory at once
ELEMENTS = 2**23  # of the samples that are in memory at once
NUMBERS = 2**22  # of their codes: each passes through the coder as several of 8 bytes


class Packed(NamedTuple):
    """Some samples as sections of a file.

    psnr: of each sample, infinite where it is stored as it is. bits: what their codes should take.
    findings: which of them are unlike the training data.
    """

    sections: list[Section]
    psnr: Decibels
    bits: float
    findings: list[Finding]

    @property
    def unlike(self) -> np.ndarray:
        """The places that the findings name, each once."""
        return _find_places(self.findings)


@dataclass(frozen=True)
class Packer:
    """Packs samples that a codec codes.

    on_unlike: what becomes of samples unlike the training data, singly or as a group: `error` is for who
    writes the file to raise, `lossless` stores them as they are (of a group all), `keep` codes them all the
    same. min_psnr: in dB, in place of the codec's own limit for a single sample.
    """

    codec: Codec
    on_unlike: OnUnlike = "error"
    min_psnr: float | None = None

    @cached_property
    def likeness(self) -> Likeness:
        """What tells them."""
        own = self.codec.likeness
        return own if self.min_psnr is None else replace(own, limit=self.min_psnr)

    def pack(self, x: Samples) -> Packed:
        """Sections of samples, [n, *shape]: coded, decoded again and compared.

        Raises DamagedError where decoding does not give the codes.
        """
        if self.codec.any_size:
            return self._photograph(x)
        codes = self.codec.codes(x)
        psnr = self.codec.psnr(x, self.codec.samples(codes))
        bits = count_bits(self.codec.tables, codes)
        findings = self.likeness.findings(psnr, bits)
        unlike = _find_places(findings)
        sections, kept = [], np.ones(len(x), bool)
        if len(unlike) and self.on_unlike == "lossless":
            kept[unlike], psnr[unlike] = False, np.inf
            sections.append(_store(x[unlike], unlike))
        stream = self.codec.tables.encode(codes[kept]) if kept.any() else b""
        if kept.any() and not np.array_equal(
            self.codec.tables.decode(stream, int(kept.sum())), codes[kept]
        ):
            raise DamagedError("does not decode to what was coded")
        sections.append(Section(Kind.CODED, len(x), stream))
        return Packed(sections, psnr, float(bits[kept].sum(dtype=np.float64)), findings)

    def _photograph(self, x: Samples) -> Packed:
        """The sections of one image, [1, colors, H, W]."""
        (image,) = x
        payload, bits, psnr = photographs.pack(self.codec, image)
        findings = self.likeness.findings(psnr, np.array([bits]))
        if not findings or self.on_unlike != "lossless":
            return Packed([Section(Kind.CODED, 1, payload)], psnr, bits, findings)
        raw = Section(Kind.STORED, 1, photographs.store_image(image))
        return Packed([raw, Section(Kind.CODED, 1, b"")], np.full(1, np.inf), 0.0, findings)


def _find_places(findings: list[Finding]) -> np.ndarray:
    return np.unique(np.concatenate([np.zeros(0, np.int64), *(f.places for f in findings)]))


def build_header(codec: Codec) -> Header:
    """Of a file that this codec writes."""
    dtype = str(codec.model.description.data.dtype).removeprefix("torch.")
    shape = codec.model.shape
    return Header(codec.identity, dtype, (shape[0], 0, 0) if codec.any_size else shape)


def count_rows_at_once(codec: Codec) -> int:
    """How many samples an encoder puts into one section."""
    return limit_coded_rows(codec.tables, build_header(codec).shape)


def limit_coded_rows(tables: Tables, shape: tuple[int, ...]) -> int:
    """The same, of samples of this shape."""
    return int(np.clip(NUMBERS // tables.m, 1, limit_rows(shape)))


def limit_rows(shape: tuple[int, ...]) -> int:
    """How many a section may have, which older encoders put together whatever their codes' size."""
    return 1 if 0 in shape else int(np.clip(ELEMENTS // np.prod(shape), 1, MOST_SAMPLES))


def unpack(codec: Codec, sections: Iterator[Section]) -> Iterator[Samples]:
    """The samples of a file, some at a time. Raises DamagedError."""
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
        raise DamagedError("names places that there are not")
    if section.samples > limit_rows(shape):
        raise DamagedError("holds more samples than an encoder puts together")
    samples = np.empty((section.samples, *shape), dtype)
    kept = np.ones(section.samples, bool)
    kept[places] = False
    samples[places] = apart
    if coded:
        samples[kept] = codec.samples(codec.tables.decode(section.payload, coded))
    elif section.payload:
        raise DamagedError("holds bytes of no samples")
    return samples


def _store(x: Samples, places: np.ndarray) -> Section:
    raw = zlib.compress(x.astype(x.dtype.newbyteorder("<")).tobytes(), 9)
    return Section(Kind.STORED, len(x), places.astype("<u4").tobytes() + raw)


def _read_stored(codec: Codec, section: Section | None) -> tuple[np.ndarray, Samples]:
    """The places and the samples of a section of those that were not coded."""
    header = build_header(codec)
    dtype = np.dtype(header.dtype).newbyteorder("<")
    if section is None:
        return np.zeros(0, np.int64), np.zeros((0, *header.shape), dtype)
    size = 4 * section.samples
    if len(section.payload) < size or section.samples > limit_rows(header.shape):
        raise DamagedError("is shorter than the places that it names")
    places = np.frombuffer(section.payload[:size], "<u4").astype(np.int64)
    raw = inflate(section.payload[size:], section.samples * header.sample_bytes)
    if len(raw) != section.samples * header.sample_bytes or (np.diff(places) <= 0).any():
        raise DamagedError("does not hold the samples that it names")
    return places, np.frombuffer(raw, dtype).reshape(section.samples, *header.shape)


def write_names(names: Sequence[str]) -> Section:
    """The names of the samples of the section that follows."""
    text = "\n".join(names).encode("utf-8", "surrogateescape")
    return Section(Kind.NAMES, len(names), zlib.compress(text, 9))


def read_names(section: Section) -> list[str]:
    """Those names. Raises DamagedError."""
    raw = inflate(section.payload, 4 * (LONGEST + 1) * section.samples)
    counted = raw.count(b"\n") + 1 == section.samples  # before each of them takes memory
    names = raw.decode("utf-8", "surrogateescape").split("\n") if counted else []
    if not names or not all(map(is_name, names)):
        raise DamagedError("holds names that are none of files")
    return names


def choose_names(files: Sequence[str]) -> list[str] | None:
    """The names that a file keeps of files: as they are, or from the folder on that all lie in. None where
    it cannot keep all.
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
    """Whether it names a file in a folder or in folders of it, and leads nowhere else."""
    plain = len(name) <= LONGEST and not any(c in "\\:" or c < " " for c in name)
    return plain and all(part and part[0] != "." for part in name.split("/"))
