"""`resume` as it is typed: what it takes, what it refuses, and that a mistake changes nothing on the disk."""
# ruff: noqa: E501 (the table keeps each mistake and its message on one line)

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from aeframe.runs.folder import lock_folder
from tests.support.forks import Server
from tests.support.resumed import auto, unlike
from tests.support.runs import EPOCH, TWO, contents

Command = Callable[..., tuple[int, str, str]]


def steps(folder: Path) -> int:
    return int(torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["global_step"])


# how long


def test_more_epochs_equal_a_run_that_had_so_many_from_the_start(
    aeframe: Command, finished: Path, tmp_path: Path
) -> None:
    status, out, err = aeframe("resume=run", "trainer.max_epochs=4")
    assert (status, err) == (0, "")
    assert "Resuming at step 8 (epoch 2 of 4)." in out.splitlines()
    assert aeframe(*EPOCH, "trainer.max_epochs=4", "hydra.run.dir=whole")[0] == 0
    assert unlike(tmp_path / "whole", finished) == []


@pytest.mark.parametrize("words", [(), ("trainer.max_epochs=2",), ("trainer.max_epochs=1",)])
def test_a_run_that_has_finished_is_a_mistake_to_name(
    aeframe: Command, finished: Path, words: tuple[str, ...]
) -> None:
    before = contents(finished)
    status, out, err = aeframe("resume=run", *words)
    assert (status, out) == (2, "")
    assert err == (
        "aeframe: resume=run: has finished, after 8 steps. "
        "Write a larger trainer.max_epochs to train on.\n"
    )
    assert contents(finished) == before


@pytest.mark.parametrize("value", ["auto", "retry"])
@pytest.mark.parametrize("epochs", [1, 2])
def test_a_script_that_says_auto_is_told_that_it_has_finished(
    aeframe: Command, finished: Path, value: str, epochs: int
) -> None:
    before = contents(finished)
    words = (*EPOCH, f"trainer.max_epochs={epochs}", "hydra.run.dir=run", f"resume={value}")
    assert aeframe(*words) == (0, f"{finished}: has finished\n", "")
    assert contents(finished) == before


@pytest.mark.parametrize(
    ("word", "message"),
    [
        (
            "trainer.max_epochs=1",
            "the run has trained for more than 1 epoch already. Write trainer.max_epochs=2",
        ),
        (
            "trainer.max_steps=7",
            "the run has trained for more than 7 steps already. Write trainer.max_steps=8",
        ),
    ],
)
@pytest.mark.parametrize("how", [("resume=run",), (*TWO, "hydra.run.dir=run", "resume=auto")])
def test_less_than_was_trained_is_refused(
    aeframe: Command, begun: Path, how: tuple[str, ...], word: str, message: str
) -> None:
    before = contents(begun)
    status, out, err = aeframe(*how, word)
    assert (status, out) == (2, "")
    assert err.startswith(f"aeframe: {word}: {message}")
    assert len(err.splitlines()) == 1
    assert contents(begun) == before


def test_the_end_alone_is_made_up_for(aeframe: Command, trained: Path, begun: Path) -> None:
    status, out, err = aeframe("resume=run")
    assert (status, err) == (0, "")
    assert "Resuming at step 8 (epoch " in out
    assert unlike(trained, begun) == []


# which folder

NAMES = [
    *("a b", " spaces ", "it's", 'say "so"', "x=1,y=2", "[1]", "{a: b}", "(c)", "~home", "100%"),
    *(
        "ünïcödé-日本",
        "back\\slash",
        "ends\\",
        "-dash",
        "3",
        "1e3",
        "true",
        "[",
        "#hash",
        ":",
        "a&b;c",
    ),
    *("$HOME", "*", "two\nlines", "'quoted'", "resume=x"),
]


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_may_have_any_name(
    aeframe: Command, finished: Path, tmp_path: Path, name: str
) -> None:
    moved = finished.rename(tmp_path / name)
    there = set(tmp_path.iterdir())
    status, _, err = aeframe(f"resume={'./' if name.startswith(chr(39)) else ''}{name}")
    assert status == 2
    assert "has finished, after 8 steps" in err
    status, _, err = aeframe(f"resume={moved}", "trainer.max_epochs=3")
    assert (status, err) == (0, "")
    assert steps(moved) == 12
    assert set(tmp_path.iterdir()) == there


