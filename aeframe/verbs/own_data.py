"""The data that a loaded network was trained on, which must be where it was."""

from __future__ import annotations

from aeframe.artifact import Model
from aeframe.config.data import data_module
from aeframe.config.parts import Parts, find
from aeframe.data import DataModule
from aeframe.resume import harmless_here


def own_data(model: Model) -> tuple[Parts, DataModule]:
    """What the run was made of, and its data, read and split as for it. Raises UserError."""
    node = harmless_here(model.config)
    parts = find(node)
    data = data_module(node, parts.made["dataset"])
    data.setup()
    return parts, data
