"""The samples that a verb is given: folders, image files, arrays or data sets, some at a time."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import chain, islice
from pathlib import Path

import numpy as np
import torch

from aeframe import data
from aeframe.cli.verbs.code_tables import rows_of_csv, rows_of_parquet
from aeframe.cli.verbs.given import Input, check_for, reading, told_of
from aeframe.cli.verbs.image_files import of_images
from aeframe.cli.verbs.own_data import layout_of
from aeframe.config.datasets import dataset_names, dataset_options
from aeframe.config.targets import resolve
from aeframe.core.errors import ConfigError, Problem, UserError
from aeframe.data.source import Raw, Samples, choose_row_dtype
from aeframe.runs.model import Model
from aeframe.runs.sample_arrays import check_codes, check_shape, rows

ARRAYS = (".npy", ".npz")


def opened(
    words: list[str], model: Model, options: argparse.Namespace, *, any_size: bool = False
) -> Input:
    """What some words name, for this model. Raises UserError, before much is read.

    any_size: images stay as large as they are, and come one by one.
    """
    if len(words) == 1 and words[0] in dataset_names():
        return _dataset(words[0], model, options)
    paths = [Path(os.path.expanduser(word)) for word in words]
    if missing := list(filter(None, map(_problem_with, paths))):
        raise ConfigError(missing)
    arrays = [path.suffix.lower() in ARRAYS for path in paths]
    if all(arrays):
        return _arrays(words, model, options)
    if any(arrays):
        where = words[arrays.index(True)]
        raise UserError(where, "is an array among images", "Give either arrays or images.")
    return of_images(paths, model, options, any_size=any_size)


def _problem_with(path: Path) -> Problem | None:
    if not os.path.exists(path):
        return Problem(str(path), "no such file or folder")
    if not (os.path.isfile(path) or os.path.isdir(path)):  # a pipe may never end
        return Problem(str(path), "is neither a file nor a folder")
    return None


def _arrays(words: list[str], model: Model, options: argparse.Namespace) -> Input:
    layout = layout_of(model)
    sources = [data.Array(path=word, key=options.key, layout=layout) for word in words]
    raws = [_array(source, model.shape) for source in sources]
    where = ", ".join(words[:3]) + (", ..." if len(words) > 3 else "")
    counts = [len(raw.data) for raw in raws]
    files = tuple(zip(words, counts, strict=True))
    blocks, check = partial(_rows, raws), check_for(model)
    return Input(where, sum(counts), blocks, check, files=files, as_given=sources[0].as_given)


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
    source = resolve(dataset_options(name)["_target_"]).stored_in(options.root)
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
    return Input(name, len(chosen.data), partial(_rows, [chosen]), check_for(model))


def _rows(raws: list[Raw], n: int) -> Iterator[np.ndarray]:
    for raw in raws:
        samples = Samples(raw, torch.arange(len(raw.data), dtype=choose_row_dtype(len(raw.data))))
        for start in range(0, len(samples), n):
            yield samples[start : start + n].x.numpy()


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
    if not os.path.isfile(path):
        raise UserError(word, "is no file" if os.path.exists(path) else "no such file")
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
