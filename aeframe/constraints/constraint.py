"""Constraint: the base class, and the data that its hooks take and return."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn
from torch.optim import Optimizer

from aeframe.core.noise import Noise
from aeframe.core.part import WORDS, Part, Word
from aeframe.core.schedules import Clock, Scheduled, parse_schedule
from aeframe.data.table_schema import Schema
from aeframe.models.autoencoder import Autoencoder
from aeframe.models.output import Code, Output

HOOKS: dict[str, Word] = {
    "corrupt": "corrupted input",
    "perturb": "noisy code",
    "penalty": "penalty",
}
"""The words that a constraint gives by overriding a hook."""


@dataclass(frozen=True)
class Pass:
    """One pass through the model, as a penalty sees it.

    x: clean target. corrupted: the encoder's input, of another shape if the data has other targets.
    parameters: the decoder's output. present: the elements of x that are no gaps (bool), or None. Images are
    [B, *shape].
    encode: from an input to its constrained code, without sampling.
    """

    x: Tensor
    corrupted: Tensor
    code: Code
    parameters: Tensor
    model: Autoencoder
    encode: Callable[[Tensor], Code]
    noise: Noise
    clock: Clock
    present: Tensor | None = None

    @property
    def reconstruction(self) -> Tensor:
        """Return the mean image of the decoder's output, [B, *shape]."""
        return self.model.likelihood.mean(self.parameters)


@dataclass(frozen=True)
class Corrupted:
    """A corrupted batch. mask: True for elements chosen for corruption, [B, *shape]."""

    x: Tensor
    mask: Tensor


@dataclass(frozen=True)
class Data:
    """Facts about the data that a constraint is attached with: the normalized range, training samples per
    epoch, one batch of training inputs, [B, *shape], with its targets if there are some, and the columns of a
    table.

    whole_layers: every computation must use the layers' own forward pass, because a term of the loss is a
    derivative of the code, or because weights are sharded.
    """

    low: float
    high: float
    samples: int
    batch: Tensor
    whole_layers: bool = False
    columns: Schema | None = None
    targets: Tensor | None = None

    @property
    def goals(self) -> Tensor:
        """Return what the network is to write for the batch: the targets, or the inputs themselves."""
        return self.batch if self.targets is None else self.targets


class Step(NamedTuple):
    """An optimizer step that has just been taken."""

    model: Autoencoder
    optimizer: Optimizer
    clock: Clock
    noise: Noise
    restart: Callable[[Tensor, Tensor], None]
    """Function to call with the re-initialized units and the live units, bool [m] each."""


