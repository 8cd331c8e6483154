"""Codec: a trained autoencoder, and an entropy coder for its rounded codes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aeframe.codec.entropy.tables import FARTHEST, Codes, Tables
from aeframe.codec.likeness import Likeness
from aeframe.runs.model import Model

Samples = NDArray[Any]
Decibels = NDArray[np.float64]


@dataclass(frozen=True)
class Codec:
    """Codec between stored samples [N, *shape] and whole numbers [N, m].

    step: width of rounding of each code unit. likeness: test for samples unlike the training data.
    """

    model: Model
    tables: Tables
    step: float
    likeness: Likeness

    @cached_property
    def identity(self) -> bytes:
        """A digest of 32 bytes: only a codec with this identity decodes correctly."""
        return compute_identity(self.model.identity, self.step, self.tables)

    @property
    def any_size(self) -> bool:
        """Check whether the code is a map, so that images may have any size."""
        return len(self.model.net.model.code_shape) > 1

    def encode(self, x: Samples) -> Codes:
        """Encode samples [N, *shape] to codes, int32 [N, m]: multiples of the step."""
        return round_codes(self.model, x, self.step)

    def decode(self, codes: Codes) -> Samples:
        """Decode codes [N, m] to samples [N, *shape], in units and type of the training data."""
        return restore_samples(self.model, codes, self.step)

    def compute_psnr(self, x: Samples, back: Samples) -> Decibels:
        """Compute the PSNR of each decoded sample in dB, [N]. back: the decoded samples."""
        return to_decibels(compute_errors(self.model, x, back))


def compute_identity(model: str, step: float, tables: Tables) -> bytes:
    """Compute the identity of a codec. model: the identity of its model."""
    digest = hashlib.sha256(f"{model} {step!r}".encode())
    for table in (tables.low, tables.units, tables.clusters):
        digest.update(f"{table.shape}".encode())
        digest.update(table.astype(table.dtype.newbyteorder("<")).tobytes())
    return digest.digest()


def count_tables(model: Model) -> int:
    """Count the tables of frequencies: one for each unit, or for each channel of a map."""
    return model.net.model.code_shape[0]


def round_codes(model: Model, x: Samples, step: float) -> Codes:
    """Encode samples [N, *shape] and round the codes to steps: int32 [N, m]."""
    return np.rint(np.clip(model.encode(x) / step, -FARTHEST, FARTHEST)).astype(np.int32)


def restore_samples(model: Model, codes: Codes, step: float) -> Samples:
    """Decode rounded codes [N, m] to samples [N, *shape]."""
    return model.decode((codes * step).astype(np.float32))


def compute_errors(model: Model, x: Samples, back: Samples) -> NDArray[np.float64]:
    """Compute the mean squared error of each sample divided by the squared range of the data, [N]."""
    difference = (x.astype(np.float32) - back.astype(np.float32)) / measure_range(model)
    flat = difference.reshape(len(x), -1)
    return np.einsum("ij,ij->i", flat, flat, dtype=np.float64) / flat.shape[1]


def measure_range(model: Model) -> NDArray[np.float32]:
    """Measure the width of the range of stored values: one number, or one for each feature."""
    data, scale = model.description.data, model.net.normalization.scale
    of_all = data.stored or (data.seen if scale.ndim != 1 else None)
    if of_all is not None:
        return np.array([of_all[1] - of_all[0]], np.float32)
    return (scale * (data.high - data.low)).cpu().numpy().astype(np.float32)


def to_decibels(mse: NDArray[np.float64] | float) -> Decibels:
    """Convert errors, relative to the squared range, to PSNR in dB; at most 100 dB."""
    return -10 * np.log10(np.maximum(mse, 1e-10))
