"""What can be wrong with a compressed file."""

from __future__ import annotations

from pathlib import Path

from aeframe.core.errors import UserError


class DamagedError(Exception):
    """Bytes that no encoder wrote. Its text goes on from the name of what is damaged."""


class ContainerError(UserError):
    """A compressed file that cannot be read as what it should be."""

    def __init__(self, file: Path | str, what: str, remedy: str = "") -> None:
        super().__init__(str(file), what, remedy)


class NotAnAezError(ContainerError):
    """The file was never one of ours."""


class UnsupportedVersionError(ContainerError):
    """The file is of another version of the format."""


class TruncatedError(ContainerError):
    """The file ends early."""


class ChecksumError(ContainerError):
    """The file's bytes are not those that were written."""


class ModelMismatchError(ContainerError):
    """Another model wrote the file."""


class UnlikeError(ContainerError):
    """What the model cannot bring back well enough."""
