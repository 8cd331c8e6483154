"""Version of aeframe."""

__version__ = "0.1.0"
