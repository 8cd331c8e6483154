"""Fitting: tables of frequencies from codes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aeframe.codec.entropy.rans import TOTAL, Integers
from aeframe.codec.entropy.tables import FARTHEST, MOST_ENTRIES, MOST_SYMBOLS, Codes, Tables

CLUSTERS = (1, 32, 256)
ROUNDS = 6
PRIOR = 8.0  # weight of the frequencies of all samples in those of a cluster, in samples
UNSEEN = 0.1  # count of numbers in the range that never occurred


def fit(codes: Codes, held_out: Codes) -> Tables:
    """Fit tables to codes, [n, m], n > 0. held_out: other codes, which decide the number of clusters."""
    counts = Counts(codes)
    possible = (k for k in CLUSTERS if k <= len(codes) and k * counts.everyone.size <= MOST_ENTRIES)
    return min(
        (counts.fit_tables(k) for k in possible), key=lambda tables: estimate_bits(tables, held_out)
    )


def estimate_bits(tables: Tables, codes: Codes) -> float:
    """Estimate the bits of coded samples, without the overhead of a file."""
    return float(count_bits(tables, codes).sum(dtype=np.float64))


def count_bits(tables: Tables, codes: Codes) -> NDArray[np.float32]:
    """Count the bits of each coded sample, [n]."""
    return tables.find_cheapest(tables.find_symbols(codes))[1]


class Counts:
    """Counts of each number in codes, [n, m]."""

    def __init__(self, given: Codes) -> None:
        codes = given.astype(np.int64)  # differences may need 33 bits
        low, high = codes.min(0), codes.max(0)
        # a unit with more numbers than fit into a table keeps those around its median
        middle = np.median(codes, axis=0).astype(np.int64) - MOST_SYMBOLS // 2
        middle = np.maximum(middle, -FARTHEST)
        self.low = np.where(high - low < MOST_SYMBOLS, low, middle)
        last = np.minimum(high - self.low + 1, MOST_SYMBOLS)
        self.occurs = np.arange(last.max() + 1) <= last[:, None]
        symbols = codes - self.low + 1
        self.codes, self.symbols = codes, np.where((symbols < 1) | (symbols > last), 0, symbols)
        everyone = self._count(np.zeros(len(codes), np.int64), 1)[0] + UNSEEN * self.occurs
        self.everyone = everyone / everyone.sum(1, keepdims=True)

    def fit_tables(self, clusters: int) -> Tables:
        """Fit tables and clusters in turns, so that each code is in its cheapest cluster.

        This is Lloyd's algorithm with the length of the code as distance.
        """
        if clusters == 1:
            return self._make_tables(np.zeros(len(self.codes), np.int64), 1)
        from sklearn.cluster import (
            MiniBatchKMeans,  # imported late: it takes half a second
        )

        means = MiniBatchKMeans(clusters, random_state=0, n_init=1, max_iter=20, batch_size=4096)
        tables = self._make_tables(means.fit_predict(self.codes.astype(np.float32)), clusters)
        for _ in range(ROUNDS):
            assigned, _ = tables.find_cheapest(self.symbols)
            tables = self._make_tables(assigned, clusters)
        return tables

    def _count(self, assigned: Integers, clusters: int) -> Integers:
        """Count each symbol in each cluster and unit, [K, m, S]."""
        m, symbols = self.occurs.shape
        places = (assigned[:, None] * m + np.arange(m)) * symbols + self.symbols
        found = np.bincount(places.ravel(), minlength=clusters * m * symbols)
        return found.reshape(clusters, m, symbols)

    def _make_tables(self, assigned: Integers, clusters: int) -> Tables:
        units = self._count(assigned, clusters) + PRIOR * self.everyone
        names = np.bincount(assigned, minlength=clusters) + UNSEEN
        return Tables(
            self.low.astype(np.int32),
            to_frequencies(units, self.occurs).astype(np.uint16),
            to_frequencies(names, np.ones(clusters, bool)).astype(np.int32),
        )


def to_frequencies(shares: np.ndarray, occurs: np.ndarray) -> Integers:
    """Round shares, [..., S], to whole numbers with sum TOTAL; at least 1 for symbols that occur."""
    free = TOTAL - occurs.sum(-1, keepdims=True)
    found = occurs + np.floor(shares / shares.sum(-1, keepdims=True) * free).astype(np.int64)
    most = found.argmax(-1)[..., None]
    rest = TOTAL - found.sum(-1, keepdims=True)
    np.put_along_axis(found, most, np.take_along_axis(found, most, -1) + rest, -1)
    return found
