"""Origin of a run: the folder where it was started, which relative paths of its data refer to."""

from __future__ import annotations

import os
from contextlib import suppress
from glob import glob, has_magic
from pathlib import Path
from typing import Any

import yaml

from aeframe.config.targets import list_keys, resolve
from aeframe.core.plain import as_mapping
from aeframe.core.regular_files import read_text

TARGETS = ("target", "val_target", "test_target")
PATHS = (
    *("root", "test_root", "path", "val_path", "test_path", *TARGETS),
    *("labels", "names", "run"),
)
DATA = "given_data"
"""Folder in a run's folder, with data that was given from Python."""
LARGEST = 2**20  # largest number of bytes of the file


def find_start_folder(run: Path) -> Path | None:
    """Read the folder where a run was started from Hydra's files. run: its folder, or a file in it.

    Returns None if it is unknown, as for an export.
    """
    for folder in (run, *run.parents[:2]):
        file = folder / ".hydra" / "hydra.yaml"
        try:
            hydra = as_mapping(yaml.safe_load(read_text(file, LARGEST))).get("hydra")
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, ValueError, yaml.YAMLError, RecursionError):
            return None
        start = as_mapping(as_mapping(hydra).get("runtime")).get("cwd")
        return Path(start) if isinstance(start, str) and os.path.isabs(start) else None
    return None


def find_moved_data(node: dict[str, Any], run: Path) -> dict[str, Any]:
    """Replace data paths that do not exist here by those relative to where the run was started.

    Data that lies in the run's own folder moves with it.
    """
    dataset = node.get("dataset")
    if not isinstance(dataset, dict):
        return node
    given = {key: dataset[key] for key in PATHS if isinstance(dataset.get(key), str | list)}
    paths = {p for value in given.values() for p in _list_paths(value) if not _exists(p)}
    origin = find_start_folder(run) if paths else None
    moved = {path: _find_moved(path, run, origin) for path in paths}
    found = {
        key: moved.get(value, value)
        if isinstance(value, str)
        else [moved.get(path, path) if isinstance(path, str) else path for path in value]
        for key, value in given.items()
    }
    return {**node, "dataset": {**dataset, **found}}


def _list_paths(value: str | list[Any]) -> list[str]:
    """List the paths or patterns in an option, which may be a list of them."""
    return [value] if isinstance(value, str) else [path for path in value if isinstance(path, str)]


def _exists(path: str) -> bool:
    """Check whether a path exists, or a pattern names some file."""
    name = os.path.expanduser(path)
    return os.path.exists(name) or (has_magic(name) and bool(glob(name, recursive=True)))


def _find_moved(path: str, run: Path, origin: Path | None) -> str:
    """Find data that is not at its path: in the run's own folder, or where the run was started."""
    places = (run / DATA, run.parent / DATA)  # of the run, or of its sweep
    own = next((p / Path(path).name for p in places if (p / Path(path).name).is_file()), None)
    if Path(path).parent.name == DATA and own is not None:
        return str(own)
    return str(origin / path) if origin is not None and _exists(str(origin / path)) else path


def remove_side_effects(node: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration without keys that download or write elsewhere: it may be a stranger's."""
    dataset = node.get("dataset")
    if not isinstance(dataset, dict):
        return dict(node)
    written = {key: value for key, value in dataset.items() if key != "cache" or value is None}
    with suppress(ValueError):  # not a class: the check refuses it later
        if "download" in list_keys(resolve(str(dataset.get("_target_")))):
            written["download"] = False
    return {**node, "dataset": written}
