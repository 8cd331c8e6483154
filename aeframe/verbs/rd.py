"""Rate and distortion of trained codecs, beside other formats."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from aeframe.errors import UserError
from aeframe.verbs.base import Verb

if TYPE_CHECKING:
    from aeframe.codec.codec import Codec
    from aeframe.codec.rd import Comparison


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="folders of runs on the same data, coarse and fine"
    )
    parser.add_argument(
        "--data", choices=["test", "val"], default="test", help="split of their data (test)"
    )
    parser.add_argument("--most", type=int, default=10_000, metavar="N", help="images (10000)")
    parser.add_argument("-o", "--out", metavar="FOLDER", help="for rd.json and rd.png")
    parser.add_argument("--force", action="store_true", help="replace what is there")


def _run(options: argparse.Namespace) -> None:
    from aeframe.codec import saved
    from aeframe.codec.curves import pca_curve, standards
    from aeframe.codec.rd import compared
    from aeframe.verbs.outputs import free_place
    from aeframe.verbs.own_data import own_data

    if options.most < 1:
        raise UserError(f"--most {options.most}", "must be at least 1")
    out = None
    if options.out is not None:
        out = free_place(options.out, (), force=options.force, folder=True)
    codecs = [(run, saved.load(run)) for run in options.runs]
    _check(codecs)
    _, data = own_data(codecs[0][1].model)
    train, held_out, images = (
        data.splits[split][:count].x.numpy()
        for split, count in (("train", None), ("val", None), (options.data, options.most))
    )
    others = [*(s.curve(images) for s in standards()), pca_curve(train, held_out, images)]
    found = compared(codecs, images, others)
    _show(found)
    if out is not None:
        _write(out, found)


def _check(codecs: list[tuple[str, Codec]]) -> None:
    """Raise UserError unless all are of the same images."""
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


def _show(found: Comparison) -> None:
    from rich.console import Console
    from rich.table import Table

    rows = found.rows()
    names = [name for name in rows[0] if name != "psnr" and any(row[name] for row in rows)]
    table = Table(title=f"Bytes for an image at the same PSNR ({found.images:,} images)")
    table.add_column("PSNR (dB)", justify="right")
    counts = {curve.name: curve.images for curve in found.others}
    for name in names:
        fewer = counts.get(name, found.images) < found.images
        head = f"{name}\n({counts[name]:,} images)" if fewer else name
        table.add_column(head, justify="right")
    for row in rows:
        own = row[names[0]]
        cells = [_cell(row[name], own if name != names[0] else None) for name in names]
        table.add_row(f"{row['psnr']:.2f}", *cells)
    Console().print(table)
    for run in found.runs:
        even, point = found.break_even(run), run.point
        pays = "" if even is None else f", paid for by {even:,} images (beside the best JPEG)"
        strange = ", ".join(f"{name} {psnr:.1f}" for name, psnr in run.stranger.items())
        print(f"{run.run}: {point.bytes:.2f} bytes, {point.psnr:.2f} dB")
        print(f"  {run.gap:+.2%} to the estimate; decoder of {run.decoder:,} bytes{pays}")
        print(f"  images unlike the training data, dB: {strange}")


def _cell(size: float | None, own: float | None) -> str:
    if size is None:
        return "-"
    return f"{size:.1f}" if own is None else f"{size:.1f}\n{size / own:.2f} x"


def _write(folder: Path, found: Comparison) -> None:
    from aeframe.codec.plot import drawn
    from aeframe.files import replaced

    folder.mkdir(parents=True, exist_ok=True)
    with replaced(folder / "rd.json") as file:
        file.write(f"{json.dumps(found.as_dict(), indent=1)}\n".encode())
    picture = drawn((found.ours, *found.others), min(found.levels) - 2, max(found.levels) + 4)
    with replaced(folder / "rd.png") as file:
        picture.save(file, "PNG")
    print(f"Rate and distortion: {folder}")


VERBS = (
    Verb(
        "rd",
        "rate and distortion beside JPEG, WebP, AVIF, PNG and PCA",
        "aeframe rd outputs/DAY/RUN_* --data test --out rd/",
        _arguments,
        _run,
    ),
)
