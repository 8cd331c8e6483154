"""Broken tables: each is one message, with the file, the line or the column, and what to do."""

from __future__ import annotations

import gzip
import importlib.util
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest

from aeframe.core.errors import ConfigError, UserError
from aeframe.data import Table

GOOD = "name,age,city,born\n" + "".join(
    f"n{i},{20 + i},{'Rom' if i % 2 else 'Bonn'},2001-02-{i + 1:02}\n" for i in range(9)
)


class Case(NamedTuple):
    """A broken table. says: the message begins with. does: it goes on with. options: of the table."""

    content: str | bytes | None
    says: str
    does: str
    options: dict[str, Any] = {}  # noqa: RUF012
    name: str = "t.csv"


def parquet(frame: pd.DataFrame) -> bytes:
    opened = io.BytesIO()
    frame.to_parquet(opened)
    return opened.getvalue()


def change(line: int, text: str) -> str:
    lines = GOOD.splitlines(keepends=True)
    lines[line - 1] = f"{text}\n"
    return "".join(lines)


T = "dataset.path={file}: "
WHOLE = pd.read_csv(io.StringIO(GOOD))
MONTHS = "day,a\n" + "".join(f"0{i}/0{i + 1}/2020,{i}.5\n" for i in range(1, 8))
NUMBERS = "a,b\n1.5,2\n2.5,3\n3.5,x\n4.5,5\n"
CASES = {
    # files
    "no file": Case(None, T + "no such file", "Write dataset.path=FILE.csv."),
    "empty": Case("", T + "is empty", "Give a table"),
    "only line breaks": Case("\n\n", T + "is empty", "Give a table"),
    "header only": Case("a,b\n", T + "has no rows", "Give at least 3."),
    "header only, without a line break": Case("a,b", T + "has no rows", "Give at least 3."),
    "another ending": Case("a,b\n", T + "is no table that can be read", "ends in .csv", name="t.xyz"),
    "a sheet": Case("PK", T + "is no table", "Save the sheet as CSV.", name="t.xlsx"),
    "an array": Case("x", T + "is no table", "Write dataset=array dataset.path=", name="t.npy"),
    "text named .parquet": Case(GOOD, T + "cannot be read (", "It is no Parquet", name="t.parquet"),
    "cut parquet": Case(
        parquet(WHOLE)[:-40], T + "cannot be read (", "undamaged copy", name="t.parquet"
    ),
    "a hole in parquet": Case(
        parquet(WHOLE)[:4] + bytes(300) + parquet(WHOLE)[304:],
        T + "cannot be read (",
        "undamaged copy",
        name="t.parquet",
    ),
    "cut gz": Case(
        gzip.compress(GOOD.encode() * 9)[:-20], T + "cannot be read (", "undamaged copy", name="t.csv.gz"
    ),
    "text named .gz": Case(GOOD, T + "cannot be read (", "undamaged copy", name="t.csv.gz"),
    "a pattern without files": Case(
        GOOD, "dataset.path={folder}/*.tsv: matches no file", "pattern", {"path": "{folder}/*.tsv"}
    ),
    "a folder": Case(GOOD, "dataset.path={folder}: is a folder", "*.csv'.", {"path": "{folder}"}),
    "no path": Case(GOOD, "dataset.path: no file given", "FILE.csv.", {"path": None}),
    # bytes
    "NUL bytes": Case(b"a,b\n1,2\n3,\0\n", T + "line 3 holds a NUL byte", "Save it again"),
    "not UTF-8 as said": Case(
        b"a,b\n1,2\nK\xf6ln,3\n",
        T + "line 3 is not text in utf-8",
        "Write dataset.encoding=auto.",
        {"encoding": "utf-8"},
    ),
    "an unknown encoding": Case(
        GOOD, "dataset.encoding=utf-9: unknown encoding", "Write auto", {"encoding": "utf-9"}
    ),
    "cut UTF-16": Case(GOOD.encode("utf-16")[:-3], T + "line 10 is not text in utf-16", "undamaged"),
    # lines
    "a short row": Case(change(4, "n2,22"), T + "line 4 has 2 cells, and line 1 has 4", "Correct"),
    "a long row": Case(change(5, "n,1,B,x,y"), T + "line 5 has 5 cells, and line 1 has 4", "Correct"),
    "a long row after a line break in quotes": Case(
        change(4, '"a\nb",1,"B\n",2001-01-01').replace("n5,25", "n5,2,5"), T + "line 9 has 5 cells", "quotes"
    ),
    "an open quote": Case(change(3, 'n1,"21,Rom,x'), T + "line 3: a quote is not closed", "Close it"),
    "another delimiter than said": Case(
        GOOD, T + "holds no semicolon", "Write dataset.delimiter=comma.", {"delimiter": "semicolon"}
    ),
    # names
    "a name twice": Case(
        GOOD.replace("city", "age"), T + "has the column age more than once (columns 2 and 3)", "Give each",
    ),
    "names that are empty": Case(
        GOOD.replace("age,city", ","), T + "line 1: columns 2 and 3 have no name", "Give each column a name."
    ),
    "two headers": Case(
        "age,height\nyears,cm\n" + "30,170.5\n31,171.5\n" * 4,
        T + "line 2 holds texts in columns of numbers (age, height)",
        "If it is a second line of names, remove it.",
    ),
    "a second header of one column": Case(
        "age\nyears\n" + "30\n31\n32\n" * 4,
        T + "column age, line 2: 'years' is no number, and 12 other cells are, such as 30",
        "Correct it, or write dataset.types.age=categorical.",
    ),
    **{
        f"an unknown column in {key}": Case(
            GOOD,
            f"dataset.{key}{'.' if key == 'types' else '='}agee: t.csv has no column agee",
            "Did you mean age?",
            {key: agee},
        )
        for key, agee in {
            **{"drop": ["agee"], "columns": ["agee"], "types": {"agee": "count"}},
            **{"id": "agee", "label": "agee"},
        }.items()
    },
    "an unknown type": Case(
        GOOD, "dataset.types.age=int: unknown type", "Write one of numeric", {"types": {"age": "int"}}
    ),
    # cells
    "text among numbers": Case(
        change(6, "n4,old,Rom,2001-02-05"),
        T + "column age, line 6: 'old' is no number, and 8 other cells are, such as 20",
        "Correct it, or write dataset.types.age=categorical.",
    ),
    "1e400": Case(
        change(6, "n4,1e400,Rom,2001-02-05"),
        T + "column age, line 6: '1e400' is beyond the range of float32",
        "Correct it, or write 'dataset.drop=[age]'.",
    ),
    "an infinite number in parquet": Case(
        parquet(WHOLE.assign(age=[1.5, float("inf"), *range(7)])),
        T + "column age, row 1 (from 0): 'inf' is beyond the range of float32",
        "Correct it",
        name="t.parquet",
    ),
    "thousands": Case(
        "a,b\n1,800\n2,900\n" + '3,"1,200"\n4,700\n5,"1,500"\n',
        T + "column b, line 4: '1,200' may be 1.200 or 1200",
        "Write dataset.decimal=comma for the first",
    ),
    "points and commas": Case(
        "a;b\n1,5;2\n2.5;3\n",
        T + "column a, line 2: '1,5' has a decimal comma, and '2.5' a decimal point",
        "alike",
    ),
    "points beside commas": Case(
        "a;b\n1,5;2.5\n2,5;3.5\n",
        T + "column a has decimal commas ('1,5'), and column b decimal points ('2.5')",
        "Write all numbers alike",
    ),
    "thousands and fractions": Case(
        "a;b\n1.234,5;2\n7;3\n8;4\n", T + "column a, line 2: '1.234,5' is no number", "Thousands have no sep"
    ),
    "dates in three formats": Case(
        "d,a\n2020-01-31,1\n2020-02-01,2\n31.12.2020,5\n2020-03-01,7\n12/31/2020,3\n",
        T + "column d, line 4: '31.12.2020' is no date written as year, month, day, as others are",
        "Write all dates as 2026-01-31",
    ),
    "a date that may be two": Case(
        MONTHS,
        T + "column day: the dates may be day, month, year or month, day, year, and no cell tells which",
        "Write dataset.types.day=dmy, or dataset.types.day=mdy.",
    ),
    "a date of no calendar": Case(
        change(6, "n4,2,Rom,2001-02-30"), T + "column born, line 6: '2001-02-30' is no date", "Write all"
    ),
    "lists": Case(
        parquet(WHOLE.assign(age=[[1, 2]] * 9)),
        T + "column age holds list<",
        "Leave it out: dataset.drop=[age].",
        name="t.parquet",
    ),
    # types that do not fit
    "no number": Case(
        NUMBERS, T + "column b, line 4: 'x' is no number", "Correct it", {"types": {"b": "numeric"}}
    ),
    "no boolean": Case(
        GOOD, T + "column name: has more than the two values of a boolean: n0, n1, n2", "categorical",
        {"types": {"name": "boolean"}},
    ),
    "no date": Case(
        GOOD, T + "column city, line 2: 'Bonn' is no date", "Correct it", {"types": {"city": "date"}}
    ),
    "no date of this order": Case(
        GOOD, T + "column born, line 2: '2001-02-01' is no date written as day, month, year", "Correct it",
        {"types": {"born": "dmy"}},
    ),
    "no count": Case(
        NUMBERS.replace("x", "4"), T + "column a: holds a fraction, and counts", "dataset.types.a=numeric",
        {"types": {"a": "count"}},
    ),
    "a negative count": Case(
        "a,b\n-1,2\n3,5\n", T + "column a: holds -1, and counts are 0, 1, 2, ...", "numeric",
        {"types": {"a": "count"}},
    ),
    # what is left
    "nothing to use": Case(
        "a,b\nx,1\ny,1\nz,1\n",
        T + "no column can be used (a: all texts differ; b: always 1)",
        "Write dataset.types.a=categorical.",
    ),
    "every column is dropped": Case(
        GOOD, T + "no column is left to be used", "drop fewer", {"columns": ["age"], "drop": ["age"]}
    ),
}  # fmt: skip


