"""State of this process that training changes, and that a caller in Python gets back."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from pytorch_lightning.utilities.seed import isolate_rng

from aeframe.training.processes import RANK_VARIABLES

CHANGED = (
    *RANK_VARIABLES,
    *("PL_SEED_WORKERS", "PYTORCH_NVML_BASED_CUDA_CHECK", "CUBLAS_WORKSPACE_CONFIG"),
)
"""Environment variables that training sets or removes."""
LOGGERS = ("pytorch_lightning", "lightning_fabric")


@contextlib.contextmanager
def restore_process(*, verbose: bool) -> Iterator[None]:
    """Restore what training changes in this process. verbose: let it print."""
    environment = {name: os.environ.get(name) for name in CHANGED}
    levels = {name: logging.getLogger(name).level for name in LOGGERS}
    searches = torch.backends.cudnn.benchmark
    silence: contextlib.AbstractContextManager[Any] = contextlib.nullcontext()
    if not verbose:
        silence = contextlib.redirect_stdout(io.StringIO())
    try:
        with isolate_rng(), warnings.catch_warnings(), silence:
            yield
    finally:
        torch.backends.cudnn.benchmark = searches
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        for name, value in environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
