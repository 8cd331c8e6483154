"""The command line: what a run says, what it leaves behind, and how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from aeframe import __version__
from aeframe.cli.jobs import Jobs
from aeframe.cli.main import main
from aeframe.runs.folder_guide import GUIDE, MEANINGS
from aeframe.runs.foreign_files import Beginning
from tests.support.forks import Server
from tests.support.runs import TINY, contents

Command = Callable[..., tuple[int, str, str]]
Compose = Callable[..., DictConfig]

EXPLODES = (
    "scheduler={_target_: torch.optim.lr_scheduler.ExponentialLR, gamma: 1e30, interval: epoch}"
)
"""One good epoch, and then a learning rate that no loss survives."""


def run_folder(root: Path) -> Path:
    """The one run of this root."""
    (folder,) = (root / "outputs").glob("*/*")
    return folder


def weights(folder: Path, name: str = "last") -> dict[str, torch.Tensor]:
    state = torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True)["state_dict"]
    assert state
    return dict(state)


def no_trace_of_a_run(root: Path) -> bool:
    # folders of runs and sweeps are named TIME_WHAT, those above them are not
    return not list(root.glob("outputs/**/*_*")) and not list(root.rglob(".hydra"))


# what a run says


def test_a_run_says_first_what_it_trains_and_last_where_it_is(
    aeframe: Command, tmp_path: Path
) -> None:
    status, out, err = aeframe("model=sparse", "constraint=[topk,masking]", "seed=7", *TINY)
    assert (status, err) == (0, "")
    lines = out.splitlines()
    folder = run_folder(tmp_path)
    first = "Sparse autoencoder with topk + masking: 1 x 8 x 8 -> 1024 units, "
    assert lines[0].startswith(first)
    for part in ("weights", "Digits", "1,437 training samples", "cpu", "seed 7"):
        assert part in lines[0]
    assert "16 of them active; compression 4.0:1 (64 values to 16)" in lines[0]
    shown = folder.relative_to(tmp_path)  # which is shorter
    assert lines[1] == "Chosen for this data: network.start=random"
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


# mistakes on the command line

MISTAKES: list[tuple[list[str], str, str]] = [
    # the words, how the message begins, what it advises
    (["model=undercomplet"], "model=undercomplet: no such option", "Did you mean model=undercomplete?"),
    (["experiment=nope"], "experiment=nope: no such option", "There are"),
    (["constraint=[l1,topkk]"], "constraint=", "Did you mean"),
    (["model=3"], "model=3: ", "denoising, sparse, undercomplete, variational"),
    (["modle=sparse"], "modle: unknown", "Did you mean model?"),
    (["model.latnt_dim=3"], "model.latnt_dim: unknown key", "Did you mean latent_dim?"),
    (["trainer.epochs=3"], "trainer.epochs: unknown key", "Did you mean max_epochs?"),
    (["lr=0.1"], "lr=0.1: aeframe calls it optimizer.lr=0.1", "train.py optimizer.lr=0.1"),
    (["batch_size=8"], "batch_size=8: aeframe calls it dataset.batch_size=8", " dataset.batch_size=8"),
    (["epochs=8"], "epochs=8: aeframe calls it trainer.max_epochs=8", "train.py trainer.max_epochs=8"),
    (["dataset=image_folder", "dataset.root=fotos/süd"], "dataset.root=fotos/süd: no such folder", "=FOLDER"),
    (["constraint=[topk,", "masking]"], "constraint=[topk,: cannot be read", "A list has no spaces: [A,B]."),
    (["hydra.run.dirr=here"], "hydra.run.dirr: ", ""),
    (["a=[1"], "a=[1: cannot be read", "Write KEY=VALUE"),
    (["=3"], "=3: cannot be read", "Write KEY=VALUE"),
    (["sparse"], "sparse: cannot be read", "Write KEY=VALUE"),
    (["model=sparse,denoising"], "model=sparse,denoising: ", "-m"),
    (["+experiment=vae_mnist"], "+experiment=vae_mnist: ", "experiment=vae_mnist"),
    (["--nope"], "--nope: unknown option", "--help"),
    (["--config-dir", "nowhere"], "--config-dir nowhere: no such folder", "--config-dir"),
    (["--config-name", "missing"], "--config-name missing: no such file", "config"),
    (["-m", "model=sparse,undercomplet"], "model=undercomplet: no such option", "Did you mean"),
    (["-m", "seed=0,1", "a=[1"], "a=[1: cannot be read", "Write KEY=VALUE"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("argv", "beginning", "remedy"), MISTAKES, ids=[" ".join(m[0]) for m in MISTAKES]
)
def test_a_mistake_is_one_line_with_a_remedy_and_leaves_nothing(
    aeframe: Command, tmp_path: Path, argv: list[str], beginning: str, remedy: str
) -> None:
    status, out, err = aeframe(*argv)
    assert (status, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith(f"aeframe: {beginning}"), line
    # "where: what. remedy": the advice stands behind what is wrong
    advice = line.removeprefix(f"aeframe: {beginning}").partition(". ")[2]
    assert advice, line
    assert remedy in advice, line
    assert no_trace_of_a_run(tmp_path)


def test_several_mistakes_are_told_at_once(aeframe: Command, tmp_path: Path) -> None:
    status, out, err = aeframe("modl.x=3", "seed=x", "optimizer.lr=0", "network.widths=[0]")
    assert (status, out) == (2, "")
    assert err.splitlines()[0] == "aeframe: 4 mistakes"
    wheres = [line.partition(": ")[0].strip() for line in err.splitlines()[1:]]
    assert sorted(wheres) == ["modl", "network.widths=[0]", "optimizer.lr=0", "seed=x"]
    assert no_trace_of_a_run(tmp_path)


def experiment(root: Path, text: str) -> tuple[str, str, str]:
    """The command line words that use a user's own experiment file of this text."""
    folder = root / "mine" / "experiment"
    folder.mkdir(parents=True)
    (folder / "own.yaml").write_text(f"# @package _global_\n{text}\n")
    return "--config-dir", "mine", "experiment=own"


