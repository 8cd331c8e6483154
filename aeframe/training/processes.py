"""Processes of a distributed job, and its devices."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from aeframe.core.errors import UserError
from aeframe.core.process import is_first_process

FIRST = "AEFRAME_FIRST"
"""Environment variable: number of the process that starts the other ranks."""
RANK_VARIABLES = (
    FIRST,
    "LOCAL_RANK",
    "NODE_RANK",
    "GROUP_RANK",
    "RANK",
    "WORLD_SIZE",
    "MASTER_ADDR",
    "MASTER_PORT",
    "PL_GLOBAL_SEED",
)


@contextmanager
def isolate_job(flags: tuple[str, ...] = ()) -> Iterator[None]:
    """Make the processes that Lightning starts train this job and no other.

    Lightning starts ranks 1, 2, ... with the command line of this process. In a sweep, that would start the
    whole sweep again. With a random sweeper, the ranks would even train different configurations. Within this
    context the command line is that of one job. It is restored afterwards.
    flags: of the command line, which are kept (such as --config-dir).
    """
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import open_dict, read_write
    from torch import distributed

    main = sys.modules["__main__"]
    argv, spec = sys.argv, main.__spec__
    environment = {name: os.environ.get(name) for name in RANK_VARIABLES}
    hydra: Any = HydraConfig.get()
    with read_write(hydra), open_dict(hydra):
        hydra.run.dir = hydra.runtime.output_dir  # a name with the time would be another folder
    sys.argv = [argv[0], "train", *flags, *hydra.overrides.task, "hydra.mode=RUN"]
    main.__spec__ = find_spec("aeframe.__main__")
    os.environ.setdefault(FIRST, str(os.getpid()))
    try:
        yield
    finally:
        sys.argv, main.__spec__ = argv, spec
        if distributed.is_available() and distributed.is_initialized():
            distributed.destroy_process_group()
        for name, value in environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def end_with_the_first() -> None:
    """End this process when the first rank has ended; otherwise it would wait for ever."""
    first = os.environ.get(FIRST)
    if first is None or is_first_process():
        return

    def watch() -> None:
        while os.getppid() == int(first):
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def find_accelerator() -> str:
    """Return gpu where torch finds a CUDA device, else cpu."""
    import torch

    return "gpu" if torch.cuda.is_available() else "cpu"


def require_devices(accelerator: str, devices: int | list[int] | str) -> None:
    """Raise UserError if this machine does not have the configured devices."""
    import torch

    if accelerator == "cpu":
        return
    present = torch.cuda.device_count()
    if present == 0:
        raise UserError(
            "hardware.accelerator=gpu",
            "torch finds no CUDA device on this machine",
            "Write hardware=cpu, or install a torch that fits the GPU's driver.",
        )
    highest = max(devices) + 1 if isinstance(devices, list) else devices
    if isinstance(highest, int) and highest > present:
        what = f"this machine has {present}"
        raise UserError(f"hardware.devices={devices}", what, f"Write hardware.devices={present}.")
