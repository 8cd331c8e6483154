"""Errors of hidden cells that are filled, against closed forms."""

from __future__ import annotations

import pytest
import torch

from aeframe.constraints.constrained import ConstrainedAutoencoder
from aeframe.core.noise import Noise
from aeframe.data import Column, Normalization, Schema
from aeframe.data.spec import OTHERS
from aeframe.evaluation.baselines import Baseline
from aeframe.evaluation.card import Card
from aeframe.evaluation.card_table import list_rows
from aeframe.evaluation.imputation import hide_cells, measure_imputation
from aeframe.models import Setting, Undercomplete
from aeframe.models.likelihoods import Gaussian
from aeframe.networks import MLP
from tests.support.gappy import set_up

COLUMNS = 4


def make_average() -> ConstrainedAutoencoder:
    """Make a network whose code is the mean of the inputs, and whose every output is the code."""
    setting = Setting(MLP(widths=[]), Gaussian(), (COLUMNS,))
    model = Undercomplete(setting, latent_dim=1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
        model.writes_code.weight.fill_(1 / COLUMNS)
        straight = model.decoder.straight
        assert straight is not None
        straight.weight.fill_(1.0)
    zero = torch.zeros(COLUMNS)
    return ConstrainedAutoencoder(model, {}, Normalization(zero, zero + 1, zero)).eval()


def test_the_error_of_equal_columns_has_a_closed_form() -> None:
    """A row of equal values z, of which h of D are 0, is reconstructed as z (D - h) / D."""
    z = torch.randn(500, 1, generator=torch.Generator().manual_seed(0))
    x = z.repeat(1, COLUMNS)
    net, x[::9, 0] = make_average(), torch.nan
    data = set_up(x, test=x, normalization="none", batch_size=16)
    found = measure_imputation(net, data, len(x))
    chosen = Noise(0, "imputation").uniform(x.shape) < 0.1
    hidden = chosen & x.isfinite()
    absent = (hidden | x.isnan()).sum(1, keepdim=True) / COLUMNS
    squares = (z * absent).square().expand_as(x)[hidden]
    assert found is not None
    assert found.network == pytest.approx(float(squares.mean()), rel=1e-5)
    assert found.means == pytest.approx(float(z.square().expand_as(x)[hidden].mean()), rel=1e-5)
    assert 0.08 < float(hidden.sum() / x.isfinite().sum()) < 0.12
    few = set_up(x, test=x[1:9], normalization="none", batch_size=16)
    assert measure_imputation(net, few, len(x)) is not None  # training has gaps
    whole = set_up(x[1:9], test=x[10:18], normalization="none", batch_size=2)
    assert measure_imputation(net, whole, len(x)) is None


def test_the_card_shows_the_error_beside_that_of_means() -> None:
    means = Baseline("mean sample", 0.9, 10.0, imputation_mse=0.8)
    metrics = {"mse": 0.1, "psnr": 20.0, "imputation_mse": 0.25}
    card = Card(metrics, [means, Baseline("PCA", 0.2, 17.0)], None, 4, 100, 100, OTHERS, False)
    assert list_rows(card)[1:] == [["imputation error (MSE)", "0.25", "0.8"]]
    assert means.as_dict() == {"mse": 0.9, "psnr": 10.0, "imputation_mse": 0.8}


def test_a_category_is_hidden_as_a_whole_and_its_marker_says_so() -> None:
    columns = (
        Column("kind", "categorical", ("a", "b", "c")),
        Column("mass", "numeric"),
        Column("mass is missing", "boolean", ("0", "1"), of="mass"),
        Column("kind is missing", "boolean", ("0", "1"), of="kind"),
    )
    x = torch.randn(2000, 6, generator=torch.Generator().manual_seed(0))
    x[:100, 3], x[100:200, :3], marks = torch.nan, torch.nan, torch.full_like(x, 7.0)
    given, hidden = hide_cells(x, marks, Schema(columns), Noise(3))
    assert torch.equal(given.isnan(), hidden | x.isnan())
    assert torch.equal(hidden[:, 0], hidden[:, 1])
    assert torch.equal(hidden[:, 0], hidden[:, 2])
    assert not hidden[:, 4:].any()
    assert not hidden[:100, 3].any()
    assert not hidden[100:200, :3].any()
    assert (given[:, 4] == 7).tolist() == hidden[:, 3].tolist()
    assert (given[:, 5] == 7).tolist() == hidden[:, 0].tolist()
    rest = ~hidden
    rest[:, 4:] = given[:, 4:] != 7
    assert torch.equal(given[rest].nan_to_num(9), x[rest].nan_to_num(9))
    assert hidden[:, [0, 3]].float().mean(0).tolist() == pytest.approx([0.095, 0.095], abs=0.02)
