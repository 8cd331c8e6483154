"""Small models, codes and passes for the tests of constraints."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from aeframe.constraints import Constraint, Data, Pass
from aeframe.core.noise import Noise
from aeframe.core.schedules import Clock
from aeframe.models import Autoencoder, Code, Output, Setting, Sparse, Undercomplete
from aeframe.models.likelihoods import Gaussian
from aeframe.models.output import Term
from aeframe.networks import MLP

NOW = Clock()


def identity(parameters: Tensor) -> Tensor:
    return parameters


def model(
    cls: type[Autoencoder] = Sparse,
    *,
    inputs: int = 6,
    units: int = 9,
    widths: tuple[int, ...] = (),
    seed: int = 0,
    **network: Any,
) -> Autoencoder:
    torch.manual_seed(seed)
    built = MLP(widths=list(widths), **{"activation": "tanh", **network})
    return cls(Setting(built, Gaussian(), (inputs,)), latent_dim=units)


def code(pre: Tensor) -> Code:
    """A rectified code, as the sparse model's."""
    return Code(pre, pre.relu())


def data(batch: Tensor, samples: int = 100) -> Data:
    return Data(low=0.0, high=1.0, samples=samples, batch=batch)


def seen(part: Constraint, autoencoder: Autoencoder, x: Tensor) -> Pass:
    """A pass through the model with one constraint."""

    def encode(v: Tensor) -> Code:
        return part.constrain(autoencoder.encode(v), NOW)

    constrained = encode(x)
    return Pass(
        x=x,
        corrupted=x,
        code=constrained,
        parameters=autoencoder.decode(constrained.value),
        model=autoencoder,
        encode=encode,
        noise=Noise("penalty"),
        clock=NOW,
    )


def output(x: Tensor, constrained: Code, reconstruction: Tensor | None = None) -> Output:
    """Make the output that `observe` gets."""
    restored = torch.zeros_like(x) if reconstruction is None else reconstruction
    return Output(x, x, None, constrained, restored, identity, {"reconstruction": Term(x.sum())})


__all__ = ["NOW", "Undercomplete", "code", "data", "identity", "model", "output", "seen"]
