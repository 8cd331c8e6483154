"""Codes of a run: what its encoder makes of its own data, as samples for another network."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from aeframe.config.check import make_object
from aeframe.config.make import make_data_module
from aeframe.config.result import Parts
from aeframe.core.errors import ConfigError, Problem, UserError
from aeframe.data.datamodule import DataModule
from aeframe.data.memory_map import as_tensor, map_array
from aeframe.data.source import Raw, Samples, Shape, Source
from aeframe.runs.model import Model
from aeframe.runs.model_file import load
from aeframe.runs.origin import find_moved_data, remove_side_effects

KEY = "dataset.run"


@dataclass(kw_only=True, eq=False)
class Codes(Source):
    """The codes of a run's data, [N, latent_dim], in the splits of that run.

    run: its folder. The means of a variational model are its codes.
    """

    run: str | None = None
    _data: str | None = field(default=None, init=False)

    @cached_property
    def model(self) -> Model:
        """The trained network. Raises UserError."""
        assert self.run is not None, "see problems()"
        return load(self.run)

    def shape(self) -> Shape | None:
        try:
            return None if self.run is None else (self.model.latent_dim,)
        except UserError:
            return None

    @property
    def identity(self) -> str | None:
        """SHA-256 of the trained network and of its data, from which the codes are computed."""
        if self._data is None:
            return None
        return hashlib.sha256(f"{self.model.identity} {self._data}".encode()).hexdigest()

    def description(self) -> str:
        return f"Codes of {self.run}"

    def problems(self) -> list[Problem]:
        if self.run is None:
            return [Problem(KEY, "no run given", f"Write {KEY}=outputs/DAY/RUN.")]
        try:
            _ = self.model
        except UserError as error:
            remedy = f"Write {KEY}=FOLDER of a run that has finished."
            where = f"{KEY}={self.run}"
            return [
                replace(problem, where=where, remedy=problem.remedy or remedy)
                for problem in error.problems
            ]
        return []

    def load(self) -> Raw:
        data = self._read_data()
        found = data.as_dict()
        self._data = found.get("source", found["digest"])
        parts = {split: self._encode(samples) for split, samples in data.splits.items()}
        return replace(parts["train"], val=parts.get("val"), test=parts["test"])

    def _read_data(self) -> DataModule:
        """Read and split the data of the run, as in its training. Raises UserError."""
        assert self.run is not None, "see problems()"
        folder = Path(self.run).expanduser().absolute()
        node = find_moved_data(remove_side_effects(self.model.config), folder)
        parts = Parts()
        try:
            make_object(node, "dataset", Source, parts)  # nothing else of that run is needed
            if parts.problems:
                raise ConfigError(parts.problems)
            data = make_data_module(node, parts.made["dataset"])
            data.setup()
        except UserError as error:
            what = f"its data cannot be read ({error.problems[0].where}: {error.problems[0].what})"
            inner = error.problems[0].remedy
            remedy = inner or "The data of that run must be unchanged and where it was."
            raise UserError(f"{KEY}={self.run}", what, remedy) from error
        return data

    def _encode(self, samples: Samples) -> Raw:
        """Encode a split into a temporary file, which is mapped: memory stays bounded."""
        shape = (len(samples), self.model.latent_dim)
        step = samples.raw.rows.chunk
        with tempfile.NamedTemporaryFile() as file:
            for start in range(0, len(samples), step):
                codes = self.model.encode(samples[start : start + step].x)
                file.write(codes.float().numpy().tobytes())
            file.flush()
            samples.raw.release()
            mapped = map_array(file, np.dtype(np.float32), shape)
        known = samples.raw.labels
        return Raw(
            as_tensor(mapped.array),
            None if known is None else known[samples.index.long()],
            classes=samples.raw.classes,
            origin=f"{KEY}={self.run}",
            mapping=mapped.mapping,
        )
