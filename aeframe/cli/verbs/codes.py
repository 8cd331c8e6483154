"""The verbs encode and decode: samples to codes, and codes to samples."""

from __future__ import annotations

import argparse
from typing import Any

from aeframe.cli.verbs.verb import Verb, add_input, add_out, add_run, load_model

TABLES = (".npy", ".npz", ".csv", ".parquet")


def _add_encode_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    add_input(parser)
    sparse = "; sparse codes in .npz are a sparse matrix, for scipy.sparse.load_npz"
    add_out(parser, f"the codes, one row for each sample: a file in {', '.join(TABLES)}{sparse}")


def _encode(options: argparse.Namespace) -> None:
    from aeframe.cli.verbs.given import explain_samples
    from aeframe.cli.verbs.inputs import open_input
    from aeframe.cli.verbs.outputs import check_output_path, show_progress, write_rows
    from aeframe.cli.verbs.sparse_codes import are_codes_sparse, write_sparse
    from aeframe.cli.verbs.table_inputs import are_tables, open_tables
    from aeframe.cli.verbs.table_results import is_table_path, write_codes

    out = check_output_path(options, TABLES)
    model = load_model(options)
    if is_table_path(out) and are_tables(options.input, model):
        table = open_tables(options.input, model)
        write_codes(out, table)
        print(f"Codes of {table.count:,} rows, {model.latent_dim} units each: {out}")
        return
    given = open_input(options.input, model, options)
    is_sparse, active = out.suffix.lower() == ".npz" and are_codes_sparse(model), ""
    with explain_samples(given):
        codes = model.encode(show_progress(given.blocks(model.batch_size), given.count, "Encoding"))
        if is_sparse:
            texts = {"name": given.names, "label": given.labels}
            shape = (given.count, model.latent_dim)
            count = write_sparse(out, codes, shape, {k: v for k, v in texts.items() if v})
            active = f" ({count / given.count:.3g} of them active, in a sparse matrix)"
        else:
            write_rows(out, codes, given.count, "z", given.names, given.labels)
    nouns = model.description.data.nouns
    print(
        f"Codes of {nouns.count_samples(given.count)}, {model.latent_dim} units each{active}: {out}"
    )


def _add_decode_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument("codes", metavar="CODES", help=f"codes from encode: {', '.join(TABLES)}")
    parser.add_argument(
        "--key", metavar="NAME", default="z", help="name of the array in an .npz file (default: z)"
    )
    add_out(parser, "a folder for images, a .npy or .npz file, or a .csv or .parquet table")


def _decode(options: argparse.Namespace) -> None:
    from aeframe.cli.verbs.given import explain_samples
    from aeframe.cli.verbs.inputs import open_codes
    from aeframe.cli.verbs.outputs import check_output_path, show_progress
    from aeframe.cli.verbs.pictures import write_samples
    from aeframe.cli.verbs.table_results import require_suitable

    out = check_output_path(options, TABLES, folder=True)
    model = load_model(options)
    require_suitable(out, model)
    given = open_codes(options.codes, options.key, model)
    with explain_samples(given):
        blocks: Any = show_progress(given.blocks(model.batch_size), given.count, "Decoding")
        write_samples(out, model.decode(blocks), given.count, model, given.names)
    print(f"{model.description.data.nouns.count_samples(given.count)}: {out}")


VERBS = (
    Verb(
        "encode",
        "encode samples to codes",
        "aeframe encode outputs/DAY/RUN my_images/ --out codes.npy",
        _add_encode_arguments,
        _encode,
    ),
    Verb(
        "decode",
        "decode codes to samples",
        "aeframe decode outputs/DAY/RUN codes.npy --out decoded/",
        _add_decode_arguments,
        _decode,
    ),
)
