"""Data sets that are chosen by name alone, without a path."""

from __future__ import annotations

from typing import Any

from aeframe.config.composition import compose_options, find_options

LOCATIONS = ("path", "root", "run")


def list_dataset_names() -> tuple[str, ...]:
    """List the options of `dataset` that need no path from the user, in alphabetical order.

    Reads the YAML files only, for `--help` and completion: no data set is imported.
    """
    return tuple(
        name for name in find_options("dataset") if _needs_no_path(read_dataset_options(name))
    )


def read_dataset_options(name: str) -> dict[str, Any]:
    """Return the keys and values of an option of `dataset`; `_target_` names its class."""
    return compose_options({"dataset": [name]})["dataset"]


def _needs_no_path(options: dict[str, Any]) -> bool:
    return all(options[key] is not None for key in LOCATIONS if key in options)
