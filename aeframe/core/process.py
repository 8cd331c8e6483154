"""The process: its command, and whether it is the one that prints."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

FLAGS: ContextVar[tuple[str, ...]] = ContextVar("flags", default=())
"""Flags that every command needs which is printed, such as --plugin NAME."""


def get_command() -> str:
    """Return the command of this training, as a user types it."""
    script = Path(sys.argv[0])
    is_script = script.name == "train.py"
    command = f"python {shlex.quote(shorten_path(script))}" if is_script else "aeframe train"
    return command + get_flags()


def get_flags() -> str:
    """Return the flags that every command needs, to be added to one; empty if there are none."""
    return "".join(f" {shlex.quote(flag)}" for flag in FLAGS.get())


@contextmanager
def use_flags(flags: Sequence[str]) -> Iterator[None]:
    """Add flags to all commands that are printed within this context."""
    token = FLAGS.set((*FLAGS.get(), *flags))
    try:
        yield
    finally:
        FLAGS.reset(token)


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
