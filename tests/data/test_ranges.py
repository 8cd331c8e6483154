"""dataset.range: the values that count as 0 and 1, and a note where a type's range is hardly used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from aeframe.core.errors import UserError
from aeframe.data import Array, DataModule

BITS = np.random.default_rng(0).integers(0, 2, (40, 6))


def module(tmp_path: Path, x: np.ndarray, given: list[float] | None = None) -> DataModule:
    np.save(tmp_path / "a.npy", x)
    source = Array(path=str(tmp_path / "a.npy"), range=given)
    assert source.problems() == []
    made = DataModule(source=source, seed=0)
    made.setup()
    return made


def test_bytes_of_0_and_1_with_their_range_are_bits(tmp_path: Path) -> None:
    bits = module(tmp_path, BITS.astype(bool))
    ours = module(tmp_path, BITS.astype(np.uint8), [0, 1])
    assert torch.equal(ours.peek("train", 99), bits.peek("train", 99))
    assert (ours.spec.low, ours.spec.high, ours.spec.stored) == (0, 1, (0, 1))
    assert not ours.notes
    assert not bits.notes


@pytest.mark.parametrize(
    ("x", "known", "likely"),
    [
        (BITS.astype(np.uint8), "0 to 255", "[0,1]"),
        (BITS.astype(np.uint16) * 4080, "0 to 65535", "[0,4095]"),
        (BITS.astype(np.uint8) * 16, "0 to 255", "[0,16]"),
        (BITS.astype(np.uint16) * 50 + 4000, "0 to 65535", "[4000,4050]"),
    ],
)
def test_a_range_that_is_hardly_used_is_told_with_the_key_to_write(
    tmp_path: Path, x: np.ndarray, known: str, likely: str
) -> None:
    made = module(tmp_path, x)
    (note,) = made.notes
    used = f"values are {x.min()} to {x.max()}, in an assumed range of {known}"
    assert note.where == f"dataset.path={tmp_path / 'a.npy'}"
    assert note.what == used
    assert note.remedy == f"If no others are possible, write dataset.range={likely}."
    low, high = map(float, likely.strip("[]").split(","))
    assert not module(tmp_path, x, [low, high]).notes


@pytest.mark.parametrize("x", [BITS.astype(np.uint8) * 32, BITS.astype(np.int64), BITS / 9])
def test_other_data_is_not_remarked_upon(tmp_path: Path, x: np.ndarray) -> None:
    assert not module(tmp_path, x).notes


def test_twelve_bits_of_sixteen_are_normalized_by_their_range(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 4096, (40, 5)).astype(np.uint16)
    made = module(tmp_path, values, [0, 4095])
    x = made.normalization(torch.from_numpy(values.astype(np.int32)))
    assert np.allclose(x.numpy(), values / 4095)
    assert made.spec.as_dict()["stored"] == [0, 4095]


@pytest.mark.parametrize("kind", [np.uint16, np.float32, np.int32, np.float64])
def test_data_outside_of_the_range_is_told_with_its_row(tmp_path: Path, kind: type) -> None:
    x = np.full((50, 3), 7, kind)
    x[17, 1], x[30, 0] = 13, 15
    with pytest.raises(UserError) as caught:
        module(tmp_path, x, [0, 12])
    what = "sample 17 (from 0) has the value 13, outside dataset.range, [0,12]"
    remedy = "Correct the data, or write dataset.range=[0,15]."
    assert str(caught.value) == f"dataset.path={tmp_path / 'a.npy'}: {what}. {remedy}"


def test_the_rounding_of_floats_is_within_the_range(tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((40, 3))
    x[3, 1], x[4, 2] = 1.0000000000000002, -1.6e-22
    assert module(tmp_path, x, [0, 1]).spec.stored == (0, 1)


def test_nan_is_told_as_without_a_range(tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((40, 3))
    x[3, 1] = np.nan
    with pytest.raises(UserError, match=r"sample 3 \(from 0\) holds NaN"):
        module(tmp_path, x, [0, 1])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            [3, 1],
            "dataset.range=[3,1]: must have the lower limit first. Write dataset.range=[1,3].",
        ),
        ([1, 1], "dataset.range=[1,1]: must have the lower limit first."),
        ([1], "dataset.range=[1]: is not two numbers. Write dataset.range=[0,4095]."),
        ([0, 1, 2], "is not two numbers"),
        ([0, float("nan")], "is not two numbers"),
        ([-float("inf"), 0], "is not two numbers"),
    ],
)
def test_ranges_that_are_none(tmp_path: Path, given: list[float], message: str) -> None:
    np.save(tmp_path / "a.npy", BITS)
    (problem,) = Array(path=str(tmp_path / "a.npy"), range=given).problems()
    assert message in str(problem)


def test_a_test_file_keeps_to_the_range_of_the_training_data(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", BITS.astype(np.uint8) * 255)
    np.save(tmp_path / "t.npy", BITS.astype(np.uint16) * 4095)
    files = {"path": str(tmp_path / "a.npy"), "test_path": str(tmp_path / "t.npy")}
    with pytest.raises(UserError, match="outside the range of the training data"):
        Array(**files).load()
    assert Array(**files, range=[0, 4095]).load().test is not None
