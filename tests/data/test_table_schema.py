"""The schema of a table: cells become a vector and come back as they were."""

from __future__ import annotations

import io
import json
import math
import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aeframe.core.errors import UserError
from aeframe.data import DataSpec, Schema
from aeframe.data.cell_error import CellError
from aeframe.data.table_cells import MISSING, parse_dates, parse_numbers
from aeframe.data.table_schema import Column
from aeframe.runs.description import Description, ForeignError, parse_description

SCHEMA = Schema(
    (
        Column("age", "numeric", integer=True),
        Column("weight", "numeric"),
        Column("stamp", "numeric", integer=True, origin=1_700_000_000.0),
        Column("smokes", "boolean", ("no", "yes")),
        Column("alive", "boolean", ("False", "True")),
        Column("city", "categorical", ("Köln", "Paris, France", 'a "b"\nc')),
        Column("zip", "categorical", ("10115", "50667"), integer=True),
        Column("born", "date", origin=10_000.0),
        Column("seen", "date", origin=19_000.0, unit="s"),
        Column("visits", "count", integer=True),
    )
)


def tables() -> st.SearchStrategy[pd.DataFrame]:
    """Tables of SCHEMA with gaps in every column."""
    near = 2**23  # whole numbers that float32 holds
    cells: dict[str, st.SearchStrategy[Any]] = {
        "age": st.integers(-near, near),
        "weight": st.floats(width=32, allow_nan=False, allow_infinity=False),
        "stamp": st.integers(1_700_000_000 - near, 1_700_000_000 + near),
        "smokes": st.sampled_from(("no", "yes")),
        "alive": st.booleans(),
        "city": st.sampled_from(SCHEMA.columns[5].categories),
        "zip": st.sampled_from((10115, 50667)),
        "born": st.integers(-9_000, 29_000).map(lambda day: np.datetime64(day, "D")),
        "seen": st.integers(0, 40_000).map(lambda s: np.datetime64(19_000 * 86_400 + s, "s")),
        "visits": st.integers(0, near),
    }
    types = {
        **{"age": "Int64", "weight": "float32", "stamp": "Int64", "smokes": "str"},
        **{"alive": "boolean", "city": "str", "zip": "Int64", "born": "datetime64[s]"},
        **{"seen": "datetime64[s]", "visits": "Int64"},
    }
    rows = st.lists(
        st.fixed_dictionaries({k: st.none() | v for k, v in cells.items()}), min_size=1, max_size=6
    )
    return rows.map(lambda some: pd.DataFrame(some, dtype=object).astype(types))


def assert_same(found: pd.DataFrame, table: pd.DataFrame) -> None:
    assert tuple(found) == SCHEMA.names
    for name in table:
        assert found[name].isna().tolist() == table[name].isna().tolist(), name
        assert found[name].dropna().tolist() == table[name].dropna().tolist(), name


def test_a_time_is_the_same_number_as_a_date_and_as_a_text() -> None:
    column = Column("seen", "date", origin=19000.0, unit="s")
    stamps = pd.date_range("2022-01-08", periods=90_000, freq="s")
    texts = stamps.strftime("%Y-%m-%d %H:%M:%S")
    dates, words = (column.encode(pa.array(cells), "x") for cells in (stamps, texts))
    assert np.array_equal(dates, words)
    assert column.decode(dates.astype(np.float64)).tolist() == stamps.tolist()


@given(tables())
@settings(max_examples=30, deadline=None)
def test_every_cell_is_what_it_was(table: pd.DataFrame) -> None:
    x = SCHEMA.encode(table)
    assert x.shape == (len(table), 13)
    assert x.dtype == np.float32
    found = SCHEMA.decode(x)
    assert_same(found, table)
    assert np.array_equal(SCHEMA.encode(found), x, equal_nan=True)

    texts = pd.read_csv(io.StringIO(table.to_csv(index=False)), dtype=str, keep_default_na=False)
    assert np.array_equal(SCHEMA.encode(texts), x, equal_nan=True)  # of text alone

    opened = io.BytesIO()
    table.to_parquet(opened)
    assert np.array_equal(SCHEMA.encode(pd.read_parquet(opened)), x, equal_nan=True)
    assert np.array_equal(SCHEMA.encode(pa.Table.from_pandas(table)), x, equal_nan=True)


