"""From a configuration to objects: all mistakes at once, before data or device."""

from aeframe.config.build import Built, build, check

__all__ = ["Built", "build", "check"]
