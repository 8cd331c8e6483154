"""A run's folder: its name, who may write into it, and its lock."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from aeframe.core.errors import UserError, reason
from aeframe.runs.layout import LOCK, RESULTS


class Folders:
    """Gives each run a folder of its own."""

    def __init__(self, *, make: bool) -> None:
        self.make, self.made = make, list[Path]()

    def register(self) -> None:
        """Make `run_folder` and `run_name` known to the configuration."""
        from omegaconf import OmegaConf

        OmegaConf.register_new_resolver("run_folder", self.folder, use_cache=True, replace=True)
        OmegaConf.register_new_resolver("run_name", run_name, replace=True)

    def folder(self, parent: str, time: str, name: str) -> str:
        """parent/time_name, or with a number behind it where another run has just taken that."""
        path = Path(parent) / f"{time}_{name}"
        if not self.make:
            return str(path)
        for number in count(2):
            try:
                path.mkdir(parents=True)
            except FileExistsError:
                path = Path(parent) / f"{time}_{name}-{number}"
            else:
                break
        self.made.append(path.resolve())
        return str(path)

    @contextmanager
    def dropped_if_empty(self) -> Iterator[None]:
        """Where a mistake ends a sweep before its first job, its folder goes."""
        try:
            yield
        except Exception:
            for path in self.made:
                if path.is_dir() and {f.name for f in path.iterdir()} <= {"multirun.yaml"}:
                    shutil.rmtree(path)
            raise


def refuse_used(folder: Path, goes_on: bool) -> None:
    """Raise UserError where a run cannot have this folder: it holds another, and what is there is not to be
    lost. goes_on: whether it may hold this one, if that is not at work.
    """
    where = f"hydra.run.dir={folder}"
    if holds_run(folder):
        if not goes_on:
            raise used(where)
    elif (name := held(folder)) is not None:
        what = f"holds {name} already, which a run would overwrite"
        raise UserError(where, what, "Write another folder.")
    if folder.is_dir() and not os.access(folder, os.W_OK | os.X_OK):
        where, what = str(folder), "may not be written into"
        raise UserError(where, what, "Copy the run." if goes_on else "Write another folder.")
    if (folder / LOCK).exists():
        with locked(folder):
            pass


def holds_run(folder: Path) -> bool:
    """Whether a run was begun in a folder."""
    return (folder / "checkpoints").exists() or any(folder.glob("events.out.tfevents.*"))


def refuse_run(folder: Path) -> None:
    """Raise UserError where a sweep cannot have this folder: as a sweep's, the run in it could not go on."""
    if holds_run(folder) and not (folder / "multirun.yaml").exists():
        what = "holds a run, and a sweep has a folder of its own"
        raise UserError(f"hydra.sweep.dir={folder}", what, "Write another folder.")


def held(folder: Path) -> str | None:
    """The first of what a run would overwrite in a folder that holds none, such as an exported model."""
    return next((name for name in RESULTS if (folder / name).exists()), None)


def used(where: str) -> UserError:
    """A run folder that is not free."""
    remedy = "Write resume=auto to go on with it, another folder, or delete it."
    return UserError(where, "holds a run already", remedy)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """The folder for this process alone, for as long as it lives. Raises UserError where another has it."""
    import fcntl

    try:
        file = (folder / LOCK).open("a")
    except OSError as error:
        if not folder.is_dir():  # it was deleted since it was made
            raise
        what = f"cannot be written ({reason(error)})"
        raise UserError(str(folder), what, "Write another folder, or copy the run.") from error
    with file:
        try:
            # not flock(), which the processes that fetch data would hold on to after a sudden end
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            what = "another process is training in it"
            raise UserError(
                str(folder), what, "Wait for its end, or write another folder."
            ) from None
        except OSError:  # a file system without locks
            pass
        yield


def run_name(choices: Mapping[str, Any], constraints: Mapping[str, Any] | None) -> str:
    """What a run is: model_constraints_dataset."""
    names = "+".join(str(name) for name in constraints or {}) or "free"
    return f"{choices['model']}_{names}_{choices['dataset']}"