def test_the_vector_of_a_row() -> None:
    table = pd.DataFrame(
        {"city": ["b", "a", None], "n": [2.5, None, -1.0], "w": [True, None, False]}
    )
    columns = (
        Column("n", "numeric", origin=0.5),
        Column("city", "categorical", ("a", "b")),
        Column("w", "boolean", ("False", "True")),
        Column("no n", "boolean", ("False", "True"), of="n"),
    )
    schema, nan = Schema(columns), math.nan
    expected = [[2, 0, 1, 1, 0], [nan, 1, 0, nan, 1], [-1.5, nan, nan, 0, 0]]
    assert np.array_equal(schema.encode(table), np.array(expected, np.float32), equal_nan=True)
    assert schema.slices == (slice(0, 1), slice(1, 3), slice(3, 4), slice(4, 5))
    assert schema.names == ("n", "city", "w")
    assert list(schema.decode(schema.encode(table))) == ["n", "city", "w"]


def test_what_a_network_brings_back_becomes_cells() -> None:
    x = np.array([[40.6, 1.5, 0.4, 0.51, 0.2, 0.1, 0.3, 0.2, 0.4, 0.9, 0.1, 3e9, -0.3]], np.float32)
    row = SCHEMA.decode(x).iloc[0].to_dict()
    assert row == {
        "age": 41,
        "weight": np.float32(1.5),
        "stamp": 1_700_000_000,
        "smokes": "yes",
        "alive": False,
        "city": "Paris, France",
        "zip": 50667,
        "born": pd.Timestamp("1997-05-19"),
        "seen": row["seen"],
        "visits": 0,
    }
    assert row["seen"].year == 9999  # a date that no calendar has becomes the last one


def test_numbers_and_dates_of_text() -> None:
    numbers = parse_numbers(
        pa.array(["1", "+2.", "-.5", "1e3", "1,5", "0x1", "", "1e400", "inf", None])
    )
    nan = math.nan
    expected = [1, 2, -0.5, 1000, nan, nan, nan, math.inf, nan, nan]
    assert np.array_equal(numbers, expected, equal_nan=True)
    written = {
        "ymd": ["2020-02-29", "2020/2/29", "2020-02-29T00:00", "2020-02-29 02:00+02:00", "2020-2-29T0:00Z"],
        "dmy": ["29.02.2020", "29/2/2020", "29 Feb 2020", "29-February-2020", "29. Feb. 2020 00:00:00.0"],
        "mdy": ["02/29/2020", "Feb 29, 2020", "February 29 2020", "2-29-2020"],
    }  # fmt: skip
    for order, texts in written.items():
        assert parse_dates(pa.array(texts), order).tolist() == [18_321.0] * len(texts), order
    wrong = ["2021-02-29", "2020-13-01", "2020-00-01", "20-02-01", "2020-02-01 25:00", "x", None]
    assert np.isnan(parse_dates(pa.array(wrong), "ymd")).all()
    assert parse_dates(pa.array(["1969-12-31 18:00"]), "ymd").tolist() == [-0.25]


