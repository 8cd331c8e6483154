"""The verbs reconstruct, sample and interpolate: images of what a network does."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING

from aeframe.cli.verbs.verb import Verb, add_input, add_out, add_run, add_source, load_model
from aeframe.core.errors import UserError

if TYPE_CHECKING:
    from aeframe.runs.model import Model

FILES = (".npy", ".npz")
TABLES = (".csv", ".parquet")
COLUMNS = 12  # samples beside each other at most


def _add_reconstruct_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    add_input(parser)
    parser.add_argument(
        "--fill-gaps",
        action="store_true",
        help="for tables: write reconstructions in place of gaps alone, and keep all other cells",
    )
    what = "a folder for images, or a .npy or .npz file; for series .npy or .csv; for tables .csv or .parquet"
    add_out(parser, what)


def _reconstruct(options: argparse.Namespace) -> None:
    from aeframe.cli.verbs.given import explain_samples
    from aeframe.cli.verbs.inputs import open_input
    from aeframe.cli.verbs.outputs import check_output_path, show_progress
    from aeframe.cli.verbs.pictures import write_samples
    from aeframe.cli.verbs.series_inputs import is_of_series
    from aeframe.cli.verbs.series_results import reconstruct_series
    from aeframe.cli.verbs.table_inputs import are_tables, open_tables
    from aeframe.cli.verbs.table_results import (
        is_table_path,
        require_suitable,
        write_reconstructions,
    )

    out = check_output_path(options, (*FILES, *TABLES), folder=True)
    model = load_model(options)
    if is_table_path(out) and are_tables(options.input, model):
        table = open_tables(options.input, model)
        write_reconstructions(out, table, only_gaps=options.fill_gaps)
        print(f"{table.count:,} rows{', gaps filled' if options.fill_gaps else ''}: {out}")
        return
    if options.fill_gaps:
        remedy = "Give tables to a model of a table, and --out FILE.csv or .parquet."
        raise UserError("--fill-gaps", "needs tables", remedy)
    if is_of_series(model):
        reconstruct_series(options, model, check_output_path(options, (".npy", ".csv")))
        return
    require_suitable(out, model)
    given = open_input(options.input, model, options)
    with explain_samples(given):
        blocks = show_progress(given.blocks(model.batch_size), given.count, "Reconstructing")
        made = model.reconstruct(blocks)
        if out.suffix.lower() in FILES and model.target_shape in (None, model.shape):
            made = map(given.restore_layout, made)
        write_samples(out, made, given.count, model, given.names)
    print(f"Reconstructions of {model.description.data.nouns.count_samples(given.count)}: {out}")


def _add_sample_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument("--n", type=int, default=16, help="number of samples (default: 16)")
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the random numbers (default: 0)"
    )
    what = "a grid in .png, a folder for images, a .npy or .npz file, or a .csv or .parquet table"
    add_out(parser, what)


def _sample(options: argparse.Namespace) -> None:
    from aeframe.cli.verbs.outputs import check_output_path
    from aeframe.cli.verbs.pictures import write_samples
    from aeframe.cli.verbs.sheets import Sheet
    from aeframe.cli.verbs.table_results import require_suitable

    out = check_output_path(options, (".png", *FILES, *TABLES), folder=True)
    model = load_model(options)
    require_suitable(out, model)
    _require_room(model, options.n, f"--n {options.n}")
    made = model.sample(options.n, options.seed)
    if out.suffix.lower() == ".png":
        sheet, columns = Sheet(model), min(COLUMNS, math.ceil(math.sqrt(options.n)))
        for start in range(0, options.n, columns):
            sheet.add_row(made[start : start + columns])
        note = f"Random codes, drawn from the prior and decoded.{sheet.about}"
        sheet.write(out, f"New {sheet.noun}s of seed {options.seed}", note)
    else:
        write_samples(out, [made], options.n, model)
    print(f"{model.description.data.nouns.count_samples(options.n)} of seed {options.seed}: {out}")


def _add_interpolate_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument("a", metavar="A", help="an image, or a row number of --input")
    parser.add_argument("b", metavar="B", help="another one")
    parser.add_argument(
        "--input", metavar="INPUT", help="dataset in which A and B are row numbers (first row is 0)"
    )
    parser.add_argument(
        "--steps", type=int, default=8, help="number of steps, with both ends (default: 8)"
    )
    add_source(parser)
    add_out(parser, "a strip in .png, a folder for images, or a .npy or .npz file")


def _interpolate(options: argparse.Namespace) -> None:
    import numpy as np

    from aeframe.cli.verbs.given import name_source
    from aeframe.cli.verbs.inputs import read_one
    from aeframe.cli.verbs.outputs import check_output_path
    from aeframe.cli.verbs.pictures import write_samples
    from aeframe.cli.verbs.sheets import Sheet

    if options.steps < 2:
        raise UserError(f"--steps {options.steps}", "must be at least 2")
    out = check_output_path(options, (".png", *FILES), folder=True)
    model = load_model(options)
    _require_room(model, options.steps, f"--steps {options.steps}")
    with name_source("INPUT"):
        ends = [read_one(word, model, options) for word in (options.a, options.b)]
        first, last = map(model.encode, ends)
    way = np.linspace(0, 1, options.steps, dtype=first.dtype)[:, None]
    made = model.decode((1 - way) * first + way * last)
    if out.suffix.lower() == ".png":
        sheet = Sheet(model)
        shares = [f"{share:.0%}" for share in way.flatten()]
        if model.target_shape is None:
            made, shares = np.concatenate([ends[0], made, ends[1]]), ["input A", *shares, "input B"]
        sheet.add_row(made, captions=shares)
        note = (
            f"A is {_name(options.a)}, B is {_name(options.b)}. Between them: decoded codes from "
            f"the straight line between their codes.{sheet.about}"
        )
        sheet.write(out, f"Between two {sheet.noun}s", note)
    else:
        write_samples(out, [made], options.steps, model)
    print(f"{options.steps} steps from {options.a} to {options.b}: {out}")


def _name(word: str) -> str:
    return f"row {word}" if word.isdecimal() else word


def _require_room(model: Model, count: int, where: str) -> None:
    """Raise UserError if `count` samples, which are made at once, do not fit into memory."""
    from aeframe.data.memory_map import require_room

    of_code = 4 * model.latent_dim
    written = model.description.data.written
    of_sample = math.prod(written.shape) * written.dtype.itemsize
    try:
        # codes are made from parts of the same size
        require_room(count * (3 * of_code + of_sample))
    except MemoryError as error:
        raise UserError(where, f"is {error}", "Write a smaller number.") from error


VERBS = (
    Verb(
        "reconstruct",
        "encode and decode samples",
        "aeframe reconstruct outputs/DAY/RUN my_images/ --out restored/",
        _add_reconstruct_arguments,
        _reconstruct,
    ),
    Verb(
        "sample",
        "draw new samples from a variational model",
        "aeframe sample outputs/DAY/RUN --n 64 --seed 1 --out grid.png",
        _add_sample_arguments,
        _sample,
    ),
    Verb(
        "interpolate",
        "draw the way between two samples",
        "aeframe interpolate outputs/DAY/RUN 3 17 --input mnist --root data --out strip.png",
        _add_interpolate_arguments,
        _interpolate,
    ),
)
