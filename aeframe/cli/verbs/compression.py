"""Codes as compressed files, and back."""

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

ENDING = ".aez"
LOSS = 0.5  # dB that rounding may cost
BATCH = 1024  # samples that pass through the network at once


def _codec_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "run", metavar="RUN", help="folder of a run, whose training data is where it was"
    )
    parser.add_argument(
        "--step", type=float, metavar="S", help="round the code to multiples of S (see --loss)"
    )
    parser.add_argument(
        "--loss",
        type=float,
        metavar="DB",
        help=f"or what rounding may cost, in dB ({LOSS})",
    )
    parser.add_argument("--force", action="store_true", help="replace the codec that is there")
    add_compute(parser, BATCH)


def _codec(options: argparse.Namespace) -> None:
    from aeframe.cli.verbs.outputs import require_writable
    from aeframe.cli.verbs.own_data import own_data
    from aeframe.codec import codec_file as saved
    from aeframe.codec.calibration import calibrate
    from aeframe.runs import model_file as artifact

    folder = Path(options.run).expanduser()
    if not folder.is_dir():
        raise UserError(options.run, "is no folder", "Write the folder of a run.")
    for name, value in (("--step", options.step), ("--loss", options.loss)):
        if value is not None and not 0 < value < 1e9:
            raise UserError(f"{name} {value:g}", "must be above 0 and below 1e9")
    if options.step is not None and options.loss is not None:
        raise UserError("--step and --loss", "each say how coarse it is", "Leave one of them out.")
    if (folder / saved.CODEC).exists() and not options.force:
        what = "is there already, and what was compressed with it can be read with no other"
        remedy = "Write --force to replace it, or keep a copy of the run's folder."
        raise UserError(str(folder / saved.CODEC), what, remedy)
    require_writable(folder, options.run)
    model = artifact.load(folder, options.device, options.batch_size)
    made = calibrate(model, own_data(model, options.run)[1], options.step, options.loss or LOSS)
    if replaced := saved.save(folder, made):
        print(replaced)
    clusters, units, _ = made.tables.units.shape
    print(
        f"Codec of {units} units in steps of {made.step:g}, {clusters} clusters: {folder / saved.CODEC}"
    )


def _compress_arguments(parser: argparse.ArgumentParser) -> None:
    _add_run(parser)
    add_input(parser)
    add_out(parser, f"the compressed file, {ENDING}")
    parser.add_argument(
        "--on-unlike",
        choices=["error", "lossless", "keep"],
        default="error",
        help="samples unlike the training data, singly or as a group: refuse the file (error), store them "
        "as they are, or keep what comes back of them",
    )
    parser.add_argument(
        "--min-psnr",
        type=float,
        metavar="DB",
        help="a sample that comes back worse is unlike (3 below the worst held-out)",
    )
    parser.add_argument("--no-names", action="store_true", help="do not keep the names of files")


def _compress(options: argparse.Namespace) -> None:
    from aeframe.cli.verbs.given import reading
    from aeframe.cli.verbs.inputs import opened
    from aeframe.cli.verbs.outputs import free_place, say, shown, whole_file
    from aeframe.codec import aez_file as files
    from aeframe.codec.packing import Packer, count_rows_at_once

    out = free_place(options, (ENDING,))
    if options.min_psnr is not None and not math.isfinite(options.min_psnr):
        raise UserError(f"--min-psnr {options.min_psnr:g}", "is no finite number of dB")
    codec = _loaded(options)
    given = opened(options.input, codec.model, options, any_size=codec.any_size)
    packer = Packer(codec, options.on_unlike, options.min_psnr)
    blocks = shown(given.blocks(count_rows_at_once(codec)), given.count, "Compressing")
    with reading(given), whole_file(out) as file:
        names = None if options.no_names else given.names
        found = files.compress(packer, blocks, file, names)
    _summary(found, options.on_unlike, given)
    if names is not None and not found.named:
        print(
            "The files' names are not kept: hidden, too long, odd characters, or too many of them"
        )
    say(out, f"{found.samples:,} samples in {found.bytes:,} bytes")


def _summary(found: Summary, on_unlike: str, given: Input) -> None:
    import numpy as np

    gap = f"; {found.payload / found.estimate - 1:+.2%} to the estimate" if found.estimate else ""
    print(f"{found.bytes / found.samples:.2f} bytes a sample{gap}")
    low = np.percentile(found.psnr, 5, method="lower")
    most = "come back exactly" if np.isinf(low) else f"above {low:.2f} dB"
    print(f"{found.mean_psnr:.2f} dB of the mean error; 95 % of the samples {most}")
    if found.unlike:
        done = "stored as they are" if on_unlike == "lossless" else "kept as they come back"
        if given.changed and on_unlike == "lossless":
            done += f" once brought to {given.brought}"
        print(f"{found.unlike:,} samples unlike the training data, {done}")


