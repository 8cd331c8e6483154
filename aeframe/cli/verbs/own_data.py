"""The data that a loaded network was trained on, which must be where it was."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import get_args

from aeframe.config.check import find
from aeframe.config.make import data_module
from aeframe.config.result import Parts
from aeframe.core.errors import ConfigError, Problem, UserError
from aeframe.core.plain import as_mapping
from aeframe.data import DataModule
from aeframe.data.image_folder import Folder
from aeframe.data.image_listing import find_images
from aeframe.data.layouts import Layout, is_like_signal
from aeframe.data.source import Samples
from aeframe.runs.model import Model
from aeframe.runs.origin import with_data_found
from aeframe.training.resume.configuration import harmless_here


def layout_of(model: Model) -> Layout:
    """The layout of the arrays that a model was trained on; `auto` asks about some that it once read."""
    layout = as_mapping(model.description.config.get("dataset")).get("layout", "auto")
    is_gray = len(model.shape) == 3 and model.shape[0] == 1 and is_like_signal(model.shape[1:])
    if layout == "auto" and is_gray:
        return "gray"
    return layout if layout in get_args(Layout) else "auto"


def own_data(model: Model, run: str, instead: str = "") -> tuple[Parts, DataModule]:
    """What the run was made of, and its data, read and split as for it. Raises UserError.

    run: what the model was loaded from. instead: what else to write where the data is not there.
    """
    node = with_data_found(harmless_here(model.config), Path(run).expanduser().absolute())
    if "layout" in (dataset := as_mapping(node.get("dataset"))):
        node["dataset"] = {**dataset, "layout": layout_of(model)}
    try:
        parts = find(node)
        data = data_module(node, parts.made["dataset"])
        data.setup(parts.made["likelihood"].support)
        # as in training, whatever is chosen or measured today
        known = model.description.data
        data.spec = replace(known, seen=known.seen or data.spec.seen)  # which older runs lack
        data.normalization = deepcopy(model.net.normalization).cpu()
    except UserError as error:
        remedy = f"The run's data has to be what and where it was in training{instead}."
        # whoever asks this cannot write keys
        said = [replace(p, remedy=remedy) if _is_of_data(p) else p for p in error.problems]
        raise ConfigError(said) from error
    return parts, data


def _is_of_data(problem: Problem) -> bool:
    return problem.where.startswith("dataset.")


def samples_of(data: DataModule, split: str) -> Samples:
    """The samples of a split that was named by --data. Raises UserError where the run had none."""
    if split not in data.splits:
        what = "this run had no validation (dataset.val_fraction=0)"
        raise UserError(f"--data {split}", what, "Write --data test.")
    return data.splits[split]


def whole_files(data: DataModule, split: str) -> list[str]:
    """The image files that a split's samples are of, or are cut from. Raises UserError."""
    source, samples = data.source, samples_of(data, split)
    if not isinstance(source, Folder):
        remedy = "Write --data FOLDER, of whole images."
        raise UserError(f"--data {split}", "is of no image files", remedy)
    own = split == "test" and source.test_root is not None
    root = str(source.test_root if own else source.root)
    files, _ = find_images(Path(root).expanduser(), root)
    if len(files) * source.per_image != len(samples.raw.data):
        what = "was cut from some of the files only: others cannot be read"
        raise UserError(f"--data {split}", what, "Write --data FOLDER, of whole images.")
    return [str(files[i]) for i in (samples.index // source.per_image).unique().tolist()]
