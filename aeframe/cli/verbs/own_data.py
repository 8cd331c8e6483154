"""The training data of a loaded network, which must still be where it was."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import get_args

from aeframe.config.check import make_parts
from aeframe.config.make import make_data_module
from aeframe.config.result import Parts
from aeframe.core.errors import ConfigError, Problem, UserError
from aeframe.core.plain import as_mapping
from aeframe.data import DataModule
from aeframe.data.images.image_listing import find_images
from aeframe.data.images.image_source import Folder
from aeframe.data.layouts import Layout, is_like_signal
from aeframe.data.source import Samples
from aeframe.runs.model import Model
from aeframe.runs.origin import find_moved_data, remove_side_effects


def find_layout(model: Model) -> Layout:
    """Find the layout of the arrays in training. Older runs read all gray images with `auto`."""
    layout = as_mapping(model.description.config.get("dataset")).get("layout", "auto")
    is_gray = len(model.shape) == 3 and model.shape[0] == 1 and is_like_signal(model.shape[1:])
    if layout == "auto" and is_gray:
        return "gray"
    return layout if layout in get_args(Layout) else "auto"


def load_run_data(model: Model, run: str, instead: str = "") -> tuple[Parts, DataModule]:
    """Make the parts of the run, and read and split its data as in training. Raises UserError.

    run: the path that the model was loaded from. instead: the alternative to suggest if the data is missing.
    """
    node = find_moved_data(remove_side_effects(model.config), Path(run).expanduser().absolute())
    if "layout" in (dataset := as_mapping(node.get("dataset"))):
        node["dataset"] = {**dataset, "layout": find_layout(model)}
    try:
        parts = make_parts(node)
        data = make_data_module(node, parts.made["dataset"])
        data.setup(parts.made["likelihood"].support)
        # as in training, not as chosen or measured today
        known = model.description.data
        data.spec = replace(known, seen=known.seen or data.spec.seen)  # older runs lack it
        has_gaps = data.normalization.has_gaps
        data.normalization = deepcopy(model.net.normalization).cpu()
        data.normalization.has_gaps = has_gaps  # a loaded network does not know
        if model.net.target_normalization is not None:
            data.target_normalization = deepcopy(model.net.target_normalization).cpu()
    except UserError as error:
        remedy = f"The data of the run must be unchanged and where it was in training{instead}."
        # a verb takes no configuration keys
        problems = [replace(p, remedy=remedy) if _is_about_data(p) else p for p in error.problems]
        raise ConfigError(problems) from error
    return parts, data


def _is_about_data(problem: Problem) -> bool:
    return problem.where.startswith("dataset.")


def select_split(data: DataModule, split: str) -> Samples:
    """Select the split that --data names. Raises UserError if the run has no such split."""
    if split not in data.splits:
        what = "this run has no validation split (dataset.val_fraction=0)"
        raise UserError(f"--data {split}", what, "Write --data test.")
    return data.splits[split]


def list_image_files(data: DataModule, split: str) -> list[str]:
    """List the image files of a split, whole or as the sources of its crops. Raises UserError."""
    source, samples = data.source, select_split(data, split)
    if not isinstance(source, Folder):
        remedy = "Write --data FOLDER, with whole images."
        raise UserError(f"--data {split}", "has no image files", remedy)
    own = split == "test" and source.test_root is not None
    root = str(source.test_root if own else source.root)
    files, _ = find_images(Path(root).expanduser(), root)
    if len(files) * source.per_image != len(samples.raw):
        what = "some image files of this split cannot be read"
        raise UserError(f"--data {split}", what, "Write --data FOLDER, with whole images.")
    return [str(files[i]) for i in (samples.index // source.per_image).unique().tolist()]
