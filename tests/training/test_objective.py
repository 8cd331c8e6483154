"""Choice of the best validation: none counts before the objective is settled."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.trainer.states import TrainerFn

from aeframe.cli.sweep import SweepTable
from aeframe.config.check import check
from aeframe.config.node import to_plain
from aeframe.config.optimized_metric import resolve_optimized_metric
from aeframe.config.options import EarlyStoppingOptions, Training
from aeframe.core.errors import ConfigError
from aeframe.core.schedules import Clock, find_schedules, parse_schedule
from aeframe.training.build import build
from aeframe.training.checkpointing import Best
from aeframe.training.objective import list_schedule_notes, plan_end
from aeframe.training.stopping import EarlyStopping
from tests.support.events import Events
from tests.support.fitted import SMALL, STILL, Fitted

Command = Callable[..., tuple[int, str, str]]
Compose = Callable[..., DictConfig]

LINEAR = "{schedule: linear, start: 40, end: 2, epochs: %s}"


@pytest.mark.parametrize(
    ("given", "ended"),
    [
        (0.3, [0, 1, 2, 3, 4, 5]),
        ({"schedule": "constant", "value": 0.3}, [0, 1, 2, 3, 4, 5]),
        ({"schedule": "linear", "start": 0.1, "end": 0.3, "epochs": 3}, [3, 4, 5]),
        ({"schedule": "linear", "start": 0.3, "end": 0.3, "epochs": 3}, [0, 1, 2, 3, 4, 5]),
        ({"schedule": "cosine", "start": 100, "end": 25, "epochs": 4}, [4, 5]),
        ({"schedule": "warmup", "value": 0.7, "steps": 20}, [2, 3, 4, 5]),
        ({"schedule": "cyclic", "value": 1.0, "epochs": 4, "ratio": 0.5}, [2, 3]),
        ({"schedule": "cyclic", "value": 1.0, "epochs": 1}, []),
    ],
)  # fmt: skip
def test_when_a_schedule_has_ended(given: Any, ended: list[int]) -> None:
    made = parse_schedule(given)
    assert [e for e in range(6) if made.has_ended(Clock(10 * e, float(e)))] == ended


@pytest.mark.parametrize(
    ("words", "keys"),
    [
        (["model=sparse"], {"constraint.topk.k"}),
        (["model=sparse", "constraint=[batch_topk,auxk]"],
         {"constraint.batch_topk.k", "constraint.auxk.weight"}),
        (["model=sparse", "constraint=[jump_relu,gaussian_noise]"],
         {"constraint.jump_relu.weight", "constraint.gaussian_noise.sigma"}),
        (["model=denoising"], {"constraint.masking.fraction"}),
        (["model=variational"], {"model.beta"}),
        (["constraint=rate"], {"constraint.rate.weight"}),
    ],
)  # fmt: skip
def test_every_schedule_of_a_run_is_known_by_its_key(
    compose: Compose, words: list[str], keys: set[str]
) -> None:
    assert build(compose(*words)).net.schedules.keys() == keys


def test_the_schedules_of_an_object_have_the_names_that_are_typed() -> None:
    class Part:
        def __init__(self) -> None:
            self._weight, self.k, self.other = parse_schedule(0.1), parse_schedule(3), 5

    assert list(find_schedules(Part())) == ["weight", "k"]


# -------------------------------------------------------------------------------- the default metric


@pytest.mark.parametrize(
    ("words", "metric"),
    [
        ([], "val/mse"),
        (["constraint=[bottleneck,l2]"], "val/mse"),
        (["model=denoising"], "val/denoised_mse"),
        (["model=denoising", "constraint=[masking,l1]"], "val/loss"),
        (["model=sparse"], "val/mse"),
        (["model=sparse", "constraint=[topk,auxk]"], "val/mse"),
        (["model=sparse", "constraint=l1"], "val/loss"),
        (["model=sparse", "constraint=jump_relu"], "val/loss"),
        (["model=sparse", "constraint=[kl_sparsity,l2]"], "val/loss"),
        (["constraint=rate"], "val/loss"),
        (["constraint=[bottleneck,contractive]"], "val/loss"),
        (["experiment=compress_photos"], "val/loss"),
        (["model=variational"], "val/negative_elbo"),
        (["model=variational", "model.beta=4.0"], "val/loss"),
        (["model=variational", "model.beta={schedule: warmup, value: 1.0, epochs: 2}"],
         "val/negative_elbo"),
        (["model=variational", "model.beta={schedule: linear, start: 1.0, end: 4.0, epochs: 2}"],
         "val/loss"),
        (["model=variational", "model.free_bits=0.5"], "val/loss"),
        (["model=variational", "model.k=5", "model.objective=importance_weighted"],
         "val/negative_importance_weighted_bound"),
        (["model=sparse", "constraint=l1", "optimized_metric=val/psnr"], "val/psnr"),
    ],
)  # fmt: skip
def test_the_default_metric_picks_the_best(compose: Compose, words: list[str], metric: str) -> None:
    assert resolve_optimized_metric(to_plain(compose(*words))) == metric


@pytest.mark.parametrize(
    "wrong", [{"model": None}, {"model": {"_target_": "os.system"}}, {"constraint": {"x": {}}}]
)
def test_a_wrong_configuration_gets_no_notes_on_its_metric(
    compose: Compose, wrong: dict[str, Any]
) -> None:
    assert resolve_optimized_metric({**to_plain(compose()), **wrong}) == "auto"


# ---------------------------------------------------------------------------------------- whole runs


def best_epoch(folder: Path) -> int:
    """Return the epoch of the best checkpoint, counted from 1."""
    state = torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)
    return int(state["epoch"]) + 1


def report(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "evaluation.json").read_text())
    return found


def test_the_best_comes_after_the_schedules(aeframe: Command, tmp_path: Path) -> None:
    words = ("model=sparse", f"constraint.topk.k={LINEAR % 3}", "evaluation.images=32")
    status, out, err = aeframe(*SMALL[2:], *words, "trainer.max_epochs=4", "hydra.run.dir=run")
    assert status == 0, err
    errors = [float(line.split()[3]) for line in out.splitlines() if line.startswith("epoch ")]
    assert min(errors) < min(errors[2:])  # with more than 2 units
    assert best_epoch(tmp_path / "run") in (3, 4)
    found = report(tmp_path / "run")
    assert found["weights"] == "best"
    assert found["metrics"]["l0"] == pytest.approx(2, abs=0.01)
    assert found["optimized_metric"]["value"] == pytest.approx(min(errors[2:]), rel=1e-3)
    # and the same where it goes on between two validations that do not count
    status, out, err = aeframe("resume=run", "trainer.max_epochs=5")
    assert (status, best_epoch(tmp_path / "run") >= 3) == (0, True), err


def test_without_such_a_validation_the_last_weights_are_kept(
    aeframe: Command, tmp_path: Path
) -> None:
    words = ("model=sparse", f"constraint.topk.k={LINEAR % 9}", "evaluation.images=32")
    ends = ("early_stopping.patience=1", "until.metric=val/mse", "until.at_most=9")
    length = ("trainer.max_epochs=3", "hydra.run.dir=run")
    status, out, err = aeframe(*SMALL[2:], *words, *ends, *length)
    assert status == 0, err
    assert "Note: constraint.topk.k: this schedule is longer than training: the last weights" in out
    kept = "The last weights are kept, not the best: at no validation had constraint.topk.k reached"
    assert f"{kept} its final value." in out.splitlines()
    assert "The wanted level val/mse <= 9 was NOT reached." in out.splitlines()
    found = report(tmp_path / "run")
    assert (found["weights"], found["epochs"], best_epoch(tmp_path / "run")) == ("last", 3, 4)
    # it goes on to the end of its schedule, and has a best then
    more = ("until.metric=null", "until.at_most=null", "early_stopping.patience=null")
    status, _, err = aeframe("resume=run", "trainer.max_epochs=10", *more)
    assert status == 0, err
    assert report(tmp_path / "run")["weights"] == "best"
    assert best_epoch(tmp_path / "run") >= 9


@pytest.mark.parametrize("metric", ["auto", "val/mse"])
def test_a_penalty_that_is_part_of_the_aim_is_part_of_what_picks(
    compose: Compose, tmp_path: Path, metric: str
) -> None:
    """Under a heavy penalty the error is lowest in a transient, before the code is sparse."""
    best = Best(
        tmp_path,
        resolve_optimized_metric(to_plain(compose("constraint=l1", f"optimized_metric={metric}"))),
    )
    words = ("model=sparse", "constraint=l1", "constraint.l1.weight=3", "optimizer.lr=0.003")
    fitted = Fitted(compose, "model.latent_dim=128", *words)
    values = fitted.history.of(best.monitor or "")
    picked = values.index(min(values)) + 1
    l0 = fitted.history.of("val/l0")
    assert (picked == 8) == (metric == "auto")
    assert (l0[picked - 1] < 0.7 * max(l0)) == (metric == "auto")


def test_an_old_run_goes_on_with_the_metric_that_it_was_begun_with(
    aeframe: Command, tmp_path: Path
) -> None:
    words = (
        *SMALL[1:],
        "model=sparse",
        "constraint=l1",
        "model.latent_dim=70",
        "evaluation.images=32",
    )
    run = ("hydra.run.dir=run", "resume=auto")
    old = ("optimized_metric=val/mse", "trainer.max_epochs=1")  # as conf/config.yaml had it
    assert aeframe(*words, *run, *old)[0] == 0
    status, _, err = aeframe(*words, *run, "trainer.max_epochs=2")
    assert status == 0, err
    assert report(tmp_path / "run")["optimized_metric"]["name"] == "val/mse"
    status, _, err = aeframe("resume=run", "trainer.max_epochs=3")
    assert status == 0, err
    found = report(tmp_path / "run")
    assert (found["optimized_metric"]["name"], found["epochs"]) == ("val/mse", 3)
    status, _, err = aeframe(*words, *run, "optimized_metric=val/loss", "trainer.max_epochs=4")
    assert (status, "a resumed run cannot change it" in err) == (2, True)


# ------------------------------------------------------------------------------ what ends training


def test_early_stopping_waits_for_the_schedules(compose: Compose) -> None:
    words = ("model=variational", "model.latent_dim=2", "early_stopping.patience=1", STILL)
    assert Fitted(compose, *words).epochs == 2
    warm = "model.beta={schedule: warmup, value: 1.0, epochs: 4}"
    assert Fitted(compose, *words, warm).epochs == 5


def test_a_level_waits_for_the_schedules(compose: Compose) -> None:
    level = ("until.metric=val/mse", "until.at_most=9")
    assert Fitted(compose, *level).epochs == 1
    noise = "constraint.masking.fraction={schedule: linear, start: 0.5, end: 0.1, steps: 12}"
    fitted = Fitted(compose, *level, "constraint=[bottleneck,masking]", noise)
    assert (fitted.epochs, fitted.until.reached) == (3, True)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"max_epochs": 3}, []),
        ({"max_epochs": 2}, ["a"]),
        ({"max_epochs": 2, "limit_train_batches": 5}, ["a", "b"]),
        ({"max_epochs": 9, "max_steps": 15}, ["a", "b"]),
        ({"max_epochs": 2, "accumulate_grad_batches": 5}, ["a", "b"]),
        ({"max_time": "00:00:00:01"}, []),
    ],
)
def test_a_schedule_that_is_longer_than_training_is_told_beforehand(
    words: dict[str, Any], told: list[str]
) -> None:
    schedules = {
        "a": parse_schedule({"schedule": "warmup", "value": 1, "epochs": 3}),
        "b": parse_schedule({"schedule": "warmup", "value": 1, "steps": 20}),
        "c": parse_schedule({"schedule": "cyclic", "value": 1, "epochs": 7}),
        "d": parse_schedule(3),
    }
    notes = list_schedule_notes(schedules, plan_end(Training(**words), batches=10))
    assert [note.where for note in notes] == told


@pytest.mark.parametrize(("least", "ended"), [(2, 3), (5, 5), (8, 8)])
def test_patience_before_min_epochs_ends_nothing(compose: Compose, least: int, ended: int) -> None:
    """Patience starts anew: a metric that improves afterwards lets training go on."""
    patience = ("early_stopping.patience=2", f"+trainer.min_epochs={least}")
    fitted = Fitted(compose, *patience, "early_stopping.min_delta=100")
    assert fitted.epochs == ended
    (stopping,) = [c for c in fitted.built.callbacks if hasattr(c, "stopped")]
    assert stopping.message == "Stopped early: val/mse had not improved in 2 validations."


def test_training_that_improves_again_before_min_epochs_goes_on(compose: Compose) -> None:
    stopping = EarlyStopping("val/mse", EarlyStoppingOptions(patience=2))
    trainer: Any = SimpleNamespace(
        fast_dev_run=False,
        should_stop=False,
        is_last_batch=True,
        min_epochs=5,
        min_steps=None,
        global_step=0,
        strategy=SimpleNamespace(reduce_boolean_decision=lambda decision, all: decision),
        lightning_module=SimpleNamespace(net=build(compose(*SMALL)).net),
        state=SimpleNamespace(fn=TrainerFn.FITTING),
        sanity_checking=False,
    )
    ended = []
    for epoch, error in enumerate([1.0, 2.0, 2.0, 2.0, 0.5, 0.6, 0.7]):
        trainer.current_epoch = epoch
        trainer.callback_metrics = {"val/mse": torch.tensor(error)}
        stopping.on_validation_end(trainer, trainer.lightning_module)
        ended.append(trainer.should_stop)
    assert ended == [*[False] * 6, True]  # the third and fourth would have ended it


def test_a_level_is_looked_at_anew_after_min_epochs(compose: Compose) -> None:
    level = ("until.metric=val/mse", "until.at_most=9", "+trainer.min_epochs=3")
    fitted = Fitted(compose, *level)
    assert (fitted.epochs, fitted.until.reached) == (3, True)


def test_early_stopping_without_a_validation_waits_for_the_one_at_the_end(
    aeframe: Command, tmp_path: Path
) -> None:
    words = ("+trainer.max_steps=2", "early_stopping.patience=1", "hydra.run.dir=run")
    status, _, err = aeframe(*SMALL, *words)
    assert status == 0, err
    assert report(tmp_path / "run")["steps"] == 2


# ------------------------------------------------------------------------------ without validation


def test_without_a_validation_the_last_weights_are_kept(aeframe: Command, tmp_path: Path) -> None:
    words = (*SMALL[:2], "trainer.limit_train_batches=4", "evaluation.images=32", "constraint=rate")
    without = ("dataset.val_fraction=0", "dashboard.images=2", "hydra.run.dir=run")
    status, out, err = aeframe(*words, *without, "trainer.max_epochs=2")
    assert status == 0, err
    assert "The last weights are kept: nothing was validated (dataset.val_fraction=0)." in out
    assert [line.split()[1] for line in out.splitlines() if line.startswith("epoch ")] == [
        "1/2",
        "2/2",
    ]
    run, found = tmp_path / "run", report(tmp_path / "run")
    assert (found["weights"], found["validation"], found["trade"]) == ("last", {}, None)
    assert found["optimized_metric"] == {"name": "val/loss", "value": None, "direction": "min"}
    assert found["metrics"]["mse"] > 0
    assert "pictures/01_reconstructions" in Events(run).tags("images")
    last, best = (
        torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True)["state_dict"]
        for name in ("last", "best")
    )
    assert all(torch.equal(last[name], best[name]) for name in last)
    status, _, err = aeframe("resume=run")
    assert (status, "has finished, after 8 steps" in err) == (2, True)
    assert aeframe("resume=run", "trainer.max_epochs=3")[0] == 0
    assert report(run)["steps"] == 12


def test_all_samples_that_are_not_tested_on_are_trained_on(compose: Compose) -> None:
    data = build(compose("dataset.val_fraction=0")).data
    assert {split: len(rows) for split, rows in data.splits.items()} == {"train": 1617, "test": 180}
    assert data.held_out == "train"
    assert build(compose()).data.held_out == "val"


@pytest.mark.parametrize(
    ("words", "where"),
    [
        (["until.metric=val/mse", "until.at_most=1"], "until.metric=val/mse"),
        (["early_stopping.patience=3"], "early_stopping.patience=3"),
        (["scheduler={_target_: torch.optim.lr_scheduler.ReduceLROnPlateau}"],
         "scheduler=ReduceLROnPlateau"),
    ],
)  # fmt: skip
def test_keys_that_wait_for_validations_are_refused_without_one(
    compose: Compose, words: list[str], where: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        check(compose("dataset.val_fraction=0", *words))
    (problem,) = raised.value.problems
    assert problem.where == where
    assert problem.what == "needs a validation split, but dataset.val_fraction=0 leaves none"
    check(compose(*words))


def test_a_sweep_without_validations_names_no_best_run(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for number in range(2):
        folder = tmp_path / f"{number}_run"
        (folder / ".hydra").mkdir(parents=True)
        (folder / ".hydra" / "overrides.yaml").write_text(f"- seed={number}\n")
        card = {
            "metrics": {"mse": 0.5},
            "validation": {},
            "copy_check": {"copied": 0.25, "passed": True},
            "optimized_metric": {"name": "val/mse", "value": None, "direction": "min"},
            "trade": None,
        }
        (folder / "evaluation.json").write_text(json.dumps(card))
    SweepTable().on_multirun_end(OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path)}}}))
    said = "No best run: nothing was validated (dataset.val_fraction=0)."
    assert said in capfd.readouterr().out.splitlines()
