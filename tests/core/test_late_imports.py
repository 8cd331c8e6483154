"""Imports are not garbage, and a search for garbage leaves them out."""

from __future__ import annotations

import gc
from importlib import import_module
from pathlib import Path

import pytest

from aeframe.core.late_imports import protect_imports


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules `late_0` and `late_1` with a list each."""
    for number in range(2):
        (tmp_path / f"late_{number}.py").write_text("import gc\nKEPT = [[]]\nON = gc.isenabled()\n")
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("modules")
def test_a_command_leaves_out_what_exists_after_a_first_import() -> None:
    frozen = gc.get_freeze_count()
    with protect_imports(owns_process=True):
        module = import_module("late_0")
    assert not module.ON
    assert gc.isenabled()
    assert gc.get_freeze_count() > frozen
    assert not any(each is module.KEPT for each in gc.get_objects())
    made = list[list[int]]([[]])
    with protect_imports(owns_process=True):
        import_module("late_0")  # no first import: an earlier job may have left garbage
    assert any(each is made for each in gc.get_objects())


@pytest.mark.usefixtures("modules")
def test_a_library_lets_its_caller_s_objects_be_searched() -> None:
    with protect_imports():
        module = import_module("late_1")
    assert not module.ON
    assert gc.isenabled()
    assert any(each is module.KEPT for each in gc.get_objects())
