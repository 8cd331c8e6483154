"""The evaluation card: the test metrics beside baselines, and the copy check."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor

from aeframe.bounds import AtLeast
from aeframe.constrained import ConstrainedAutoencoder
from aeframe.data import DataModule
from aeframe.models.variational import Variational, log_likelihood
from aeframe.noise import Noise
from aeframe.psnr import decibels, peak_shares

CHUNK = 256  # samples that are passed through the network at once
PCA_SAMPLES = 20_000  # training samples that PCA is fitted on


@dataclass(frozen=True)
class Baseline:
    """What a simpler method reaches on the same test samples. mse per pixel, psnr in dB."""

    name: str
    mse: float
    psnr: float


@dataclass(frozen=True)
class CopyCheck:
    """Reconstruction errors (MSE per pixel) on real held-out samples and on what is no data.

    shuffled: every pixel taken from another sample, so that each pixel keeps its mean and variance
    (and all else of its distribution) and only what the pixels have to do with each other is gone.
    permuted: real samples with their pixels in another, fixed order.
    shuffled_variance: the error that a constant would make on the shuffled samples.
    mean_image: the error of the training data's mean on the real ones. samples: how many there are.
    """

    real: float
    shuffled: float
    permuted: float
    shuffled_variance: float
    mean_image: float
    samples: int

    limit = 2 / 3
    fewest = 10  # samples; of fewer no noise can be made

    @property
    def ratio(self) -> float:
        """How much worse noise is reconstructed than data."""
        return self.shuffled / max(self.real, 1e-12)

    @property
    def copied(self) -> float:
        """The share of the noise's variance that comes back: 1 for a network that copies."""
        return max(0.0, 1 - self.shuffled / max(self.shuffled_variance, 1e-12))

    @property
    def passed(self) -> bool:
        """Whether less than two thirds of what is no data comes back, as far as that can be said."""
        return self.copied < self.limit or self.samples < self.fewest

    @property
    def told(self) -> str:
        """Its line of a report."""
        compared = f"noise is reconstructed {self.ratio:.1f} times worse than data"
        return f"Copy check: {compared}. {self.sentence}"

    @property
    def sentence(self) -> str:
        """What it means, in plain words."""
        if self.samples < self.fewest:
            return f"That is of {self.samples} test samples, too few to say what it means."
        if self.real > 0.9 * self.mean_image:
            return "The network has learned nothing yet: the mean image does as well."
        share = f"{self.copied:.0%} of pure noise"
        if self.passed:
            kept = 1 - self.real / max(self.mean_image, 1e-12)
            how = "learned" if kept >= 0.5 else "began to learn"
            return (
                f"The network {how} this data: it brings back {kept:.0%} of it, and only {share}."
            )
        return f"The network copies its input: it brings back {share}; constrain it more."


@dataclass(frozen=True)
class Card:
    """All that is known of a trained network. metrics: on the test split, of so many samples. images: of
    them for the copy check and the likelihood.
    """

    metrics: dict[str, float]
    baselines: list[Baseline]
    copy_check: CopyCheck
    code_size: int
    images: int
    samples: int

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        check = self.copy_check
        derived = {"ratio": check.ratio, "copied": check.copied, "passed": check.passed}
        return {
            "metrics": self.metrics,
            "baselines": {b.name: {"mse": b.mse, "psnr": b.psnr} for b in self.baselines},
            "copy_check": {**asdict(check), **derived, "sentence": check.sentence},
            "code_size": self.code_size,
            "images": self.images,
            "samples": self.samples,
        }


