"""A run that goes on: what its folder holds, and which keys may differ from those that it began with."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import torch

from aeframe.checkpoints import CHECKPOINTS, LAST
from aeframe.config.classes import keys, resolve
from aeframe.errors import ConfigError, Problem, UserError, short

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
LEFT = "It is left as it is; start the run anew in another folder."
LARGEST, DEEPEST = 10_000, 16
"""How many values a saved configuration may have, and how deep."""


@dataclass(frozen=True)
class Saved:
    """A run's last checkpoint. node: the configuration that it was trained with. value: of the optimized
    metric, where the run has finished.
    """

    folder: Path
    node: dict[str, Any]
    epoch: int
    steps: int
    value: float | None

    @property
    def checkpoint(self) -> Path:
        """The file."""
        return self.folder / CHECKPOINTS / LAST

    def is_done(self, node: Mapping[str, Any]) -> bool:
        """Whether there is nothing left to do, as far as a configuration says how long to train."""
        trainer, before = _mapping(node.get("trainer")), _mapping(self.node.get("trainer"))
        return self.value is not None and not any(
            trainer.get(key) != before.get(key) and _is_more(trainer.get(key), done)
            for key, done in (
                ("max_epochs", self.epoch + 1),
                ("max_steps", self.steps),
                ("max_time", None),
            )
        )


def _is_more(wanted: Any, done: int | None) -> bool:
    """Whether so much is more than what was done; None: no limit, or none that can be told."""
    return done is None or not isinstance(wanted, int) or wanted > done


def saved_in(folder: Path) -> Saved | None:
    """What a run's folder holds, or None where no checkpoint was written yet.

    Nothing that the file names is imported or called. Raises UserError for a file that is none of ours.
    """
    file = folder / CHECKPOINTS / LAST
    if not os.path.lexists(file):
        return None
    state = state_in(file)
    node, epoch, steps = (state.get(k) for k in ("hyper_parameters", "epoch", "global_step"))
    if not (isinstance(node, dict) and is_count(epoch) and is_count(steps)):
        raise unreadable_checkpoint(file)
    if (what := _not_plain(node)) is not None:
        raise UserError(f"{file}: the configuration", what, LEFT)
    return Saved(folder, node, epoch, steps, _value(folder, steps))


def state_in(file: Path) -> dict[str, Any]:
    """What a checkpoint holds, of tensors and plain data alone. Raises UserError."""
    try:
        with zipfile.ZipFile(
            file
        ) as archive:  # torch stores as it is: no small file holds a large one
            if any(part.compress_type != zipfile.ZIP_STORED for part in archive.infolist()):
                raise unreadable_checkpoint(file)
        state = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except UserError:
        raise
    except Exception as error:  # a broken file raises many kinds
        raise unreadable_checkpoint(file) from error
    if not isinstance(state, dict):
        raise unreadable_checkpoint(file)
    return state


def unreadable_checkpoint(file: Path) -> UserError:
    """A file that is no checkpoint, whoever wrote it."""
    return UserError(str(file), "cannot be read as a checkpoint of aeframe's", LEFT)


def is_count(value: Any) -> TypeGuard[int]:
    """Whether it is a number of things that were counted."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53


def _value(folder: Path, steps: int) -> float | None:
    """The result of a run that has finished, and not been trained further since."""
    try:
        found = json.loads((folder / "evaluation.json").read_text())
        return float(found["optimized_metric"]["value"]) if found["steps"] == steps else None
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


def _not_plain(node: Any) -> str | None:
    """What makes a saved configuration another than a run saves, which is plain and has no interpolations:
    those could read what is none of its business.
    """
    nodes = [(node, 0)]
    for count in range(LARGEST):
        if not nodes:
            return None
        value, depth = nodes.pop()
        if isinstance(value, str) and "${" in value:
            return f"holds {short(value, 60)}, and a run saves no interpolations"
        if isinstance(value, str | None) or (isinstance(value, int) and abs(value) < 2**63):
            continue
        if isinstance(value, float):
            continue
        if not isinstance(value, dict | list) or depth == DEEPEST or count + len(value) > LARGEST:
            return "is no plain data, or far too large"
        if isinstance(value, dict):
            if not all(isinstance(key, str) for key in value):
                return "has keys that are no text"
            nodes += [(key, depth + 1) for key in value]
            value = value.values()
        nodes += [(inner, depth + 1) for inner in value]
    return "is no plain data, or far too large"


