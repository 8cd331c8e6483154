"""Tables of every kind: files are read, columns typed, rows encoded."""

from __future__ import annotations

import gzip
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aeframe.core.errors import UserError
from aeframe.data import DataModule, Table
from aeframe.data.gaps import has_gaps
from aeframe.data.table_schema import Column
from aeframe.data.tables import table_encoding, table_file
from aeframe.data.tables.table_paths import Reading
from aeframe.data.tables.table_survey import open_split
from aeframe.data.user_cache import write_private

PEOPLE = pd.DataFrame(
    {
        "name": [f"P{i}" for i in range(12)],
        "age": [20, 31, 42] * 4,
        "weight": [55.5, 60.25, 71.0, 82.125] * 3,
        "city": ["Köln", "Paris, France", 'a "b"\nc', "Köln"] * 3,
        "smokes": ["no", "yes", "no"] * 4,
        "zip": ["01067", "50667"] * 6,
        "born": pd.date_range("2001-01-29", periods=12, unit="s"),
        "planet": ["Earth"] * 12,
        "notes": [None] * 12,
    }
)
WIDTH = 1 + 1 + 3 + 1 + 2 + 1


def save(folder: Path, content: str | bytes, name: str = "t.csv") -> str:
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(file)


def kinds(table: Table) -> dict[str, str]:
    return {column.name: column.kind for column in table.survey().schema.columns}


def write(folder: Path, how: str, frame: pd.DataFrame = PEOPLE) -> str:
    """Write a table in one of many ways. Returns its path."""
    csv = frame.to_csv(index=False)
    if how == "parquet":
        frame.to_parquet(folder / "t.parquet")
        return str(folder / "t.parquet")
    if how == "comma":
        return save(folder, frame.to_csv(index=False, sep=";", decimal=","))
    signs = {"tsv": "\t", "semicolon": ";", "pipe": "|"}
    if how in signs:
        name = "t.tsv" if how == "tsv" else "t.csv"
        return save(folder, frame.to_csv(index=False, sep=signs[how]), name)
    if how == "gz":
        return save(folder, gzip.compress(csv.encode()), "t.csv.gz")
    if how == "crlf":
        return save(folder, frame.to_csv(index=False, lineterminator="\r\n"))
    return save(folder, csv.encode(how))


WAYS = (
    *("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252", "latin-1"),
    *("tsv", "semicolon", "pipe", "comma", "gz", "crlf", "parquet"),
)


@pytest.mark.parametrize("how", WAYS)
def test_every_way_to_write_a_table_gives_the_same_samples(how: str, tmp_path: Path) -> None:
    table = Table(path=write(tmp_path, how))
    assert table.problems() == []
    assert kinds(table) == {
        **{"age": "numeric", "weight": "numeric", "city": "categorical", "smokes": "boolean"},
        **{"zip": "categorical", "born": "date"},
    }
    assert [(one.name, one.reason) for one in table.survey().left_out] == [
        ("name", "all texts differ"),
        ("planet", "always Earth"),
        ("notes", "empty"),
    ]
    raw = table.load()
    assert table.shape() == (WIDTH,)
    assert raw.data.shape == (12, WIDTH)
    expected = [
        [20, 55.5, 1, 0, 0, 0, 1, 0, 0],
        [31, 60.25, 0, 1, 0, 1, 0, 1, 1],
        [42, 71, 0, 0, 1, 0, 1, 0, 2],
        [20, 82.125, 1, 0, 0, 0, 0, 1, 3],
    ]
    places = {c.name: s for c, s in zip(raw.columns.columns, raw.columns.slices, strict=True)}  # type: ignore[union-attr]
    order = [0, 1, *(places["city"].start + i for i in range(3)), places["smokes"].start]
    order += [places["zip"].start, places["zip"].start + 1, places["born"].start]
    assert raw.data[:4, order].tolist() == expected
    assert not has_gaps(raw)
    back = raw.columns.decode(raw.data.numpy())  # type: ignore[union-attr]
    for name in back:
        assert back[name].tolist() == PEOPLE[name].tolist(), name


