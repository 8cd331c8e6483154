"""Small code: fewer units than inputs."""

from __future__ import annotations

from typing import Annotated

from aeframe.constraints.constraint import Constraint
from aeframe.core.bounds import AtLeast, Rate


class Bottleneck(Constraint):
    """A code smaller than the input.

    size: the number of units; ratio: the same as a share of the inputs. Without either the model's own
    latent_dim stands and is only checked.
    """

    gives = frozenset({"small code"})
    trades = ("size", "ratio")

    def __init__(
        self,
        *,
        size: Annotated[int, AtLeast(1)] | None = None,
        ratio: Rate | None = None,
    ) -> None:
        super().__init__()
        if size is not None and ratio is not None:
            raise ValueError(
                "size and ratio both set the code size; write one and leave the other null"
            )
        self.size, self.ratio = size, ratio

    def code_size(self, latent_dim: int, inputs: int) -> int:
        if self.ratio is not None:
            return max(1, round(self.ratio * inputs))
        return latent_dim if self.size is None else self.size

    def size_problem(self, latent_dim: int, inputs: int, batch: int) -> tuple[str, str] | None:
        if latent_dim < inputs:
            return None
        what = f"a code of {latent_dim} units is not a bottleneck for {inputs} inputs"
        remedy = f"Write constraint.bottleneck.size={max(1, inputs // 4)}, or another constraint."
        if inputs == 1:
            remedy = (
                "Write constraint=[], or leave bottleneck out: no code is smaller than one unit."
            )
        return what, remedy
