"""Watches training, and says in a sentence what ails it and what to try."""

from aeframe.doctor.base import Finding
from aeframe.doctor.doctor import Doctor

__all__ = ["Doctor", "Finding"]
