"""The end of the command: its exit status after failures and signals."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.forks import Server
from tests.support.runs import TINY, run_folder, weights

Command = Callable[..., tuple[int, str, str]]


EXPLODES = (
    "scheduler={_target_: torch.optim.lr_scheduler.ExponentialLR, gamma: 1e30, interval: epoch}"
)
"""One good epoch, and then a learning rate that no loss survives."""


def test_a_loss_that_becomes_nan_ends_the_run_with_its_term_and_step(aeframe: Command) -> None:
    status, _, err = aeframe("optimizer.lr=1e30", *TINY[1:], "trainer.max_epochs=2")
    assert status == 1
    (line,) = err.splitlines()
    # the first step is good and takes the weights far away
    assert line.startswith(
        "aeframe: the loss became nan at step 1 (term: reconstruction), in a batch"
    )
    assert "Write a lower optimizer.lr" in line


def test_a_diverged_run_names_a_whole_command_that_trains(aeframe: Command) -> None:
    words = ("optimizer.lr=1000", "network=linear", "trainer.max_epochs=1")
    status, _, err = aeframe(*words)
    assert status == 1
    command = err.partition("(for example: python train.py ")[2].partition(")")[0]
    assert command.split() == ["network=linear", "trainer.max_epochs=1", "optimizer.lr=0.001"]
    assert aeframe(*command.split())[0] == 0


def test_the_last_good_checkpoint_outlives_a_nan(aeframe: Command, tmp_path: Path) -> None:
    status, _, err = aeframe(EXPLODES, "trainer.max_epochs=3", *TINY[1:])
    assert status == 1
    (line,) = err.splitlines()
    # the loss of step 2 is that of the good epoch's weights
    assert "at step 3 (term: reconstruction)" in line
    best = run_folder(tmp_path) / "checkpoints" / "best.ckpt"
    assert line.endswith(f"The best weights until then are in {best}.")
    values = weights(run_folder(tmp_path), "best").values()
    assert all(bool(torch.isfinite(value).all()) for value in values)


def test_weights_that_are_no_numbers_are_not_kept(
    aeframe: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(module: Any, *_: Any) -> None:
        with torch.no_grad():
            module.trained[0].fill_(torch.nan)

    monkeypatch.setattr("aeframe.training.module.AutoencoderModule.after_step", spoil)
    status, _, err = aeframe(*TINY, "checkpoint.every_minutes=0", "trainer.steps_per_call=1")
    assert status == 1
    assert "the weights became NaN or infinite in step 1. Write a lower" in err
    assert not list(tmp_path.rglob("*.ckpt"))


def test_a_nan_after_the_last_step_of_an_epoch_is_told_like_any_other(aeframe: Command) -> None:
    # no training step follows that could see it: validation must
    status, _, err = aeframe("debug=fast", "optimizer.lr=1e30")
    assert status == 1
    (line,) = err.splitlines()
    assert "the loss became" in line
    assert "Write a lower optimizer.lr" in line


@pytest.mark.parametrize("times", [1, 2])
def test_an_interrupted_run_ends_with_130_and_says_so(
    aeframe: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    def interrupt(*args: Any) -> None:
        for _ in range(times):  # the second time at once, without a checkpoint
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("aeframe.monitoring.progress_bar.Bar.on_train_batch_end", interrupt)
    status, _, err = aeframe(*TINY, "hydra.run.dir=run", "trainer.steps_per_call=1")
    assert status == 130
    saved = tmp_path / "run" / "checkpoints" / "last.ckpt"
    if times == 2:
        assert err == "aeframe: interrupted\n"
        assert not saved.exists()
        return
    onward = f"python train.py resume={tmp_path / 'run'}"
    assert err == f"aeframe: stopped by Ctrl-C, saved. Continue: {onward}\n"
    assert torch.load(saved, weights_only=True)["global_step"] == 1


def test_a_run_that_is_terminated_is_no_success(server: Server, tmp_path: Path) -> None:
    words = ("trainer.max_epochs=100000", "checkpoint.every_minutes=0", "hydra.run.dir=run")
    run = server.start(words, tmp_path, tmp_path / "said")
    try:
        for _ in range(600):
            if (tmp_path / "run" / "checkpoints" / "last.ckpt").exists():
                break
            time.sleep(0.1)
        os.kill(run.pid, signal.SIGTERM)
        status = run.wait(60)
    finally:
        if run.wait(0) is None:
            os.killpg(run.pid, signal.SIGKILL)
    assert status == 128 + signal.SIGTERM
    err = (tmp_path / "said").read_text()
    line = err.splitlines()[-1]
    assert line.startswith("aeframe: stopped by SIGTERM, saved. Continue: python ")
    assert line.endswith(f"train.py resume={tmp_path / 'run'}")


def test_a_failure_of_the_program_keeps_its_traceback(
    aeframe: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any) -> None:
        raise RuntimeError("a defect of ours")

    monkeypatch.setattr("aeframe.evaluation.card.Evaluation.make_card", fail)
    # python itself prints it and ends with status 1
    with pytest.raises(RuntimeError, match="a defect of ours"):
        aeframe(*TINY)
