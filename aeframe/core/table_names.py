"""Names of files that are tables."""

from __future__ import annotations

TEXTS, PARQUETS = (".csv", ".tsv", ".tab", ".txt"), (".parquet", ".pq")
ENDINGS = (*TEXTS, *(f"{ending}.gz" for ending in TEXTS), *PARQUETS)
"""Endings of the files that are tables."""


def is_table(name: str) -> bool:
    """Check whether a file's name ends like that of a table."""
    return name.lower().endswith(ENDINGS)
