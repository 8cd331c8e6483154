"""Files of shards: listed by a pattern or a folder, with all their headers checked."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from glob import glob, has_magic
from pathlib import Path

from aeframe.core.errors import ConfigError, Problem, UserError
from aeframe.core.repeated import find_repeated
from aeframe.data.shard import Shard
from aeframe.data.shards.shard_formats import FORMATS, open_shard

Paths = str | Sequence[str]

TOLD = 8  # broken shards that are told one by one


def list_shards(path: Paths, option: str) -> list[Path]:
    """List the files that a file, a folder, a pattern, or a list of them names. Raises UserError.

    Files of a folder or a pattern come in natural order (2 before 10), those of a list as they are listed.
    option: its name, for messages.
    """
    if not isinstance(path, str):
        found = [file for part in path for file in list_shards(part, option)]
        if twice := find_repeated(found):
            raise UserError(f"dataset.{option}", f"names {twice} twice", "Name each file once.")
        if not found:
            raise UserError(f"dataset.{option}", "names no files", "Name some.")
        return found
    where, name = f"dataset.{option}={path}", os.path.expanduser(path)
    if os.path.isdir(name):
        found = [f for f in Path(name).iterdir() if f.suffix.lower() in FORMATS and f.is_file()]
        if not found:
            what = f"holds no file that ends in {', '.join(FORMATS)}"
            raise UserError(where, what, f"Write dataset.{option}=FOLDER/*.npy.")
        return sorted(found, key=_number_parts)
    if os.path.exists(name) or not has_magic(name):
        return [Path(name)]
    found = [Path(match) for match in glob(name, recursive=True) if os.path.isfile(match)]
    if not found:
        raise UserError(where, "matches no files", "Correct the pattern; quote it in the shell.")
    return sorted(found, key=_number_parts)


def _number_parts(file: Path) -> list[tuple[int, str]]:
    """Return the parts of a path, with digits as numbers, to sort by."""
    parts = re.split(r"(\d+)", str(file))
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def open_shards(files: Sequence[Path], key: str | None, option: str = "path") -> list[Shard]:
    """Read the headers of all files. Raises ConfigError that names the files that do not fit.

    option: that names them, for messages.
    """
    shards, problems = list[Shard](), list[Problem]()
    for file in files:
        where = f"dataset.{option}={file}" if len(files) == 1 else str(file)
        try:
            shard = open_shard(file, key, where)
            _require_same(shard, shards[0] if shards else shard, where)
            shards.append(shard.suit(shards[0], where) if shards else shard)
        except UserError as error:
            problems += [p for p in error.problems if p not in problems]
    if more := len(problems) - TOLD:
        what = f"{len(problems):,} of {len(files):,} files cannot be used"
        problems = [*problems[:TOLD], Problem(f"dataset.{option}", what)] if more > 0 else problems
    if problems:
        raise ConfigError(problems)
    return shards


def _require_same(shard: Shard, first: Shard, where: str) -> None:
    """Raise UserError for a shard of another width or type than the first."""
    if shard.shape[1:] != first.shape[1:]:
        what = f"holds rows of {_describe(shard)}, {first.path.name} rows of {_describe(first)}"
        raise UserError(where, what, "All files must hold rows of one shape.")
    if shard.type_name != first.type_name:
        what = f"holds {shard.type_name}, {first.path.name} holds {first.type_name}"
        raise UserError(where, what, "Save all files with one type.")


def _describe(shard: Shard) -> str:
    return " x ".join(map(str, shard.shape[1:])) + " numbers"
