"""A trained autoencoder whose codes are whole numbers that a coder knows the frequencies of."""

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
    """Samples as they are stored, [N, *shape], to whole numbers, [N, m], and back.

    step: between two numbers that a unit of the code is rounded to. likeness: what tells other data from
    the training data.
    """

    model: Model
    tables: Tables
    step: float
    likeness: Likeness

    @cached_property
    def identity(self) -> bytes:
        """32 bytes: who decodes with another identity decodes something else."""
        return compute_identity(self.model.identity, self.step, self.tables)

    @property
    def any_size(self) -> bool:
        """Whether the code is a map, so that samples are images of any size."""
        return len(self.model.net.model.code_shape) > 1

    def codes(self, x: Samples) -> Codes:
        """The codes of samples [N, *shape], in steps and rounded: int32 [N, m]."""
        return round_codes(self.model, x, self.step)

    def samples(self, codes: Codes) -> Samples:
        """What the decoder makes of such codes, [N, *shape], in units and type as the training data."""
        return restore_samples(self.model, codes, self.step)

    def psnr(self, x: Samples, back: Samples) -> Decibels:
        """Of each sample beside what came back, in dB, [N]."""
        return to_decibels(compute_errors(self.model, x, back))


def compute_identity(model: str, step: float, tables: Tables) -> bytes:
    """See Codec. model: the identity of the model."""
    digest = hashlib.sha256(f"{model} {step!r}".encode())
    for table in (tables.low, tables.units, tables.clusters):
        digest.update(f"{table.shape}".encode())
        digest.update(table.astype(table.dtype.newbyteorder("<")).tobytes())
    return digest.digest()


def count_units(model: Model) -> int:
    """How many tables the code needs: of a map one for each channel."""
    return model.net.model.code_shape[0]


def round_codes(model: Model, x: Samples, step: float) -> Codes:
    """The codes of samples [N, *shape] in steps, as whole numbers: int32 [N, m]."""
    return np.rint(np.clip(model.encode(x) / step, -FARTHEST, FARTHEST)).astype(np.int32)


def restore_samples(model: Model, codes: Codes, step: float) -> Samples:
    """The samples [N, *shape] of such numbers."""
    return model.decode((codes * step).astype(np.float32))


def compute_errors(model: Model, x: Samples, back: Samples) -> NDArray[np.float64]:
    """The mean squared error of each sample, as a share of the square of the data's range, [N]."""
    difference = (x.astype(np.float32) - back.astype(np.float32)) / measure_range(model)
    flat = difference.reshape(len(x), -1)
    return np.einsum("ij,ij->i", flat, flat, dtype=np.float64) / flat.shape[1]


def measure_range(model: Model) -> NDArray[np.float32]:
    """The range of stored values: 255 of bytes; for features of other scales, of each its own."""
    data, scale = model.description.data, model.net.normalization.scale
    of_all = data.stored or (data.seen if scale.ndim != 1 else None)
    if of_all is not None:
        return np.array([of_all[1] - of_all[0]], np.float32)
    return (scale * (data.high - data.low)).cpu().numpy().astype(np.float32)


def to_decibels(mse: NDArray[np.float64] | float) -> Decibels:
    """The PSNR of errors that are shares of the squared range; of none, 100 dB."""
    return -10 * np.log10(np.maximum(mse, 1e-10))
