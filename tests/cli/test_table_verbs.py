"""Verbs of a model of a table: they speak of rows and columns."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import aeframe as package
from aeframe.cli.verbs import table_results
from aeframe.cli.verbs.own_data import load_run_data
from aeframe.cli.verbs.table_inputs import open_tables
from aeframe.core.errors import UserError
from aeframe.data.tables import table_file
from tests.support.forks import Server
from tests.support.runs import TINY, trained_in
from tests.support.verbs import Verb, table

ROWS = 120
NAMES = ["tag", "kind", "mass", "bill", "island", "ringed", "seen", "colony"]
WORDS = (
    *TINY,
    *("dataset=table", "dataset.id=tag", "dataset.label=kind", "model=variational"),
    *("likelihood=mixed", "model.latent_dim=2", "dataset.batch_size=32"),
)


def make_birds() -> pd.DataFrame:
    """Make a table with columns of several types, of which three have gaps."""
    generator = np.random.default_rng(0)
    big = generator.random(ROWS) < 0.5
    days = pd.to_timedelta(generator.integers(0, 365, ROWS), "D")
    birds = pd.DataFrame(
        {
            "tag": [f"{i:04d}" for i in range(ROWS)],
            "kind": np.where(big, "Gentoo", "Adelie, small"),
            "mass": pd.array(3500 + 1500 * big + generator.integers(0, 99, ROWS), "Int64"),
            "bill": np.round(38 + 8 * big + generator.normal(0, 1, ROWS), 1),
            "island": np.where(big, "Biscoe", 'the "Dream"'),
            "ringed": generator.random(ROWS) < 0.3,
            "seen": (pd.Timestamp("2024-01-01") + days).astype("datetime64[s]"),
            "colony": "A",
        }
    )
    for number, name in enumerate(("mass", "bill", "island")):
        birds.loc[number:ROWS:11, name] = None
    return birds


BIRDS = make_birds()


@pytest.fixture(scope="module")
def birds(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on a table, and the table beside it as CSV and Parquet."""
    root = tmp_path_factory.mktemp("birds")
    BIRDS.to_csv(root / "birds.csv", index=False)
    BIRDS.to_parquet(root / "birds.parquet")
    return trained_in(server, root, *WORDS, f"dataset.path={root / 'birds.csv'}")


