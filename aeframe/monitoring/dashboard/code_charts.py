"""Charts of the code: its samples in the plane, the nats of units, and how often units are active."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from aeframe.monitoring.dashboard.chart import COLORS, MARKERS, Chart, style_class
from aeframe.monitoring.dashboard.page import Page
from aeframe.monitoring.dashboard.painting import Pictures
from aeframe.monitoring.dashboard.view import View

FITTED = 200  # samples for fitting principal components; more are slow for wide codes
POINTS = 400  # samples for t-SNE, which takes a second
LONG = 5_000  # steps of training before t-SNE is drawn
NAMED = len(COLORS) * len(MARKERS)  # classes that can be told apart
BARS = 256  # units whose nats are drawn
NUMBERED = 24  # units whose numbers fit below the axis
ACTIVE = 0.01  # nats from which a unit counts as active
SIDE = 28  # pixels of a sample's picture
APART = 44  # pixels of a square in which one sample is shown
DECADE = 8  # bars of the histogram of firing rates for each factor of ten


def add_code_histogram(view: View, page: Page) -> None:
    """Add a histogram of the values of all units."""
    said = "The values of all units of the first few validation samples' codes."
    page.histogram("val/code", view.output.code.value, said)


def draw_codes(view: View, page: Page) -> None:
    """Draw the codes in the plane: two units as they are, more on their principal components."""
    codes = view.passed.codes.float().cpu().flatten(1)
    units = codes.shape[1]
    if units == 1:
        points = torch.stack([codes[:, 0], view.passed.error.float().cpu()], 1)
        axes = ("z0: value of the unit", "mean squared error of the sample")
        title, said = (
            "the only unit of the code",
            "The code's only unit, and the error of each sample.",
        )
    elif units == 2:
        points, axes = codes, ("z0: value of the first unit", "z1: value of the second unit")
        title, said = "the two units of the code", "The code itself, which has two units."
    else:
        points, shares = project_codes(codes)
        axes = tuple(  # type: ignore[assignment]
            f"principal component {i + 1} ({share:.0%} of the variance)"
            for i, share in enumerate(shares)
        )
        title = f"{units:,} units, by their principal components"
        said = "The codes on their first two principal components."
    title = f"Codes of {len(codes):,} validation samples: {title}"
    page.picture("codes", scatter_codes(title, points, axes, view), f"{said}{_explain_color(view)}")


def draw_tsne(view: View, page: Page) -> None:
    """Draw the codes by t-SNE, after long training only."""
    every = max(1, len(view.passed.codes) // POINTS)
    codes = view.passed.codes[::every][:POINTS].float().cpu().flatten(1).numpy()
    if page.step < LONG or len(codes) < 10 or codes.shape[1] < 3 or not codes.std(0).any():
        return
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):  # several threads sum in varying order
        found = TSNE(
            perplexity=min(30, (len(codes) - 1) / 3), max_iter=300, init="pca", random_state=0
        ).fit_transform(codes)
    title = f"Codes of {len(codes)} validation samples: neighbors, by t-SNE"
    axes = ("t-SNE 1 (no unit)", "t-SNE 2 (no unit)")
    picture = scatter_codes(title, torch.from_numpy(found), axes, view, every)
    said = "t-SNE of the codes: neighbors stay neighbors, distances mean nothing."
    page.picture("tsne", picture, f"{said}{_explain_color(view)}")


def draw_kl(view: View, page: Page) -> None:
    """Draw the KL term of each unit, the largest first."""
    nats = view.passed.kl
    if nats is None:
        return
    said = (
        "Information in each unit: the KL divergence of posterior and prior, averaged over validation "
        f"samples. A unit with less than {ACTIVE} nats says nothing."
    )
    page.picture("kl_of_units", chart_kl(nats.float().cpu()), said)


def draw_firing_rates(view: View, page: Page) -> None:
    """Draw how often the units of a sparse code are active."""
    if not view.net.is_sparse:
        return
    rates = view.passed.active.double().mean(0).cpu()
    said = "The share of validation samples that each unit is active for, over the units."
    page.histogram("val/activation_frequency", rates, said)
    page.picture("firing_rates", chart_rates(rates, len(view.passed.active)), said)


def project_codes(codes: Tensor) -> tuple[Tensor, list[float]]:
    """Project codes [N, m] on two principal components, [N, 2], and return the share of the
    variance that each explains.

    The largest weight of each component is positive, so that pictures do not flip from one to the
    next.
    """
    centered = codes - codes.mean(0)
    some = centered[:: max(1, -(-len(codes) // FITTED))]
    _, sizes, axes = torch.linalg.svd(some, full_matrices=False)
    axes = axes[:2]
    signs = axes.gather(1, axes.abs().argmax(1, keepdim=True)).sign()
    points = centered @ (axes * signs).T
    points = torch.cat([points, points.new_zeros(len(points), 2 - points.shape[1])], 1)
    shares = sizes.square() / sizes.square().sum().clamp(min=1e-12)
    return points, [*shares[:2].tolist(), 0.0][:2]


def scatter_codes(
    title: str, points: Tensor, axes: tuple[str, str], view: View, every: int = 1
) -> Image.Image:
    """Draw points [N, 2] of every so many samples, colored by class, or with pictures of some."""
    labels = view.samples.labels
    labels = None if labels is None else labels[::every][: len(points)]
    chart = scatter(title, points, axes, labels, view.samples.classes)
    picture = chart.render()
    if labels is None and isinstance(view.paint, Pictures):
        paste_samples(picture, chart.locate(points), view, every)
    return picture


def paste_samples(picture: Image.Image, places: Tensor, view: View, every: int) -> None:
    """Paste samples at their places [N, 2] in pixels, one into each square of the picture."""
    _, chosen = np.unique((places // APART).numpy(), axis=0, return_index=True)
    tiles = view.paint.show(view.samples.many[::every][chosen], SIDE)
    for tile, place in zip(tiles, places[chosen], strict=True):
        x, y = (place - torch.tensor(tile.size) / 2).round().int().tolist()
        picture.paste(tile, (x, y))


def scatter(
    title: str,
    points: Tensor,
    axes: tuple[str, str],
    labels: Tensor | None,
    classes: tuple[str, ...],
) -> Chart:
    """Draw points [N, 2] in the plane, colored by label, with the classes named beside them."""
    none = torch.zeros(len(points), dtype=torch.int64)
    known, which = (none if labels is None else labels).unique(return_inverse=True)
    names = [classes[label] if classes else str(label) for label in known.tolist()]
    is_named = 1 < len(names) <= NAMED
    chart = Chart(title, *axes, has_legend=is_named)
    colors = np.array([style_class(number)[0] for number in range(len(names))])
    shape = which // len(COLORS) % len(MARKERS)
    for number in shape.unique().tolist():  # one drawing for each shape, not for each class
        chosen = shape == number
        x, y = points[chosen].T.numpy()
        color = colors[which[chosen].numpy()]
        chart.axes.scatter(x, y, s=14, c=color, marker=MARKERS[number], linewidths=0)
    if is_named:
        chart.add_legend(names)
    return chart


def chart_kl(nats: Tensor) -> Image.Image:
    """Draw a bar for the nats of each unit, the largest first."""
    order = nats.argsort(descending=True, stable=True)
    shown, active = order[:BARS], int((nats > ACTIVE).sum())
    is_numbered = len(shown) <= NUMBERED
    x = "unit, the largest KL first" if is_numbered else "units in the order of their KL"
    x += f"; {BARS} of {len(nats):,} are shown" if len(nats) > BARS else ""
    title = (
        f"KL of each unit: {nats.sum():.1f} nats in all, {active:,} of {len(nats):,} units active"
    )
    chart = Chart(title, x, "KL (nats)")
    places = range(len(shown))
    width = max(1.0, min(24.0, 400 / len(shown)))  # points
    chart.axes.vlines(places, 0, nats[shown].numpy(), COLORS[0], linewidth=width)
    chart.axes.set_xlim(-0.6, max(len(shown), 6) - 0.4)
    chart.axes.set_ylim(bottom=0)
    if is_numbered:
        chart.axes.set_xticks(places, [str(unit) for unit in shown.tolist()])
    return chart.render()


def chart_rates(rates: Tensor, samples: int) -> Image.Image:
    """Draw a histogram of the units' firing rates, those that never fire apart at the left."""
    never, least = int((rates == 0).sum()), 1 / samples
    title = f"Firing rates of {len(rates):,} units: {never:,} never active, mean {rates.mean():.2%}"
    chart = Chart(title, f"share of {samples:,} validation samples with the unit active", "units")
    bins = max(1, round(DECADE * np.log10(samples)))
    edges = np.geomspace(least * 0.999, 1.001, bins + 1)
    counts, _ = np.histogram(rates[rates > 0].numpy(), edges)
    axes, apart = chart.axes, edges[0] / (edges[1] / edges[0]) ** 3
    axes.stairs(counts, edges, fill=True, color=COLORS[0])
    axes.stairs([never], [apart, apart * edges[1] / edges[0]], fill=True, color=COLORS[2])
    axes.set_xscale("log")
    ticks = [10.0**n for n in range(int(np.floor(np.log10(samples))) * -1, 1)]
    axes.set_xticks(
        [apart, *ticks],
        ["never", *(f"{100 * tick:g} %" for tick in ticks)],
    )
    axes.minorticks_off()
    return chart.render()


def _explain_color(view: View) -> str:
    return "" if view.samples.labels is None else " Colored by label, which training does not see."
