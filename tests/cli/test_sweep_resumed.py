"""Sweeps that were interrupted, or had failures: the same command goes on with them."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from aeframe.cli.jobs import Jobs
from aeframe.evaluation.card import Evaluation
from tests.support.forks import Forked, Server, ended
from tests.support.runs import EPOCH, contents, is_installed
from tests.support.sweeps import rows

Command = Callable[..., tuple[int, str, str]]
SWEEP = ("-m", "seed=0,1,2", *EPOCH, "trainer.max_epochs=2", "hydra.sweep.dir=sweep")
JOBS = [f"{number}_undercomplete_bottleneck_digits_seed-{number}" for number in range(3)]


@pytest.fixture
def returned(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Collect the values that a sweeper gets from the jobs."""
    values, task = list[float](), Jobs.__call__

    def noted(self: Jobs, cfg: Any) -> float:
        values.append(task(self, cfg))
        return values[-1]

    monkeypatch.setattr(Jobs, "__call__", noted)
    return values


def at(
    monkeypatch: pytest.MonkeyPatch, where: str, job: int, step: int, act: Callable[[], None]
) -> None:
    """Let something happen in a job of the sweep, behind this step."""
    calls: list[int] = []

    def acts(*args: Any) -> Any:
        calls.append(1)
        if len(calls) == 8 * job + step:
            act()

    monkeypatch.setattr(where, acts)


BATCH = "aeframe.monitoring.progress_bar.Bar.on_train_batch_end"


def best(folder: Path) -> float:
    return float(json.loads((folder / "evaluation.json").read_text())["optimized_metric"]["value"])


def test_jobs_that_are_done_are_skipped(
    aeframe: Command, tmp_path: Path, returned: list[float]
) -> None:
    assert aeframe(*SWEEP)[0] == 0
    first, table = list(returned), rows(tmp_path / "sweep")
    before = contents(tmp_path / "sweep")
    status, out, err = aeframe(*SWEEP, "resume=auto")
    assert (status, err) == (0, "")
    for name in JOBS:
        assert f"{tmp_path / 'sweep' / name}: has finished" in out.splitlines()
    assert returned[3:] == first
    assert rows(tmp_path / "sweep") == table
    after = contents(tmp_path / "sweep")
    changed = {name for name in after if after[name][0] != before.get(name, (0,))[0]}
    assert changed == {"multirun.yaml", "sweep.csv"}


