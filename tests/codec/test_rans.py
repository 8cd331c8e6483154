"""Entropy coding is exact, as short as it can be, and no bytes make it do anything else than fail."""

from __future__ import annotations

import hashlib
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aeframe.codec.container.file_errors import DamagedError
from aeframe.codec.entropy import rans
from aeframe.codec.entropy.fitting import Counts, estimate_bits, fit, to_frequencies
from aeframe.codec.entropy.rans import TOTAL, Alphabets, Decoder, Spans
from aeframe.codec.entropy.tables import FARTHEST, Tables

Code = np.ndarray


def normal_codes(n: int, seed: int = 0) -> Code:
    """Two groups of samples; the units' widths differ, and one unit is always 3."""
    generator = np.random.default_rng(seed)
    scale = np.array([0.2, 1.0, 4.0, 0.0, 9.0])
    group = generator.integers(0, 2, (n, 1)) * np.array([3, 6, 20, 0, 50])
    return np.rint(generator.normal(size=(n, 5)) * scale + group + [0, 0, 0, 3, 0]).astype(np.int32)


@pytest.fixture(scope="module")
def tables() -> Tables:
    return fit(normal_codes(4000), normal_codes(500, seed=1))


@settings(max_examples=30)
@given(st.data())
def test_coded_symbols_are_decoded(data: st.DataObject) -> None:
    symbols = data.draw(st.integers(1, 40))
    shares = np.array(data.draw(st.lists(st.floats(0, 1), min_size=symbols, max_size=symbols)))
    rows = to_frequencies(
        np.stack([shares + 1e-9, shares[::-1] + 1e-9]), np.ones((2, symbols), bool)
    )
    alphabets, generator = Alphabets(rows), np.random.default_rng(data.draw(st.integers(0, 99)))
    sizes = data.draw(st.lists(st.integers(0, 5000), min_size=1, max_size=3))
    parts = [(generator.integers(0, 2, n), generator.integers(0, symbols, n)) for n in sizes]
    stream = rans.encode([alphabets.find_spans(*part) for part in parts])
    decoder = Decoder(stream + b"rest", sum(sizes))
    for which, expected in parts:
        assert np.array_equal(decoder.read(alphabets, which), expected)
    assert decoder.read_rest() == b"rest"


def test_the_length_is_that_of_shannon() -> None:
    generator, shares = np.random.default_rng(0), np.array([0.5, 0.3, 0.15, 0.05])
    alphabet = Alphabets(to_frequencies(shares[None], np.ones((1, 4), bool)))
    symbols = generator.choice(4, 200_000, p=shares)
    stream = rans.encode([alphabet.find_spans(np.zeros_like(symbols), symbols)])
    bits = -np.log2(shares[symbols]).sum()
    assert bits <= 8 * len(stream) <= 1.01 * bits + 64


def test_a_certain_symbol_costs_nothing() -> None:
    alphabet = Alphabets(np.array([[0, TOTAL, 0]]))
    ones = np.ones(100_000, np.int64)
    stream = rans.encode([alphabet.find_spans(0 * ones, ones)])
    assert len(stream) == 4 * rans.choose_lanes(len(ones))
    assert np.array_equal(Decoder(stream, len(ones)).read(alphabet, 0 * ones), ones)


@pytest.mark.parametrize("row", [[[1, 2]], [[TOTAL + 1, -1]], [[TOTAL, TOTAL]]])
def test_frequencies_that_are_none_are_refused(row: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="add up"):
        Alphabets(np.array(row))


def test_spans_are_the_same_on_every_machine() -> None:
    """Integers alone decide: the bytes are those of the day on which this was written."""
    generator = np.random.default_rng(0)
    rows = to_frequencies(generator.integers(1, 1000, (3, 17)), np.ones((3, 17), bool))
    which, symbols = generator.integers(0, 3, 20_000), generator.integers(0, 17, 20_000)
    stream = rans.encode([Alphabets(rows).find_spans(which, symbols)])
    digest = hashlib.sha256(stream).hexdigest()
    assert digest[:16] == "a3c684f1db15cf22"


