"""Images of any size through a network with a code map, tile by tile.

Each tile is computed with the margin that its result depends on. So there are no seams, and only the
activations of one tile are in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from aeframe.constraints.constrained import ConstrainedAutoencoder
from aeframe.networks import MapDecoder

TILE = 64  # positions of the code, in height and width


class Span(NamedTuple):
    """Positions [start, stop) of a line, and [first, end) with their margin."""

    first: int
    start: int
    stop: int
    end: int

    def slice_whole(self, scale: int = 1) -> slice:
        """Return the slice with the margin. scale: pixels for each position."""
        return slice(self.first * scale, self.end * scale)

    def slice_own(self, scale: int = 1) -> slice:
        """Return the slice without the margin."""
        return slice(self.start * scale, self.stop * scale)

    def slice_inner(self, scale: int = 1) -> slice:
        """Return the slice without the margin, relative to the start of the margin."""
        return slice((self.start - self.first) * scale, (self.stop - self.first) * scale)


def split_line(positions: int, reach: int) -> Iterator[Span]:
    """Split a line of positions into spans with a margin of `reach`."""
    for start in range(0, positions, TILE):
        stop = min(start + TILE, positions)
        yield Span(max(0, start - reach), start, stop, min(stop + reach, positions))


def split_map(size: tuple[int, int], reach: int) -> Iterator[tuple[Span, Span]]:
    """Split a map of this size into tiles: rows and columns of each."""
    for rows in split_line(size[0], reach):
        for columns in split_line(size[1], reach):
            yield rows, columns


def get_decoder(net: ConstrainedAutoencoder) -> MapDecoder:
    """Return the decoder of a network for images of any size."""
    decoder = net.model.decoder
    assert isinstance(decoder, MapDecoder)
    return decoder


@torch.inference_mode()
def encode_image(net: ConstrainedAutoencoder, image: np.ndarray) -> np.ndarray:
    """Encode one image, [colors, H, W] as stored, to its map, float32 [C, h, w]."""
    decoder = get_decoder(net)
    size, device = decoder.positions(image.shape[1], image.shape[2]), net.normalization.scale.device
    code = np.empty((decoder.channels, *size), np.float32)
    for rows, columns in split_map(size, decoder.reach):
        piece = image[None, :, rows.slice_whole(decoder.patch), columns.slice_whole(decoder.patch)]
        x = net.normalization(torch.from_numpy(piece.copy()).to(device))
        found = net.encode(x).value.view(
            len(code), rows.end - rows.first, columns.end - columns.first
        )
        code[:, rows.slice_own(), columns.slice_own()] = found[
            :, rows.slice_inner(), columns.slice_inner()
        ].cpu()
    return code


@torch.inference_mode()
def decode_image(
    net: ConstrainedAutoencoder,
    code: np.ndarray,
    height: int,
    width: int,
    stored: Callable[[Tensor], Tensor],
) -> np.ndarray:
    """Decode a map [C, h, w] to an image [colors, height, width].

    stored: converts numbers in the units of the stored data to its type.
    """
    decoder = get_decoder(net)
    patch, device = decoder.patch, net.normalization.scale.device
    dtype = stored(torch.zeros(1)).numpy().dtype
    image = np.empty((net.model.shape[0], height, width), dtype)
    for rows, columns in split_map((code.shape[1], code.shape[2]), decoder.reach):
        piece = torch.from_numpy(
            code[None, :, rows.slice_whole(), columns.slice_whole()].copy()
        ).to(device)
        parameters = decoder.sized(piece, piece.shape[2] * patch, piece.shape[3] * patch)
        raw = net.normalization.inverse(net.model.likelihood.mean(parameters))
        found = stored(raw)[0].cpu().numpy()
        place = image[
            :, rows.slice_own(patch), columns.slice_own(patch)
        ]  # the last patch may be cut off
        found = found[:, rows.slice_inner(patch), columns.slice_inner(patch)]
        place[:] = found[:, : place.shape[1], : place.shape[2]]
    return image