def test_a_users_own_experiment_file_is_used(aeframe: Command, tmp_path: Path) -> None:
    text = "defaults: [override /model: sparse, _self_]\nmodel: {latent_dim: 99}"
    status, out, _ = aeframe(*experiment(tmp_path, text), *TINY)
    assert status == 0
    assert out.startswith("Sparse autoencoder with topk: 1 x 8 x 8 -> 99 units")


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("model: {latent_dimm: 5}", ["model.latent_dimm: unknown key. Did you mean latent_dim?"]),
        ("trianer: {max_epochs: 5}", ["trianer: unknown key. Did you mean trainer?"]),
        ("trainer: {max_epochs: many}", ["trainer.max_epochs=many: "]),
        ("model: {latent_dim: 5", ["own.yaml"]),
        ("model: {latent_dim: '${nowhere}'}", ["model.latent_dim", "nowhere"]),
        ("defaults: [override /model: spars, _self_]", ["model=spars", "Did you mean"]),
    ],
    ids=["key", "root", "type", "syntax", "interpolation", "option"],
)
def test_a_mistake_in_a_users_own_experiment_file(
    aeframe: Command, tmp_path: Path, text: str, messages: list[str]
) -> None:
    status, out, err = aeframe(*experiment(tmp_path, text))
    assert (status, out) == (2, "")
    (line,) = err.splitlines()
    assert all(message in line for message in messages), line
    assert no_trace_of_a_run(tmp_path)


def broken_data(root: Path) -> tuple[str, ...]:
    """The words for an array with a NaN: a mistake that shows only when the data is read."""
    np.save(root / "broken.npy", np.where(np.arange(800).reshape(100, 8) == 77, np.nan, 1.0))
    return "dataset=array", "dataset.path=broken.npy", "model.latent_dim=2"


