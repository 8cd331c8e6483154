"""Sweeps: one folder for each job, one table at the end, and no job that takes others with it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from aeframe.cli.run_folders import Folders, name_run
from aeframe.cli.sweep import SweepTable
from aeframe.config.check import check
from aeframe.config.composition import CONF
from tests.support.events import Events
from tests.support.runs import TINY
from tests.support.sweeps import end, fail_with, job, rows

Command = Callable[..., tuple[int, str, str]]
Compose = Callable[..., DictConfig]


@pytest.fixture(autouse=True)
def _no_sweep_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clear the state that another test's sweep left in this process."""
    monkeypatch.setattr(SweepTable, "failures", 0)


def sweep_folder(root: Path) -> Path:
    """The one sweep of this root."""
    (folder,) = (root / "outputs" / "sweeps").glob("*/*")
    return folder


def table(out: str) -> list[list[str]]:
    """The cells of the sweep's table; the jobs print tables of their own before it."""
    lines = (line for line in out.partition(" jobs by ")[2].splitlines() if line.startswith("│"))
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]


def optimized(folder: Path) -> float:
    return float(json.loads((folder / "evaluation.json").read_text())["optimized_metric"]["value"])


def test_jobs_that_fail_do_not_stop_the_others(
    aeframe: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_with(64, monkeypatch)
    # 64 units for 64 inputs: undercomplete refuses them, variational takes them (and fails above)
    sweep = ("-m", "model=undercomplete,variational", "model.latent_dim=64,2,8", "constraint=[]")
    status, out, err = aeframe(*sweep, "optimized_metric=val/mse", *TINY)
    assert status == 1

    folder = sweep_folder(tmp_path)
    found = rows(folder)
    assert len(found) == 6
    done, failed = found[:4], found[4:]
    assert all(row["status"] == "done" for row in done)
    values = [float(row["val/mse"]) for row in done]
    assert values == sorted(values)
    assert len(set(values)) == 4
    assert values == [optimized(folder / row["folder"]) for row in done]
    chosen = {(row["model"], row["model.latent_dim"]) for row in done}
    assert chosen == {(m, d) for m in ("undercomplete", "variational") for d in ("2", "8")}

    told = {row["model"]: row for row in failed}
    refused = "model.latent_dim=64: the code must be smaller than the 64 inputs."
    assert told["undercomplete"]["status"].startswith(refused)
    assert told["variational"]["status"] == "RuntimeError: a defect of ours"
    for row in failed:
        assert row["model.latent_dim"] == "64"
        assert row["val/mse"] == ""
        assert not (folder / row["folder"] / "evaluation.json").exists()
        written = (folder / row["folder"] / "failed.txt").read_text()
        assert written.startswith(row["status"])
        # a traceback for our own defects, and none for the user's mistakes
        assert ("Traceback" in written) == (row["model"] == "variational")
    assert err.count("Traceback") == 1

    assert "6 jobs by val/mse" in out
    printed = table(out)
    # a larger code always has the smaller error, so that none is the best
    assert [cells[0] for cells in printed[4:]] == ["-", "-"]
    assert {cells[0] for cells in printed[:4]} <= {"*", ""}
    marks = ["yes" if cells[0] else "no" for cells in printed[:4]]
    assert marks == [row["unbeaten"] for row in done]
    costs = "a larger latent_dim (code units) or kl (nats in the code)"
    said = f"No best run: with model and model.latent_dim, a smaller val/mse costs {costs}."
    assert said in out
    assert [cells[-1] for cells in printed] == [row["folder"].partition("_")[0] for row in found]
    for beginning, path in (
        ("Table:    ", folder / "sweep.csv"),
        ("Compare:  tensorboard --logdir ", folder),
    ):
        (line,) = (line for line in out.splitlines() if line.startswith(beginning))
        assert tmp_path / line.removeprefix(beginning) == path


def test_a_sweep_without_failures_ends_with_0_and_one_folder_for_each_job(
    aeframe: Command, tmp_path: Path
) -> None:
    sweep = ("-m", "model=sparse", "constraint=l1,[topk,masking]", "optimized_metric=val/psnr")
    status, out, _ = aeframe(*sweep, "model.latent_dim=70", *TINY)
    assert status == 0
    folder = sweep_folder(tmp_path)
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {
        "0_sparse_l1_digits",
        "1_sparse_topk+masking_digits",
    }
    assert [path.name for path in (tmp_path / "outputs").iterdir()] == ["sweeps"]
    assert [cells[1] for cells in table(out)] == [row["constraint"] for row in rows(folder)]
    values = [float(row["val/psnr"]) for row in rows(folder)]
    assert values == sorted(values, reverse=True)  # of PSNR, more is better
    assert "failed" not in out
    for row in rows(folder):
        job = folder / row["folder"]
        assert (job / "checkpoints" / "best.ckpt").is_file()
        assert row["test/mse"] == str(
            json.loads((job / "evaluation.json").read_text())["metrics"]["mse"]
        )


def test_a_sweep_of_which_nothing_comes_names_no_best_run(aeframe: Command, tmp_path: Path) -> None:
    status, out, err = aeframe("-m", "model.latent_dim=64,65", "constraint=[]")
    assert status == 2  # every job was the user's mistake
    assert "Best run" not in out
    assert [row["rank"] for row in rows(sweep_folder(tmp_path))] == ["1", "2"]
    assert all("must be smaller" in row["status"] for row in rows(sweep_folder(tmp_path)))
    assert "Traceback" not in err


def test_a_sweep_that_failed_is_no_failure_of_the_next_run(aeframe: Command) -> None:
    assert aeframe("-m", "model.latent_dim=64,8", "constraint=[]", *TINY)[0] == 1
    assert aeframe(*TINY)[0] == 0


# the table, from jobs that were never run


@pytest.mark.parametrize(
    ("metric", "direction", "order"),
    [("val/mse", "min", [1, 2, 0, 3]), ("val/psnr", "max", [0, 2, 1, 3])],
)
def test_jobs_are_sorted_best_first_with_unfinished_ones_last(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    metric: str,
    direction: str,
    order: list[int],
) -> None:
    for number, value in enumerate((0.5, -1.0, 0.25)):
        job(tmp_path, number, [f"++optimizer.lr=0.{number}"], value, metric, direction)
    job(tmp_path, 3, ["++optimizer.lr=0.3"])
    end(tmp_path)
    found = rows(tmp_path)
    assert [row["folder"] for row in found] == [f"{number}_run" for number in order]
    assert [row["optimizer.lr"] for row in found] == [f"0.{number}" for number in order]
    assert found[-1]["status"] == "did not finish"
    assert SweepTable.failures == 1
    out = capfd.readouterr().out
    assert f"4 jobs by {metric}" in out
    assert f"Best run: {tmp_path / found[0]['folder']}" in out.splitlines()


def test_a_best_run_that_copies_its_input_is_said_to(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    job(tmp_path, 0, [], 0.0)
    job(tmp_path, 1, [], 0.5)
    end(tmp_path)
    line = f"Best run: {tmp_path / '0_run'}  (but it copies its input)"
    assert line in capfd.readouterr().out.splitlines()


def test_jobs_that_optimized_different_things_are_sorted_by_the_error_in_validation(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    # by their own values the order would be 0, 1, 2
    job(tmp_path, 0, ["model=sparse"], 0.1, "val/mse", "min", mse=0.3)
    job(tmp_path, 1, ["model=variational"], 50.0, "val/negative_elbo", "min", mse=0.2)
    job(tmp_path, 2, ["model=denoising"], 60.0, "val/denoised_psnr", "max", mse=0.1)
    end(tmp_path)
    found = rows(tmp_path)
    assert [row["model"] for row in found] == ["denoising", "variational", "sparse"]
    assert [float(row["val/mse"]) for row in found] == [0.1, 0.2, 0.3]
    assert [float(row["test/mse"]) for row in found] == [0.2, 0.4, 0.6]
    assert "3 jobs by val/mse" in capfd.readouterr().out


@pytest.mark.parametrize("metric", ["val/mse", "val/psnr"])
def test_errors_in_different_units_are_said_to_be(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], metric: str
) -> None:
    for number, kind in enumerate(("unit", "standard")):
        job(tmp_path, number, [f"dataset.normalization={kind}"], 0.1 * number, metric)
    end(tmp_path)
    said = "val/mse is in units of dataset.normalization, which the jobs do not share."
    assert (said in capfd.readouterr().out) == (metric == "val/mse")


@pytest.mark.parametrize("kinds", [("unit", "rms"), ("rms", "rms"), (None, "unit"), (None, "rms")])
def test_units_that_were_chosen_may_differ_too(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], kinds: tuple[str | None, str]
) -> None:
    """Older runs did not write it: it was `unit` where nobody typed another."""
    for number, kind in enumerate(kinds):
        words = [f"likelihood={('bernoulli', 'gaussian')[number]}"]
        job(tmp_path, number, words, 0.1 * number)
        (file,) = tmp_path.glob(f"{number}_*/evaluation.json")
        card = json.loads(file.read_text())
        file.write_text(json.dumps({**card, "normalization": kind}))
    end(tmp_path)
    said = "val/mse is in units of dataset.normalization, which the jobs do not share."
    assert (said in capfd.readouterr().out) == ((kinds[0] or "unit") != kinds[1])


def test_only_keys_that_differ_are_columns(tmp_path: Path) -> None:
    job(tmp_path, 0, ["model=sparse", "++seed=0", "++trainer.max_epochs=1"], 0.1)
    job(tmp_path, 1, ["model=sparse", "++seed=1", "++trainer.max_epochs=1"], 0.2)
    end(tmp_path)
    columns = list(rows(tmp_path)[0])
    assert columns[:3] == ["rank", "seed", "val/mse"]
    assert "model" not in columns
    assert "trainer.max_epochs" not in columns


def test_variants_that_optimize_different_metrics_end_in_one_table(
    aeframe: Command, tmp_path: Path
) -> None:
    status, out, _ = aeframe("-m", "model=undercomplete,denoising,variational", *TINY)
    assert status == 0
    found = rows(sweep_folder(tmp_path))
    errors = [float(row["val/mse"]) for row in found]
    assert errors == sorted(errors)
    assert {row["model"] for row in found} == {"undercomplete", "denoising", "variational"}
    assert "3 jobs by val/mse" in out
    lines = out.partition("3 jobs by val/mse")[0].splitlines()
    assert len(lines) == 3  # one for each job
    for row in found:
        (line,) = (line for line in lines if line.startswith(f"{row['folder']}: "))
        assert re.match(r": val/\w+ \S+ after 1 epoch, \d+ s", line.removeprefix(row["folder"]))
    for row in found:
        curve = Events(sweep_folder(tmp_path) / row["folder"]).scalars("val/mse")
        assert float(row["val/mse"]) in list(curve.values())


def test_the_sparsity_sweep_runs_every_way_to_make_a_code_sparse(
    aeframe: Command, compose: Compose, tmp_path: Path
) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = hydra_compose("config", ["experiment=sweep_sparsity"], return_hydra_config=True)
    assert cfg.hydra.mode == RunMode.MULTIRUN
    swept = cfg.hydra.sweeper.params.constraint.split(",")
    assert len(swept) == len(set(swept)) >= 8
    for name in swept:
        check(compose("experiment=sweep_sparsity", f"constraint={name}"))
    # the experiment alone makes it a sweep: no -m
    quick = ("debug=fast", "dashboard.images=0", "model.latent_dim=70")
    status, out, _ = aeframe("experiment=sweep_sparsity", *quick)
    assert status == 0
    assert f"{len(swept)} jobs by val/mse" in out
    found = rows(sweep_folder(tmp_path))
    assert {row["constraint"] for row in found} == set(swept)
    assert [path.name for path in (tmp_path / "outputs").iterdir()] == ["sweeps"]


# names and folders


def test_two_runs_of_the_same_microsecond_get_different_folders(tmp_path: Path) -> None:
    same = (str(tmp_path / "runs"), "12-00-00-000000", "sparse_l1_digits")
    first, second, third = (Folders(make=True).make_folder(*same) for _ in range(3))
    assert first == str(tmp_path / "runs" / "12-00-00-000000_sparse_l1_digits")
    assert (second, third) == (f"{first}-2", f"{first}-3")
    assert all(Path(path).is_dir() for path in (first, second, third))


def test_threads_that_start_at_once_get_different_folders(tmp_path: Path) -> None:
    def start(_: int) -> str:
        return Folders(make=True).make_folder(str(tmp_path / "runs"), "now", "x")

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(start, range(32)))
    assert len(set(found)) == 32
    assert {str(path) for path in (tmp_path / "runs").iterdir()} == set(found)


