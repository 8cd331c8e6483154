"""Origin of a run: the folder where it was started, which relative paths of its data refer to."""

from __future__ import annotations

import os
from contextlib import suppress
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
    strays = {
        key: path
        for key in PATHS
        if isinstance(path := dataset.get(key), str)
        and not os.path.exists(os.path.expanduser(path))
    }
    origin = find_start_folder(run) if strays else None
    found = {}
    for key, path in strays.items():
        places = (run / DATA, run.parent / DATA)  # of the run, or of its sweep
        own = next((p / Path(path).name for p in places if (p / Path(path).name).is_file()), None)
        if Path(path).parent.name == DATA and own is not None:
            found[key] = str(own)
        elif origin is not None and (origin / path).exists():
            found[key] = str(origin / path)
    return {**node, "dataset": {**dataset, **found}}


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