class Constraint(Part, nn.Module):
    """The base of all constraints. A subclass overrides the hooks that it needs, and has a file in
    conf/constraint/.

    `gives` says what the constraint does, and `needs` what it cannot do without (see `aeframe.core.part`).
    Overridden hooks add words: `corrupt` adds "corrupted input", `perturb` "noisy code", `penalty` "penalty".
    Raises TypeError for a class that gives nothing.
    In a training step the hooks are called in this order: `corrupt` the input x [B, *shape], `constrain` and
    `perturb` its code [B, m], `penalty`, `observe`, and `before_step` and `after_step` of the optimizer.
    Outside training only `constrain` is called, and `penalty` in validation.
    Random numbers come from the noise that a hook is given. Schedules are attributes, so that their end is
    found; call them with a hook's clock.
    A constraint keeps its statistics in buffers, so that they are saved. Only `observe` and `after_step`
    change them, never `constrain` or `penalty`.
    """

    trades: ClassVar[tuple[str, ...]] = ()
    """Options that trade the error for a cheaper code: no value is the best by the error alone."""
    rounds_to: float | None = None
    """The step, if the code is rounded to its multiples outside training."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        hooks = {
            word for hook, word in HOOKS.items() if getattr(cls, hook) is not vars(Constraint)[hook]
        }
        cls.gives = cls.gives | hooks
        if not cls.gives:
            known = ", ".join(WORDS)
            raise TypeError(f"{cls.__name__}.gives: is missing. Write gives = {{...}} of: {known}.")

    @property
    def needs_derivatives(self) -> bool:
        """Check whether a term of the loss is itself a derivative, in validation as well."""
        return not self.needs.isdisjoint(("derivatives", "derivatives of hidden layers"))

    @property
    def changes_weights(self) -> bool:
        """Check whether `after_step` changes weights of the model, also frozen ones."""
        return False

    def code_size(self, latent_dim: int, inputs: int) -> int:
        """Return the number of code units, from the model's own number and the inputs of a sample."""
        return latent_dim

    def choose(self, latent_dim: int, inputs: int) -> dict[str, Any]:
        """Return the values of options that stand for `auto` with these sizes."""
        return {}

    def size_problem(self, latent_dim: int, inputs: int, batch: int) -> tuple[str, str] | None:
        """Find what is wrong with these sizes: (what, remedy)."""
        return None

    def note(self, batch: int) -> str | None:
        """Describe what is legal with batches of this size but works badly."""
        return None

    def active_units(self, latent_dim: int) -> float | None:
        """Return a sample's mean number of active units, at the end of a schedule, if known in advance."""
        return None

    def attach(self, model: Autoencoder, data: Data) -> None:
        """Create what depends on sizes or on data. Called once, before the optimizer is made."""

    def corrupt(self, x: Tensor, noise: Noise, clock: Clock) -> Corrupted | None:
        """Return a corrupted copy of x [B, *shape], or None for no change. Never write into x."""
        return None

    def emphasis(self, mask: Tensor) -> Tensor | None:
        """Return the weight of each element in the reconstruction term, [B, *shape]; None means ones."""
        return None

    def constrain(self, code: Code, clock: Clock) -> Code:
        """Return the code that the decoder reads, [B, m], in training and outside of it."""
        return code

    def perturb(self, code: Code, noise: Noise, clock: Clock) -> Code:
        """Return the code with noise, as the decoder reads it in training."""
        return code

    def unit_means(self, code: Code) -> Tensor | None:
        """Return this batch's mean of each unit, [m], if the penalty is a function of means over the data."""
        return None

    def penalty_of(self, means: Tensor) -> Tensor:
        """Compute the penalty from means over the data, which do not depend on the batches of a split."""
        raise NotImplementedError

    def penalty(self, seen: Pass) -> Tensor | None:
        """Compute a term of the loss before its weight: a scalar in nats, averaged over the batch."""
        return None

    def weight_at(self, clock: Clock) -> float:
        """Return the penalty's weight at this moment."""
        return 1.0

    def observe(self, output: Output, clock: Clock) -> None:
        """Update statistics after a training step. Ranks must end with equal buffers."""

    def restart(self, units: Tensor, live: Tensor) -> None:
        """Make these re-initialized units like the live ones (bool [m])."""

    def before_step(self, model: Autoencoder) -> None:
        """Change gradients before the optimizer's step."""

    def after_step(self, step: Step) -> None:
        """Change weights after the optimizer's step."""


class Penalty(Constraint):
    """The base of constraints that add `weight * penalty` to the loss. weight: a number or a schedule.

    relative: the weight is in shares of the loss that the data's mean leaves (Likelihood.left_by_mean), not
    in nats. Then one weight suits data of every scale and size.
    """

    gives = frozenset({"penalty"})
    follows_scale: ClassVar[bool] = False
    """True if the penalty grows in proportion to the data, as sums of code values do."""
    unit: Tensor

    def __init__(self, weight: Scheduled, relative: bool = False) -> None:
        super().__init__()
        self._weight, self.relative = parse_schedule(weight), relative
        self._nats = 1.0
        if relative:
            self.register_load_state_dict_post_hook(Penalty._note_unit)

    def attach(self, model: Autoencoder, data: Data) -> None:
        if self.relative:
            nats, size = model.likelihood.left_by_mean(data.goals)
            unit = nats / size.clamp(min=1e-30) if self.follows_scale else nats
            self.register_buffer("unit", unit.to(data.batch.dtype))
            self._note_unit()

    def _note_unit(self, *_: object) -> None:
        """Keep the unit as a number: reading a tensor would wait for the device."""
        if not self.unit.is_meta:
            self._nats = self.unit.item()

    def weight_at(self, clock: Clock) -> float:
        return self._weight(clock) * self._nats
