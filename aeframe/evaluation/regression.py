"""Linear regression of reduced rank: the best linear code for targets that are not the samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

WIDE = 2000
"""Features from which all principal components would take too long."""
KEPT = 256
"""Principal components of wide samples that the regression reads."""
LEAST = 1e-6
"""Smallest spread along a component, as a share of the largest: less is rounding."""


@dataclass(frozen=True)
class Regression:
    """A linear map of samples [N, D] to a code [N, m], and of that to targets [N, F].

    It has the least squared error of all maps with m numbers between (reduced-rank regression; Izenman
    1975): the fitted values of the full regression, on their first m principal components. For less than two
    samples to a feature, and for wide samples, it reads the first principal components of the samples.
    mean, goal: of the samples and of the targets. down: [D, m]. up: [m, F].
    """

    mean: np.ndarray
    goal: np.ndarray
    down: np.ndarray
    up: np.ndarray

    @property
    def rank(self) -> int:
        """Return the number m of values between."""
        return len(self.up)

    @classmethod
    def fit(cls, x: np.ndarray, y: np.ndarray, rank: int) -> Regression:
        """Fit it to samples x [N, D] and their targets y [N, F]. rank: m at most."""
        from sklearn.decomposition import PCA  # late: it takes half a second to import

        mean, goal = (part.mean(0, dtype=np.float64) for part in (x, y))
        x, y = x - mean, y - goal  # in double precision
        count = min(x.shape[1], max(1, len(x) // 2))
        wide = x.shape[1] > WIDE
        solver = "randomized" if wide else "covariance_eigh"
        pca = PCA(min(count, KEPT) if wide else count, svd_solver=solver, random_state=0).fit(x)
        lengths, axes = pca.singular_values_, pca.components_.T
        known = lengths > LEAST * lengths[0]
        axes = axes[:, known] / lengths[known]
        slopes = (x @ axes).T @ y  # of orthonormal columns
        _, turned = np.linalg.eigh(slopes @ slopes.T)
        first = turned[:, ::-1][:, : min(rank, y.shape[1])]
        return cls(mean, goal, axes @ first, first.T @ slopes)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Predict the targets [N, F] of samples x [N, D]."""
        return (x - self.mean) @ self.down @ self.up + self.goal
