"""Measures of the code beside PCA and the input, against independent computations."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import aeframe
from aeframe.evaluation.card_table import list_measures
from aeframe.evaluation.probes import (
    NEIGHBOURS,
    Labelled,
    average,
    explain_variance,
    find_by_neighbours,
    find_by_probe,
    predict_values,
)
from aeframe.evaluation.representation import Measured, Representation

SHORT = (
    *("trainer.max_epochs=1", "trainer.limit_train_batches=2", "dashboard.images=0"),
    *("network=linear", "network.start=pca", "model.latent_dim=2"),
)
CLASSES = 3


def make_clusters(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Make samples [n, 6] of three classes far apart in two directions, and their labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, n)
    middles = np.array([[0, 9], [9, 0], [-9, -9]]) @ rng.normal(size=(2, 6)) / 2
    return (middles[labels] + rng.normal(size=(n, 6))).astype(np.float32), labels


def split(x: np.ndarray, y: np.ndarray) -> tuple[Labelled, Labelled, Labelled]:
    a, b = len(x) // 2, 3 * len(x) // 4
    return Labelled(x[:a], y[:a]), Labelled(x[a:b], y[a:b]), Labelled(x[b:], y[b:])


# ----------------------------------------------------------------------------------------------- probes


def test_a_probe_finds_what_is_linear_and_neighbours_what_is_near() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(800, 2)).astype(np.float32)
    lines, rings = (x[:, 0] > 0).astype(int), (np.linalg.norm(x, axis=1) > 1.2).astype(int)
    assert find_by_probe(*split(x, lines)).mean() > 0.97
    assert find_by_probe(*split(x, rings)).mean() < 0.65
    assert find_by_neighbours(*split(x, rings)).mean() > 0.9


def test_neighbours_are_those_of_brute_force() -> None:
    x, y = make_clusters(120)
    x = x + 6 * np.random.default_rng(3).normal(size=x.shape).astype(np.float32)  # they overlap
    train, val, test = split(x, y)

    def vote(seen: Labelled, k: int) -> np.ndarray:
        distances = ((seen.x[:, None] - train.x[None]) ** 2).sum(2)
        nearest = train.labels[distances.argsort(1, kind="stable")[:, :k]]
        return np.array([np.bincount(row, minlength=CLASSES).argmax() for row in nearest])

    hits = [(vote(val, k) == val.labels).mean() for k in NEIGHBOURS]
    k = NEIGHBOURS[int(np.argmax(hits))]
    assert find_by_neighbours(train, val, test).tolist() == (vote(test, k) == test.labels).tolist()


def test_a_ridge_regression_explains_what_is_linear() -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(4000, 3)).astype(np.float32)
    y = 2 * x[:, 0] - x[:, 1] + rng.normal(size=4000)  # 5 of 6 parts of the variance
    train, val, test = split(x, y)
    value, error = explain_variance(predict_values(train, val, test), test.labels)
    assert value == pytest.approx(5 / 6, abs=0.02)
    assert 0.001 < error < 0.02
    exact, _ = explain_variance(test.labels, test.labels)
    nothing, _ = explain_variance(np.full(1000, test.labels.mean()), test.labels)
    assert (exact, nothing) == pytest.approx((1, 0))


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.integers(5, 60), st.floats(0.05, 0.95))
def test_the_standard_error_of_a_mean_is_that_of_a_bootstrap(
    seed: int, count: int, share: float
) -> None:
    rng = np.random.default_rng(seed)
    hits = rng.random(count) < share
    value, error = average(hits)
    assert value == hits.mean()
    resampled = hits[rng.integers(0, count, (4000, count))].mean(1)
    assert error == pytest.approx(resampled.std(), rel=0.1, abs=1e-9)


def test_intervals_of_two_errors_hold_the_truth_as_often_as_they_should() -> None:
    rng, inside = np.random.default_rng(0), {"mean": 0, "share": 0}
    noise = 0.7
    for _ in range(300):
        hits = rng.random(200) < 0.8
        value, error = average(hits)
        inside["mean"] += abs(value - 0.8) < 1.96 * error
        y = rng.normal(size=200)
        value, error = explain_variance(y + noise * rng.normal(size=200), y)
        inside["share"] += abs(value - (1 - noise**2)) < 1.96 * error
    assert all(0.90 <= count / 300 <= 0.99 for count in inside.values())


# --------------------------------------------------------------------------------------------- the card


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    x, labels = make_clusters(600)
    file = tmp_path_factory.mktemp("clusters") / "x.npz"
    np.savez(file, x=x, labels=labels)
    return file


@pytest.fixture(scope="module")
def run(file: Path) -> aeframe.Run:
    words = [*SHORT, "dataset=array", f"dataset.path={file}", "dataset.key=x"]
    return aeframe.train(
        [*words, "dataset.labels=labels"], folder=file.parent / "run", verbose=False
    )


def test_the_card_measures_the_code_beside_pca_and_the_input(run: aeframe.Run) -> None:
    report = json.loads((run.folder / "evaluation.json").read_text())
    found = report["representation"]
    assert found["samples"] == 60
    assert list(found)[1:] == ["probe_accuracy", "knn_accuracy", "silhouette", "trustworthiness"]
    for name in list(found)[1:]:
        assert list(found[name]) == ["code (2)", "PCA (2)", "input (6)"]
        assert report["metrics"][name] == found[name]["code (2)"]["value"]
    # the classes lie in the plane that the code and PCA keep
    assert all(place["value"] > 0.9 for place in found["probe_accuracy"].values())
    assert (
        found["silhouette"]["code (2)"]["value"] > found["silhouette"]["input (6)"]["value"] > 0.5
    )
    assert found["trustworthiness"]["input (6)"] == {"value": 1.0, "error": None}
    accuracy = found["knn_accuracy"]["code (2)"]
    p = accuracy["value"]
    assert accuracy["error"] == pytest.approx((p * (1 - p) / 60) ** 0.5)
    text = (run.folder / "README.md").read_text()
    assert "| representation, ± standard error | code (2) | PCA (2) | input (6) |" in text
    assert f"| k-NN, accuracy | {p:.3f} ± {accuracy['error']:.3f} |" in text


def test_labels_do_not_change_a_weight(run: aeframe.Run, file: Path, tmp_path: Path) -> None:
    given = np.load(file)
    shuffled = np.random.default_rng(5).permutation(given["labels"])
    np.savez(tmp_path / "x.npz", x=given["x"], labels=shuffled)
    words = [*SHORT, "dataset=array", f"dataset.path={tmp_path / 'x.npz'}", "dataset.key=x"]
    other = aeframe.train([*words, "dataset.labels=labels"], folder=tmp_path / "run", verbose=False)
    ours, theirs = run.model.net.state_dict(), other.model.net.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert other.metrics["test/mse"] == run.metrics["test/mse"]
    assert other.metrics["test/probe_accuracy"] < 0.6 < run.metrics["test/probe_accuracy"]


def test_a_label_of_many_numbers_is_a_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(4)
    t = rng.normal(size=500)
    frame = pd.DataFrame({"a": t, "b": -t + 0.1 * rng.normal(size=500), "c": 2 * t})
    frame["price"] = np.round(10 * t + 50)
    frame.loc[::50, "price"] = np.nan
    frame.to_csv("x.csv", index=False)
    words = [*SHORT, "model.latent_dim=1", "dataset=table", "dataset.path=x.csv"]
    found = aeframe.train([*words, "dataset.label=price"], verbose=False)
    assert found.metrics["test/probe_r2"] > 0.95
    assert "test/probe_accuracy" not in found.metrics
    few = aeframe.train([*words, "evaluation.images=32"], verbose=False)
    assert "test/trustworthiness" not in few.metrics  # too few test samples


def test_rows_and_columns_of_the_table() -> None:
    found = Representation(
        70,
        {
            "trustworthiness": {"code (2)": Measured(0.98765), "input (6)": Measured(1.0)},
            "probe_accuracy": {"code (2)": Measured(0.5, 0.06), "input (6)": Measured(0.75, 0.05)},
        },
    )
    assert list_measures(found) == (
        ["code (2)", "input (6)"],
        [
            ["linear probe, accuracy", "0.500 ± 0.060", "0.750 ± 0.050"],
            ["trustworthiness", "0.988", "1.000"],
        ],
    )
