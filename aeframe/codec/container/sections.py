"""The sections of a file that belong together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from aeframe.codec.container.file_errors import DamagedError
from aeframe.codec.container.format import Kind, Section


class Part(NamedTuple):
    """Some samples: the coded section, and before it those that are stored as they are, and their names."""

    coded: Section
    stored: Section | None = None
    names: Section | None = None


def group_sections(sections: Iterator[Section]) -> Iterator[Part]:
    """All samples of a file. Raises DamagedError for sections that belong to no coded one."""
    before = dict[Kind, Section]()
    for section in sections:
        if section.kind in before:
            raise DamagedError("makes no sense where it is: two of a kind follow each other")
        if section.kind is Kind.CODED:
            yield _build_part(section, before.get(Kind.STORED), before.get(Kind.NAMES))
            before = {}
        else:
            before[section.kind] = section
    if before:
        raise DamagedError("makes no sense where it is: no coded samples follow it")


def _build_part(coded: Section, stored: Section | None, names: Section | None) -> Part:
    if stored is not None and stored.samples > coded.samples:
        raise DamagedError("makes no sense: it stores more samples than there are")
    if names is not None and names.samples != coded.samples:
        raise DamagedError("makes no sense: its names are not one for each sample")
    return Part(coded, stored, names)
