"""Series of files: read whole, cut at gaps, files and jumps in time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import wavfile

from aeframe.data import DataModule, Series
from aeframe.data.windows import WindowRows

pytest.importorskip("pyarrow")


def rows_of(source: Series) -> WindowRows:
    assert source.problems() == []
    rows = source.load().rows
    assert isinstance(rows, WindowRows)
    return rows


def written(folder: Path, text: str, name: str = "s.csv") -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def test_a_table_with_times_gaps_and_labels(tmp_path: Path) -> None:
    lines = ["timestamp;a;b;state"]
    for i in range(60):
        hour = i if i < 40 else i + 5  # time jumps before step 40
        cell = "" if i == 20 else f"{i},5"
        state = "bad" if i in (30, 31) else "ok"
        lines.append(f"2026-01-{1 + hour // 24:02} {hour % 24:02}:00;{cell};{100 + i};{state}")
    source = Series(path=written(tmp_path, "\n".join(lines)), window=5, label="state")
    rows = rows_of(source)
    assert source.shape() == (2, 5)
    assert source.description() == "Series of 2 channels in windows of 5 steps"
    assert source.list_findings() == [
        "Series: 60 steps, a step is 3600 s, 3 parts between gaps; channels a, b.",
        "Windows: of 5 steps, one begins each step.",
    ]
    starts = [*range(16), *range(21, 36), *range(40, 56)]
    assert rows.starts.tolist() == starts
    assert rows.read_all()[16, 0].tolist() == [21.5, 22.5, 23.5, 24.5, 25.5]
    assert rows.read_all()[16, 1].tolist() == [121, 122, 123, 124, 125]
    raw = source.load()
    assert raw.names == ("a", "b")
    assert raw.classes == ("bad", "ok")
    assert raw.labels is not None
    bad = [start for start, label in zip(starts, raw.labels.tolist(), strict=True) if label == 0]
    assert bad == [*range(26, 32)], "a window has the rarest of its classes"


@given(data=st.data())
def test_a_long_table_is_a_wide_one(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("long")
    count = data.draw(st.integers(3, 12))
    cells = [(t, c) for t in range(count) for c in "ab" if (t, c) not in {(count // 2, "b")}]
    order = data.draw(st.permutations(cells))
    text = "\n".join(["t,sensor,v", *(f"{t},{c},{t * 10 + (c == 'b')}" for t, c in order)])
    long = Series(
        path=written(folder, text), window=2, time="t", channel="sensor", value="v", stride=1
    )
    wide = [
        "t,a,b",
        *(f"{t},{t * 10},{'' if t == count // 2 else t * 10 + 1}" for t in range(count)),
    ]
    other = Series(path=written(folder, "\n".join(wide), "w.csv"), window=2, stride=1)
    if other.problems():  # no window is left
        assert long.problems()
        return
    one, two = rows_of(long), rows_of(other)
    assert one.starts.tolist() == two.starts.tolist()
    assert one.read_all().tolist() == two.read_all().tolist()
    assert long.load().names == other.load().names == ("a", "b")


@pytest.mark.parametrize("dtype", ["float64", "float32", "int16", "uint8", "bool"])
def test_arrays_and_sound(tmp_path: Path, dtype: str) -> None:
    x = (np.arange(60).reshape(30, 2) % 7).astype(dtype)
    kind = {"float64": "float32", "bool": "uint8"}.get(dtype, dtype)
    np.save(tmp_path / "x.npy", x)
    rows = rows_of(Series(path=str(tmp_path / "x.npy"), window=4, stride=3))
    assert rows.starts.tolist() == [*range(0, 27, 3)]
    assert str(rows.dtype) == f"torch.{kind}"
    assert np.array_equal(rows.read_all()[2].numpy(), x[6:10].T.astype(kind))
    np.save(tmp_path / "one.npy", x[:, 0])
    assert np.array_equal(
        rows_of(Series(path=str(tmp_path / "one.npy"), window=30)).read_all()[0, 0], x[:, 0]
    )
    np.save(tmp_path / "many.npy", x.reshape(3, 2, 10))
    many = rows_of(Series(path=str(tmp_path / "many.npy"), window=9, columns=[1]))
    assert many.starts.tolist() == [0, 1, 10, 11, 20, 21], "windows never span two series"
    assert np.array_equal(many.read_all()[3, 0], x.reshape(3, 2, 10)[1, 1, 1:].astype(kind))
    if dtype in ("float32", "int16", "uint8"):
        wavfile.write(tmp_path / "x.wav", 100, x)
        source = Series(path=str(tmp_path / "x.wav"), window=4, stride=3)
        assert np.array_equal(rows_of(source).read_all(), rows.read_all())
        assert source.list_findings()[0] == "Series: 30 steps, a step is 0.01 s; channels 0, 1."


def test_several_files_in_natural_order(tmp_path: Path) -> None:
    for number in (1, 2, 10):
        lines = ["x,y", *(f"{number * 100 + i},{i}" for i in range(6))]
        written(tmp_path, "\n".join(lines), f"day{number}.csv")
    source = Series(path=str(tmp_path / "day*.csv"), window=5)
    rows = rows_of(source)
    assert rows.starts.tolist() == [0, 1, 6, 7, 12, 13]
    assert rows.read_all()[:, 0, 0].tolist() == [100, 101, 200, 201, 1000, 1001]
    assert source.list_findings()[0] == "Series: 18 steps in 3 files; channels x, y."
    split = Series(
        path=str(tmp_path / "day1.csv"), test_path=str(tmp_path / "day10.csv"), window=3, drop=["y"]
    )
    data = DataModule(source=split, seed=0, val_fraction=0)
    data.setup()
    assert [len(data.splits[name]) for name in ("train", "test")] == [4, 4]
    assert data.spec.shape == (1, 3)
    assert data.splits["test"][0:1].x.tolist() == [[[1000, 1001, 1002]]]


def test_parquet_with_uneven_times_is_told(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    times = np.arange(40) + np.where(np.arange(40) % 4 == 0, 0.2, 0)
    pandas.DataFrame({"when": times, "v": np.sin(times)}).to_parquet(tmp_path / "s.parquet")
    source = Series(path=str(tmp_path / "s.parquet"), window=8, time="when")
    assert source.problems() == []
    assert source.list_findings()[0] == (
        "Series: 40 steps, a step is 1 (49% of the steps differ); channels v."
    )