@pytest.fixture
def in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are read a few rows at a time."""
    monkeypatch.setattr(table_file, "ROWS", 50)
    monkeypatch.setattr(table_file, "BLOCK", 2000)


def read(file: Path) -> pd.DataFrame:
    """Read a result, with texts as in the table."""
    if file.suffix == ".parquet":
        return pd.read_parquet(file)
    texts = {"tag": str, "seen_1": str, "expected_1": str}
    return pd.read_csv(file, dtype=texts)


@pytest.mark.usefixtures("in_batches")
@pytest.mark.parametrize("given", ["birds.csv", "birds.parquet"])
@pytest.mark.parametrize("out", ["z.csv", "z.parquet"])
def test_codes_keep_the_id_and_the_label(
    verb: Verb, birds: Path, tmp_path: Path, given: str, out: str
) -> None:
    status, _, err = verb("encode", birds, birds.parent / given, "--out", out)
    assert status == 0
    assert "columns that the model does not use, as training left them out: colony" in err
    found = read(tmp_path / out)
    assert list(found) == ["tag", "kind", "z0", "z1"]
    assert found["tag"].tolist() == BIRDS["tag"].tolist()
    assert found["kind"].tolist() == BIRDS["kind"].tolist()
    model = package.load(birds)
    assert np.allclose(found[["z0", "z1"]], model.encode(BIRDS), atol=1e-5)
    assert verb("decode", birds, out, "--out", "x.csv")[0] == 0
    expected = model.to_frame(model.decode(model.encode(BIRDS)))
    decoded = read(tmp_path / "x.csv")
    assert decoded["island"].tolist() == expected["island"].tolist()
    assert np.allclose(decoded["bill"], expected["bill"], rtol=1e-4)


@pytest.mark.usefixtures("in_batches")
def test_scores_name_the_columns_at_fault(verb: Verb, birds: Path, tmp_path: Path) -> None:
    strange = BIRDS.copy()
    strange.loc[60, "bill"] = 500.0
    strange.loc[61, "seen"] = pd.Timestamp("2099-01-31")
    strange[["colony", *NAMES[:-1]]].to_parquet(tmp_path / "new.parquet")
    status, out, _ = verb("score", birds, "new.parquet", "--out", "scores.parquet")
    assert status == 0
    found, model = read(tmp_path / "scores.parquet"), package.load(birds)
    assert list(found)[:9] == [
        *("tag", "kind", "score", "percentile", "is_outlier"),
        *("column_1", "share_1", "expected_1", "seen_1"),
    ]
    assert found["tag"].tolist() == BIRDS["tag"].tolist()
    errors = model.score(strange)
    assert np.allclose(found["score"], errors, rtol=1e-4)
    assert found["is_outlier"].tolist() == (errors > model.threshold(99)).tolist()
    assert found["percentile"][60] == 100
    assert (found["column_1"][60], found["seen_1"][60]) == ("bill", "500")
    # the column's distance from the mean weighs more than its error
    assert float(found["expected_1"][60]) == pytest.approx(BIRDS["bill"].mean(), rel=0.02)
    assert (found["column_1"][61], found["seen_1"][61]) == ("seen", "2099-01-31")
    shares = model.score_columns(strange)
    assert np.allclose(shares.sum(1), 1, rtol=1e-4)
    assert found["share_1"][60] == pytest.approx(shares[60].max(), abs=1e-3)
    assert (found[["column_1", "column_2", "column_3"]].iloc[0] != "mass").all()  # a gap

    assert "  0061  outlier: seen is 2099-01-31, expected 20" in out
    assert "  0060  outlier: bill is 500, expected " in out
    BIRDS.drop(columns="tag").to_parquet(tmp_path / "others.parquet")
    words = ("score", birds, "others.parquet", "new.parquet", "--out", "both.csv")
    first = verb(*words)[1].splitlines()[0]
    assert first.partition(": ")[0] == f"{errors[61]:.5g}  new.parquet 61  outlier"
    both = read(tmp_path / "both.csv")
    assert list(both)[:4] == ["file", "row", "kind", "score"]
    assert both["file"].tolist() == ["others.parquet"] * ROWS + ["new.parquet"] * ROWS
    assert both["row"].tolist() == [*range(ROWS)] * 2


def test_the_error_of_hidden_cells_is_that_at_the_end_of_training(verb: Verb, birds: Path) -> None:
    card = json.loads((birds / "evaluation.json").read_text())
    means = card["baselines"]["mean sample"]["imputation_mse"]
    assert 0 < means < 5
    now = json.loads(verb("evaluate", birds, "--json")[1])
    assert now["metrics"]["imputation_mse"] == pytest.approx(
        card["metrics"]["imputation_mse"], rel=1e-4
    )
    assert now["baselines"]["mean sample"]["imputation_mse"] == pytest.approx(means, rel=1e-6)


def test_the_data_of_a_run_has_the_gaps_of_training(birds: Path, tmp_path: Path) -> None:
    model = package.load(birds)
    assert load_run_data(model, str(birds))[1].normalization.has_gaps
    BIRDS.bfill().ffill().to_csv(tmp_path / "whole.csv", index=False)
    model.description.config["dataset"]["path"] = str(tmp_path / "whole.csv")
    assert not load_run_data(model, str(birds))[1].normalization.has_gaps


@pytest.mark.usefixtures("in_batches")
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_gaps_are_filled_and_all_other_cells_stay(
    verb: Verb, birds: Path, tmp_path: Path, ending: str
) -> None:
    given, made = birds.parent / f"birds.{ending}", tmp_path / f"made.{ending}"
    assert verb("reconstruct", birds, given, "--fill-gaps", "--out", made)[0] == 0
    before, found, whole = read(given), read(made), package.load(birds).reconstruct(BIRDS)
    assert list(found) == NAMES
    if ending == "parquet":
        assert pq.read_schema(made).types == pq.read_schema(given).types
    assert not found.isna().any(axis=None)
    for name in NAMES:
        gaps = before[name].isna()
        assert found[name][~gaps].tolist() == before[name][~gaps].tolist(), name
        if gaps.any() and name != "bill":
            assert found[name][gaps].tolist() == whole[name][gaps].tolist()
    assert np.allclose(found["bill"][1::11], whole["bill"][1::11], rtol=1e-4)
    if ending == "csv":  # the digits of float32, without those of its float64
        cells = pd.read_csv(made, dtype=str)["bill"][1::11]
        assert cells.str.replace(".", "").str.len().max() <= 9
    assert verb("reconstruct", birds, given, "--out", made, "--force")[0] == 0
    found = read(made)
    assert list(found) == NAMES
    assert np.allclose(found["mass"], whole["mass"])
    assert found["tag"].tolist() == BIRDS["tag"].tolist()


def test_dates_that_are_texts_come_back_as_texts(verb: Verb, birds: Path, tmp_path: Path) -> None:
    days = BIRDS["seen"].dt.strftime("%Y-%m-%d")
    BIRDS.assign(seen=days).to_parquet(tmp_path / "texts.parquet")
    for words in (["--fill-gaps"], ["--force"]):
        assert verb("reconstruct", birds, "texts.parquet", *words, "--out", "made.parquet")[0] == 0
        types = [pq.read_schema(tmp_path / f"{name}.parquet").types for name in ("texts", "made")]
        assert types[0] == types[1]
        found = read(tmp_path / "made.parquet")["seen"]
        assert found.str.fullmatch(r"20\d\d-\d\d-\d\d").all()
        assert (found.tolist() == days.tolist()) == (words == ["--fill-gaps"])
    (tmp_path / "names.csv").write_text(",".join(BIRDS))  # without rows, and without a line break
    status, _, err = verb("score", birds, "names.csv", "--out", "x.csv")
    assert (status, err.splitlines()[-1]) == (
        2, "aeframe: names.csv: has no rows. Give at least one."
    )  # fmt: skip


def test_samples_are_a_table(verb: Verb, birds: Path, tmp_path: Path) -> None:
    assert verb("sample", birds, "--n", "5", "--out", "made.csv")[0] == 0
    header, *rows = table(tmp_path / "made.csv")
    assert header == NAMES[2:-1]
    assert len(rows) == 5
    for mass, _, island, ringed, seen in rows:
        assert mass.isdecimal()
        assert island in ("Biscoe", 'the "Dream"')
        assert ringed in ("True", "False")
        assert pd.Timestamp(seen).strftime("%Y-%m-%d") == seen
    assert verb("sample", birds, "--n", "5", "--out", "made.npy")[0] == 0
    model = package.load(birds)
    expected = model.to_frame(np.load(tmp_path / "made.npy"))
    assert [int(row[0]) for row in rows] == expected["mass"].tolist()


def test_a_dataframe_is_taken_by_the_names_of_its_columns(birds: Path) -> None:
    model = package.load(birds)
    codes = model.encode(BIRDS)
    assert np.array_equal(codes, model.encode(BIRDS[NAMES[::-1]]))
    assert np.array_equal(codes, model.encode([BIRDS[:50], BIRDS[50:]]))
    parts = list(model.reconstruct(iter([BIRDS[:50], BIRDS[50:]])))
    whole = model.reconstruct(BIRDS.set_index("tag", drop=False))
    assert whole.index.tolist() == BIRDS["tag"].tolist()
    assert list(whole) == NAMES[2:-1]
    assert pd.concat(parts)["mass"].tolist() == whole["mass"].tolist()
    assert not whole.isna().any(axis=None)


WRONG: dict[str, tuple[Callable[[pd.DataFrame], Any], str]] = {
    "missing": (lambda birds: birds.drop(columns="mass"), "lacks the column mass"),
    "renamed": (lambda birds: birds.rename(columns={"bill": "Bill"}), "Is Bill meant?"),
    "category": (
        lambda birds: birds.assign(island="Torgersen"),
        "column island, {}: 'Torgersen' is an unknown category",
    ),
    "type": (lambda birds: birds.assign(mass="heavy"), "column mass, {}: 'heavy' is no number"),
    "date": (lambda birds: birds.assign(seen="never"), "column seen, {}: 'never' is no date"),
    "empty": (lambda birds: birds[:0], "no"),
}


@pytest.mark.parametrize("case", WRONG)
def test_another_table_is_refused_by_name(
    verb: Verb, birds: Path, tmp_path: Path, case: str
) -> None:
    change, said = WRONG[case]
    wrong = change(BIRDS)
    with pytest.raises(UserError) as caught:
        package.load(birds).encode(wrong)
    assert said.format("row 0 (from 0)") in str(caught.value)
    wrong.to_csv(tmp_path / "new.csv", index=False)
    for words in (("encode", "--out", "z.csv"), ("reconstruct", "--fill-gaps", "--out", "x.csv")):
        status, _, err = verb(words[0], birds, "new.csv", *words[1:])
        assert status == 2
        assert said.format("line 2") in err
        assert "dataset." not in err
    assert sorted(file.name for file in tmp_path.iterdir()) == ["new.csv"]


def test_a_cell_that_is_infinite_when_it_is_normalized_is_named(
    birds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    far = BIRDS.astype({"mass": "float64"})
    far.loc[5, "mass"] = -3e38
    far.to_csv("far.csv", index=False)
    model = package.load(birds)
    given = open_tables(["far.csv"], model)
    assert len(list(given.blocks(ROWS))) == 1
    model.net.normalization.scale.fill_(1e-3)
    with pytest.raises(UserError, match=r"far\.csv: line 7 holds values beyond float32 when they"):
        list(given.read())


def test_a_table_is_refused_as_the_result_for_other_data(
    verb: Verb, trained: Path, birds: Path
) -> None:
    for words in (("reconstruct", trained, "digits"), ("sample", trained)):
        status, _, err = verb(*words, "--out", "x.csv")
        assert (status, "this model was not trained on a table" in err) == (2, True)
    status, _, err = verb("reconstruct", trained, "digits", "--fill-gaps", "--out", "x.npy")
    assert (status, "--fill-gaps: needs tables" in err) == (2, True)
    assert table_results.is_table_path(Path("x.CSV"))
