"""Calibration: a codec from a trained model and its training data."""

from __future__ import annotations

import numpy as np
import torch

from aeframe.codec.codec import (
    Codec,
    Samples,
    compute_errors,
    count_tables,
    restore_samples,
    round_codes,
    to_decibels,
)
from aeframe.codec.entropy.fitting import count_bits, fit
from aeframe.codec.entropy.tables import FARTHEST
from aeframe.codec.likeness import MARGIN, Likeness, measure_likeness
from aeframe.codec.photographs import order_by_position
from aeframe.core.errors import UserError
from aeframe.data import DataModule
from aeframe.data.source import Share
from aeframe.runs.model import Model

SEEN = 100_000  # samples of a split for the tables, at most
HALVINGS = 12
CHANGES = 30  # doublings of the step, at most


def calibrate(
    model: Model, data: DataModule, step: float | None = None, loss: float = 0.5
) -> Codec:
    """Make the codec of a model: tables of frequencies of the rounded codes of its training split.

    Codes of a variational model are the means of the posteriors. step: width of rounding; None: the step of
    the model, or without one the step that costs `loss` dB of PSNR on the validation split. Raises
    UserError.
    """
    if model.target_shape is not None:
        what = "this model was trained with targets: it does not restore the samples that it reads"
        raise UserError("codec", what, "Train without dataset.target.")
    train, held_out = (take_spread(data, split, SEEN) for split in ("train", data.held_out))
    own = model.net.step
    if own is not None and step not in (None, own):
        what = f"this model was trained with rounding to steps of {own:g}"
        raise UserError(f"--step {step:g}", what, "Leave --step out.")
    if step is not None and (most := float(np.abs(model.encode(held_out)).max())) > step * FARTHEST:
        what = f"is too small for this code, with values up to {most:g}"
        raise UserError(f"--step {step:g}", what, f"Write more than {most / FARTHEST:.2g}.")
    step = own or step or find_step(model, held_out, loss)
    codes = round_codes(model, held_out, step)
    tables = fit(
        order_by_position(round_codes(model, train, step), count_tables(model)),
        order_by_position(codes, count_tables(model)),
    )
    psnr = to_decibels(compute_errors(model, held_out, restore_samples(model, codes, step)))
    if len(model.net.model.code_shape) > 1:
        return Codec(model, tables, float(step), Likeness(float(psnr.min()) - MARGIN))
    return Codec(model, tables, float(step), measure_likeness(psnr, count_bits(tables, codes)))


def find_step(model: Model, x: Samples, loss: float) -> float:
    """Find by bisection the step at which rounding costs `loss` dB of PSNR."""

    def psnr(step: float) -> float:
        return float(
            to_decibels(
                compute_errors(
                    model, x, restore_samples(model, round_codes(model, x, step), step)
                ).mean()
            )
        )

    high = low = float(np.abs(model.encode(x)).std()) / 64 or 1.0
    wanted = psnr(low) - loss
    for _ in range(CHANGES):
        if psnr(high) < wanted:
            break
        low, high = high, 2 * high
    for _ in range(HALVINGS):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if psnr(middle) >= wanted else (low, middle)
    return low


def take_spread(data: DataModule, split: str, most: int) -> Samples:
    """Take at most `most` samples of a split, as stored, spread evenly over it."""
    samples = data.splits[split]
    chosen = np.unique(np.linspace(0, len(samples) - 1, min(most, len(samples))).round())
    rows = torch.from_numpy(chosen.astype(np.int64))
    return samples[Share(rows, len(rows))].x.numpy()