def test_a_mistake_in_the_data_leaves_no_run_folder(aeframe: Command, tmp_path: Path) -> None:
    status, out, err = aeframe(*broken_data(tmp_path))
    assert (status, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith("aeframe: dataset.path")
    assert "sample 9" in line
    assert not list(tmp_path.glob("outputs/*/*"))


def test_a_mistake_never_deletes_what_was_there(aeframe: Command, tmp_path: Path) -> None:
    notes = tmp_path / "mine" / "notes.txt"
    notes.parent.mkdir()
    notes.write_text("do not lose me")
    assert aeframe(*broken_data(tmp_path), "hydra.run.dir=mine")[0] == 2
    assert aeframe("seed=x", "hydra.run.dir=mine")[0] == 2
    assert notes.read_text() == "do not lose me"


LATE = "scheduler={_target_: torch.optim.lr_scheduler.OneCycleLR, max_lr: 0.1, total_steps: 1}"
"""A mistake that shows when training begins."""


@pytest.mark.parametrize("folder", ["mine", "new/er"])
def test_a_late_mistake_leaves_the_folder_to_the_corrected_command(
    aeframe: Command, tmp_path: Path, folder: str
) -> None:
    notes = tmp_path / "mine" / "notes.txt"
    notes.parent.mkdir()
    notes.write_text("do not lose me")
    before = sorted(tmp_path.rglob("*"))
    where = f"hydra.run.dir={folder}"
    status, _, err = aeframe(*TINY, LATE, where, "trainer.max_epochs=2")
    assert status == 2
    assert "aeframe: scheduler.total_steps: ends after 1 of" in err
    assert sorted(tmp_path.rglob("*")) == before
    assert aeframe(*TINY, where)[0] == 0


def test_a_late_mistake_takes_nothing_from_a_run_at_work(aeframe: Command, tmp_path: Path) -> None:
    beginning = Beginning(tmp_path)
    (tmp_path / "events.out.tfevents.1").write_text("another's")
    (tmp_path / "checkpoints").mkdir()  # as it makes it when it begins
    beginning.restore()
    assert (tmp_path / "events.out.tfevents.1").exists()


# other ways to call it


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Command:
    """`aeframe ARGV` in this process and in tmp_path: (exit status, stdout, stderr)."""

    def run(*argv: str) -> tuple[int, str, str]:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["aeframe", *argv])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        return int(ended.value.code or 0), out, err

    return run


def test_aeframe_train_does_what_train_py_does(command: Command, tmp_path: Path) -> None:
    status, out, err = command("train", "debug=fast", "model.latent_dim=6")
    assert (status, err) == (0, "")
    assert "-> 6 units" in out.splitlines()[0]
    assert (run_folder(tmp_path) / "evaluation.json").is_file()


def test_aeframe_alone_shows_how_to_use_it(command: Command) -> None:
    status, out, err = command()
    assert (status, err) == (0, "")
    assert "aeframe train" in out
    assert command("--help") == (0, out, "")


def test_the_version_is_the_packages(command: Command) -> None:
    assert command("--version") == (0, f"aeframe {__version__}\n", "")


def test_an_unknown_verb_is_the_users_mistake(command: Command) -> None:
    status, out, err = command("trian")
    assert (status, out) == (2, "")
    assert "trian" in err
    assert "Traceback" not in err


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


# how it ends


def test_a_loss_that_becomes_nan_ends_the_run_with_its_term_and_step(aeframe: Command) -> None:
    status, _, err = aeframe("optimizer.lr=1e30", *TINY[1:], "trainer.max_epochs=2")
    assert status == 1
    (line,) = err.splitlines()
    # the first step is good and takes the weights far away
    assert line.startswith(
        "aeframe: the loss became nan at step 1 (term: reconstruction), in a batch"
    )
    assert "Write a lower optimizer.lr" in line


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


