"""Structural similarity of images and their reconstructions."""

from __future__ import annotations

import torch
from torch import Tensor

from aeframe.constraints.constrained import ConstrainedAutoencoder
from aeframe.data import DataSpec
from aeframe.data.spec import IMAGES
from aeframe.evaluation.copy_check import CHUNK

WINDOW = 11  # pixels on each side, as published


def measure_ssim(net: ConstrainedAutoencoder, spec: DataSpec, x: Tensor) -> float | None:
    """Measure the mean SSIM of normalized images x [N, C, H, W] (Wang et al. 2004), from -1 to 1.

    The published window of 11 x 11 pixels with a Gaussian weight is used, with borders mirrored; None for
    smaller images, other samples, and images with gaps.
    """
    if spec.nouns != IMAGES or min(spec.shape[1:]) < WINDOW or spec.gaps:
        return None
    from torchmetrics.functional.image import structural_similarity_index_measure as compute

    inverse = net.normalization.inverse
    low, high = spec.get_range(net.normalization)
    total = torch.zeros((), dtype=torch.float64)
    for part in x.split(CHUNK):
        restored, seen = (
            (inverse(each).float() - low) / (high - low) for each in (net.reconstruct(part), part)
        )
        found = compute(restored, seen, data_range=1.0, reduction="sum")
        assert isinstance(found, Tensor)
        total += found.double().cpu()
    return float(total / len(x))
