"""Every run that trains can be put to every use: a few random configurations; many by hand.

python -m tests.random_runs 300 0
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.conftest import TINY
from tests.random_runs import put_to_use, tried


def test_what_trains_can_be_used() -> None:
    came = [tried(seed)[1] for seed in range(6)]  # each raises where it cannot
    assert "used" in came


def test_a_range_of_whole_numbers_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.random.default_rng(0).integers(0, 256, (40, 1, 5, 5), np.uint8))
    words = ("model=denoising", "constraint=salt_and_pepper", "dataset.normalization=none")
    data = ("dataset=array", "dataset.path=x.npy", "network.widths=[]")
    assert put_to_use([*TINY, *words, *data], tmp_path) == "used"
