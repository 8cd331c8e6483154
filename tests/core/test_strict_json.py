"""Strict JSON: an infinite metric is null in every file and a dash in every table."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aeframe.cli.sweep import read_jobs
from aeframe.core.strict_json import format_cell, format_json, parse_number
from aeframe.runs.checkpoint import read_checkpoint
from tests.support.runs import TWO

Command = Callable[..., tuple[int, str, str]]


def strictly(text: str) -> Any:
    """Read JSON as its standard has it."""

    def refuse(word: str) -> float:
        raise AssertionError(word)

    return json.loads(text, parse_constant=refuse)


def test_numbers_that_are_not_finite_are_null() -> None:
    given = {"a": [1.5, math.inf, {"b": math.nan}], "c": (-math.inf, "x"), "d": None, "e": True}
    found = {"a": [1.5, None, {"b": None}], "c": [None, "x"], "d": None, "e": True}
    assert strictly(format_json(given)) == found
    assert "\n" not in format_json(given, indent=None)


@pytest.mark.parametrize("given", [None, math.inf, -math.inf, math.nan])
def test_null_and_infinity_are_no_number_and_a_dash(given: float | None) -> None:
    assert parse_number(given) is None
    assert format_cell(given, ".4g") == "-"
    assert (parse_number(2), format_cell(1.23456, ".3g")) == (2.0, "1.23")


def test_a_run_that_corrupts_nothing_at_its_end_is_read_by_all(
    aeframe: Command, verb: Command, tmp_path: Path
) -> None:
    schedule = "constraint.masking.fraction={schedule: linear, start: 0.3, end: 0, epochs: 1}"
    words = (*TWO, "model=denoising", schedule, "hydra.run.dir=run")
    status, _, err = aeframe(*words)
    assert (status, err) == (0, "")
    text = (tmp_path / "run" / "README.md").read_text()
    for label in ("PSNR of the corrupted input (dB)", "gain over corruption (dB)"):
        assert f"| {label} | - |" in text
    file = tmp_path / "run" / "evaluation.json"
    card = strictly(file.read_text())
    assert card["metrics"]["gain_db"] is card["metrics"]["corrupted_psnr"] is None
    strictly((tmp_path / "run" / "model.json").read_text())
    assert strictly(verb("evaluate", "run", "--json")[1])["metrics"]["gain_db"] is None
    assert "-" in next(x for x in verb("evaluate", "run")[1].splitlines() if "gain_db" in x)

    # what an older version wrote where the optimized metric itself was infinite, and what we write
    for value in (-math.inf, None):
        card["optimized_metric"] = {"name": "val/gain_db", "value": value, "direction": "max"}
        file.write_text(json.dumps(card))
        (job,), metric, _ = read_jobs(tmp_path)
        assert (job.error, job.value, metric) == ("", None, "val/gain_db")
        assert "gain_db" not in job.metrics
        (row,) = strictly(verb("runs", ".", "--json")[1])
        assert (row["status"], row["value"]) == ("finished", None)
        saved = read_checkpoint(tmp_path / "run")
        assert saved is not None
        assert saved.is_done(saved.node)
