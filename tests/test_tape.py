"""Digests change with a weight, a point, a picture, a number of the card or a code, and with nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.utils.tensorboard import SummaryWriter

from tests import tape
from tests.support.configurations import make_data
from tests.support.digests import digest_run, digest_sweep

CARD = {
    "metrics": {"mse": 0.1, "psnr": 10.0},
    "copy_check": {"passed": True, "sentence": "It learned the data."},
    "optimized_metric": {"name": "val/mse", "value": float("nan")},
    "doctor": [{"finding": "Too low a rate.", "step": 3}],
    "seconds": 1.5,
}
SWEEP = "rank,seed,val/mse,status,folder\n1,0,0.25,done,0_seed\n"


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a small run folder, with the given values in it."""

    def make(
        name: str,
        weight: float = 1.0,
        best: float = 1.0,
        loss: float = 2.0,
        step: int = 10,
        speed: float = 100.0,
        shade: float = 0.5,
        code: float = 3.0,
        card: dict[str, Any] | None = None,
        points: int = 1,
    ) -> Path:
        run = tmp_path / name
        (run / "checkpoints").mkdir(parents=True)
        for file, value in (("last.ckpt", weight), ("best.ckpt", best)):
            state = {"net.weight": torch.tensor([value, 0.0]), "net.step": torch.tensor(4)}
            torch.save({"state_dict": state, "folder": name}, run / "checkpoints" / file)
        save_file(
            {"weight": torch.tensor([weight], dtype=torch.bfloat16)}, run / "model.safetensors"
        )
        with SummaryWriter(str(run)) as writer:
            for _ in range(points):
                writer.add_scalar("train/loss", loss, step)
            writer.add_scalar("vitals/samples_per_second", speed, step)
            writer.add_image("val/worst", torch.full((1, 2, 2), shade), step)
            writer.add_histogram("val/code", torch.tensor([0.0, code]), step)
        np.save(run / "codes.npy", np.array([code], np.float32))
        (run / "evaluation.json").write_text(json.dumps(CARD | (card or {})))
        return run

    return make


@pytest.mark.parametrize(
    ("changed", "parts"),
    [
        ({"weight": 1.0078125}, {"last", "model"}),  # the next number of bfloat16
        ({"best": 1.0 + 2**-23}, {"best"}),
        ({"loss": 2.0000002384185791}, {"curves"}),
        ({"step": 11}, {"curves", "pictures"}),
        ({"shade": 0.6}, {"pictures"}),
        ({"code": 3.5}, {"pictures", "codes"}),
        ({"card": {"metrics": {"mse": 0.1 + 1e-16, "psnr": 10.0}}}, {"card"}),
        ({"card": {"metrics": {"mse": 0.1}}}, {"card"}),
        ({"card": {"optimized_metric": {"name": "val/loss", "value": float("nan")}}}, {"card"}),
        ({"card": {"copy_check": {"passed": False, "sentence": "It learned the data."}}}, {"card"}),
        ({"card": {"doctor": []}}, {"card"}),
    ],
)
def test_a_change_of_behavior_changes_its_part(
    make_run: Callable[..., Path], changed: dict[str, Any], parts: set[str]
) -> None:
    before, after = digest_run(make_run("run")), digest_run(make_run("changed", **changed))
    assert {part for part in before if before[part] != after[part]} == parts


@pytest.mark.parametrize(
    "changed",
    [
        {"speed": 7.0},
        {"points": 2},
        {"card": {"seconds": 99.0}},
        {"card": {"copy_check": {"passed": True, "sentence": "Learned, it did."}}},
        {"card": {"doctor": [{"finding": "The rate is low.", "step": 3}]}},
        {"card": dict(reversed(CARD.items()))},
    ],
)
def test_speed_time_place_and_wording_change_nothing(
    make_run: Callable[..., Path], changed: dict[str, Any]
) -> None:
    assert digest_run(make_run("run")) == digest_run(make_run("elsewhere", **changed))


