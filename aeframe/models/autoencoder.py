"""Autoencoder: the base class of all variants, and the data that flows through them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Set
from typing import Annotated, Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from aeframe.core.bounds import AtLeast, AtMost
from aeframe.core.errors import Problem
from aeframe.core.noise import Noise
from aeframe.core.part import Part, Word
from aeframe.core.schedules import Clock
from aeframe.data.table_schema import Schema
from aeframe.models.likelihoods import Likelihood
from aeframe.models.output import Code, Term
from aeframe.models.principal import Components, find_components
from aeframe.networks import Network

Shape = tuple[int, ...]
LEAST_DEVIATION = 0.03
"""Least scale of a component that a code starts with, as a share of the first one's deviation."""
Units = Annotated[int, AtLeast(1), AtMost(2**24)]
SMALL = 16
"""Units of a code that is to be small."""


class Setting(NamedTuple):
    """The parts that the framework passes to every variant.

    network: builds encoder and decoder. likelihood: gives the decoder's output its meaning.
    shape: of one sample, (C, H, W) or (D,). columns: of a table, or None. target: the shape of one target, if
    the data has targets beside the samples.
    """

    network: Network
    likelihood: Likelihood
    shape: Shape
    columns: Schema | None = None
    target: Shape | None = None


class Autoencoder(Part, nn.Module):
    """The base of all variants: encode(x) -> Code, decode(code) -> the likelihood's parameters. x [B,
    *shape] is in normalized units.

    latent_dim: the number of code units m. A variant is a subclass in aeframe/models/ and a file in
    conf/model/. Its own options follow latent_dim, and are checked by their type hints.
    """

    heads: ClassVar[int] = 1
    """Numbers that the encoder gives for each code unit."""
    k: int = 1
    """Codes that are drawn for each sample."""
    trades: ClassVar[tuple[str, ...]] = ("latent_dim",)
    """Options that trade the error for a smaller code: no value is the best by the error alone."""
    pairs_components: ClassVar[bool] = False
    """Whether a sparse code can start as principal components, with a unit for each of their signs."""

    def __init__(self, setting: Setting, *, latent_dim: Units) -> None:
        super().__init__()
        network, likelihood, shape, columns, target = setting
        self.likelihood = likelihood.suited(stochastic="posterior" in self.gives)
        self.likelihood.fit_columns(columns)
        self.shape, self.latent_dim = tuple(shape), latent_dim
        self.written_shape = self.shape if target is None else tuple(target)
        self.layer_sizes = network.layer_sizes(self.shape)
        self.code_shape = network.code_shape(self.shape, latent_dim)
        self.encoder, self.decoder = network.build(self.shape, latent_dim, self.heads)
        if self.written_shape != self.shape:  # the decoder of a network for targets
            _, self.decoder = network.build(self.written_shape, latent_dim, self.heads)

    @property
    def writes_code(self) -> nn.Linear:
        """Return the encoder's last layer, with one row of weights for each code unit (and head).

        Not of networks that share weights among units.
        """
        layer = self.encoder[-1]
        assert isinstance(layer, nn.Linear)
        return layer

    @property
    def inputs(self) -> int:
        """Return the number of elements of one sample."""
        return math.prod(self.shape)

    @property
    def outputs(self) -> int:
        """Return the number of elements of one target, which is the sample itself unless there are others."""
        return math.prod(self.written_shape)

    @classmethod
    def term_names(cls, options: Mapping[str, Any]) -> tuple[str, ...]:
        """List the model's own terms of the loss, given its options."""
        return ("reconstruction",)

    @classmethod
    def needs_with(cls, options: Mapping[str, Any]) -> Set[Word]:
        """Return the words that the variant needs with these options, before it is made."""
        return cls.needs

    @classmethod
    def aim(cls, options: Mapping[str, Any]) -> str:
        """Return the metric whose best value picks the checkpoint, given the options, without its split."""
        return "mse"

    @classmethod
    def choose(
        cls, options: Mapping[str, Any], inputs: int, samples: int | None = None
    ) -> dict[str, Any]:
        """Return the values that stand for `auto`, given the options, among them `latent_dim`: 16, or half of
        the inputs if there are fewer. samples: of the training split, if known.
        """
        return {"latent_dim": SMALL if inputs > SMALL else max(1, inputs // 2)}

    @torch.no_grad()
    def start_at(self, mean: Tensor, inputs: Tensor | None = None) -> None:
        """Set the first output to the training data's mean [*shape]. Called once, before training.

        inputs: the mean of the samples, if `mean` is that of other targets.
        """
        self.decoder.start_at(self.likelihood.initial_output(mean))

    @torch.no_grad()
    def start_as_pca(self, x: Tensor) -> None:
        """Set the first weights so that the model is the principal component analysis of samples x [N,
        *shape]. Called after `start_at`.
        """
        components = find_components(x.flatten(1), self.latent_dim)
        last, straight, count = self.writes_code, self.decoder.straight, len(components.axes)
        if count == 0:  # a single sample has no components
            return
        assert straight is not None
        reads, writes = self.scale_components(components)
        inputs = components.axes * reads[:, None]
        last.weight[:count] = 0
        last.weight[:count, -self.inputs :] = inputs
        last.bias[:count] = -inputs @ components.mean
        straight.weight.zero_()
        mean = components.mean.view(self.shape)
        slope = self.likelihood.slope(mean).flatten()
        straight.weight[:, :count] = (components.axes * writes[:, None]).t() * slope[:, None]
        straight.bias.copy_(self.likelihood.initial_output(mean).flatten())
        self.decoder.quiet_others()

    def scale_components(self, components: Components) -> tuple[Tensor, Tensor]:
        """Return the factors of each component on its way into the code and out of it, [m] each.

        The code's units have variance 1, or less if their component is far smaller than the first: it
        would scale up noise as well.
        """
        deviations = components.variances.sqrt()
        deviations = deviations.clamp(min=LEAST_DEVIATION * float(deviations.max()) + 1e-12)
        return 1 / deviations, deviations

    @torch.no_grad()
    def suit_likelihood(self, x: Tensor) -> None:
        """Fit the likelihood to targets x [N, *shape] about the first output. Called after `start_at`."""
        training = self.training
        self.eval()
        self.likelihood.start_at(x, self.decode(x.new_zeros(1, self.latent_dim)))
        self.train(training)

    def encode(self, x: Tensor, noise: Noise | None = None) -> Code:
        """Return the code [B, m] of normalized x [B, *shape]. It is deterministic without `noise`; with it
        a stochastic model draws from the posterior.
        """
        return self.write_code(x)

    def write_code(self, x: Tensor, *, rectified: bool = False) -> Code:
        """Run the encoder on x [B, *shape] without constraints. rectified: units below zero are dormant."""
        *layers, last = self.encoder
        for layer in layers:
            x = layer(x)
        features = x if isinstance(last, nn.Linear) else None
        return Code(last(x), rectified=rectified, features=features)

    def decode(self, value: Tensor) -> Tensor:
        """Return the likelihood's parameters, [B, *shape], of code values [B, m]."""
        return self.decoder(value)

    def decode_code(self, code: Code) -> Tensor:
        """Decode a code, by its active units if it lists them."""
        return self.decode(code.value) if code.kept is None else self.decoder(None, code.kept)

    def reconstruct(self, value: Tensor) -> Tensor:
        """Return the mean images, [B, *shape] in normalized units, of code values [B, m]."""
        return self.likelihood.mean(self.decode(value))

    def sample(self, n: int, noise: Noise, device: torch.device | str = "cpu") -> Tensor:
        """Draw n codes from the prior and return their mean images, [n, *shape].

        Needs a variant that gives a "prior".
        """
        raise NotImplementedError

    def log_likelihood(
        self, x: Tensor, k: int, noise: Noise, present: Tensor | None = None
    ) -> Tensor:
        """Estimate log p(x) with k samples of the code, nats, [B]. Needs a variant with a "prior".

        present: the elements of x that count (bool), or None for all.
        """
        raise NotImplementedError

    def terms(
        self, x: Tensor, code: Code, parameters: Tensor, weight: Tensor | None, clock: Clock
    ) -> dict[str, Term]:
        """Compute the model's own terms of the loss, in nats, summed over elements and units and averaged
        over the batch.

        x: the clean target, [B, *shape]. parameters: the decoder's output for it. weight: of each element of
        x, or None for ones.
        """
        return {"reconstruction": Term(self.likelihood.loss(parameters, x, weight))}

    def problems(self) -> list[Problem]:
        """List what is wrong with these sizes and options."""
        return []
