"""Revival of dead units: units that no sample has activated for a while."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.optim import Optimizer

from aeframe.constraints.constraint import Constraint, Data, Pass, Step
from aeframe.core.bounds import AtLeast, AtMost
from aeframe.core.distributed import count_batch_rows, gather_rows, sum_over_ranks
from aeframe.core.noise import Noise
from aeframe.core.schedules import Clock, Scheduled, parse_schedule
from aeframe.data.gaps import keep_present
from aeframe.models.autoencoder import Autoencoder
from aeframe.models.output import Output

Epochs = Annotated[float, AtLeast(1e-3), AtMost(1e6)]
MOST = 2**62  # samples that can be counted


class _Revival(Constraint):
    """The base of constraints that revive units. It counts the samples since each unit was last active,
    over all ranks.

    after: epochs without activity after which a unit is dead.
    """

    needs = frozenset({"deterministic code", "sparsity"})
    gives = frozenset({"revived units"})
    idle: Tensor

    def __init__(self, after: float) -> None:
        super().__init__()
        self.after = after

    def attach(self, model: Autoencoder, data: Data) -> None:
        self.limit = min(max(1, round(self.after * data.samples)), MOST)
        self.register_buffer("idle", torch.zeros(model.latent_dim, dtype=torch.int64))

    def observe(self, output: Output, clock: Clock) -> None:
        fired = sum_over_ranks(output.code.active.any(0).int()) > 0
        rows = count_batch_rows(len(output.code.value))
        self.idle.copy_(torch.where(fired, 0, self.idle + rows))

    @property
    def dead(self) -> Tensor:
        """Return the dead units, bool [m]."""
        return self.idle >= self.limit


class AuxK(_Revival):
    """The penalty weight / 2 * ||e - e_hat||^2 (Gao et al. 2024, arXiv:2406.04093). e is the
    reconstruction's error, held constant. e_hat is the reconstruction of e by the k largest dead units,
    without the decoder's bias. Only dead units get a gradient.

    Logistic units, which are never rectified, count as they are. The error is in units of the
    likelihood's standard deviation, as the reconstruction term is. k: null for half the inputs.
    """

    needs = frozenset({"linear decoder", "linear mean"})

    def __init__(
        self,
        *,
        weight: Annotated[Scheduled, AtLeast(0)] = 1 / 32,
        k: Annotated[int, AtLeast(1)] | None = None,
        after: Epochs = 1.0,
    ) -> None:
        super().__init__(after)
        self._weight, self.k = parse_schedule(weight), k

    def weight_at(self, clock: Clock) -> float:
        return self._weight(clock)

    def penalty(self, seen: Pass) -> Tensor:
        dead = self.dead
        if dead.device.type == "cpu" and not dead.any():  # reading it would wait for a GPU
            return seen.parameters.new_zeros(())
        k = min(self.k or max(1, seen.model.inputs // 2), seen.model.latent_dim)
        value = seen.code.value if seen.code.in_unit_interval else seen.code.pre.relu()
        top = (value * dead).topk(k, dim=1, sorted=False)
        chosen = torch.zeros_like(seen.code.pre).scatter(1, top.indices, top.values)
        residuals = (seen.x - seen.reconstruction).detach().flatten(1)
        error = residuals - chosen @ seen.model.decoder.dictionary.t()
        error = keep_present(error, None if seen.present is None else seen.present.flatten(1))
        # zero without dead units
        return 0.5 * error.square().sum(1).mean() * seen.model.likelihood.precision * dead.any()


class Resampling(_Revival):
    """Re-initialization of dead units every `every` epochs (after Bricken et al. 2023), at most one for every
    fourth sample of a batch: more at once would undo what has been learned.

    With one linear layer each way they point at the errors of the batch's worst reconstructions, else in
    random directions; for targets beside the samples their encoder rows point at those samples. Their
    encoder rows, biases and thresholds are as large as the live units' on average. The optimizer's memory of
    these units is cleared.
    """

    needs = frozenset({"whole weights", "own weights"})
    phase = 0.25  # not at an epoch's end, which may be the end of training

    def __init__(self, *, every: Epochs = 1.0, after: Epochs = 1.0) -> None:
        super().__init__(after)
        self.every, self.has_targets = every, False
        # x, the decoder's output, the elements that are no gaps, and inputs that are not the targets
        self._last: tuple[Tensor, Tensor, Tensor | None, Tensor | None] | None = None

    @property
    def changes_weights(self) -> bool:
        return True

    def attach(self, model: Autoencoder, data: Data) -> None:
        super().attach(model, data)
        self.has_targets = data.targets is not None

    def observe(self, output: Output, clock: Clock) -> None:
        super().observe(output, clock)
        inputs = output.corrupted if self.has_targets else None
        self._last = output.x, output.parameters.detach(), output.present, inputs

    def _count_times(self, epoch: float) -> int:
        return math.floor(epoch / self.every - self.phase)

    @torch.no_grad()
    def after_step(self, step: Step) -> None:
        epoch, before = step.clock.epoch, step.clock.epoch * (1 - 1 / max(step.clock.step, 1))
        if self._count_times(epoch) == self._count_times(before) or self._last is None:
            return
        x, parameters, present, inputs = self._last
        residuals = x - step.model.likelihood.mean(parameters)[: len(x)]
        residuals = keep_present(residuals, present)
        residuals, dead = gather_rows(residuals.flatten(1)), self.dead
        units = dead.nonzero().flatten()[: max(1, len(residuals) // 4)]
        if len(units):
            if inputs is not None:
                inputs = gather_rows(inputs.flatten(1))
            directions = draw_directions(step.model, len(units), residuals, step.noise, inputs)
            revive(step.model, step.optimizer, units, ~dead, *directions)
            step.restart(units, ~dead)
            self.idle[units] = 0


def draw_directions(
    model: Autoencoder,
    count: int,
    residuals: Tensor,
    noise: Noise,
    inputs: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return unit vectors for encoder rows [count, in] and decoder columns [count, out], all different.

    residuals: the error of each sample's reconstruction in the global batch, [n >= count, out]. inputs: the
    samples, [n, in], if they are not the targets.
    """
    rows, columns = model.writes_code.in_features, model.decoder.dictionary.shape[0]
    width = residuals.shape[1] if inputs is None else inputs.shape[1]
    if rows == width and columns == residuals.shape[1]:
        worst = residuals.square().sum(1).argsort(descending=True, stable=True)[:count]
        directions = F.normalize(residuals[worst], dim=1)
        if inputs is None:
            return directions, directions
        return F.normalize((inputs - inputs.mean(0))[worst], dim=1), directions
    everywhere = Noise(*noise.key)  # the same on every rank
    drawn = (everywhere.normal((count, width), residuals.device) for width in (rows, columns))
    read, written = (F.normalize(normal, dim=1).to(model.writes_code.weight) for normal in drawn)
    return read, written


