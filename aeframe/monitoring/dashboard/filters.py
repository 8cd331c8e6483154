"""Filters: weights of the outermost layers, drawn as samples."""

from __future__ import annotations

import math

from torch import Tensor, nn

from aeframe.monitoring.dashboard.page import Page
from aeframe.monitoring.dashboard.painting import Pictures
from aeframe.monitoring.dashboard.sheet import Row, add_sheet, split_rows
from aeframe.monitoring.dashboard.view import View
from aeframe.networks.linear_path import PathDecoder

MOST = 30  # filters


def draw_filters(view: View, page: Page) -> None:
    """Draw the filters of the encoder's first layer and of the decoder's last, or of its linear path."""
    model = view.net.model
    last = "last layer: what one of its units adds to the output"
    if isinstance(model.decoder, PathDecoder):
        last = "linear path: what one unit of the code adds to the output"
    for name, weights, layer in (
        (
            "encoder",
            encoder_filters(model.encoder, model.shape),
            "first layer: what one of its units reacts to",
        ),
        ("decoder", decoder_filters(model.decoder, model.written_shape), last),
    ):
        if weights is None:
            continue
        own, shape = view.paint, model.written_shape
        if name == "encoder":
            own, shape = view.paint_input, model.shape
        # filters of a convolution are short curves or small images, of as many axes as a sample
        is_picture = weights.shape[1:] != shape and weights.ndim > 3
        paint = Pictures(0, 1, max(weights.shape[2:])) if is_picture else own
        tiles = paint.show_weights(weights[:MOST], paint.fit(paint.filters))
        shown = f"All {len(weights)}" if len(tiles) == len(weights) else f"The first {len(tiles)}"
        note = (
            f"Weights of the {name}'s {layer}. {shown} units, row by row, each scaled by itself; "
            f"{paint.zero} is 0."
        )
        rows = split_rows([Row(tiles)], paint.filters)
        add_sheet(page, f"{name}_filters", f"Filters of the {name}", note, rows, paint.legend)


def encoder_filters(encoder: nn.Module, shape: tuple[int, ...]) -> Tensor | None:
    """Return the weights of the first layer, [units, *shape], or [units, C, *sides] of a convolution."""
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
    if weight.ndim > 2:
        return weight
    return weight.reshape(-1, *shape) if weight.shape[1] == math.prod(shape) else None
