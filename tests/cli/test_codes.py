"""The verbs encode and decode: codes in files, and samples made from them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import aeframe as package
from tests.support.digits import DIGITS
from tests.support.verbs import Verb, converted, encoded, good, picture, table


def test_codes_are_the_same_in_every_kind_of_file(
    verb: Verb, trained: Path, tmp_path: Path
) -> None:
    codes = package.load(trained).encode(DIGITS)
    for ending in ("npy", "npz", "csv"):
        last = good(verb("encode", trained, "digits", "--out", f"codes.{ending}"))
        assert last == f"Codes of 1,797 images, 8 units each: codes.{ending}"
    assert np.array_equal(np.load(tmp_path / "codes.npy"), codes)
    with np.load(tmp_path / "codes.npz") as stored:
        assert np.array_equal(stored["z"], codes)
        labels = stored["labels"].tolist()
    assert labels[:12] == [*"012345678901"]
    header, *lines = table(tmp_path / "codes.csv")
    assert header == ["label", *(f"z{i}" for i in range(8))]
    assert [line[0] for line in lines] == labels
    assert np.array_equal(np.array([line[1:] for line in lines], np.float32), codes)
    wanted = package.load(trained).decode(codes)
    for ending in ("npy", "npz", "csv"):
        good(verb("decode", trained, f"codes.{ending}", "--out", f"x_{ending}.npy"))
        assert np.array_equal(np.load(tmp_path / f"x_{ending}.npy"), wanted)


def test_codes_as_parquet(
    verb: Verb, made: Callable[..., Path], photos: Path, tmp_path: Path
) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    run = made(
        "dataset=image_folder", f"dataset.root={photos}", "dataset.size=8", "network.widths=[20]"
    )
    note = converted("photos", "12 images were")
    good(verb("encode", run, "photos", "--out", "codes.parquet"), note)
    good(verb("encode", run, "photos", "--out", "codes.npz"), note)
    found = parquet.read_table(tmp_path / "codes.parquet").to_pydict()
    with np.load(tmp_path / "codes.npz") as stored:
        assert found.pop("name") == stored["names"].tolist()
        assert found.pop("label") == stored["labels"].tolist() == ["a"] * 7 + ["b"] * 5
        assert np.array_equal(np.array(list(found.values()), np.float32).T, stored["z"])
    for ending in ("parquet", "npz"):
        good(verb("decode", run, f"codes.{ending}", "--out", f"from_{ending}.npz"))
    with (
        np.load(tmp_path / "codes.npz") as codes,
        np.load(tmp_path / "from_npz.npz") as wanted,
        np.load(tmp_path / "from_parquet.npz") as restored,
    ):
        assert np.array_equal(restored["x"], wanted["x"])
        assert np.array_equal(restored["names"], codes["names"])
    for other, what in (
        ({"z0": [1.0, 2.0]}, "has shape [2, 1], but this model takes [N, 16]"),
        ({f"z{i}": ["a"] for i in range(16)}, "cannot be read (could not convert string to float"),
    ):
        parquet.write_table(pyarrow.table(other), tmp_path / "other.parquet")
        status, _, err = verb("decode", run, "other.parquet", "--out", "x.npy")
        assert (status, err.startswith(f"aeframe: other.parquet: {what}")) == (2, True), err
    (tmp_path / "other.parquet").write_bytes(b"PAR1")
    status, _, err = verb("decode", run, "other.parquet", "--out", "x.npy")
    assert (status, err.startswith("aeframe: other.parquet: cannot be read (")) == (2, True), err


def test_images_become_what_the_model_takes(verb: Verb, trained: Path, tmp_path: Path) -> None:
    # the digits have values of 0 to 16, which pictures show as 0 to 255
    good(verb("decode", trained, encoded(verb, trained), "--out", "pictures"))
    wanted = package.load(trained).reconstruct(DIGITS)
    pictures = sorted((tmp_path / "pictures").iterdir())
    assert [file.name for file in pictures[:2]] == ["0000.png", "0001.png"]
    shown = np.stack([picture(file) for file in pictures])[:, None]
    assert np.array_equal(shown, (wanted * (255 / 16)).round().astype(np.uint8))
    good(verb("encode", trained, "pictures", "--out", "again.npy"))
    again = package.load(trained).encode(wanted)
    assert np.allclose(np.load(tmp_path / "again.npy"), again, atol=1e-5)