def test_absolute_paths_of_the_card_are_left_out(make_run: Callable[..., Path]) -> None:
    one, other = make_run("one", card={"data": "/a/b"}), make_run("other", card={"data": "/c"})
    assert digest_run(one)["card"] == digest_run(other)["card"]


def test_missing_files_have_no_digest(make_run: Callable[..., Path]) -> None:
    run = make_run("run")
    for name in ("checkpoints/best.ckpt", "model.safetensors", "codes.npy"):
        (run / name).unlink()
    missing = {part for part, digest in digest_run(run).items() if digest == "-"}
    assert missing == {"best", "model", "codes"}


@pytest.mark.parametrize(
    ("old", "new", "is_equal"),
    [
        ("0.25", "0.250001", False),
        ("1,0", "1,2", False),
        ("0_seed", "a", True),
        ("done", "b", True),
    ],
)
def test_a_sweep_is_its_table_without_folders(
    tmp_path: Path, old: str, new: str, is_equal: bool
) -> None:
    one, other = tmp_path / "one.csv", tmp_path / "other.csv"
    one.write_text(SWEEP)
    other.write_text(SWEEP.replace(old, new))
    assert (digest_sweep(one) == digest_sweep(other)) is is_equal


def test_a_line_shows_the_error_with_all_digits(make_run: Callable[..., Path]) -> None:
    run = make_run("run", card={"metrics": {"mse": 0.07264538109302521}})
    line = tape.describe("topk", run, [run])
    assert line.startswith(f"topk last={digest_run(run)['last']} best=")
    assert line.endswith(" mse=0.07264538109302521")


def test_a_sweeps_line_has_the_digests_of_all_its_runs(make_run: Callable[..., Path]) -> None:
    runs = [make_run("sweep/0"), make_run("sweep/1", weight=2.0)]
    folder = runs[0].parent
    (folder / "sweep.csv").write_text(SWEEP)
    line = tape.describe("sweep", folder, runs)
    assert f"sweep={digest_sweep(folder / 'sweep.csv')}" in line
    assert line.endswith(" mse=0.1,0.1")
    assert f"best={digest_run(runs[0])['best']} " in line  # of both
    assert tape.find_differences([line], [tape.describe("sweep", folder, runs[::-1])]) == [
        "sweep: last, model"
    ]


def test_differences_name_configuration_and_part() -> None:
    mine = ["a last=1 card=2", "b last=1", "c last=1", "d failed=2"]
    other = ["a last=1 card=3", "b last=1", "d last=4", "e last=5", ""]
    assert tape.find_differences(mine, other) == [
        "a: card",
        "c: only in one of the tapes",
        "d: failed, last",
        "e: only in one of the tapes",
    ]


def test_comparison_decides_the_exit_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def record(recorder: tape.Recorder, name: str) -> str:
        return f"{name} last=1"

    monkeypatch.setattr(tape.Recorder, "record", record)
    earlier = tmp_path / "earlier.txt"
    words = ("--only", "sweep", "bf16", "--compare", str(earlier))
    for number, (text, status, said) in enumerate(
        (
            ("bf16 last=1\nsweep last=1\nddp_cpu last=9\n", 0, f"All equal to {earlier}.\n"),
            ("bf16 last=1\nsweep last=2\n", 1, "sweep: last\n"),
            ("bf16 last=1\n", 1, "sweep: only in one of the tapes\n"),
        )
    ):
        earlier.write_text(text)
        assert tape.main(["--out", str(tmp_path / str(number)), *words]) == status
        assert capsys.readouterr() == ("bf16 last=1\nsweep last=1\n", said)


def test_data_are_the_same_each_time(tmp_path: Path) -> None:
    files = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        folder.mkdir()
        make_data(folder)
        found = [file for file in sorted(folder.rglob("*")) if file.is_file()]
        files.append({str(file.relative_to(folder)): file.read_bytes() for file in found})
    assert files[0] == files[1]
    assert {"vectors.npy", "images/class1/47.png", "photos/0.png"} <= files[0].keys()
