"""Filters: weights of the outermost layers, drawn as samples."""

from __future__ import annotations

import math

from torch import Tensor, nn

from aeframe.monitoring.dashboard.page import Page
from aeframe.monitoring.dashboard.painting import SIDE, SMALL, Pictures, grid, lines, picture_of
from aeframe.monitoring.dashboard.view import View

MOST = 64  # filters
COLUMNS = 16


def outermost(view: View, page: Page) -> None:
    """Draw the filters of the encoder's first layer and the decoder's last."""
    model = view.net.model
    for name, weights, said in (
        ("encoder", encoder_filters(model.encoder, model.shape), "What each first unit looks for"),
        ("decoder", decoder_filters(model.decoder, model.shape), "What each last unit draws"),
    ):
        if weights is None:
            continue
        # filters of a convolution are small images for any samples
        paint = view.paint if weights.shape[1:] == model.shape else Pictures(0, 1)
        side = SMALL if len(weights) > COLUMNS else SIDE
        tiles = paint.weights(weights[:MOST], side)
        said = f"{said}: the first {len(tiles)} of {len(weights)}, each set by itself; grey is 0."
        page.picture(f"{name}_filters", picture_of(grid(lines(tiles, COLUMNS), seam=1)), said)


def encoder_filters(encoder: nn.Module, shape: tuple[int, ...]) -> Tensor | None:
    """Return the weights of the first layer, [units, *shape], or [units, C, h, w] of a convolution."""
    weight = next(iter(_weights(encoder)), None)
    return None if weight is None else _as_samples(weight, shape)


def decoder_filters(decoder: nn.Module, shape: tuple[int, ...]) -> Tensor | None:
    """Return the weights of the last layer, like `encoder_filters`."""
    *_, weight = [None, *_weights(decoder)]
    if weight is None:
        return None
    return _as_samples(weight.t() if weight.ndim == 2 else weight, shape)


def _weights(module: nn.Module) -> list[Tensor]:
    """List the weights of a module's layers in their order, without those of norms."""
    found = (getattr(layer, "weight", None) for layer in module.modules())
    return [weight for weight in found if isinstance(weight, Tensor) and weight.ndim > 1]


def _as_samples(weight: Tensor, shape: tuple[int, ...]) -> Tensor | None:
    if weight.ndim == 4:
        return weight
    return weight.reshape(-1, *shape) if weight.shape[1] == math.prod(shape) else None
