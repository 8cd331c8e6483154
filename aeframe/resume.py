"""A run that goes on: what its folder holds, and which keys may differ from those that it began with."""

from __future__ import annotations

import json
import pickle
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from aeframe.checkpoints import CHECKPOINTS, LAST, PREVIOUS
from aeframe.errors import ConfigError, Problem, UserError

HARMLESS = (
    "resume",
    "checkpoint",
    "hardware",
    "until",
    "early_stopping",
    "divergence",
    "dashboard",
    "evaluation",
    *(f"dataset.{key}" for key in ("root", "path", "test_path", "download", "cache")),
    *(f"dataset.{key}" for key in ("in_memory", "memory_limit", "num_workers")),
    *(
        f"trainer.{key}"
        for key in ("max_epochs", "min_epochs", "max_steps", "min_steps", "max_time")
    ),
    *(
        f"trainer.{key}"
        for key in ("steps_per_call", "cuda_graph", "profiler", "limit_test_batches")
    ),
)
"""What changes where, how long or how fast a run trains, but not what it trains."""
LENGTH = ("max_epochs", "max_steps", "max_time")


@dataclass(frozen=True)
class Saved:
    """A run's checkpoint. node: the configuration that it was trained with. value: of the optimized
    metric, where the run has finished.
    """

    folder: Path
    checkpoint: Path
    node: dict[str, Any]
    epoch: int
    steps: int
    value: float | None

    def is_done(self, node: Mapping[str, Any]) -> bool:
        """Whether there is nothing left to do, as far as a configuration says how long to train."""
        longer = any(node["trainer"].get(k) != self.node["trainer"].get(k) for k in LENGTH)
        return self.value is not None and not longer


def saved_in(folder: Path, name: str = LAST) -> Saved | None:
    """What a run's folder holds, or None where no checkpoint was written yet.

    Nothing that the file names is imported or called. Raises UserError for a file that is none of ours.
    """
    file = folder / CHECKPOINTS / name
    if not file.exists():
        return None
    try:
        state = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
        node, epoch, steps = state["hyper_parameters"], state["epoch"], state["global_step"]
        if not (isinstance(node, dict) and isinstance(epoch, int) and isinstance(steps, int)):
            raise TypeError
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, TypeError, pickle.PickleError):
        what = "cannot be read as a checkpoint of aeframe's"
        remedy = "It is left as it is; start the run anew in another folder."
        raise UserError(str(file), what, remedy) from None
    checked = _without_interpolations(node, file)
    return Saved(folder, file, checked, epoch, steps, _value(folder, steps))


def good_before(folder: Path, step: int, tried: Collection[int]) -> Saved | None:
    """The newest checkpoint from which training that went wrong at a step may be tried once more.

    None for the beginning. tried: the steps of those that led nowhere.
    """
    kept = (saved_in(folder, name) for name in (LAST, PREVIOUS))
    good = (s for s in kept if s is not None and s.steps < step and s.steps not in tried)
    return next(good, None)


def _value(folder: Path, steps: int) -> float | None:
    """The result of a run that has finished, and not been trained further since."""
    try:
        found = json.loads((folder / "evaluation.json").read_text())
        return float(found["optimized_metric"]["value"]) if found["steps"] == steps else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _without_interpolations(node: dict[str, Any], file: Path) -> dict[str, Any]:
    """The configuration, which was saved with all of them resolved: another has been written by hand, and
    could read what is none of its business.
    """
    for key, value in flat(node):
        if isinstance(value, str) and "${" in value:
            raise UserError(f"{file}: {key}={value}", "a saved configuration has no interpolations")
    return node


def with_overrides(saved: Saved, words: Sequence[str], given: Mapping[str, Any]) -> dict[str, Any]:
    """The run's own configuration with what the command line says on top.

    words: of the command line. given: what they were composed to. Raises ConfigError for keys that would
    make it another run.
    """
    node, wrong = dict(saved.node), []
    for word in words:
        key = word.lstrip("+~").partition("=")[0]
        if key.startswith("hydra"):
            continue
        if word.startswith("~") or not _is_harmless(key):
            wrong.append(_refused(word.lstrip("+"), saved))
            continue
        group, *rest = key.split(".")
        if not rest:
            node[group] = given[group]
            continue
        inner = node[group] = dict(node[group] or {})
        for name in rest[:-1]:
            inner[name] = dict(inner.get(name) or {})
            inner = inner[name]
        inner[rest[-1]] = _at(given, key)
    if wrong:
        raise ConfigError(wrong)
    return node


def check_same(saved: Saved, given: Mapping[str, Any]) -> None:
    """Raise ConfigError where a configuration is that of another run."""
    before, now = dict(flat(saved.node)), dict(flat(given))
    changed = [key for key in {**now, **before} if before.get(key) != now.get(key)]
    wrong = [_refused(f"{key}={now.get(key)}", saved) for key in changed if not _is_harmless(key)]
    if wrong:
        raise ConfigError(wrong)


def _is_harmless(key: str) -> bool:
    return any(key == known or key.startswith(f"{known}.") for known in HARMLESS)


def _refused(word: str, saved: Saved) -> Problem:
    key = word.partition("=")[0]
    before = dict(flat(saved.node)).get(key, "other")
    what = f"would make another run of {saved.folder}, which was trained with {before}"
    return Problem(word, what, "Leave it out, or start a new run.")


def _at(node: Mapping[str, Any], key: str) -> Any:
    for name in key.split("."):
        node = node[name]
    return node


def flat(node: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested mappings by their dotted keys."""
    if isinstance(node, Mapping) and (node or where == ""):
        for key, value in node.items():
            yield from flat(value, f"{where}.{key}" if where else str(key))
    else:
        yield where, node
