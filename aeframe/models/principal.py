"""Principal component analysis: the linear code that a network may start as."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

MOST_ELEMENTS = 2**22
"""Largest product of samples and features for which all components are computed."""
BEYOND = 10
"""Components that the randomized method computes beyond those that are wanted (Halko et al. 2011)."""


class Components(NamedTuple):
    """The first m principal components of samples, [m, D], and the variances along them, [m].

    mean: of the samples, [D]. rest: the mean variance along each of the other D - m directions.
    """

    mean: Tensor
    axes: Tensor
    variances: Tensor
    rest: Tensor


def find_components(x: Tensor, count: int) -> Components:
    """Find the first `count` principal components of samples x [N, D], or as many as they have."""
    mean = x.mean(0)
    centred = x - mean
    features = x.shape[1]
    count = min(count, len(x) - 1, features)
    if x.numel() <= MOST_ELEMENTS or 4 * count > min(x.shape):
        _, lengths, axes = torch.linalg.svd(centred, full_matrices=False)
    else:
        _, lengths, axes = torch.svd_lowrank(centred, count + BEYOND, niter=4)
        axes = axes.t()
    variances = lengths[:count].square() / max(1, len(x) - 1)
    whole = centred.square().sum() / max(1, len(x) - 1)
    rest = (whole - variances.sum()).clamp(min=0) / max(1, features - count)
    return Components(mean, axes[:count], variances, rest)
