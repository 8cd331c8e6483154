"""Plots of the units of a sparse code."""

from __future__ import annotations

from aeframe.monitoring.dashboard.page import Page
from aeframe.monitoring.dashboard.painting import sheet
from aeframe.monitoring.dashboard.view import View

ROWS = 10  # units


def most_used(view: View, page: Page) -> None:
    """Draw the most used units with the samples that activate them most."""
    if not view.net.is_sparse:
        return
    codes, active = view.passed.codes, view.passed.active
    share = active.double().mean(0)
    used = [u for u in share.argsort(descending=True, stable=True)[:ROWS].tolist() if share[u] > 0]
    if not used:
        return
    strongest = codes[:, used].argsort(dim=0, descending=True, stable=True)[: view.columns]
    rows = [view.paint.show(view.samples.many[chosen], view.side) for chosen in strongest.T]
    names = [f"unit {unit}\nactive {share[unit]:.1%}" for unit in used]
    said = (
        "The units that are active for the largest shares of the validation samples, and for each the "
        "samples that excite it most, strongest first."
    )
    page.picture("units", sheet(rows, names), said)
