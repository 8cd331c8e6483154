"""Errors of compressed files."""

from __future__ import annotations

from pathlib import Path

from aeframe.core.errors import UserError


class DamagedError(Exception):
    """Bytes that no encoder wrote. Its text follows the name of the damaged part."""


class ContainerError(UserError):
    """A compressed file that cannot be read or written."""

    def __init__(self, file: Path | str, what: str, remedy: str = "") -> None:
        super().__init__(str(file), what, remedy)


class NotAnAezError(ContainerError):
    """The file is not an .aez file."""


class UnsupportedVersionError(ContainerError):
    """The file is of another version of the format."""


class TruncatedError(ContainerError):
    """The file ends early."""


class ChecksumError(ContainerError):
    """The file's bytes are not those that were written."""


class ModelMismatchError(ContainerError):
    """Another model wrote the file."""


class UnlikeError(ContainerError):
    """The samples are unlike the training data."""