def test_a_failure_of_the_program_keeps_its_traceback(
    aeframe: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any) -> None:
        raise RuntimeError("a defect of ours")

    monkeypatch.setattr("aeframe.evaluation.card.Evaluation.make_card", fail)
    # python itself prints it and ends with status 1
    with pytest.raises(RuntimeError, match="a defect of ours"):
        aeframe(*TINY)


# where what is printed does not arrive


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("words", [TINY, ("--help",), ("--cfg", "job")])
def test_an_output_that_is_full_is_told_as_such(
    aeframe: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: tuple[str, ...]
) -> None:
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        status, _, err = aeframe(*words)
    assert status == 1
    what = "standard output could not be written (No space left on device)."
    assert err.startswith(f"aeframe: {what}")
    assert len(err.splitlines()) == 1
    assert not list(tmp_path.rglob("failed.txt"))


@pytest.mark.parametrize("words", [TINY, ("--help",), ("--cfg", "job")])
def test_an_output_that_is_closed_is_told_as_such(
    aeframe: Command, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    what = "standard output could not be written (Bad file descriptor)."
    assert aeframe(*words) == (1, "", f"aeframe: {what}\n")


# folders that hold a run


def test_a_folder_that_holds_a_run_is_left_as_it_is(
    aeframe: Callable[..., Any], tmp_path: Path
) -> None:
    assert aeframe(*TINY, "hydra.run.dir=run")[0] == 0
    before = {f: f.read_bytes() for f in (tmp_path / "run").rglob("*") if f.is_file()}
    status, out, err = aeframe(*TINY, "seed=1", "hydra.run.dir=run")
    assert (status, out) == (2, "")
    assert err == (
        "aeframe: hydra.run.dir=run: holds a run already. "
        "Write resume=auto to continue it, choose another folder, or delete it.\n"
    )
    assert before == {f: f.read_bytes() for f in (tmp_path / "run").rglob("*") if f.is_file()}


@pytest.mark.parametrize("resume", ["null", "auto"])
@pytest.mark.parametrize("name", ["model.safetensors", "evaluation.json", "diverged.json"])
def test_a_run_overwrites_nothing(aeframe: Command, tmp_path: Path, name: str, resume: str) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / name).write_text("exported")
    status, out, err = aeframe(*TINY, "hydra.run.dir=mine", f"resume={resume}")
    assert (status, out) == (2, "")
    what = f"holds {name} already, which a run would overwrite. Write another folder."
    assert err == f"aeframe: hydra.run.dir=mine: {what}\n"
    (file,) = (tmp_path / "mine").iterdir()
    assert file.read_text() == "exported"


def test_a_folder_with_other_files_may_be_used(aeframe: Command, tmp_path: Path) -> None:
    (tmp_path / "mine" / ".hydra").mkdir(parents=True)  # as after a mistake in the data
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    (tmp_path / "mine" / GUIDE).write_text("my own")
    assert aeframe(*TINY, "hydra.run.dir=mine")[0] == 0
    assert (tmp_path / "mine" / GUIDE).read_text() == "my own"
    assert (tmp_path / "mine" / "notes.txt").read_text() == "keep"


@pytest.mark.parametrize("how", [("-m",), ("-m", "resume=auto"), ("hydra.mode=MULTIRUN",)])
def test_a_sweep_does_not_move_in_with_a_run(
    aeframe: Command, finished: Path, how: tuple[str, ...]
) -> None:
    before = contents(finished)
    status, out, err = aeframe(*TINY, *how, "hydra.sweep.dir=run")
    assert (status, out) == (2, "")
    what = "holds a run, but a sweep needs its own folder. Write another folder."
    assert err == f"aeframe: hydra.sweep.dir=run: {what}\n"
    assert contents(finished) == before


def test_the_second_of_two_runs_in_one_folder_is_refused(
    aeframe: Callable[..., Any], tmp_path: Path
) -> None:
    status, _, err = aeframe(*TINY, "-m", "seed=0,1", "hydra.sweep.subdir=same")
    assert status == 1
    assert "same: holds a run already" in err
    (card,) = tmp_path.rglob("evaluation.json")
    assert not card.with_name("failed.txt").exists()  # the first is none the worse for it


