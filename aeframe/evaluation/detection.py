"""Detection of outliers: how well scores tell them from usual samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

RESAMPLED = 200  # bootstrap samples
MOST = 20_000  # samples whose order is drawn again, at most: of more the error is tiny


@dataclass(frozen=True)
class Detection:
    """Measures of scores against the truth. All are from 0 to 1, and better if they are larger.

    auroc: the area under the ROC curve, which is the chance that an outlier has a larger score than a usual
    sample. auroc_error: its standard error by bootstrap; None for many samples. average_precision: the
    area under the curve of precision and recall. recall_at_1, recall_at_5: shares of the outliers that are
    found with 1 and 5 % of false alarms. outliers, samples: their numbers. roc: shares of false alarms and
    of found outliers, for each limit. precision_recall: shares of found outliers, and of outliers among the
    alarms.
    """

    auroc: float
    auroc_error: float | None
    average_precision: float
    recall_at_1: float
    recall_at_5: float
    outliers: int
    samples: int
    roc: tuple[NDArray[np.float64], NDArray[np.float64]]
    precision_recall: tuple[NDArray[np.float64], NDArray[np.float64]]

    @staticmethod
    def measure(scores: NDArray[Any], is_outlier: NDArray[np.bool_]) -> Detection:
        """Measure scores of samples, [N], of which some are outliers and some are not."""
        from sklearn.metrics import (
            average_precision_score,
            precision_recall_curve,
            roc_auc_score,
            roc_curve,
        )

        # with all points: one between two others may be the last within 5 %
        alarms, recall, _ = roc_curve(is_outlier, scores, drop_intermediate=False)
        precision, found, _ = precision_recall_curve(is_outlier, scores)
        return Detection(
            float(roc_auc_score(is_outlier, scores)),
            _resample_auroc(scores, is_outlier) if len(scores) <= MOST else None,
            float(average_precision_score(is_outlier, scores)),
            float(recall[alarms <= 0.01].max()),
            float(recall[alarms <= 0.05].max()),
            int(is_outlier.sum()),
            len(scores),
            (alarms, recall),
            (found, precision),
        )


def _resample_auroc(scores: NDArray[Any], is_outlier: NDArray[np.bool_]) -> float:
    """Estimate the standard error of the area by drawing outliers and usual samples again.

    The area is the share of pairs in which the outlier has the larger score (Mann & Whitney 1947).
    """
    rng, areas = np.random.default_rng(0), list[float]()
    strange, usual = scores[is_outlier], scores[~is_outlier]
    for _ in range(RESAMPLED):
        drawn, others = rng.choice(strange, len(strange)), np.sort(rng.choice(usual, len(usual)))
        below = np.searchsorted(others, drawn, "left") + np.searchsorted(others, drawn, "right")
        areas.append(float(below.mean()) / (2 * len(others)))
    return float(np.std(areas))
