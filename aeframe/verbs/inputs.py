"""The samples that a verb is given: folders, image files, arrays or data sets, some at a time."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain, compress, islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from aeframe import data
from aeframe.artifact import Model
from aeframe.artifact.stored import check_codes, check_shape, check_values, rows
from aeframe.data.folder import find_images, left_out, note, tell_of_deeper, unreadable_images
from aeframe.data.images import ENDINGS, ImageReader, strict_images
from aeframe.data.samples import Raw, Samples, rows_of
from aeframe.errors import ConfigError, Problem, UserError
from aeframe.saved import mapping
from aeframe.verbs.base import DATASETS
from aeframe.verbs.given import Input, reading, told_of
from aeframe.verbs.own_data import layout_of
from aeframe.verbs.tables import rows_of_csv, rows_of_parquet

ARRAYS = (".npy", ".npz")
SKIP = "--on-bad-sample skip"


def opened(
    words: list[str], model: Model, options: argparse.Namespace, *, any_size: bool = False
) -> Input:
    """What some words name, for this model. Raises UserError, before much is read.

    any_size: images stay as large as they are, and come one by one.
    """
    if len(words) == 1 and words[0] in DATASETS:
        return _dataset(words[0], model, options)
    paths = [Path(os.path.expanduser(word)) for word in words]
    if missing := [
        Problem(str(path), "no such file or folder") for path in paths if not os.path.exists(path)
    ]:
        raise ConfigError(missing)
    arrays = [path.suffix.lower() in ARRAYS for path in paths]
    if all(arrays):
        return _arrays(words, model, options)
    if any(arrays):
        where = words[arrays.index(True)]
        raise UserError(where, "is an array among images", "Give either arrays or images.")
    return _images(paths, model, any_size, skips=options.on_bad_sample == "skip")


def _arrays(words: list[str], model: Model, options: argparse.Namespace) -> Input:
    layout = layout_of(model)
    sources = [data.Array(path=word, key=options.key, layout=layout) for word in words]
    raws = [_array(source, model.shape) for source in sources]
    where = ", ".join(words[:3]) + (", ..." if len(words) > 3 else "")
    counts = [len(raw.data) for raw in raws]
    files = tuple(zip(words, counts, strict=True))
    blocks, check = partial(_rows, raws), _check(model)
    return Input(where, sum(counts), blocks, check, files=files, as_given=sources[0].as_given)


def _check(model: Model) -> Callable[[np.ndarray], None]:
    """Raises SampleError for samples that the model cannot take."""
    return lambda block: check_values(rows(block, "x"), model.description.data, "x")


def _array(source: data.Array, shape: tuple[int, ...]) -> Raw:
    word = str(source.path)
    with _in_words():
        if found := source.problems():
            raise ConfigError(found)
        raw = source.load()
    with told_of(word):
        check_shape(tuple(raw.data.shape), shape, "x")
    return raw


def _dataset(name: str, model: Model, options: argparse.Namespace) -> Input:
    classes = {
        "digits": data.Digits,
        "mnist": data.MNIST,
        "fashion_mnist": data.FashionMNIST,
        "kmnist": data.KMNIST,
        "cifar10": data.CIFAR10,
        "svhn": data.SVHN,
    }
    cls = classes[name]
    source = data.Digits() if cls is data.Digits else cls(root=options.root, download=False)
    with _in_words():
        if found := source.problems():
            raise ConfigError(found)
        raw = source.load()
    if options.split == "test" and raw.test is None:
        what = f"{name} has no test split of its own"
        raise UserError("--split test", what, "Leave it out, for all of it.")
    chosen = raw if options.split == "train" or raw.test is None else raw.test
    with told_of(name):
        check_shape(tuple(chosen.data.shape), model.shape, "x")
    return Input(name, len(chosen.data), partial(_rows, [chosen]), _check(model))


def _rows(raws: list[Raw], n: int) -> Iterator[np.ndarray]:
    for raw in raws:
        samples = Samples(raw, torch.arange(len(raw.data), dtype=rows_of(len(raw.data))))
        for start in range(0, len(samples), n):
            yield samples[start : start + n].x.numpy()


def _images(paths: list[Path], model: Model, any_size: bool, *, skips: bool) -> Input:
    files, names = list[Path](), list[str]()
    for path in paths:
        found = find_images(path, str(path))[0] if path.is_dir() else [path]
        files += found
        if path.is_dir():
            tell_of_deeper(path, str(path))
        names += [str(f.relative_to(path) if len(paths) == 1 and f != path else f) for f in found]
    odd = [f for f in files if f.suffix.lower() not in ENDINGS]
    if odd:
        what = "is neither an image nor an array"
        raise UserError(str(odd[0]), what, f"Known endings: {' '.join(sorted(ENDINGS))} .npy .npz.")
    reader, scaled = _reader(model, any_size), _scale(model)
    where = str(paths[0]) if len(paths) == 1 else f"{len(files)} images"
    if skips:
        readable = _readable(reader, files, where)
        files, names = list(compress(files, readable)), list(compress(names, readable))
    blocks = partial(_decoded, reader, scaled, files)
    return Input(
        where,
        len(files),
        blocks,
        _check(model),
        names,
        changed=reader.changed,
        brought=reader.described,
    )


@dataclass(frozen=True)
class Noticing(ImageReader):
    """Also notes in `changed` the images that cannot come back as they were: of another size, or in colour
    where gray is wanted.
    """

    changed: set[Path]

    def made_of(self, image: Image.Image, file: Path) -> np.ndarray:
        pixels = super().made_of(image, file)
        if pixels.shape[:0:-1] != image.size or (self.color == "gray" and _is_coloured(image)):
            self.changed.add(file)
        return pixels

    @property
    def described(self) -> str:
        """What all images are brought to."""
        size = [] if self.size is None else [f"{self.size[1]} x {self.size[0]} pixels"]
        return ", ".join([*size, *(["gray"] if self.color == "gray" else [])])


def _is_coloured(image: Image.Image) -> bool:
    pixels = np.asarray(image)
    return pixels.ndim == 3 and bool((pixels != pixels[..., :1]).any())


def _reader(model: Model, any_size: bool) -> Noticing:
    """Reads images as those were that the model was trained on."""
    if len(model.shape) != 3 or model.shape[0] not in (1, 3):
        shape = " x ".join(map(str, model.shape))
        raise UserError("INPUT", f"samples of {shape} are no images", "Give an array, as .npy.")
    fit = mapping(model.description.config.get("dataset")).get("fit", "crop")
    color = "gray" if model.shape[0] == 1 else "rgb"
    size = None if any_size else model.shape[1:]
    return Noticing(size, "resize" if fit == "resize" else "crop", color, set())  # type: ignore[arg-type]


def _scale(model: Model) -> Callable[[np.ndarray], np.ndarray]:
    """From an image's bytes to the range of the stored samples."""
    stored = model.description.data
    if stored.stored == (0.0, 255.0):
        return lambda images: images
    if stored.stored is None:
        name = str(stored.dtype).removeprefix("torch.")
        what = f"the model was trained on arrays of {name}, which images are not"
        raise UserError("INPUT", what, "Give arrays of the same kind, as .npy.")
    low, high = stored.stored
    dtype = torch.empty(0, dtype=stored.dtype).numpy().dtype
    return lambda images: (images / 255 * (high - low) + low).round().astype(dtype)