def _decompress_arguments(parser: argparse.ArgumentParser) -> None:
    _add_run(parser)
    _add_file(parser)
    add_out(parser, "a folder for pictures, or a file in .npy or .npz")


def _decompress(options: argparse.Namespace) -> None:
    from aeframe.cli.verbs.outputs import free_place, say, shown
    from aeframe.cli.verbs.pictures import write_samples
    from aeframe.codec import aez_file as files

    out = free_place(options, (".npy", ".npz"), folder=True)
    codec, file = _loaded(options), _file(options)
    if codec.any_size and out.suffix:
        what = "no array holds images of different sizes"
        raise UserError(f"--out {options.out}", what, "Write a folder.")
    found = files.inspect(file)  # nothing is made of a file that is damaged anywhere
    if not found.samples:
        raise UserError(options.file, "holds no samples")
    blocks = shown(files.decompress(codec, file), found.samples, "Decompressing")
    write_samples(out, blocks, found.samples, codec.model, files.list_names(file, found))
    say(out, f"{found.samples:,} samples")


def _inspect(options: argparse.Namespace) -> None:
    from aeframe.codec import aez_file as files

    found = files.inspect(_file(options))
    kinds = "".join(f", {size:,} {kind}" for kind, size in found.kinds.items())
    shape = " x ".join(str(side or "any") for side in found.header.shape)
    print(
        f"samples: {found.samples:,} of {found.header.dtype}, {shape}; {found.stored:,} stored as they are"
    )
    print(f"model:   {found.header.identity.hex()}")
    print(f"bytes:   {found.bytes:,} in {found.sections:,} sections{kinds}")
    print("Every checksum is right.")


def _verify_arguments(parser: argparse.ArgumentParser) -> None:
    _add_run(parser)
    _add_file(parser)
    parser.add_argument("--against", nargs="+", metavar="INPUT", help="what was compressed")
    add_source(parser)


def _verify(options: argparse.Namespace) -> None:
    from aeframe.cli.verbs.given import reading
    from aeframe.cli.verbs.inputs import opened
    from aeframe.cli.verbs.outputs import shown
    from aeframe.codec import aez_file as files
    from aeframe.codec.codec import to_decibels
    from aeframe.codec.packing import count_rows_at_once

    codec, file = _loaded(options), _file(options)
    if not options.against:
        samples, mse = files.verify(codec, file, None)
    else:
        given = opened(options.against, codec.model, options, any_size=codec.any_size)
        against = shown(given.blocks(count_rows_at_once(codec)), given.count, "Comparing")
        with reading(given):
            samples, mse = files.verify(codec, file, against)
    if len(mse):
        worst = to_decibels(mse).min()
        print(
            f"{to_decibels(mse.mean()):.2f} dB of the mean error, {worst:.2f} dB of the worst sample"
        )
    print(f"{samples:,} samples decode, and every checksum is right: {file}")


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="folder of a run that has a codec.safetensors")
    add_compute(parser, BATCH)


def _loaded(options: argparse.Namespace) -> Codec:
    """The codec that a command names."""
    from aeframe.codec import codec_file as saved

    return saved.load(options.run, options.device, options.batch_size)


def _add_file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help=f"what compress wrote, {ENDING}")


def _file(options: argparse.Namespace) -> Path:
    return Path(options.file).expanduser()


VERBS = (
    Verb(
        "codec",
        "make a trained network fit for compression",
        "aeframe codec outputs/DAY/RUN --loss 0.5",
        _codec_arguments,
        _codec,
    ),
    Verb(
        "compress",
        "samples to a compressed file",
        "aeframe compress outputs/DAY/RUN my_images/ --out images.aez",
        _compress_arguments,
        _compress,
    ),
    Verb(
        "decompress",
        "a compressed file to samples",
        "aeframe decompress outputs/DAY/RUN images.aez --out restored/",
        _decompress_arguments,
        _decompress,
    ),
    Verb("inspect", "what a compressed file holds", "aeframe inspect x.aez", _add_file, _inspect),
    Verb(
        "verify",
        "whether a compressed file decodes, and to what it was made from",
        "aeframe verify outputs/DAY/RUN images.aez --against my_images/",
        _verify_arguments,
        _verify,
    ),
)
