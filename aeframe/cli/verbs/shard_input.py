"""Shards as the input of a verb: files of numbers that are read one block after another."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from functools import partial
from glob import has_magic
from pathlib import Path

import numpy as np
import torch

from aeframe.cli.verbs.given import Input, make_check, name_source
from aeframe.cli.verbs.own_data import find_layout
from aeframe.core.errors import ConfigError
from aeframe.data import Shards
from aeframe.data.images.image_reader import ENDINGS as IMAGES
from aeframe.data.shard_rows import ShardRows
from aeframe.data.shards.shard_formats import FORMATS
from aeframe.runs.model import Model
from aeframe.runs.sample_arrays import check_shape

ARRAYS = (".npy", ".npz")
"""Files that are arrays, each for itself."""


def are_shards(words: Sequence[str]) -> bool:
    """Check whether words name shards: a pattern, a folder of such files without images, or other formats."""
    return all(map(_names_shards, words))


def _names_shards(word: str) -> bool:
    path = Path(os.path.expanduser(word))
    if os.path.isdir(path):
        endings = {file.suffix.lower() for file in path.iterdir()}
        return bool(endings & set(FORMATS)) and not endings & set(IMAGES)
    ending = path.suffix.lower()
    return ending in FORMATS and (ending not in ARRAYS or (not path.exists() and has_magic(word)))


def open_shard_input(words: list[str], model: Model, options: argparse.Namespace) -> Input:
    """Open shards for a model. Raises UserError before the rows are read."""
    source = Shards(path=words, key=options.key, layout=find_layout(model))
    if problems := source.problems():
        raise ConfigError(problems)
    rows = source.load().data
    assert isinstance(rows, ShardRows)
    where = ", ".join(words[:3]) + (", ..." if len(words) > 3 else "")
    with name_source(where):
        check_shape(rows.shape, model.shape, "x")
    files = tuple((str(shard.path), len(shard)) for shard in rows.shards)
    return Input(where, len(rows), partial(_read_blocks, rows), make_check(model), files=files)


def _read_blocks(rows: ShardRows, n: int) -> Iterator[np.ndarray]:
    for block in range(len(rows.lengths)):
        for part in rows.read_block(block).split(n):
            yield (part.float() if part.dtype == torch.bfloat16 else part).numpy()