def test_what_was_found_is_told(tmp_path: Path) -> None:
    frame = PEOPLE.assign(age=[None, *range(11)])
    told = Table(
        path=save(tmp_path, frame.to_csv(index=False, sep=";", decimal=",").encode("cp1252"))
    )
    assert told.description() == "Table of 6 columns"
    assert told.list_findings() == [
        "Columns: 2 numeric (age, weight); 1 boolean (smokes); 2 categorical (city: 3, zip: 2); "
        "1 date (born).",
        "Left out: name (all texts differ), planet (always Earth), notes (empty). "
        "To name the rows by it: dataset.id=name.",
        "Gaps: 1 of 72 cells (age: 1).",
        "t.csv is not UTF-8, and is read as cp1252. Another: dataset.encoding=NAME.",
        "Decimal commas: age, weight.",
    ]
    bare = Table(path=save(tmp_path, "1.5,2\n2,3\n3,5\n", "bare.csv"))
    assert bare.list_findings() == [
        "Columns: 2 numeric (1, 2).",
        "bare.csv has no line of names: its columns are called 1, 2, 3, ...",
    ]


@pytest.mark.parametrize(
    ("cells", "column"),
    [
        (["1", "2", "4"], Column("x", "numeric", integer=True)),
        (["1.0", "2", "4"], Column("x", "numeric")),
        (["-1e-3", " 2 ", "+4"], Column("x", "numeric")),
        (["", "1", "0"], Column("x", "boolean", ("0", "1"))),
        (["0,0", "1", ""], Column("x", "boolean", ("0", "1"))),
        (["1e+06", "0,5", "2"], Column("x", "numeric")),
        (["1e+06", "3", "2"], Column("x", "numeric")),
        (["Yes", "NO", "yes"], Column("x", "boolean", ("NO", "Yes"))),
        (["true", "false", "NA"], Column("x", "boolean", ("false", "true"))),
        (["b", "a", "b"], Column("x", "categorical", ("a", "b"))),
        (["007", "010", "007"], Column("x", "categorical", ("007", "010"))),
        (["2020-01-02", "?", "2020-01-01"], Column("x", "date", origin=18262, order="ymd")),
        (["2.1.2020", "1.1.2020", ""], Column("x", "date", origin=18262, order="dmy")),
        (["1/31/2020", "1/1/2020", ""], Column("x", "date", origin=18262, order="mdy")),
        (["Jan 31, 2020", "Jan 1, 2020", ""], Column("x", "date", origin=18262, order="mdy")),
        (["5 Jan 2020", "1 Jan 2020", ""], Column("x", "date", origin=18262, order="dmy")),
        (
            ["2020-01-01 10:00", "2020-01-01", ""],
            Column("x", "date", origin=18262, order="ymd", unit="s"),
        ),
        (["1700000000", "1700000009", ""], Column("x", "numeric", integer=True, origin=1.7e9)),
        (["20000001", "1", "3"], Column("x", "numeric", integer=True, origin=1)),
    ],
)
def test_a_type_is_found_by_looking_at_all_cells(
    cells: list[str], column: Column, tmp_path: Path
) -> None:
    table = Table(
        path=save(tmp_path, "y;x\n" + "".join(f"{7 * i};{c}\n" for i, c in enumerate(cells)))
    )
    assert table.survey().schema.columns[1] == column


