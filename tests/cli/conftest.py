"""Fixtures of the tests of verbs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aeframe.config.node import to_plain
from aeframe.runs.model_file import save
from aeframe.training.build import build


@pytest.fixture
def made(compose: Callable[..., Any], tmp_path: Path) -> Callable[..., Path]:
    """An untrained network in ./made, with the configuration of these overrides."""

    def make(*overrides: str) -> Path:
        node = to_plain(compose(*overrides))
        built = build(node)
        (tmp_path / "made").mkdir()
        save(tmp_path / "made", built.net.eval(), built.node, built.data, {})
        return tmp_path / "made"

    return make


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twelve color photographs of noise in two folders, in several formats."""
    generator = np.random.default_rng(0)
    for i in range(12):
        folder = tmp_path / "photos" / ("a" if i < 7 else "b")
        folder.mkdir(parents=True, exist_ok=True)
        pixels = generator.integers(0, 255, size=(20 + i, 30, 3), dtype=np.uint8)
        ending = ("png", "jpg", "bmp")[i % 3]
        Image.fromarray(pixels).save(folder / f"{i // 3}.{ending}")
    return tmp_path / "photos"
