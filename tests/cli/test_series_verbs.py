"""Verbs on series: a row for each step, and a code for each window."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import aeframe as package
from aeframe.cli.verbs.series_inputs import read_series
from aeframe.cli.verbs.series_picture import draw_scores, find_stretches
from aeframe.cli.verbs.series_results import measure_series
from tests.support.verbs import Verb, good, picture

pytest.importorskip("pyarrow")

WINDOW = 10
WORDS = (
    *("dataset=series", f"dataset.window={WINDOW}", "network=conv", "network.widths=[4]"),
    *("model.latent_dim=3", "dataset.label=state", "dataset.only=[ok]"),
)


def write_series(folder: Path) -> Path:
    """Two channels of 200 steps; one is wrong at steps 150 to 154, time jumps before step 100."""
    generator = np.random.default_rng(0)
    t = np.arange(200)
    a = np.sin(t / 3) + generator.normal(0, 0.01, 200)
    b = 40 + 9 * np.cos(t / 4) + generator.normal(0, 0.01, 200)
    b[150:155] += 30
    lines = ["time,a,b,state"]
    for i in range(200):
        cell = "" if i == 60 else f"{a[i]:.6f}"
        state = "bad" if 150 <= i < 155 else "ok"
        lines.append(f"{i + 50 * (i >= 100)},{cell},{b[i]:.6f},{state}")
    file = folder / "s.csv"
    file.write_text("\n".join(lines) + "\n")
    return file


def read(file: Path) -> list[dict[str, str]]:
    with file.open() as opened:
        return list(csv.DictReader(opened))


@pytest.fixture
def run(made: Callable[..., Path], tmp_path: Path) -> Path:
    return made(*WORDS, f"dataset.path={write_series(tmp_path)}")


def test_each_step_has_a_score_and_its_channel_at_fault(
    verb: Verb, run: Path, tmp_path: Path
) -> None:
    status, out, err = verb("score", run, "s.csv", "--out", "scores.csv")
    assert (status, err) == (0, "")
    rows = read(tmp_path / "scores.csv")
    assert [*rows[0]] == [
        *(
            "time",
            "score",
            "is_outlier",
            "window_score",
            "channel",
            "seen",
            "expected",
            "error_a",
            "error_b",
        ),
    ]
    assert [row["time"] for row in rows] == [str(i + 50 * (i >= 100)) for i in range(200)]
    assert [i for i, row in enumerate(rows) if row["score"] == ""] == [60], "a gap has none"
    model = package.load(run)
    (series,) = read_series([str(tmp_path / "s.csv")], model)
    # by brute force: all windows of each part, each step's squares averaged over those that cover it
    total, times, wide = np.zeros((2, 200)), np.zeros(200), np.zeros(200)
    for begin, end in ((0, 60), (61, 100), (100, 200)):
        for start in sorted({*range(begin, end - WINDOW + 1), end - WINDOW}):
            x = model.net.normalization(
                torch.from_numpy(series.values[None, :, start : start + WINDOW])
            )
            squares = (model.net.reconstruct(x) - x).square().detach().numpy()[0]
            total[:, start : start + WINDOW] += squares
            times[start : start + WINDOW] += 1
            wide[start : start + WINDOW] += squares.mean()
    errors = np.divide(total, times, where=times > 0, out=np.zeros_like(total))
    for i, row in enumerate(rows):
        if i != 60:
            assert float(row["error_a"]) == pytest.approx(errors[0, i], rel=1e-4, abs=1e-9)
            assert float(row["score"]) == pytest.approx(errors[:, i].mean(), rel=1e-4, abs=1e-9)
            assert float(row["window_score"]) == pytest.approx(wide[i] / times[i], rel=1e-4)
            assert row["channel"] == "ab"[int(errors[:, i].argmax())]
    worst = max((row for row in rows if row["score"]), key=lambda row: float(row["score"]))
    assert worst["channel"] == "b"
    assert 200 <= int(worst["time"]) < 205
    assert float(worst["seen"]) == pytest.approx(series.values[1, int(worst["time"]) - 50])
    known = model.description.step_errors
    assert known is not None
    limit = known.find_limit(99)
    assert [row["is_outlier"] for row in rows if row["score"]] == [
        str(float(row["score"]) > limit) for row in rows if row["score"]
    ]
    found = re.fullmatch(r"[0-9.]+  (\d+) to (\d+) \((\d+) steps\), channel b", out.splitlines()[0])
    assert found is not None
    begin, end, length = map(int, found.groups())
    assert begin <= 202 <= end == begin + length - 1
    assert "of 199 steps" in out
    assert out.endswith("Scores in time: scores.csv\n")


def test_the_picture_shows_the_channel_at_fault_first(
    verb: Verb, run: Path, tmp_path: Path
) -> None:
    assert good(verb("score", run, "s.csv", "--out", "s.png")) == "Scores in time: s.png"
    assert picture(tmp_path / "s.png").shape[:2] == (580, 1300)  # two columns, three rows
    model = package.load(run)
    ((one, made),) = measure_series([str(tmp_path / "s.csv")], model)
    figure = draw_scores(one, made, 0.5 * np.nanmax(made.scores), ["a", "b"], WINDOW)
    whole, near = figure.axes[::2], figure.axes[1::2]
    assert [axes.get_ylabel() for axes in whole] == ["b", "a", "score"]
    seen, expected = (line.get_ydata() for line in whole[0].lines)
    assert np.array_equal(seen, one.values[1], equal_nan=True)
    assert np.array_equal(expected, made.restored[1], equal_nan=True)
    worst = int(np.nanargmax(made.scores))
    assert near[0].lines[0].get_xdata()[[0, -1]].tolist() == [worst - 20, worst + 20]
    assert whole[2].lines[1].get_ydata()[0] == 0.5 * np.nanmax(made.scores)
    assert whole[2].get_xticklabels()[-1].get_text() == "249", "the time of the last step"
    assert find_stretches(np.array([True, False, True, True])) == [(0, 1), (2, 4)]


def test_a_series_comes_back_and_windows_are_encoded(verb: Verb, run: Path, tmp_path: Path) -> None:
    good(verb("reconstruct", run, "s.csv", "--out", "back.csv"))
    rows = read(tmp_path / "back.csv")
    assert [*rows[0]] == ["time", "a", "b"]
    assert len(rows) == 200
    assert rows[60]["a"] == "", "no window covers a gap"
    model = package.load(run)
    (series,) = read_series([str(tmp_path / "s.csv")], model)
    first = model.reconstruct(series.values[None, :, :WINDOW])[0]
    assert float(rows[0]["a"]) == pytest.approx(first[0, 0], rel=1e-4), (
        "one window covers the first step"
    )
    good(verb("reconstruct", run, "s.csv", "--out", "back.npy"))
    back = np.load(tmp_path / "back.npy")
    assert back.shape == (200, 2)
    assert back[:, 1] == pytest.approx([float(row["b"]) for row in rows], rel=1e-5)
    good(verb("encode", run, "s.csv", "--out", "codes.csv"))
    codes = read(tmp_path / "codes.csv")
    assert [row["name"] for row in codes[:3]] == ["0", "1", "2"], "the time of the first step"
    assert len(codes) == 51 + 30 + 91
    window = series.values[None, :, 61 : 61 + WINDOW]
    assert codes[51]["name"] == "61"
    wanted = model.encode(window)[0]
    assert [float(codes[51][f"z{i}"]) for i in range(3)] == pytest.approx(
        wanted.tolist(), rel=1e-3, abs=1e-5
    )


def test_series_that_do_not_suit_the_model(verb: Verb, run: Path, tmp_path: Path) -> None:
    (tmp_path / "short.csv").write_text("time,b,a\n" + "\n".join(f"{i},1,2" for i in range(7)))
    status, _, err = verb("score", run, "short.csv", "--out", "x.csv")
    assert status == 2
    assert err == (
        "aeframe: short.csv: has no part of 10 steps without gaps, which are a window of this model. Give "
        "longer series, or fill gaps.\n"
    )
    (tmp_path / "other.csv").write_text("time,a\n" + "\n".join(f"{i},1" for i in range(30)))
    status, _, err = verb("score", run, "other.csv", "--out", "x.csv")
    assert status == 2
    assert "b" in err
    assert "is no column of other.csv" in err
    assert not (tmp_path / "x.csv").exists()
