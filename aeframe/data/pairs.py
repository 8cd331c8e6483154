"""Pairs: samples with targets beside them, row by row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from aeframe.core.errors import ConfigError, Problem, UserError
from aeframe.data.normalization.normalization_fit import Fitted, Kept, fit
from aeframe.data.normalization.spread import Kind
from aeframe.data.normalization.value_range import Range
from aeframe.data.source import Raw, Samples

Names = Mapping[str, str]
OWN: Names = {name: name for name in ("path", "val_path", "test_path", "key")}
INSIDE: Names = {**OWN, "key": "target"}
BESIDE: Names = {**OWN, "path": "target", "val_path": "val_target", "test_path": "test_target"}
"""Options that name array files and the array: of samples, of targets in the same files, and in others."""


def pair(raw: Raw, target: Raw) -> Raw:
    """Give samples their targets, split by split. Raises UserError for other numbers of them."""
    if len(raw) != len(target):
        raise UserError(*explain_lengths(target.origin, len(target), raw.origin, len(raw)))
    val = raw.val if raw.val is None or target.val is None else pair(raw.val, target.val)
    test = raw.test if raw.test is None or target.test is None else pair(raw.test, target.test)
    return replace(raw, val=val, test=test, target=target)


def explain_lengths(where: str, count: int, origin: str, samples: int) -> tuple[str, str, str]:
    """Explain that the targets are not as many as the samples: (where, what, remedy)."""
    what = f"holds {count:,} targets, but {origin} holds {samples:,} samples"
    return where, what, "Give one target for each sample, in the same order."


def list_lone_splits(
    samples: Mapping[str, str], targets: Mapping[str, str], named: Mapping[str, str]
) -> Iterator[Problem]:
    """List the splits that have samples without targets, or targets without samples.

    samples, targets: the files or folders, by option. named: the options of the targets.
    """
    for option in samples.keys() - targets.keys():
        what = f"is missing: the targets of dataset.{option}={samples[option]}"
        yield Problem(f"dataset.{named[option]}", what, f"Write dataset.{named[option]}=PATH.")
    for option in targets.keys() - samples.keys():
        what = "has targets without samples"
        where = f"dataset.{named[option]}={targets[option]}"
        yield Problem(where, what, f"Write dataset.{option}=PATH.")


def fit_targets(kind: Kind, targets: Samples, support: Range, kept: Kept | None) -> Fitted:
    """Fit a normalization of the samples' kind to the targets of a training split; see `fit`."""
    raw = targets.raw
    try:
        return fit(kind, targets, support, require_suited(kept, raw))
    except UserError as error:  # they are not the samples that a message may be about
        own = [replace(p, where=raw.origin) if p.where == "dataset" else p for p in error.problems]
        raise ConfigError(own) from error


def require_suited(kept: Kept | None, raw: Raw) -> Kept | None:
    """Return the normalization to keep. Raises UserError if it does not suit the shape of the samples."""
    if kept is not None and not kept.normalization.suits(raw.rows.sample):
        what = f"the {kept.kind} normalization of that run is for samples of another shape"
        remedy = "Write init_from.normalization=refit, or give the data the shape of that run's."
        raise UserError("init_from.normalization=keep", what, remedy)
    return kept
