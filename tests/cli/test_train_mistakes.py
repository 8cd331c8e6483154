"""Mistakes in the words of train, in experiment files and in the data."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import aeframe as api
from aeframe.core.errors import UserError
from aeframe.runs.folder import lock_folder
from aeframe.runs.foreign_files import Beginning
from tests.support.runs import TINY, no_trace_of_a_run

Command = Callable[..., tuple[int, str, str]]


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


HOLDS = """
import sys
from pathlib import Path
import aeframe as api
from aeframe.core.errors import UserError
from aeframe.runs.folder import lock_folder
from aeframe.runs.foreign_files import Beginning
with Beginning(Path("run")).hold():
    for name in ("given_data", ".hydra"):
        (Path("run") / name).mkdir()
    print("held", flush=True)
    sys.stdin.read()
"""
"""A run that has written its data and its configuration, but no checkpoint."""


def test_a_run_that_begins_is_left_alone(aeframe: Command, tmp_path: Path) -> None:
    other = subprocess.Popen(
        [sys.executable, "-c", HOLDS],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        status, _, err = aeframe(*TINY, LATE, "hydra.run.dir=run")
        assert (status, err.count("\n")) == (2, 1)
        assert "run: another process is training in it. Wait for its end, or" in err
        with pytest.raises(UserError, match="another process is training in it"):
            api.train(TINY, np.zeros((9, 4)), folder=tmp_path / "run", verbose=False)
        written = {path.name for path in (tmp_path / "run").iterdir()}
        assert written == {".lock", "given_data", ".hydra"}
    finally:
        other.communicate("")
    assert aeframe(*TINY, "hydra.run.dir=run")[0] == 0  # now it may


def test_a_lock_holds_among_threads_and_may_be_repeated(tmp_path: Path) -> None:
    def lock() -> None:
        with lock_folder(tmp_path):
            pass

    with lock_folder(tmp_path), ThreadPoolExecutor(1) as pool:
        lock()
        with pytest.raises(UserError, match="another process is training in it"):
            pool.submit(lock).result()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lock).result()


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
