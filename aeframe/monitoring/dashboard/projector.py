"""Files for TensorBoard's projector, an interactive view of the codes."""

from __future__ import annotations

import math
import zlib
from pathlib import Path

from google.protobuf import text_format
from PIL import Image, ImageOps
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig
from torch import Tensor
from torch.nn.functional import pad

from aeframe.core.files import write_atomically
from aeframe.monitoring.dashboard.chart import style_class
from aeframe.monitoring.dashboard.page import Page
from aeframe.monitoring.dashboard.painting import Tiles
from aeframe.monitoring.dashboard.view import View

POINTS = 1000  # samples
UNITS = 128  # units that vary most; the files are text, and large
SIDE = 28  # pixels of a sample's picture
FRAME = 3  # pixels of the class's color around a picture
AXES = 3  # the projector needs at least three components
CONFIG, FOLDER = "projector_config.pbtxt", "projector"
CODE, SAMPLES, SPRITE = (f"{FOLDER}/{name}" for name in ("code.tsv", "samples.tsv", "sprite.png"))


def write_projector(view: View, page: Page) -> None:
    """Write the codes of validation samples, with label, error and picture of each.

    Paths in the files are relative to the run's folder, so that it can be moved.
    """
    passed, run = view.passed, page.folder
    every = -(-len(passed.codes) // POINTS)
    codes = passed.codes[::every].flatten(1)
    varying = codes.var(0, correction=0).argsort(descending=True, stable=True)[:UNITS]
    units = varying.sort().values
    (run / FOLDER).mkdir(exist_ok=True)
    shown = pad(codes[:, units], (0, max(0, AXES - len(units))))
    _write_rows(run / CODE, [[f"{v:.5g}" for v in row] for row in shown.tolist()])
    _write_rows(run / SAMPLES, _describe_samples(view, every))
    tiles = view.paint_input.show(view.samples.many[::every], SIDE)
    if view.samples.labels is not None:
        tiles = frame_classes(tiles, view.samples.labels[::every])
    # run-length encoding takes a third of the time and no more bytes
    join_tiles(tiles).save(run / SPRITE, compress_type=zlib.Z_RLE)
    config = ProjectorConfig()
    named = f"code, {len(units)} of {codes.shape[1]} units"
    entry = config.embeddings.add(tensor_name=named, tensor_path=CODE, metadata_path=SAMPLES)
    entry.sprite.image_path = SPRITE
    entry.sprite.single_image_dim.extend(tiles[0].size)
    with write_atomically(run / CONFIG) as file:  # last, since it refers to the other files
        file.write(text_format.MessageToString(config).encode())


def frame_classes(tiles: Tiles, labels: Tensor) -> Tiles:
    """Frame tiles in the color of their class: the projector colors points only by hand."""
    _, which = labels.unique(return_inverse=True)
    return [
        ImageOps.expand(tile.convert("RGB"), FRAME, style_class(number)[0])
        for tile, number in zip(tiles, which.tolist(), strict=True)
    ]


def join_tiles(tiles: Tiles) -> Image.Image:
    """Join tiles without seams in as many rows as columns."""
    side = math.ceil(math.sqrt(len(tiles)))
    width, height = tiles[0].size
    sprite = Image.new(tiles[0].mode, (side * width, side * height), "gray")
    for i, tile in enumerate(tiles):
        sprite.paste(tile, (i % side * width, i // side * height))
    return sprite


def _describe_samples(view: View, every: int) -> list[list[str]]:
    """Return a header, and a row of metadata for each sample."""
    errors = view.passed.error[::every].tolist()
    columns = {}  # the first one is what the projector shows of a point, unless it is changed
    if view.samples.labels is not None:
        known, classes = view.samples.labels[::every].tolist(), view.samples.classes
        # a folder's name may be invalid UTF-8
        columns["label"] = [" ".join(classes[n].split()) if classes else str(n) for n in known]
    columns["sample"] = [str(i * every) for i in range(len(errors))]
    columns["error"] = [f"{error:.5g}" for error in errors]
    return [list(columns), *map(list, zip(*columns.values(), strict=True))]


def _write_rows(file: Path, rows: list[list[str]]) -> None:
    file.write_text("".join("\t".join(row) + "\n" for row in rows), "utf-8", "replace")