@pytest.mark.parametrize(
    "word",
    ["resume=run/", "resume=./run", "resume=../{0}/run", "resume='run'", 'resume="run"', "+resume=run"],
)  # fmt: skip
def test_a_folder_may_be_written_in_many_ways(
    aeframe: Command, finished: Path, tmp_path: Path, word: str
) -> None:
    status, _, err = aeframe(word.format(tmp_path.name), "trainer.max_epochs=3")
    assert (status, err) == (0, "")
    assert steps(finished) == 12


def test_the_names_of_the_automatic_ways_are_folders_behind_a_dot(
    aeframe: Command, finished: Path, tmp_path: Path
) -> None:
    for name in ("auto", "retry", "null"):
        shutil.copytree(finished, tmp_path / name)
        status, _, err = aeframe(f"resume=./{name}", "trainer.max_epochs=3")
        assert (status, err) == (0, "")
        assert steps(tmp_path / name) == 12


def test_a_run_that_was_moved_or_copied_goes_on_where_it_is(
    aeframe: Command, begun: Path, trained: Path, tmp_path: Path
) -> None:
    copied = Path(shutil.copytree(begun, tmp_path / "deep" / "er" / "copy"))
    before = contents(begun)
    assert aeframe("resume=deep/er/copy")[0] == 0
    assert contents(begun) == before
    moved = begun.rename(tmp_path / "moved")
    assert aeframe("resume=moved")[0] == 0
    for folder in (copied, moved):
        assert unlike(trained, folder) == []
    assert not begun.exists()


def test_a_run_that_goes_on_keeps_what_hydra_wrote_of_its_beginning(
    aeframe: Command, finished: Path
) -> None:
    before = contents(finished / ".hydra")
    assert aeframe("resume=run", "trainer.max_epochs=3")[0] == 0
    words = (*EPOCH, "trainer.max_epochs=4", "hydra.run.dir=run", "resume=auto")
    assert aeframe(*words)[0] == 0
    assert contents(finished / ".hydra") == before
    assert steps(finished) == 16


def test_a_run_with_other_defaults_goes_on_as_is_advised(aeframe: Command, begun: Path) -> None:
    """The other defaults are those of another version, which resume=auto finds in what is composed, though nobody typed them."""
    status, _, err = aeframe(
        *EPOCH, "trainer.max_epochs=2", "hydra.run.dir=run", "resume=auto", "seed=1"
    )
    assert status == 2
    _, _, advice = err.partition("Remove it, or continue with the run's own values: ")
    words = shlex.split(advice.splitlines()[0])
    assert words[-1] == "resume=run"
    assert aeframe(words[-1])[0] == 0


def test_another_model_is_one_mistake(aeframe: Command, begun: Path) -> None:
    """Its constraint, likelihood and network follow from it."""
    for model in ("Sparse", "Variational"):
        words = (f"model={model.lower()}", "hydra.run.dir=run", "resume=auto")
        status, _, err = aeframe(*EPOCH, "trainer.max_epochs=2", *words)
        assert status == 2
        assert err == (
            f"aeframe: model={model}: run was trained with Undercomplete, and a resumed run cannot change it. "
            "Remove it, or continue with the run's own values: python train.py resume=run\n"
        )


