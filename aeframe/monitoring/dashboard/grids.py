"""Grids of inputs and reconstructions, one column for each sample."""

from __future__ import annotations

import torch

from aeframe.models.autoencoder import Output
from aeframe.monitoring.dashboard.page import Page
from aeframe.monitoring.dashboard.painting import Painter
from aeframe.monitoring.dashboard.sheet import Row, add_sheet, split_rows
from aeframe.monitoring.dashboard.view import View


def draw_reconstructions(view: View, page: Page) -> None:
    """Draw the reconstructions of a few samples, the same each time."""
    rows = compare(
        view.output, view.net.has_corruption, view.paint, view.number_samples(view.columns)
    )
    note = f"The same {view.samples.split} {view.nouns.sample}s each time.{view.paint.over}{view.paint.axes}"
    rows = split_rows(rows, view.paint.columns)
    add_sheet(page, "reconstructions", "Reconstructions", note, rows, view.paint.legend)


def draw_extremes(view: View, page: Page) -> None:
    """Draw the samples with the largest and the smallest error, without corruption or sampling."""
    net, error = view.net, view.passed.error
    order = error.argsort(descending=True, stable=True)
    n = min(view.columns, len(order))
    for name, adjective, chosen in (
        ("worst", "largest", order[:n]),
        ("best", "smallest", order.flip(0)[:n]),
    ):
        x = view.samples.many[chosen]
        output = net(x, noise=view.noise, as_trained=net.has_corruption)
        squares = [f"{value:.2g}" for value in error[chosen].tolist()]
        rows = compare(output, net.has_corruption, view.paint, squares)
        note = (
            f"The {view.nouns.sample}s with the {adjective} mean squared error (the numbers), of "
            f"{len(order):,} {view.samples.split} {view.nouns.sample}s.{view.paint.over}{view.paint.axes}"
        )
        rows = split_rows(rows, view.paint.columns)
        title = f"{name.capitalize()} reconstructions"
        add_sheet(page, name, title, note, rows, view.paint.legend)


def draw_corruptions(view: View, page: Page) -> None:
    """Draw each corruption alone and all together, with the reconstructions."""
    net, x, paint = view.net, view.samples.few[: view.paint.columns], view.paint
    parts = net.list_having("corrupt")
    if len(parts) < 2:
        return
    few = net.normalization.fill(view.samples.few)
    found = [(n, part.corrupt(few, view.noise.derive_stream(n), net.clock)) for n, part in parts]
    inputs = [(name, change.x) for name, change in found if change is not None]
    inputs.append(("all together", view.output.corrupted))
    rows = [Row(paint.show(x), "input", view.number_samples(len(x)))]
    for name, corrupted in inputs:
        restored = net.reconstruct(corrupted)
        for kind, shown in (("input", corrupted), ("reconstruction", restored)):
            label = f"{name.replace('_', ' ')}: {kind}"
            rows.append(Row(paint.show_restored(x, shown[: len(x)]), label))
    note = (
        f"Each corruption alone, and all together. The same {view.samples.split} {view.nouns.sample}s each "
        f"time.{paint.over}{paint.axes}"
    )
    add_sheet(page, "corruptions", "Corruptions", note, rows, paint.legend)


def compare(output: Output, corrupts: bool, paint: Painter, captions: list[str]) -> list[Row]:
    """Return rows with the input, the corrupted input if any, the reconstruction and the error.

    A painter that draws a reconstruction over its input needs no row for the input. captions: of
    the samples.
    """
    x, restored = output.x, output.reconstruction[: len(output.x)]
    if output.present is not None:
        x = x.where(output.present, torch.nan)
    rows = [] if paint.over else [Row(paint.show(x), "input")]
    if corrupts:
        rows.append(Row(paint.show_restored(x, output.corrupted), "corrupted input"))
    rows.append(Row(paint.show_restored(x, restored), "reconstruction"))
    if paint.error:
        rows.append(Row(paint.show_error(x, restored), paint.error))
    rows[0] = rows[0]._replace(captions=captions)
    return rows