@settings(max_examples=30)
@given(st.integers(1, 60), st.integers(0, 99))
def test_tables_bring_any_code_back(n: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    known = Counts(normal_codes(200)).fit_tables(2)
    codes = normal_codes(n, seed)
    far = generator.random(codes.shape) < 0.1  # what training never showed
    codes[far] = generator.integers(-FARTHEST, FARTHEST, far.sum())
    assert np.array_equal(known.decode(known.encode(codes), n), codes)


def test_groups_of_samples_get_tables_of_their_own(tables: Tables) -> None:
    alone = Counts(normal_codes(4000)).fit_tables(1)
    codes = normal_codes(3000, seed=2)
    assert len(tables.clusters) > 1
    assert len(tables.encode(codes)) < 0.9 * len(alone.encode(codes))


def test_the_estimate_is_what_a_stream_takes(tables: Tables) -> None:
    codes = normal_codes(20_000, seed=3)
    assert (
        estimate_bits(tables, codes)
        <= 8 * len(tables.encode(codes))
        <= 1.01 * estimate_bits(tables, codes)
    )


def test_every_number_within_the_range_of_a_unit_has_a_symbol() -> None:
    codes = np.array([[-2, 7], [5, 7], [5, 7]], np.int32)
    known = Counts(codes).fit_tables(1)
    assert known.units.sum(2).tolist() == [[TOTAL, TOTAL]]
    assert (known.units[0, 0] > 0).sum() == 1 + 8
    assert (known.units[0, 1] > 0).sum() == 1 + 1


def test_a_unit_of_many_numbers_has_those_around_its_median_in_its_table() -> None:
    codes = np.random.default_rng(0).integers(-9000, 9000, (500, 1)).astype(np.int32)
    known = Counts(codes).fit_tables(1)
    assert known.units.shape[2] <= 4097
    assert np.array_equal(known.decode(known.encode(codes), 500), codes)


def test_the_farthest_numbers_have_tables_too() -> None:
    codes = np.array(
        [[FARTHEST, -FARTHEST], [-FARTHEST, -FARTHEST], [-FARTHEST, FARTHEST]], np.int32
    )
    tables = fit(codes, codes)
    assert int(tables.low.min()) == -FARTHEST
    assert np.array_equal(tables.decode(tables.encode(codes), len(codes)), codes)


def test_no_change_of_a_stream_does_anything_else_than_fail_or_give_numbers(tables: Tables) -> None:
    stream = tables.encode(normal_codes(40, seed=4))
    for i in range(len(stream)):
        for changed in (stream[:i], stream[:i] + bytes([stream[i] ^ 0x55]) + stream[i + 1 :]):
            with suppress(DamagedError):
                assert tables.decode(changed, 40).shape == (40, 5)


@pytest.mark.parametrize("length", [0, 1, 3, 4, 5, 200])
def test_random_bytes_are_no_stream(tables: Tables, length: int) -> None:
    with pytest.raises(DamagedError):
        tables.decode(np.random.default_rng(length).bytes(length), 1000)


def test_tables_of_a_stranger_are_looked_at() -> None:
    known = Counts(normal_codes(50)).fit_tables(1)
    low, units, clusters = known.low, known.units, known.clusters
    escapes = units.copy()
    escapes[0, 0, 0] = 0
    for wrong in (
        (low[:-1], units, clusters),
        (low, units[0], clusters),
        (low, units[:, :, :0], clusters),
        (low, escapes, clusters),
        (low, np.maximum(units, 1), clusters),
        (low, units, np.array([5], np.int32)),
        (low, units, np.array([0], np.int32)),
        (low + np.int32(2**30 + 99), units, clusters),
    ):
        with pytest.raises(ValueError, match=r"tables|frequenc"):
            Tables(*wrong)


def test_spans_name_the_part_of_each_symbol() -> None:
    alphabet = Alphabets(np.array([[1, TOTAL - 1], [TOTAL - 5, 5]]))
    found = alphabet.find_spans(np.array([0, 0, 1]), np.array([0, 1, 1]))
    assert Spans(*map(list, found)) == ([1, TOTAL - 1, 5], [0, 1, TOTAL - 5])