@pytest.mark.parametrize(
    ("number", "name"), [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM")]
)
def test_an_interrupted_sweep_ends_at_once_and_goes_on_as_if_nothing_had_been(
    aeframe: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, name: str,
    returned: list[float],
) -> None:  # fmt: skip
    steps = "trainer.steps_per_call=1"
    whole = tuple(word.replace("sweep.dir=sweep", "sweep.dir=whole") for word in SWEEP)
    assert aeframe(*whole, steps)[0] == 0
    wanted = list(returned)
    with monkeypatch.context() as patch:
        at(patch, BATCH, 1, 6, lambda: signal.raise_signal(number))
        status, out, err = aeframe(*SWEEP, steps)
    assert status == 128 + number
    assert err.splitlines()[-1] == (
        f"aeframe: stopped by {name}, saved. Continue: "
        "the same command with hydra.sweep.dir=sweep resume=auto"
    )
    assert "jobs by" not in out  # no table of what is half done
    assert not (tmp_path / "sweep" / JOBS[2]).exists()
    del returned[:]
    status, out, err = aeframe(*SWEEP, steps, "resume=auto")
    assert (status, err) == (0, "")
    assert "Resuming at step 6 (epoch 2 of 2)." in out.splitlines()
    assert returned == wanted
    assert sorted(row["folder"] for row in rows(tmp_path / "sweep")) == JOBS
    assert rows(tmp_path / "sweep") == rows(tmp_path / "whole")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_outside_of_training_ends_a_sweep_too(
    aeframe: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Evaluation, "make_card", lambda *_: signal.raise_signal(number))
        status, _, err = aeframe(*SWEEP)
    assert status == 128 + number
    assert "Continue: the same command with hydra.sweep.dir=sweep resume=auto" in err
    assert not (tmp_path / "sweep" / JOBS[0] / "failed.txt").exists()
    assert aeframe(*SWEEP, "resume=auto")[0] == 0
    assert len(rows(tmp_path / "sweep")) == 3


def test_a_new_folder_is_named_when_a_sweep_is_interrupted(
    aeframe: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        at(patch, BATCH, 0, 2, lambda: signal.raise_signal(signal.SIGTERM))
        status, _, err = aeframe(*SWEEP[:-1], "trainer.steps_per_call=1")
    assert status == 143
    words = err.splitlines()[-1].partition("the same command with ")[2].split(" goes on")[0]
    status, _, err = aeframe(*SWEEP[:-1], "trainer.steps_per_call=1", *words.split())
    assert (status, err) == (0, "")
    (folder,) = (tmp_path / "outputs" / "sweeps").glob("*/*")
    assert len(rows(folder)) == 3


def test_failed_jobs_are_tried_again_when_it_is_asked_for(
    aeframe: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, returned: list[float]
) -> None:
    card, tried = Evaluation.make_card, list[int]()

    def fails_once(self: Evaluation, net: Any, data: Any, *rest: Any) -> Any:
        tried.append(data.seed)
        if data.seed == 1 and tried.count(1) == 1:
            raise RuntimeError("a defect of ours")
        return card(self, net, data, *rest)

    monkeypatch.setattr(Evaluation, "make_card", fails_once)
    assert aeframe(*SWEEP)[0] == 1
    failed = tmp_path / "sweep" / JOBS[1] / "failed.txt"
    status, _, err = aeframe(*SWEEP, "resume=auto")
    assert status == 1
    assert f"{failed.parent}: failed before; resume=retry tries it again" in err.splitlines()
    assert tried == [0, 1, 2]
    assert [row["status"] for row in rows(tmp_path / "sweep")].count("done") == 2
    assert failed.exists()

    del returned[:]
    status, _, err = aeframe(*SWEEP, "resume=retry")
    assert (status, err) == (0, "")
    assert tried == [0, 1, 2, 1]
    assert not failed.exists()
    assert returned == [best(tmp_path / "sweep" / name) for name in JOBS]
    assert all(row["status"] == "done" for row in rows(tmp_path / "sweep"))


def test_another_sweep_changes_nothing_of_the_first(aeframe: Command, tmp_path: Path) -> None:
    assert aeframe(*SWEEP)[0] == 0
    before = contents(tmp_path / "sweep")
    other = tuple(word.replace("seed=0,1,2", "seed=0,5,6") for word in SWEEP)
    for words in ((*other, "resume=auto"), SWEEP):
        status, _, err = aeframe(*words)
        assert status in (1, 2)
        assert "Traceback" not in err
        after = contents(tmp_path / "sweep")
        changed = {name for name in after if after[name] != before.get(name)}
        assert changed <= {"multirun.yaml", "sweep.csv"}
    assert [row["seed"] for row in rows(tmp_path / "sweep")].count("5") == 0


def test_a_longer_sweep_goes_on_with_all_jobs(aeframe: Command, tmp_path: Path) -> None:
    assert aeframe(*SWEEP)[0] == 0
    status, out, err = aeframe(*SWEEP, "trainer.max_epochs=3", "resume=auto")
    assert (status, err) == (0, "")
    assert out.count("Resuming at step 8 (epoch ") == 3
    table = rows(tmp_path / "sweep")
    assert len(table) == 3
    assert not {"trainer.max_epochs", "resume"} & table[0].keys()


def test_a_sweep_in_a_new_folder_says_that_it_can_only_begin(aeframe: Command) -> None:
    status, out, _ = aeframe("-m", "seed=0", *EPOCH, "trainer.max_epochs=1", "resume=auto")
    assert status == 0
    assert out.startswith(
        "Note: resume=auto: each start makes a new folder, so there is nothing to resume."
    )
    assert "Write hydra.sweep.dir=FOLDER as well." in out.splitlines()[0]


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("evaluation.json", "[]"),
        ("evaluation.json", '{"metrics": 3}'),
        ("evaluation.json", "[" * 100_000),
        (".hydra/overrides.yaml", "- a=${oc.env:SECRET}\n- ${oc.env:SECRET}\n"),
        (".hydra/overrides.yaml", "{"),
        (".hydra/overrides.yaml", "3"),
        (".hydra/overrides.yaml", "!!python/object/apply:os.system ['touch owned']"),
        ("failed.txt", ""),
    ],
)
def test_a_strangers_job_in_the_folder_does_no_harm(
    aeframe: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, content: str
) -> None:
    monkeypatch.setenv("SECRET", "4711")
    job = tmp_path / "sweep" / "9_other"
    (job / ".hydra").mkdir(parents=True)
    (job / ".hydra" / "overrides.yaml").write_text("- seed=9\n")
    (job / file).write_text(content)
    status, out, err = aeframe(*SWEEP[:1], "seed=0", *SWEEP[2:], "resume=auto")
    assert status == 1
    assert "Traceback" not in err
    assert "4711" not in out + err + (tmp_path / "sweep" / "sweep.csv").read_text()
    assert not list(tmp_path.rglob("owned"))
    assert len(rows(tmp_path / "sweep")) == 2


