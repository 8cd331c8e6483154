"""Rank normalization: Gaussian by the quantiles of the training split, and back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from aeframe.core.errors import UserError
from aeframe.data.normalization.rank_normalization import QUANTILES, find_quantiles, interpolate
from tests.support.gappy import set_up

FLOATS = st.floats(-1e3, 1e3, width=32)


@given(arrays(np.float32, st.integers(1, 60), elements=FLOATS), st.lists(FLOATS, max_size=8))
@example(np.array([-1, 0, 0, 0, 0], np.float32), [5.2511089339614106e-21])  # its rounding decreased
def test_it_increases_and_is_undone(values: np.ndarray, others: list[float]) -> None:
    """Also between and beyond the values that it was fitted to."""
    knots, levels = (torch.from_numpy(each)[None] for each in find_quantiles(values))
    x = torch.tensor(sorted([*values.tolist(), *others]))[:, None]
    y = interpolate(x, knots, levels)
    assert bool((y[1:] >= y[:-1]).all())
    back = interpolate(y, levels, knots)
    span = float(x.abs().max()) + 1
    # a level resolves a value to its own rounding, times the slope there
    slope = ((knots[:, 1:] - knots[:, :-1]) / (levels[:, 1:] - levels[:, :-1])).nan_to_num(0, 0, 0)
    room = 1e-6 * span + 4e-6 * max(1.0, float(slope.max()))
    assert float((back - x).abs().max()) <= room


def test_skewed_numbers_become_normal() -> None:
    generator = np.random.default_rng(0)
    x = np.exp(2 * generator.normal(size=(3000, 2))).astype(np.float32)
    made = set_up(torch.from_numpy(x), normalization="rank", batch_size=16)
    train = made.normalization(torch.from_numpy(x)[made.splits["train"].index.long()])
    for column in train.t().numpy():
        assert stats.kstest(column, "norm").statistic < 0.005
    whole = made.normalization(torch.from_numpy(x))
    back = made.normalization.inverse(whole)
    np.testing.assert_allclose(back.numpy(), x, rtol=1e-3, atol=1e-4)
    assert made.spec.normalization == "rank"
    assert made.spec.low == pytest.approx(float(train.min()), rel=1e-5)
    assert made.spec.high == pytest.approx(float(train.max()), rel=1e-5)


def test_ties_have_the_middle_of_their_ranks() -> None:
    values = np.repeat(np.array([0.0, 1.0, 7.0], np.float32), [600, 300, 100])
    knots, levels = find_quantiles(values)
    unique = np.unique(knots)
    assert unique.tolist() == [0.0, 1.0, 7.0]
    assert levels[:3] == pytest.approx(stats.norm.ppf([0.3, 0.75, 0.95]), abs=0.02)
    assert len(knots) == len(levels) == QUANTILES


def test_gaps_stay_gaps_and_have_the_middle_as_neutral_value() -> None:
    x = torch.randn(400, 3, generator=torch.Generator().manual_seed(0)).exp()
    x[::7, 1] = torch.nan
    made = set_up(x, normalization="rank", batch_size=16)
    assert made.normalization.neutral is not None
    assert made.normalization.neutral.tolist() == [0.0, 0.0, 0.0]
    normal = made.normalization(x)
    assert torch.equal(normal.isnan(), x.isnan())
    assert torch.equal(made.normalization.inverse(normal).isnan(), x.isnan())


def test_images_are_refused() -> None:
    with pytest.raises(UserError) as caught:
        set_up(torch.rand(20, 1, 4, 4), gaps=False, normalization="rank")
    assert str(caught.value) == (
        "dataset.normalization=rank: is for vectors and tables, not for samples of shape [1, 4, 4]. "
        "Write dataset.normalization=standard."
    )


@pytest.mark.parametrize("kind", ["torch", "onnx"])
def test_it_is_exported(tmp_path: Path, kind: str) -> None:
    import aeframe
    from aeframe.runs.program_export import export_onnx, export_torch

    x = torch.randn(200, 4, generator=torch.Generator().manual_seed(0)).exp().numpy()
    words = ["dataset.normalization=rank", "model.latent_dim=2", "network=linear"]
    run = aeframe.train(
        [*words, "trainer.max_epochs=1", "dashboard.images=0"], data=x, folder=tmp_path / "run"
    )
    if kind == "torch":
        export_torch(run.model, tmp_path)
    else:
        pytest.importorskip("onnxruntime")
        export_onnx(run.model, tmp_path)
