"""The known name that was probably meant."""

from __future__ import annotations

import pytest

from aeframe.core.errors import find_closest


@pytest.mark.parametrize(
    ("name", "meant"),
    [("Rl", "RI"), ("r1", "RI"), ("TYPE", "Type"), ("Tpye", "Type"), ("RI", "RI"), ("x", None)],
)
def test_case_and_characters_that_look_alike_do_not_hide_a_name(
    name: str, meant: str | None
) -> None:
    assert find_closest(name, ["Na", "RI", "Type", "K"]) == meant
