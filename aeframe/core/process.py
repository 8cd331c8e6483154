"""The process: its command, and whether it is the one that prints."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path


def get_command() -> str:
    """Return the command of this training, as a user types it."""
    script = Path(sys.argv[0])
    return (
        f"python {shlex.quote(shorten_path(script))}"
        if script.name == "train.py"
        else "aeframe train"
    )


def shorten_path(path: Path) -> str:
    """Return a path relative to the current folder, if that is shorter."""
    absolute = os.path.abspath(path)
    try:
        return min(os.path.relpath(absolute), absolute, key=len)
    except OSError:  # the current folder was deleted
        return absolute


def is_first_process() -> bool:
    """Check whether this process is rank 0 or the only one."""
    return all(
        os.environ.get(name, "0") == "0" for name in ("LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")
    )
