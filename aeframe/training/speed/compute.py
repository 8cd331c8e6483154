"""Settings of torch in this process: threads, rounding, compilation, memory."""

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
from aeframe.networks import list_linear_layers

# floating-point operations in the forward pass of a batch; below this, one thread is faster than several
SMALL = 2**25
# multiplications of a batch with a linear layer's weights, on average; below this, MKL is faster than oneDNN
WIDE = 2**24
# the same for all ranks together, so that they round alike; below this, float32 is faster than bfloat16
# (avx512_bf16, 32 to 1,024 rows)
NARROW = 2**21
THREADS = "OMP_NUM_THREADS"
DENORMAL = 1e-39  # below the smallest normal number of float32
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


@contextmanager
def configure_torch(threads: int, rounding: str) -> Iterator[None]:
    """Set threads and rounding within a context. rounding: see torch.set_float32_matmul_precision."""
    before = torch.get_num_threads(), torch.get_float32_matmul_precision()
    variable = os.environ.get(THREADS)
    # other ranks read it; without it Lightning would set another number
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


def configure_torch_for(
    hardware: Hardware, precision: str | None, model: Autoencoder, batch_size: int, jobs: int
) -> AbstractContextManager[None]:
    """Set threads and rounding for a model of this size. jobs: of a sweep that run at once."""
    devices = hardware.devices
    processes = devices if isinstance(devices, int) else 1
    threads = count_threads(hardware.threads, model, batch_size, processes=processes, jobs=jobs)
    rounding = choose_rounding(precision, model, batch_size, accelerator=hardware.accelerator)
    return configure_torch(threads, rounding)


def count_threads(
    wanted: int | Literal["auto"], model: Autoencoder, batch_size: int, *, processes: int, jobs: int
) -> int:
    """Count the CPU threads for a model.

    Nothing is measured, because the number of threads changes how sums are rounded. processes: of this run
    on this machine. jobs: of a sweep that run at once. A lower number set by a launcher is kept.
    """
    if wanted != "auto":
        return wanted
    if batch_size * count_operations(model) < SMALL:
        return 1
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    return max(1, min(torch.get_num_threads(), cores // (processes * jobs)))


def choose_rounding(
    precision: str | None, model: nn.Module, batch_size: int, *, accelerator: str
) -> str:
    """Choose how torch rounds matrix products. precision: a key of `trainer`.

    `medium` also selects oneDNN instead of MKL, which is slow on AMD's processors: steps of wide networks
    take 8 % less time on Zen 4, and 40 % less on Zen 5. It is chosen for float32, too, if it rounds nothing
    there.
    """
    if precision in MATMUL:
        return precision
    weights = [part.weight.numel() for part in model.modules() if isinstance(part, nn.Linear)]
    wide = bool(weights) and batch_size * fmean(weights) >= WIDE
    in_float32 = precision in (None, "32-true") and accelerator == "cpu"
    return "medium" if in_float32 and wide and _is_amd() and _is_medium_exact() else "highest"


def keep_narrow_layers_exact(
    precision: str | None, model: nn.Module, batch_size: int, *, accelerator: str
) -> None:
    """Keep narrow linear layers in float32 with `bf16-mixed` on a CPU.

    In bfloat16 they would take up to twice as long.
    """
    if precision != "bf16-mixed" or accelerator != "cpu":
        return
    for layer in list_linear_layers(model):
        if batch_size * layer.weight.numel() < NARROW:
            layer.forward = _InFloat32(layer.forward)  # type: ignore[method-assign]


class _InFloat32:
    """Forward pass of a layer in float32, without autocast."""

    def __init__(self, forward: Callable[[Tensor], Tensor]) -> None:
        self.forward = forward

    def __call__(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            return self.forward(x.float())


def _is_amd() -> bool:
    with suppress(OSError):  # other systems have no such file
        return "AuthenticAMD" in Path("/proc/cpuinfo").read_text()
    return False


@cache
def _is_medium_exact() -> bool:
    """Check whether `medium` rounds nothing on this processor; with AMX, for example, it does."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    x = torch.full((128, 512), 1 + 2.0**-20)
    same = bool((x @ torch.eye(512) == x).all())
    torch.set_float32_matmul_precision(before)
    return same


@torch.no_grad()
def count_operations(model: Autoencoder) -> int:
    """Count the floating-point operations of encoder and decoder for one sample."""
    weight = next(model.parameters())
    counter, training = FlopCounterMode(display=False), model.training
    model.eval()
    with counter:
        model.decode(model.encode(torch.zeros(1, *model.shape).to(weight)).value)
    model.train(training)
    return counter.get_total_flops()


def count_parallel_jobs(launcher: Any) -> int:
    """Count the jobs of a sweep that run at once, from Hydra's launcher (n_jobs=-1: one for each core)."""
    jobs = launcher.get("n_jobs") or 1
    return os.cpu_count() or 1 if jobs < 0 else int(jobs)


@contextmanager
def flush_denormals() -> Iterator[None]:
    """Treat numbers below 1e-38 as 0 on the CPU, within a context.

    Adam's averages of dead units become so small after a thousand steps. They slow the processor down: a
    step of a small network takes 1.5 times as long. Threads inherit the setting, so enter the context
    before any computation.
    """
    before = float(torch.tensor([DENORMAL]) * 1.0) == 0.0  # torch does not tell
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def keep_freed_memory() -> None:
    """Keep memory that a step frees for the next step.

    Otherwise the system takes it back and clears and maps each page again: 3 to 10 % of a step.
    """
    with suppress(OSError, AttributeError):  # other systems have other allocators
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(M_TRIM_THRESHOLD, 2**28)
        libc.mallopt(M_MMAP_THRESHOLD, 2**25)  # larger blocks go back to the system


def compile_network(net: ConstrainedAutoencoder) -> None:
    """Compile encoder and decoder with torch.compile, at their first use."""
    torch.compiler.reset()  # other jobs of this process may have reached torch's limit of compilations
    model: Any = net.model
    model.write_code = torch.compile(model.write_code)
    model.decoder.compile()
