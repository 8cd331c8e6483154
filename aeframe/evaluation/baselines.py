"""Baselines on the same test samples: the mean of the training samples, and PCA or linear regression."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from aeframe.constraints.constrained import ConstrainedAutoencoder
from aeframe.core.noise import Noise
from aeframe.data import DataModule, Normalization
from aeframe.evaluation.psnr import compute_peak_shares, to_decibels
from aeframe.evaluation.regression import Regression

FITTED = 20_000  # training samples at most that the mean and PCA are fitted on
ROWS = 4096  # test samples at once


@dataclass(frozen=True)
class Baseline:
    """A simpler method's error on the test samples. mse per pixel, psnr in dB.

    denoised_mse, denoised_psnr: from the same corrupted samples that a denoising model is given. The method
    itself is fitted on clean ones. imputation_mse: of hidden cells.
    """

    name: str
    mse: float
    psnr: float
    denoised_mse: float | None = None
    denoised_psnr: float | None = None
    imputation_mse: float | None = None

    def as_dict(self) -> dict[str, float]:
        """Return plain data, for JSON."""
        found = {"mse": self.mse, "psnr": self.psnr}
        if self.denoised_mse is not None and self.denoised_psnr is not None:
            found |= {"denoised_mse": self.denoised_mse, "denoised_psnr": self.denoised_psnr}
        if self.imputation_mse is not None:
            found["imputation_mse"] = self.imputation_mse
        return found


class Components(NamedTuple):
    """Principal components of samples about their mean, `centre`."""

    pca: Any
    centre: np.ndarray

    @staticmethod
    def fit(train: np.ndarray, size: int) -> Components:
        """Find `size` components of samples [N, F], or as many as there are."""
        from sklearn.decomposition import PCA  # late: it takes half a second to import

        # before PCA works in float32, which an offset far beyond the spread would exhaust
        centre = train.mean(0, dtype=np.float64).astype(train.dtype)
        train = train - centre
        if len(train) < 2:
            train = train.repeat(2, axis=0)  # PCA needs two
        size = max(1, min(size, len(train) - 1, train.shape[1]))
        wide = train.shape[1] > 2000  # where the full decomposition takes long
        solver = "randomized" if wide and size < min(train.shape) // 2 else "full"
        solver = solver if wide else "covariance_eigh"
        return Components(PCA(size, svd_solver=solver, random_state=0).fit(train), centre)

    def project(self, x: np.ndarray) -> np.ndarray:
        """Return the coordinates of samples, [N, size]."""
        return np.asarray(self.pca.transform(x - self.centre))


class Corruption:
    """Corruption of the test samples as in the network's test: the same noise in the same batches."""

    def __init__(self, net: ConstrainedAutoencoder, data: DataModule) -> None:
        self.net, self.seed = net, data.seed
        self.rows = data.count_together(net.most_rows)

    def __call__(self, x: np.ndarray, batch: int) -> np.ndarray:
        """Corrupt one batch of normalized samples, [B, *shape]."""
        device = self.net.normalization.scale.device
        noise = Noise(self.seed, "test", batch)
        corrupted, _, _ = self.net.corrupt(torch.from_numpy(x).to(device), noise)
        return corrupted.cpu().numpy()


