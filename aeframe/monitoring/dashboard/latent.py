"""Latent space of a variational model: its prior, and the meaning of each unit."""

from __future__ import annotations

import torch
from torch import Tensor

from aeframe.monitoring.dashboard.page import Page
from aeframe.monitoring.dashboard.painting import SMALL, lines, sheet
from aeframe.monitoring.dashboard.view import View

ROWS = 10  # units that are traversed
STEPS = 9  # values of each
REACH = 3.0  # standard deviations of the prior, below and above 0
PAIRS = 4  # pairs of samples to interpolate
SIZE = 15  # rows and columns of a manifold's grid


def samples(view: View, page: Page) -> None:
    """Draw samples from the prior, and a grid over the prior for two units."""
    model = view.net.model
    if "prior" not in model.gives:
        return
    noise = view.noise.derive_stream("prior")
    drawn = model.sample(4 * view.columns, noise, view.samples.few.device)
    rows = lines(view.paint.show(drawn, view.side), 8)
    said = "Mean images of codes drawn from the prior, the same codes each time."
    page.picture("samples", sheet(rows), said)
    if model.latent_dim == 2:
        rows = view.paint.show(model.reconstruct(_like(view, quantiles())), SMALL).split(SIZE)
        said = (
            f"Images of codes at {SIZE} x {SIZE} quantiles of the prior: the first unit grows to the "
            "right, the second upwards."
        )
        page.picture("manifold", sheet(rows), said)


def traversal(view: View, page: Page) -> None:
    """Draw what changes when one unit changes, for the units with the most nats."""
    kl = view.passed.kl
    if kl is None:
        return
    units = kl.argsort(descending=True, stable=True)[:ROWS].tolist()
    values = torch.linspace(-REACH, REACH, STEPS)
    base = view.passed.codes[:1]
    codes = base.repeat(len(units) * STEPS, 1)
    for row, unit in enumerate(units):
        codes[row * STEPS : (row + 1) * STEPS, unit] = values.to(base)
    rows = view.paint.show(view.net.model.reconstruct(codes), view.side).split(STEPS)
    names = [f"unit {unit}\n{kl[unit]:.2f} nats" for unit in units]
    said = (
        "The first validation sample's code with one unit at other values, in standard deviations of the "
        "prior. The units with the most nats (KL) first."
    )
    page.picture("traversal", sheet(rows, names, [f"{v:+.2g}" for v in values.tolist()]), said)


def interpolation(view: View, page: Page) -> None:
    """Draw the codes on the line between two validation samples."""
    x, net = view.samples.few, view.net
    pairs = min(PAIRS, len(x) // 2)
    if not net.is_stochastic or not pairs:
        return
    codes = net.encode(x).value
    way = torch.linspace(0, 1, STEPS - 1).to(codes)[:, None]
    rows = []
    for i in range(0, 2 * pairs, 2):
        between = net.model.reconstruct((1 - way) * codes[i] + way * codes[i + 1])
        line = torch.cat([x[i : i + 1], between, x[i + 1 : i + 2]])
        rows.append(view.paint.show(line, view.side))
    said = "Two validation samples, left and right, and images of the codes on the line between theirs."
    page.picture("interpolation", sheet(rows), said)


def quantiles() -> Tensor:
    """Return codes of two units on a grid of equal shares of the prior, [SIZE**2, 2]."""
    each = torch.special.ndtri((torch.arange(SIZE, dtype=torch.float64) + 0.5) / SIZE)
    second, first = torch.meshgrid(each.flip(0), each, indexing="ij")
    return torch.stack([first.flatten(), second.flatten()], 1)


def _like(view: View, codes: Tensor) -> Tensor:
    return codes.to(next(view.net.model.decoder.parameters()))