def test_processes_that_start_at_once_get_different_folders(tmp_path: Path) -> None:
    code = (
        "from aeframe.cli.run_folders import Folders\n"
        "print('ready', flush=True); input()\n"
        "print(Folders(make=True).make_folder('runs', 'now', 'x'))"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
        )
        for _ in range(3)
    ]
    try:
        for process in started:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in started:  # all have imported what they need: now they race
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        found = [process.communicate(timeout=60)[0].strip() for process in started]
    finally:
        for process in started:
            process.kill()
            process.communicate()
    assert sorted(found) == ["runs/now_x", "runs/now_x-2", "runs/now_x-3"]
    assert all((tmp_path / path).is_dir() for path in found)


def test_a_folder_is_made_once_for_each_configuration(tmp_path: Path) -> None:
    folders = Folders(make=True)
    folders.register()
    cfg = OmegaConf.create({"dir": f"${{run_folder:{tmp_path},now,x}}"})
    assert cfg.dir == cfg.dir == str(tmp_path / "now_x")
    assert [path.name for path in tmp_path.iterdir()] == ["now_x"]
    assert folders.made == [tmp_path / "now_x"]


def test_a_look_at_the_configuration_makes_no_folder(tmp_path: Path) -> None:
    folders = Folders(make=False)
    assert folders.make_folder(str(tmp_path), "now", "x") == str(tmp_path / "now_x")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("constraints", "name"),
    [
        ({"masking": {}, "topk": {}}, "sparse_masking+topk_digits"),
        ({"l1": {}}, "sparse_l1_digits"),
        ({}, "sparse_free_digits"),
        (None, "sparse_free_digits"),
    ],
)
def test_a_run_is_named_after_its_choices(constraints: dict[str, Any] | None, name: str) -> None:
    # the group's own choice is null where several constraints are chosen, so their keys name them
    choices = {"model": "sparse", "dataset": "digits", "constraint": None}
    assert name_run(choices, constraints) == name