@pytest.mark.parametrize(
    ("name", "cell", "what"),
    [
        ("age", "old", "column age, row 1 (from 0): 'old' is no number"),
        ("age", "1e39", "column age, row 1 (from 0): '1e39' is beyond the range of float32"),
        (
            "weight",
            "1e400",
            "column weight, row 1 (from 0): '1e400' is beyond the range of float32",
        ),
        ("smokes", "maybe", "column smokes, row 1 (from 0): 'maybe' is none of the two values"),
        ("city", "Bonn", "column city, row 1 (from 0): 'Bonn' is an unknown category"),
        ("born", "31.12.2020", "column born, row 1 (from 0): '31.12.2020' is no date"),
        ("visits", "-1", "column visits, row 1 (from 0): '-1' is no count (0, 1, 2, ...)"),
        ("visits", "1.5", "column visits, row 1 (from 0): '1.5' is no count (0, 1, 2, ...)"),
    ],
)
def test_a_cell_that_does_not_fit_is_named(name: str, cell: str, what: str) -> None:
    table = pd.DataFrame({key: ["", ""] for key in SCHEMA.names})
    assert np.isnan(SCHEMA.encode(table)).all()
    table.loc[1, name] = cell
    with pytest.raises(CellError) as caught:
        SCHEMA.encode(table, "people.csv")
    assert str(caught.value).startswith(f"people.csv: {what}. ")
    assert (caught.value.column, caught.value.row) == (name, 1)


def test_five_cells_that_do_not_fit_are_named_at_once() -> None:
    table = pd.DataFrame({key: [""] * 9 for key in SCHEMA.names})
    table.loc[[1, 7], "city"] = ["Bonn", "Ulm"]
    table.loc[[2, 3, 4, 5, 6], "age"] = ["old", "2", "young", "x", "y"]
    with pytest.raises(CellError) as caught:
        SCHEMA.encode(table, "people.csv")
    lines = str(caught.value).splitlines()
    assert [line.partition(" is ")[0] for line in lines] == [
        "people.csv: column city, row 1 (from 0): 'Bonn'",
        "people.csv: column age, row 2 (from 0): 'old'",
        "people.csv: column age, row 4 (from 0): 'young'",
        "people.csv: column age, row 5 (from 0): 'x'",
        "people.csv: column age, row 6 (from 0): 'y'",
    ]
    copy = pickle.loads(pickle.dumps(caught.value))
    assert str(copy) == str(caught.value)


def test_a_third_value_of_zeros_and_ones_is_told_with_the_type_that_takes_it() -> None:
    flag = Column("flag", "boolean", ("0", "1"))
    with pytest.raises(
        CellError,
        match=r"'2' is none of the two values\. .*train with dataset\.types\.flag=numeric\.",
    ):
        Schema((flag,)).encode(pd.DataFrame({"flag": ["0", "2"]}))


def test_other_columns_are_named() -> None:
    table = pd.DataFrame({name: [""] for name in SCHEMA.names})
    with pytest.raises(UserError, match=r"lacks the column city\. .* Is City meant\?"):
        SCHEMA.encode(table.rename(columns={"city": "City"}))
    with pytest.raises(UserError, match="lacks the columns age, born"):
        SCHEMA.encode(table.drop(columns=["age", "born"]))
    twice = pd.concat([table, table[["zip"]]], axis=1)
    with pytest.raises(UserError, match="has the column zip more than once"):
        SCHEMA.encode(twice)
    mixed = pd.DataFrame({**table.to_dict("list"), "city": [("Köln",)]})
    with pytest.raises(UserError, match="city"):
        SCHEMA.encode(pd.concat([mixed, table]))
    assert np.isnan(SCHEMA.encode(table.assign(more=1))).all()


def test_whole_numbers_of_categories_may_have_a_point() -> None:
    column = Column("zone", "categorical", ("1", "2", "10"), integer=True)
    table = pd.DataFrame({"zone": ["2.0", "10", None, "1.00"]})
    x = Schema((column,)).encode(table)
    assert np.nan_to_num(x, nan=-1).tolist() == [[0, 1, 0], [0, 0, 1], [-1, -1, -1], [1, 0, 0]]
    with pytest.raises(UserError, match=r"'1\.5' is an unknown category"):
        Schema((column,)).encode(pd.DataFrame({"zone": ["1.0", "1.5"]}))


