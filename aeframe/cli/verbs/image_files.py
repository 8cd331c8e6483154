"""Image files given to a verb."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import compress, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from aeframe.cli.verbs.given import Input, make_check
from aeframe.core.errors import Problem, UserError
from aeframe.core.plain import as_mapping
from aeframe.data.images.brightness import Levels
from aeframe.data.images.image_listing import find_images, note_deeper_images
from aeframe.data.images.image_messages import (
    build_images_error,
    describe_skipped,
    note,
    note_noticed,
)
from aeframe.data.images.image_reader import ENDINGS, ImageReader, read_strictly
from aeframe.data.images.image_source import LARGEST
from aeframe.data.normalization.value_range import check_range
from aeframe.runs.model import Model

SKIP = "--on-bad-sample skip"


def open_images(
    paths: list[Path], model: Model, options: argparse.Namespace, *, any_size: bool
) -> Input:
    """Open image files and folders of them. Raises UserError before most of them are read.

    any_size: images keep their size.
    """
    files, names, labels = list[Path](), list[str](), list[str]()
    for path in paths:
        found, classes = find_images(path, str(path)) if path.is_dir() else ([path], [])
        files += found
        labels += [file.parent.name for file in found if classes]
        if path.is_dir():
            note_deeper_images(path, str(path))
        names += [str(f.relative_to(path) if len(paths) == 1 and f != path else f) for f in found]
    odd = [f for f in files if f.suffix.lower() not in ENDINGS]
    if odd:
        what = "is neither an image nor an array"
        raise UserError(str(odd[0]), what, f"Known endings: {' '.join(sorted(ENDINGS))} .npy .npz.")
    reader, scaled = _make_reader(model, options, any_size), _make_scaling(model)
    where = str(paths[0]) if len(paths) == 1 else f"{len(files)} images"
    readable = [True] * len(files)
    if options.on_bad_sample == "skip":
        readable = _find_readable(reader, files, where)
    labels_of_readable = list(compress(labels, readable)) if len(labels) == len(files) else None
    files, names = list(compress(files, readable)), list(compress(names, readable))
    blocks = partial(_decode_blocks, reader, scaled, files)
    return Input(
        where,
        len(files),
        blocks,
        make_check(model),
        names,
        labels_of_readable,
        changed=reader.changed,
        converted_to=reader.described,
    )


@dataclass(frozen=True)
class RecordingReader(ImageReader):
    """An image reader that records in `changed` the images that lose their size or their colors.

    limit: the largest number of megapixels of an image; None: the default.
    """

    changed: set[Path] = field(default_factory=set)
    limit: float | None = None

    def convert(self, image: Image.Image, file: Path) -> np.ndarray:
        pixels = super().convert(image, file)
        if pixels.shape[:0:-1] != image.size or (self.color == "gray" and _is_colored(image)):
            self.changed.add(file)
        return pixels

    @property
    def described(self) -> str:
        """The size and type that all images are converted to."""
        size = [] if self.size is None else [f"{self.size[1]} x {self.size[0]} pixels"]
        return ", ".join([*size, *(["gray"] if self.color == "gray" else [])])


def _is_colored(image: Image.Image) -> bool:
    pixels = np.asarray(image)
    return pixels.ndim == 3 and bool((pixels != pixels[..., :1]).any())


def _make_reader(model: Model, options: argparse.Namespace, any_size: bool) -> RecordingReader:
    """Make a reader that treats images as in training."""
    if len(model.shape) != 3 or model.shape[0] not in (1, 3):
        shape = " x ".join(map(str, model.shape))
        raise UserError("INPUT", f"samples of {shape} are not images", "Give an array (.npy).")
    dataset = as_mapping(model.description.config.get("dataset"))
    return RecordingReader(
        None if any_size else model.shape[1:],
        "resize" if dataset.get("fit") == "resize" else "crop",
        "gray" if model.shape[0] == 1 else "rgb",
        _find_levels(model, dataset.get("range")),
        "--max-megapixels ",
        limit=_find_limit(options, dataset.get("max_megapixels")),
    )


def _find_levels(model: Model, given: Any) -> Levels:
    """Find the levels of black and white in training. given: dataset.range, from a file of unknown origin."""
    data = model.description.data
    known = None if given is None or check_range(given) else (float(given[0]), float(given[1]))
    # a model of arrays: 8-bit images are scaled to this range
    if known is not None and data.stored == known:
        return Levels(sixteen=known, other=known)
    if data.levels is not None:
        return Levels(other=data.levels, clips=True)
    return Levels.choose(known)


def _find_limit(options: argparse.Namespace, trained: Any) -> float | None:
    """Find the limit in megapixels: that of the command, else that of training."""
    given = options.max_megapixels
    if given is not None and not 0 < given <= LARGEST:
        raise UserError(f"--max-megapixels {given:g}", f"is not above 0 and up to {LARGEST:,}")
    is_number = isinstance(trained, int | float) and not isinstance(trained, bool)
    return trained if given is None and is_number and 0 < trained <= LARGEST else given


def _make_scaling(model: Model) -> Callable[[np.ndarray], np.ndarray]:
    """Make the function from the bytes of images to the range of the stored samples."""
    stored = model.description.data
    if stored.stored == (0.0, 255.0):
        return lambda images: images
    if stored.stored is None:
        name = str(stored.dtype).removeprefix("torch.")
        what = f"the model was trained on arrays of {name}, not on images"
        raise UserError("INPUT", what, "Give arrays of the same kind, as .npy.")
    low, high = stored.stored
    dtype = torch.empty(0, dtype=stored.dtype).numpy().dtype
    rounded = np.round if dtype.kind in "iu" else np.asarray
    return lambda images: rounded(images / 255 * (high - low) + low).astype(dtype)


def _find_readable(reader: RecordingReader, files: list[Path], where: str) -> list[bool]:
    """Check for each file whether it can be decoded, so that the count is known before the first is used.

    Prints the names of unreadable files. Raises UserError if all are unreadable.
    """
    with read_strictly(reader.limit):
        bad = [image if isinstance(image, Problem) else None for image in reader.read_all(files)]
    found = list(filter(None, bad))
    if len(found) == len(files):
        raise build_images_error(found, len(files), "INPUT", SKIP)
    if found:
        note(
            describe_skipped(
                [file for file, one in zip(files, bad, strict=True) if one], where, SKIP
            )
        )
    return [problem is None for problem in bad]


def _decode_blocks(
    reader: RecordingReader, scaled: Callable[[np.ndarray], np.ndarray], files: list[Path], n: int
) -> Iterator[np.ndarray]:
    bad = list[Problem]()
    with read_strictly(reader.limit):
        images = reader.read_all(files)
        while block := list(islice(images, n)):
            bad += [image for image in block if isinstance(image, Problem)]
            if not bad:  # after an error the rest is only checked
                yield scaled(np.stack([i for i in block if not isinstance(i, Problem)]))
    note_noticed(reader.noticed, "INPUT")
    if bad:
        raise build_images_error(bad, len(files), "INPUT", SKIP)
