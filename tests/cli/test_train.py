"""The command train: what a run prints, and what it leaves in its folder."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from aeframe.cli.jobs import Jobs
from aeframe.runs.folder_guide import GUIDE, MEANINGS
from tests.support.runs import TINY, no_trace_of_a_run, run_folder, weights

Command = Callable[..., tuple[int, str, str]]
Compose = Callable[..., DictConfig]


def test_a_run_says_first_what_it_trains_and_last_where_it_is(
    aeframe: Command, tmp_path: Path
) -> None:
    status, out, err = aeframe("model=sparse", "constraint=[topk,masking]", "seed=7", *TINY)
    assert (status, err) == (0, "")
    lines = out.splitlines()
    folder = run_folder(tmp_path)
    first = "Sparse autoencoder with topk + masking: 1 x 8 x 8 -> 128 units, "
    assert lines[0].startswith(first)
    for part in ("weights", "Digits", "1,437 training images", "cpu", "seed 7"):
        assert part in lines[0]
    assert "16 of them active; compression 4.0:1 (64 values to 16)" in lines[0]
    shown = folder.relative_to(tmp_path)  # which is shorter
    assert lines[1] == ("Chosen for this data: network.start=random constraint.topk.k=16")
    assert lines[2] == "Normalization: unit, as the known range of values is 0 to 16."
    assert lines[3] == f"Run folder: {shown}"
    assert lines[4] == (
        "Not the defaults: model=sparse 'constraint=[topk,masking]' seed=7 trainer.max_epochs=1 "
        "trainer.limit_train_batches=2 dashboard.images=0 evaluation.images=32"
    )
    assert lines[-4:] == [
        f"Run folder:   {shown}",
        f"TensorBoard:  tensorboard --logdir {shown}",
        f"Encode:       aeframe encode {shown} digits --out codes.npy",
        f"Train longer: python train.py resume={shown} trainer.max_epochs=2",
    ]
    table = next(i for i, line in enumerate(lines) if line.startswith("Test metrics after 1 epoch"))
    mse = json.loads((folder / "evaluation.json").read_text())["metrics"]["mse"]
    (row,) = (line for line in lines[table:] if "MSE per pixel" in line)
    assert f"{mse:.5f}" in row


def test_a_run_folder_holds_all_of_the_run(aeframe: Command, tmp_path: Path) -> None:
    assert aeframe("model.latent_dim=5", *TINY)[0] == 0
    folder = run_folder(tmp_path)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", folder.parent.name)
    assert re.fullmatch(r"\d\d-\d\d-\d\d-\d{6}_undercomplete_bottleneck_digits", folder.name)
    (events,) = folder.rglob("events.out.tfevents.*")  # of training, its test and the card
    assert events.parent == folder  # no version_0
    assert {file.name for file in (folder / "checkpoints").iterdir()} == {"last.ckpt", "best.ckpt"}
    assert {file.name for file in (folder / ".hydra").iterdir()} == {
        "config.yaml",
        "hydra.yaml",
        "overrides.yaml",
    }
    assert OmegaConf.load(folder / ".hydra" / "config.yaml").model.latent_dim == 5
    assert not (folder / "train.log").exists()  # nothing was logged
    assert not (folder / "hparams.yaml").exists()
    names = {f"{path.name}/" if path.is_dir() else path.name for path in folder.iterdir()}
    explained = {n for n in names for pattern in MEANINGS if fnmatch(n, pattern)}
    assert names - explained == {GUIDE}
    guide = (folder / GUIDE).read_text()
    assert "| `evaluation.json` | the result: " in guide
    assert "Undercomplete autoencoder with bottleneck: 1 x 8 x 8 -> 5 units" in guide
    psnr = json.loads((folder / "evaluation.json").read_text())["metrics"]["psnr"]
    assert f"| PSNR (dB) | {psnr:.2f} | " in guide
    assert f"tensorboard --logdir {folder.relative_to(tmp_path)}\n" in guide
    for name in ("last", "best"):
        assert all(bool(torch.isfinite(value).all()) for value in weights(folder, name).values())


def test_checkpoints_hold_the_configuration_as_plain_data(aeframe: Command, tmp_path: Path) -> None:
    assert aeframe("model.latent_dim=5", "constraint=[]", *TINY)[0] == 0
    for name in ("last", "best"):
        file = run_folder(tmp_path) / "checkpoints" / f"{name}.ckpt"
        hyperparameters = torch.load(file, weights_only=True)["hyper_parameters"]
        assert json.loads(json.dumps(hyperparameters)) == hyperparameters
        assert hyperparameters["model"]["latent_dim"] == 5
        assert hyperparameters["dataset"]["_target_"] == "aeframe.data.Digits"


def test_the_evaluation_is_plain_data_with_known_keys(aeframe: Command, tmp_path: Path) -> None:
    assert aeframe("trainer.max_epochs=2", *TINY[1:])[0] == 0
    card = json.loads((run_folder(tmp_path) / "evaluation.json").read_text())
    assert {
        "metrics",
        "baselines",
        "copy_check",
        "code_size",
        "images",
        "optimized_metric",
        "until",
        "epochs",
        "steps",
        "seconds",
    } <= card.keys()
    assert {"mse", "psnr", "explained_variance", "loss"} <= card["metrics"].keys()
    assert {"real", "shuffled", "permuted", "copied", "passed"} <= card["copy_check"].keys()
    assert (card["epochs"], card["steps"], card["images"], card["code_size"]) == (2, 4, 32, 16)
    by = card["optimized_metric"]
    assert (by["name"], by["direction"]) == ("val/mse", "min")
    assert card["until"] == {"metric": None, "reached": None}
    assert set(card["baselines"]) == {"mean image", "PCA, 16 components"}


def test_the_seed_alone_decides_the_weights(aeframe: Command, tmp_path: Path) -> None:
    # corruption, dropout and the order of the samples all draw random numbers
    argv = ("model=denoising", "network.dropout=0.2", *TINY)
    found = {}
    for name, seed in (("first", 3), ("again", 3), ("other", 4)):
        assert aeframe(*argv, f"seed={seed}", f"hydra.run.dir={name}")[0] == 0
        found[name] = weights(tmp_path / name)
    assert found["first"].keys() == found["again"].keys()
    for key, value in found["first"].items():
        assert torch.equal(value, found["again"][key]), key
    assert any(not torch.equal(v, found["other"][k]) for k, v in found["first"].items())


@pytest.mark.parametrize(("metric", "best"), [("val/mse", min), ("val/psnr", max)])
def test_a_sweeper_gets_the_best_of_the_optimized_metric(
    aeframe: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    metric: str,
    best: Callable[[list[float]], float],
) -> None:
    returned, task = [], Jobs.__call__

    def noted(self: Jobs, cfg: Any) -> float:
        returned.append(task(self, cfg))
        return returned[-1]

    monkeypatch.setattr(Jobs, "__call__", noted)
    # the second epoch is worse than the first, so that the best is not simply the last
    worse = "scheduler={_target_: torch.optim.lr_scheduler.ExponentialLR, gamma: 100}"
    argv = (f"optimized_metric={metric}", worse, "trainer.max_epochs=2", "evaluation.images=32")
    assert aeframe(*argv)[0] == 0
    folder = run_folder(tmp_path)
    events = EventAccumulator(str(folder))
    events.Reload()
    logged = [event.value for event in events.Scalars(metric)]
    assert len(logged) == 2
    assert best(logged) == logged[0] != logged[1]
    assert returned == [pytest.approx(logged[0], rel=1e-6)]
    card = json.loads((folder / "evaluation.json").read_text())
    assert card["optimized_metric"]["value"] == returned[0]
    # and what was tested is that checkpoint
    short = metric.removeprefix("val/")
    assert card["metrics"][short] == pytest.approx(logged[0], rel=0.2)


def test_best_is_the_best_epoch_and_last_the_last(aeframe: Command, tmp_path: Path) -> None:
    worse = "scheduler={_target_: torch.optim.lr_scheduler.ExponentialLR, gamma: 100}"
    assert aeframe(worse, "trainer.max_epochs=2", *TINY[1:])[0] == 0
    folder = run_folder(tmp_path) / "checkpoints"
    epochs = {
        name: torch.load(folder / f"{name}.ckpt", weights_only=True)["epoch"]
        for name in ("best", "last")
    }
    assert epochs == {"best": 0, "last": 1}


@pytest.mark.parametrize(
    ("at_most", "reached", "epochs"), [("1.0", True, 1), ("1e-9", False, 3)], ids=["yes", "no"]
)
def test_the_report_says_if_the_wanted_level_was_reached(
    aeframe: Command, tmp_path: Path, at_most: str, reached: bool, epochs: int
) -> None:
    until = ("until.metric=val/mse", f"until.at_most={at_most}")
    status, out, _ = aeframe(*until, "trainer.max_epochs=3", *TINY[1:])
    assert status == 0
    said = "was reached" if reached else "was NOT reached"
    assert f"The wanted level val/mse <= {float(at_most):g} {said}." in out.splitlines()
    card = json.loads((run_folder(tmp_path) / "evaluation.json").read_text())
    assert card["until"] == {"metric": "val/mse", "reached": reached}
    assert card["epochs"] == epochs


@pytest.mark.parametrize("flags", [("--cfg", "job"), ("--cfg", "job", "--resolve"), ("-c", "job")])
def test_the_configuration_can_be_seen_without_training(
    aeframe: Command, compose: Compose, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    status, out, err = aeframe(*flags, "model=sparse", "seed=5")
    assert (status, err) == (0, "")
    assert OmegaConf.create(out) == compose("model=sparse", "seed=5")
    assert no_trace_of_a_run(tmp_path)


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("model=s", "model=sparse"),
        ("optimizer.l", "optimizer.lr="),
        ("dataset.batch", "dataset.batch_size="),
    ],
)
def test_the_shell_completes_groups_options_and_keys(
    aeframe: Command, monkeypatch: pytest.MonkeyPatch, typed: str, completed: str
) -> None:
    monkeypatch.setenv("COMP_LINE", f"train.py {typed}")
    assert aeframe("--shell-completion", "query=bash") == (0, f"{completed}\n", "")
