"""How torch computes in this process: on how many threads, with which rounding, compiled or not."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from aeframe.config.options import MATMUL, Hardware
from aeframe.constraints.constrained import ConstrainedAutoencoder
from aeframe.models import Autoencoder
from aeframe.networks import linear_layers

# floating-point operations of a batch's forward pass: with fewer, threads wait more than they help
SMALL = 2**25
# multiplications of a batch with a linear layer's weights, on the average: with fewer, oneDNN's calls take
# more time than its products save
WIDE = 2**24
# the same, of all ranks together, so that these round alike: with fewer, bfloat16 takes more time than it
# saves (avx512_bf16, 32 to 1,024 rows)
NARROW = 2**21
THREADS = "OMP_NUM_THREADS"
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


@contextmanager
def computing(threads: int, rounding: str) -> Iterator[None]:
    """Compute like this for a while. rounding: see torch.set_float32_matmul_precision."""
    before = torch.get_num_threads(), torch.get_float32_matmul_precision()
    variable = os.environ.get(THREADS)
    # for the other ranks, too; without it Lightning sets a number of its own
    os.environ[THREADS] = str(threads)
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision(rounding)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.set_float32_matmul_precision(before[1])
        if variable is None:
            del os.environ[THREADS]
        else:
            os.environ[THREADS] = variable


def computing_for(
    hardware: Hardware,
    precision: str | None,
    model: Autoencoder,
    batch_size: int,
    jobs: int,
) -> AbstractContextManager[None]:
    """Compute as a model of this size wants it for a while. jobs: how many of a sweep run at once."""
    devices = hardware.devices
    processes = devices if isinstance(devices, int) else 1
    threads = threads_for(hardware.threads, model, batch_size, processes=processes, jobs=jobs)
    rounding = rounding_for(precision, model, batch_size, accelerator=hardware.accelerator)
    return computing(threads, rounding)


def threads_for(
    wanted: int | Literal["auto"], model: Autoencoder, batch_size: int, *, processes: int, jobs: int
) -> int:
    """How many threads the CPU works on a model with.

    It depends on nothing that is measured: sums on another number of threads are rounded otherwise.
    processes: of this run on this machine. jobs: of a sweep that run at once. A launcher may have given
    each of them its share of the cores before, which is then kept.
    """
    if wanted != "auto":
        return wanted
    if batch_size * operations(model) < SMALL:
        return 1
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    return max(1, min(torch.get_num_threads(), cores // (processes * jobs)))


def rounding_for(
    precision: str | None, model: nn.Module, batch_size: int, *, accelerator: str
) -> str:
    """How far torch may round matrix products in this precision, a key of `trainer`.

    `medium` also has oneDNN make them instead of MKL, which does not know AMD's processors: wide networks
    take 8 % less time for a step on Zen 4, and 40 % less on Zen 5. That is done for float32, too, where
    nothing is rounded by it.
    """
    if precision in MATMUL:
        return precision
    weights = [part.weight.numel() for part in model.modules() if isinstance(part, nn.Linear)]
    wide = bool(weights) and batch_size * fmean(weights) >= WIDE
    in_float32 = precision in (None, "32-true") and accelerator == "cpu"
    return "medium" if in_float32 and wide and _is_amd() and _medium_is_exact() else "highest"


def keep_narrow_layers_exact(
    precision: str | None, model: nn.Module, batch_size: int, *, accelerator: str
) -> None:
    """Let `bf16-mixed` on a CPU leave those linear layers in float32 that would take longer in bfloat16, up
    to twice as long.
    """
    if precision != "bf16-mixed" or accelerator != "cpu":
        return
    for layer in linear_layers(model):
        if batch_size * layer.weight.numel() < NARROW:
            layer.forward = _InFloat32(layer.forward)  # type: ignore[method-assign]


class _InFloat32:
    """A layer's forward pass that autocast leaves alone."""

    def __init__(self, forward: Callable[[Tensor], Tensor]) -> None:
        self.forward = forward

    def __call__(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            return self.forward(x.float())


def _is_amd() -> bool:
    with suppress(OSError):  # other systems say it elsewhere
        return "AuthenticAMD" in Path("/proc/cpuinfo").read_text()
    return False


@cache
def _medium_is_exact() -> bool:
    """Whether oneDNN has no products of rounded numbers on this processor: it has with AMX, for one."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    x = torch.full((128, 512), 1 + 2.0**-20)
    same = bool((x @ torch.eye(512) == x).all())
    torch.set_float32_matmul_precision(before)
    return same


@torch.no_grad()
def operations(model: Autoencoder) -> int:
    """Floating-point operations of one sample's way through encoder and decoder."""
    weight = next(model.parameters())
    counter, training = FlopCounterMode(display=False), model.training
    model.eval()
    with counter:
        model.decode(model.encode(torch.zeros(1, *model.shape).to(weight)).value)
    model.train(training)
    return counter.get_total_flops()


def parallel_jobs(launcher: Any) -> int:
    """How many jobs of a sweep run at once, from Hydra's launcher: joblib's n_jobs, -1 for all cores."""
    jobs = launcher.get("n_jobs") or 1
    return os.cpu_count() or 1 if jobs < 0 else int(jobs)


@contextmanager
def without_denormals() -> Iterator[None]:
    """Let numbers below 1e-38 be 0 for a while, on the CPU.

    Adam's averages of units that have died away become such numbers after a thousand steps, with which the
    processor takes many times as long: a whole step of a small network half as long again. Threads have
    it from the one that starts them: enter this before anything is computed.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def keep_freed_memory() -> None:
    """Let the allocator keep what a step frees for the next one.

    Else it goes back to the system, and each page is cleared and mapped anew: 3 to 10 % of a step.
    """
    with suppress(OSError, AttributeError):  # other systems have other allocators
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(M_TRIM_THRESHOLD, 2**28)
        libc.mallopt(M_MMAP_THRESHOLD, 2**25)  # larger blocks are given back


def compile_network(net: ConstrainedAutoencoder) -> None:
    """Let torch.compile translate the passes through the layers when they are first used."""
    torch.compiler.reset()  # other jobs of this process may have used up what torch translates of a function
    model: Any = net.model
    model.write_code = torch.compile(model.write_code)
    model.decoder.compile()
