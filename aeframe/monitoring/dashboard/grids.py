"""Grids of inputs and reconstructions, one column for each sample."""

from __future__ import annotations

from torch import Tensor

from aeframe.models.autoencoder import Output
from aeframe.monitoring.dashboard.page import Page
from aeframe.monitoring.dashboard.painting import SCALE, Painter, sheet
from aeframe.monitoring.dashboard.view import View

OFF = f"error: black is none, white {SCALE:.0%} of the data's range or more, in every picture"


def reconstructions(view: View, page: Page) -> None:
    """Draw the reconstructions of a few samples, the same each time."""
    output, corrupts = view.output, view.net.has_corruption
    rows, names = comparison(output, corrupts, view.paint)
    said = f"The same validation samples each time. {_describe_rows(view)}"
    page.picture("reconstructions", sheet(rows, names), said)


def extremes(view: View, page: Page) -> None:
    """Draw the samples with the largest and the smallest error, without corruption or sampling."""
    net, error = view.net, view.passed.error
    order = error.argsort(descending=True, stable=True)
    n = min(view.columns, len(order))
    for name, chosen in (("worst", order[:n]), ("best", order.flip(0)[:n])):
        x = view.samples.many[chosen]
        output = net(x, noise=view.noise, as_trained=net.has_corruption)
        rows, names = comparison(output, net.has_corruption, view.paint)
        squares = [f"{value:.2g}" for value in error[chosen].tolist()]
        said = (
            f"Of {len(order):,} validation samples those that are reconstructed {name}, with the mean square "
            f"of the clean sample's error above. {_describe_rows(view)}"
        )
        page.picture(name, sheet(rows, names, squares), said)


def corruptions(view: View, page: Page) -> None:
    """Draw each corruption alone and all together, with the reconstructions."""
    net, x = view.net, view.samples.few
    parts = net.list_having("corrupt")
    if len(parts) < 2:
        return
    found = [(n, part.corrupt(x, view.noise.derive_stream(n), net.clock)) for n, part in parts]
    inputs = [(name, change.x) for name, change in found if change is not None]
    inputs.append(("together", view.output.corrupted))
    rows, names = [view.paint.show(x)], ["input"]
    for name, corrupted in inputs:
        rows += [view.paint.restored(x, seen) for seen in (corrupted, net.reconstruct(corrupted))]
        names += [name.replace("_", "\n"), "restored"]
    said = "Each corruption alone, and together, with what the network restores from it."
    page.picture("corruptions", sheet(rows, names), said)


def comparison(output: Output, corrupts: bool, paint: Painter) -> tuple[list[Tensor], list[str]]:
    """Return rows of tiles and their names: input, corrupted input if any, reconstruction, error."""
    x, restored = output.x, output.reconstruction[: len(output.x)]
    rows = {"input": paint.show(x)}
    if corrupts:
        rows["corrupted"] = paint.restored(x, output.corrupted)
    rows["reconstruction"] = paint.restored(x, restored)
    rows[f"error\n0 .. {SCALE:.0%}"] = paint.error(x, restored)
    return list(rows.values()), list(rows)


def _describe_rows(view: View) -> str:
    corrupted = ", corrupted input" if view.net.has_corruption else ""
    return f"Rows: input{corrupted}, reconstruction, {OFF}."
