"""Foreign files in a run's folder, which may come from a stranger."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatch
from itertools import chain
from pathlib import Path

from aeframe.core.errors import TrainingError, UserError
from aeframe.runs.folder import lock_folder
from aeframe.runs.folder_guide import GUIDE
from aeframe.runs.layout import LOCK

FOLDERS = (".hydra", "checkpoints", "given_data", "pictures", "projector", "wandb", "mlflow")
FILES = (
    *(".lock", "train.log", "failed.txt", "evaluation.json", "hparams.yaml", GUIDE),
    *("model.safetensors", "model.json", "codec.safetensors", "test_errors.safetensors"),
    *("diverged.json", "multirun.yaml", "sweep.csv", "metrics.csv", "sent.json", "mlflow.db"),
    *(".partial", "checkpoints/.partial", ".sent.json.partial"),
    *(f".hydra/{name}.yaml" for name in ("config", "hydra", "overrides")),
    *(
        "projector_config.pbtxt",
        *(f"projector/{n}" for n in ("code.tsv", "samples.tsv", "sprite.png")),
    ),
    *(
        f"checkpoints/{name}"
        for name in ("last.ckpt", "best.ckpt", "previous.ckpt", "previous.partial")
    ),
)
PATTERNS = (
    "*events.out.tfevents*",
    "*profile*",
    "pictures/*.png",
    "given_data/*.npy",
    "given_data/*.parquet",
)
NOTES = ("*.log", "*.out", "*.err", "*.txt", "*.md", "*.sh", "*.yaml", ".*")
"""Files that people and schedulers put beside a run."""


def refuse_foreign(folder: Path) -> None:
    """Raise UserError for a link, pipe or folder in the place of a file of a run or a sweep.

    A link could lead writing, cutting or deleting out of the folder; reading a pipe would never
    end.
    """
    for path, is_right, kind in _list_places(folder):
        try:
            status = os.lstat(path)
        except OSError:  # it cannot be written either
            continue
        if not is_right(status.st_mode):
            actual = "a link" if stat.S_ISLNK(status.st_mode) else f"not a {kind}"
            raise _build_error(path, f"is {actual}, but a run needs its own {kind} here")
        # a run links two of its checkpoints, and writes to neither
        if kind == "file" and status.st_nlink > 1 and path.parent.name != "checkpoints":
            raise _build_error(
                path, "has a second name elsewhere (a hard link), which a run would change too"
            )


def refuse_foreign_sweep(folder: Path) -> None:
    """Raise UserError for the same in a sweep's folder and its jobs'."""
    for path, folders, files in os.walk(folder):
        refuse_foreign(Path(path))
        folders[:] = sorted(name for name in folders if name not in FOLDERS)
        above = files if Path(path) == folder else []  # a job's own files were checked
        for job in (Path(path) / name for name in [*folders, *above]):
            if job.is_symlink():
                raise _build_error(job, "is a link, but a sweep needs its own folders")


def refuse_other_use(folder: Path, key: str) -> None:
    """Raise UserError for a folder that holds something else, such as photographs.

    A run's files would be among them, and its pictures would be read as data. key: names the folder. It
    may hold a job of an earlier sweep.
    """
    if not folder.is_dir() or (folder / "multirun.yaml").exists():
        return
    others = (
        path.name
        for path in folder.iterdir()
        if not _is_own_file(path.name)
        and not any(fnmatch(path.name, pattern) for pattern in NOTES)
        and not any((path / name).exists() for name in (".hydra", "checkpoints"))
    )
    if (name := min(others, default=None)) is not None:
        what = f"holds files that are not a run's, such as {name}"
        raise UserError(f"{key}={folder}", what, "Write a new or an empty folder.")


class Beginning:
    """Contents of a folder before a run starts in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
        self.made = [path for path in (folder, *folder.parents) if not path.exists()]

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Lock the folder before anything is written, and restore it after an error that ends the run.

        A run that has failed after it had begun (TrainingError) keeps its files, and one with a checkpoint.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with lock_folder(self.folder):
            # another process may have written since
            self.names |= {path.name for path in self.folder.iterdir()} - {LOCK}
            try:
                yield
            except TrainingError:
                raise
            except Exception:
                self.restore()
                raise

    def restore(self) -> None:
        """Delete what the run itself has written, so that a corrected run can use the folder."""
        with suppress(OSError, UserError):  # another process is at work in it
            with lock_folder(self.folder):
                if (self.folder / "checkpoints").exists():
                    return
                for path in self.folder.iterdir():
                    if path.name not in self.names and _is_own_file(path.name):
                        shutil.rmtree(path) if path.is_dir() else path.unlink()
            for path in self.made:
                path.rmdir()


def _is_own_file(name: str) -> bool:
    """Check whether a run writes a file or folder of this name."""
    return name in (*FOLDERS, *FILES) or any(fnmatch(name, pattern) for pattern in PATTERNS)


def _build_error(path: Path, what: str) -> UserError:
    return UserError(str(path), what, "Replace it by a copy, or use another folder.")


def _list_places(folder: Path) -> Iterator[tuple[Path, Callable[[int], bool], str]]:
    for name in FOLDERS:
        yield folder / name, stat.S_ISDIR, "folder"
    found = chain.from_iterable(folder.glob(pattern) for pattern in PATTERNS)
    for path in chain((folder / name for name in FILES), found):
        yield path, stat.S_ISREG, "file"
