from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.compat.tensorflow_stub import pywrap_tensorflow

from aeframe.monitoring import crc32c as checksum
from aeframe.monitoring.event_files import Curves


def test_published_values() -> None:
    """RFC 3720, B.4, and the check value of the catalogue of CRCs."""
    assert checksum.crc32c(b"123456789") == 0xE3069283
    assert checksum.crc32c(bytes(32)) == 0x8A9136AA
    assert checksum.crc32c(bytes(range(32))) == 0x46DD794E


@settings(max_examples=40, deadline=None)
@given(
    size=st.one_of(
        st.integers(0, 3 * checksum.SHORT),
        st.sampled_from([n * checksum.BLOCK + d for n in (32, 64, 128) for d in (-1, 0, 1)]),
    ),
    seed=st.integers(0, 2**32 - 1),
)
def test_it_is_tensorboards(size: int, seed: int) -> None:
    data = np.random.default_rng(seed).bytes(size)
    assert checksum.crc32c(data) == checksum._one_by_one(data)


def test_large_events_are_read_by_tensorboards_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = Curves(tmp_path)
    assert pywrap_tensorflow.crc32c is checksum.crc32c
    logger.experiment.add_text("large", "x" * 10 * checksum.SHORT)
    logger.finalize("success")
    monkeypatch.setattr(pywrap_tensorflow, "crc32c", checksum._one_by_one)
    (file,) = tmp_path.glob("events.out.tfevents.*")
    (found,) = [e for e in EventFileLoader(str(file)).Load() if e.summary.value]
    assert found.summary.value[0].tensor.string_val[0] == b"x" * 10 * checksum.SHORT
