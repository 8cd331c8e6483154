"""Records of runs: what their folders say about them, read without trust."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from aeframe.core.errors import shorten
from aeframe.core.plain import as_mapping
from aeframe.core.regular_files import read_text
from aeframe.runs.evaluation_file import LARGEST, UNREADABLE, read_evaluation, read_number
from aeframe.runs.evaluation_file import NAME as EVALUATION

KINDS = ("folder", "when", "model", "constraint", "dataset", "status", "metric", "value")
"""Columns that are fields of a run."""


@dataclass(frozen=True)
class Run:
    """One run, as its folder describes it.

    folder: its path as one would type it. when: the time of the last result. value: that of `metric`.
    config: its configuration. card: its evaluation.json; empty without one.
    """

    folder: str
    when: str
    model: str
    constraint: str
    dataset: str
    status: str
    metric: str
    value: float | None
    config: Mapping[str, Any]
    card: Mapping[str, Any]

    def get(self, column: str) -> Any:
        """Return the value of a column, None if the run has none.

        column: a field; code; a metric of the test split such as psnr; val/METRIC; epochs, steps or seconds;
        or a key of the configuration, such as model.latent_dim.
        """
        if column in KINDS:
            return getattr(self, column)
        if column == "code":
            known = self.card.get("code_size")
            return (
                as_mapping(self.config.get("model")).get("latent_dim") if known is None else known
            )
        split, _, name = column.rpartition("/")
        part = as_mapping(self.card.get("validation" if split == "val" else "metrics"))
        if name in part or split:
            return _as_cell(part.get(name))
        if column in self.card:
            return _as_cell(self.card[column])
        node: Any = self.config
        for key in column.split("."):
            node = as_mapping(node).get(key)
        return _as_cell(node)


def _as_cell(value: Any) -> Any:
    """Return a number or a short text for a value from a file of unknown origin."""
    if isinstance(value, bool | int | float | None):
        return value
    return shorten(value if isinstance(value, str) else json.dumps(value, default=str), 60)


def find_runs(top: Path) -> Iterator[Path]:
    """Find the folders of runs, at any depth, without following links."""
    for folder, inner, files in os.walk(top):
        marks = {".hydra", "checkpoints"} & set(inner)
        if "multirun.yaml" not in files and marks:
            inner.clear()  # no run lies inside another
            yield Path(folder)


def read_run(folder: Path) -> Run:
    config, unreadable = _read_config(folder), False
    card: Mapping[str, Any] | None = None
    by: Mapping[str, Any] = {}
    value = None
    try:
        card = read_evaluation(folder)
        by = as_mapping((card or {}).get("optimized_metric"))
        value = read_number(by.get("value"))
    except ValueError:
        card, by, unreadable = None, {}, True
    if (folder / "failed.txt").exists():
        status = "failed"
    elif unreadable:
        status = UNREADABLE
    elif card or (folder / "model.safetensors").exists():
        status = "finished"
    else:
        status = "training" if _is_locked(folder) else "interrupted"
    return Run(
        str(folder),
        _find_time(folder),
        _read_class(config.get("model")),
        "+".join(shorten(name, 40) for name in as_mapping(config.get("constraint"))) or "free",
        _read_class(config.get("dataset")),
        status,
        _find_metric(by, config),
        value,
        config,
        card or {},
    )


def _find_metric(by: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """Find the name of the optimized metric: in the results, else by the configuration."""
    name = by.get("name") or config.get("optimized_metric")
    if name == "auto":
        # takes a second, and few tables need it
        from aeframe.config.optimized_metric import resolve_optimized_metric

        name = resolve_optimized_metric(config)
    return shorten(name, 40) if isinstance(name, str) and name != "auto" else ""


def _find_time(folder: Path) -> str:
    """Find the time of the last result, as text."""
    for name in (EVALUATION, "checkpoints/last.ckpt", ""):
        # deleted meanwhile, or an impossible time
        with suppress(OSError, ValueError, OverflowError):
            when = datetime.fromtimestamp((folder / name).stat().st_mtime)
            return when.strftime("%Y-%m-%d %H:%M")
    return ""


def _read_config(folder: Path) -> Mapping[str, Any]:
    """Read the configuration of a run, as saved with the model or by Hydra."""
    with suppress(OSError, ValueError, RecursionError):
        saved = as_mapping(json.loads(read_text(folder / "model.json", LARGEST)))
        if found := as_mapping(saved.get("config")):
            return found
    import yaml

    with suppress(OSError, ValueError, RecursionError, yaml.YAMLError):
        text = read_text(folder / ".hydra" / "config.yaml", LARGEST)
        return as_mapping(yaml.safe_load(text))
    return {}


def _is_locked(folder: Path) -> bool:
    """Check whether a process holds the lock of the run."""
    import fcntl

    try:
        with (folder / ".lock").open("r+") as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _read_class(node: Any) -> str:
    target = as_mapping(node).get("_target_")
    return shorten(target.rpartition(".")[2], 40) if isinstance(target, str) else ""
