"""Denoising autoencoder: a corrupted input, the clean input as target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aeframe.models.autoencoder import Autoencoder


class Denoising(Autoencoder):
    """An autoencoder that removes the corruption of its input (Vincent et al. 2008, 2010).

    The code may have any size: the corruption prevents copying.
    """

    needs = frozenset({"corrupted input"})

    @classmethod
    def aim(cls, options: Mapping[str, Any]) -> str:
        return "denoised_mse"