@dataclass(frozen=True)
class Evaluation:
    """Measures a network on the test split.

    images: samples for the copy check and the likelihood. importance_samples: for each of them, in the
    variational model's log-likelihood.
    """

    images: Annotated[int, AtLeast(2)] = 2000
    importance_samples: Annotated[int, AtLeast(1)] = 100

    @torch.no_grad()
    def card(
        self, net: ConstrainedAutoencoder, data: DataModule, metrics: dict[str, float]
    ) -> Card:
        """The card of a trained network. metrics: of the test split, from the loop."""
        net.eval()
        x = data.peek("test", self.images, net.normalization)
        size = net.model.latent_dim
        exact_zeros = net.encode(x[:1]).floor == 0  # a logistic unit is never off
        if net.is_sparse and exact_zeros:  # such a code has as many numbers as units are active
            size = max(1, round(metrics.get("l0", size)))
        if isinstance(net.model, Variational):
            metrics = {**metrics, **self._likelihood(net.model, x)}
        mean = data.peek("train", PCA_SAMPLES, net.normalization).mean(0)
        check = copy_check(net, x, mean)
        count = len(data.splits["test"])
        return Card(metrics, baselines(data, size), check, size, len(x), count)

    def _likelihood(self, model: Variational, x: Tensor) -> dict[str, float]:
        """The mean of -log p(x) in nats, and the standard error that it has as the mean of these samples."""
        noise = Noise("evaluate")  # one stream: other numbers for each chunk
        estimate = partial(log_likelihood, model, k=self.importance_samples, noise=noise)
        nll = -_in_chunks(estimate, x).double()
        found = {"nll": float(nll.mean())}
        if len(x) > 1:
            found["nll_standard_error"] = float(nll.std() / len(x) ** 0.5)
        return found


@torch.no_grad()
def copy_check(net: ConstrainedAutoencoder, x: Tensor, mean: Tensor) -> CopyCheck:
    """Whether the network reconstructs anything, or only data like x, [N, *shape] and normalised.

    mean: of the training data, [*shape].
    """
    generator = torch.Generator().manual_seed(0)
    flat = x.flatten(1)
    orders = torch.rand(flat.shape, generator=generator).argsort(0).to(x.device)
    shuffled = flat.gather(0, orders).view_as(x)
    permuted = flat[:, torch.randperm(flat.shape[1], generator=generator)].view_as(x)
    variance = float((flat - flat.mean(0)).square().mean())
    real, shuffled_error, permuted_error = (_error(net, y) for y in (x, shuffled, permuted))
    mean_image = float((x - mean).square().mean())
    return CopyCheck(real, shuffled_error, permuted_error, variance, mean_image, len(x))


def _error(net: ConstrainedAutoencoder, x: Tensor) -> float:
    return float((_in_chunks(net.reconstruct, x) - x).square().mean())


def _in_chunks(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    return torch.cat([function(part) for part in x.split(CHUNK)])


def baselines(data: DataModule, size: int) -> list[Baseline]:
    """The mean of the training samples, and PCA with `size` components, on the whole test split.

    With as many components as features PCA loses nothing and is no baseline.
    """
    from sklearn.decomposition import PCA  # half a second, which only this last step needs

    train = data.peek("train", PCA_SAMPLES).flatten(1).numpy()
    # before PCA works in float32, which an offset far beyond the spread would exhaust
    centre = train.mean(0, dtype=np.float64).astype(train.dtype)
    train = train - centre
    if len(train) < 2:
        train = train.repeat(2, axis=0)  # of one sample the mean is all that there is
    lossless = min(size, len(train) - 1) >= train.shape[1]
    size = max(1, min(size, len(train) - 1, train.shape[1]))
    wide = train.shape[1] > 2000  # where the full decomposition takes long
    solver = "randomized" if wide and size < min(train.shape) // 2 else "full"
    pca = PCA(size, svd_solver="covariance_eigh" if not wide else solver, random_state=0).fit(train)
    errors = np.zeros((2, train.shape[1]))
    count = len(data.splits["test"])
    for start in range(0, count, 4096):
        x = data.normalization(data.splits["test"][start : start + 4096].x).flatten(1).numpy()
        x = x - centre
        restored = pca.inverse_transform(pca.transform(x))
        errors += [((x - pca.mean_) ** 2).sum(0), ((x - restored) ** 2).sum(0)]
        data.splits["test"].raw.release()
    low, high = data.spec.range_in(data.normalization)
    shares = peak_shares(data.normalization, high - low, data.spec.shape).numpy()
    names = ("mean image", f"PCA, {size} component{'s' if size > 1 else ''}")
    found = [
        Baseline(name, float(each.mean()), decibels(float((each * shares).mean())))
        for name, each in zip(names, errors / count, strict=True)
    ]
    return found[:1] if lossless else found
