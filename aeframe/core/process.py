"""The process: how it was called, and whether it speaks for the others."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path


def get_command() -> str:
    """How training was called, as one would type it again."""
    script = Path(sys.argv[0])
    return (
        f"python {shlex.quote(shorten_path(script))}"
        if script.name == "train.py"
        else "aeframe train"
    )


def shorten_path(path: Path) -> str:
    """A path as one would type it: from the current folder, where that is shorter."""
    absolute = os.path.abspath(path)
    try:
        return min(os.path.relpath(absolute), absolute, key=len)
    except OSError:  # the current folder is no longer there
        return absolute


def is_first_process() -> bool:
    """Whether this process speaks for all: rank 0, or the only one."""
    return all(
        os.environ.get(name, "0") == "0" for name in ("LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")
    )
