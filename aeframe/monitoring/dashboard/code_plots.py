"""Plots of the code: histograms, principal components and t-SNE."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image, ImageColor
from torch import Tensor

from aeframe.monitoring.dashboard.page import Page
from aeframe.monitoring.dashboard.painting import LINE, write
from aeframe.monitoring.dashboard.view import View

FITTED = 200  # samples for fitting principal components; more are slow for wide codes
POINTS = 400  # samples for t-SNE, which takes a second
LONG = 5_000  # steps of training before t-SNE is drawn
WIDTH, LEGEND, EDGE, DOT = 420, 110, 12, 4  # pixels
TABLEAU = (  # ten distinct colours
    *("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd"),
    *("#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf"),
)


def values(view: View, page: Page) -> None:
    """Add a histogram of the values of all units."""
    said = "The values of all units of the first few validation samples' codes."
    page.histogram("val/code", view.output.code.value, said)


def principal(view: View, page: Page) -> None:
    """Draw the codes on their first two principal components."""
    codes = view.passed.codes.float().cpu().flatten(1)
    points, explained = principal_components(codes)
    labels = view.samples.labels
    said = (
        f"The codes of {len(codes):,} validation samples on their first two principal components, which hold "
        f"{explained:.0%} of their variance.{_colours(labels)}"
    )
    page.picture("pca", scatter(points, labels, view.samples.classes), said)


def tsne(view: View, page: Page) -> None:
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
    labels = view.samples.labels
    labels = None if labels is None else labels[::every][:POINTS]
    said = f"t-SNE of the codes of {len(codes)} validation samples: neighbours stay neighbours."
    picture = scatter(torch.from_numpy(found), labels, view.samples.classes)
    page.picture("tsne", picture, said + _colours(labels))


def principal_components(codes: Tensor) -> tuple[Tensor, float]:
    """Project codes [N, m] on two components, [N, 2], and return the share of variance they
    explain.

    The largest weight of each component is positive, so that pictures do not flip from one to the
    next.
    """
    centred = codes - codes.mean(0)
    some = centred[:: max(1, -(-len(codes) // FITTED))]
    _, sizes, axes = torch.linalg.svd(some, full_matrices=False)
    axes = axes[:2]
    signs = axes.gather(1, axes.abs().argmax(1, keepdim=True)).sign()
    points = centred @ (axes * signs).T
    points = torch.cat([points, points.new_zeros(len(points), 2 - points.shape[1])], 1)
    squares = sizes.square()
    return points, float(squares[:2].sum() / squares.sum().clamp(min=1e-12))


def scatter(points: Tensor, labels: Tensor | None, classes: tuple[str, ...]) -> Image.Image:
    """Draw points [N, 2] in the plane, coloured by label, with a legend beside them."""
    low, high = points.amin(0), points.amax(0)
    span = (high - low).max().clamp(min=1e-12)  # one scale for both
    place = (points - (low + high) / 2) / span + 0.5
    x, y = (EDGE + place * (WIDTH - 2 * EDGE)).round().int().T.tolist()
    colours = np.array([ImageColor.getrgb(colour) for colour in TABLEAU], np.uint8)
    none = torch.zeros(len(points), dtype=torch.int64)
    known, which = (none if labels is None else labels).unique(return_inverse=True)
    canvas = np.full((WIDTH, WIDTH, 3), 255, np.uint8)
    for column, row, number in zip(x, y, which.tolist(), strict=True):
        dot = canvas[WIDTH - row - 1 : WIDTH - row - 1 + DOT, column : column + DOT]
        dot[:] = colours[number % len(colours)]
    if not 1 < len(known) <= len(colours):
        return Image.fromarray(canvas)
    picture = Image.new("RGB", (WIDTH + LEGEND, WIDTH), "white")
    picture.paste(Image.fromarray(canvas))
    for number, label in enumerate(known.tolist()):
        name, top = classes[label] if classes else str(label), EDGE + number * (LINE + 3)
        picture.paste(TABLEAU[number], (WIDTH, top + 2, WIDTH + 9, top + 11))
        write(picture, (WIDTH + 14, top), name[:14])
    return picture


def _colours(labels: Tensor | None) -> str:
    return "" if labels is None else " Coloured by label, which training does not see."
