"""The verb rd: rate and distortion of trained codecs, compared with other formats."""

from __future__ import annotations

import argparse
import math
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from aeframe.cli.verbs.verb import SPLITS, Verb, add_compute, add_max_megapixels, add_on_bad_sample
from aeframe.core.errors import UserError
from aeframe.core.strict_json import format_json

if TYPE_CHECKING:
    from aeframe.cli.verbs.given import Input
    from aeframe.codec.codec import Codec
    from aeframe.codec.comparison.images import Comparison

    Codecs = list[tuple[str, Codec]]

BATCH = 1024  # samples in one pass through the network
FOR_PCA = 20_000  # training images, spread over the split
UNITS = {"bytes": "bytes for an image", "bpp": "bits per pixel"}
AVERAGED = {
    "bytes": "Bytes of whole files divided by the number of images, and the PSNR of the mean error. The "
    "size of networks, components and tables is not counted.",
    "bpp": "Means over the images of bits per pixel and of PSNR, with one file for each image in every "
    "format. The size of networks and tables is not counted.",
}


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        help="folders of runs on the same data, of different rates",
    )
    parser.add_argument(
        "--data",
        default="test",
        metavar="SPLIT",
        help="their test or val split, or a folder of images (default: test)",
    )
    parser.add_argument(
        "--most",
        type=int,
        default=10_000,
        metavar="N",
        help="use at most N images (default: 10000)",
    )
    add_on_bad_sample(parser)
    add_max_megapixels(parser)
    add_compute(parser, BATCH)
    parser.add_argument("-o", "--out", metavar="FOLDER", help="for rd.json and rd.png")
    parser.add_argument("--force", action="store_true", help="replace existing files")


def _run(options: argparse.Namespace) -> None:
    from aeframe.cli.verbs.outputs import check_output_path
    from aeframe.codec import codec_file as saved

    if options.most < 1:
        raise UserError(f"--most {options.most}", "must be at least 1")
    out = None
    if options.out is not None:
        out = check_output_path(options, (), folder=True)
    codecs = [(run, saved.load(run, options.device, options.batch_size)) for run in options.runs]
    _check(codecs, options.data)
    any_size = codecs[0][1].any_size
    found = _compare_photographs(codecs, options) if any_size else _compare_images(codecs, options)
    _show(found)
    if out is not None:
        _write(out, found)


def _compare_images(codecs: Codecs, options: argparse.Namespace) -> Comparison:
    """Compare formats on images of one size, many in a file."""
    import numpy as np

    from aeframe.cli.verbs.given import explain_samples
    from aeframe.cli.verbs.own_data import load_run_data, select_split
    from aeframe.codec.calibration import take_spread
    from aeframe.codec.comparison.curves import list_standards, measure_pca
    from aeframe.codec.comparison.images import compare_on_images

    model = codecs[0][1].model
    _, data = load_run_data(model, codecs[0][0])
    if options.data in SPLITS:
        images = select_split(data, options.data)[: options.most].x.numpy()
    else:
        given = _open([options.data], codecs[0][1], options)
        blocks = islice(given.blocks(BATCH), math.ceil(options.most / BATCH))
        with explain_samples(given):
            images = np.concatenate(list(blocks))[: options.most]
    train, held_out = (take_spread(data, split, FOR_PCA) for split in ("train", data.held_out))
    others = [
        *(s.measure_curve(images) for s in list_standards()),
        measure_pca(train, held_out, images),
    ]
    return compare_on_images(codecs, images, others)


def _compare_photographs(codecs: Codecs, options: argparse.Namespace) -> Comparison:
    """Compare formats on whole images, also if the network was trained on crops."""
    from aeframe.cli.verbs.given import explain_samples
    from aeframe.cli.verbs.outputs import show_progress
    from aeframe.cli.verbs.own_data import list_image_files, load_run_data
    from aeframe.codec.comparison.whole_photographs import compare_on_photographs

    words = [options.data]
    if options.data in SPLITS:
        words = list_image_files(load_run_data(codecs[0][1].model, codecs[0][0])[1], options.data)
    given = _open(words, codecs[0][1], options)
    count = min(given.count, options.most)
    with explain_samples(given):
        return compare_on_photographs(
            codecs, show_progress(islice(given.blocks(1), count), count, "Comparing")
        )


