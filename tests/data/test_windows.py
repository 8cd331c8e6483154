"""Windows of series: views, segments without gaps, splits in time, and averages where they overlap."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aeframe.core.errors import UserError
from aeframe.data import DataModule, Raw, Source
from aeframe.data.source import Samples
from aeframe.data.splits import Splitting
from aeframe.data.windows import (
    OverlapAverage,
    WindowRows,
    choose_stride,
    find_segments,
    list_starts,
)

SERIES = {
    "lengths": st.lists(st.integers(1, 40), min_size=1, max_size=5),
    "window": st.integers(2, 9),
    "stride": st.integers(1, 7),
}
"""Lengths of the parts of a series with a gap between each two, and its windows."""


def parts_of(lengths: list[int]) -> np.ndarray:
    """Two channels whose values are the numbers of their steps, with a gap in one of them between parts."""
    values = np.arange(2 * (sum(lengths) + len(lengths)), dtype=np.float32).reshape(2, -1)
    place = 0
    for length in lengths:
        place += length
        values[place % 2, place] = np.nan
        place += 1
    return values


def rows_of(values: np.ndarray, window: int, stride: int) -> WindowRows:
    starts = list_starts(find_segments(values), window, stride)
    return WindowRows(torch.from_numpy(values), torch.from_numpy(starts), window)


@given(**SERIES)
def test_windows_are_all_those_that_span_no_gap(
    lengths: list[int], window: int, stride: int
) -> None:
    values, expected, begin = parts_of(lengths), [], 0
    for length in lengths:
        expected += [begin + i for i in range(0, length - window + 1, stride)]
        begin += length + 1
    if values.shape[1] < window:
        return
    rows = rows_of(values, window, stride)
    assert rows.starts.tolist() == expected
    assert rows.shape == (len(expected), 2, window)
    wanted = np.stack([values[:, i : i + window] for i in expected] or [np.zeros((2, window))])
    assert not np.isnan(wanted).any()
    assert rows.read_all().tolist() == wanted[: len(expected)].tolist()
    chosen = torch.arange(0, len(expected), 2, dtype=torch.int32)
    assert rows.select(chosen).tolist() == wanted[: len(expected)][::2].tolist()
    parts = [chunk for _, chunk in rows.read_chunks()]
    assert sum(map(len, parts)) == len(expected)


def test_a_jump_in_time_ends_a_segment_and_whole_numbers_have_no_gaps() -> None:
    assert find_segments(np.ones((2, 9), np.int16)) == [(0, 9)]
    assert find_segments(np.ones((2, 9), np.float32), (4,)) == [(0, 4), (4, 9)]
    values = np.ones((1, 6), np.float32)
    values[0, [0, 3, 5]] = np.nan
    assert find_segments(values) == [(1, 3), (4, 5)]
    assert find_segments(values, (2,)) == [(1, 2), (2, 3), (4, 5)]


def test_windows_share_the_memory_of_the_series() -> None:
    values = np.zeros((3, 50_000), np.float32)
    rows = rows_of(values, 1000, 1)
    assert len(rows) == 49_001
    assert rows.nbytes == values.nbytes
    assert rows.is_in_memory
    values[1, 7] = 5
    assert rows.select(torch.tensor([0]))[0, 1, 7] == 5, "a view"
    assert rows._views.untyped_storage().data_ptr() == values.ctypes.data
    raw = Raw(rows)
    assert raw.copy_to_memory() is raw, "no copy of each window"
    moved = raw.copy_to(torch.device("cpu")).rows
    assert isinstance(moved, WindowRows)
    assert torch.equal(moved.select(torch.tensor([3, 1])), rows.select(torch.tensor([3, 1])))


@given(
    **SERIES,
    val=st.sampled_from([0.0, 0.1, 0.3, 0.6]),
    test=st.sampled_from([0.1, 0.3, 0.6]),
    seed=st.integers(0, 3),
)
def test_splits_follow_each_other_in_time_and_share_no_step(
    lengths: list[int], window: int, stride: int, val: float, test: float, seed: int
) -> None:
    values = parts_of(lengths)
    if values.shape[1] < window:
        return
    rows = rows_of(values, window, stride)
    n = len(rows)
    splits, told = dict[str, Samples](), ""
    try:
        splits = Splitting(seed, val, test).split(Raw(rows))
    except UserError as error:
        told = str(error)
    if told:
        assert "no windows are left to train on" in told
        return
    steps = {
        split: {int(rows.starts[row]) + i for row in samples.index.tolist() for i in range(window)}
        for split, samples in splits.items()
    }
    assert set(splits) == ({"train", "val", "test"} if val else {"train", "test"})
    assert len(splits["test"]) == max(1, round(test * n))
    for one, other in (("train", "test"), ("train", "val"), ("val", "test")):
        if one in steps and other in steps:
            assert not steps[one] & steps[other]
            assert max(steps[one]) < min(steps[other])
    used = {row for samples in splits.values() for row in samples.index.tolist()}
    for row in (
        set(range(n)) - used
    ):  # a window is left out only where it would overlap a later split
        own = set(range(int(rows.starts[row]), int(rows.starts[row]) + window))
        later = steps["test"] | steps.get("val", set())
        assert own & later


def test_too_few_windows_are_an_error_with_numbers() -> None:
    rows = rows_of(np.zeros((1, 29), np.float32), 10, 1)
    with pytest.raises(UserError) as error:
        Splitting(0, 0.1, 0.1).split(Raw(rows))
    assert str(error.value) == (
        "dataset.window: no windows are left to train on: of 20, the test takes 2, validation 2, and others "
        "overlap these. Write a smaller one than 10, a smaller dataset.stride, or give longer series."
    )


@given(**SERIES)
def test_averages_where_windows_overlap(lengths: list[int], window: int, stride: int) -> None:
    values = parts_of(lengths)
    steps = values.shape[1]
    segments = find_segments(values)
    starts = list_starts(segments, window, stride, to_the_end=True)
    found = np.random.default_rng(0).normal(size=(len(starts), 2, window))
    total, times = np.zeros((2, steps)), np.zeros(steps)
    for one, start in zip(found, starts.tolist(), strict=True):
        total[:, start : start + window] += one
        times[start : start + window] += 1
    made = OverlapAverage(2, steps)
    for some in (slice(0, 3), slice(3, None)):
        made.add(starts[some], found[some])
    average = made.compute()
    assert np.allclose(average[:, times > 0], (total / np.maximum(times, 1))[:, times > 0])
    covered = {i for a, b in segments if b - a >= window for i in (a, b - 1)}
    assert covered <= set(times.nonzero()[0].tolist()), "the first and the last step of each part"
    if stride <= window:
        every = {i for a, b in segments if b - a >= window for i in range(a, b)}
        assert set(times.nonzero()[0].tolist()) == every
    assert np.isnan(average[:, times == 0]).all()


def test_the_stride_grows_with_the_series() -> None:
    assert [choose_stride(n, 100) for n in (500, 19_999, 20_000, 10**6, 10**9)] == [1, 1, 2, 50, 50]
    assert choose_stride(10**9, 2) == choose_stride(10**9, 3) == 1
    assert [choose_stride(n, 100, 10) for n in (500, 30_000, 10**9)] == [1, 3, 10]


class Waves(Source):
    """A sine of 600 steps in two channels of other scales."""

    def shape(self) -> tuple[int, ...]:
        return 2, 20

    def load(self) -> Raw:
        t = np.arange(600, dtype=np.float32)
        values = np.stack([np.sin(t / 7), 50 + 20 * np.cos(t / 9)]).astype(np.float32)
        return Raw(rows_of(values, 20, 1), names=("a", "b"))


def test_each_channel_is_normalized_by_the_training_windows() -> None:
    data = DataModule(source=Waves(), seed=0, batch_size=16, test_fraction=0.5)
    data.setup()
    assert data.spec.normalization == "standard"
    train = data.splits["train"]
    x = train[0 : len(train)].x
    assert torch.allclose(data.normalization.shift.flatten(), x.mean((0, 2)), atol=1e-4)
    assert torch.allclose(
        data.normalization.scale.flatten(), x.std((0, 2), correction=0), atol=1e-4
    )
    assert [one.name for one in data.spec.usual] == ["a", "b"]
    whole = torch.cat([batch.row for batch in data.make_loader("train", training=True)])
    assert sorted(whole.tolist()) == train.index.tolist()
