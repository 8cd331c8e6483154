"""Tables: the frequencies of whole numbers in each unit of a code, for the entropy coder.

There is one table for each unit, or one for each unit and cluster of samples. The cluster of a sample is
coded before its units.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from aeframe.codec.container.file_errors import DamagedError
from aeframe.codec.entropy.rans import BITS, PER_LANE, Alphabets, Decoder, Integers, encode

Codes = NDArray[np.int32]

ESCAPE = 0  # symbol of a number without one; the number follows after all symbols
ESCAPED_BITS = 32
FARTHEST = 2**30  # absolute value of a number
MOST_SYMBOLS = 2**12  # of a unit; other numbers are escaped
MOST_ENTRIES = 2**24  # of all tables
ROWS = 4096  # samples whose costs are computed at once


@dataclass(frozen=True)
class Tables:
    """Tables of frequencies with sum TOTAL. Raises ValueError for invalid tables.

    low: the number of symbol 1 in each unit, [m]. units: frequencies for each cluster, unit and symbol,
    [K, m, S]; 0 for symbols that the unit does not have. clusters: frequencies of the clusters, [K].
    """

    low: NDArray[np.int32]
    units: NDArray[np.uint16]
    clusters: NDArray[np.int32]

    def __post_init__(self) -> None:
        if self.units.ndim != 3 or not 0 < self.units.size <= MOST_ENTRIES:
            raise ValueError("the tables are empty or too large")
        count, m, _ = self.units.shape
        if self.low.shape != (m,) or self.clusters.shape != (count,):
            raise ValueError("the sizes of the tables do not match")
        occurs = self.units != 0
        if not (occurs[:, :, ESCAPE].all() and (occurs == occurs[0]).all() and self.clusters.all()):
            raise ValueError("a symbol that may occur has the frequency 0")
        if (np.abs(self.low.astype(np.int64)) > FARTHEST).any():
            raise ValueError("the tables have numbers that are too large")
        _ = self.alphabets  # checks the sums

    @property
    def m(self) -> int:
        """The number of code units."""
        return self.units.shape[1]

    @cached_property
    def alphabets(self) -> tuple[Alphabets, Alphabets]:
        """The alphabet of the clusters, and those of the units, cluster by cluster."""
        rows = self.units.reshape(-1, self.units.shape[2])
        return Alphabets(self.clusters[None].astype(np.int64)), Alphabets(rows.astype(np.int64))

    @cached_property
    def _last(self) -> Integers:
        """The last symbol of each unit, [m]."""
        symbols = self.units.shape[2]
        return symbols - 1 - (self.units[0, :, ::-1] != 0).argmax(1)

    @cached_property
    def _bits(self) -> tuple[Tensor, Tensor]:
        """The bits of each symbol of each unit in each cluster, [m * S, K], and of the cluster, [K]."""
        units = BITS - np.log2(np.maximum(self.units, 1).astype(np.float32))
        units[:, :, ESCAPE] += ESCAPED_BITS
        own = BITS - np.log2(self.clusters.astype(np.float32))
        return torch.from_numpy(units.reshape(len(units), -1).T.copy()), torch.from_numpy(own)

    def find_symbols(self, codes: Codes) -> Integers:
        """Return the symbol of each number, [n, m]."""
        symbols = codes.astype(np.int64) - self.low + 1
        return np.where((symbols < 1) | (symbols > self._last), ESCAPE, symbols)

    def find_cheapest(self, symbols: Integers) -> tuple[Integers, NDArray[np.float32]]:
        """Find the cheapest cluster of each sample, [n], and its bits, those of the cluster included, [n]."""
        units, own = self._bits
        places = torch.from_numpy(symbols + np.arange(self.m) * self.units.shape[2])
        costs = (F.embedding_bag(rows, units, mode="sum") + own for rows in places.split(ROWS))
        bits, clusters = zip(*(cost.min(1) for cost in costs), strict=True)
        return torch.cat(clusters).numpy(), torch.cat(bits).numpy()

    def encode(self, codes: Codes, per_lane: int = PER_LANE) -> bytes:
        """Encode whole numbers, [n, m], n > 0, to bytes. per_lane: see choose_lanes."""
        symbols = self.find_symbols(codes)
        clusters, _ = self.find_cheapest(symbols)
        of_clusters, of_units = self.alphabets
        first = of_clusters.find_spans(np.zeros_like(clusters), clusters)
        rest = of_units.find_spans(self._list_tables(clusters), symbols.T.ravel())
        return encode([first, rest], per_lane) + codes[symbols == ESCAPE].astype("<i4").tobytes()

    def decode(self, stream: bytes, samples: int, per_lane: int = PER_LANE) -> Codes:
        """Decode bytes to whole numbers, [samples, m]. Raises DamagedError."""
        decoder = Decoder(stream, samples * (self.m + 1), per_lane)
        of_clusters, of_units = self.alphabets
        clusters = decoder.read(of_clusters, np.zeros(samples, np.int64))
        symbols = decoder.read(of_units, self._list_tables(clusters)).reshape(self.m, samples).T
        codes = (symbols + self.low - 1).astype(np.int32)
        escaped, rest = symbols == ESCAPE, decoder.read_rest()
        if len(rest) != 4 * np.count_nonzero(escaped):
            raise DamagedError("has a wrong number of escaped numbers")
        codes[escaped] = np.frombuffer(rest, "<i4")
        return codes

    def _list_tables(self, clusters: Integers) -> Integers:
        """Return the table of each symbol, unit by unit, [m * n]."""
        return (clusters * self.m + np.arange(self.m)[:, None]).ravel()
