"""Likelihood of tables whose columns are of several kinds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import accumulate
from typing import Annotated, Literal

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from aeframe.core.bounds import AtLeast, AtMost
from aeframe.core.distributed import average_weighted
from aeframe.core.precision import widen
from aeframe.data.table_elements import list_kinds
from aeframe.data.table_schema import Schema
from aeframe.models.likelihoods import LIMIT, Likelihood

RARE = 1e-3  # least probability or rate that the first output gives
STEEPEST = 10.0  # largest slope of the first linear path to logits
KINDS = ("numeric", "boolean", "categorical", "count")


def _get_kind(kind: str) -> str:
    """Return the kind of distribution of a column's kind: dates are numbers."""
    return "numeric" if kind == "date" else kind


@dataclass(frozen=True)
class Places:
    """The elements of a sample by the kind of their column, as indices on one device.

    order: from elements sorted by kind to those of a sample. members: the elements of each categorical
    column among all categorical ones, [columns, widest], with others where `padding` is true. column: that
    of each categorical element.
    """

    numeric: Tensor
    boolean: Tensor
    categorical: Tensor
    count: Tensor
    order: Tensor
    members: Tensor
    column: Tensor
    padding: Tensor

    @classmethod
    def find(cls, schema: Schema, device: torch.device) -> Places:
        """Find the elements of a table's columns."""
        kinds = [_get_kind(kind) for kind in list_kinds(schema)]
        each = [[i for i, kind in enumerate(kinds) if kind == one] for one in KINDS]
        by_kind = [element for elements in each for element in elements]
        order = sorted(range(len(by_kind)), key=by_kind.__getitem__)
        widths = [column.width for column in schema.columns if column.kind == "categorical"]
        firsts = accumulate(widths, initial=0)
        rows = [
            [first + min(i, width - 1) for i in range(max(widths))]
            for first, width in zip(firsts, widths, strict=False)
        ]
        padding = [[i >= width for i in range(max(widths))] for width in widths]
        column = [number for number, width in enumerate(widths) for _ in range(width)]
        found = [
            torch.tensor(values, dtype=torch.int64, device=device)
            for values in (*each, order, rows, column, padding)
        ]
        found[-1] = found[-1].bool()
        return cls(*found)


