"""Standard data sets of the literature."""

from __future__ import annotations

import contextlib
import io
import os
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import torch

from aeframe.core.errors import Problem, UserError, build_read_error, describe_error, shorten
from aeframe.data.builtin.checked_pickle import load_checked_pickle
from aeframe.data.builtin.idx import read_idx
from aeframe.data.builtin.mat import read_mat
from aeframe.data.memory_map import FileMap, as_tensor
from aeframe.data.rows import CHUNK
from aeframe.data.source import Raw, Shape, Source


class Builtin(Source):
    """A data set with a name of its own: its files are in one folder, or come with a package."""

    @classmethod
    @abstractmethod
    def stored_in(cls, root: str) -> Self:
        """Make the data set from the files in the folder `root`; nothing is downloaded."""


class Digits(Builtin):
    """1,797 handwritten digits of 1 x 8 x 8 with 17 gray levels that ship with scikit-learn."""

    @classmethod
    def stored_in(cls, root: str) -> Self:
        return cls()

    def shape(self) -> Shape:
        return (1, 8, 8)

    def load(self) -> Raw:
        from sklearn.datasets import load_digits

        digits = load_digits()
        data = torch.from_numpy(digits.images.astype(np.uint8)).unsqueeze(1)
        labels = torch.from_numpy(digits.target.astype(np.int64))
        return Raw(data, labels, low=0, high=16, classes=tuple(str(i) for i in range(10)))


class Downloaded(Builtin):
    """A data set from torchvision, with its official test split.

    root: the folder that contains it, in torchvision's layout. download: download missing files.
    """

    sample_shape: ClassVar[Shape]
    stored_as: ClassVar[str]
    """A file or folder of the data set, relative to the root."""
    classes: ClassVar[tuple[str, ...]] = ()
    """Names of the labels, if they are not numbers."""

    def __init__(self, *, root: str = "data", download: bool = True) -> None:
        self.root, self.download = Path(os.path.expanduser(root)), download
        self.is_named = root != ""

    @classmethod
    def stored_in(cls, root: str) -> Self:
        return cls(root=root, download=False)

    def shape(self) -> Shape:
        return self.sample_shape

    def problems(self) -> list[Problem]:
        if not self.is_named:
            return [Problem("dataset.root", "is empty", "Write dataset.root=FOLDER.")]
        if os.path.isfile(self.root):
            return [Problem(f"dataset.root={self.root}", "is a file, not a folder")]
        if not self._lies_in(self.root) and (above := self._find_above()) is not None:
            what = f"is a folder inside of {type(self).__name__}, whose root is {above}"
            return [Problem(f"dataset.root={self.root}", what, f"Write dataset.root={above}.")]
        if not self.download and not os.path.isdir(self.root):
            return [Problem(f"dataset.root={self.root}", "no such folder", self._choose_remedy())]
        return []

    def _lies_in(self, folder: Path) -> bool:
        return os.path.exists(folder / self.stored_as)

    def _find_above(self) -> Path | None:
        """Find the right root among the folders above the given one."""
        return next((p for p in self.root.parents[:3] if self._lies_in(p)), None)

    def load(self) -> Raw:
        try:
            with (
                contextlib.redirect_stdout(io.StringIO()),
                _remove_empty_folders(self.root / self.stored_as),
            ):
                train, test = (
                    replace(self._read(train=train), classes=self.classes)
                    for train in (True, False)
                )
                return replace(train, test=test)
        except UserError:
            raise
        except Exception as error:  # torchvision raises many kinds, all for failed downloads
            name = type(self).__name__
            what = f"{name} was not found and could not be downloaded ({_summarize_failure(error)})"
            raise UserError(f"dataset.root={self.root}", what, self._choose_remedy()) from error

    def _choose_remedy(self) -> str:
        name = type(self).__name__
        return f"Write dataset.root=FOLDER with {name} in torchvision's layout."

    @abstractmethod
    def _read(self, *, train: bool) -> Raw:
        """Read one split: images uint8 [N, C, H, W], labels int64 [N]."""


