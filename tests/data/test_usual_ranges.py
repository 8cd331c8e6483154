"""Columns of tables and channels of signals, for pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from aeframe.core.errors import UserError
from aeframe.data import Array
from aeframe.data.normalization.usual_ranges import (
    MOST,
    UsualRange,
    find_usual_ranges,
    split_channels,
    spread_over_elements,
)
from aeframe.data.source import Raw, Samples
from aeframe.data.table_schema import Column, Schema


def describe(x: np.ndarray, **more: object) -> tuple[UsualRange, ...]:
    raw = Raw(torch.from_numpy(x), **more)  # type: ignore[arg-type]
    return find_usual_ranges(Samples(raw, torch.arange(len(x))))


def test_the_range_of_a_column_leaves_out_outliers() -> None:
    x = np.stack([np.linspace(0, 1, 101), np.linspace(50, 70, 101), np.full(101, 3.0)], 1)
    x[7, 1], x[8, 1] = 1e6, -1e6
    assert describe(x) == (UsualRange("0", 0, 1), UsualRange("1", 50, 70), UsualRange("2", 3, 3))
    assert describe(x, names=("a", "b", "c"))[1] == UsualRange("b", 50, 70)
    seldom = np.zeros((100, 2))
    seldom[3] = 8.0  # of a column that is nearly constant
    assert describe(seldom)[0] == UsualRange("0", 0, 8)


def test_the_elements_of_a_table_have_names_and_may_have_gaps() -> None:
    schema = Schema((Column("age", "numeric"), Column("pet", "categorical", ("cat", "dog"))))
    x = np.tile(np.array([[20.0, 0, 1], [np.nan, 1, 0], [60, np.nan, np.nan]]), (9, 1))
    ranges = [UsualRange("age", 20, 60), UsualRange("pet=cat", 0, 1), UsualRange("pet=dog", 0, 1)]
    assert list(describe(x, columns=schema)) == ranges
    x[:, 0] = np.nan
    assert describe(x, columns=schema)[0] == UsualRange("age", 0, 0)


def test_wide_vectors_signals_and_images_have_no_columns() -> None:
    random = np.random.default_rng(0)
    assert len(describe(random.normal(size=(50, MOST)))) == MOST
    assert describe(random.normal(size=(50, MOST + 1))) == ()
    smooth = random.normal(size=(500, 50)) * (1 + np.sin(np.linspace(0, 3, 50)))
    assert describe(smooth) == ()
    assert len(describe(smooth, names=tuple(map(str, range(50))))) == 50  # names tell a table
    assert describe(random.random((9, 3, 8, 8))) == ()
    assert describe(random.random((9, 36)), axes=(6, 6)) == ()


@pytest.mark.parametrize("axes", [(2, 50), (50, 2), (2, 1, 50), (2, 50, 1)])
def test_a_signal_has_channels_in_any_order(axes: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).random((40, 2, 50))
    x[:, 1] = 10 * x[:, 1] + 100
    x[0, 0, 0] = 1e5  # in one sample alone
    stored = x.reshape(40, *axes) if axes[0] == 2 else np.moveaxis(x, 1, 2)
    of_file = axes if len(axes) == 2 else ()
    flat = stored.reshape(40, 100) if of_file else stored
    found = describe(flat, axes=of_file)
    assert [(c.name, round(c.low, 1), round(c.high, 1)) for c in found] == [
        ("0", 0.0, 1.0),
        ("1", 100.0, 110.0),
    ]
    assert np.array_equal(split_channels(torch.from_numpy(flat), of_file).numpy(), x)
    spread = spread_over_elements([1.0, 2.0], flat.shape[1:], of_file)
    assert spread.shape == flat.shape[1:]
    assert split_channels(spread[None], of_file)[0].unique(dim=1).tolist() == [[1.0], [2.0]]


def test_names_of_columns_are_read_from_a_file(tmp_path: Path) -> None:
    file, names = tmp_path / "x.npy", tmp_path / "names.npy"
    np.save(file, np.random.default_rng(0).random((9, 3)))
    np.save(names, ["one", "two", "three"])
    assert Array(path=str(file), names=str(names)).load().names == ("one", "two", "three")
    np.savez(tmp_path / "x.npz", x=np.zeros((9, 2, 50)), c=["ecg", "ppg"])
    archive = Array(path=str(tmp_path / "x.npz"), key="x", names="c", layout="flat").load()
    assert (archive.names, archive.axes) == (("ecg", "ppg"), (2, 50))
    np.save(names, ["one", "two"])
    with pytest.raises(UserError, match=r"has shape \(2,\), and there are 3 columns"):
        Array(path=str(file), names=str(names)).load()
    np.save(file, np.zeros((9, 8, 8)))
    with pytest.raises(UserError, match="these samples are images"):
        Array(path=str(file), names=str(names)).load()
