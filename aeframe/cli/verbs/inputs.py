"""The input of a verb: folders, image files, arrays or data sets, read in blocks."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Iterator
from functools import partial
from itertools import chain, islice
from pathlib import Path

import numpy as np
import torch

from aeframe import data
from aeframe.cli.verbs.code_tables import read_csv, read_parquet
from aeframe.cli.verbs.given import Input, explain_samples, make_check, name_source, rename_keys
from aeframe.cli.verbs.image_files import open_images
from aeframe.cli.verbs.own_data import find_layout
from aeframe.cli.verbs.series_inputs import is_of_series, open_series
from aeframe.cli.verbs.shard_input import are_shards, open_shard_input
from aeframe.cli.verbs.sparse_codes import has_sparse_codes, read_sparse
from aeframe.cli.verbs.table_inputs import are_tables, open_tables
from aeframe.config.datasets import list_dataset_names, read_dataset_options
from aeframe.config.targets import list_keys, resolve
from aeframe.core.errors import ConfigError, Problem, UserError
from aeframe.core.plain import as_mapping
from aeframe.data.arrays.array_labels import find_label_key
from aeframe.data.builtin.builtin import Builtin
from aeframe.data.classes import name_labels
from aeframe.data.source import Raw, Samples, Source, choose_row_dtype
from aeframe.data.tables.text_table import ENDINGS, name_array, write_conversion
from aeframe.runs.model import Model
from aeframe.runs.sample_arrays import check_codes, check_shape, convert_to_rows

ARRAYS = (".npy", ".npz")


def open_input(
    words: list[str], model: Model, options: argparse.Namespace, *, any_size: bool = False
) -> Input:
    """Open the samples that `words` name, for this model. Raises UserError before most of them are read.

    any_size: images keep their size, and are read one by one.
    """
    if len(words) == 1 and words[0] in list_dataset_names():
        return _open_dataset(words[0], model, options)
    if is_of_series(model):
        return open_series(words, model)
    if model.description.data.columns is None and are_shards(words):
        with rename_keys():
            return open_shard_input(words, model, options)
    paths = [Path(os.path.expanduser(word)) for word in words]
    if missing := list(filter(None, map(_find_problem, paths))):
        raise ConfigError(missing)
    if are_tables(words, model):
        return _open_tables(words, model)
    for word, path in zip(words, paths, strict=True):
        if path.suffix.lower() in ENDINGS:
            new = shlex.quote(str(name_array(path)))
            remedy = f"Run {write_conversion(path)} and write {new} instead."
            raise UserError(word, "is a text table, not an array", remedy)
    arrays = [path.suffix.lower() in ARRAYS for path in paths]
    if all(arrays):
        return _open_arrays(words, model, options)
    if any(arrays):
        where = words[arrays.index(True)]
        raise UserError(where, "is an array among images", "Give either arrays or images.")
    return open_images(paths, model, options, any_size=any_size)


def _open_tables(words: list[str], model: Model) -> Input:
    given = open_tables(words, model)
    labels = given.read_texts(given.label)
    return Input(given.where, given.count, given.blocks, make_check(model), labels=labels)


def _find_problem(path: Path) -> Problem | None:
    if not os.path.exists(path):
        return Problem(str(path), "no such file or folder")
    if not (os.path.isfile(path) or os.path.isdir(path)):  # a pipe may never end
        return Problem(str(path), "is neither a file nor a folder")
    return None


def _open_arrays(words: list[str], model: Model, options: argparse.Namespace) -> Input:
    layout = find_layout(model)
    dataset = as_mapping(model.description.config.get("dataset"))
    sources = [
        data.Array(
            path=word,
            key=options.key,
            layout=layout,
            labels=find_label_key(Path(os.path.expanduser(word)), dataset.get("labels")),
        )
        for word in words
    ]
    raws = [_read_array(source, model.shape) for source in sources]
    where = ", ".join(words[:3]) + (", ..." if len(words) > 3 else "")
    counts = [len(raw) for raw in raws]
    files = tuple(zip(words, counts, strict=True))
    labels = [name_labels(raw) for raw in raws]
    return Input(
        where,
        sum(counts),
        partial(_read_blocks, raws),
        make_check(model),
        labels=None if None in labels else list(chain.from_iterable(filter(None, labels))),
        files=files,
        restore_layout=sources[0].restore_layout,
    )


def _read_array(source: data.Array, shape: tuple[int, ...]) -> Raw:
    word = str(source.path)
    raw = _load(source)
    with name_source(word):
        check_shape(raw.rows.shape, shape, "x")
    return raw


def _open_dataset(name: str, model: Model, options: argparse.Namespace) -> Input:
    source = _make_source(name, options.root)
    raw = _load(source)
    if options.split == "test" and raw.test is None:
        what = f"{name} has no test split of its own"
        raise UserError("--split test", what, "Leave --split out to use all samples.")
    chosen = raw if options.split == "train" or raw.test is None else raw.test
    with name_source(name):
        check_shape(chosen.rows.shape, model.shape, "x")
    blocks, labels = partial(_read_blocks, [chosen]), name_labels(chosen)
    return Input(name, len(chosen), blocks, make_check(model), labels=labels)


def _make_source(name: str, root: str) -> Source:
    """Make a data set by its option. root: the folder of its files, if it has some."""
    node = read_dataset_options(name)
    cls = resolve(node["_target_"])
    if issubclass(cls, Builtin):
        return cls.stored_in(root)
    return cls(**{key: value for key, value in node.items() if key in list_keys(cls)})


def _load(source: Source) -> Raw:
    with rename_keys():
        if found := source.problems():
            raise ConfigError(found)
        return source.load()


def _read_blocks(raws: list[Raw], n: int) -> Iterator[np.ndarray]:
    for raw in raws:
        samples = Samples(raw, torch.arange(len(raw), dtype=choose_row_dtype(len(raw))))
        for start in range(0, len(samples), n):
            yield samples[start : start + n].x.numpy()


def read_one(word: str, model: Model, options: argparse.Namespace) -> np.ndarray:
    """Read a single sample, [1, *shape]: an image, or a row of `--input` by its number."""
    if not word.isdecimal():
        found = open_input([word], model, options)
        if found.count != 1:
            what = f"holds {found.count:,} samples"
            raise UserError(word, what, f"Write --input {word} and the numbers of two rows.")
        with explain_samples(found):
            return next(found.blocks(1))
    if options.input is None:
        raise UserError(
            word, "is a row number, but --input is missing", "Write --input INPUT as well."
        )
    found, row = open_input([options.input], model, options), int(word)
    if row >= found.count:
        last = f"the last row of {options.input} is {found.count - 1}"
        raise UserError(word, f"row index out of range ({last})")
    rows = chain.from_iterable(found.blocks(model.batch_size))
    return next(islice(rows, row, None))[None]


def open_codes(word: str, key: str, model: Model) -> Input:
    """Open codes that `encode` wrote."""
    path = Path(os.path.expanduser(word))
    if not os.path.isfile(path):
        raise UserError(word, "is not a file" if os.path.exists(path) else "no such file")
    if path.suffix.lower() in (".csv", ".parquet"):
        read = read_csv if path.suffix.lower() == ".csv" else read_parquet
        codes, names = read(path)
        with name_source(word):
            check_shape(codes.shape, (model.latent_dim,), "z")
        steps = range(0, len(codes))

        def blocks(n: int) -> Iterator[np.ndarray]:
            return (codes[i : i + n] for i in steps[::n])

        return Input(word, len(codes), blocks, _check_codes, names or None)
    if path.suffix.lower() == ".npz" and has_sparse_codes(path):
        matrix = read_sparse(path)
        with name_source(word):
            check_shape(matrix.shape, (model.latent_dim,), "z")
        rows = range(0, len(matrix.indptr) - 1)

        def parts(n: int) -> Iterator[np.ndarray]:
            return (matrix[i : i + n].toarray() for i in rows[::n])

        return Input(word, len(rows), parts, _check_codes)
    if path.suffix.lower() not in ARRAYS:
        raise UserError(word, "is not a .npy, .npz, .csv or .parquet file")
    source = data.Array(path=word, key=key if path.suffix.lower() == ".npz" else None)
    raw = _read_array(source, (model.latent_dim,))
    return Input(word, len(raw), partial(_read_blocks, [raw]), _check_codes)


def _check_codes(block: np.ndarray) -> None:
    check_codes(convert_to_rows(block, "z"), "z")
