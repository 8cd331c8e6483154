"""Latent space of a variational model: its prior, and the meaning of each unit."""

from __future__ import annotations

import torch
from PIL import Image
from torch import Tensor

from aeframe.monitoring.dashboard.page import Page
from aeframe.monitoring.dashboard.painting import MARGIN, SMALL, lines, sheet, write
from aeframe.monitoring.dashboard.view import View

ROWS = 10  # units that are traversed
STEPS = 9  # values of each
REACH = 3.0  # standard deviations of the prior, below and above 0
PAIRS = 4  # pairs of samples to interpolate
SIZE = 15  # rows and columns of a manifold's grid
BARS = 256  # units whose nats are drawn
ACTIVE = 0.01  # nats from which a unit counts as active


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


def kl(view: View, page: Page) -> None:
    """Draw the KL term of each unit."""
    nats = view.passed.kl
    if nats is None:
        return
    said = (
        "Nats of each unit (KL of posterior and prior, averaged over validation samples), most first. A unit "
        f"with less than {ACTIVE} says nothing."
    )
    page.picture("kl_of_units", bars(nats.float().cpu()), said)


def bars(nats: Tensor) -> Image.Image:
    """Draw one bar for each unit, the largest first, with their sum as text."""
    height, order = 160, nats.argsort(descending=True, stable=True)
    shown, most = order[:BARS], max(float(nats.max()), 1e-12)
    width = max(2, min(24, 640 // len(shown)))
    levels = (nats[shown] / most * height).round().clamp(min=1)
    rows = torch.arange(height, 0, -1)[:, None]
    filled = (rows <= levels).repeat_interleave(width, 1)
    filled[:, width - 1 :: width] = False  # seams
    picture = Image.new("RGB", (MARGIN + filled.shape[1], height + 18), "white")
    steel = Image.new("RGB", (filled.shape[1], height), (70, 130, 180))
    picture.paste(steel, (MARGIN, 0), Image.fromarray(filled.byte().mul(255).numpy()))
    active = int((nats > ACTIVE).sum())
    total = f"largest\n{most:.2f} nats\n\nsum\n{nats.sum():.1f} nats\n\n{active} of {len(nats)}\nunits active"
    write(picture, (4, 2), total)
    for i, unit in enumerate(shown.tolist() if width == 24 else []):
        write(picture, (MARGIN + i * width + 4, height + 2), str(unit))
    return picture


def quantiles() -> Tensor:
    """Return codes of two units on a grid of equal shares of the prior, [SIZE**2, 2]."""
    each = torch.special.ndtri((torch.arange(SIZE, dtype=torch.float64) + 0.5) / SIZE)
    second, first = torch.meshgrid(each.flip(0), each, indexing="ij")
    return torch.stack([first.flatten(), second.flatten()], 1)


def _like(view: View, codes: Tensor) -> Tensor:
    return codes.to(next(view.net.model.decoder.parameters()))
