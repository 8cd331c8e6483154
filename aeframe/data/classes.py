"""Classes of labelled samples: their names, and a choice among them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from aeframe.core.errors import Problem, UserError, find_closest, shorten
from aeframe.data.source import ClassNames, Raw

NAMED = 20  # classes that a message lists at most
UNLABELED = "(none)"
"""The class of a sample whose label is missing."""


def name_classes(raw: Raw) -> tuple[str, ...]:
    """Return the names of the classes; without names they are called by their numbers."""
    if raw.classes or raw.labels is None or not len(raw.labels):
        return raw.classes
    return tuple(str(number) for number in range(int(raw.labels.max()) + 1))


def name_labels(raw: Raw) -> list[str] | None:
    """Return the name of each sample's class, or None for data without labels."""
    if raw.labels is None:
        return None
    names = name_classes(raw)
    return [names[label] for label in raw.labels.tolist()]


def share_classes(raw: Raw) -> Raw:
    """Give the other splits the class numbers of the training data."""
    names = dict.fromkeys(raw.classes)
    for other in (raw.val, raw.test):
        names |= dict.fromkeys(other.classes if other is not None else ())
    number = {name: i for i, name in enumerate(names)}

    def rename(other: Raw | None) -> Raw | None:
        if other is None or other.labels is None or other.classes in ((), raw.classes):
            return other
        table = torch.tensor([number[name] for name in other.classes])
        return replace(other, labels=table[other.labels], classes=tuple(number))

    return replace(raw, classes=tuple(number), val=rename(raw.val), test=rename(raw.test))


def choose_rows(raw: Raw, only: ClassNames | None, exclude: ClassNames | None) -> Tensor | None:
    """Choose the samples by their classes: bool [N], or None for all.

    only: names of the classes to use; None: all. exclude: names of the others. Raises UserError for unknown
    names.
    """
    if only is None and not exclude:
        return None
    names = name_classes(raw)
    wrong = [
        _explain(f"dataset.{key}=[{','.join(map(str, given))}]", given, names, raw)
        for key, given in (("only", only), ("exclude", exclude))
        if given is not None
    ]
    for problem in filter(None, wrong):
        raise UserError(problem.where, problem.what, problem.remedy)
    assert raw.labels is not None
    allowed = torch.tensor([is_chosen(name, only, exclude) for name in names])
    if not bool((rows := allowed[raw.labels]).any()):
        where = f"dataset.{'only' if only is not None else 'exclude'}"
        raise UserError(where, "leaves no samples", f"The classes are {_list(names)}.")
    return rows


def is_chosen(name: str, only: ClassNames | None, exclude: ClassNames | None) -> bool:
    """Check whether the samples of a class are used."""
    allowed = only is None or name in map(str, only)
    return allowed and name not in map(str, exclude or ())


def _explain(where: str, given: ClassNames, names: Sequence[str], raw: Raw) -> Problem | None:
    if not names:
        what = "needs labels, which this data does not have"
        remedy = "Put images into one subfolder for each class, or name labels by dataset.labels."
        if raw.columns is not None:
            remedy = "Name the column of classes: dataset.label=COLUMN."
        return Problem(where, what, remedy)
    for name in map(str, given):
        if name not in names:
            close = find_closest(name, names)
            remedy = f"Did you mean {close}? " if close else ""
            return Problem(
                where,
                f"no class is called {shorten(name, 60)}",
                f"{remedy}The classes are {_list(names)}.",
            )
    return None


def _list(names: Iterable[str]) -> str:
    known = list(names)
    more = f" and {len(known) - NAMED} more" if len(known) > NAMED else ""
    return ", ".join(shorten(name, 60) for name in known[:NAMED]) + more
