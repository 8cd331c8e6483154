"""Detection of outliers, against counts by brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aeframe.evaluation.detection import MOST, Detection


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=2, max_size=40).filter(
        lambda rows: len({kind for _, kind in rows}) == 2
    )
)
def test_all_measures_are_those_of_a_count(rows: list[tuple[int, bool]]) -> None:
    scores, is_outlier = np.array([s for s, _ in rows]), np.array([kind for _, kind in rows])
    found = Detection.measure(scores, is_outlier)
    strange, usual = scores[is_outlier], scores[~is_outlier]
    wins = (strange[:, None] > usual).mean() + 0.5 * (strange[:, None] == usual).mean()
    assert found.auroc == pytest.approx(wins)
    precision, before = 0.0, 0.0
    recalls = {0.01: 0.0, 0.05: 0.0}
    for limit in sorted(set(scores.tolist()), reverse=True):
        alarms = scores >= limit
        recall = (alarms & is_outlier).sum() / len(strange)
        precision += (recall - before) * is_outlier[alarms].mean()
        before = recall
        for share in recalls:
            if (usual >= limit).mean() <= share:
                recalls[share] = recall
    assert found.average_precision == pytest.approx(precision)
    assert (found.recall_at_1, found.recall_at_5) == pytest.approx((recalls[0.01], recalls[0.05]))
    assert (found.outliers, found.samples) == (len(strange), len(scores))


def test_recall_counts_each_level_of_equal_scores() -> None:
    scores, is_outlier = np.repeat(np.arange(100), 2), np.tile([True, False], 100)
    found = Detection.measure(scores, is_outlier)
    assert (found.recall_at_1, found.recall_at_5) == (0.01, 0.05)


def test_the_standard_error_of_the_area_is_that_of_new_samples() -> None:
    rng = np.random.default_rng(0)
    truth = np.arange(200) < 60

    def draw() -> Detection:
        return Detection.measure(rng.normal(size=200) + truth, truth)

    found = [draw() for _ in range(60)]
    spread = np.std([one.auroc for one in found])
    errors = [one.auroc_error for one in found if one.auroc_error is not None]
    assert np.mean(errors) == pytest.approx(spread, rel=0.3)
    many = np.arange(MOST + 2) < 5
    assert Detection.measure(many.astype(float), many).auroc_error is None
