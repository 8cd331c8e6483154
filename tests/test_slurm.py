"""hardware=slurm: two tasks of one job, as Slurm would start them, but on this machine's CPU."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

TRAIN = Path(__file__).parent.parent / "train.py"
JOB = {
    "SLURM_JOB_ID": "77",
    "SLURM_JOB_NAME": "trial",
    "SLURM_NTASKS": "2",
    "SLURM_NTASKS_PER_NODE": "2",
    "SLURM_NNODES": "1",
    "SLURM_NODEID": "0",
    "SLURM_NODELIST": "127.0.0.1",
}
SHORT = ("trainer.max_epochs=1", "trainer.limit_train_batches=4", "evaluation.images=32")


def task(rank: int, folder: Path, *overrides: str) -> subprocess.Popen[str]:
    """One of the job's tasks; its output is small enough for a pipe."""
    place = {"SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)}
    return subprocess.Popen(
        [sys.executable, str(TRAIN), "hardware=slurm", *overrides],
        cwd=folder,
        env={**os.environ, **JOB, **place, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_two_tasks_train_together_in_one_folder(tmp_path: Path) -> None:
    cpu = ("hardware.accelerator=cpu", "hardware.devices=2", *SHORT)
    tasks = [task(rank, tmp_path, *cpu) for rank in (0, 1)]
    try:
        said = [each.communicate(timeout=150) for each in tasks]
    finally:
        for each in tasks:
            if each.poll() is None:
                os.killpg(each.pid, signal.SIGKILL)
    assert [each.returncode for each in tasks] == [0, 0], said
    (folder,) = (tmp_path / "outputs" / "slurm").iterdir()
    assert folder.name == "77_undercomplete_bottleneck_digits"
    assert json.loads((folder / "evaluation.json").read_text())["steps"] == 4
    assert "Run folder:" in said[0][0]
    assert said[1][0] == ""  # one task speaks
    torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)


def test_outside_a_job_it_says_what_to_write(
    aeframe: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    status, _, err = aeframe("hardware=slurm")
    assert status == 2
    assert "environment variable SLURM_JOB_ID: is not set. hardware=slurm belongs" in err
    assert "write hardware=ddp" in err