@pytest.mark.parametrize(
    ("kind", "cells", "column"),
    [
        ("categorical", ["3", "12", "3"], Column("x", "categorical", ("3", "12"), integer=True)),
        ("boolean", ["m", "f", "m"], Column("x", "boolean", ("f", "m"))),
        ("count", ["3", "0", "7"], Column("x", "count", integer=True)),
        ("dmy", ["1/2/2020", "2/1/2020", ""], Column("x", "date", origin=18263, order="dmy")),
        ("mdy", ["1/2/2020", "2/1/2020", ""], Column("x", "date", origin=18263, order="mdy")),
        ("numeric", ["0", "1", "1"], Column("x", "numeric", integer=True)),
        ("categorical", ["a", "b", "c"], Column("x", "categorical", ("a", "b", "c"))),
    ],
)
def test_a_type_can_be_given(kind: str, cells: list[str], column: Column, tmp_path: Path) -> None:
    content = "y,x\n" + "".join(f"{i}.5,{cell}\n" for i, cell in enumerate(cells))
    table = Table(path=save(tmp_path, content), types={"x": kind})
    assert table.survey().schema.columns[1] == column


def test_rows_are_named_and_labelled(tmp_path: Path) -> None:
    frame = PEOPLE.assign(city=[None, *PEOPLE["city"][1:]])
    path = write(tmp_path, "utf-8", frame)
    raw = Table(
        path=path, id="name", label="city", drop=["born"], columns=["age", "born", "name"]
    ).load()
    assert raw.columns is not None
    assert raw.columns.names == ("age",)
    assert raw.classes == ("Köln", "Paris, France", 'a "b"\nc', "(none)")
    assert raw.labels is not None
    assert raw.labels.tolist() == [3, 1, 2, 0] + [0, 1, 2, 0] * 2
    assert Table(path=path, label="zip").load().classes == ("01067", "50667")
    assert Table(path=path, label="age").load().classes == ("20", "31", "42")


def test_gaps_are_nan_and_can_be_marked(tmp_path: Path) -> None:
    path = save(tmp_path, "a,b\n1.5,x\n,y\n2.5,\n4,x\n")
    raw = Table(path=path).load()
    nan = float("nan")
    expected = torch.tensor([[1.5, 1, 0], [nan, 0, 1], [2.5, nan, nan], [4, 1, 0]])
    assert torch.equal(raw.data.nan_to_num(-9), expected.nan_to_num(-9))
    assert raw.gaps
    marked = Table(path=path, indicator=True)
    assert marked.load().data[:, 3:].tolist() == [[0, 0], [1, 0], [0, 1], [0, 0]]
    assert kinds(marked)["a is missing"] == "boolean"


def test_several_files_are_one_table(tmp_path: Path) -> None:
    for name, rows in (("b.csv", PEOPLE[5:]), ("a.csv", PEOPLE[:5])):
        rows[PEOPLE.columns[::-1] if name == "b.csv" else PEOPLE.columns].to_csv(
            tmp_path / name, index=False
        )
    whole = Table(path=write(tmp_path, "parquet")).load()
    assert torch.equal(Table(path=f"{tmp_path}/*.csv").load().data, whole.data)
    reverse = Table(path=[f"{tmp_path}/b.csv", f"{tmp_path}/a.csv"]).load()
    assert torch.equal(
        reverse.data.sort(0)[0], whole.data[:, :].sort(0)[0][:, _order(reverse, whole)]
    )


def _order(one: Any, other: Any) -> list[int]:
    """Return the elements of `other` in the order of the columns of `one`."""
    places = dict(zip(other.columns.names, other.columns.slices, strict=True))
    return [i for name in one.columns.names for i in range(places[name].start, places[name].stop)]


def test_other_splits_have_the_columns_of_the_first(tmp_path: Path) -> None:
    path = write(tmp_path, "utf-8")
    other = PEOPLE[::-1].assign(more=1, city=None)[["more", *PEOPLE.columns[::-1]]]
    test = save(tmp_path, other.to_csv(index=False, sep=";", decimal=","), "test.csv")
    raw = Table(path=path, test_path=test, val_path=path, label="zip").load()
    assert raw.val is not None
    assert raw.test is not None
    assert torch.equal(raw.val.data, raw.data)
    assert has_gaps(raw.test)
    assert not has_gaps(replace(raw, test=None, val=None))
    ages, weights = raw.test.data[:, 0], raw.test.data[:, 1]
    assert torch.equal(ages, raw.data[:, 0].flip(0))
    assert torch.equal(weights, raw.data[:, 1].flip(0))
    assert raw.test.labels is not None
    assert raw.test.labels.tolist() == [1, 0] * 6


