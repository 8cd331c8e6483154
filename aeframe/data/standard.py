"""The data sets that everyone compares on."""

from __future__ import annotations

import contextlib
import gzip
import io
import zlib
from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from aeframe.data.samples import Raw, Shape, Source
from aeframe.errors import Problem, UserError


class Digits(Source):
    """1,797 handwritten digits of 1 x 8 x 8 with 17 grey levels that ship with scikit-learn."""

    def shape(self) -> Shape:
        return (1, 8, 8)

    def problems(self) -> list[Problem]:
        return []

    def load(self) -> Raw:
        from sklearn.datasets import load_digits

        digits = load_digits()
        data = torch.from_numpy(digits.images.astype(np.uint8)).unsqueeze(1)
        labels = torch.from_numpy(digits.target.astype(np.int64))
        return Raw(data, labels, low=0, high=16, classes=tuple(str(i) for i in range(10)))


class Downloaded(Source):
    """A data set of torchvision's, with its official test split.

    root: the folder that holds it, in torchvision's layout. download: fetch what is missing there.
    """

    sample_shape: ClassVar[Shape]

    def __init__(self, *, root: str = "data", download: bool = True) -> None:
        self.root, self.download = Path(root).expanduser(), download

    def shape(self) -> Shape:
        return self.sample_shape

    def problems(self) -> list[Problem]:
        if self.root.exists() and not self.root.is_dir():
            return [Problem(f"dataset.root={self.root}", "is a file, not a folder")]
        if not self.download and not self.root.is_dir():
            return [Problem(f"dataset.root={self.root}", "no such folder", self._remedy())]
        return []

    def load(self) -> Raw:
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # torchvision prints its mirrors
                train, test = self._read(train=True), self._read(train=False)
        except UserError:
            raise
        except Exception as error:  # torchvision raises many kinds; all mean "not to be had"
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            what = f"{type(self).__name__} is not there and could not be had ({reason})"
            raise UserError(f"dataset.root={self.root}", what, self._remedy()) from error
        return Raw(*train, test=Raw(*test, low=0, high=255), low=0, high=255)

    def _remedy(self) -> str:
        name = type(self).__name__
        return f"Write dataset.root=FOLDER where {name} lies as torchvision stores it."

    @abstractmethod
    def _read(self, *, train: bool) -> tuple[Tensor, Tensor]:
        """Images uint8 [N, C, H, W] and labels int64 [N]."""


class MNIST(Downloaded):
    """70,000 handwritten digits of 1 x 28 x 28 (LeCun et al. 1998)."""

    sample_shape = (1, 28, 28)

    def _read(self, *, train: bool) -> tuple[Tensor, Tensor]:
        part = "train" if train else "t10k"
        names = (f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte")
        folder = self.root / type(self).__name__ / "raw"
        if any(_stored(folder / name) is None for name in names):
            import torchvision

            getattr(torchvision.datasets, type(self).__name__)(self.root, download=self.download)
        images, labels = (_read_idx(_stored(folder / name) or folder / name) for name in names)
        if len(images) != len(labels):
            what = f"holds {len(images)} images and {len(labels)} labels"
            raise UserError(str(folder), what, "Delete the folder, so that it is fetched again.")
        return torch.from_numpy(images).unsqueeze(1), torch.from_numpy(labels.astype(np.int64))


class FashionMNIST(MNIST):
    """70,000 articles of clothing of 1 x 28 x 28 (Xiao et al. 2017)."""


class KMNIST(MNIST):
    """70,000 cursive Japanese characters of 1 x 28 x 28 (Clanuwat et al. 2018)."""


class CIFAR10(Downloaded):
    """60,000 photographs of 3 x 32 x 32 in ten classes (Krizhevsky 2009)."""

    sample_shape = (3, 32, 32)

    def _read(self, *, train: bool) -> tuple[Tensor, Tensor]:
        import torchvision

        data: Any = torchvision.datasets.CIFAR10(self.root, train=train, download=self.download)
        images = torch.from_numpy(data.data).permute(0, 3, 1, 2).contiguous()
        return images, torch.tensor(data.targets)


class SVHN(Downloaded):
    """99,289 house numbers of 3 x 32 x 32 (Netzer et al. 2011)."""

    sample_shape = (3, 32, 32)

    def _read(self, *, train: bool) -> tuple[Tensor, Tensor]:
        import torchvision

        split = "train" if train else "test"
        data: Any = torchvision.datasets.SVHN(self.root, split=split, download=self.download)
        return torch.from_numpy(data.data), torch.from_numpy(data.labels.astype(np.int64))


def _stored(path: Path) -> Path | None:
    """The file, or its compressed form: a folder that cannot be written needs no unpacking."""
    return next((p for p in (path, path.with_name(path.name + ".gz")) if p.is_file()), None)


def _read_idx(path: Path) -> np.ndarray:
    """An array of unsigned bytes in LeCun's idx format: magic, sizes (big-endian), values."""
    try:
        raw = path.read_bytes()
        raw = gzip.decompress(raw) if path.suffix == ".gz" else raw
        if raw[:3] != b"\x00\x00\x08":
            raise ValueError("it is no idx file of bytes")
        sizes = np.frombuffer(raw, ">u4", count=raw[3], offset=4)
        values = np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3])
        return values.reshape(sizes).copy()
    except (OSError, EOFError, ValueError, IndexError, zlib.error) as error:
        remedy = "Delete the file, so that it is fetched again."
        raise UserError(str(path), f"cannot be read ({error})", remedy) from error
