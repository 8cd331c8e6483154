"""A run that trains on: every command that is printed works, and learning rates follow the new length."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from omegaconf import DictConfig
from torch import nn
from torch.optim import SGD, Optimizer, lr_scheduler

from aeframe.config.node import to_plain
from aeframe.config.optimizer_checks import list_optimizer_problems
from aeframe.core.durations import format_duration, parse_duration
from aeframe.core.schedules import Clock
from aeframe.runs.checkpoint import Saved
from aeframe.training.learning_rates import advance_schedule
from aeframe.training.next_commands import list_next_commands
from aeframe.training.resume.configuration import apply_overrides
from aeframe.training.schedule_lengths import list_length_notes, stretch_lengths
from tests.support.runs import EPOCH

Command = Callable[..., tuple[int, str, str]]
Compose = Callable[..., DictConfig]
TORCH = "torch.optim.lr_scheduler"


def saved(node: dict[str, Any], steps: int = 90, value: float | None = 0.1) -> Saved:
    """A run, which has finished if it has a value."""
    return Saved(Path("run"), Path("run/last.ckpt"), node, 1, steps, value, None)


@pytest.mark.parametrize(
    ("scheduler", "before", "now", "changed"),
    [
        ({"T_max": 30}, {"max_epochs": 30}, {"max_epochs": 60}, {"T_max": 60}),
        ({"T_max": 30}, {"max_epochs": 30}, {"max_epochs": 45}, {"T_max": 45}),
        ({"T_max": 30}, {"max_epochs": 30}, {"max_epochs": 30}, {}),
        ({"T_max": 10}, {"max_epochs": 30}, {"max_epochs": 60}, {}),  # meant to be shorter
        ({"T_max": 90, "interval": "step"}, {"max_epochs": 2}, {"max_epochs": 4}, {"T_max": 180}),
        ({"T_max": 80, "interval": "step"}, {"max_epochs": 2}, {"max_epochs": 4}, {}),
        ({"total_steps": 70, "interval": "step"}, {"max_epochs": 9, "max_steps": 70},
         {"max_epochs": 9, "max_steps": 100}, {"total_steps": 100}),
        ({"epochs": 2, "steps_per_epoch": 45, "interval": "step"}, {"max_epochs": 2},
         {"max_epochs": 3}, {"epochs": 3}),
        ({"total_iters": 20}, {"max_epochs": 20}, {"max_epochs": 50}, {"total_iters": 50}),
        ({"gamma": 0.9}, {"max_epochs": 2}, {"max_epochs": 4}, {}),
        ({"T_max": 2}, {"max_epochs": None}, {"max_epochs": 4}, {}),
    ],
)  # fmt: skip
def test_lengths_that_equal_trainings_stay_equal(
    scheduler: dict[str, Any], before: dict[str, Any], now: dict[str, Any], changed: dict[str, Any]
) -> None:
    run = saved({"trainer": before})
    assert stretch_lengths(scheduler, run, now, ()) == {**scheduler, **changed}
    for key in changed:  # what is typed stays
        assert stretch_lengths(scheduler, run, now, {f"scheduler.{key}"}) == scheduler


SCHEDULES: dict[str, dict[str, Any]] = {
    "CosineAnnealingLR": {"T_max": 6, "eta_min": 0.01},
    "OneCycleLR": {"max_lr": 0.5, "total_steps": 6},
    "LinearLR": {"total_iters": 6},
    "PolynomialLR": {"total_iters": 6, "power": 2.0},
    "ConstantLR": {"total_iters": 6},
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_rate_goes_on_as_one_of_the_new_length_would_have_come_there(name: str) -> None:
    longer = {k: 2 * v if v == 6 else v for k, v in SCHEDULES[name].items()}

    def made(options: dict[str, Any], weights: list[nn.Parameter]) -> tuple[Optimizer, Any]:
        optimizer = SGD(weights, lr=0.1, momentum=0.9)
        return optimizer, getattr(lr_scheduler, name)(optimizer, **options)

    def rates(optimizer: Optimizer, schedule: Any, steps: int) -> list[tuple[float, float]]:
        found = []
        for _ in range(steps):
            optimizer.step()
            schedule.step()
            group = optimizer.param_groups[0]
            found.append((float(group["lr"]), float(group["momentum"])))
        return found

    whole = rates(*made(longer, [nn.Parameter(torch.ones(2))]), 12)
    optimizer, schedule = made(SCHEDULES[name], [nn.Parameter(torch.ones(2))])
    rates(optimizer, schedule, 5)
    assert not advance_schedule(optimizer, schedule, lambda weights: made(SCHEDULES[name], weights))
    assert advance_schedule(optimizer, schedule, lambda weights: made(longer, weights))
    assert rates(optimizer, schedule, 7) == whole[5:]


EXPERIMENTS = ("compress_mnist", "compress_photos", "hinton_2006", "sweep_sparsity", "vae_mnist")


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_each_experiment_may_be_trained_on(compose: Compose, name: str) -> None:
    node = to_plain(compose(f"experiment={name}"))
    epochs = node["trainer"]["max_epochs"]
    result = {"ended_by": ["trainer.max_epochs"]}
    told = shlex.split(
        list_next_commands(node, result, Path("run"), compresses=False)["Train longer"]
    )
    words = [word for word in told if word.startswith("trainer.")]
    assert words == [f"trainer.max_epochs={2 * epochs}"]
    longer = apply_overrides(saved(node), words, to_plain(compose(*words)))
    assert (
        list_optimizer_problems(longer["optimizer"], longer["scheduler"], longer["trainer"]) == []
    )
    ends = {k: v for k, v in (longer["scheduler"] or {}).items() if k in ("T_max", "epochs")}
    assert set(ends.values()) <= {2 * epochs}
    assert bool(ends) == (name in ("compress_mnist", "compress_photos", "hinton_2006"))


def test_a_rate_that_climbs_again_is_told_beforehand() -> None:
    cosine = {"_target_": f"{TORCH}.CosineAnnealingLR", "T_max": 10}
    (note,) = list_length_notes(cosine, Clock(900, 20.0))
    assert str(note) == (
        "scheduler.T_max=10: the learning rate rises again after 10 of training's 20 epochs. "
        "Write scheduler.T_max=20."
    )
    assert list_length_notes(cosine, Clock(450, 10.0)) == list_length_notes(cosine, None) == []
    assert list_length_notes({**cosine, "interval": "step", "T_max": 450}, Clock(450, 10.0)) == []
    assert list_length_notes(None, Clock(1, 1.0)) == []


CYCLE = f"scheduler={{_target_: {TORCH}.OneCycleLR, max_lr: 0.01, total_steps: 8, interval: step}}"
COSINE = f"scheduler={{_target_: {TORCH}.CosineAnnealingLR, T_max: ${{trainer.max_epochs}}}}"


@pytest.mark.parametrize(
    ("words", "longer", "state"),
    [
        ([CYCLE], "trainer.max_epochs=4", {"total_steps": 16, "last_epoch": 16}),
        ([COSINE], "trainer.max_epochs=4", {"T_max": 4, "last_epoch": 4}),
        (["early_stopping.patience=1", "early_stopping.min_delta=9"],
         "trainer.max_epochs=4 early_stopping.patience=null", None),
        (["++trainer.max_steps=7"], "trainer.max_steps=14", None),
    ],
    ids=["one cycle", "cosine", "patience", "steps"],
)  # fmt: skip
def test_printed_commands_train_on(
    aeframe: Command, tmp_path: Path, words: list[str], longer: str, state: dict[str, Any] | None
) -> None:
    status, out, err = aeframe(*EPOCH, *words, "trainer.max_epochs=2", "hydra.run.dir=run")
    assert status == 0, err
    (line,) = (line for line in out.splitlines() if line.startswith("Train longer: "))
    assert line == f"Train longer: python train.py resume=run {longer}"
    before = json.loads((tmp_path / "run" / "evaluation.json").read_text())["steps"]
    more = [*longer.split(), "trainer.max_epochs=9"] if "max_steps" in longer else longer.split()
    status, out, err = aeframe("resume=run", *more)
    assert status == 0, err
    assert json.loads((tmp_path / "run" / "evaluation.json").read_text())["steps"] == 2 * before
    if state is not None:
        file = tmp_path / "run" / "checkpoints" / "last.ckpt"
        (found,) = torch.load(file, weights_only=True)["lr_schedulers"]
        assert {key: found[key] for key in state} == state
        (last,) = found["_last_lr"]
        assert 0 <= last < 1e-3  # it has come down again


# ---------------------------------------------------------------------------------------- time


@pytest.mark.parametrize(
    ("text", "number"), [("00:00:00:05", 5), ("00:01:30:00", 5400), ("12:00:00:61", 1036861)]
)
def test_lengths_of_time(text: str, number: int) -> None:
    assert parse_duration(text) == number
    assert parse_duration(format_duration(number)) == number
    assert format_duration(5400) == "00:01:30:00"


def test_a_run_that_its_time_ended_needs_more_of_it(
    aeframe: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = count()  # each look at the clock takes a tenth of a second
    clock = SimpleNamespace(monotonic=lambda: 0.1 * next(ticks))
    monkeypatch.setattr("pytorch_lightning.callbacks.timer.time", clock)
    length = ("trainer.max_time=00:00:00:02", "trainer.max_epochs=50", "trainer.steps_per_call=1")
    status, out, err = aeframe(*EPOCH, *length, "hydra.run.dir=run")
    assert status == 0, err
    found = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    epochs, steps = found["epochs"], found["steps"]
    assert (epochs - 1) * 4 < steps <= epochs * 4
    assert found["ended_by"] == ["trainer.max_time"]
    assert f"Stopped by trainer.max_time=00:00:00:02, in epoch {epochs}." in out.splitlines()
    assert f"Test metrics after {epochs} epochs" in out
    assert (
        "Train longer: python train.py resume=run trainer.max_time=00:00:00:04" in out.splitlines()
    )
    status, _, err = aeframe("resume=run", "trainer.max_epochs=100")
    assert (status, err) == (
        2,
        "aeframe: trainer.max_time=00:00:00:02: the run has trained for this time already. "
        "Write trainer.max_time=00:00:00:04.\n",
    )
    # what was killed after its time was over has only its end to come
    (tmp_path / "run" / "evaluation.json").unlink()
    status, out, err = aeframe("resume=run")
    assert status == 0, err
    found = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert (found["epochs"], found["steps"]) == (epochs, steps)
    status, out, err = aeframe("resume=run", "trainer.max_time=00:00:00:04")
    assert status == 0, err
    assert json.loads((tmp_path / "run" / "evaluation.json").read_text())["steps"] > steps
