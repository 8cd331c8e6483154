"""Dormant units by selection: the largest stay, the others are set to zero."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn

from aeframe.constraints.constraint import Constraint, Data
from aeframe.core.bounds import AtLeast, Rate
from aeframe.core.distributed import gather_rows, gather_values, select_own_rows
from aeframe.core.errors import TrainingError
from aeframe.core.schedules import Clock, Scheduled, parse_schedule
from aeframe.models.autoencoder import Autoencoder
from aeframe.models.output import Code, Output
from aeframe.networks import Active, write_active

Count = Annotated[Scheduled, AtLeast(1)]
ACTIVE = 16
"""Active units that `auto` takes at most."""


class _Selection(Constraint):
    needs = frozenset({"deterministic code"})
    gives = frozenset({"sparsity", "dormant units"})


class _Largest(_Selection):
    """The base of selections of k units. k: `auto` stands for what `choose` returns."""

    trades = ("k",)

    def __init__(self, k: Count | Literal["auto"]) -> None:
        super().__init__()
        self.k = parse_schedule(1 if k == "auto" else k)  # 1 fits any code until it is chosen

    def choose(self, latent_dim: int, inputs: int) -> dict[str, Any]:
        return {"k": max(1, min(ACTIVE, latent_dim // 4, inputs // 4))}

    def active_units(self, latent_dim: int) -> float:
        return self.k.extremes[-1]


class TopK(_Largest):
    """Selection of the k largest units of each sample (Makhzani & Frey 2013, arXiv:1312.5663).

    Largest by signed value. Exactly k are kept, ties broken by position; of a rectified code fewer may
    be above zero.
    read: train encoder and decoder through `all` units, or only through the `active` ones. The result is the
    same, and the time then hardly depends on the number of dormant units. `auto` chooses by size.
    """

    def __init__(
        self, *, k: Count | Literal["auto"], read: Literal["auto", "all", "active"] = "auto"
    ) -> None:
        super().__init__(k)
        self.read = read
        self.reads_active = False
        if read == "active":
            self.declare(needs=["own weights"])

    def size_problem(self, latent_dim: int, inputs: int, batch: int) -> tuple[str, str] | None:
        return _explain_too_many("topk", self.k.extremes, latent_dim)

    def attach(self, model: Autoencoder, data: Data) -> None:
        large = model.latent_dim >= max(512, 16 * max(self.k.extremes))
        wanted = self.read == "active" or (self.read == "auto" and large)
        last = model.encoder[-1]
        self.reads_active = wanted and not data.whole_layers and isinstance(last, nn.Linear)
        if self.reads_active:
            self._writes_code = (
                model.writes_code,
            )  # in a tuple, so that it is not registered here
            model.decoder.store_by_unit()

    def constrain(self, code: Code, clock: Clock) -> Code:
        k = min(round(self.k(clock)), code.pre.shape[1])
        features = (
            code.features if code.stored is None else None
        )  # not changed by another constraint
        reads_active = self.reads_active and not torch.compiler.is_exporting()
        if reads_active and features is not None:  # exported programs lack this operation
            return code.with_active(self._select(code, features, k))
        top = code.value.topk(k, dim=1, sorted=False)
        kept = Active(top.indices, top.values).spread(code.value)
        return code.with_value(kept, floor=code.floor)

    def _select(self, code: Code, features: Tensor, k: int) -> Active:
        units = code.pre.detach().topk(k, dim=1, sorted=False).indices
        values = write_active(self._writes_code[0], features, code.pre, units)
        return Active(units, values.relu() if code.rectified else values)


class _Calibrated(_Selection):
    """The base of selections within a batch. Outside training a threshold replaces the selection, so that
    a sample's code does not depend on the others. It is the running mean of the smallest value that
    training kept.
    """

    average: Tensor
    weight: Tensor
    decay = 0.9  # averages tens of steps: a longer mean lags behind growing units

    def _count_from(self, shape: tuple[int, ...]) -> None:
        self.register_buffer("average", torch.zeros(shape, dtype=torch.float64))
        self.register_buffer("weight", torch.zeros(shape, dtype=torch.float64))

    def get_threshold(self) -> Tensor:
        """Return the value from which a unit stays outside training; infinity if training never kept it."""
        # an exported network has been trained, and an export cannot read numbers
        if not torch.compiler.is_exporting() and not self.weight.any():
            raise TrainingError("the code has no threshold before the first training step.")
        return torch.where(self.weight > 0, self.average / self.weight, torch.inf).float()

    def _follow(self, smallest: Tensor) -> None:
        """Average the smallest kept values; infinity means that none was kept. The weight corrects a mean
        that began at 0.
        """
        kept = torch.isfinite(smallest)  # stays on the device: reading it would wait
        step = kept.double() * (1 - self.decay)
        self.average += step * (torch.where(kept, smallest, 0.0).double() - self.average)
        self.weight += step * (1 - self.weight)


class BatchTopK(_Largest, _Calibrated):
    """Selection of the k * B largest units of a batch of B samples. A sample may have more or fewer than k
    (Bussmann et al. 2024, arXiv:2412.06410).

    Under several ranks the batch is the global one. Outside training a unit stays from a threshold on:
    the running mean of the smallest value that training kept.
    """

    def __init__(self, *, k: Count | Literal["auto"]) -> None:
        super().__init__(k)
        self._count_from(())

    def size_problem(self, latent_dim: int, inputs: int, batch: int) -> tuple[str, str] | None:
        return _explain_too_many("batch_topk", self.k.extremes, latent_dim)

    def constrain(self, code: Code, clock: Clock) -> Code:
        value = code.value
        if not self.training:
            return code.with_value(value * (value >= self.get_threshold()), floor=code.floor)
        everyone = gather_rows(value)
        kept = everyone.flatten().topk(round(self.k(clock) * len(everyone)), sorted=False).indices
        mask = torch.zeros_like(everyone, dtype=torch.bool)
        mask.view(-1).index_fill_(0, kept, True)  # mask[kept] = True would wait for a GPU
        return code.with_value(value * select_own_rows(mask), floor=code.floor)

    def observe(self, output: Output, clock: Clock) -> None:
        value = output.code.value
        smallest = torch.where(value > 0, value, torch.inf).min()
        self._follow(torch.stack(gather_values(smallest)).min())


class WinnerTakeAll(_Calibrated):
    """Selection that keeps each unit for the share `rate` of the batch that activates it most: lifetime
    sparsity (Makhzani & Frey 2015, arXiv:1409.2752). It leaves no unit dead.

    Under several ranks the batch is the global one. inference: outside training, `threshold` keeps a unit
    from the running mean of its smallest winner on; `relu` keeps all above zero, as the paper's features
    do; most of them may then be active at once.
    """

    trades = ("rate",)

    def __init__(
        self, *, rate: Rate, inference: Literal["threshold", "relu"] = "threshold"
    ) -> None:
        super().__init__()
        self.rate, self.inference = rate, inference
        if inference == "relu":
            self.declare(gives=["dense inference"])

    def size_problem(self, latent_dim: int, inputs: int, batch: int) -> tuple[str, str] | None:
        return None if int(self.rate * batch) >= 1 else _explain_no_winner(self.rate, batch)

    def active_units(self, latent_dim: int) -> float:
        return self.rate * latent_dim

    def attach(self, model: Autoencoder, data: Data) -> None:
        self._count_from((model.latent_dim,))

    def constrain(self, code: Code, clock: Clock) -> Code:
        value = code.value.relu()
        if not self.training:
            kept = value >= self.get_threshold() if self.inference == "threshold" else value > 0
            return code.with_value(value * kept, floor=code.floor)
        everyone = gather_rows(value)
        winners = everyone.topk(max(1, int(self.rate * len(everyone))), dim=0, sorted=False).indices
        mask = torch.zeros_like(everyone, dtype=torch.bool).scatter(0, winners, True)
        return code.with_value(value * select_own_rows(mask), floor=code.floor)

    def observe(self, output: Output, clock: Clock) -> None:
        value = output.code.value
        smallest = torch.where(value > 0, value, torch.inf).amin(0)
        self._follow(torch.stack(gather_values(smallest)).amin(0))


def _explain_no_winner(rate: float, batch: int) -> tuple[str, str]:
    what = f"a share of {rate:g} of a batch of {batch} is less than one winner"
    larger = f"dataset.batch_size={math.ceil(2 / rate)}"
    other = f"constraint.winner_take_all.rate={2 / batch:.2g} or " if batch > 4 else ""
    return what, f"Write {other}{larger}."


def _explain_too_many(name: str, ks: tuple[float, ...], latent_dim: int) -> tuple[str, str] | None:
    if len(ks) == 1 and ks[0] % 1 and name == "topk":
        low = math.floor(ks[0])
        return f"k={ks[0]:g} is not a whole number", f"Write {low} or {low + 1}."
    if max(ks) < latent_dim:
        return None
    what = f"k={max(ks):g} leaves none of the {latent_dim} code units dormant"
    return what, f"Write constraint.{name}.k={max(1, min(ACTIVE, latent_dim // 4))}."
