"""Data sets of tests, in the files of published ones."""

from __future__ import annotations

from hashlib import md5
from pathlib import Path

from aeframe.data import CIFAR10


class LocalCIFAR10(CIFAR10):
    """CIFAR-10 that takes the files that lie in its root now for the published ones."""

    def __init__(self, root: Path) -> None:
        super().__init__(root=str(root), download=False)
        files = sorted((root / self.stored_as).iterdir())
        self.checksums = {file.name: md5(file.read_bytes()).hexdigest() for file in files}  # type: ignore[misc]
