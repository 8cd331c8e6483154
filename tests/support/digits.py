"""Digits as stored, and what is refused of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from aeframe.core.errors import UserError

DIGITS = load_digits().images.astype(np.uint8)[:, None]


def refused(function: Callable[[], Any]) -> str:
    with pytest.raises(UserError) as raised:
        function()
    (problem,) = raised.value.problems
    return str(problem)
