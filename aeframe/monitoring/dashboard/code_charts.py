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
NUMBERED = 16  # units whose numbers fit below the axis
ACTIVE = 0.01  # nats from which a unit counts as active
SIDE = 56  # pixels of a sample's picture
APART = 84  # pixels of a square in which one sample is shown
DECADE = 8  # bars of the histogram of firing rates for each factor of ten


def add_code_histogram(view: View, page: Page) -> None:
    """Add a histogram of the values of all units."""
    caption = f"The values of all units of the first few {view.samples.split} {view.nouns.sample}s' codes."
    page.add_histogram("val/code", view.output.code.value, caption)


def draw_codes(view: View, page: Page) -> None:
    """Draw the codes in the plane: two units as they are, more on their principal components."""
    codes = view.passed.codes.float().cpu().flatten(1)
    units = codes.shape[1]
    if units == 1:
        points = torch.stack([codes[:, 0], view.passed.error.float().cpu()], 1)
        axes = ("z0, the only unit", f"mean squared error of the {view.nouns.sample}")
        what = f"The only unit of the code, and the error of each {view.nouns.sample}"
    elif units == 2:
        points, axes = codes, ("z0, the first unit", "z1, the second unit")
        what = "The two units of the code"
    else:
        points, (first, second) = project_codes(codes)
        axes = f"component 1: {first:.0%} of variance", f"component 2: {second:.0%} of variance"
        what = f"Principal components of {units:,} units"
    _add_points(view, page, "codes", what, points, axes)


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
    axes = ("t-SNE 1 (no unit)", "t-SNE 2 (no unit)")
    what = "t-SNE: neighbors stay neighbors, distances mean nothing"
    _add_points(view, page, "tsne", what, torch.from_numpy(found), axes, every)


def _add_points(
    view: View,
    page: Page,
    name: str,
    what: str,
    points: Tensor,
    axes: tuple[str, str],
    every: int = 1,
) -> None:
    """Add a picture of points [N, 2] of every n-th sample, colored by class, or with samples."""
    labels = view.samples.labels
    labels = None if labels is None else labels[::every][: len(points)]
    title = (
        f"Codes of {len(points):,} {view.samples.split} {view.nouns.sample}s, epoch {page.epoch}"
    )
    chart = scatter((title, what), points, axes, labels, view.samples.classes)
    picture, caption = chart.render(), f"{what}."
    if labels is not None:
        caption += " Colored by label, which training does not see."
    elif isinstance(view.paint_input, Pictures):
        paste_samples(picture, chart.locate(points), view, every)
    page.add_picture(name, picture, caption)


def draw_kl(view: View, page: Page) -> None:
    """Draw the KL term of each unit, the largest first."""
    nats = view.passed.kl
    if nats is None:
        return
    caption = (
        "Information in each unit: the KL divergence of posterior and prior, averaged over "
        f"{view.samples.split} {view.nouns.sample}s. A unit with less than {ACTIVE} nats carries no "
        "information."
    )
    chart = chart_kl(f"KL of each unit, epoch {page.epoch}", nats.float().cpu())
    page.add_picture("kl_of_units", chart, caption)


def draw_firing_rates(view: View, page: Page) -> None:
    """Draw how often the units of a sparse code are active."""
    if not view.net.is_sparse:
        return
    rates = view.passed.active.double().mean(0).cpu()
    noun = view.nouns.sample
    caption = (
        f"The share of {view.samples.split} {noun}s that each unit is active for, over the units."
    )
    page.add_histogram("val/activation_frequency", rates, caption)
    title = f"Firing rates of {len(rates):,} units, epoch {page.epoch}"
    chart = chart_rates(title, rates, len(view.passed.active), noun)
    page.add_picture("firing_rates", chart, caption)


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


def paste_samples(picture: Image.Image, places: Tensor, view: View, every: int) -> None:
    """Paste samples at their places [N, 2] in pixels, one into each square of the picture."""
    _, chosen = np.unique((places // APART).numpy(), axis=0, return_index=True)
    tiles = view.paint_input.show(view.samples.many[::every][chosen], SIDE)
    for tile, place in zip(tiles, places[chosen], strict=True):
        x, y = (place - torch.tensor(tile.size) / 2).round().int().tolist()
        picture.paste(tile, (x, y))


def scatter(
    titles: tuple[str, str],
    points: Tensor,
    axes: tuple[str, str],
    labels: Tensor | None,
    classes: tuple[str, ...],
) -> Chart:
    """Draw points [N, 2] in the plane, colored by label, with the classes named beside them.

    titles: the title, and the line below it.
    """
    none = torch.zeros(len(points), dtype=torch.int64)
    known, which = (none if labels is None else labels).unique(return_inverse=True)
    names = [classes[label] if classes else str(label) for label in known.tolist()]
    is_named = 1 < len(names) <= NAMED
    chart = Chart(*titles, *axes, has_legend=is_named)
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


def chart_kl(title: str, nats: Tensor) -> Image.Image:
    """Draw a bar for the nats of each unit, the largest first."""
    order = nats.argsort(descending=True, stable=True)
    shown, active = order[:BARS], int((nats > ACTIVE).sum())
    is_numbered = len(shown) <= NUMBERED
    x = "unit, the largest KL first" if is_numbered else "units, the largest KL first"
    x += f" ({BARS} of {len(nats):,})" if len(nats) > BARS else ""
    note = f"{nats.sum():.1f} nats in all, {active:,} of {len(nats):,} units active"
    chart = Chart(title, note, x, "KL (nats)")
    places = range(len(shown))
    width = max(1.0, min(40.0, 320 / len(shown)))  # points
    chart.axes.vlines(places, 0, nats[shown].numpy(), COLORS[0], linewidth=width)
    chart.axes.set_xlim(-0.6, max(len(shown), 6) - 0.4)
    chart.axes.set_ylim(bottom=0)
    if is_numbered:
        chart.axes.set_xticks(places, [str(unit) for unit in shown.tolist()])
    return chart.render()


def chart_rates(title: str, rates: Tensor, samples: int, noun: str) -> Image.Image:
    """Draw a histogram of the units' firing rates, those that never fire apart at the left.

    noun: for one sample.
    """
    never, least = int((rates == 0).sum()), 1 / samples
    note = f"{never:,} are never active; the mean is {rates.mean():.2%} of the {noun}s"
    chart = Chart(title, note, f"share of {samples:,} {noun}s with the unit active", "units")
    bins = max(1, round(DECADE * np.log10(samples)))
    edges = np.geomspace(least * 0.999, 1.001, bins + 1)
    counts, _ = np.histogram(rates[rates > 0].numpy(), edges)
    axes, apart = chart.axes, edges[0] / (edges[1] / edges[0]) ** 5
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