@pytest.mark.parametrize(
    "name",
    ["multirun.yaml", "sweep.csv", "9_other", "9_other/.hydra", "9_other/train.log", "9_other/.lock"],
)  # fmt: skip
@pytest.mark.parametrize("resume", ["auto", "null"])
def test_no_link_in_a_sweeps_folder_is_followed(
    aeframe: Command, tmp_path: Path, name: str, resume: str
) -> None:
    precious = tmp_path / "precious"
    precious.write_text("do not lose me")
    path = tmp_path / "sweep" / name
    path.parent.mkdir(parents=True)
    path.symlink_to(precious)
    before = contents(tmp_path)
    status, out, err = aeframe(*SWEEP, f"resume={resume}")
    assert (status, out) == (2, "")
    assert f"{name}: is a link, but a " in err
    assert len(err.splitlines()) == 1
    assert contents(tmp_path) == before


@pytest.mark.skipif(not is_installed("hydra_joblib_launcher"), reason='needs the extra "sweep"')
def test_a_parallel_sweep_is_interrupted_and_goes_on(server: Server, tmp_path: Path) -> None:
    said, out = tmp_path / "said", tmp_path / "out"

    def start(*words: str) -> Forked:
        parallel = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
        argv = [*SWEEP, "checkpoint.every_minutes=0", *parallel, *words]
        return server.start(argv, tmp_path, said, out=out)

    run = start("trainer.max_epochs=100000")
    try:
        for _ in range(1800):
            begun = list(tmp_path.glob("sweep/*/checkpoints/last.ckpt"))
            if len(begun) == 2:
                break
            time.sleep(0.05)
        os.kill(run.pid, signal.SIGTERM)
        status = run.wait(60)
    finally:
        if run.wait(0) is None:
            os.killpg(run.pid, signal.SIGKILL)
    assert status == 143
    err = said.read_text()
    assert "Continue: the same command with hydra.sweep.dir=sweep resume=auto" in err
    assert ended(run, 10)  # its processes end with it
    steps = [torch.load(file, weights_only=True)["global_step"] for file in begun]
    longer = max(steps) // 4 + 2
    assert start(f"trainer.max_epochs={longer}", "resume=auto").wait(200) == 0, said.read_text()
    assert out.read_text().count("Resuming at step") == 2
    assert [row["status"] for row in rows(tmp_path / "sweep")] == ["done"] * 3