class MNIST(Downloaded):
    """70,000 handwritten digits of 1 x 28 x 28 (LeCun et al. 1998)."""

    stored_as = "MNIST/raw"
    sample_shape = (1, 28, 28)

    def _read(self, *, train: bool) -> Raw:
        part = "train" if train else "t10k"
        names = (f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte")
        folder = self.root / type(self).__name__ / "raw"
        if any(_find_stored(folder / name) is None for name in names):
            import torchvision

            getattr(torchvision.datasets, type(self).__name__)(self.root, download=self.download)
        stored = [_find_stored(folder / name) or folder / name for name in names]
        images, mapping = read_idx(stored[0], self.sample_shape[1:])
        labels, _ = read_idx(stored[1], ())
        if len(images) != len(labels):
            what = f"holds {len(images)} images and {len(labels)} labels"
            raise UserError(str(folder), what, "Delete the folder to download it again.")
        return _build_raw(images[:, None], labels, mapping)


class FashionMNIST(MNIST):
    """70,000 articles of clothing of 1 x 28 x 28 (Xiao et al. 2017)."""

    stored_as = "FashionMNIST/raw"
    classes = (
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    )


class KMNIST(MNIST):
    """70,000 cursive Japanese characters of 1 x 28 x 28 (Clanuwat et al. 2018)."""

    stored_as = "KMNIST/raw"


class CIFAR10(Downloaded):
    """60,000 photographs of 3 x 32 x 32 in ten classes (Krizhevsky 2009)."""

    stored_as = "cifar-10-batches-py"
    sample_shape = (3, 32, 32)
    classes = (
        *("airplane", "automobile", "bird", "cat", "deer"),
        *("dog", "frog", "horse", "ship", "truck"),
    )
    checksums: ClassVar[dict[str, str]] = {
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        "test_batch": "40351d587109b95175f43aff81a1287e",
    }
    """MD5 checksums of the published files."""

    def _read(self, *, train: bool) -> Raw:
        folder = self.root / self.stored_as
        names = [name for name in self.checksums if (name != "test_batch") == train]
        if not all((folder / name).is_file() for name in names):
            import torchvision

            torchvision.datasets.CIFAR10(self.root, train=train, download=self.download)
        images, labels = np.empty(0, np.uint8), list[int]()
        for i, name in enumerate(names):
            batch = load_checked_pickle(folder / name, self.checksums[name])
            if i == 0:  # all batches have one size, so that no second copy is needed
                images = np.empty((len(names), *batch[b"data"].shape), np.uint8)
            images[i] = batch[b"data"]
            labels += batch[b"labels"]
            del batch  # before the next one is read
        return _build_raw(images.reshape(-1, *self.sample_shape), np.array(labels))


class SVHN(Downloaded):
    """99,289 house numbers of 3 x 32 x 32 (Netzer et al. 2011)."""

    stored_as = "train_32x32.mat"
    sample_shape = (3, 32, 32)

    def _read(self, *, train: bool) -> Raw:
        split = "train" if train else "test"
        file = self.root / f"{split}_32x32.mat"
        if not file.is_file():
            import torchvision

            torchvision.datasets.SVHN(self.root, split=split, download=self.download)
        try:
            stored = read_mat(file, ("X", "y"))
            images, labels = stored["X"], stored["y"].ravel()
            if images.shape != (len(labels), 3, 32, 32):
                raise ValueError(f"it has images of {images.shape} and {len(labels)} labels")
            if labels.min() < 1 or labels.max() > 10:
                raise ValueError("its labels are not between 1 and 10")
        except Exception as error:  # a damaged file raises many kinds
            remedy = "Delete the file to download it again."
            raise build_read_error(str(file), error, remedy) from error
        # [N, C, W, H] to [N, C, H, W], in place
        for rows in np.array_split(images, 1 + images.size // CHUNK):
            rows[:] = rows.swapaxes(2, 3).copy()
        return _build_raw(images, labels % 10)  # the file has 10 for the digit 0


@contextlib.contextmanager
def _remove_empty_folders(folder: Path) -> Iterator[None]:
    """Remove the empty folders that torchvision leaves after a failed download."""
    made = [path for path in (folder, *folder.parents) if not os.path.exists(path)]
    try:
        yield
    except Exception:
        for path in made:  # innermost first
            with contextlib.suppress(OSError):
                path.rmdir()
        raise


def _summarize_failure(error: Exception) -> str:
    """Summarize an exception of torchvision; of a download, the answer of the last mirror."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return shorten(f"{lines[0]} {lines[-1]}") if len(lines) > 1 else describe_error(error)


def _build_raw(images: np.ndarray, labels: np.ndarray, mapping: FileMap | None = None) -> Raw:
    targets = torch.from_numpy(labels.astype(np.int64))
    return Raw(as_tensor(images), targets, low=0, high=255, mapping=mapping)


def _find_stored(path: Path) -> Path | None:
    """Find the file or its compressed form, which is read without unpacking it to the disk."""
    return next((p for p in (path, path.with_name(path.name + ".gz")) if p.is_file()), None)
