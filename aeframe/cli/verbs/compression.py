"""The verbs of compression: codec, compress, decompress, inspect and verify."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from aeframe.cli.verbs.verb import Verb, add_compute, add_input, add_out, add_source
from aeframe.core.errors import UserError

if TYPE_CHECKING:
    from aeframe.cli.verbs.given import Input
    from aeframe.codec.aez_file import Summary
    from aeframe.codec.codec import Codec
    from aeframe.data import Nouns

ENDING = ".aez"
LOSS = 0.5  # dB of PSNR that rounding may cost
BATCH = 1024  # samples in one pass through the network


def _add_codec_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "run", metavar="RUN", help="folder of a run; its training data must still be where it was"
    )
    parser.add_argument(
        "--step", type=float, metavar="S", help="round the code to multiples of S (see --loss)"
    )
    parser.add_argument(
        "--loss",
        type=float,
        metavar="DB",
        help=f"or the PSNR that rounding may cost, in dB (default: {LOSS})",
    )
    parser.add_argument("--force", action="store_true", help="replace an existing codec")
    add_compute(parser, BATCH)


def _make_codec(options: argparse.Namespace) -> None:
    from aeframe.cli.verbs.outputs import require_writable
    from aeframe.cli.verbs.own_data import load_run_data
    from aeframe.codec import codec_file as saved
    from aeframe.codec.calibration import calibrate
    from aeframe.runs import model_file as artifact

    folder = Path(options.run).expanduser()
    if not folder.is_dir():
        raise UserError(options.run, "is not a folder", "Write the folder of a run.")
    for name, value in (("--step", options.step), ("--loss", options.loss)):
        if value is not None and not 0 < value < 1e9:
            raise UserError(f"{name} {value:g}", "must be above 0 and below 1e9")
    if options.step is not None and options.loss is not None:
        raise UserError(
            "--step and --loss", "both set how much is rounded", "Leave one of them out."
        )
    if (folder / saved.CODEC).exists() and not options.force:
        what = "exists already; files compressed with it cannot be read without it"
        remedy = "Write --force to replace it, or keep a copy of the run's folder."
        raise UserError(str(folder / saved.CODEC), what, remedy)
    require_writable(folder, options.run)
    model = artifact.load(folder, options.device, options.batch_size)
    made = calibrate(
        model, load_run_data(model, options.run)[1], options.step, options.loss or LOSS
    )
    if replaced := saved.save(folder, made):
        print(replaced)
    clusters, units, _ = made.tables.units.shape
    print(
        f"Codec of {units} units in steps of {made.step:g}, {clusters} clusters: {folder / saved.CODEC}"
    )


def _add_compress_arguments(parser: argparse.ArgumentParser) -> None:
    _add_run(parser)
    add_input(parser)
    add_out(parser, f"the compressed file, {ENDING}")
    parser.add_argument(
        "--on-unlike",
        choices=["error", "lossless", "keep"],
        default="error",
        help="samples or groups unlike the training data: refuse the file (error), store these samples "
        "losslessly, or keep their reconstructions",
    )
    parser.add_argument(
        "--min-psnr",
        type=float,
        metavar="DB",
        help="a sample with a lower PSNR is unlike the training data (default: 3 dB below the worst"
        " held-out sample)",
    )
    parser.add_argument("--no-names", action="store_true", help="do not store the names of files")


def _compress(options: argparse.Namespace) -> None:
    from aeframe.cli.verbs.given import explain_samples
    from aeframe.cli.verbs.inputs import open_input
    from aeframe.cli.verbs.outputs import check_output_path, replace_file, show_progress
    from aeframe.codec import aez_file as files
    from aeframe.codec.packing import Packer, count_rows_at_once

    out = check_output_path(options, (ENDING,))
    if options.min_psnr is not None and not math.isfinite(options.min_psnr):
        raise UserError(f"--min-psnr {options.min_psnr:g}", "is not a finite number of dB")
    codec = _load_codec(options)
    samples = open_input(options.input, codec.model, options, any_size=codec.any_size)
    packer = Packer(codec, options.on_unlike, options.min_psnr)
    blocks = show_progress(samples.blocks(count_rows_at_once(codec)), samples.count, "Compressing")
    with explain_samples(samples), replace_file(out) as file:
        names = None if options.no_names else samples.names
        summary = files.compress(packer, blocks, file, names)
    nouns = codec.model.description.data.nouns
    _print_summary(summary, options.on_unlike, samples, nouns)
    if names is not None and not summary.named:
        print(
            "File names are not stored: some are hidden, too long or unusual, or there are too many"
        )
    print(f"{nouns.count_samples(summary.samples)} in {summary.bytes:,} bytes: {out}")


def _print_summary(summary: Summary, on_unlike: str, samples: Input, nouns: Nouns) -> None:
    import numpy as np

    gap = (
        f"; {summary.payload / summary.estimate - 1:+.2%} against the estimate"
        if summary.estimate
        else ""
    )
    print(f"{summary.bytes / summary.samples:.2f} bytes for each {nouns.sample}{gap}")
    low = np.percentile(summary.psnr, 5, method="lower")
    most = "without any error" if np.isinf(low) else f"above {low:.2f} dB"
    print(f"{summary.mean_psnr:.2f} dB of the mean error; 95 % of the {nouns.sample}s {most}")
    if summary.unlike:
        done = "stored losslessly" if on_unlike == "lossless" else "stored as their reconstructions"
        if samples.changed and on_unlike == "lossless":
            done += f" after conversion to {samples.converted_to}"
        print(f"{nouns.count_samples(summary.unlike)} unlike the training data, {done}")


def _add_decompress_arguments(parser: argparse.ArgumentParser) -> None:
    _add_run(parser)
    _add_file(parser)
    add_out(parser, "a folder for pictures, or a file in .npy or .npz")


def _decompress(options: argparse.Namespace) -> None:
    from aeframe.cli.verbs.outputs import check_output_path, show_progress
    from aeframe.cli.verbs.pictures import write_samples
    from aeframe.codec import aez_file as files

    out = check_output_path(options, (".npy", ".npz"), folder=True)
    codec, file = _load_codec(options), _find_file(options)
    if codec.any_size and out.suffix:
        what = "one array cannot hold images of different sizes"
        raise UserError(f"--out {options.out}", what, "Write a folder.")
    found = files.inspect(file)  # refuses a damaged file before anything is written
    if not found.samples:
        raise UserError(options.file, "holds no samples")
    blocks = show_progress(files.decompress(codec, file), found.samples, "Decompressing")
    write_samples(out, blocks, found.samples, codec.model, files.list_names(file, found))
    print(f"{codec.model.description.data.nouns.count_samples(found.samples)}: {out}")


def _inspect(options: argparse.Namespace) -> None:
    from aeframe.codec import aez_file as files

    found = files.inspect(_find_file(options))
    kinds = "".join(f", {size:,} {kind}" for kind, size in found.kinds.items())
    shape = " x ".join(str(side or "any") for side in found.header.shape)
    print(
        f"samples: {found.samples:,} of {found.header.dtype}, {shape}; {found.stored:,} stored losslessly"
    )
    print(f"model:   {found.header.identity.hex()}")
    print(f"bytes:   {found.bytes:,} in {found.sections:,} sections{kinds}")
    print("Every checksum is right.")


def _add_verify_arguments(parser: argparse.ArgumentParser) -> None:
    _add_run(parser)
    _add_file(parser)
    parser.add_argument(
        "--against", nargs="+", metavar="INPUT", help="the original samples, to compare with"
    )
    add_source(parser)


def _verify(options: argparse.Namespace) -> None:
    from aeframe.cli.verbs.given import explain_samples
    from aeframe.cli.verbs.inputs import open_input
    from aeframe.cli.verbs.outputs import show_progress
    from aeframe.codec import aez_file as files
    from aeframe.codec.codec import to_decibels
    from aeframe.codec.packing import count_rows_at_once

    codec, file = _load_codec(options), _find_file(options)
    if not options.against:
        samples, mse = files.verify(codec, file, None)
    else:
        given = open_input(options.against, codec.model, options, any_size=codec.any_size)
        against = show_progress(given.blocks(count_rows_at_once(codec)), given.count, "Comparing")
        with explain_samples(given):
            samples, mse = files.verify(codec, file, against)
    nouns = codec.model.description.data.nouns
    if len(mse):
        worst = to_decibels(mse).min()
        print(
            f"{to_decibels(mse.mean()):.2f} dB of the mean error, {worst:.2f} dB of the worst {nouns.sample}"
        )
    print(f"{nouns.count_samples(samples)} decode, and every checksum is right: {file}")


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="folder of a run that has a codec.safetensors")
    add_compute(parser, BATCH)


def _load_codec(options: argparse.Namespace) -> Codec:
    """Load the codec that the command names."""
    from aeframe.codec import codec_file as saved

    return saved.load(options.run, options.device, options.batch_size)


def _add_file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help=f"a file from compress, {ENDING}")


def _find_file(options: argparse.Namespace) -> Path:
    return Path(options.file).expanduser()


VERBS = (
    Verb(
        "codec",
        "prepare a trained network for compression",
        "aeframe codec outputs/DAY/RUN --loss 0.5",
        _add_codec_arguments,
        _make_codec,
    ),
    Verb(
        "compress",
        "compress samples to a file",
        "aeframe compress outputs/DAY/RUN my_images/ --out images.aez",
        _add_compress_arguments,
        _compress,
    ),
    Verb(
        "decompress",
        "restore the samples of a compressed file",
        "aeframe decompress outputs/DAY/RUN images.aez --out restored/",
        _add_decompress_arguments,
        _decompress,
    ),
    Verb(
        "inspect",
        "show the contents of a compressed file",
        "aeframe inspect x.aez",
        _add_file,
        _inspect,
    ),
    Verb(
        "verify",
        "check a compressed file, also against the original samples",
        "aeframe verify outputs/DAY/RUN images.aez --against my_images/",
        _add_verify_arguments,
        _verify,
    ),
)
