"""The verbs runs and compare: tables of runs, sorted, filtered and side by side."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.verbs import Verb


def copy_run(finished: Path, name: str, **changes: Any) -> Path:
    """Copy a run, with other values in its configuration (a__b=...) and its metrics."""
    folder = finished.parent / "runs" / name
    shutil.copytree(finished, folder)
    saved = json.loads((folder / "model.json").read_text())
    card = json.loads((folder / "evaluation.json").read_text())
    for key, value in changes.items():
        if key in card["metrics"]:
            card["metrics"][key] = value
        elif key in ("normalization", "digest"):
            card[key] = value
        else:
            *above, last = key.split("__")
            node = saved["config"]
            for part in above:
                node = node[part]
            node[last] = value
    (folder / "model.json").write_text(json.dumps(saved))
    (folder / "evaluation.json").write_text(json.dumps(card))
    return folder


@pytest.fixture
def runs(finished: Path) -> Path:
    copy_run(finished, "a", psnr=20.0, mse=0.02, model__latent_dim=4, seed=1)
    copy_run(finished, "b", psnr=10.0, mse=0.04, model__latent_dim=8, seed=2)
    copy_run(finished, "c", psnr=30.0, mse=0.01, model__latent_dim=8, seed=3)
    return finished.parent / "runs"


def list_names(out: str) -> list[str]:
    return [Path(run["folder"]).name for run in json.loads(out)]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (("--sort", "psnr"), ["c", "a", "b"]),  # the best first
        (("--sort", "mse"), ["c", "a", "b"]),
        (("--sort", "seed"), ["a", "b", "c"]),
        (("--sort", "psnr", "--filter", "model.latent_dim=8"), ["c", "b"]),
        (("--filter", "model=undercomplete", "--filter", "seed=2"), ["b"]),
        (("--filter", "seed=2.0"), ["b"]),
        (("--filter", "status=failed"), []),
    ],
)
def test_runs_are_sorted_and_filtered(
    verb: Verb, runs: Path, words: tuple[str, ...], names: list[str]
) -> None:
    status, out, err = verb("runs", runs, "--json", *words)
    assert (status, err) == (0, "")
    assert list_names(out) == names


def test_columns_are_chosen(verb: Verb, runs: Path) -> None:
    columns = ("--columns", "folder,psnr,val/mse,model.latent_dim,epochs")
    found = json.loads(verb("runs", runs, "--json", *columns, "--sort", "seed")[1])
    assert [run["psnr"] for run in found] == [20.0, 10.0, 30.0]
    assert [run["model.latent_dim"] for run in found] == [4, 8, 8]
    card = json.loads((runs / "a" / "evaluation.json").read_text())
    assert {run["val/mse"] for run in found} == {card["validation"]["mse"]}
    assert {run["epochs"] for run in found} == {card["epochs"]}
    assert all(len(run) == 5 for run in found)
    header = verb("runs", runs, *columns)[1].splitlines()[2]
    assert [name.strip() for name in header.strip("┃").split("┃")] == columns[1].split(",")


def test_the_usual_columns_show_code_seed_and_error(verb: Verb, runs: Path) -> None:
    (run,) = json.loads(verb("runs", runs, "--json", "--filter", "seed=2")[1])
    assert (run["code"], run["seed"], run["mse"]) == (8, 2, 0.04)
    assert "0.04" in verb("runs", runs)[1]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--sort", "psnrr"), "--sort psnrr: no run has it. Did you mean psnr?"),
        (("--columns", "nope!"), "--columns nope!: no run has it. There are when,model,"),
        (("--filter", "seed"), "--filter seed: has no value. Write --filter seed=VALUE."),
        (("--filter", "seed=9"), "runs: holds no such runs."),
    ],
)
def test_a_mistake_is_told(verb: Verb, runs: Path, words: tuple[str, ...], told: str) -> None:
    status, out, err = verb("runs", runs.name, *words)
    assert (status, out) == (2, "")
    assert err.startswith(f"aeframe: {told}")


def test_runs_are_compared_side_by_side(verb: Verb, runs: Path) -> None:
    status, out, err = verb("compare", *(f"runs/{name}" for name in "abc"), "--json")
    assert (status, err) == (0, "")
    found = json.loads(out)
    assert found["configuration"] == {"model.latent_dim": [4, 8, 8], "seed": [1, 2, 3]}
    assert found["metrics"]["psnr"] == [20.0, 10.0, 30.0]
    assert (found["best"]["psnr"], found["best"]["mse"]) == ([2], [2])
    assert found["best"]["explained_variance"] == []  # all have the same
    assert "loss" not in found["best"]
    rows = {
        cells[0]: cells[1:]
        for line in verb("compare", "runs/a", "runs/b")[1].splitlines()
        if len(cells := [cell.strip() for cell in line.strip("│").split("│")]) == 3
    }
    assert rows["psnr"] == ["*20", "10"]
    assert rows["mse"] == ["*0.02", "0.04"]
    assert rows["model.latent_dim"] == ["4", "8"]


def test_a_choice_is_one_row_and_what_follows_from_it_is_none(
    verb: Verb, finished: Path, runs: Path
) -> None:
    sparse = {
        "_target_": "aeframe.models.Sparse",
        "latent_dim": 4,
        "allow_overcomplete": False,
        "extra": True,
    }
    topk = {"topk": {"_target_": "aeframe.constraints.TopK", "k": 3}}
    automatic = {"trainer.max_epochs": 89}
    other = {"model": sparse, "constraint": topk, "automatic": automatic, "seed": 1}
    copy_run(finished, "d", **other, trainer__max_epochs=89)
    copy_run(finished, "e", seed=1, trainer__max_epochs=30, automatic={"trainer.max_epochs": 30})
    found = json.loads(verb("compare", "runs/e", "runs/d", "--json")[1])["configuration"]
    assert found == {
        "model": ["Undercomplete", "Sparse"],
        "model.latent_dim": [8, 4],
        "model.extra": [None, True],
        "constraint": ["bottleneck", "topk"],
        "constraint.topk.k": [None, 3],
    }
    words = verb("compare", "runs/e", "runs/d")[1].replace("│", "").splitlines()
    assert ["model.extra", "-", "true"] in map(str.split, words)


def test_other_data_of_the_same_name_is_told(verb: Verb, finished: Path) -> None:
    card = json.loads((finished / "evaluation.json").read_text())
    assert len(card["digest"]) == 8
    copy_run(finished, "a")
    copy_run(finished, "b", digest="00000000")
    copy_run(finished, "old", digest=None)
    told = "Note: the runs have seen different samples"
    assert told in verb("compare", "runs/a", "runs/b")[1]
    assert told not in verb("compare", "runs/a", "runs/old")[1]


def test_the_table_shows_what_it_is_sorted_by_and_fits_100_columns(verb: Verb, runs: Path) -> None:
    long = runs / ("a" * 40)
    (runs / "a").rename(long)
    out = verb("runs", runs.name, "--sort", "psnr")[1]
    header = [name.strip() for name in out.splitlines()[2].strip("┃").split("┃")]
    assert header[-2:] == ["psnr", "folder"]
    assert max(map(len, out.splitlines()[1:])) <= 100
    left_out = out.splitlines()[-1].partition(": ")[2].partition(". ")[0].split(", ")
    assert not {*left_out} & {*header}
    assert {"mse", "model"} < {*header}
    assert "seed" in header or "when" in left_out  # a constant goes first


@pytest.mark.parametrize("seed", [1, 2])
def test_other_seeds_may_test_other_samples(
    verb: Verb, runs: Path, finished: Path, seed: int
) -> None:
    copy_run(finished, "again", seed=seed)
    status, out, err = verb("compare", "runs/a", "runs/again")
    assert (status, err) == (0, "")
    assert ("Note: the runs have different seeds." in out) == (seed == 2)


def test_other_units_are_not_judged(verb: Verb, runs: Path, finished: Path) -> None:
    copy_run(finished, "d", psnr=15.0, mse=1.0, normalization="standard")
    status, out, _ = verb("compare", "runs/a", "runs/d")
    assert status == 0
    assert "*20" in out
    assert "*0.02" not in out
    assert "units of dataset.normalization, which the runs do not share" in out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ("runs/a",),
            "runs/a: is one run, and a comparison needs two. Write aeframe compare runs/a RUN.",
        ),
        (
            ("runs/a", "nope"),
            "nope: no such folder. Write the folder of a run; aeframe runs lists them.",
        ),
        (
            ("runs/a", "runs"),
            "runs: is not the folder of a run. aeframe runs runs lists the runs below it.",
        ),
        (
            ("runs/a", "runs/other"),
            "runs/a and runs/other: cannot be compared: dataset is Digits and MNIST.",
        ),
        (
            ("runs/a", "runs/begun"),
            "runs/begun: has no results to compare (interrupted). Train it to its "
            "end: aeframe train resume=runs/begun",
        ),
    ],
)
def test_what_cannot_be_compared_is_told(
    verb: Verb, runs: Path, finished: Path, words: tuple[str, ...], told: str
) -> None:
    copy_run(finished, "other", dataset___target_="aeframe.data.MNIST")
    begun = copy_run(finished, "begun")
    for name in ("evaluation.json", "model.safetensors"):
        (begun / name).unlink()
    status, out, err = verb("compare", *words)
    assert (status, out) == (2, "")
    assert err.startswith(f"aeframe: {told}")
