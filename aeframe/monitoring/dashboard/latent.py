"""Latent space of a variational model: its prior, and the meaning of each unit."""

from __future__ import annotations

import torch
from torch import Tensor

from aeframe.monitoring.dashboard.maps import COURSES, Axis, arrange_map, list_courses
from aeframe.monitoring.dashboard.page import Page
from aeframe.monitoring.dashboard.paper import fit_tiles
from aeframe.monitoring.dashboard.sheet import Row, add_sheet, split_rows
from aeframe.monitoring.dashboard.table_plots import Table
from aeframe.monitoring.dashboard.view import View

ROWS = 10  # units that are traversed
REACH = 3.0  # standard deviations of the prior, below and above 0
PAIRS = 4  # pairs of samples to interpolate
LINES = 5  # rows of samples from the prior
SIZE = 9  # rows and columns of a manifold's grid


def draw_samples(view: View, page: Page) -> None:
    """Draw samples from the prior, and a grid over the prior for two units."""
    model, paint = view.net.model, view.paint
    if "prior" not in model.gives:
        return
    noise = view.noise.derive_stream("prior")
    count = min(LINES, paint.tall) * paint.many
    drawn = model.sample(count, noise, view.samples.few.device)
    rows = split_rows([Row(paint.show(drawn, paint.fit(paint.many)))], paint.many)
    note = (
        f"Random codes, drawn from the prior and decoded; the same codes at each epoch.{paint.axes}"
    )
    add_sheet(page, "samples", f"New {view.nouns.sample}s", note, rows, paint.legend)
    if model.latent_dim == 2:
        _draw_manifold(view, page)


def _draw_manifold(view: View, page: Page) -> None:
    """Draw a map of the prior of two units."""
    codes = quantiles()
    images = view.net.model.reconstruct(codes.to(view.passed.codes))
    values = [f"{value:.1f}" for value in codes[:SIZE, 0].tolist()]
    made = arrange_map(view.paint, images, Axis(0, values), Axis(1, values), fit_tiles(SIZE))
    note = f"{made.note} Between any two neighbors lies the same share of the prior."
    add_sheet(page, "manifold", "Map of the code", note, made.rows)


def draw_traversal(view: View, page: Page) -> None:
    """Draw what changes when one unit changes, for the units with the most nats."""
    kl, paint = view.passed.kl, view.paint
    if kl is None:
        return
    units = kl.argsort(descending=True, stable=True)[:ROWS].tolist()
    values = torch.linspace(-REACH, REACH, SIZE if isinstance(paint, Table) else paint.many)
    base = view.passed.codes[:1]
    codes = base.repeat(len(units) * len(values), 1)
    for row, unit in enumerate(units):
        codes[row * len(values) : (row + 1) * len(values), unit] = values.to(base)
    decoded, width = view.net.model.reconstruct(codes), paint.fit(paint.many)
    if isinstance(paint, Table):
        rows, about = list_courses(paint, decoded, [f"unit {u}" for u in units], width), COURSES
    else:
        rows = [
            Row(paint.show(line, width), f"unit {unit}, {kl[unit]:.2f} nats")
            for line, unit in zip(decoded.split(len(values)), units, strict=True)
        ]
        rows[0] = rows[0]._replace(captions=[f"{value:g}" for value in values.tolist()])
        about = paint.axes
    note = (
        f"The code of {view.nouns.sample} 1 with one unit at another value, from {-REACH:+g} to {REACH:+g} "
        f"standard deviations of the prior. Units with the most nats (KL) come first.{about}"
    )
    add_sheet(page, "traversal", "Effect of each unit", note, rows, paint.legend)


def draw_interpolation(view: View, page: Page) -> None:
    """Draw the codes on the line between two samples."""
    x, targets, net, paint = view.samples.few, view.samples.few_targets, view.net, view.paint
    pairs = min(PAIRS, paint.tall, len(x) // 2)
    if not net.is_stochastic or not pairs:
        return
    codes = net.encode(x).value
    way = torch.linspace(0, 1, paint.many).to(codes)[1:-1, None]
    rows, noun = [], view.nouns.sample
    for i in range(0, 2 * pairs, 2):
        between = net.model.reconstruct((1 - way) * codes[i] + way * codes[i + 1])
        ends = (x[i : i + 1], x[i + 1 : i + 2])
        if targets is not None:
            ends = (targets[i : i + 1], targets[i + 1 : i + 2])
        line = torch.cat([ends[0], between, ends[1]])
        shares = [f"{share:.0%}" for share in way.flatten().tolist()]
        rows.append(
            Row(
                paint.show(line, paint.fit(paint.many)),
                "",
                [f"{noun} {i + 1}", *shares, f"{noun} {i + 2}"],
            )
        )
    note = (
        f"Two {view.samples.split} {noun}s, left and right. Between them: decoded codes from the "
        f"straight line between their codes.{paint.axes}"
    )
    add_sheet(page, "interpolation", f"Between two {noun}s", note, rows, paint.legend)


def quantiles() -> Tensor:
    """Return codes of two units on a grid of equal shares of the prior, [SIZE**2, 2]."""
    each = torch.special.ndtri((torch.arange(SIZE, dtype=torch.float64) + 0.5) / SIZE)
    second, first = torch.meshgrid(each.flip(0), each, indexing="ij")
    return torch.stack([first.flatten(), second.flatten()], 1)
