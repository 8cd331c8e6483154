"""Representation: what a code says of labels that training did not see, beside PCA and the input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aeframe.constraints.constrained import ConstrainedAutoencoder
from aeframe.data import DataModule
from aeframe.data.classes import UNLABELED
from aeframe.evaluation.baselines import Components
from aeframe.evaluation.copy_check import CHUNK
from aeframe.evaluation.probes import (
    Labelled,
    average,
    explain_variance,
    find_by_neighbours,
    find_by_probe,
    predict_values,
)

FITTED = 4000  # training samples at most that probes are fitted to
LEAST = 40  # test samples: the standard error of an accuracy is then at most 0.08
COMPARED = 1000  # test samples at most whose distances are compared
NEAR = 5  # neighbours of a sample that are to stay near
CLASSES = 100  # classes of a linear probe at most
VALUES = 20  # different numbers as labels, beyond which they are values and not classes
MEASURES = {
    "probe_accuracy": "linear probe, accuracy",
    "knn_accuracy": "k-NN, accuracy",
    "probe_r2": "linear probe, R²",
    "silhouette": "silhouette of classes",
    "trustworthiness": "trustworthiness",
}
"""Names of the measures for people, in the order of the table. All are better if they are larger."""


class Measured(NamedTuple):
    """The value of a measure, and its standard error over test samples; None where it is unknown."""

    value: float
    error: float | None = None


@dataclass(frozen=True)
class Representation:
    """Measures of the code, of principal components and of the input.

    samples: of the test split. measures: by name (see `MEASURES`) and by what is measured.
    """

    samples: int
    measures: dict[str, dict[str, Measured]]

    def list_metrics(self) -> dict[str, float]:
        """Return the measures of the code by name."""
        return {name: next(iter(found.values())).value for name, found in self.measures.items()}

    def as_dict(self) -> dict[str, Any]:
        """Return plain data, for JSON."""
        measures = {
            name: {what: each._asdict() for what, each in found.items()}
            for name, found in self.measures.items()
        }
        return {"samples": self.samples, **measures}


class _Part(NamedTuple):
    """Samples of a split, [N, F], their codes, [N, K], and their labels, or None."""

    x: NDArray[np.float32]
    codes: NDArray[np.float32]
    labels: NDArray[Any] | None


def measure_representation(
    net: ConstrainedAutoencoder, data: DataModule, size: int, most: int
) -> Representation | None:
    """Measure what simple methods find in the code; None with too few test samples to tell.

    size: of the code, and number of principal components. most: test samples at most.
    """
    if min(most, len(data.splits["test"])) < LEAST:
        return None
    train, test = _read(net, data, "train", FITTED), _read(net, data, "test", most)
    val = _read(net, data, "val", most) if "val" in data.splits else None
    if val is None:  # every fourth sample of training is held out
        chosen = np.arange(len(train.x)) % 4 == 3
        val, train = (_select(train, rows) for rows in (chosen, ~chosen))
    parts = (train, val, test)
    kinds = {f"code ({train.codes.shape[1]:,})": [part.codes for part in parts]}
    if size < train.x.shape[1]:
        components = Components.fit(train.x, size)
        found = [components.project(part.x) for part in parts]
        kinds[f"PCA ({found[0].shape[1]:,})"] = found
    kinds[f"input ({train.x.shape[1]:,})"] = [part.x for part in parts]
    measures = dict[str, dict[str, Measured]]()
    if train.labels is not None and val.labels is not None and test.labels is not None:
        labels = _take_values(data.spec.classes, (train.labels, val.labels, test.labels))
        for what, features in kinds.items():
            for name, each in _measure_labels(features, labels).items():
                measures.setdefault(name, {})[what] = each
    measures["trustworthiness"] = {
        what: Measured(_measure_trust(test.x, features[-1])) for what, features in kinds.items()
    }
    return Representation(len(test.x), measures)


def _read(net: ConstrainedAutoencoder, data: DataModule, split: str, n: int) -> _Part:
    """Read n samples of a split at most, normalized and without gaps, with their codes and labels."""
    x = data.peek(split, n, net.normalization)
    codes = [net.encode(part).value.float().flatten(1).cpu().numpy() for part in x.split(CHUNK)]
    labels, classes = data.peek_labels(split, n), data.spec.classes
    if labels is not None and UNLABELED in classes:
        labels = labels.where(labels != classes.index(UNLABELED), -1)
    filled = net.normalization.fill(x).float().flatten(1).cpu().numpy()
    return _Part(filled, np.concatenate(codes), None if labels is None else labels.numpy())


def _select(part: _Part, rows: NDArray[np.bool_]) -> _Part:
    labels = None if part.labels is None else part.labels[rows]
    return _Part(part.x[rows], part.codes[rows], labels)


def _take_values(
    classes: Sequence[str], labels: Sequence[NDArray[np.int64]]
) -> Sequence[NDArray[Any]]:
    """Take many different numbers as values, and NaN where a label is missing (-1); else leave the classes.

    Names that count from 0 or 1 are classes.
    """
    names = [name for name in classes if name != UNLABELED]
    if len(names) <= VALUES:
        return labels
    try:
        numbers = np.array([*map(float, names), np.nan])
    except ValueError:
        return labels
    counted = np.arange(len(names))
    if any(np.array_equal(numbers[:-1], counted + first) for first in (0, 1)):
        return labels
    return [numbers[each] for each in labels]


def _measure_labels(
    features: Sequence[NDArray[Any]], labels: Sequence[NDArray[Any]]
) -> dict[str, Measured]:
    """Measure what features of training, validation and test samples say of their labels."""
    are_values = labels[0].dtype.kind == "f"
    known = [np.isfinite(each) if are_values else each >= 0 for each in labels]
    train, val, test = (
        Labelled(x[rows], y[rows]) for x, y, rows in zip(features, labels, known, strict=True)
    )
    if min(len(val.x), len(test.x)) < LEAST // 2 or len(np.unique(train.labels)) < 2:
        return {}
    if are_values:
        predicted = predict_values(train, val, test)
        return {"probe_r2": Measured(*explain_variance(predicted, test.labels))}
    found = {}
    if len(np.unique(train.labels)) <= CLASSES:
        found["probe_accuracy"] = Measured(*average(find_by_probe(train, val, test)))
    found["knn_accuracy"] = Measured(*average(find_by_neighbours(train, val, test)))
    near, classes = test.x[:COMPARED], test.labels[:COMPARED]
    if 1 < len(np.unique(classes)) < len(near):
        from sklearn.metrics import silhouette_samples

        found["silhouette"] = Measured(*average(silhouette_samples(near, classes)))
    return found


def _measure_trust(x: NDArray[Any], features: NDArray[Any]) -> float:
    """Measure how many neighbours in the features are neighbours in the input (Venna & Kaski 2001)."""
    from sklearn.manifold import trustworthiness

    return float(trustworthiness(x[:COMPARED], features[:COMPARED], n_neighbors=NEAR))