def measure_baselines(
    data: DataModule, size: int, corruption: Corruption | None = None
) -> list[Baseline]:
    """Measure the mean of the training samples, and PCA with `size` components, on the whole test split.

    corruption: of a denoising model, whose input they are given, too. With as many components as features
    PCA loses nothing and is no baseline. Gaps are filled with the mean, and their errors do not count.
    For targets that are not the samples, see `_measure_beside_targets`.
    """
    if data.target_normalization is not None:
        return _measure_beside_targets(data, data.target_normalization, size)
    normalization = data.normalization
    train = normalization.fill(data.peek("train", FITTED)).flatten(1).numpy()
    components = Components.fit(train, size)
    pca, centre, size = components.pca, components.centre, components.pca.n_components_
    lossless = size >= train.shape[1]
    # errors of the mean, of PCA from clean samples, and of PCA from corrupted samples
    errors = np.zeros((3, train.shape[1]))
    test, values = data.splits["test"], 0
    rows = ROWS if corruption is None else corruption.rows
    for batch, start in enumerate(range(0, len(test), rows)):
        given = normalization(test[start : start + rows].x)
        found, x = normalization.find_present(given), normalization.fill(given).numpy()
        present = None if found is None else found.flatten(1).numpy()
        corrupted = x if corruption is None else corruption(given.numpy(), batch)
        x, corrupted = (part.reshape(len(part), -1) - centre for part in (x, corrupted))
        values += x.size if present is None else int(present.sum())
        errors[0] += _sum_squares(x - pca.mean_, present)
        for kind, inputs in enumerate([x] if corruption is None else [x, corrupted], start=1):
            restored = pca.inverse_transform(pca.transform(inputs))
            errors[kind] += _sum_squares(x - restored, present)
        test.raw.release()
    count = max(1, values) / train.shape[1]  # of samples, or of as many values in others with gaps
    mean, clean, denoised = (_measure_level(each / count, data) for each in errors)
    name = f"PCA, {size} component{'s' if size > 1 else ''}{_note_fitted(data)}"
    average = f"mean {data.spec.nouns.sample}"
    if corruption is None:
        baselines = [Baseline(average, *mean), Baseline(name, *clean)]
    else:
        baselines = [Baseline(average, *mean, *mean), Baseline(name, *clean, *denoised)]
    return baselines[:1] if lossless else baselines


def _measure_beside_targets(data: DataModule, goals: Normalization, size: int) -> list[Baseline]:
    """Measure the mean of the training targets, the best linear map to targets through `size` numbers, and,
    where both have one shape, the samples as they are. goals: the normalization of the targets.
    """
    spec, given = data.spec, data.normalization
    train, targets = data.peek("train", FITTED), data.peek_targets("train", FITTED)
    assert targets is not None
    fitted = (given.fill(train).flatten(1).numpy(), goals.fill(targets).flatten(1).numpy())
    linear, same = Regression.fit(*fitted, size), spec.shape == spec.written.shape
    errors, values, test = np.zeros((3, fitted[1].shape[1])), 0, data.splits["test"]
    for start in range(0, len(test), ROWS):
        batch = test[start : start + ROWS]
        assert batch.target is not None
        goal = goals(batch.target)
        found, y = goals.find_present(goal), goals.fill(goal).flatten(1).numpy()
        present = None if found is None else found.flatten(1).numpy()
        values += y.size if present is None else int(present.sum())
        x = given.fill(given(batch.x))
        made = [linear.goal, linear.predict(x.flatten(1).numpy())]
        made += [goals(given.inverse(x)).flatten(1).numpy()] if same else []
        for kind, output in enumerate(made):
            errors[kind] += _sum_squares(y - output, present)
        test.raw.release()
    count = max(1, values) / errors.shape[1]
    names = ["mean target", f"linear regression, rank {linear.rank}{_note_fitted(data)}"]
    names += ["the input as it is"] if same else []
    levels = [_measure_level(each / count, data) for each in errors]
    return [Baseline(name, *level) for name, level in zip(names, levels, strict=False)]


def _note_fitted(data: DataModule) -> str:
    """Say on how many training samples a baseline was fitted, if not on all."""
    fitted = data.spec.nouns.count_samples(FITTED)
    return f", fitted on {fitted}" if len(data.splits["train"]) > FITTED else ""


def _sum_squares(error: np.ndarray, present: np.ndarray | None) -> np.ndarray:
    """Sum the squared errors [N, F] of each feature. present: the elements that are no gaps."""
    squares = error**2
    if present is not None:
        squares[~present] = 0
    return squares.sum(0, dtype=np.float64)


def _measure_level(each: np.ndarray, data: DataModule) -> tuple[float, float]:
    """Return the mean of the features' squared errors, and its PSNR in units of stored values."""
    spec, normalization = data.spec.written, data.written_normalization
    low, high = spec.get_range(normalization)
    shares = compute_peak_shares(normalization, high - low, spec.shape).numpy()
    return float(each.mean()), to_decibels(float((each * shares).mean()))