def find_problems(table: Table) -> list[str]:
    """Return what is wrong with a table, as a run would say it."""
    if problems := table.problems():
        return [str(problem) for problem in problems]
    with pytest.raises(UserError) as caught:
        table.load()
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_broken_table_is_one_message(case: Case, tmp_path: Path) -> None:
    file = tmp_path / case.name
    if case.content is not None:
        file.write_bytes(case.content if isinstance(case.content, bytes) else case.content.encode())
    before = sorted(tmp_path.iterdir())

    def fill(text: Any) -> Any:
        return text.format(file=file, folder=tmp_path) if isinstance(text, str) else text

    found = find_problems(
        Table(**{"path": str(file)} | {k: fill(v) for k, v in case.options.items()})
    )
    assert len(found) == 1, found
    assert found[0].startswith(fill(case.says)), found
    assert case.does in found[0], found
    assert re.search(r"[^.]\.$", found[0]) or found[0].endswith("?"), found
    assert sorted(tmp_path.iterdir()) == before


SPLITS = {
    "an unknown category": (
        change(4, "n2,22,Paris,2001-02-03"),
        "column city, line 4: 'Paris' is an unknown category",
        "Known are Bonn, Rom. ",
    ),
    "no number": (change(4, "n2,?2,Rom,2001-02-03"), "column age, line 4: '?2' is no number", "Correct"),
    "other columns": (GOOD.replace("age", "ages"), "lacks the column age", "Is ages meant?"),
    "another order of dates": (
        change(4, "n2,22,Rom,03.02.2001"), "column born, line 4: '03.02.2001' is no date", "2026-01-31"
    ),
    "no rows": (GOOD.splitlines()[0] + "\n", "has no rows", "Leave out dataset.test_path."),
    "ragged": (change(4, "n2,22"), "line 4 has 2 cells, and line 1 has 4", "Correct"),
    "another delimiter": (None, "", ""),
}  # fmt: skip