@pytest.mark.parametrize(
    ("labels", "others", "classes"),
    [
        # a class of training is missing, another is new, and one row has none
        (["b", "c", "a"], ["e", "c", None], ("a", "b", "c", "e", "(none)")),
        # numbers beside a gap are written with a point
        ([2, 0, 10], [10.0, 0.0, None], ("0", "2", "10", "(none)")),
        ([10.0, 0.0, None], [2, 0, 10], ("0", "10", "(none)", "2")),
    ],
)
def test_labels_of_other_splits_are_matched_by_name(
    tmp_path: Path, labels: list[Any], others: list[Any], classes: tuple[str, ...]
) -> None:
    frame = pd.DataFrame({"x": np.arange(30) ** 1.5, "y": np.arange(30) % 7})
    one = save(tmp_path, frame.assign(k=pd.Series(labels * 10)).to_csv(index=False))
    two = save(tmp_path, frame.assign(k=pd.Series(others * 10)).to_csv(index=False), "test.csv")
    data = DataModule(source=Table(path=one, test_path=two, label="k"), seed=0)
    data.setup()
    assert data.spec.classes == classes
    for split, cells in (("train", labels), ("test", others)):
        raw = data.splits[split].raw
        assert raw.labels is not None
        texts = ["(none)" if text is None else str(text).removesuffix(".0") for text in cells]
        assert [raw.classes[label] for label in raw.labels.tolist()] == texts * 10
        assert [classes[label] for label in raw.labels.tolist()] == texts * 10


