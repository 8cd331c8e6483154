"""Samples to codes, and codes to samples."""

from __future__ import annotations

import argparse
from typing import Any

from aeframe.cli.verbs.verb import Verb, add_input, add_out, add_run, loaded

TABLES = (".npy", ".npz", ".csv", ".parquet")


def _encode_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    add_input(parser)
    add_out(parser, f"the codes, one row for each sample: a file in {', '.join(TABLES)}")


def _encode(options: argparse.Namespace) -> None:
    from aeframe.cli.verbs.given import reading
    from aeframe.cli.verbs.inputs import opened
    from aeframe.cli.verbs.outputs import free_place, say, shown, write_rows

    out = free_place(options, TABLES)
    model = loaded(options)
    given = opened(options.input, model, options)
    with reading(given):
        codes = model.encode(shown(given.blocks(model.batch_size), given.count, "Encoding"))
        write_rows(out, codes, given.count, "z", given.names)
    say(out, f"Codes of {given.count:,} samples, {model.latent_dim} units each")


def _decode_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument("codes", metavar="CODES", help=f"what encode wrote: {', '.join(TABLES)}")
    parser.add_argument("--key", metavar="NAME", default="z", help="the array in an .npz (z)")
    add_out(parser, "a folder for pictures, or a file in .npy or .npz")


def _decode(options: argparse.Namespace) -> None:
    from aeframe.cli.verbs.given import reading
    from aeframe.cli.verbs.inputs import codes_in
    from aeframe.cli.verbs.outputs import free_place, say, shown
    from aeframe.cli.verbs.pictures import write_samples

    out = free_place(options, (".npy", ".npz"), folder=True)
    model = loaded(options)
    given = codes_in(options.codes, options.key, model)
    with reading(given):
        blocks: Any = shown(given.blocks(model.batch_size), given.count, "Decoding")
        write_samples(out, model.decode(blocks), given.count, model, given.names)
    say(out, f"{given.count:,} samples")


VERBS = (
    Verb(
        "encode",
        "samples to codes",
        "aeframe encode outputs/DAY/RUN my_images/ --out codes.npy",
        _encode_arguments,
        _encode,
    ),
    Verb(
        "decode",
        "codes to samples",
        "aeframe decode outputs/DAY/RUN codes.npy --out decoded/",
        _decode_arguments,
        _decode,
    ),
)
