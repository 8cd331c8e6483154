"""aeframe: autoencoders trained from configuration.

model = aeframe.load("outputs/DAY/RUN")
codes = model.encode(images)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aeframe.core.version import __version__

if TYPE_CHECKING:
    from aeframe.runs.model import Model
    from aeframe.runs.model_file import load

__all__ = ["Model", "__version__", "load"]


def __getattr__(name: str) -> Any:
    """Import names that need torch at their first use: the command line answers sooner without."""
    if name not in ("Model", "load"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from aeframe.runs import model_file as artifact

    return getattr(artifact, name)


def __dir__() -> list[str]:
    """List the public names, including those that are not imported yet."""
    return [*__all__, "__doc__", "__file__", "__name__"]