def test_row_numbers_are_left_out(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": np.arange(30) ** 2, "y": np.arange(30) + 1})
    table = Table(path=save(tmp_path, frame.to_csv()))
    assert kinds(table) == {"x": "numeric"}
    assert [(o.name, o.reason) for o in table.survey().left_out] == [
        ("column 1", "row numbers"),
        ("y", "row numbers"),
    ]
    kept = Table(path=save(tmp_path, frame.to_csv()), types={"y": "numeric"})
    assert kinds(kept) == {"x": "numeric", "y": "numeric"}


def test_many_texts_are_left_out(tmp_path: Path) -> None:
    texts = [f"t{i // 2}" for i in range(240)]
    path = save(tmp_path, pd.DataFrame({"a": texts, "b": np.arange(240) ** 2}).to_csv(index=False))
    table = Table(path=path)
    assert table.survey().left_out == (("a", "120 different texts", "categorical"),)
    assert Table(path=path, types={"a": "categorical"}).shape() == (121,)


def test_a_large_table_is_encoded_once_into_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = write(tmp_path, "parquet")
    small = Table(path=path, label="city").load()
    monkeypatch.setattr(table_encoding, "LARGE", 8)
    large = Table(path=path, label="city").load()
    assert large.mapping is not None
    assert torch.equal(large.data, small.data)
    assert torch.equal(large.labels, small.labels)  # type: ignore[arg-type]
    files = sorted(p.suffixes for p in (tmp_path / "cache" / "aeframe").iterdir())
    assert files == [[".labels", ".npy"], [".lock"], [".table", ".npy"]]
    modes = {p.stat().st_mode & 0o777 for p in (tmp_path / "cache" / "aeframe").iterdir()}
    assert modes == {0o600}  # tables may be private
    monkeypatch.setattr(table_encoding.Encoder, "_fill", None)  # is not called again
    again = Table(path=path, label="city").load()
    assert torch.equal(again.data, small.data)


def test_files_of_the_cache_are_private_from_the_start(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with write_private(tmp_path / "x.table.npy") as partial:
            assert partial.stat().st_mode & 0o777 == 0o600
            assert not (tmp_path / "x.table.npy").exists()
            partial.write_bytes(b"1")
        with pytest.raises(ValueError, match="broken"), write_private(tmp_path / "y"):
            raise ValueError("broken")
    finally:
        os.umask(before)
    assert [p.name for p in tmp_path.iterdir()] == ["x.table.npy"]
    assert (tmp_path / "x.table.npy").read_bytes() == b"1"


def test_a_broken_large_table_leaves_nothing_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(table_encoding, "LARGE", 8)
    good, bad = write(tmp_path, "utf-8"), PEOPLE.assign(city="Bonn").to_csv(index=False)
    with pytest.raises(UserError, match="line 2: 'Bonn' is an unknown category"):
        Table(path=good, val_path=save(tmp_path, bad, "bad.csv")).load()
    names = [p.name for p in (tmp_path / "cache" / "aeframe").iterdir()]
    assert not [name for name in names if "partial" in name]
    assert len([name for name in names if name.endswith(".table.npy")]) == 1


def test_splits_of_a_table_without_gaps(tmp_path: Path) -> None:
    data = DataModule(
        source=Table(path=write(tmp_path, "utf-8"), label="smokes"), seed=0, only=["yes"]
    )
    data.setup()
    assert data.spec.shape == (WIDTH - 1,)
    assert data.spec.columns is not None
    assert [len(samples) for samples in data.splits.values()] == [2, 1, 1]


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=5)


@given(st.data())
@settings(max_examples=15, deadline=None)
def test_a_table_that_is_written_and_read_is_what_it_was(data: st.DataObject) -> None:
    import tempfile

    n = data.draw(st.integers(4, 8))

    def column(cells: st.SearchStrategy[Any]) -> list[Any]:
        return data.draw(st.lists(st.none() | cells, min_size=n, max_size=n))

    texts = data.draw(st.lists(TEXTS.map("t{}".format), min_size=2, max_size=3, unique=True))
    frame = pd.DataFrame(
        {
            "number": pd.Series(column(st.floats(-1e6, 1e6, width=32)), dtype="float32"),
            "whole": pd.Series(column(st.integers(-(10**6), 10**6)), dtype="Int64"),
            "text": pd.Series(column(st.sampled_from([*texts, 'a,"b"\n;c'])), dtype="str"),
            "flag": pd.Series(column(st.booleans()), dtype="boolean"),
            "day": pd.Series(column(st.dates().map(np.datetime64)), dtype="datetime64[s]"),
            "fixed": [0.5, *range(n - 1)],
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        how = data.draw(st.sampled_from(("utf-8", "tsv", "comma", "gz", "parquet", "utf-16")))
        table = Table(path=write(Path(folder), how, frame), types={"text": "categorical"})
        raw = table.load()
        assert raw.columns is not None
        back = raw.columns.decode(raw.data.numpy())
        left_out = {one.name for one in table.survey().left_out}
    assert {*back, *left_out} == set(frame)
    for name in back:
        assert back[name].isna().tolist() == frame[name].isna().tolist()
        assert back[name].dropna().tolist() == frame[name].dropna().tolist()
    for name in left_out:
        assert frame[name].nunique() <= 1


def test_other_files_are_read_in_batches_with_their_ids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = Table(path=write(tmp_path, "utf-8")).survey()
    PEOPLE.to_parquet(tmp_path / "more.parquet")
    PEOPLE.to_csv(tmp_path / "more.csv", sep=";", decimal=",", index=False)
    monkeypatch.setattr(table_file, "ROWS", 5)
    for name in ("more.parquet", "more.csv"):
        encoder = open_split(f"{tmp_path}/{name}", "path", known.schema, Reading(), None)
        read = list(encoder.read(["name"]))
        assert encoder.rows == (12,)
        assert [len(x) for _, x in read] == ([5, 5, 2] if name.endswith("parquet") else [12])
        assert [cell.as_py() for batch, _ in read for cell in batch["name"]] == PEOPLE[
            "name"
        ].tolist()
        assert np.array_equal(
            np.concatenate([x for _, x in read]), Table(path=write(tmp_path, "utf-8")).load().data
        )
