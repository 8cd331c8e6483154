"""Comparison of trained codecs with standard image formats at the same quality."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from aeframe.codec.aez_file import compress, decompress
from aeframe.codec.codec import Codec, compute_errors, to_decibels
from aeframe.codec.codec_file import find_codec_file
from aeframe.codec.comparison.curves import Curve, Images, Point
from aeframe.codec.packing import Packer, count_rows_at_once
from aeframe.runs.model_file import find_model_file

OURS = "autoencoder"
BEST = ("JPEG, its best", "JPEG, flat tables, progressive")
FINENESS = 0.5  # dB from one row of the table to the next


@dataclass(frozen=True)
class Measured:
    """Results of one codec on a set of images.

    gap: share by which the bytes exceed the estimate. decoder: bytes of the files for decoding.
    stranger: the PSNR of images unlike the training data, by their kind.
    """

    run: str
    point: Point
    gap: float
    decoder: int
    stranger: dict[str, float]


def measure(run: str, codec: Codec, images: Images) -> Measured:
    """Compress images into a file, decompress it, and measure rate and PSNR."""
    step = count_rows_at_once(codec)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "x.aez"
        with file.open("wb") as opened:
            blocks = (images[i : i + step] for i in range(0, len(images), step))
            found = compress(Packer(codec, "keep"), blocks, opened)
        back = np.concatenate(list(decompress(codec, file)))
        size = file.stat().st_size
    mse = float(compute_errors(codec.model, images, back).mean())
    return Measured(
        run,
        Point(size / len(images), float(to_decibels(mse))),
        found.payload / found.estimate - 1,
        count_decoder_bytes(run),
        {name: _measure_psnr(codec, x) for name, x in make_strangers(images[:2000]).items()},
    )


def count_decoder_bytes(run: str) -> int:
    """Count the bytes of the two files for decoding: model and codec."""
    return find_model_file(run).stat().st_size + find_codec_file(run).stat().st_size


def _measure_psnr(codec: Codec, x: Images) -> float:
    return float(
        to_decibels(float(compute_errors(codec.model, x, codec.decode(codec.encode(x))).mean()))
    )


def make_strangers(images: Images) -> dict[str, Images]:
    """Make images unlike the given ones: negatives, and images with pixels from many images."""
    generator = np.random.default_rng(0)
    flat = images.reshape(len(images), -1)
    return {
        "negatives": 255 - images,
        "shuffled pixels": generator.permuted(flat, axis=0).reshape(images.shape),
    }


@dataclass(frozen=True)
class Comparison:
    """Comparison of codecs of the same data, from coarse to fine, with curves of other methods.

    pixels: of an image, for photographs the mean. unit: of rates, bytes for an image or bits per pixel.
    """

    runs: list[Measured]
    others: list[Curve]
    images: int
    pixels: float
    unit: Literal["bytes", "bpp"] = "bytes"

    @property
    def ours(self) -> Curve:
        """Rate-distortion curve of the codecs of these runs."""
        return Curve(OURS, [run.point for run in self.runs])

    @property
    def levels(self) -> list[float]:
        """PSNR of each row of the table."""
        found = sorted(run.point.psnr for run in self.runs)
        first, last = np.ceil(found[0] / FINENESS), np.floor(found[-1] / FINENESS)
        return [float(i * FINENESS) for i in np.arange(first, last + 1)] or found

    def list_rows(self) -> list[dict[str, float | None]]:
        """List the rows of the table: a PSNR, and the rate of each curve at it."""
        curves = [self.ours, *self.others]
        return [
            {"psnr": level, **{c.name: c.interpolate_rate(level) for c in curves}}
            for level in self.levels
        ]

    def count_break_even(self, run: Measured) -> int | None:
        """Count the images from which the codec, with its decoder, needs fewer bytes than the best JPEG.

        Returns None without a curve of JPEG, or if JPEG needs no more bytes.
        """
        best = next((c for c in self.others if c.name in BEST), None)
        theirs = None if best is None else best.interpolate_rate(run.point.psnr)
        if theirs is None or theirs <= run.point.rate:
            return None
        less = theirs - run.point.rate
        return int(
            np.ceil(run.decoder / (less if self.unit == "bytes" else less * self.pixels / 8))
        )

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON, with curves in the format of CompressAI."""
        return {
            "images": self.images,
            "curves": [self._format_curve(curve) for curve in (self.ours, *self.others)],
            "runs": [
                {
                    "run": run.run,
                    self.unit: run.point.rate,
                    "psnr": run.point.psnr,
                    "bytes_above_estimate": run.gap,
                    "decoder_bytes": run.decoder,
                    "images_that_pay_for_it": self.count_break_even(run),
                    "out_of_domain_psnr": run.stranger,
                }
                for run in self.runs
            ],
            "matched": self.list_rows(),
        }

    def _format_curve(self, curve: Curve) -> dict[str, Any]:
        points = sorted(curve.points)
        results = {self.unit: [p.rate for p in points], "psnr": [p.psnr for p in points]}
        if self.unit == "bytes":
            results["bpp"] = [8 * p.rate / self.pixels for p in points]
        return {"name": curve.name, "images": self.images, "results": results}


def compare_on_images(
    codecs: Sequence[tuple[str, Codec]], images: Images, others: list[Curve]
) -> Comparison:
    """Compare codecs with other curves on images, [N, C, H, W]."""
    runs = sorted((measure(run, codec, images) for run, codec in codecs), key=lambda m: m.point)
    return Comparison(runs, others, len(images), images.shape[2] * images.shape[3])
