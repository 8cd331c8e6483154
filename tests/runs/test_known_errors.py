"""Limits for outliers, from the errors of samples that were not trained on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from aeframe.runs.description import parse_description
from aeframe.runs.known_errors import POINTS, KnownErrors


@pytest.mark.parametrize(("count", "percentile"), [(40, 90), (199, 99), (5000, 99)])
def test_new_samples_exceed_the_limit_as_often_as_stated(count: int, percentile: float) -> None:
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(200):
        known = KnownErrors.summarize("val", rng.chisquare(3, count))
        assert len(known.values) == min(count, POINTS)
        shares.append((rng.chisquare(3, 5000) > known.find_limit(percentile)).mean())
    assert np.mean(shares) == pytest.approx(1 - percentile / 100, rel=0.1)


def test_few_samples_promise_no_smaller_share_than_they_can() -> None:
    known = KnownErrors.summarize("val", np.array([3.0, 1.0, 2.0]))
    assert known.find_least_share() == 0.25
    assert [known.find_limit(p) for p in (0, 25, 50, 75, 76, 100)] == [1, 1, 2, 3, 3, 3]
    assert KnownErrors.summarize("val", np.array([5.0])).find_limit(50) == 5


def test_older_model_files_keep_their_training_errors(trained: Path) -> None:
    note = json.loads((trained / "model.json").read_text())
    del note["val_scores"], note["val_samples"]
    note["train_scores"] = [0.0, 1.0, 4.0]
    errors = parse_description(json.dumps(note)).errors
    assert (errors.split, errors.find_limit(75), errors.find_least_share()) == ("train", 2.5, 0.0)
