"""Checks of options that wait for validations, in a run without any."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aeframe.config.auto_record import AUTO
from aeframe.core.errors import Problem
from aeframe.core.plain import as_mapping


def find_unvalidated_problems(node: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield the keys that have no effect because dataset.val_fraction=0 leaves nothing to validate."""
    if as_mapping(node.get("dataset")).get("val_fraction") != 0:
        return
    what = "needs a validation split, but dataset.val_fraction=0 leaves none"
    for group, key in (("until", "metric"), ("early_stopping", "patience")):
        value = as_mapping(node.get(group)).get(key)
        if value not in (None, AUTO):
            remedy = f"Write {group}.{key}=null, or dataset.val_fraction=0.1."
            yield Problem(f"{group}.{key}={value}", what, remedy)
    if str(as_mapping(node.get("scheduler")).get("_target_")).endswith(".ReduceLROnPlateau"):
        remedy = "Write another scheduler, or dataset.val_fraction=0.1."
        yield Problem("scheduler=ReduceLROnPlateau", what, remedy)
