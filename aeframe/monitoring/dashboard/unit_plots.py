"""Plots of the units of a sparse code."""

from __future__ import annotations

from aeframe.monitoring.dashboard.page import Page
from aeframe.monitoring.dashboard.sheet import Row, add_sheet
from aeframe.monitoring.dashboard.view import View


def draw_units(view: View, page: Page) -> None:
    """Draw the most used units with the samples that activate them most."""
    if not view.net.is_sparse:
        return
    paint, codes, active = view.paint_input, view.passed.codes, view.passed.active
    share = active.double().mean(0)
    used = [
        u
        for u in share.argsort(descending=True, stable=True)[: paint.tall].tolist()
        if share[u] > 0
    ]
    if not used:
        return
    rows = []
    for unit in used:
        strongest = codes[:, unit].argsort(descending=True, stable=True)[: paint.many]
        tiles = paint.show(view.samples.many[strongest], paint.fit(paint.many))
        values = [f"{value:.2g}" for value in codes[strongest, unit].tolist()]
        rows.append(
            Row(
                tiles,
                f"unit {unit}, active for {share[unit]:.1%} of the {view.nouns.sample}s",
                values,
            )
        )
    note = (
        f"The units that are active for most {view.samples.split} {view.nouns.sample}s, each with those that "
        f"activate it most. The numbers are its activations.{paint.axes}"
    )
    add_sheet(page, "units", "Most used units", note, rows, paint.legend)