def _readable(reader: ImageReader, files: list[Path], where: str) -> list[bool]:
    """Of each file whether it can be decoded: they have to be counted before the first is used.

    The others are named. Raises UserError where none can.
    """
    with strict_images():
        bad = [image if isinstance(image, Problem) else None for image in reader.read_all(files)]
    found = list(filter(None, bad))
    if len(found) == len(files):
        raise unreadable_images(found, len(files), "INPUT", SKIP)
    if found:
        note(left_out([file for file, one in zip(files, bad, strict=True) if one], where, SKIP))
    return [problem is None for problem in bad]


def _decoded(
    reader: ImageReader, scaled: Callable[[np.ndarray], np.ndarray], files: list[Path], n: int
) -> Iterator[np.ndarray]:
    bad = list[Problem]()
    with strict_images():
        images = reader.read_all(files)
        while block := list(islice(images, n)):
            bad += [image for image in block if isinstance(image, Problem)]
            if not bad:  # else the others are only looked at
                yield scaled(np.stack([i for i in block if not isinstance(i, Problem)]))
    if bad:
        raise unreadable_images(bad, len(files), "INPUT", SKIP)


def one(word: str, model: Model, options: argparse.Namespace) -> np.ndarray:
    """A single sample, [1, *shape]: an image, or the row of `--input` with this number."""
    if not word.isdecimal():
        found = opened([word], model, options)
        if found.count != 1:
            what = f"holds {found.count:,} samples"
            raise UserError(word, what, f"Write --input {word} and the numbers of two rows.")
        with reading(found):
            return next(found.blocks(1))
    if options.input is None:
        raise UserError(word, "is the number of a row, of nothing", "Write --input INPUT as well.")
    found, row = opened([options.input], model, options), int(word)
    if row >= found.count:
        last = f"the last of {options.input} is {found.count - 1}"
        raise UserError(word, f"is no row ({last})")
    rows = chain.from_iterable(found.blocks(model.batch_size))
    return next(islice(rows, row, None))[None]


@contextmanager
def _in_words() -> Iterator[None]:
    """What sources say of a configuration's keys, in those of the command line."""
    try:
        yield
    except UserError as error:
        raise ConfigError([_in_word(problem) for problem in error.problems]) from error


def _in_word(problem: Problem) -> Problem:
    where = problem.where.removeprefix("dataset.path=")
    remedy = problem.remedy
    for key, word in (("dataset.root=", "--root "), ("dataset.key=", "--key ")):
        where, remedy = where.replace(key, word), remedy.replace(key, word)
    if "dataset.layout=" in remedy:
        remedy = "Give an array of the shape that the model takes."
    return Problem(where, problem.what, remedy)


def codes_in(word: str, key: str, model: Model) -> Input:
    """The codes that `encode` wrote."""
    path = Path(os.path.expanduser(word))
    if not os.path.exists(path):
        raise UserError(word, "no such file")
    if path.suffix.lower() in (".csv", ".parquet"):
        read = rows_of_csv if path.suffix.lower() == ".csv" else rows_of_parquet
        codes, names = read(path)
        with told_of(word):
            check_shape(codes.shape, (model.latent_dim,), "z")
        steps = range(0, len(codes))

        def blocks(n: int) -> Iterator[np.ndarray]:
            return (codes[i : i + n] for i in steps[::n])

        return Input(word, len(codes), blocks, _check_codes, names or None)
    if path.suffix.lower() not in ARRAYS:
        raise UserError(word, "ends in none of .npy .npz .csv .parquet")
    source = data.Array(path=word, key=key if path.suffix.lower() == ".npz" else None)
    raw = _array(source, (model.latent_dim,))
    return Input(word, len(raw.data), partial(_rows, [raw]), _check_codes)


def _check_codes(block: np.ndarray) -> None:
    check_codes(rows(block, "z"), "z")
