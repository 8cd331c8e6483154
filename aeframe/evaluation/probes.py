"""Probes: simple methods that look for labels in features, to tell what the features are good for.

Alain & Bengio 2017 (arXiv:1610.01644) introduced linear probes. Every option is chosen on validation samples.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

STRENGTHS = (0.01, 0.1, 1.0, 10.0)
"""Inverse strengths of the penalty of a logistic regression (C), of which validation chooses one."""
PENALTIES = (0.1, 1.0, 10.0, 100.0, 1000.0)
"""Penalties of a ridge regression (alpha)."""
NEIGHBOURS = (1, 5, 15)
"""Numbers of neighbours."""
STEPS = 100  # of a logistic regression at most
RESAMPLED = 500  # bootstrap samples


class Labelled(NamedTuple):
    """Features of samples, [N, F], and their labels, [N]: classes as whole numbers, or values."""

    x: NDArray[np.float32]
    labels: NDArray[Any]


def find_by_probe(train: Labelled, val: Labelled, test: Labelled) -> NDArray[np.bool_]:
    """Check which classes of the test samples a multinomial logistic regression finds, [N].

    Features are standardized.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probes = (
        make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=STEPS))
        for strength in STRENGTHS
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the order of probes is clear before
        return _choose(probes, train, val).predict(test.x) == test.labels


def find_by_neighbours(train: Labelled, val: Labelled, test: Labelled) -> NDArray[np.bool_]:
    """Check which classes of the test samples the nearest training samples have, [N]."""
    from sklearn.neighbors import KNeighborsClassifier

    probes = (KNeighborsClassifier(k) for k in NEIGHBOURS if k <= len(train.x))
    return _choose(probes, train, val).predict(test.x) == test.labels


def predict_values(train: Labelled, val: Labelled, test: Labelled) -> NDArray[np.float64]:
    """Predict the values of the test samples by ridge regression, [N]. Features are standardized."""
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probes = (make_pipeline(StandardScaler(), Ridge(alpha)) for alpha in PENALTIES)
    return np.asarray(_choose(probes, train, val).predict(test.x), np.float64)


def _choose(probes: Iterable[Any], train: Labelled, val: Labelled) -> Any:
    """Return the fitted probe that is best on validation samples, of equal ones the first."""
    return max((probe.fit(*train) for probe in probes), key=lambda probe: probe.score(*val))


def average(values: NDArray[Any]) -> tuple[float, float]:
    """Return the mean of values of samples, [N], and its standard error.

    For a mean, a bootstrap over the samples has this spread.
    """
    return float(values.mean()), float(values.std() / len(values) ** 0.5)


def explain_variance(predicted: NDArray[Any], values: NDArray[Any]) -> tuple[float, float]:
    """Return R², the explained share of the variance, and its standard error by bootstrap over samples."""
    rows = np.random.default_rng(0).integers(0, len(values), (RESAMPLED, len(values)))
    squares, resampled = (values - predicted) ** 2, values[rows]
    shares = 1 - squares[rows].sum(1) / resampled.var(1).clip(1e-300) / len(values)
    whole = 1 - squares.sum() / max(1e-300, values.var()) / len(values)
    return float(whole), float(shares.std())
