"""Entropy coding: range asymmetric numeral systems (Duda 2013, arXiv:1311.2540), in integers alone.

Many coders (lanes) work side by side, each on every n-th symbol, and write into one stream (Giesen 2014,
arXiv:1402.3392), so that a step of all of them is a few NumPy operations. The stream does not depend on the
machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aeframe.codec.container.file_errors import DamagedError

Integers = NDArray[np.int64]

BITS = 16
"""The frequencies in a table add up to 2 ** BITS."""
TOTAL = 1 << BITS
LOWEST = 1 << BITS  # a coder's state lies in [LOWEST, LOWEST << 16)
MOST_LANES = 128
PER_LANE = 4096  # symbols for each lane, so that the 4 bytes of its state do not matter


class Spans(NamedTuple):
    """Intervals of n symbols within 0..TOTAL: widths and starts, [n] each."""

    frequency: Integers
    start: Integers


class Alphabets:
    """Tables of frequencies of symbols.

    frequencies: whole numbers [tables, symbols]; each row adds up to TOTAL. A symbol with 0 does not occur.
    """

    def __init__(self, frequencies: Integers) -> None:
        self.ends = frequencies.cumsum(1).astype(np.int32)
        self.frequencies = frequencies.astype(np.int32)
        if (frequencies < 0).any() or (self.ends[:, -1] != TOTAL).any():
            raise ValueError(f"the frequencies in a table do not add up to {TOTAL}")

    def find_spans(self, tables: Integers, symbols: Integers) -> Spans:
        """Look up the interval of each symbol in its table. tables, symbols: [n]."""
        frequency = self.frequencies[tables, symbols].astype(np.int64)
        return Spans(frequency, self.ends[tables, symbols] - frequency)


def choose_lanes(symbols: int, per_lane: int = PER_LANE) -> int:
    """Choose the number of lanes for `symbols` symbols. It is part of the format."""
    return min(max(symbols // per_lane, 1), MOST_LANES)


def encode(parts: Sequence[Spans], per_lane: int = PER_LANE) -> bytes:
    """Encode parts to bytes, which a Decoder reads in the same order. All frequencies are above 0."""
    lanes = choose_lanes(sum(len(part.start) for part in parts), per_lane)
    state = np.full(lanes, LOWEST, np.int64)
    words = []
    for frequency, start in reversed(
        [step for part in parts for step in _split_steps(part, lanes)]
    ):
        x = state[: len(start)]
        full = x >= frequency << 16
        words.append((x[full] & 0xFFFF).astype("<u2"))
        quotient, rest = np.divmod(np.where(full, x >> 16, x), frequency)
        state[: len(start)] = (quotient << BITS) + rest + start
    return b"".join([state.astype("<u4").tobytes(), *(w.tobytes() for w in reversed(words))])


def _split_steps(part: Spans, lanes: int) -> Iterator[Spans]:
    for i in range(0, len(part.start), lanes):
        yield Spans(part.frequency[i : i + lanes], part.start[i : i + lanes])


class Decoder:
    """Decoder of the bytes of `encode`. symbols: number of symbols in all parts."""

    def __init__(self, stream: bytes, symbols: int, per_lane: int = PER_LANE) -> None:
        size = 4 * choose_lanes(symbols, per_lane)
        if len(stream) < size:
            raise DamagedError("is shorter than the states of its lanes")
        self.state = np.frombuffer(stream[:size], "<u4").astype(np.int64)
        self.words = np.frombuffer(stream, "<u2", (len(stream) - size) // 2, size)
        self.stream, self.position = stream, 0

    def read(self, alphabets: Alphabets, tables: Integers) -> Integers:
        """Read the next part: one symbol from each of the tables, [n]."""
        lanes, found = len(self.state), np.empty(len(tables), np.int64)
        for i in range(0, len(tables), lanes):
            found[i : i + lanes] = self._step(alphabets, tables[i : i + lanes])
        return found

    def _step(self, alphabets: Alphabets, tables: Integers) -> Integers:
        x = self.state[: len(tables)]
        slot = x & (TOTAL - 1)
        symbols = (alphabets.ends[tables] <= slot.astype(np.int32)[:, None]).argmin(1)
        frequency, start = alphabets.find_spans(tables, symbols)
        x = frequency * (x >> BITS) + slot - start
        empty = np.flatnonzero(x < LOWEST)
        words = self.words[self.position : self.position + len(empty)]
        if len(words) < len(empty):
            raise DamagedError("ends before its last symbol")
        x[empty] = (x[empty] << 16) | words
        self.state[: len(tables)] = x
        self.position += len(empty)
        return symbols

    def read_rest(self) -> bytes:
        """Return the bytes that follow the symbols, after all were read. Raises DamagedError."""
        if (self.state != LOWEST).any():
            raise DamagedError("has a wrong final state")
        return self.stream[4 * len(self.state) + 2 * self.position :]