def _open(words: list[str], codec: Codec, options: argparse.Namespace) -> Input:
    from aeframe.cli.verbs.inputs import open_input

    given = argparse.Namespace(**{**vars(options), "key": None, "root": "data", "split": None})
    return open_input(words, codec.model, given, any_size=codec.any_size)


def _check(codecs: Codecs, data: str) -> None:
    """Raise UserError unless all runs have the same data. data: the images to measure on."""
    if data not in SPLITS and not Path(data).expanduser().exists():
        what = "is neither a split nor a folder"
        raise UserError(f"--data {data}", what, "Write test, val, or a folder of images.")
    first = codecs[0][1].model
    if (
        len(first.shape) != 3
        or first.shape[0] not in (1, 3)
        or first.description.data.stored != (0, 255)
    ):
        what = "samples are not 8-bit images, which the other formats need"
        raise UserError(codecs[0][0], what)
    for run, codec in codecs:
        if codec.model.config["dataset"] != first.config["dataset"]:
            raise UserError(run, f"was trained on other data than {codecs[0][0]}", "Leave it out.")
        if codec.any_size != codecs[0][1].any_size:
            what = "handles image sizes in another way than the others"
            raise UserError(run, what, "Leave it out.")


def _show(found: Comparison) -> None:
    from rich.console import Console
    from rich.table import Table

    rows = found.list_rows()
    names = [name for name in rows[0] if name != "psnr" and any(row[name] for row in rows)]
    unit = UNITS[found.unit]
    title = f"{unit[0].upper()}{unit[1:]} at the same PSNR ({found.images:,} images)"
    table = Table(title=title)
    table.add_column("PSNR (dB)", justify="right")
    for name in names:
        table.add_column(name, justify="right")
    digits = 1 if found.unit == "bytes" else 3
    for row in rows:
        own = row[names[0]]
        cells = [
            _format_rate(row[name], own if name != names[0] else None, digits) for name in names
        ]
        table.add_row(f"{row['psnr']:.2f}", *cells)
    Console(markup=False).print(table)
    if absent := [name for name in rows[0] if name not in ("psnr", *names)]:
        print(f"At none of these PSNRs: {'; '.join(absent)}.")
    print(AVERAGED[found.unit])
    for run in found.runs:
        even, point = found.count_break_even(run), run.point
        pays = (
            "" if even is None else f", pays off from {even:,} images (compared with the best JPEG)"
        )
        strange = ", ".join(f"{name} {psnr:.1f}" for name, psnr in run.stranger.items())
        print(f"{run.run}: {point.rate:.{digits + 1}f} {found.unit}, {point.psnr:.2f} dB")
        print(f"  {run.gap:+.2%} against the estimate; decoder of {run.decoder:,} bytes{pays}")
        if strange:
            print(f"  images unlike the training data, dB: {strange}")


def _format_rate(rate: float | None, own: float | None, digits: int) -> str:
    if rate is None:
        return "-"
    return f"{rate:.{digits}f}" if own is None else f"{rate:.{digits}f}\n{rate / own:.2f} x"


def _write(folder: Path, found: Comparison) -> None:
    from aeframe.codec.comparison.plot import draw_curves
    from aeframe.core.files import write_atomically

    folder.mkdir(parents=True, exist_ok=True)
    with write_atomically(folder / "rd.json") as file:
        file.write(f"{format_json(found.as_dict(), indent=1)}\n".encode())
    low, high = min(found.levels) - 2, max(found.levels) + 4
    picture = draw_curves((found.ours, *found.others), low, high, UNITS[found.unit])
    with write_atomically(folder / "rd.png") as file:
        picture.save(file, "PNG")
    print(f"Rate and distortion: {folder}")


VERBS = (
    Verb(
        "rd",
        "compare rate and distortion with JPEG, WebP, AVIF, PNG and PCA",
        "aeframe rd outputs/DAY/RUN_* --data test --out rd/\n"
        "  aeframe rd outputs/DAY/PHOTOS_* --data photos/test/ --out rd/",
        _add_arguments,
        _run,
    ),
)
