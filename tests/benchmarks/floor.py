"""Lower bound on the time of a training step on a device: the roofline (Williams et al. 2009)."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tests.benchmarks.arms import Closed, Reading
from tests.benchmarks.networks import IMAGE, PIXELS, Conv
from tests.benchmarks.references.bare import loss_of
from tests.benchmarks.stage import stage
from tests.benchmarks.work import Work, lacks

REPEATS = 20
FLOAT = 4  # bytes
ADAM = 7
"""Numbers that Adam reads (a weight, its gradient, two averages) or writes (all but the gradient)."""
UNIT = 5
"""Number of times that a layer's output is moved: written, read by the next layer and for the weights; its
gradient is written and read. Activations take nothing: a product may end with them."""
PIXEL = 4
"""Number of times that the input is moved, as floats: written, read by the first layer, for its weights,
and by the loss.
"""


@dataclass(frozen=True)
class Floor(Closed):
    """Upper bound on images/s: a step takes at least the time of its multiplications, at the rate of a large
    product, and of its memory traffic, at the rate of one large copy. Products are in float32, those of
    convolutions in TF32, which cuDNN uses by default.

    rows: of the square matrices that are multiplied. copied: bytes of the tensor that is copied.
    """

    work: Work
    rows: int = 8192
    copied: int = 2**30
    name: str = "floor"

    def missing(self) -> str | None:
        return lacks(self.work.device)

    def run(self, seed: int) -> Reading:
        with stage():
            if isinstance(self.work.network, Conv):
                torch.set_float32_matmul_precision("high")
            operations, moved = needed(self.work)
            seconds = max(operations / self._multiplied(), moved / self._copied())
        return Reading(self.work.batch / seconds)

    def _multiplied(self) -> float:
        """Operations per second."""
        a, b, out = (torch.randn(self.rows, self.rows, device=self.work.device) for _ in range(3))
        return 2 * self.rows**3 / self._seconds(lambda: torch.mm(a, b, out=out))

    def _copied(self) -> float:
        """Bytes read or written per second."""
        source, target = (
            torch.zeros(self.copied, dtype=torch.uint8, device=self.work.device) for _ in range(2)
        )
        return 2 * self.copied / self._seconds(lambda: target.copy_(source))

    def _seconds(self, do: Callable[[], object]) -> float:
        """Measure the median of several times, each until the device is done."""
        taken = []
        for _ in range(REPEATS):
            self._wait()
            started = time.perf_counter()
            do()
            self._wait()
            taken.append(time.perf_counter() - started)
        return statistics.median(taken)

    def _wait(self) -> None:
        if self.work.device == "cuda":
            torch.cuda.synchronize()


def needed(work: Work) -> tuple[int, int]:
    """Count the operations of one step, and the bytes that it must read or write."""
    network, units = work.network.build(), 0

    def count(layer: nn.Module, given: Any, output: Tensor) -> None:
        nonlocal units
        units += output.numel()

    for layer in network.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            layer.register_forward_hook(count)
    with FlopCounterMode(display=False) as counter:
        loss_of(network, torch.rand(1, *IMAGE).view(1, *network.shape)).backward()
    weights = sum(weight.numel() for weight in network.parameters())
    numbers = ADAM * weights + work.batch * (UNIT * units + PIXEL * PIXELS)
    return work.batch * counter.get_total_flops(), FLOAT * numbers + work.batch * PIXELS
