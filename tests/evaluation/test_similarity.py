"""Structural similarity, against the published formula with the weights of SciPy's Gaussian filter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

import aeframe
from aeframe.runs.test_errors import read_test_errors
from tests.support.runs import TINY


def compute_by_formula(x: np.ndarray, y: np.ndarray) -> float:
    """Compute the mean SSIM of two images [H, W] in [0, 1], mirrored at their borders (Wang et al. 2004)."""

    def blur(image: np.ndarray) -> np.ndarray:
        return gaussian_filter(image, 1.5, truncate=5 / 1.5, mode="mirror")

    mean_x, mean_y = blur(x), blur(y)
    variances = blur(x * x) - mean_x**2 + blur(y * y) - mean_y**2
    covariance = blur(x * y) - mean_x * mean_y
    one, two = 0.01**2, 0.03**2
    upper = (2 * mean_x * mean_y + one) * (2 * covariance + two)
    return float((upper / ((mean_x**2 + mean_y**2 + one) * (variances + two))).mean())


def test_it_is_that_of_the_formula_and_small_images_have_none(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    smooth = gaussian_filter(rng.random((160, 16, 16)), (0, 2, 2))
    x = np.clip(255 * (smooth - smooth.min()) / np.ptp(smooth), 0, 255).astype(np.uint8)
    for name, given in (("x", x), ("small", x[:, :8, :8])):
        np.save(tmp_path / f"{name}.npy", given)
    words = ["dataset=array", "dataset.layout=gray", "network=linear", "network.start=pca"]
    words += [*TINY, "model.latent_dim=6", "evaluation.images=16"]
    run, small = (
        aeframe.train(
            [*words, f"dataset.path={tmp_path / name}.npy"], folder=tmp_path / name, verbose=False
        )
        for name in ("x", "small")
    )
    assert "test/ssim" not in small.metrics
    data = run.model.description.data
    assert data.stored == (0, 255)
    errors = read_test_errors(tmp_path / "x")
    assert errors is not None
    tested = x[errors.rows][:, None]
    restored = run.model.reconstruct(tested)
    expected = [
        compute_by_formula(a[0] / 255, b[0] / 255) for a, b in zip(tested, restored, strict=True)
    ]
    assert run.metrics["test/ssim"] == pytest.approx(np.mean(expected), abs=2e-3)