@pytest.mark.parametrize(
    "words", [("resume=locked/x",), ("resume=locked",), ("--config-dir", "locked/x")]
)
def test_a_folder_that_may_not_be_looked_into_is_one_line(
    aeframe: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    seen = os.stat

    def refuses(path: Any, *rest: Any, **more: Any) -> os.stat_result:
        if "locked/" in str(path):  # as root may look everywhere
            raise PermissionError(13, "Permission denied", str(path))
        return seen(path, *rest, **more)

    monkeypatch.setattr(os, "stat", refuses)
    status, out, err = aeframe(*words)
    assert (status, out) == (2, "")
    what = "cannot be read (Permission denied). Check the permissions of the file, and its disk."
    assert err == f"aeframe: {' '.join(words)}: {what}\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--resolve"], "--resolve: belongs to --cfg. Write --cfg job --resolve."),
        (["--cfg", "job", "-m"], "--multirun --cfg: do not go together. Write one of them."),
    ],
)
def test_flags_that_do_not_go_together_are_one_line(
    aeframe: Command, words: list[str], message: str
) -> None:
    assert aeframe(*words, "debug=fast") == (2, "", f"aeframe: {message}\n")


@pytest.mark.parametrize(
    ("word", "what"),
    [
        ("hydra.run.dir=", "hydra.run.dir: is empty. Write hydra.run.dir=FOLDER."),
        ("hydra.run.dir=file/x", "Not a directory. Write hydra.run.dir=FOLDER"),
        ("hydra.run.dir=file", "file: File exists. Write hydra.run.dir=FOLDER"),
        (f"hydra.run.dir={'x' * 300}", "File name too long. Write hydra.run.dir=FOLDER"),
    ],
)
def test_a_folder_that_cannot_be_made_is_named(
    aeframe: Callable[..., Any], tmp_path: Path, word: str, what: str
) -> None:
    (tmp_path / "file").write_text("")
    status, _, err = aeframe(*TINY, word)
    assert status == 2
    assert what in err
    assert "Traceback" not in err
    assert [f.name for f in tmp_path.iterdir()] == ["file"]


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


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["debug=fast", "trainer.val_check_interval=5000"],
            "aeframe: trainer.val_check_interval=5000: no validation would run: an epoch has "
            "1 batch. Write trainer.val_check_interval=1 or less.",
        ),
        (
            ["trainer.limit_train_batches=0.0001"],
            "aeframe: trainer.limit_train_batches=0.0001: selects none of the 45 batches. "
            "Write trainer.limit_train_batches=1 for one batch, or a larger share.",
        ),
        (["trainer.limit_val_batches=0.000001"], "limit_val_batches=1e-06: selects none of the 6"),
        (["trainer.limit_test_batches=0.1"], "limit_test_batches=0.1: selects none of the 6"),
        (["dataset.batch_size=1436", "network.norm=batch"], "the last batch has 1 of "),
    ],
)
def test_mistakes_that_only_the_data_shows_are_one_line_too(
    aeframe: Callable[..., Any], tmp_path: Path, words: list[str], message: str
) -> None:
    status, _, err = aeframe(*words)
    assert status == 2
    assert message in err
    assert len(err.splitlines()) == 1
    assert not list(tmp_path.glob("outputs/*"))


def test_a_run_at_work_is_not_marked_as_failed(aeframe: Callable[..., Any], tmp_path: Path) -> None:
    at_work = tmp_path / "sweep" / "same" / "checkpoints"
    at_work.mkdir(parents=True)
    where = ("hydra.sweep.dir=sweep", "hydra.sweep.subdir=same")
    status, _, err = aeframe(*TINY, "-m", "seed=0", *where)
    assert status == 2
    assert "holds a run already" in err
    assert not (tmp_path / "sweep" / "same" / "failed.txt").exists()
