"""Constraints: ways to keep a network from copying its input."""

from aeframe.constraints.activation import JumpReLU, Sigmoid, Threshold
from aeframe.constraints.bottleneck import Bottleneck
from aeframe.constraints.constraint import Constraint, Corrupted, Data, Pass, Step
from aeframe.constraints.corruption import GaussianNoise, Masking, SaltAndPepper, SwapNoise
from aeframe.constraints.penalty import L1, L2, Contractive, KLSparsity, Orthogonal
from aeframe.constraints.rate import Rate
from aeframe.constraints.revival import AuxK, Resampling
from aeframe.constraints.selection import BatchTopK, TopK, WinnerTakeAll

__all__ = [
    "L1",
    "L2",
    "AuxK",
    "BatchTopK",
    "Bottleneck",
    "Constraint",
    "Contractive",
    "Corrupted",
    "Data",
    "GaussianNoise",
    "JumpReLU",
    "KLSparsity",
    "Masking",
    "Orthogonal",
    "Pass",
    "Rate",
    "Resampling",
    "SaltAndPepper",
    "Sigmoid",
    "Step",
    "SwapNoise",
    "Threshold",
    "TopK",
    "WinnerTakeAll",
]