def test_an_experiment_is_one_mistake(aeframe: Command, begun: Path) -> None:
    """Its model and keys of the dataset follow from it; in a run of an experiment, from its absence."""
    words = (*EPOCH, "trainer.max_epochs=2", "hydra.run.dir=run", "resume=auto")
    status, _, err = aeframe(*words, "experiment=vae_mnist", "dataset=digits")
    assert status == 2
    assert err == (
        "aeframe: experiment=vae_mnist: run was trained without it, and a resumed run cannot change it. "
        "Remove it, or continue with the run's own values: python train.py resume=run\n"
    )
    status, _, err = aeframe("model=sparse", "trainer.max_epochs=2", *words[-2:])  # without EPOCH
    assert (status, err.count("cannot change it")) == (2, 1)
    assert err.startswith("aeframe: model=Sparse: run was trained with Undercomplete")
    status, _, err = aeframe("trainer.max_epochs=2", *words[-2:])
    assert (status, err.count("cannot change it")) == (2, 1)
    assert "cannot change it. Continue with the run's own values: python train.py resume=run" in err


# what else is typed

REFUSED: list[tuple[list[str], str]] = [
    (["resume="], "resume=: is empty. Write resume=auto, or the folder of a run."),
    (["resume=nowhere"], "resume=nowhere: does not exist. Write auto, or the folder"),
    (["resume=other"], "resume=other: has no checkpoint to resume from. Start the run again."),
    (["resume=file"], "resume=file: is not a folder. Write auto, or the folder of a run."),
    (["resume=run/checkpoints"], "resume=run/checkpoints: lies inside the folder of a run. Write resume=run."),
    (["resume=run/checkpoints/last.ckpt"], "resume=run/checkpoints/last.ckpt: lies inside the folder of a run. Write resume=run."),
    (["resume=${oc.env:HOME}"], "resume=${oc.env:HOME}: Hydra would replace ${...} in the name."),
    (["~resume"], "~resume: there is nothing to delete."),
    (["-m", "resume=run"], "resume=run: a sweep cannot be resumed this way. Repeat the sweep's command"),
    (["-m", "resume=auto,run"], "resume=auto,run: a sweep cannot be resumed this way."),
    (["resume=run", "hydra.mode=MULTIRUN"], "resume=run: a sweep cannot be resumed this way."),
    (["resume=run", "experiment=sweep_sparsity"], "resume=run: a sweep cannot be resumed this way."),
    (["resume=run", "hydra.run.dir=run"], "resume=run: a resumed run continues in its own folder. Leave hydra.run.dir out."),
    (["resume=run", "model=sparse"], "model=sparse: run was trained with Undercomplete, and a resumed run cannot change it. Remove it"),
    (["resume=run", "constraint=[]"], "constraint=[]: run was trained with [bottleneck], and a resumed run cannot change it."),
    (["resume=run", "network=conv"], "network=conv: run was trained with Automatic, and a resumed run cannot change it."),
    (["resume=run", "experiment=vae_mnist"], "experiment=vae_mnist: run was trained without it, and a resumed run cannot change it."),
    (["resume=run", "debug=fast"], "debug=fast: run was trained without it, and a resumed run cannot change it."),
    (["resume=run", "seed=1"], "seed=1: run was trained with 0, and a resumed run cannot change it."),
    (["resume=run", "model.latent_dim=4"], "model.latent_dim=4: run was trained with 8, and a resumed run cannot change it."),
    (["resume=run", "optimizer.lr=0.1"], "optimizer.lr=0.1: run was trained with 0.001, and a resumed run cannot change it."),
    (["resume=run", "dataset.batch_size=64"], "dataset.batch_size=64: run was trained with 128, and a resumed run cannot change it."),
    (["resume=run", "~model.latent_dim"], "~model.latent_dim: run was trained with 8, and a resumed run cannot change it."),
    (["resume=run", "~evaluation"], "~evaluation: run was trained with [images,importance_samples], and a resumed run cannot change it."),
    (["resume=run", "+foo=1"], "foo=1: run was trained without it, and a resumed run cannot change it."),
    (["resume=run", "foo=1"], "foo=1: run was trained without it, and a resumed run cannot change it."),
    (["resume=run", "trainer=3"], "trainer=3: run was trained with "),
    (["resume=run", "trainer.max_epochs=many"], "trainer.max_epochs=many: expected a whole number or auto."),
    (["resume=run", "++trainer.max_epochs.x=3"], "trainer.max_epochs={'x': 3}: expected a whole number or auto."),
    (["resume=run", "until=5"], "until=5: expected keys and values."),
    (["resume=run", "until.metric=val/mse"], "until: write either until.at_most or until.at_least beside"),
    (["resume=run", "hardware=nope"], "hardware=nope: no such option."),
    (["resume=run", "hardware.threads=0"], "hardware.threads=0: must be at least 1."),
    (["resume=run", "model=nope"], "model=nope: no such option."),
]  # fmt: skip


