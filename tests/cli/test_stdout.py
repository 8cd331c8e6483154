"""Standard output that is full or closed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.runs import TINY

Command = Callable[..., tuple[int, str, str]]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("words", [TINY, ("--help",), ("--cfg", "job")])
def test_an_output_that_is_full_is_told_as_such(
    aeframe: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: tuple[str, ...]
) -> None:
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        status, _, err = aeframe(*words)
    assert status == 1
    what = "standard output could not be written (No space left on device)."
    assert err.startswith(f"aeframe: {what}")
    assert len(err.splitlines()) == 1
    assert not list(tmp_path.rglob("failed.txt"))


@pytest.mark.parametrize("words", [TINY, ("--help",), ("--cfg", "job")])
def test_an_output_that_is_closed_is_told_as_such(
    aeframe: Command, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    what = "standard output could not be written (Bad file descriptor)."
    assert aeframe(*words) == (1, "", f"aeframe: {what}\n")