@pytest.mark.parametrize("text", sorted(MISSING))
def test_a_gap_may_be_written_in_several_ways(text: str) -> None:
    table = pd.DataFrame({name: [f" {text}"] for name in SCHEMA.names})
    assert np.isnan(SCHEMA.encode(table)).all()


def test_a_schema_is_saved_as_plain_data() -> None:
    text = json.dumps(SCHEMA.as_dict())
    assert Schema.from_dict(json.loads(text)) == SCHEMA
    assert SCHEMA.as_dict()[1] == {"name": "weight", "kind": "numeric"}
    whole = Schema(
        (Column("born", "date", origin=19_723),)
    )  # the identity of a model is a digest of the text
    read = Schema.from_dict(json.loads(json.dumps(whole.as_dict())))
    assert json.dumps(read.as_dict()) == json.dumps(whole.as_dict())


BAD = {
    "no list": {},
    "no columns": [],
    "no mapping": [3],
    "an unknown key": [{"name": "a", "kind": "numeric", "more": 1}],
    "a name that is no text": [{"name": 1, "kind": "numeric"}],
    "an unknown kind": [{"name": "a", "kind": "text"}],
    "an unknown unit": [{"name": "a", "kind": "date", "unit": "h"}],
    "an unknown order": [{"name": "a", "kind": "date", "order": "ydm"}],
    "one value": [{"name": "a", "kind": "boolean", "categories": ["x"]}],
    "no categories": [{"name": "a", "kind": "categorical"}],
    "categories of numbers": [{"name": "a", "kind": "numeric", "categories": ["x"]}],
    "a category twice": [{"name": "a", "kind": "categorical", "categories": ["x", "x"]}],
    "categories that are numbers": [{"name": "a", "kind": "categorical", "categories": [1]}],
    "no whole numbers": [
        {"name": "a", "kind": "categorical", "categories": ["x"], "integer": True}
    ],
    "a word for true": [{"name": "a", "kind": "numeric", "integer": "yes"}],
    "an infinite origin": [{"name": "a", "kind": "numeric", "origin": math.inf}],
    "a name twice": [{"name": "a", "kind": "numeric"}] * 2,
    "gaps of nothing": [{"name": "a", "kind": "boolean", "categories": ["0", "1"], "of": "b"}],
    "gaps of itself": [{"name": "a", "kind": "boolean", "categories": ["0", "1"], "of": "a"}],
    "gaps in a category": [
        {"name": "a", "kind": "numeric"},
        {"name": "b", "kind": "categorical", "categories": ["0", "1"], "of": "a"},
    ],
}


@pytest.mark.parametrize("given", BAD.values(), ids=BAD)
def test_a_foreign_schema_is_refused(given: Any) -> None:
    with pytest.raises(ValueError, match=r"column|categor|origin|integer"):
        Schema.from_dict(given)


def test_a_model_file_keeps_the_columns() -> None:
    spec = DataSpec((13,), 0, 1, 9, (0, 1), torch.float32, columns=SCHEMA)
    saved = Description({}, spec).to_json()
    assert parse_description(saved).data == spec
    old = Description({}, replace(spec, columns=None)).to_json()
    assert '"columns"' not in old
    assert parse_description(old).data.columns is None
    other = replace(spec, columns=Schema((*SCHEMA.columns[:-1], Column("calls", "count"))))
    named = {
        Description({}, s).add_identity({}).identity
        for s in (spec, other, replace(spec, columns=None))
    }
    assert len(named) == 3
    with pytest.raises(ForeignError, match=r"data\.columns do not suit data\.shape"):
        parse_description(Description({}, replace(spec, shape=(12,))).to_json())
    with pytest.raises(ForeignError, match=r"data\.columns: a column has an unknown kind"):
        parse_description(saved.replace('"count"', '"counts"'))