@pytest.mark.parametrize("name", SPLITS)
@pytest.mark.parametrize("option", ["test_path", "val_path"])
def test_a_split_of_another_kind_is_named(name: str, option: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(GOOD)
    content, says, does = SPLITS[name]
    other = tmp_path / "other.csv"
    other.write_text(GOOD.replace(",", ";") if content is None else content)
    table = Table(path=str(tmp_path / "t.csv"), **{option: str(other)})
    if content is None:  # each file has a delimiter of its own
        raw = table.load()
        part = raw.test if option == "test_path" else raw.val
        assert part is not None
        assert part.data.tolist() == raw.data.tolist()
        return
    found = find_problems(table)
    assert len(found) == 1
    assert found[0].startswith(f"dataset.{option}={other}: {says}"), found
    assert does.replace("test_path", option) in found[0]


def test_files_of_other_columns_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(GOOD)
    (tmp_path / "b.csv").write_text(GOOD.replace("age", "ages"))
    found = find_problems(Table(path=f"{tmp_path}/*.csv"))
    assert found == [
        f"dataset.path={tmp_path}/b.csv: has other columns than a.csv: it lacks age and has also ages. "
        "Give files of the same columns."
    ]
    (tmp_path / "b.csv").write_text(GOOD.replace(",27,", ",old,"))
    (found_,) = find_problems(Table(path=[f"{tmp_path}/a.csv", f"{tmp_path}/b.csv"]))
    assert "column age, b.csv, line 9: 'old' is no number, and 17 other cells are" in found_
    WHOLE.to_parquet(tmp_path / "a.parquet")
    WHOLE.assign(age="x").to_parquet(tmp_path / "b.parquet")
    (found_,) = find_problems(Table(path=f"{tmp_path}/*.parquet"))
    assert "b.parquet: column age holds " in found_
    assert "and something else in an earlier file. Save it with one type in all files." in found_


def test_all_mistakes_of_a_table_are_told_together(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("a,b,c\n1,2020-01-01,x\nx,2020-01-02,y\n3,01.02.2020,z\n4,2020-01-03,x\n")
    with pytest.raises(ConfigError) as caught:
        Table(path=str(file)).survey()
    assert [p.what.partition(":")[0] for p in caught.value.problems] == [
        "column a, line 3",
        "column b, line 4",
    ]


@pytest.mark.parametrize(
    ("content", "word", "says"),
    [
        (
            change(4, "n2,22"),
            "dataset.path=t.csv",
            "t.csv: line 4 has 2 cells, and line 1 has 4.",
        ),
        (
            GOOD,
            "dataset.types.age=date",
            "column age, line 2: '20' is no date written as year, month, day.",
        ),
        (
            GOOD,
            "dataset.drop=[agee]",
            "dataset.drop=agee: t.csv has no column agee. Did you mean age?",
        ),
    ],
)
def test_a_command_ends_with_status_2_and_writes_nothing(
    aeframe: Callable[..., Any], tmp_path: Path, content: str, word: str, says: str
) -> None:
    (tmp_path / "t.csv").write_text(content)
    words = ("dataset=table", *dict.fromkeys(("dataset.path=t.csv", word)))
    status, out, err = aeframe(*words)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert says in err
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "pyarrow" else name
    )
    (tmp_path / "t.csv").write_text(GOOD)
    assert find_problems(Table(path=str(tmp_path / "t.csv"))) == [
        "dataset=table: needs pyarrow. Run: python -m pip install 'aeframe[tables]'."
    ]
