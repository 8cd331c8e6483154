"""Rate and distortion of trained codecs, beside other formats."""

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

BATCH = 1024  # samples that pass through the network at once
FOR_PCA = 20_000  # training images, spread over the split
UNITS = {"bytes": "bytes for an image", "bpp": "bits per pixel"}
AVERAGED = {
    "bytes": "Bytes of whole files over the number of images, and the PSNR of the mean error of all; "
    "networks, components and tables are there beforehand, and count for none of it.",
    "bpp": "Means over the images of bits per pixel and of PSNR, of a whole file for each image in every "
    "format; networks and tables are there beforehand, and count for none of it.",
}


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="folders of runs on the same data, coarse and fine"
    )
    parser.add_argument(
        "--data",
        default="test",
        metavar="SPLIT",
        help="test or val of their data, or a folder of images (test)",
    )
    parser.add_argument("--most", type=int, default=10_000, metavar="N", help="images (10000)")
    add_on_bad_sample(parser)
    add_max_megapixels(parser)
    add_compute(parser, BATCH)
    parser.add_argument("-o", "--out", metavar="FOLDER", help="for rd.json and rd.png")
    parser.add_argument("--force", action="store_true", help="replace what is there")


def _run(options: argparse.Namespace) -> None:
    from aeframe.cli.verbs.outputs import free_place
    from aeframe.codec import codec_file as saved

    if options.most < 1:
        raise UserError(f"--most {options.most}", "must be at least 1")
    out = None
    if options.out is not None:
        out = free_place(options, (), folder=True)
    codecs = [(run, saved.load(run, options.device, options.batch_size)) for run in options.runs]
    _check(codecs, options.data)
    any_size = codecs[0][1].any_size
    found = _of_photographs(codecs, options) if any_size else _of_images(codecs, options)
    _show(found)
    if out is not None:
        _write(out, found)


def _of_images(codecs: Codecs, options: argparse.Namespace) -> Comparison:
    """All of one size: so many to a file."""
    import numpy as np

    from aeframe.cli.verbs.given import reading
    from aeframe.cli.verbs.own_data import own_data, samples_of
    from aeframe.codec.calibration import take_spread
    from aeframe.codec.comparison.curves import list_standards, measure_pca
    from aeframe.codec.comparison.images import compare_on_images

    model = codecs[0][1].model
    _, data = own_data(model, codecs[0][0])
    if options.data in SPLITS:
        images = samples_of(data, options.data)[: options.most].x.numpy()
    else:
        given = _opened([options.data], codecs[0][1], options)
        blocks = islice(given.blocks(BATCH), math.ceil(options.most / BATCH))
        with reading(given):
            images = np.concatenate(list(blocks))[: options.most]
    train, held_out = (take_spread(data, split, FOR_PCA) for split in ("train", data.held_out))
    others = [*(s.curve(images) for s in list_standards()), measure_pca(train, held_out, images)]
    return compare_on_images(codecs, images, others)


def _of_photographs(codecs: Codecs, options: argparse.Namespace) -> Comparison:
    """Whole images, whatever the size of the crops that the network was trained on."""
    from aeframe.cli.verbs.given import reading
    from aeframe.cli.verbs.outputs import shown
    from aeframe.cli.verbs.own_data import own_data, whole_files
    from aeframe.codec.comparison.whole_photographs import compare_on_photographs

    words = [options.data]
    if options.data in SPLITS:
        words = whole_files(own_data(codecs[0][1].model, codecs[0][0])[1], options.data)
    given = _opened(words, codecs[0][1], options)
    count = min(given.count, options.most)
    with reading(given):
        return compare_on_photographs(
            codecs, shown(islice(given.blocks(1), count), count, "Comparing")
        )


def _opened(words: list[str], codec: Codec, options: argparse.Namespace) -> Input:
    from aeframe.cli.verbs.inputs import opened

    given = argparse.Namespace(**{**vars(options), "key": None, "root": "data", "split": None})
    return opened(words, codec.model, given, any_size=codec.any_size)


def _check(codecs: Codecs, data: str) -> None:
    """Raise UserError unless all are of the same images. data: what they are measured on."""
    if data not in SPLITS and not Path(data).expanduser().exists():
        what = "is neither a split nor a folder"
        raise UserError(f"--data {data}", what, "Write test, val, or a folder of images.")
    first = codecs[0][1].model
    if (
        len(first.shape) != 3
        or first.shape[0] not in (1, 3)
        or first.description.data.stored != (0, 255)
    ):
        what = "samples are no images of bytes, which the other formats need"
        raise UserError(codecs[0][0], what)
    for run, codec in codecs:
        if codec.model.config["dataset"] != first.config["dataset"]:
            raise UserError(run, f"was trained on other data than {codecs[0][0]}", "Leave it out.")
        if codec.any_size != codecs[0][1].any_size:
            what = "takes images of one size or of any, and the others do not"
            raise UserError(run, what, "Leave it out.")


def _show(found: Comparison) -> None:
    from rich.console import Console
    from rich.table import Table

    rows = found.rows()
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
        cells = [_cell(row[name], own if name != names[0] else None, digits) for name in names]
        table.add_row(f"{row['psnr']:.2f}", *cells)
    Console(markup=False).print(table)
    if absent := [name for name in rows[0] if name not in ("psnr", *names)]:
        print(f"At none of these PSNRs: {'; '.join(absent)}.")
    print(AVERAGED[found.unit])
    for run in found.runs:
        even, point = found.break_even(run), run.point
        pays = "" if even is None else f", paid for by {even:,} images (beside the best JPEG)"
        strange = ", ".join(f"{name} {psnr:.1f}" for name, psnr in run.stranger.items())
        print(f"{run.run}: {point.rate:.{digits + 1}f} {found.unit}, {point.psnr:.2f} dB")
        print(f"  {run.gap:+.2%} to the estimate; decoder of {run.decoder:,} bytes{pays}")
        if strange:
            print(f"  images unlike the training data, dB: {strange}")


def _cell(rate: float | None, own: float | None, digits: int) -> str:
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
        "rate and distortion beside JPEG, WebP, AVIF, PNG and PCA",
        "aeframe rd outputs/DAY/RUN_* --data test --out rd/\n"
        "  aeframe rd outputs/DAY/PHOTOS_* --data photos/test/ --out rd/",
        _arguments,
        _run,
    ),
)
