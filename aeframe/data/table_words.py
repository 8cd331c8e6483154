"""Words by which a user chooses the type of a table's column."""

from __future__ import annotations


def write_type(name: str, kind: str) -> str:
    """Write the override that gives a column a type, quoted for the shell where its name needs it."""
    if name.isascii() and name.isidentifier():
        return f"dataset.types.{name}={kind}"
    return f"'dataset.types={{{name}: {kind}}}'"