@pytest.mark.parametrize(("words", "message"), REFUSED, ids=[" ".join(w) for w, _ in REFUSED])
def test_a_mistake_is_one_line_and_changes_nothing(
    aeframe: Command, begun: Path, tmp_path: Path, words: list[str], message: str
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "file").write_text("")
    before = contents(tmp_path)
    status, out, err = aeframe(*words)
    assert (status, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith(f"aeframe: {message}"), line
    assert contents(tmp_path) == before


def test_several_keys_of_another_run_are_told_at_once(aeframe: Command, begun: Path) -> None:
    status, _, err = aeframe("resume=run", "seed=1", "model.latent_dim=4", "hardware=cpu")
    assert status == 2
    wheres = [line.strip().partition(":")[0] for line in err.splitlines()[1:]]
    assert wheres == ["seed=1", "model.latent_dim=4"]


def test_the_command_that_a_run_began_with_may_be_repeated(aeframe: Command, begun: Path) -> None:
    status, _, err = aeframe(*TWO, "model=undercomplete", "seed=0", "resume=run")
    assert (status, err) == (0, "")


def test_harmless_keys_may_be_written_beside_resume(aeframe: Command, begun: Path) -> None:
    words = ("hardware=cpu", "checkpoint.every_minutes=5", "evaluation.images=16", "seed=0")
    status, _, err = aeframe("resume=run", *words)
    assert (status, err) == (0, "")
    assert json.loads((begun / "evaluation.json").read_text())["images"] == 16


def test_patience_is_that_of_the_command_line(aeframe: Command, begun: Path) -> None:
    """Lightning would take it from the checkpoint."""
    words = ("early_stopping.patience=3", "early_stopping.min_delta=9", "trainer.max_epochs=9")
    assert aeframe("resume=run", *words)[0] == 0
    assert json.loads((begun / "evaluation.json").read_text())["epochs"] == 5


def test_a_run_goes_on_in_two_processes(server: Server, begun: Path, tmp_path: Path) -> None:
    words, said = ["resume=run", "hardware=ddp_cpu", "trainer.max_epochs=3"], tmp_path / "said"
    assert server.start(words, tmp_path, said).wait(200) == 0, said.read_text()
    assert steps(begun) == 12
    assert {f.name for f in tmp_path.iterdir()} == {"run", "said"}


# auto


@pytest.mark.parametrize(
    ("word", "wheres"),
    [
        ("seed=1", ["seed=1"]),
        ("model.latent_dim=4", ["model.latent_dim=4"]),
        ("constraint=[]", ["constraint=[]"]),
        ("model=denoising", ["model=Denoising"]),
        ("dataset=mnist", ["dataset=MNIST"]),
        ("scheduler={_target_: torch.optim.lr_scheduler.ExponentialLR, gamma: 0.5}", ["scheduler="]),
    ],
)  # fmt: skip
def test_a_changed_configuration_is_refused_and_the_folder_left_as_it_is(
    aeframe: Command, begun: Path, tmp_path: Path, word: str, wheres: list[str]
) -> None:
    before = contents(tmp_path)
    status, out, err = aeframe(*auto(word))
    assert (status, out) == (2, "")
    lines = [line.removeprefix("aeframe: ").strip() for line in err.splitlines()]
    told = [line for line in lines if "and a resumed run cannot change it" in line]
    assert len(told) == len(wheres)
    assert all(any(line.startswith(where) for line in told) for where in wheres), told
    assert contents(tmp_path) == before


def test_auto_begins_where_there_is_nothing_to_go_on_from(aeframe: Command, tmp_path: Path) -> None:
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)  # of a run that was killed too soon
    status, out, err = aeframe(*auto())
    assert (status, err) == (0, "")
    assert "Resuming at" not in out
    assert aeframe(*auto())[1].endswith("run: has finished\n")


