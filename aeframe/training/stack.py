"""Stack: several trained networks, each on the codes of the one before, as the layers of one network.

Layer-wise pretraining for deep autoencoders (Hinton & Salakhutdinov 2006; Vincent et al. 2010, section 3.5).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from aeframe.core.errors import UserError
from aeframe.models import Autoencoder
from aeframe.networks import list_linear_layers
from aeframe.runs.model import Model

WHERE = "init_from.run"


class Layer(NamedTuple):
    """Weight [out, in] and bias [out] of a linear layer."""

    weight: Tensor
    bias: Tensor


class Stack(NamedTuple):
    """The layers of all encoders, from the data to the last code, and of all decoders, back to the data."""

    models: Sequence[Model]
    down: list[Layer]
    up: list[Layer]

    @property
    def sizes(self) -> list[int]:
        """Sizes from the data to the last code."""
        return [self.down[0].weight.shape[1], *(len(layer.bias) for layer in self.down)]

    @property
    def identity(self) -> str:
        """SHA-256 of the identities of all networks."""
        return hashlib.sha256(" ".join(m.identity for m in self.models).encode()).hexdigest()

    def put_into(self, model: Autoencoder) -> None:
        """Copy the layers into a network of the same sizes. Raises UserError for another network."""
        own = [*list_linear_layers(model.encoder), *list_linear_layers(model.decoder)]
        layers = [*self.down, *self.up]
        shapes, wanted = ([tuple(x.weight.shape) for x in some] for some in (own, layers))
        if shapes != wanted:
            here = " - ".join(map(str, (model.inputs, *model.layer_sizes, model.latent_dim)))
            what = f"the runs make layers of {' - '.join(map(str, self.sizes))}, not {here}"
            widths = ",".join(map(str, self.sizes[1:-1]))
            remedy = (
                f"Write network=mlp network.widths=[{widths}] model.latent_dim={self.sizes[-1]}."
            )
            raise UserError(WHERE, what, remedy)
        with torch.no_grad():
            for layer, (weight, bias) in zip(own, layers, strict=True):
                assert isinstance(layer, nn.Linear)
                layer.weight.copy_(weight)
                layer.bias.copy_(bias)

    @torch.inference_mode()
    def measure_difference(self, model: Autoencoder, x: Tensor) -> float:
        """Measure how far the codes of a network are from those of the runs one after another.

        x: normalized samples [N, *shape]. Returns the root of the mean squared difference, as a share of the
        root mean square of the codes. It is 0 where the code of each run but the last passes through the
        activation of the network.
        """
        first = self.models[0].net
        code = first.encode(x).value
        for later in self.models[1:]:
            code = later.net.encode(later.net.normalization(code)).value
        own = model.encode(x).value
        scale = code.square().mean().sqrt().clamp(min=1e-12)
        return float((own - code).square().mean().sqrt() / scale)


def make_stack(models: Sequence[Model], names: Sequence[str]) -> Stack:
    """Make a stack of networks. names: of their runs. Raises UserError for networks that do not follow."""
    for model, name in zip(models, names, strict=True):
        if model.target_shape is not None:
            what = f"{name} writes targets, not the samples that it reads"
            raise UserError(WHERE, what, "Name runs without dataset.target.")
    for (one, other), (name, later) in zip(pairwise(models), pairwise(names), strict=True):
        if other.shape != (one.latent_dim,):
            what = (
                f"{later} takes samples of {' x '.join(map(str, other.shape))}, but codes of {name}"
            )
            what += f" have {one.latent_dim} units"
            remedy = f"Train it with dataset=codes dataset.run={name}."
            raise UserError(WHERE, what, remedy)
    for model, name in zip(models[1:], names[1:], strict=True):
        if not model.net.normalization.is_affine:
            what = f"the normalization of {name} by ranks cannot become a part of its first layer"
            raise UserError(WHERE, what, "Train it with dataset.normalization=standard.")
    down, up = list[Layer](), list[Layer]()
    for model, name in zip(models, names, strict=True):
        encoder, decoder = _read_layers(model, name)
        if down:  # its normalization becomes a part of its first and of its last layer
            shift, scale = model.net.normalization.shift, model.net.normalization.scale
            first, last = encoder[0], decoder[-1]
            weight = first.weight / scale
            moved = weight @ shift if shift.ndim else weight.sum(1) * shift
            encoder[0] = Layer(weight, first.bias - moved)
            each = scale.expand(len(last.bias))
            decoder[-1] = Layer(last.weight * each[:, None], last.bias * each + shift)
        down, up = [*down, *encoder], [*decoder, *up]
    return Stack(models, down, up)


def _read_layers(model: Model, name: str) -> tuple[list[Layer], list[Layer]]:
    """Read the linear layers of a run's encoder and decoder, which must have no others."""
    net = model.net.model
    found = [list(list_linear_layers(part)) for part in (net.encoder, net.decoder)]
    weights = sum(len(list(part.parameters())) for part in (net.encoder, net.decoder))
    is_plain = all(isinstance(layer, nn.Linear) for layers in found for layer in layers)
    encoder, decoder = ([Layer(x.weight, x.bias) for x in layers] for layers in found)
    sizes = [layer.weight.shape for layer in [*encoder, *decoder]]
    follows = all(one[0] == other[1] for one, other in pairwise(sizes))
    if not is_plain or not follows or weights != 2 * len(sizes):
        what = f"{name} does not consist of linear layers alone, one after another"
        remedy = "Train it with network=linear network.start=random, or network=mlp."
        raise UserError(WHERE, what, remedy)
    return encoder, decoder
