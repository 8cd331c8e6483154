"""Checkpoint of a run, read without trust in its contents."""

from __future__ import annotations

import json
import math
import os
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from aeframe.config.targets import use_present_names
from aeframe.core.errors import UserError
from aeframe.core.plain import as_mapping, explain_not_plain, is_count
from aeframe.core.regular_files import read_text, require_regular
from aeframe.core.strict_json import parse_number
from aeframe.runs.layout import CHECKPOINTS, DIVERGED, LAST, PREVIOUS

LEFT = "The file was not changed. Start a new run in another folder."
EARLIER = ("until", "early_stopping")
"""Keys that may end a run before its limits."""
Stamp = tuple[int, ...]
LONGEST = 2**22
"""Largest number of bytes of a text file beside it."""
MOST_BACK = 1000
"""Largest number of retries after divergences."""


@dataclass(frozen=True)
class Saved:
    """Checkpoint of a run.

    node: the configuration of the run. value: the optimized metric, if the run has finished. stamp:
    identity of the file.
    """

    folder: Path
    checkpoint: Path
    node: dict[str, Any]
    epoch: int
    steps: int
    value: float | None
    stamp: Stamp | None

    def is_done(self, node: Mapping[str, Any]) -> bool:
        """Check whether this configuration needs no further training."""
        trainer, before = as_mapping(node.get("trainer")), as_mapping(self.node.get("trainer"))
        limits: dict[str, int | None] = {"max_time": None}
        # the cause that ended it early would end it again; for max_time see check_time
        if not self.ended_early or before.get("max_time") is not None:
            limits |= {"max_epochs": self.epoch + 1, "max_steps": self.steps}
        longer = any(
            trainer.get(key) != before.get(key) and _is_more(trainer.get(key), done)
            for key, done in limits.items()
        )
        others = any(node.get(key) != self.node.get(key) for key in EARLIER)
        return self.value is not None and not longer and not (others and self.ended_early)

    @property
    def ended_early(self) -> bool:
        """Check whether training ended before max_epochs and max_steps."""
        trainer = as_mapping(self.node.get("trainer"))
        epochs, steps = trainer.get("max_epochs"), trainer.get("max_steps")
        return _is_more(epochs, self.epoch + 1) and _is_more(steps, self.steps)


def _is_more(wanted: Any, done: int | None) -> bool:
    """Check whether `wanted` exceeds `done`. None means no limit."""
    return done is None or not isinstance(wanted, int) or wanted > done


def read_checkpoint(folder: Path, name: str = LAST) -> Saved | None:
    """Read a checkpoint in a run's folder, or None if none was written yet.

    Nothing that the file names is imported or called. Raises UserError for a file that is not
    aeframe's.
    """
    file = folder / CHECKPOINTS / name
    if not os.path.lexists(file):
        return None
    stamp = get_stamp(file)
    state = load_state(file)
    node, epoch, steps = (state.get(k) for k in ("hyper_parameters", "epoch", "global_step"))
    if not (isinstance(node, dict) and is_count(epoch) and is_count(steps)):
        raise build_checkpoint_error(file)
    if (what := explain_not_plain(node)) is not None:
        raise UserError(f"{file}: the configuration", what, LEFT)
    return Saved(
        folder, file, use_present_names(node), epoch, steps, _read_value(folder, steps), stamp
    )


def get_stamp(file: Path) -> Stamp | None:
    """Return the identity of a file, which changes when it is replaced; None without a file."""
    try:
        seen = file.stat()
    except OSError:
        return None
    return seen.st_ino, seen.st_ctime_ns, seen.st_mtime_ns, seen.st_size


def find_good_checkpoint(folder: Path, step: int, tried: Collection[int]) -> Saved | None:
    """Find the newest checkpoint from which to retry training that diverged at a step; None for the
    beginning.

    tried: the steps of checkpoints that were retried before.
    """
    return next((s for s in _read_kept(folder) if s.steps < step and s.steps not in tried), None)


def find_retried_checkpoint(folder: Path, tried: Sequence[int]) -> Saved | None:
    """Find the checkpoint of the last retry; None for the beginning."""
    return next((saved for saved in _read_kept(folder) if saved.steps == tried[-1]), None)


def _read_kept(folder: Path) -> Iterator[Saved]:
    found = (read_checkpoint(folder, name) for name in (LAST, PREVIOUS))
    return (saved for saved in found if saved is not None)


def read_tried_steps(folder: Path) -> tuple[int, ...]:
    """Read the steps of all checkpoints that a run went back to, from its folder."""
    try:
        tried = json.loads(read_text(folder / DIVERGED, LONGEST))["went_back_to"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ()
    known = isinstance(tried, list) and len(tried) <= MOST_BACK and all(map(is_count, tried))
    return tuple(tried) if known else ()


def load_state(file: Path) -> dict[str, Any]:
    """Load a checkpoint: tensors and plain data alone. Raises UserError."""
    try:
        require_regular(file)
        with zipfile.ZipFile(file) as archive:
            # torch does not compress: a small file cannot expand to a large one
            if any(part.compress_type != zipfile.ZIP_STORED for part in archive.infolist()):
                raise build_checkpoint_error(file)
            if archive.testzip() is not None:  # torch does not verify checksums
                raise build_checkpoint_error(file)
        state = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except UserError:
        raise
    except Exception as error:  # a broken file raises many kinds
        raise build_checkpoint_error(file) from error
    if not isinstance(state, dict):
        raise build_checkpoint_error(file)
    return state


def build_checkpoint_error(file: Path) -> UserError:
    """Build the error for a file that is not a checkpoint."""
    return UserError(str(file), "is not a checkpoint of aeframe, or is damaged", LEFT)


def _read_value(folder: Path, steps: int) -> float | None:
    """Read the result of a run that has finished and was not trained further since."""
    try:
        found = json.loads(read_text(folder / "evaluation.json", LONGEST))
        if found["steps"] != steps:
            return None
        value = parse_number(found["optimized_metric"]["value"])
        return math.nan if value is None else value  # still a result
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
