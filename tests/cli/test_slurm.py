"""hardware=slurm: two tasks of one job, as Slurm would start them, but on this machine's CPU."""

from __future__ import annotations

import json
import os
import shlex
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from aeframe.evaluation.card import Evaluation
from tests.support.forks import Server
from tests.support.resumed import unlike
from tests.support.runs import TWO

JOB = {
    "SLURM_JOB_ID": "77",
    "SLURM_JOB_NAME": "trial",
    "SLURM_NTASKS": "2",
    "SLURM_NTASKS_PER_NODE": "2",
    "SLURM_NNODES": "1",
    "SLURM_NODEID": "0",
    "SLURM_NODELIST": "127.0.0.1",
}
SHORT = (
    *("trainer.max_epochs=1", "trainer.limit_train_batches=4", "evaluation.images=32"),
    "dashboard.images=0",
)


def place(rank: int) -> dict[str, str]:
    return {**JOB, "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)}


def test_outside_a_job_it_says_what_to_write(
    aeframe: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    status, _, err = aeframe("hardware=slurm")
    assert status == 2
    assert (
        "environment variable SLURM_JOB_ID: is not set. Use hardware=slurm inside a Slurm job only"
        in err
    )
    assert "write hardware=ddp" in err


# when its time is up

CPU = ("hardware.accelerator=cpu", "hardware.devices=2", "trainer.limit_train_batches=4")
LONG = (
    *(*CPU, "evaluation.images=32", "dashboard.images=0"),
    *("trainer.steps_per_call=1", "checkpoint.every_minutes=0"),
)


@pytest.fixture
def scontrol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """A program of this name that notes how it is called: (exit status) -> its notes."""

    def made(status: int = 0) -> Path:
        program, notes = tmp_path / "bin" / "scontrol", tmp_path / "scontrol.txt"
        program.parent.mkdir(exist_ok=True)
        program.write_text(
            f'#!/bin/sh\necho "$@" >> {shlex.quote(str(notes))}\n'
            f"echo 'Requested operation is presently disabled' >&2\nexit {status}\n"
        )
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
        return notes

    return made


class Task:
    """One of a job's tasks, from a server."""

    def __init__(self, server: Server, rank: int, folder: Path, *overrides: str) -> None:
        self.out, self.err = (folder / f"task{rank}.{name}" for name in ("out", "err"))
        self.run = server.start(
            ["hardware=slurm", *overrides],
            folder,
            self.err,
            out=self.out,
            environment={**place(rank), "PATH": os.environ["PATH"]},
        )

    def ended(self, seconds: float = 150) -> tuple[int | None, str, str]:
        """The exit status, and what was said; nothing of it is left behind."""
        status = self.run.wait(seconds)
        if status is None:
            os.killpg(self.run.pid, signal.SIGKILL)
            self.run.wait(seconds)
        return status, self.out.read_text(), self.err.read_text()


Both = Callable[..., list[Task]]


@pytest.fixture
def both(server: Server) -> Both:
    """Two tasks in a folder."""
    return lambda *words: [Task(server, rank, *words) for rank in range(2)]


def statuses(tasks: list[Task]) -> list[int | None]:
    return [each.ended()[0] for each in tasks]


def test_two_tasks_train_together_in_one_folder(tmp_path: Path, both: Both) -> None:
    cpu = ("hardware.accelerator=cpu", "hardware.devices=2", *SHORT)
    said = [each.ended() for each in both(tmp_path, *cpu)]
    assert [status for status, *_ in said] == [0, 0], said
    (folder,) = (tmp_path / "outputs" / "slurm").iterdir()
    assert folder.name == "77_undercomplete_bottleneck_digits"
    assert json.loads((folder / "evaluation.json").read_text())["steps"] == 4
    assert "Run folder:" in said[0][1]
    assert said[1][1] == ""  # one task speaks
    torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)


@pytest.mark.parametrize("to", [(0, 1), (1,)], ids=["all", "one"])
def test_a_job_whose_time_is_up_is_put_back_and_goes_on(
    tmp_path: Path, scontrol: Callable[..., Path], to: tuple[int, ...], both: Both
) -> None:
    notes = scontrol()
    tasks = both(tmp_path, *LONG, "trainer.max_epochs=100000")
    for _ in range(900):
        if list(tmp_path.glob("outputs/slurm/*/checkpoints/last.ckpt")):
            break
        time.sleep(0.1)
    for rank in to:
        os.kill(tasks[rank].run.pid, signal.SIGUSR1)
    (status, _, err), _ = (each.ended() for each in tasks)
    assert status == 128 + signal.SIGUSR1, err
    assert notes.read_text() == "requeue 77\n"  # one of them asks, once
    (line,) = err.splitlines()
    (folder,) = (tmp_path / "outputs" / "slurm").iterdir()
    cause = "aeframe: stopped by SIGUSR1, saved; Slurm starts job 77 again"
    assert line.startswith(f"{cause}. Continue: ")
    assert line.endswith(f" resume={folder}")
    assert not list(folder.rglob("hpc_ckpt*"))
    steps = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["global_step"]

    epochs = f"trainer.max_epochs={steps // 4 + 2}"
    (status, out, err), (other, *_) = (
        each.ended()
        for each in both(tmp_path, *LONG, epochs)  # as Slurm starts them again
    )
    assert (status, other) == (0, 0), err
    assert f"Resuming at step {steps} (epoch " in out
    assert list((tmp_path / "outputs" / "slurm").iterdir()) == [folder]

    whole = tmp_path / "whole"
    whole.mkdir()
    assert statuses(both(whole, *LONG, epochs)) == [0, 0]
    assert unlike(whole / "outputs" / "slurm" / folder.name, folder) == []


def test_all_tasks_go_on_in_the_folder_of_the_run_that_is_named(
    begun: Path, tmp_path: Path, both: Both
) -> None:
    words = ("resume=run", "hardware.accelerator=cpu", "hardware.devices=2", "trainer.max_epochs=3")
    (status, out, err), (other, *_) = (each.ended() for each in both(tmp_path, *words))
    assert (status, other) == (0, 0), err
    assert "Resuming at step 8 (epoch " in out
    last = torch.load(begun / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["global_step"] == 12
    assert not (tmp_path / "outputs").exists()


def in_job(monkeypatch: pytest.MonkeyPatch, **more: str) -> None:
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        monkeypatch.delenv(name)
    for name, value in more.items():
        monkeypatch.setenv(name, value)


RUN = (*TWO, "hydra.run.dir=run", "resume=auto", "trainer.steps_per_call=1")


def signal_after(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    batches: list[int] = []

    def act(*args: Any) -> None:
        batches.append(1)
        if len(batches) == step:
            signal.raise_signal(signal.SIGUSR1)

    monkeypatch.setattr("aeframe.monitoring.progress_bar.Bar.on_train_batch_end", act)


@pytest.mark.parametrize(
    ("variables", "asked", "said"),
    [
        ({"SLURM_JOB_ID": "12"}, "requeue 12\n", "Slurm starts job 12 again"),
        (
            {"SLURM_JOB_ID": "12", "SLURM_ARRAY_JOB_ID": "9", "SLURM_ARRAY_TASK_ID": "3"},
            "requeue 9_3\n",
            "Slurm starts job 9_3 again",
        ),
        ({"SLURM_JOB_ID": "12; touch owned"}, "", "'12; touch owned' is not a job number"),
        ({"SLURM_JOB_ID": "--help"}, "", "'--help' is not a job number"),
        ({"SLURM_JOB_ID": ""}, "", "'' is not a job number"),
        ({"SLURM_JOB_ID": "1\n2"}, "", "is not a job number"),
        ({"SLURM_JOB_ID": "\u0661"}, "", "is not a job number"),
        ({"SLURM_JOB_ID": "1", "SLURM_ARRAY_JOB_ID": "9"}, "", "'9_' is not a job number"),
        ({}, "", "stopped by SIGUSR1, saved. Continue: "),
    ],
)
def test_the_job_that_is_put_back_is_this_one(
    aeframe: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    scontrol: Callable[..., Path], variables: dict[str, str], asked: str, said: str,
) -> None:  # fmt: skip
    notes = scontrol()
    in_job(monkeypatch, **variables)
    signal_after(monkeypatch, 3)
    status, _, err = aeframe(*RUN, "hardware=cpu")
    assert status == 128 + signal.SIGUSR1
    (line,) = err.splitlines()
    assert said in line
    assert (notes.read_text() if notes.exists() else "") == asked
    assert not list(tmp_path.rglob("owned"))
    last = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["global_step"] == 3


def test_answers_of_slurm_are_reported(
    aeframe: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, scontrol: Callable[..., Path]
) -> None:
    scontrol(1)
    in_job(monkeypatch, SLURM_JOB_ID="12")
    signal_after(monkeypatch, 3)
    status, _, err = aeframe(*RUN)
    assert status == 128 + signal.SIGUSR1
    (line,) = err.splitlines()
    assert "saved; Slurm does not start job 12 again (Requested operation is" in line


def test_without_scontrol_a_job_is_told_how_to_go_on(
    aeframe: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    in_job(monkeypatch, SLURM_JOB_ID="12")
    signal_after(monkeypatch, 3)
    status, _, err = aeframe(*RUN)
    assert status == 128 + signal.SIGUSR1
    assert "Slurm does not start job 12 again (No such file or directory)" in err
    assert len(err.splitlines()) == 1


def test_a_run_that_would_begin_anew_is_not_put_back(
    aeframe: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, scontrol: Callable[..., Path]
) -> None:
    notes = scontrol()
    in_job(monkeypatch, SLURM_JOB_ID="12")
    signal_after(monkeypatch, 3)
    status, _, err = aeframe(*TWO, "trainer.steps_per_call=1")  # in a folder of its own
    assert status == 128 + signal.SIGUSR1
    assert err.startswith("aeframe: stopped by SIGUSR1, saved. Continue: ")
    assert not notes.exists()


def test_a_signal_before_or_after_training_puts_a_job_back_too(
    aeframe: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, scontrol: Callable[..., Path],
    tmp_path: Path,
) -> None:  # fmt: skip
    notes = scontrol()
    in_job(monkeypatch, SLURM_JOB_ID="12")
    card = Evaluation.make_card
    for place in ("aeframe.training.attempt.build", "aeframe.evaluation.card.Evaluation.make_card"):
        with monkeypatch.context() as patch:
            patch.setattr(place, lambda *_: signal.raise_signal(signal.SIGUSR1))
            status, _, err = aeframe(*RUN)
        assert status == 128 + signal.SIGUSR1
        assert err == "aeframe: stopped by SIGUSR1; Slurm starts job 12 again\n"
    assert notes.read_text() == "requeue 12\n" * 2
    assert Evaluation.make_card is card
    assert aeframe(*RUN)[0] == 0
    assert (tmp_path / "run" / "evaluation.json").exists()


def test_a_checkpoint_of_lightnings_own_is_not_looked_for(
    aeframe: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    in_job(monkeypatch, **JOB, SLURM_PROCID="0", SLURM_LOCALID="0")
    monkeypatch.setenv("SLURM_NTASKS", "1")
    monkeypatch.setenv("SLURM_NTASKS_PER_NODE", "1")
    for folder in (tmp_path / "run" / "checkpoints", tmp_path / "run"):
        folder.mkdir(parents=True, exist_ok=True)
        torch.save({"a": 1}, folder / "hpc_ckpt_7.ckpt")
    status, _, err = aeframe(*RUN, "trainer.max_epochs=1", "resume=auto")
    assert (status, err) == (0, "")


def test_tasks_that_are_not_of_a_node_are_one_line(
    aeframe: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in (("JOB_ID", "7"), ("NTASKS", "2"), ("JOB_NAME", "train")):
        monkeypatch.setenv(f"SLURM_{name}", value)
    status, _, err = aeframe(*SHORT)
    assert status == 2
    (line,) = err.splitlines()
    assert line.startswith(
        "aeframe: hardware and trainer: Lightning refuses them: You set `--ntasks=2`"
    )
    assert "Use `--ntasks-per-node=2` instead" in line
    assert not list(tmp_path.glob("outputs/*/*"))