class Mixed(Likelihood):
    """The distribution of a table's row, in which each column has its own.

    Numbers and dates: N(output, variance), in normalized units. Booleans: Bernoulli; the decoder gives the
    logit. Categories: one of them, by the softmax of its elements. Counts: Poisson; the decoder gives the
    softplus's argument of the rate, in normalized units.
    variance: of numbers: one value for all; `optimal`: that of each column, in closed form as by Gaussian;
    `auto`: `optimal` for a code that is drawn from a posterior, and 1 elsewhere: a column that is copied
    into a code without noise would have no least variance, and count more than all others.
    """

    gives = frozenset({"linearized mean"})
    scales_columns = True
    pace = 0.1
    """The share by which a batch moves the optimal variances to its own errors."""
    log_variance: Tensor
    unit: Tensor

    def __init__(
        self,
        *,
        variance: Annotated[float, AtLeast(1e-6), AtMost(1e6)]
        | Literal["auto", "optimal"] = "auto",
    ) -> None:
        super().__init__()
        self.variance = variance
        self.columns: Schema | None = None
        self._places = dict[torch.device, Places]()

    def suited(self, *, stochastic: bool) -> Mixed:
        if self.variance != "auto":
            return Mixed(variance=self.variance)
        return Mixed(variance="optimal" if stochastic else 1.0)

    def fit_columns(self, columns: Schema | None) -> None:
        if columns is None:
            return
        self.columns = columns
        kinds = [_get_kind(kind) for kind in list_kinds(columns)]
        if self.variance == "optimal":
            self.register_buffer("log_variance", torch.zeros(kinds.count("numeric")))
        self.register_buffer("unit", torch.ones(kinds.count("count")))

    def columns_problem(self, columns: Schema | None) -> tuple[str, str] | None:
        if columns is not None:
            return None
        return "needs the columns of a table", "Write dataset=table, or likelihood=gaussian."

    def take_scale(self, scale: Tensor) -> None:
        self.unit.copy_(scale.expand(self._schema.width)[self._find_places(scale.device).count])

    def describe(self) -> str:
        """Describe it in one line for the user."""
        if self.columns is None:
            return "Mixed"
        kinds = [column.kind for column in self.columns.columns]
        numbers = f", {self.variance if self.variance == 'optimal' else 'fixed'} variance"
        names = zip(KINDS, (f"Gaussian{numbers}", "Bernoulli", "softmax", "Poisson"), strict=True)
        listed = [
            f"{' and '.join(f'{kinds.count(one)} {one}' for one in own)} ({how})"
            for kind, how in names
            if (own := [one for one in (*KINDS, "date") if one in kinds and _get_kind(one) == kind])
        ]
        return f"Mixed: {', '.join(listed)}"

    @property
    def _schema(self) -> Schema:
        assert self.columns is not None
        return self.columns

    def _find_places(self, device: torch.device) -> Places:
        """Find the elements by kind; on each device once."""
        if device not in self._places:
            with torch.inference_mode(False):  # they may be saved for a gradient later
                self._places[device] = Places.find(self._schema, device)
        return self._places[device]

    def nll(self, parameters: Tensor, x: Tensor) -> Tensor:
        at = self._find_places(x.device)
        output = widen(parameters)
        log_variance = self._get_log_variance(output)
        squares = (x[..., at.numeric] - output[..., at.numeric]).square()
        numeric = 0.5 * (squares * torch.exp(-log_variance) + log_variance + math.log(2 * math.pi))
        logits, known = output[..., at.boolean], x[..., at.boolean]
        boolean = F.softplus(logits) - known * logits
        categorical = -x[..., at.categorical] * self._normalize_logits(output, at)
        unit = self.unit.to(output.dtype)
        rate = F.softplus(output[..., at.count]).clamp(min=torch.finfo(output.dtype).tiny) * unit
        count = (x[..., at.count] * unit).clamp(min=0)
        poisson = rate - torch.xlogy(count, rate) + torch.lgamma(count + 1)
        return self._put_in_order((numeric, boolean, categorical, poisson), at)

    def _get_log_variance(self, output: Tensor) -> Tensor:
        if self.variance == "optimal":
            return self.log_variance.to(output.dtype).clamp(min=-LIMIT)
        return output.new_tensor(math.log(float(self.variance)))

    @staticmethod
    def _normalize_logits(output: Tensor, at: Places) -> Tensor:
        """Return the log-probabilities of all categorical elements."""
        logits = output[..., at.categorical]
        if not len(at.categorical):
            return logits
        each = logits[..., at.members].masked_fill(at.padding, -math.inf).logsumexp(-1)
        return logits - each[..., at.column]

    @staticmethod
    def _put_in_order(parts: tuple[Tensor, ...], at: Places) -> Tensor:
        """Put elements that are sorted by kind in the order of a sample."""
        return torch.cat(parts, -1).index_select(-1, at.order)

    def constant(self, x: Tensor) -> Tensor | float:
        if self.variance == "optimal":
            return 0.0
        constant = x.new_zeros(self._schema.width)
        constant[self._find_places(x.device).numeric] = 0.5 * math.log(
            2 * math.pi * float(self.variance)
        )
        return constant

    def loss(self, parameters: Tensor, x: Tensor, weight: Tensor | None = None) -> Tensor:
        loss = super().loss(parameters, x, weight)
        self.observe(parameters, x, x.new_ones(()) if weight is None else weight)
        return loss

    @torch.no_grad()
    def observe(self, parameters: Tensor, x: Tensor, weight: Tensor) -> None:
        if self.variance != "optimal" or not self.training:
            return
        at = self._find_places(x.device).numeric
        squares = (x[..., at] - widen(parameters)[..., at]).square()
        weights = weight.expand_as(parameters)[..., at]
        total, counted = ((part.flatten(0, -2).sum(0)) for part in (squares * weights, weights))
        error, variance = average_weighted(total, counted, len(x)), self.log_variance.exp()
        error = error.where(error.isfinite(), variance)  # a column of which the batch has no value
        moved = variance.lerp_(error.to(variance.dtype), self.pace)
        self.log_variance.copy_(moved.clamp_(min=math.exp(-LIMIT)).log_())

    @torch.no_grad()
    def start_at(self, x: Tensor, output: Tensor) -> None:
        if self.variance == "optimal":
            at = self._find_places(x.device).numeric
            error = (x[:, at] - output[:, at]).square().mean(0)
            self.log_variance.copy_(error.clamp(min=math.exp(-LIMIT)).log())

    def mean(self, parameters: Tensor) -> Tensor:
        at, output = self._find_places(parameters.device), widen(parameters)
        numeric, boolean = output[..., at.numeric], output[..., at.boolean].sigmoid()
        categorical = self._normalize_logits(output, at).exp()
        count = F.softplus(output[..., at.count])
        return self._put_in_order((numeric, boolean, categorical, count), at)

    def initial_output(self, mean: Tensor) -> Tensor:
        at = self._find_places(mean.device)
        boolean = torch.logit(mean[..., at.boolean].clamp(RARE, 1 - RARE))
        categorical = mean[..., at.categorical].clamp(min=RARE).log()
        rate = mean[..., at.count].clamp(min=RARE)
        count = rate + torch.log(-torch.expm1(-rate))  # the inverse of softplus
        return self._put_in_order((mean[..., at.numeric], boolean, categorical, count), at)

    def slope(self, mean: Tensor) -> Tensor:
        at = self._find_places(mean.device)
        p, q = mean[..., at.boolean], mean[..., at.categorical]
        boolean, categorical = 1 / (p * (1 - p)), 1 / q
        count = 1 / -torch.expm1(-mean[..., at.count])
        steep = [part.clamp(max=STEEPEST) for part in (boolean, categorical, count)]
        numeric = torch.ones_like(mean[..., at.numeric])
        return self._put_in_order((numeric, *steep), at)
