"""Reduced-rank regression against a search, and as the baseline of targets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from aeframe.data import Array, DataModule
from aeframe.evaluation.baselines import measure_baselines
from aeframe.evaluation.regression import Regression


def make_pairs(n: int, inputs: int, outputs: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(n, inputs)) * generator.uniform(0.5, 2, inputs) + 3
    slope = generator.normal(size=(inputs, outputs))
    return x, x @ slope + generator.normal(size=(n, outputs)) - 5


def descend(x: np.ndarray, y: np.ndarray, rank: int) -> float:
    """Find the least squared error of a linear network with `rank` units by a general optimizer."""
    a, b = (torch.from_numpy(part - part.mean(0)) for part in (x, y))
    torch.manual_seed(0)
    weights = [
        torch.randn(*shape, dtype=torch.float64, requires_grad=True)
        for shape in ((x.shape[1], rank), (rank, y.shape[1]))
    ]
    optimizer = torch.optim.LBFGS(weights, max_iter=2000, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = (a @ weights[0] @ weights[1] - b).square().mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    return closure().item()


@pytest.mark.parametrize("rank", [1, 2, 4])
def test_no_linear_network_of_that_rank_has_a_smaller_error(rank: int) -> None:
    x, y = make_pairs(200, 6, 5)
    found = Regression.fit(x, y, rank)
    assert found.rank == rank
    error = float(np.square(found.predict(x) - y).mean())
    assert error == pytest.approx(descend(x, y, rank), rel=1e-6)


def test_full_rank_is_least_squares() -> None:
    x, y = make_pairs(60, 4, 3)
    x = np.concatenate([x, np.ones((60, 1)), x[:, :1]], 1)  # a constant and a repeated column
    ones = np.concatenate([x, np.ones((60, 1))], 1)
    best = ones @ np.linalg.lstsq(ones, y, rcond=None)[0]
    np.testing.assert_allclose(Regression.fit(x, y, 99).predict(x), best, atol=1e-7)


def test_more_features_than_samples_are_not_fitted_exactly() -> None:
    x, y = make_pairs(20, 50, 3)
    found = Regression.fit(x, y, 3)
    assert np.square(found.predict(x) - y).mean() > 0.01
    assert found.down.shape == (50, 3)


def test_targets_have_the_mean_the_regression_and_the_input_as_baselines(tmp_path: Path) -> None:
    x, y = make_pairs(100, 4, 4)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    source = Array(path=str(tmp_path / "x.npy"), target=str(tmp_path / "y.npy"))
    data = DataModule(source=source, seed=0, normalization="standard")
    data.setup()
    found = {baseline.name: baseline.mse for baseline in measure_baselines(data, 2)}
    rows = {split: samples.index.long().numpy() for split, samples in data.splits.items()}
    (a, b), (held, goal) = ((x[rows[s]], y[rows[s]]) for s in ("train", "test"))
    scale = b.std(0)
    expected = {
        "mean target": b.mean(0),
        "linear regression, rank 2": Regression.fit(
            (a - a.mean(0)) / a.std(0), (b - b.mean(0)) / scale, 2
        ).predict((held - a.mean(0)) / a.std(0))
        * scale
        + b.mean(0),
        "the input as it is": held,
    }
    assert list(found) == list(expected)
    for name, output in expected.items():
        assert found[name] == pytest.approx(np.square((output - goal) / scale).mean(), rel=1e-4)
