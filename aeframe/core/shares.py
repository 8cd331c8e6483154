"""Shares, written as percentages."""

from __future__ import annotations

import math


def format_share(share: float) -> str:
    """Write a share in %, without decimals; less than all is never 100%."""
    if 0.995 <= share < 1:
        return f"{math.floor(share * 1000) / 10:.1f}%"
    return f"{share:.0%}"
