"""Epoch of training: what stays as it is for its length."""

from __future__ import annotations

from typing import NamedTuple


class Epoch(NamedTuple):
    """What stays as it is for one epoch, and takes Lightning longer to find out than a small step.

    number: from 0. steps: of the optimizer. images: for each step, over all ranks and on the average.
    logged: one step of so many is written, and at least one of the epoch.
    """

    number: int
    steps: int
    images: float
    logged: int
    rank: int
    world: int
