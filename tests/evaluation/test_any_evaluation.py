"""Tables of runs and of sweeps, with any file in the place of a run's evaluation.json."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.sweeps import end, job, rows

Command = Callable[..., tuple[int, str, str]]
DIGITS = "1" + "0" * 400
BY = '{"optimized_metric": {"name": "val/mse", "direction": "min", "value": %s}}'
BROKEN = {
    "400 digits": BY % DIGITS,
    "5,000 digits": BY % ("1" + "0" * 5000),
    "a text": BY % '"x"',
    "a list": BY % "[1]",
    "no JSON": "{",
    "nothing": "",
    "no mapping": "[1, 2]",
    "deep": "[" * 100_000,
    "huge": " " * 2**21 + "{}",
    "no text": b"\xff\xfe\x00",
}


def put(folder: Path, content: str | bytes) -> None:
    data = content if isinstance(content, bytes) else content.encode()
    (folder / "evaluation.json").write_bytes(data)


@pytest.mark.parametrize("kind", [*BROKEN, "a pipe", "a folder", "a device"])
def test_the_row_says_so_and_the_others_are_there(
    verb: Command, tmp_path: Path, capfd: pytest.CaptureFixture[str], kind: str
) -> None:
    job(tmp_path / "sweep", 0, ["++seed=0"], 0.25)
    job(tmp_path / "sweep", 1, ["++seed=1"])
    broken = tmp_path / "sweep" / "1_run"
    if kind == "a pipe":
        os.mkfifo(broken / "evaluation.json")
    elif kind == "a folder":
        (broken / "evaluation.json").mkdir()
    elif kind == "a device":
        (broken / "evaluation.json").symlink_to("/dev/zero")
    else:
        put(broken, BROKEN[kind])
    status, out, err = verb("runs", "sweep", "--json")
    assert (status, err) == (0, "")
    told = {Path(run["folder"]).name: run for run in json.loads(out)}
    assert (told["0_run"]["status"], told["0_run"]["value"]) == ("finished", 0.25)
    assert told["1_run"]["status"] == "its evaluation.json cannot be read"
    assert verb("runs", "sweep")[0] == 0

    end(tmp_path / "sweep")
    capfd.readouterr()
    found = {row["folder"]: row for row in rows(tmp_path / "sweep")}
    assert (found["0_run"]["status"], found["0_run"]["val/mse"]) == ("done", "0.25")
    assert found["1_run"]["status"] == "its evaluation.json cannot be read"


def test_other_files_do_no_harm_either(
    verb: Command, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for number in range(3):
        job(tmp_path / "sweep", number, [f"++seed={number}"], 0.5 - number / 10)
    lines = [f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 24)]  # of 2 ** 24 values
    laughs = "".join(["a0: &a0 [x, x]\n", *lines])
    first, second, _ = (tmp_path / "sweep" / f"{number}_run" for number in range(3))
    (first / ".hydra" / "config.yaml").write_text(
        f"{laughs}model: {{_target_: *a23 }}\nconstraint: {{1: 2}}\n"
    )
    (first / ".hydra" / "overrides.yaml").write_text("- [1, 2]\n- 3\n- ++seed=9\n")
    os.mkfifo(second / "failed.txt")
    os.utime(second, (2**33 * 40, 2**33 * 40))
    end(tmp_path / "sweep")
    capfd.readouterr()
    found = {row["folder"]: row for row in rows(tmp_path / "sweep")}
    assert (found["0_run"]["seed"], found["1_run"]["status"]) == ("9", "failed")
    assert verb("runs", "sweep")[0] == 0
    shutil.rmtree(second)
    assert verb("runs", "sweep", "--json")[0] == 0
