"""The networks that both arms train: as plain torch modules, and as aeframe's overrides."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

PIXELS = 784
IMAGE = (1, 28, 28)


class Autoencoder(nn.Module):
    """Encoder and decoder; begins, as aeframe does, with the data's mean as its output.

    shape: of a sample, without the batch.
    """

    def __init__(self, shape: tuple[int, ...], encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.shape, self.encoder, self.decoder = shape, encoder, decoder

    def forward(self, x: Tensor) -> Tensor:
        """[B, *shape] -> [B, *shape]."""
        return self.decoder(self.encoder(x))

    @torch.no_grad()
    def start_at(self, mean: Tensor) -> None:
        """Let the last bias be the mean [784], averaged over what it shares."""
        bias = list(self.parameters())[-1]
        bias.copy_(mean.reshape(len(bias), -1).mean(1))


class SparseAutoencoder(Autoencoder):
    """One linear layer each way; a sample keeps the k largest of its rectified units.

    As aeframe's: the encoder sees x less the mean and starts as the transpose of a decoder with unit
    columns.
    """

    centre: Tensor

    def __init__(self, units: int, k: int) -> None:
        encoder, decoder = nn.Linear(PIXELS, units), nn.Linear(units, PIXELS)
        super().__init__((PIXELS,), encoder, decoder)
        self.k = k
        self.register_buffer("centre", torch.zeros(PIXELS))
        with torch.no_grad():
            decoder.weight.copy_(F.normalize(decoder.weight, dim=0))
            encoder.weight.copy_(decoder.weight.t())

    def forward(self, x: Tensor) -> Tensor:
        units = self.encoder(x - self.centre).relu()
        top = units.topk(self.k, dim=1, sorted=False)
        return self.decoder(torch.zeros_like(units).scatter(1, top.indices, top.values))

    @torch.no_grad()
    def start_at(self, mean: Tensor) -> None:
        super().start_at(mean)
        self.centre.copy_(mean)


@dataclass(frozen=True)
class MLP:
    """Linear layers that narrow from 784 pixels to the code, and the same in reverse."""

    name: str
    widths: tuple[int, ...]
    latent: int

    def build(self) -> Autoencoder:
        """Build the network with torch's default initial weights."""
        sizes = (PIXELS, *self.widths, self.latent)
        return Autoencoder((PIXELS,), _layers(sizes), _layers(sizes[::-1]))

    @property
    def overrides(self) -> tuple[str, ...]:
        """The same for aeframe."""
        return (*_undercomplete(self.latent, self.widths), "network=mlp")


@dataclass(frozen=True)
class Conv:
    """3 x 3 convolutions with stride 2, then a linear layer to the code; mirrored by the decoder."""

    name: str
    widths: tuple[int, ...]
    latent: int

    def build(self) -> Autoencoder:
        """Build the network with torch's default initial weights."""
        sides = [IMAGE[1]]
        for _ in self.widths:
            sides.append((sides[-1] + 1) // 2)
        channels = (1, *self.widths)
        inner = (channels[-1], sides[-1], sides[-1])
        units = inner[0] * inner[1] * inner[2]
        down: list[nn.Module] = []
        for a, b in pairwise(channels):
            down += [nn.Conv2d(a, b, 3, stride=2, padding=1), nn.ReLU()]
        up: list[nn.Module] = [nn.Linear(self.latent, units), nn.Unflatten(1, inner)]
        for (a, b), (small, large) in zip(
            pairwise(channels[::-1]), pairwise(sides[::-1]), strict=True
        ):
            missing = large - (2 * small - 1)
            up += [nn.ReLU(), nn.ConvTranspose2d(a, b, 3, 2, padding=1, output_padding=missing)]
        encoder = nn.Sequential(*down, nn.Flatten(), nn.Linear(units, self.latent))
        return Autoencoder(IMAGE, encoder, nn.Sequential(*up))

    @property
    def overrides(self) -> tuple[str, ...]:
        """The same for aeframe."""
        return (*_undercomplete(self.latent, self.widths), "network=conv")


@dataclass(frozen=True)
class TopK:
    """More code units than pixels, k of which are active in a sample."""

    name: str
    latent: int
    k: int

    def build(self) -> Autoencoder:
        """Build the network with aeframe's initial weights."""
        return SparseAutoencoder(self.latent, self.k)

    @property
    def overrides(self) -> tuple[str, ...]:
        """The same for aeframe."""
        size = (f"model.latent_dim={self.latent}", f"constraint.topk.k={self.k}")
        return ("model=sparse", "constraint=topk", "network=linear", *size)


Network = MLP | Conv | TopK

SMALL = MLP("small", (128, 64), 32)
WIDE = MLP("wide", (1000, 500, 250), 30)
CONV = Conv("conv", (16, 32, 64), 32)
TOPK = TopK("topk", 16384, 32)


def _layers(sizes: tuple[int, ...]) -> nn.Sequential:
    modules: list[nn.Module] = []
    for a, b in pairwise(sizes):
        modules += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*modules[:-1])


def _undercomplete(latent: int, widths: tuple[int, ...]) -> tuple[str, ...]:
    listed = ",".join(str(width) for width in widths)
    return (
        "model=undercomplete",
        "constraint=[]",
        f"model.latent_dim={latent}",
        f"network.widths=[{listed}]",
        "network.start=random",
    )
