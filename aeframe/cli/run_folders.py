"""Folders of new runs: made and named when Hydra resolves hydra.run.dir."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any


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


def run_name(choices: Mapping[str, Any], constraints: Mapping[str, Any] | None) -> str:
    """What a run is: model_constraints_dataset."""
    names = "+".join(str(name) for name in constraints or {}) or "free"
    return f"{choices['model']}_{names}_{choices['dataset']}"
