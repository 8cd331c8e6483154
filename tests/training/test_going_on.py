"""A run goes on as the one that was looked at, on the data that it was begun with, until it is to end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from aeframe.data import ImageFolder
from aeframe.runs.foreign_files import FILES
from aeframe.training import attempt
from tests.support.runs import EPOCH, contents
from tests.support.sweeps import rows

Command = Callable[..., tuple[int, str, str]]


def state(run: Path, name: str = "last") -> dict[str, Any]:
    return dict(torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True))


@pytest.mark.parametrize("there", [True, False])
def test_training_by_another_process_meanwhile_is_kept(
    aeframe: Command, begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    later = tmp_path / "later"
    shutil.copytree(begun, later)
    if not there:
        shutil.rmtree(begun / "checkpoints")
    build = attempt.build

    def slowly(*given: Any) -> Any:
        built = build(*given)
        shutil.rmtree(begun)
        shutil.copytree(later, begun)
        return built

    monkeypatch.setattr(attempt, "build", slowly)
    words = (*EPOCH, "trainer.max_epochs=2", "hydra.run.dir=run", "resume=auto")
    status, _, err = aeframe(*words)
    assert status == 2
    assert "another process has trained in it in the meantime. Start the command again." in err
    kept, wanted = contents(begun), contents(later)
    assert {name: kept[name] for name in wanted if "tfevents" in name or "ckpt" in name} == {
        name: wanted[name] for name in wanted if "tfevents" in name or "ckpt" in name
    }


def test_a_score_is_that_of_the_weights_that_are_tested(
    aeframe: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    assert aeframe(*EPOCH, "hydra.run.dir=run", "++trainer.max_steps=6")[0] == 0
    early = (run / "checkpoints" / "last.ckpt").read_bytes()
    assert aeframe("resume=run", "++trainer.max_steps=12", "trainer.max_epochs=3")[0] == 0
    assert state(run, "best")["global_step"] == 12
    (run / "checkpoints" / "last.ckpt").write_bytes(early)  # as if it had been killed there
    (run / "evaluation.json").unlink()
    status, _, err = aeframe("resume=run", "++trainer.max_steps=7")
    assert (status, err) == (0, "")
    best, said = state(run, "best"), json.loads((run / "evaluation.json").read_text())
    assert best["global_step"] == said["steps"] == 7
    assert said["optimized_metric"]["value"] == best["callback_metrics"]["val/mse"]


@pytest.fixture
def arrays(tmp_path: Path) -> tuple[str, ...]:
    """Return the words that train on a file of numbers."""
    np.save(tmp_path / "a.npy", np.random.default_rng(0).random((400, 12), np.float32))
    return (*EPOCH, "model.latent_dim=3", "dataset=array", "dataset.path=a.npy")


def test_other_data_is_refused(aeframe: Command, tmp_path: Path, arrays: tuple[str, ...]) -> None:
    assert aeframe(*arrays, "hydra.run.dir=run", "trainer.max_epochs=1")[0] == 0
    before = contents(tmp_path / "run")
    values = np.load(tmp_path / "a.npy")
    np.save(tmp_path / "fewer.npy", values[:390])
    np.save(tmp_path / "others.npy", values[::-1])
    np.save(tmp_path / "doubles.npy", values.astype(np.float64))
    more = ("resume=run", "trainer.max_epochs=2")
    for name in ("fewer", "others", "doubles"):
        status, _, err = aeframe(*more, f"dataset.path={name}.npy")
        assert status == 2
        assert err == (
            f"aeframe: dataset: is not the data of the run in {tmp_path / 'run'}. "
            "Use the original data, or start a new run.\n"
        )
    np.save(tmp_path / "a.npy", values[::-1])
    assert aeframe(*more)[0] == 2
    found = contents(tmp_path / "run")
    assert {k: v for k, v in found.items() if ".lock" not in k} == {
        k: v for k, v in before.items() if ".lock" not in k
    }
    np.save(tmp_path / "moved.npy", values)
    assert aeframe(*more, "dataset.path=moved.npy")[0] == 0


@pytest.mark.parametrize("how", [("resume=run",), None])
@pytest.mark.parametrize(
    "ended", ["until={metric: val/mse, at_most: 1.0}", "early_stopping={patience: 1, min_delta: 9}"]
)
def test_the_cause_of_an_early_end_can_be_removed(
    aeframe: Command, tmp_path: Path, ended: str, how: tuple[str, ...] | None
) -> None:
    run, words = tmp_path / "run", (*EPOCH, "hydra.run.dir=run", "trainer.max_epochs=3")
    assert aeframe(*words, ended)[0] == 0
    steps = state(run)["global_step"]
    assert steps in (4, 8)
    for longer in ((), ("trainer.max_epochs=9",)):  # what ended it would end it again
        status, _, err = aeframe("resume=run", *longer)
        assert status == 2
    assert f"has finished, after {steps} steps. Write other until or early_stopping keys, or" in err
    never = ("until.metric=null", "until.at_most=null", "early_stopping.patience=null")
    status, _, err = aeframe(*(how or (*words, "resume=auto")), *never)
    assert (status, err) == (0, "")
    assert state(run)["global_step"] == 12
    assert "has finished" in aeframe("resume=run")[2]


@pytest.mark.parametrize("name", [name for name in FILES if not name.startswith("checkpoints/")])
def test_nothing_is_written_into_a_file_that_has_another_name(
    aeframe: Command, begun: Path, tmp_path: Path, name: str
) -> None:
    path = begun / name
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    (tmp_path / "precious").write_text("do not lose me")
    os.link(tmp_path / "precious", path)
    status, _, err = aeframe(*EPOCH, "trainer.max_epochs=2", "hydra.run.dir=run", "resume=auto")
    assert status == 2
    assert err.startswith(f"aeframe: {Path('run') / name}: has a second name elsewhere")
    assert (tmp_path / "precious").read_text() == "do not lose me"


def test_jobs_may_lie_deeper_in_a_sweeps_folder(aeframe: Command, tmp_path: Path) -> None:
    words = ("-m", "seed=0,1", *EPOCH, "trainer.max_epochs=1", "hydra.sweep.dir=sweep")
    words = (*words, "hydra.sweep.subdir=jobs/${hydra.job.num}")
    assert aeframe(*words)[0] == 0
    assert [row["folder"] for row in rows(tmp_path / "sweep")] != []
    job = tmp_path / "sweep" / "jobs" / "1"
    (tmp_path / "precious").write_text("do not lose me")
    (job / "train.log").unlink(missing_ok=True)
    (job / "train.log").symlink_to(tmp_path / "precious")
    status, _, err = aeframe(*words, "resume=auto")
    assert status == 2
    assert "train.log: is a link" in err
    assert (tmp_path / "precious").read_text() == "do not lose me"


@pytest.mark.parametrize("where", [0.3, 0.6, 0.9])
def test_a_bit_that_flipped_is_seen(aeframe: Command, begun: Path, where: float) -> None:
    file = begun / "checkpoints" / "last.ckpt"
    content = bytearray(file.read_bytes())
    with zipfile.ZipFile(file) as archive:
        largest = max(archive.infolist(), key=lambda part: part.file_size)
    content[largest.header_offset + 200 + int(where * (largest.file_size - 200))] ^= 1
    file.write_bytes(content)
    status, _, err = aeframe("resume=run")
    assert status == 2
    assert "last.ckpt: is not a checkpoint of aeframe, or is damaged" in err


def test_a_run_without_its_last_checkpoint_is_not_made_another(
    aeframe: Command, begun: Path
) -> None:
    (begun / "checkpoints" / "last.ckpt").unlink()
    before = contents(begun)
    words = (*EPOCH, "trainer.max_epochs=2", "hydra.run.dir=run", "resume=auto")
    status, _, err = aeframe(*words, "model=variational")
    assert status == 2
    assert "model=Variational: run was trained with " in err
    assert contents(begun) == before
    assert aeframe(*words)[0] == 0


def test_a_run_that_failed_is_not_written_over(aeframe: Command, tmp_path: Path) -> None:
    words = (*EPOCH, "optimizer._target_=torch.optim.SGD", "hydra.run.dir=run")
    assert aeframe(*words, "optimizer.lr=1e30")[0] == 1
    assert not list((tmp_path / "run" / "checkpoints").glob("*"))
    before = contents(tmp_path / "run")
    status, _, err = aeframe(*words, "optimizer.lr=1e-3")
    assert status == 2
    assert "holds a run already" in err
    assert contents(tmp_path / "run") == before


def test_a_damaged_best_checkpoint_may_be_deleted(aeframe: Command, begun: Path) -> None:
    best = begun / "checkpoints" / "best.ckpt"
    best.write_bytes(b"")
    status, _, err = aeframe("resume=run", "trainer.max_epochs=3")
    assert status == 2
    assert "Delete it to resume without it" in err
    best.unlink()
    status, _, err = aeframe("resume=run", "trainer.max_epochs=3")
    assert status == 0
    assert (
        err == f"aeframe: {best}: is missing: the search for the best weights starts again here.\n"
    )


def test_a_closed_terminal_ends_a_run_where_it_can_go_on(
    aeframe: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = lambda *_: signal.raise_signal(signal.SIGHUP)  # noqa: E731
    words = (*EPOCH, "hydra.run.dir=run", "trainer.steps_per_call=1", "trainer.max_epochs=1")
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        with monkeypatch.context() as patch:
            patch.setattr("aeframe.monitoring.progress_bar.Bar.on_train_batch_end", end)
            status, _, err = aeframe(*words)
            assert status == 129
            assert "stopped by SIGHUP, saved" in err
            assert state(tmp_path / "run")["global_step"] == 1
            signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup has it
            assert aeframe("resume=run")[0] == 0
    finally:
        signal.signal(signal.SIGHUP, before)
    assert state(tmp_path / "run")["global_step"] == 4


def test_links_that_lead_back_are_not_followed(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in range(4):
        Image.new("L", (8, 8), name).save(folder / f"{name}.png")
    (folder / "loop").symlink_to(".")
    (folder / "above").symlink_to("..")
    raw = ImageFolder(root=str(folder), size=8, color="gray", cache=None).load()
    assert raw.data[:, 0, 0, 0].tolist() == [0, 1, 2, 3]
    assert raw.labels is None
