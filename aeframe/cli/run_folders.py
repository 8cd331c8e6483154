"""Folders of new runs: made and named when Hydra resolves hydra.run.dir."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

NAMED = ("model", "constraint", "dataset", "resume")
"""Keys that the name of a run shows anyway, and `resume`, which does not define a run."""
LONGEST_VALUE, LONGEST = 30, 120
"""Characters of a value, and of all values, in the name of a folder."""


class Folders:
    """Maker of a new folder for each run. made: the folders made so far."""

    def __init__(self, *, make: bool) -> None:
        self.make, self.made = make, list[Path]()

    def register(self) -> None:
        """Register `run_folder`, `run_name` and `job_name` as resolvers of the configuration."""
        from omegaconf import OmegaConf

        OmegaConf.register_new_resolver(
            "run_folder", self.make_folder, use_cache=True, replace=True
        )
        OmegaConf.register_new_resolver("run_name", name_run, replace=True)
        OmegaConf.register_new_resolver("job_name", name_job, replace=True)

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


def write_swept_values(sweep: Sequence[str], job: Sequence[str]) -> str:
    """Write the values that a sweep varies as the end of its job's folder name, e.g. `_latent_dim-4_seed-0`.

    sweep: the overrides of the sweep. job: those of one job.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser

    overrides = OverridesParser.create().parse_overrides(list(sweep))
    fixed = {word.get_key_element() for word in overrides if not word.is_sweep_override()}
    pairs = (word.partition("=")[::2] for word in job)
    values = {key.lstrip("+~"): value for key, value in pairs if key not in fixed}
    values = {key: value for key, value in values.items() if key not in NAMED}
    ends = Counter(key.rpartition(".")[2] for key in values)
    ending = ""
    for key, value in values.items():
        last = key.rpartition(".")[2]
        name = last if ends[last] == 1 else key
        plain = re.sub(r"[^\w.+-]+", "-", value, flags=re.ASCII).strip("-")[:LONGEST_VALUE]
        ending += f"_{re.sub('[^0-9A-Za-z_.]+', '-', name)}-{plain}"
    return ending[:LONGEST]


def name_job(sweep: str, number: int, name: str, values: str) -> str:
    """Name the folder of a job: NUMBER_NAME with its values, or the folder that an earlier start has made.

    A sweep of an earlier version, whose folders have no values, is resumed in its own folders; and
    another sweep in the same folder meets the jobs of the first, and is refused.
    """
    own = re.compile(rf"{number}_{re.escape(name)}(_.*)?")
    folder = Path(sweep)
    made = [p.name for p in folder.iterdir() if own.fullmatch(p.name)] if folder.is_dir() else []
    return min(made, default=f"{number}_{name}{values}")