def revive(
    model: Autoencoder,
    optimizer: Optimizer,
    units: Tensor,
    live: Tensor,
    rows: Tensor,
    columns: Tensor,
) -> None:
    """Give units new encoder rows [n, in], decoder columns [n, out] and biases, scaled like those of live
    units, and clear the optimizer's memory of these weights alone. rows, columns: of unit length.
    """
    encode, dictionary = model.writes_code, model.decoder.dictionary
    model_units = live if bool(live.any()) else ~live  # if none lives, the dead set the scale
    dictionary[:, units] = (columns * dictionary[:, model_units].norm(dim=0).mean()).t()
    encode.weight[units] = rows * encode.weight[model_units].norm(dim=1).mean()
    encode.bias[units] = encode.bias[model_units].mean()
    _forget(optimizer, encode.weight, units, 0)
    _forget(optimizer, encode.bias, units, 0)
    if isinstance(dictionary, nn.Parameter):  # tied weights are the encoder's
        _forget(optimizer, dictionary, units, 1)


def _forget(optimizer: Optimizer, parameter: Tensor, units: Tensor, dim: int) -> None:
    for memory in optimizer.state.get(parameter, {}).values():
        if isinstance(memory, Tensor) and memory.shape == parameter.shape:
            memory.index_fill_(dim, units, 0)
