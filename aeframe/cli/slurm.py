"""Requeueing of a Slurm job whose time is up."""

from __future__ import annotations

import os
import re
import subprocess

from aeframe.core.errors import describe_error

SECONDS = 60  # to wait for the answer of Slurm


def is_in_job() -> bool:
    """Check whether Slurm started this process."""
    return "SLURM_JOB_ID" in os.environ


def requeue() -> str:
    """Requeue the Slurm job of this process. Returns the result as text."""
    number = os.environ.get("SLURM_JOB_ID", "")
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        array, task = (os.environ.get(f"SLURM_ARRAY_{kind}_ID", "") for kind in ("JOB", "TASK"))
        number = f"{array}_{task}"
    if not re.fullmatch(r"[0-9]+(_[0-9]+)?", number):
        return f"Slurm does not start the job again: {number!r} is not a job number"
    try:
        done = subprocess.run(
            ["scontrol", "requeue", number],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return f"Slurm does not start job {number} again ({describe_error(error)})"
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"scontrol ended with {done.returncode}"]
        return f"Slurm does not start job {number} again ({lines[0]})"
    return f"Slurm starts job {number} again"
