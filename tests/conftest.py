"""The tests' processes: what they import, and which tests come first."""

from __future__ import annotations

import os
import sys

import pytest

sys.dont_write_bytecode = False  # or each of the tests' processes compiles all modules anew
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
os.environ.setdefault("OMP_NUM_THREADS", "1")  # or numpy's threads wait for each other on all cores

FIRST = {
    *("test_sweep_resumed.py", "test_estimators.py", "test_hardware.py", "test_slurm.py"),
    *("test_package.py", "test_any_value.py", "test_torture.py", "test_resume.py"),
}
"""Files with long tests, of which none is left when all other tests are done."""


def pytest_configure(config: pytest.Config) -> None:
    """Import the fixtures, but not where pytest-xdist only distributes the tests."""
    if config.getoption("dist", "no") == "no":
        config.pluginmanager.import_plugin("tests.support.fixtures")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in FIRST)
