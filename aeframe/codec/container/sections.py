"""Parts: sections of a file that belong together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from aeframe.codec.container.file_errors import DamagedError
from aeframe.codec.container.format import Kind, Section


class Part(NamedTuple):
    """Samples of one coded section, with the sections of stored samples and of names before it."""

    coded: Section
    stored: Section | None = None
    names: Section | None = None


def group_sections(sections: Iterator[Section]) -> Iterator[Part]:
    """Group sections into parts. Raises DamagedError for sections without a coded one."""
    before = dict[Kind, Section]()
    for section in sections:
        if section.kind in before:
            raise DamagedError("makes no sense: two sections of one kind follow each other")
        if section.kind is Kind.CODED:
            yield _build_part(section, before.get(Kind.STORED), before.get(Kind.NAMES))
            before = {}
        else:
            before[section.kind] = section
    if before:
        raise DamagedError("makes no sense: no coded samples follow it")


def _build_part(coded: Section, stored: Section | None, names: Section | None) -> Part:
    if stored is not None and stored.samples > coded.samples:
        raise DamagedError("makes no sense: it stores more samples than its part has")
    if names is not None and names.samples != coded.samples:
        raise DamagedError("makes no sense: it does not have one name for each sample")
    return Part(coded, stored, names)
