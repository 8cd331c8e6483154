"""Folders of new runs: made and named when Hydra resolves hydra.run.dir."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any


class Folders:
    """Maker of a new folder for each run. made: the folders made so far."""

    def __init__(self, *, make: bool) -> None:
        self.make, self.made = make, list[Path]()

    def register(self) -> None:
        """Register `run_folder` and `run_name` as resolvers of the configuration."""
        from omegaconf import OmegaConf

        OmegaConf.register_new_resolver(
            "run_folder", self.make_folder, use_cache=True, replace=True
        )
        OmegaConf.register_new_resolver("run_name", name_run, replace=True)

    def make_folder(self, parent: str, time: str, name: str) -> str:
        """Make the folder parent/time_name, with a number appended if another run has just taken it."""
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
    def delete_if_empty(self) -> Iterator[None]:
        """Delete the folder of a sweep that an error ends before its first job."""
        try:
            yield
        except Exception:
            for path in self.made:
                if path.is_dir() and {f.name for f in path.iterdir()} <= {"multirun.yaml"}:
                    shutil.rmtree(path)
            raise


def name_run(choices: Mapping[str, Any], constraints: Mapping[str, Any] | None) -> str:
    """Name a run: model_constraints_dataset."""
    names = "+".join(str(name) for name in constraints or {}) or "free"
    return f"{choices['model']}_{names}_{choices['dataset']}"
