"""Photographs of any size as bytes, and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aeframe.codec import photographs
from aeframe.codec.errors import DamagedError
from aeframe.codec.fitting import Counts, estimate
from aeframe.codec.tables import Tables
from tests.test_tiles import made

STEP, PATCH = 0.05, 4


def codes_of(height: int, width: int, channels: int = 5) -> np.ndarray:
    rows = -(-height // PATCH) * -(-width // PATCH)
    return np.random.default_rng(rows).laplace(0, 2, (rows, channels)).round().astype(np.int32)


@pytest.fixture(scope="module")
def tables() -> Tables:
    return Counts(codes_of(200, 200)).tables(16)


@settings(max_examples=25)
@given(height=st.integers(1, 60), width=st.integers(1, 60), band=st.integers(1, 300))
def test_a_map_of_any_size_comes_back_as_it_was(
    tables: Tables, height: int, width: int, band: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(photographs, "BAND", band)
        codes = codes_of(height, width)
        codes[0, 0] = 10_000  # that no table has
        payload = photographs.packed(tables, codes, height, width)
        assert photographs.size_of(payload) == (height, width)
        assert np.array_equal(photographs.unpacked(tables, payload, PATCH), codes)


def test_the_bytes_are_those_of_the_estimate(tables: Tables) -> None:
    codes = codes_of(400, 600)
    payload = photographs.packed(tables, codes, 400, 600)
    bands = -(-len(codes) // photographs.BAND)
    estimated = estimate(tables, codes) / 8
    assert estimated < len(payload) < 1.002 * estimated + 8 + bands * 40


def test_every_cut_and_every_wrong_size_has_a_name(tables: Tables) -> None:
    payload = photographs.packed(tables, codes_of(9, 13), 9, 13)
    for length in range(len(payload)):
        with pytest.raises(DamagedError):
            photographs.unpacked(tables, payload[:length], PATCH)
    with pytest.raises(DamagedError, match="goes on behind an image"):
        photographs.unpacked(tables, payload + b"\0", PATCH)
    for size in ((0, 13), (2**31, 2**31), (9, 2**30)):
        with pytest.raises(DamagedError, match="claims an image"):
            photographs.unpacked(tables, photographs.SIZE.pack(*size) + payload[8:], PATCH)
    for size in ((13, 13), (5, 5), (2**13, 2**13)):
        with pytest.raises(DamagedError):
            photographs.unpacked(tables, photographs.SIZE.pack(*size) + payload[8:], PATCH)


def test_maps_by_position_and_back() -> None:
    maps = np.arange(2 * 3 * 4, dtype=np.int32).reshape(2, 3 * 4)
    rows = photographs.by_position(maps, 3)
    assert rows.shape == (8, 3)
    assert rows[0].tolist() == [0, 4, 8]
    assert rows[5].tolist() == [13, 17, 21]
    flat = np.arange(6, dtype=np.int32).reshape(2, 3)
    assert np.array_equal(photographs.by_position(flat, 3), flat)


@pytest.mark.parametrize(("colors", "height", "width"), [(3, 37, 50), (1, 1, 1), (3, 64, 5)])
def test_a_photograph_is_what_the_network_makes_of_its_rounded_code(
    colors: int, height: int, width: int
) -> None:
    net = made(colors, PATCH, 2, [5])
    image = np.random.default_rng(0).integers(0, 256, (colors, height, width), np.uint8)
    codes = photographs.rounded(net, image, STEP)
    tables = Counts(codes).tables(1)
    payload = photographs.packed(tables, codes, height, width)
    back = photographs.unpacked(tables, payload, PATCH)
    found = photographs.restored(net, back, STEP, *photographs.size_of(payload))
    assert found.shape == image.shape
    expected = photographs.restored(net, codes, STEP, height, width)
    np.testing.assert_array_equal(found, expected)
