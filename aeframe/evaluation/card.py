"""Evaluation card: test metrics beside baselines, and the copy check."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any

import torch
from torch import Tensor

from aeframe.constraints.constrained import ConstrainedAutoencoder
from aeframe.core.bounds import AtLeast, AtMost
from aeframe.core.noise import Noise
from aeframe.data import DataModule
from aeframe.data.gaps import average_present
from aeframe.data.spec import IMAGES, Nouns
from aeframe.evaluation.baselines import FITTED, Baseline, Corruption, measure_baselines
from aeframe.evaluation.copy_check import CHUNK, CopyCheck, check_copying
from aeframe.evaluation.imputation import measure_imputation
from aeframe.evaluation.metric_names import METRICS
from aeframe.evaluation.representation import Representation, measure_representation
from aeframe.evaluation.similarity import measure_ssim


@dataclass(frozen=True)
class Card:
    """The evaluation of a trained network. metrics: of the test split, which has `samples` samples.
    images: the number of samples used for the copy check and the likelihood. nouns: words for a sample and
    its values. has_peak: whether PSNR has a meaning, as for images and for a known range of values.
    added: names of metrics that plug-ins have added. representation: None for targets beside the samples,
    and for few test samples. copy_check: None for targets that are not the samples.
    """

    metrics: dict[str, float]
    baselines: list[Baseline]
    copy_check: CopyCheck | None
    code_size: int
    images: int
    samples: int
    nouns: Nouns = IMAGES
    has_peak: bool = True
    added: tuple[str, ...] = ()
    representation: Representation | None = None

    @property
    def copies_input(self) -> bool:
        """Check whether the network copies its input."""
        return self.copy_check is not None and not self.copy_check.passed

    @property
    def check_line(self) -> str:
        """Return the line of a report on the copy check."""
        if self.copy_check is None:
            return "Copy check: none, because the target is not the input."
        return self.copy_check.report_line

    def as_dict(self) -> dict[str, Any]:
        """Return plain data, for JSON."""
        return {
            "metrics": self.metrics,
            "baselines": {b.name: b.as_dict() for b in self.baselines},
            "copy_check": None if self.copy_check is None else self.copy_check.as_dict(),
            "code_size": self.code_size,
            "images": self.images,
            "samples": self.samples,
            "representation": self.representation and self.representation.as_dict(),
        }


@dataclass(frozen=True)
class Evaluation:
    """Evaluation of a network on the test split.

    images: samples for the copy check, the likelihood, the representation and the imputation error.
    importance_samples: for each of them, in the variational model's log-likelihood.
    """

    images: Annotated[int, AtLeast(2), AtMost(10**6)] = 2000
    importance_samples: Annotated[int, AtLeast(1), AtMost(10_000)] = 100

    @torch.no_grad()
    def make_card(
        self, net: ConstrainedAutoencoder, data: DataModule, metrics: dict[str, float]
    ) -> Card:
        """Evaluate a trained network. metrics: of the test split, from the loop."""
        net.eval()
        x = data.peek("test", self.images, net.normalization)
        size = net.model.latent_dim
        known = (*METRICS, *net.term_names, "mse_standard_error")
        added = tuple(name for name in metrics if name not in known)
        exact_zeros = net.encode(x[:1]).floor == 0  # a logistic unit is never off
        if net.is_sparse and exact_zeros:  # only active units are stored
            size = max(1, round(metrics.get("l0", size)))
        has_target = net.target_normalization is not None
        if "prior" in net.model.gives and not has_target:  # it knows no posterior given a target
            metrics = {**metrics, **self._estimate_likelihood(net, x)}
        check = None if has_target else self._check(net, data, x, metrics)
        simpler = measure_baselines(
            data, size, Corruption(net, data) if net.has_corruption else None
        )
        if net.gives("dense inference"):  # then the error does not measure the sparse code
            simpler = simpler[:1]
        hidden = None if has_target else measure_imputation(net, data, self.images)
        if hidden is not None:
            metrics = {**metrics, "imputation_mse": hidden.network}
            simpler[0] = replace(simpler[0], imputation_mse=hidden.means)
        if not has_target and (ssim := measure_ssim(net, data.spec, x)) is not None:
            metrics = {**metrics, "ssim": ssim}
        shown = None if has_target else measure_representation(net, data, size, self.images)
        metrics = {**metrics, **(shown.list_metrics() if shown is not None else {})}
        spec, samples = data.spec.written, len(data.splits["test"])
        has_peak = spec.nouns == IMAGES or spec.stored is not None
        return Card(
            metrics, simpler, check, size, len(x), samples, spec.nouns, has_peak, added, shown
        )

    @staticmethod
    def _check(
        net: ConstrainedAutoencoder, data: DataModule, x: Tensor, metrics: dict[str, float]
    ) -> CopyCheck:
        train = data.peek("train", FITTED, net.normalization)
        present = net.normalization.find_present(train)
        mean = average_present(train, present, 0).view_as(train[0])
        return replace(check_copying(net, x, mean), explained=metrics.get("explained_variance"))

    def _estimate_likelihood(self, net: ConstrainedAutoencoder, x: Tensor) -> dict[str, float]:
        """Estimate the mean of -log p(x) in nats, and its standard error over these samples."""
        noise = Noise("evaluate")  # one stream: other numbers for each chunk
        estimate = partial(net.model.log_likelihood, k=self.importance_samples, noise=noise)
        present, filled = net.normalization.find_present(x), net.normalization.fill(x)
        if present is None:
            parts = [estimate(part) for part in filled.split(CHUNK)]
        else:
            pairs = zip(filled.split(CHUNK), present.split(CHUNK), strict=True)
            parts = [estimate(part, present=known) for part, known in pairs]
        nll = -torch.cat(parts).double()
        found = {"nll": float(nll.mean())}
        if len(x) > 1:
            found["nll_standard_error"] = float(nll.std() / len(x) ** 0.5)
        return found
