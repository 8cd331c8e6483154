"""What lies in a run's folder in the places where a run writes: it may come from a stranger."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

from aeframe.errors import UserError

FOLDERS = (".hydra", "checkpoints")
FILES = (
    *(".lock", "train.log", "failed.txt", "evaluation.json", "hparams.yaml"),
    *(
        "model.safetensors",
        "model.json",
        "diverged.json",
        "multirun.yaml",
        "sweep.csv",
        ".partial",
        "checkpoints/.partial",
    ),
    *(f".hydra/{name}.yaml" for name in ("config", "hydra", "overrides")),
    *(
        f"checkpoints/{name}"
        for name in ("last.ckpt", "best.ckpt", "previous.ckpt", "previous.partial")
    ),
)
PATTERNS = ("*events.out.tfevents*", "*profile*")


def refuse_foreign(folder: Path) -> None:
    """Raise UserError where something else is in the place of a file of a run or a sweep.

    A link could lead what is written, cut or deleted out of the folder; a pipe would never end.
    """
    for path, is_right, kind in _places(folder):
        try:
            mode = os.lstat(path).st_mode
        except OSError:  # nor can it be written
            continue
        if not is_right(mode):
            found = "a link" if stat.S_ISLNK(mode) else f"no {kind}"
            what = f"is {found}, where a run has a {kind} of its own"
            raise UserError(str(path), what, "Put a copy in its place, or use another folder.")


def refuse_foreign_sweep(folder: Path) -> None:
    """The same of a sweep's folder and all of its jobs'."""
    refuse_foreign(folder)
    for job in sorted(folder.iterdir()) if folder.is_dir() else ():
        if job.is_symlink():
            remedy = "Put a copy in its place, or use another folder."
            raise UserError(str(job), "is a link, where a sweep has folders of its own", remedy)
        if job.is_dir():
            refuse_foreign(job)


def _places(folder: Path) -> Iterator[tuple[Path, Callable[[int], bool], str]]:
    for name in FOLDERS:
        yield folder / name, stat.S_ISDIR, "folder"
    found = chain.from_iterable(folder.glob(pattern) for pattern in PATTERNS)
    for path in chain((folder / name for name in FILES), found):
        yield path, stat.S_ISREG, "file"