def with_overrides(saved: Saved, words: Sequence[str], given: Mapping[str, Any]) -> dict[str, Any]:
    """The run's own configuration with what the command line says on top.

    words: of the command line. given: what they were composed to. Raises ConfigError for keys that would
    make it another run.
    """
    node, wrong = _harmless_here(saved.node), []
    is_repeated = not _changed(saved, given)  # the command that the run began with
    for word in words:
        key = word.lstrip("+~").partition("=")[0]
        if key.startswith("hydra"):
            continue
        known = next((k for k in HARMLESS if key == k or key.startswith(f"{k}.")), None)
        if known is not None and not word.startswith("~"):
            _take(node, known, given)
        elif word.startswith("~") or not (is_repeated or _is_as_before(key, saved, given)):
            wrong.append(_refused(word.lstrip("+"), saved))
    if wrong:
        raise ConfigError(wrong)
    return node


def _harmless_here(node: dict[str, Any]) -> dict[str, Any]:
    """The configuration, but for what lets a dataset write elsewhere: whose run it is, is not known."""
    dataset = node.get("dataset")
    if not isinstance(dataset, dict):
        return dict(node)
    written = {key: value for key, value in dataset.items() if key != "cache" or value is None}
    with suppress(ValueError):  # no class, which the check will refuse
        if "download" in keys(resolve(str(dataset.get("_target_")))):
            written["download"] = False
    return {**node, "dataset": written}


def _take(node: dict[str, Any], key: str, given: Mapping[str, Any]) -> None:
    """Put what was given for a key, as a whole, in the place of what was there."""
    group, _, name = key.partition(".")
    if not name:
        node[group] = given[group]
    elif isinstance(inner := given[group], Mapping):
        node[group] = {**_mapping(node.get(group)), name: inner[name]}
    else:
        node[group] = inner  # which the check will refuse


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _is_as_before(key: str, saved: Saved, given: Mapping[str, Any]) -> bool:
    try:
        return _at(given, key) == _at(saved.node, key)
    except (KeyError, TypeError):
        return False


def check_same(saved: Saved, given: Mapping[str, Any]) -> None:
    """Raise ConfigError where a configuration is that of another run."""
    if changed := _changed(saved, given):
        raise ConfigError([_refused(f"{key}={value}", saved) for key, value in changed.items()])


def _changed(saved: Saved, given: Mapping[str, Any]) -> dict[str, Any]:
    """What makes a configuration another run's: the keys, and what is given for them.

    Of a group that was chosen anew only that is told, and not all that comes with it.
    """
    others = [key for key in saved.node if _choice(saved.node[key]) != _choice(given.get(key))]
    changed = {key: _named(given.get(key)) for key in others if not _is_harmless(key)}
    before, now = dict(flat(saved.node)), dict(flat(given))
    return changed | {
        key: now.get(key)
        for key in {**now, **before}
        if before.get(key) != now.get(key)
        and not _is_harmless(key)
        and key.partition(".")[0] not in changed
    }


def _choice(node: Any) -> Any:
    """What a group's option is told by: its class, or of the constraints theirs."""
    if not isinstance(node, Mapping):
        return None
    if "_target_" in node:
        return node["_target_"]
    return [(name, _choice(part)) for name, part in node.items() if isinstance(part, Mapping)]


def check_length(saved: Saved, node: Mapping[str, Any]) -> None:
    """Raise UserError where a run that has not finished has trained for longer than is asked for."""
    trainer = node.get("trainer")
    if saved.value is not None or not isinstance(trainer, Mapping):
        return
    for key, done, unit in (
        ("max_epochs", saved.epoch, "epochs"),
        ("max_steps", saved.steps - 1, "steps"),
    ):
        wanted = trainer.get(key)
        if isinstance(wanted, int) and 0 < wanted <= done:
            what = f"the run has trained for more than {done:,} {unit} already"
            raise UserError(f"trainer.{key}={wanted}", what, f"Write {done + 1} or more.")


def _is_harmless(key: str) -> bool:
    return any(key == known or key.startswith(f"{known}.") for known in HARMLESS)


def _refused(word: str, saved: Saved) -> Problem:
    try:
        before = f", which was trained with {_named(_at(saved.node, word.lstrip('~').partition('=')[0]))}"
    except (KeyError, TypeError):
        before = ""
    what = f"would make another run of {saved.folder}{before}"
    return Problem(word, what, "Leave it out, or start a new run.")


def _named(value: Any) -> str:
    """What was chosen, in a word or two."""
    if isinstance(value, Mapping):
        target = value.get("_target_")
        names = f"[{','.join(map(str, value))}]"
        return short(str(target).rpartition(".")[2] if target else names, 60)
    return short("null" if value is None else value, 60)


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
