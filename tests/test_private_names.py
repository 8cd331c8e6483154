"""Private names of other libraries: each is in a list, in one of two places, with a reason beside it."""

from __future__ import annotations

import ast
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

from tests.support.private_names import find_uses

PACKAGE = Path(__file__).parents[1] / "aeframe"
REASON = "# private: "
PLACES = ("training/speed/", "training/lightning_adapter.py")
USED = {
    "training/lightning_adapter.py": {
        "pytorch_lightning.loops.fit_loop._FitLoop",
        "pytorch_lightning.loops.training_epoch_loop._TrainingEpochLoop",
        "._signal_connector",
    },
    "training/speed/steps_ahead.py": {"._batches_that_stepped", "._data_fetcher"},
}
SETTINGS = {
    "sys.argv = ",
    "sys.stdout = ",
    "threading.excepthook = ",
    "PIL.Image.MAX_IMAGE_PIXELS = ",
    "torch.benchmark = ",  # of torch.backends.cudnn
}
"""Attributes of other libraries' modules that their manuals say may be set."""

PROTOCOLS = {"DataFrame._constructor", "DataFrame._repr_html_"}
"""Methods that the manuals of pandas and IPython tell a subclass to define."""

uses_in = cache(find_uses)  # which takes seconds


def found_in(package: Path) -> dict[str, set[str]]:
    names = defaultdict(set)
    for use in uses_in(package):
        if use.name not in SETTINGS | PROTOCOLS:
            names[use.file].add(use.name)
    return dict(names)


def test_every_private_name_is_in_the_list() -> None:
    assert found_in(PACKAGE) == USED
    assert [file for file in USED if not file.startswith(PLACES)] == []


def _has_reason(lines: list[str], line: int, taken: set[int]) -> bool:
    """Look above a line for a comment. Lines in between have other private names. Lines count from 1."""
    while line - 1 in taken or lines[line - 2].strip().startswith("# "):
        line -= 1
    return lines[line - 1].strip().startswith(REASON)


def test_each_has_a_comment_that_says_why() -> None:
    unexplained = []
    for file, names in USED.items():
        lines = (PACKAGE / file).read_text().splitlines()
        uses = [use for use in uses_in(PACKAGE) if use.file == file and use.name in names]
        taken = {use.line for use in uses}
        for name in names:
            starts = {use.line for use in uses if use.name == name}
            if not any(_has_reason(lines, line, taken) for line in starts):
                unexplained.append((file, name))
    assert unexplained == []


CODE = {
    "import other._inner": "other._inner",
    "from other._inner import thing": "other._inner.thing",
    "from other import _thing": "other._thing",
    "import other\nother.thing = 1": "other.thing = ",
    "import other\nother.part.thing = 1": "other.thing = ",
    "import other.part as short\nshort.thing = 1": "other.part.thing = ",
    "x._thing": "._thing",
    "x._thing.method = 1": "._thing",
    "x.y._thing += 1": "._thing",
    "getattr(x, '_thing', None)": "._thing",
    "class A(B):\n    def _f(self):\n        return super()._f()": "._f",
    "from json import JSONEncoder\nimport json\nclass A(json.JSONEncoder):\n    def _f(self): ...": None,
    "from argparse import ArgumentParser\nclass A(ArgumentParser):\n    def _check_value(self): ...": (
        "ArgumentParser._check_value"
    ),
    "import argparse\nclass A(argparse.ArgumentParser):\n    def _check_value(self): ...": (
        "ArgumentParser._check_value"
    ),
    "from aeframe.core import _thing": None,
    "class A:\n    _thing = 1\nA._thing": None,
    "class A:\n    def __init__(self): self._thing = 1\nx._thing": None,
    "x.__class__, x.thing, _": None,
    "import os\nos._exit(1)": None,
    "pair._replace(a=1)": None,
    "import other\nother.thing": None,
    "thing = 1\nthing.part = 1": None,
}


@pytest.mark.parametrize(("code", "name"), CODE.items(), ids=[repr(code)[:60] for code in CODE])
def test_it_is_found_in(code: str, name: str | None, tmp_path: Path) -> None:
    ast.parse(code)
    (tmp_path / "file.py").write_text(code)
    assert found_in(tmp_path) == ({} if name is None else {"file.py": {name}})