def test_auto_says_where_it_can_only_begin(aeframe: Command) -> None:
    status, out, _ = aeframe(*TWO, "resume=auto")
    assert status == 0
    assert out.startswith(
        "Note: resume=auto: each start makes a new folder, so there is nothing to resume. "
        "Write hydra.run.dir=FOLDER as well.\n"
    )


BROKEN: dict[str, bytes | Any] = {
    "empty": b"",
    "text": b"no checkpoint",
    "zip": b"PK\x05\x06" + bytes(18),
    "number": 3,
    "list": [1, 2],
    "weights": {"state_dict": {"a": torch.zeros(2)}},
    "another's": {"epoch": 1, "global_step": 3, "hyper_parameters": {"lr": 0.1}, "state_dict": {}},
}


@pytest.mark.parametrize("kind", [*BROKEN, "cut"])
@pytest.mark.parametrize("how", [("resume=run",), auto()], ids=["named", "auto"])
def test_a_broken_or_foreign_checkpoint_is_left_as_it_is(
    aeframe: Command, begun: Path, tmp_path: Path, kind: str, how: tuple[str, ...]
) -> None:
    file = begun / "checkpoints" / "last.ckpt"
    if kind == "cut":
        file.write_bytes(file.read_bytes()[:-999])
    elif isinstance(BROKEN[kind], bytes):
        file.write_bytes(BROKEN[kind])
    else:
        torch.save(BROKEN[kind], file)
    before = contents(tmp_path)
    status, out, err = aeframe(*how)
    assert (status, out) == (2, "")
    assert "Traceback" not in err
    assert contents(tmp_path) == before
    if kind != "another's":
        (line,) = err.splitlines()
        assert "checkpoints/last.ckpt: is not a checkpoint of aeframe, or is damaged" in line
        assert "The file was not changed. Start a new run in another folder." in line


@pytest.mark.parametrize("how", [("resume=run",), auto()], ids=["named", "auto"])
def test_a_run_at_work_is_left_alone(
    aeframe: Command, begun: Path, tmp_path: Path, how: tuple[str, ...]
) -> None:
    code = (
        "import pathlib, sys; from aeframe.runs.folder import lock_folder\n"
        "with lock_folder(pathlib.Path('run')): print('locked', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        before = contents(tmp_path)
        status, out, err = aeframe(*how)
    finally:
        process.communicate("")
    assert (status, out) == (2, "")
    assert err == (
        "aeframe: run: another process is training in it. "
        "Wait for its end, or write another folder.\n"
    )
    assert contents(tmp_path) == before
    assert aeframe(*how)[0] == 0  # now it may


def test_a_folder_that_cannot_be_written_is_one_line(
    aeframe: Command, begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Path.open

    def refuses(path: Path, mode: str = "r", *rest: Any, **more: Any) -> Any:
        if (path.is_relative_to(begun) and mode != "r") or path.name == ".lock":
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, mode, *rest, **more)

    monkeypatch.setattr(Path, "open", refuses)
    status, _, err = aeframe("resume=run")
    assert status == 2
    assert err == (
        "aeframe: run: cannot be written (Permission denied). "
        "Write another folder, or copy the run.\n"
    )


@pytest.mark.parametrize(
    ("how", "remedy"),
    [(("resume=run",), "Copy the run."), (("hydra.run.dir=empty",), "Write another folder.")],
)
def test_a_read_only_folder_is_one_line_whose_advice_is_taken(
    aeframe: Command,
    begun: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    how: tuple[str, ...],
    remedy: str,
) -> None:
    (tmp_path / "empty").mkdir()
    before = contents(tmp_path)
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)  # as root may write
    status, out, err = aeframe(*how)
    assert (status, out) == (2, "")
    folder = how[0].partition("=")[2]
    assert err == f"aeframe: {folder}: is not writable. {remedy}\n"
    assert contents(tmp_path) == before


