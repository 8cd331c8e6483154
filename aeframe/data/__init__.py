"""Where samples come from and how they reach the device."""

from aeframe.data.arrays import Array
from aeframe.data.crops import PhotoCrops
from aeframe.data.folder import ImageFolder
from aeframe.data.loader import DataModule, DataSpec, uneven_batch
from aeframe.data.normalization import Normalization
from aeframe.data.sampler import EpochBatches
from aeframe.data.samples import Batch, Raw, Samples, Source
from aeframe.data.standard import CIFAR10, KMNIST, MNIST, SVHN, Digits, FashionMNIST

__all__ = [
    "CIFAR10",
    "KMNIST",
    "MNIST",
    "SVHN",
    "Array",
    "Batch",
    "DataModule",
    "DataSpec",
    "Digits",
    "EpochBatches",
    "FashionMNIST",
    "ImageFolder",
    "Normalization",
    "PhotoCrops",
    "Raw",
    "Samples",
    "Source",
    "uneven_batch",
]
