"""Fully convolutional network: one set of weights for images of any size."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from aeframe.core.bounds import AtLeast, AtMost
from aeframe.networks.active_units import Active
from aeframe.networks.decoder import Decoder, MapDecoder
from aeframe.networks.network import (
    ACTIVATIONS,
    Activation,
    Network,
    describe_shape,
    find_flat_side,
)
from aeframe.networks.residual import Residual


@dataclass(kw_only=True, eq=False)
class FullyConv(Network):
    """A network that transforms overlapping patches linearly and refines the coefficients by residual
    convolutions, each way.

    No layer depends on the image's size, and a channel of the code means the same everywhere: what was
    trained on crops reads and writes whole photographs. The code is a map of channels with one position for
    each patch, flattened; latent_dim is the number of channels times that of positions. The transform begins
    as the orthonormal cosine transform of disjoint patches (Ahmed et al. 1974; JPEG's), lowest frequencies
    first, and the residual layers begin at zero, so that training starts from a codec and not from noise.

    patch: height and width of a patch in pixels. overlap: pixels that it reads and writes beyond, on each
    side. widths: channels of the residual layers, 3 x 3.
    """

    gives = frozenset({"shared weights"})

    widths: list[Annotated[int, AtLeast(1)]]
    patch: Annotated[int, AtLeast(2), AtMost(32)] = 8
    overlap: Annotated[int, AtLeast(0), AtMost(32)] = 4
    activation: Activation = "leaky_relu"

    @property
    def depth(self) -> int:
        return 1 + len(self.widths)

    def problem(self, shape: tuple[int, ...]) -> tuple[str, str] | None:
        if len(shape) == 3:
            return None
        what = f"network=fully_conv needs images of C x H x W, but the samples are {describe_shape(shape)}"
        return what, f"Write network={'mlp' if len(shape) == 1 else 'conv'}."

    def training_problem(self, shape: tuple[int, ...]) -> tuple[str, str] | None:
        return find_flat_side(shape)

    def layer_sizes(self, shape: tuple[int, ...]) -> list[int]:
        return []  # hidden layers are residual: sizes need not narrow to the code

    def code_shape(self, shape: tuple[int, ...], latent_dim: int) -> tuple[int, ...]:
        height, width = (math.ceil(side / self.patch) for side in shape[1:])
        return latent_dim // (height * width), height, width

    def code_problem(self, shape: tuple[int, ...], latent_dim: int) -> tuple[str, str] | None:
        channels, height, width = self.code_shape(shape, latent_dim)
        positions, most = height * width, shape[0] * self.patch**2
        if channels * positions == latent_dim and 1 <= channels <= most:
            return None
        wanted = min(max(1, round(latent_dim / positions)), most)
        what = f"the units of {height} x {width} positions must be a multiple of {positions}"
        what += f", and at most {most * positions}"
        some = f"{wanted} channel{'' if wanted == 1 else 's'}"
        return what, f"Write model.latent_dim={wanted * positions} for {some}."

    def target_problem(
        self, shape: tuple[int, ...], target: tuple[int, ...]
    ) -> tuple[str, str] | None:
        if target == shape:
            return None
        sizes = (" x ".join(map(str, sides)) for sides in (target, shape))
        what = "it writes images of the shape that it reads, but targets are {} and samples {}"
        return what.format(*sizes), "Write network=conv, or network=mlp."

    def build(
        self, shape: tuple[int, ...], latent_dim: int, heads: int
    ) -> tuple[nn.Sequential, Decoder]:
        code_shape = self.code_shape(shape, latent_dim)
        kernels = F.pad(
            make_cosine_kernels(shape[0], self.patch, code_shape[0]), (self.overlap,) * 4
        )
        to, size = code_shape[0] * heads, self.patch + 2 * self.overlap
        analysis = nn.Conv2d(shape[0], to, size, self.patch)
        synthesis = nn.ConvTranspose2d(
            code_shape[0], shape[0], size, self.patch, padding=self.overlap
        )
        with torch.no_grad():
            for layer in (analysis, synthesis):
                layer.weight.zero_()[: len(kernels)] = kernels
                assert layer.bias is not None
                layer.bias.zero_()
        encoder = nn.Sequential(
            PaddedToPatches(self.patch, self.overlap),
            analysis,
            self._build_residual(to),
            nn.Flatten(),
        )
        decoder = FullyConvDecoder(
            self._build_residual(code_shape[0]), synthesis, tuple(shape), self.patch, self.overlap
        )
        for part in (encoder, decoder):  # the layout that convolutions are fastest in
            part.to(memory_format=torch.channels_last)
        return encoder, decoder

    def _build_residual(self, channels: int) -> Residual:
        layers: list[nn.Module] = []
        for a, b in pairwise([channels, *self.widths]):
            layers += [nn.Conv2d(a, b, 3, padding=1), ACTIVATIONS[self.activation]()]
        last = nn.Conv2d((channels, *self.widths)[-1], channels, 3, padding=1)
        nn.init.zeros_(last.weight)
        assert last.bias is not None
        nn.init.zeros_(last.bias)
        return Residual(*layers, last)


def make_cosine_kernels(colors: int, patch: int, channels: int) -> Tensor:
    """Return the first orthonormal functions on a patch, [channels, colors, patch, patch], lowest
    frequencies first.

    Cosines in both directions, of the mean of the colors and of their differences; these come at half the
    resolution: their frequencies count twice.
    """
    across, of_colors = _make_cosines(patch), _make_cosines(colors)
    color = torch.arange(colors)[:, None, None]
    down, right = torch.arange(patch)[:, None], torch.arange(patch)
    frequency = ((down + right) * (1 + (color > 0))).flatten()
    first = frequency.argsort(stable=True)[:channels]
    c, u, v = first // patch**2, first // patch % patch, first % patch
    kernels = of_colors[c][:, :, None, None] * across[u][:, None, :, None]
    return kernels * across[v][:, None, None, :]


def _make_cosines(n: int) -> Tensor:
    """Return the orthonormal cosine transform of n values (DCT-II), one row for each frequency, [n, n]."""
    k = torch.arange(n, dtype=torch.float64)
    rows = torch.cos(math.pi / n * (k + 0.5) * k[:, None]) * math.sqrt(2 / n)
    rows[0] /= math.sqrt(2)
    return rows.float()


class PaddedToPatches(nn.Module):
    """A layer that repeats an image's edge up to whole patches and their overlap."""

    def __init__(self, patch: int, overlap: int) -> None:
        super().__init__()
        self.patch, self.overlap = patch, overlap

    def forward(self, x: Tensor) -> Tensor:
        """Pad x [B, C, H, W] of any size."""
        bottom, right = (self.overlap + -side % self.patch for side in x.shape[-2:])
        return F.pad(x, (self.overlap, right, self.overlap, bottom), mode="replicate")


class FullyConvDecoder(MapDecoder):
    """A decoder of residual layers on the code's map, then patches that are added up where they overlap."""

    is_linear = False

    def __init__(
        self,
        refine: Residual,
        synthesis: nn.ConvTranspose2d,
        shape: tuple[int, ...],
        patch: int,
        overlap: int,
    ) -> None:
        super().__init__()
        self.refine, self.synthesis = refine, synthesis
        self.shape, self.patch, self.channels = shape, patch, synthesis.in_channels
        convolutions = sum(isinstance(layer, nn.Conv2d) for layer in refine)
        self.reach = convolutions + math.ceil(overlap / patch)

    def positions(self, height: int, width: int) -> tuple[int, int]:
        return math.ceil(height / self.patch), math.ceil(width / self.patch)

    def forward(self, value: Tensor | None, active: Active | None = None) -> Tensor:
        assert value is not None, "units without weights of their own are read together"
        return self.sized(value, *self.shape[1:])

    def sized(self, value: Tensor, height: int, width: int) -> Tensor:
        size = self.positions(height, width)
        coefficients = self.refine(value.view(-1, self.channels, *size))
        return self.synthesis(coefficients)[..., :height, :width]

    @property
    def reader(self) -> nn.Linear:
        raise TypeError("the code's units share their weights with other positions")

    def rest(self, read: Tensor) -> Tensor:
        raise TypeError("the code's units share their weights with other positions")

    @property
    def last(self) -> nn.Module:
        return self.synthesis

    def start_at(self, output: Tensor) -> None:
        """Keep the first output: it already equals the input."""
