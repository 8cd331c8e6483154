"""Samples as image files."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from pathlib import Path, PurePath

import numpy as np
from PIL import Image

from aeframe.cli.verbs.outputs import Names, fill_folder, write_rows
from aeframe.cli.verbs.table_results import is_table_path, write_made
from aeframe.core.errors import UserError
from aeframe.runs.frames import require_columns
from aeframe.runs.model import Model

CHANNELS = (1, 3, 4)


def write_samples(
    out: Path, blocks: Iterable[np.ndarray], count: int, model: Model, names: Names = None
) -> None:
    """Write blocks of samples, [n, *shape], as .npy or .npz, as a table, or as a folder of images."""
    if is_table_path(out):
        write_made(out, blocks, require_columns(model.description.data, f"--out {out}"))
    elif out.suffix.lower() in (".npy", ".npz"):
        write_rows(out, blocks, count, "x", names)
    else:
        require_pictures(model)
        _write_pictures(out, blocks, count, model, names)


def require_pictures(model: Model) -> None:
    """Raise UserError if samples cannot be saved as images."""
    written = model.description.data.written.shape
    if len(written) != 3 or written[0] not in CHANNELS:
        shape = " x ".join(map(str, written))
        raise UserError(
            "--out", f"samples of {shape} cannot be saved as images", "Write --out FILE.npy."
        )


def convert_to_bytes(x: np.ndarray, model: Model) -> np.ndarray:
    """Convert stored samples from the range of the training data to bytes in 0..255."""
    written = model.description.data.written
    low, high = written.get_range(model.net.written_normalization)
    if x.dtype == np.uint8 and (low, high) == (0, 255):
        return x
    scaled = (x.astype(np.float64) - low) / (high - low) * 255
    return scaled.round().clip(0, 255).astype(np.uint8)


def _write_pictures(
    out: Path, blocks: Iterable[np.ndarray], count: int, model: Model, names: Names
) -> None:
    places = _name_pictures(names, count)
    blocks = iter(blocks)
    first = next(blocks)  # an error comes before the folder is made
    with fill_folder(out) as folder:
        row = 0
        for block in chain([first], blocks):
            for picture in convert_to_bytes(block, model):
                target = folder / places[row]
                target.parent.mkdir(parents=True, exist_ok=True)
                _make_image(picture).save(target, "PNG")
                row += 1


def _name_pictures(names: Names, count: int) -> list[str]:
    """Name the files of the images: like their sources, or by number."""
    if names is None:
        return [f"{i:0{len(str(count - 1))}d}.png" for i in range(count)]
    paths = [PurePath(name) for name in names]
    if any(path.is_absolute() or ".." in path.parts for path in paths):
        paths = [PurePath(path.name) for path in paths]
    for made in (
        [path.with_suffix(".png") for path in paths],
        [path.with_name(f"{path.name}.png") for path in paths],
    ):
        if len(set(made)) == count:
            return [str(path) for path in made]
    return _name_pictures(None, count)  # files of the same name from several folders


def _make_image(picture: np.ndarray) -> Image.Image:
    """Make an image from bytes, [C, H, W]."""
    return Image.fromarray(picture[0] if len(picture) == 1 else picture.transpose(1, 2, 0))
