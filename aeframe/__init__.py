"""aeframe: autoencoders trained from configuration.

run = aeframe.train(["model=sparse"], data=images)
model = aeframe.load("outputs/DAY/RUN")
codes = model.encode(images)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from aeframe.core.version import __version__

if TYPE_CHECKING:
    from aeframe.core.errors import ConfigError, TrainingError, UserError
    from aeframe.interface import sweep, train
    from aeframe.runs.model import Model
    from aeframe.runs.model_file import load
    from aeframe.runs.run_results import Run

PLACES = {
    "ConfigError": "aeframe.core.errors",
    "Model": "aeframe.runs.model",
    "Run": "aeframe.runs.run_results",
    "TrainingError": "aeframe.core.errors",
    "UserError": "aeframe.core.errors",
    "load": "aeframe.runs.model_file",
    "sweep": "aeframe.interface",
    "train": "aeframe.interface",
}
"""Public names, and the modules that define them."""
__all__ = [
    "ConfigError",
    "Model",
    "Run",
    "TrainingError",
    "UserError",
    "__version__",
    "load",
    "sweep",
    "train",
]


def __getattr__(name: str) -> Any:
    """Import names at their first use: the command line answers sooner without torch."""
    if name not in PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(PLACES[name]), name)


def __dir__() -> list[str]:
    """List the public names, including those that are not imported yet."""
    return [*__all__, "__doc__", "__file__", "__name__"]
