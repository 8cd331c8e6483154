"""Data: sources of samples, splits, batches and normalization."""

from aeframe.data.arrays.array import Array
from aeframe.data.builtin.builtin import CIFAR10, KMNIST, MNIST, SVHN, Digits, FashionMNIST
from aeframe.data.datamodule import DataModule, find_uneven_batch
from aeframe.data.images.image_folder import ImageFolder
from aeframe.data.images.photo_crops import PhotoCrops
from aeframe.data.normalization.normalization import Normalization
from aeframe.data.sampler import EpochBatches
from aeframe.data.series.series import Series
from aeframe.data.shards.shards import Shards
from aeframe.data.source import Batch, Raw, Samples, Source
from aeframe.data.spec import DataSpec, Nouns
from aeframe.data.table_schema import Column, Schema
from aeframe.data.tables.table import Table

__all__ = [
    "CIFAR10",
    "KMNIST",
    "MNIST",
    "SVHN",
    "Array",
    "Batch",
    "Column",
    "DataModule",
    "DataSpec",
    "Digits",
    "EpochBatches",
    "FashionMNIST",
    "ImageFolder",
    "Normalization",
    "Nouns",
    "PhotoCrops",
    "Raw",
    "Samples",
    "Schema",
    "Series",
    "Shards",
    "Source",
    "Table",
    "find_uneven_batch",
]
