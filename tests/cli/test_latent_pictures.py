"""The verbs traverse and map."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import aeframe as package
from aeframe.cli.verbs.latent_pictures import _find_trained
from aeframe.cli.verbs.sheets import Sheet
from tests.support.digits import DIGITS
from tests.support.verbs import Verb, picture


@pytest.mark.parametrize(
    ("words", "told", "size"),
    [
        (
            ("traverse", "--row", "3", "--units", "0,5", "--steps", "4"),
            "2 units of image 3 at 4 values",
            3,
        ),
        (("map", "--steps", "3"), "3 x 3 codes of units ", 3),
    ],
)
def test_units_are_drawn(
    verb: Verb, trained: Path, tmp_path: Path, words: tuple[str, ...], told: str, size: int
) -> None:
    name, *more = words
    status, out, err = verb(name, trained, "digits", *more, "--out", "p.png")
    assert (status, err) == (0, "")
    assert out.startswith(told)
    found = picture(tmp_path / "p.png")
    assert found.shape[1] == 350
    assert found.shape[0] > size * 67


def test_a_traversal_changes_one_unit(
    verb: Verb, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = list[np.ndarray]()
    monkeypatch.setattr(Sheet, "add_row", lambda self, x, *more, **rest: rows.append(np.asarray(x)))
    monkeypatch.setattr(Sheet, "write", lambda *args: None)
    verb(
        "traverse",
        trained,
        "digits",
        "--row",
        "3",
        "--units",
        "2",
        "--steps",
        "3",
        "--out",
        "p.png",
    )
    model = package.load(trained)
    codes = model.encode(DIGITS)
    assert np.array_equal(rows[0], np.concatenate([DIGITS[3:4], model.decode(codes[3:4])]))
    changed = codes[[3, 3, 3]]
    changed[:, 2] = np.linspace(*np.percentile(codes[:, 2], [2, 98]), 3)
    assert np.allclose(rows[1], model.decode(changed), atol=1e-4)


def test_a_picture_is_of_the_classes_that_were_trained_on() -> None:
    class Trained:
        def __init__(self, **dataset: object) -> None:
            self.description = SimpleNamespace(config={"dataset": dataset})

    labels = ["3", "8", "1", "8"]
    for dataset, wanted in (
        ({"only": [3, 8]}, [True, True, False, True]),
        ({"exclude": ["8"]}, [True, False, True, False]),
        ({"only": None, "exclude": None}, [True] * 4),
        ({"only": ["7"]}, [True] * 4),  # of other data
    ):
        assert _find_trained(Trained(**dataset), labels, 4).tolist() == wanted  # type: ignore[arg-type]
    assert _find_trained(Trained(only=[3]), None, 2).tolist() == [True, True]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("traverse", "RUN", "digits", "--units", "99"), "--units 99: must be numbers of code units, "),
        (("traverse", "RUN", "digits", "--row", "5000"), "--row 5000: is not a row from 0 to 1796."),
        (("traverse", "RUN", "digits", "--steps", "1"), "--steps 1: must be from 2 to 100."),
        (("traverse", "RUN", "one.npy"), "one.npy: holds one sample, and the range of each unit "),
        (("map", "RUN", "digits", "--units", "1,2,3"), "--units 1,2,3: must be two units, such as 0,1."),
    ],
)  # fmt: skip
def test_a_mistake_of_a_picture_is_told(
    verb: Verb, trained: Path, tmp_path: Path, words: tuple[str, ...], told: str
) -> None:
    np.save(tmp_path / "one.npy", DIGITS[:1])
    argv = [str(trained) if word == "RUN" else word for word in words]
    status, out, err = verb(*argv, "--out", "p.png")
    assert (status, out) == (2, "")
    assert err.startswith(f"aeframe: {told}")
    assert not (tmp_path / "p.png").exists()