def test_two_processes_that_share_a_lock_take_turns(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text("what is in it stays")
    with lock_folder(tmp_path):
        pass
    assert (tmp_path / ".lock").read_text() == "what is in it stays"


# what every optimizer and schedule saves is its own

OPTIMIZERS = [
    "{_target_: torch.optim.SGD, lr: 0.001}",
    "{_target_: torch.optim.SGD, lr: 0.001, momentum: 0.9, nesterov: true}",
    "{_target_: torch.optim.Adam, lr: 0.001, amsgrad: true}",
    "{_target_: torch.optim.Adam, lr: 0.001, fused: false}",
    "{_target_: torch.optim.AdamW, lr: 0.001}",
    "{_target_: torch.optim.Adagrad, lr: 0.001}",
    "{_target_: torch.optim.Adadelta, lr: 0.001}",
    "{_target_: torch.optim.Adafactor, lr: 0.001}",
    "{_target_: torch.optim.Adamax, lr: 0.001}",
    "{_target_: torch.optim.ASGD, lr: 0.001}",
    "{_target_: torch.optim.NAdam, lr: 0.001}",
    "{_target_: torch.optim.RAdam, lr: 0.001}",
    "{_target_: torch.optim.RMSprop, lr: 0.001, centered: true, momentum: 0.5}",
    "{_target_: torch.optim.Rprop, lr: 0.001}",
    "{_target_: torch.optim.LBFGS, lr: 0.5, max_iter: 3}",
]
SCHEDULES = [
    "{_target_: torch.optim.lr_scheduler.OneCycleLR, max_lr: 0.01, total_steps: 12, interval: step}",
    "{_target_: torch.optim.lr_scheduler.CyclicLR, base_lr: 0.0001, max_lr: 0.01, interval: step}",
    "{_target_: torch.optim.lr_scheduler.CosineAnnealingWarmRestarts, T_0: 3, interval: step}",
    "{_target_: torch.optim.lr_scheduler.MultiStepLR, milestones: [1, 2]}",
    "{_target_: torch.optim.lr_scheduler.StepLR, step_size: 1}",
    "{_target_: torch.optim.lr_scheduler.PolynomialLR, total_iters: 3}",
    "{_target_: torch.optim.lr_scheduler.LinearLR, total_iters: 3}",
    "{_target_: torch.optim.lr_scheduler.ConstantLR, total_iters: 3}",
]


@pytest.mark.parametrize(
    "word",
    [
        *(f"optimizer={o}" for o in OPTIMIZERS),
        *(f"scheduler={s}" for s in SCHEDULES),
        *("trainer.precision=64-true", "trainer.precision=bf16-mixed", "++trainer.max_steps=99"),
    ],
)
def test_no_checkpoint_of_our_own_is_refused(aeframe: Command, tmp_path: Path, word: str) -> None:
    status, _, err = aeframe(*EPOCH, word, "hydra.run.dir=run", "trainer.max_epochs=1")
    assert status == 0, err
    status, _, err = aeframe("resume=run", "trainer.max_epochs=2")
    assert (status, err) == (0, "")
    assert steps(tmp_path / "run") == 8
