"""Grids of inputs and reconstructions, one column for each sample."""

from __future__ import annotations

import torch

from aeframe.models.output import Output
from aeframe.monitoring.dashboard.page import Page
from aeframe.monitoring.dashboard.painting import Painter
from aeframe.monitoring.dashboard.sheet import Row, add_sheet, split_rows
from aeframe.monitoring.dashboard.view import View


def draw_reconstructions(view: View, page: Page) -> None:
    """Draw the reconstructions of a few samples, the same each time."""
    captions = view.number_samples(view.columns)
    rows = compare(view.output, view.net.has_corruption, view.paint, captions, view.paint_beside)
    note = (
        f"The same {view.samples.split} {view.nouns.sample}s at each epoch; another seed shows others."
        f"{view.over}{view.paint.axes}"
    )
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
        x, targets = view.samples.many[chosen], view.samples.many_targets
        target = None if targets is None else targets[chosen]
        output = net(x, noise=view.noise, as_trained=net.has_corruption, target=target)
        squares = [f"{value:#.3g}" for value in error[chosen].tolist()]
        rows = compare(output, net.has_corruption, view.paint, squares, view.paint_beside)
        note = (
            f"The {view.nouns.sample}s with the {adjective} mean squared error (the numbers), of "
            f"{len(order):,} {view.samples.split} {view.nouns.sample}s.{view.over}{view.paint.axes}"
        )
        rows = split_rows(rows, view.paint.columns)
        title = f"{name.capitalize()} reconstructions"
        add_sheet(page, name, title, note, rows, view.paint.legend)


def draw_corruptions(view: View, page: Page) -> None:
    """Draw each corruption alone and all together, with the reconstructions."""
    net, paint = view.net, view.paint_input
    x = view.samples.few[: paint.columns]
    parts = net.list_having("corrupt")
    if len(parts) < 2:
        return
    few = net.normalization.fill(view.samples.few)
    found = [(n, part.corrupt(few, view.noise.derive_stream(n), net.clock)) for n, part in parts]
    inputs = [(name, change.x) for name, change in found if change is not None]
    inputs.append(("all together", view.output.corrupted))
    rows = [Row(paint.show(x), "input", view.number_samples(len(x)))]
    for name, corrupted in inputs:
        label, made = name.replace("_", " "), net.reconstruct(corrupted)[: len(x)]
        rows.append(Row(paint.show_restored(x, corrupted[: len(x)]), f"{label}: input"))
        is_same = net.target_normalization is None
        tiles = paint.show_restored(x, made) if is_same else view.paint.show(made)
        rows.append(Row(tiles, f"{label}: reconstruction"))
    note = (
        f"Each corruption alone, and all together. The same {view.samples.split} {view.nouns.sample}s each "
        f"time.{paint.over}{paint.axes}"
    )
    add_sheet(page, "corruptions", "Corruptions", note, rows, paint.legend)


def compare(
    output: Output,
    corrupts: bool,
    paint: Painter,
    captions: list[str],
    beside: Painter | None = None,
) -> list[Row]:
    """Return rows with the input, the corrupted input if any, the reconstruction and the error.

    A painter that draws a reconstruction over its input needs no row for the input. captions: of
    the samples. beside: draws inputs that are not the targets, as the network reads them.
    """
    x, restored = output.x, output.reconstruction[: len(output.x)]
    if output.present is not None:
        x = x.where(output.present, torch.nan)
    rows = [] if paint.over else [Row(paint.show(x), "target" if beside else "input")]
    if beside is not None:
        label = "corrupted input" if corrupts else "input"
        rows.insert(0, Row(beside.show(output.corrupted), label))
    elif corrupts:
        rows.append(Row(paint.show_restored(x, output.corrupted), "corrupted input"))
    rows.append(Row(paint.show_restored(x, restored), "reconstruction"))
    if paint.error:
        rows.append(Row(paint.show_error(x, restored), paint.error))
    rows[0] = rows[0]._replace(captions=captions)
    return rows
