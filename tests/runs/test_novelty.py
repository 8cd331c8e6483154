"""Novelty: the error of a row, and its distance from the mean of training."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import aeframe
from aeframe.core.errors import UserError
from aeframe.data import Column, Schema
from aeframe.runs.column_scores import score_rows
from aeframe.runs.description import ForeignError, parse_description
from aeframe.runs.novelty import Compared, Novelty, rate, share
from tests.support.runs import TINY

SCHEMA = Schema((Column("a", "numeric"), Column("b", "numeric"), Column("c", "numeric")))
POSITIVE = st.floats(1e-3, 1e3)


def compare(squares: list[list[float]], far: list[list[float]]) -> Compared:
    """Make rows with these squared errors and squared distances."""
    return Compared(torch.tensor(squares), None, torch.zeros(len(squares), 3), torch.tensor(far))


def test_it_is_the_mean_of_both_cube_roots_in_standard_deviations() -> None:
    errors, distances = torch.tensor([0.0, 8.0]), torch.tensor([1.0, 343.0])
    novelty = Novelty.fit(errors, distances)
    assert novelty.error == pytest.approx((1, 1))
    assert novelty.distance == pytest.approx((4, 3))
    row = compare([[3 * 27.0, 0.0, 0.0]], [[0.0, 3 * 1000.0, 0.0]])
    assert float(rate(row, novelty)) == pytest.approx((2 + 2) / 2, rel=1e-5)
    assert float(rate(row, None)) == 27
    # both are two deviations above the usual, so each gives half to its own column
    assert share(row, novelty, SCHEMA)[0].tolist() == pytest.approx([0.5, 0.5, 0], abs=1e-5)
    assert share(row, None, SCHEMA)[0].tolist() == [1, 0, 0]


def test_what_is_usual_has_no_weight_beside_what_is_not() -> None:
    novelty = Novelty((1.0, 1.0), (1.0, 1.0))
    row = compare([[3.0, 0.0, 0.0]], [[0.0, 3 * 216.0, 0.0]])
    assert share(row, novelty, SCHEMA)[0].tolist() == pytest.approx([0, 1, 0], abs=1e-3)


@given(st.lists(st.tuples(POSITIVE, POSITIVE, POSITIVE), min_size=2, max_size=9))
def test_the_shares_of_a_row_add_up_to_one(rows: list[tuple[float, ...]]) -> None:
    squares = torch.tensor(rows)
    compared = Compared(squares, None, squares, squares.flip(1))
    novelty = Novelty.fit(compared.errors, compared.distances)
    for kind in (novelty, None):
        assert torch.allclose(share(compared, kind, SCHEMA).sum(1), torch.ones(len(rows)))


def test_rows_far_out_on_the_known_line_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that starts as PCA reconstructs them, so that their error is small."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    t = rng.normal(size=400)
    frame = pd.DataFrame(
        {"a": t, "b": 2 * t + rng.normal(0, 0.3, 400), "c": -t + rng.normal(0, 0.3, 400)}
    )
    run = aeframe.train(
        [*TINY, "dataset=table", "model.latent_dim=1", "network.start=pca"],
        data=frame,
        verbose=False,
    )
    strange = pd.DataFrame({"a": [8.0], "b": [16.0], "c": [-8.0]})
    limit = run.model.threshold(99)
    assert float(run.model.score(strange)[0]) > limit
    assert (run.model.score(frame) > limit).mean() < 0.05
    note = json.loads((run.folder / "model.json").read_text())
    older = {key: value for key, value in note.items() if key != "novelty"}
    assert parse_description(json.dumps(older)).novelty is None
    wrongs: list[dict[str, list[float]]] = [
        {"error": [0.0, 1.0]},
        {"error": [0.0, 0.0], "distance": [0.0, 1.0]},
        {"error": [0.0, 1.0], "distance": [-1.0, 1.0]},
        {"error": [0.0, 1e40], "distance": [0.0, 1.0]},
    ]
    for wrong in wrongs:
        with pytest.raises(ForeignError, match="novelty"):
            parse_description(json.dumps({**note, "novelty": wrong}))


def test_known_rows_that_are_all_alike_make_no_outlier_of_a_rounding() -> None:
    same = torch.full((20,), 0.05)
    novelty = Novelty.fit(same, 3 * same)
    root = 0.05 ** (1 / 3)
    assert novelty.error == pytest.approx((root, 1e-3 * root))
    row = compare([[0.15, 0.0, 0.0]], [[0.45 * (1 + 1e-6), 0.0, 0.0]])
    assert abs(float(rate(row, novelty))) < 1e-2
    nothing = Novelty.fit(torch.zeros(20), torch.zeros(20))
    assert nothing.error == nothing.distance == (0.0, 1e-6)


def test_huge_cells_have_finite_scores_and_an_encoder_alone_has_none(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(60, 3)), columns=list("abc"))
    run = aeframe.train(
        [*TINY, "dataset=table", "model.latent_dim=1"],
        data=frame,
        folder=tmp_path / "run",
        verbose=False,
    )
    far = frame[:2].assign(b=[1e25, -1e6])
    scores = run.model.score(far)
    assert np.isfinite(scores).all()
    assert scores[0] > scores[1] > run.model.threshold(99)
    columns = score_rows(run.model, far.to_numpy(np.float32))
    assert columns.scores.tolist() == scores.tolist()
    assert columns.shares.argmax(1).tolist() == [1, 1]
    assert columns.shares.sum(1).tolist() == pytest.approx([1, 1])
    # the mean is expected where the distance from it weighs more, the reconstruction elsewhere
    assert columns.restored[1, 1] == pytest.approx(frame["b"].mean(), abs=0.2)
    with pytest.raises(UserError, match="score: this is an encoder alone"):
        score_rows(run.model.encoder(), frame.to_numpy(np.float32))


def test_only_a_table_has_a_novelty(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
    words = [*TINY, "model.latent_dim=1"]
    run = aeframe.train(words, data=x, folder=tmp_path / "run", verbose=False)
    note = json.loads((run.folder / "model.json").read_text())
    assert "novelty" not in note
    note["novelty"] = {"error": [0.0, 1.0], "distance": [0.0, 1.0]}
    with pytest.raises(ForeignError, match="novelty is not of a table"):
        parse_description(json.dumps(note))
