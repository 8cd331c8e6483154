"""Missing values: measured, filled, left out of the loss and of every metric."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import aeframe
from aeframe.constraints import GaussianNoise, Masking, SaltAndPepper
from aeframe.constraints.constrained import ConstrainedAutoencoder
from aeframe.core.errors import UserError
from aeframe.core.noise import Noise
from aeframe.data import Array, Batch, Normalization
from aeframe.data.gaps import average_present
from aeframe.evaluation.baselines import measure_baselines
from aeframe.evaluation.copy_check import check_copying
from aeframe.evaluation.metrics import Metrics
from aeframe.models import Setting, Undercomplete, Variational
from aeframe.models.autoencoder import Autoencoder
from aeframe.models.likelihoods import Bernoulli, Gaussian, Likelihood
from aeframe.monitoring.dashboard.signal_plots import draw_plots
from aeframe.networks import MLP
from aeframe.training.divergence import explain_outlier
from tests.support.gappy import make_table, set_up

WIDE = torch.tensor([[1.0, 2.0, torch.nan], [3.0, torch.nan, torch.nan], [8.0, 4.0, torch.nan]])


def make_net(
    kind: type[Autoencoder] = Undercomplete,
    likelihood: Likelihood | None = None,
    constraints: dict[str, Any] | None = None,
    **options: Any,
) -> ConstrainedAutoencoder:
    """Make a network for the table whose neutral values are 0.5."""
    torch.manual_seed(0)
    setting = Setting(MLP(widths=[8]), likelihood or Gaussian(), (6,))
    one = torch.ones(6)
    normalization = Normalization(torch.zeros(6), one, one / 2)
    model = kind(setting, latent_dim=2, **options)
    return ConstrainedAutoencoder(model, constraints or {}, normalization).eval()


# statistics and normalization


@pytest.mark.parametrize("chunk", [2**20, 50])
def test_statistics_leave_gaps_out(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr("aeframe.data.rows.CHUNK", chunk)
    _, gappy = make_table(rows=200, share=0.4)
    made = set_up(gappy, batch_size=16)
    train = gappy[made.splits["train"].index.long()].double()
    mean = train.nanmean(0)
    deviation = (train - mean).square().nanmean(0).sqrt()
    torch.testing.assert_close(made.normalization.shift.double(), mean, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(made.normalization.scale.double(), deviation, rtol=1e-5, atol=1e-6)
    assert made.spec.low == pytest.approx(float(np.nanmin((train - mean) / deviation)), rel=1e-5)
    assert made.spec.seen == (
        pytest.approx(float(np.nanmin(train))),
        pytest.approx(float(np.nanmax(train))),
    )
    assert made.spec.gaps
    assert made.normalization.has_gaps


@pytest.mark.parametrize("kind", ["auto", "unit", "rms", "standard", "none"])
def test_every_normalization_knows_the_mean_of_what_is_present(kind: str) -> None:
    _, gappy = make_table()
    made = set_up(gappy, normalization=kind, batch_size=16)
    train = gappy[made.splits["train"].index.long()]
    neutral = made.normalization.neutral
    assert neutral is not None
    wanted = made.normalization(train.double().nanmean(0).float())
    torch.testing.assert_close(neutral, wanted, rtol=1e-5, atol=1e-5)
    x = made.normalization(gappy)
    assert torch.equal(x.isnan(), gappy.isnan())
    filled = made.normalization.fill(x)
    assert torch.equal(filled[x.isfinite()], x[x.isfinite()])
    assert torch.equal(filled[x.isnan()], neutral.expand_as(x)[x.isnan()])


def test_a_column_without_a_value_in_training_is_constant() -> None:
    _, gappy = make_table(rows=60, share=0.1)
    test = gappy.clone()
    gappy[:, 2] = torch.nan
    made = set_up(gappy, test=test, batch_size=16)
    assert made.normalization.shift[2] == 0
    assert made.normalization.scale[2] == 1
    assert made.normalization(test)[:, 2].isfinite().any()


def test_a_source_that_may_have_gaps_but_has_none_trains_as_any_other() -> None:
    whole, _ = make_table()
    may, never = set_up(whole, batch_size=16), set_up(whole, gaps=False, batch_size=16)
    assert may.normalization.neutral is not None
    assert not may.normalization.has_gaps
    assert may.spec.gaps
    assert not never.spec.gaps
    assert never.normalization.neutral is None
    for name in ("shift", "scale"):
        assert torch.equal(getattr(may.normalization, name), getattr(never.normalization, name))
    x = may.normalization(whole)
    assert may.normalization.fill(x) is x
    assert may.normalization.find_present(x) is None


def test_gaps_of_the_test_split_count() -> None:
    whole, gappy = make_table()
    assert set_up(whole, test=gappy, batch_size=16).normalization.has_gaps


def test_nan_is_refused_where_no_gaps_are_expected_and_infinity_everywhere() -> None:
    _whole, gappy = make_table()
    with pytest.raises(UserError, match="NaN, infinity or values beyond float32"):
        set_up(gappy, gaps=False)
    gappy[7, 3] = torch.inf
    with pytest.raises(UserError, match=r"sample 7 \(from 0\) holds infinity .* in column 3"):
        set_up(gappy)


def test_averages_of_what_is_present() -> None:
    present = WIDE.isfinite()
    assert average_present(WIDE, present, 0).tolist() == [4.0, 3.0, 0.0]
    assert average_present(WIDE, present, 1).tolist() == [1.5, 3.0, 6.0]
    assert average_present(WIDE[:, :1], None, 0).tolist() == [4.0]


# the pass through the network


@pytest.mark.parametrize("likelihood", [Gaussian(), Gaussian(variance="optimal"), Bernoulli()])
def test_a_gap_has_no_share_in_loss_and_gradient(likelihood: Likelihood) -> None:
    net = make_net(likelihood=likelihood)
    _, x = make_table(rows=16)
    x = x.sigmoid()
    output = net(x, noise=Noise(1))
    output.loss.backward()
    present = x.isfinite()
    nll = likelihood.nll(output.parameters, x.nan_to_num(0.5)) - likelihood.constant(x)
    torch.testing.assert_close(output.loss, nll[present].sum() / len(x))
    assert output.present is not None
    assert torch.equal(output.present, present)
    gradients = [p.grad for p in net.parameters() if p.grad is not None]
    assert all(bool(g.isfinite().all()) for g in gradients)
    # the bias of an output is moved by the samples that have its element
    lone = make_net(likelihood=likelihood)
    x = x.clone()
    x[:, 4] = torch.nan
    lone(x, noise=Noise(1)).loss.backward()
    assert lone.model.decoder.output_bias.grad is not None
    assert lone.model.decoder.output_bias.grad[4] == 0
    assert (lone.model.decoder.output_bias.grad != 0).sum() == 5


def test_the_encoder_reads_the_neutral_value() -> None:
    net = make_net()
    _, x = make_table(rows=16)
    assert torch.equal(net.encode(x).value, net.encode(x.nan_to_num(0.5)).value)
    assert torch.equal(net.reconstruct(x), net.reconstruct(x.nan_to_num(0.5)))
    assert torch.equal(net(x, noise=Noise(1)).corrupted, x.nan_to_num(0.5))


@pytest.mark.parametrize(
    "part",
    [
        Masking(fraction=0.5),
        SaltAndPepper(fraction=0.5),
        GaussianNoise(sigma=1.0),
        Masking(fraction=0.5, emphasis_corrupted=1.0, emphasis_rest=0.0),
    ],
)
def test_a_corrupted_element_is_a_target_and_a_gap_never_is(part: Any) -> None:
    net = make_net(constraints={"part": part})
    _whole, x = make_table(rows=16)
    gaps = x.isnan()
    corrupted, mask, weight = net.corrupt(x, Noise(1))
    assert mask is not None
    assert weight is not None
    assert bool((corrupted[gaps] == 0.5).all())
    assert not bool(mask[gaps].any())
    assert bool((weight[gaps] == 0).all())
    emphasis = part.emphasis(mask)
    wanted = torch.ones_like(x) if emphasis is None else emphasis
    assert torch.equal(weight[~gaps], wanted[~gaps])
    # where nothing is missing it is what it was
    plain = replace_normalization(net, Normalization(torch.zeros(6), torch.ones(6)))
    before, chosen, _ = plain.corrupt(x.nan_to_num(0.5), Noise(1))
    assert chosen is not None
    assert torch.equal(before[~gaps], corrupted[~gaps])
    assert torch.equal(chosen & ~gaps, mask)


def replace_normalization(
    net: ConstrainedAutoencoder, normalization: Normalization
) -> ConstrainedAutoencoder:
    return ConstrainedAutoencoder(net.model, dict(net.parts), normalization)


@pytest.mark.parametrize("objective", ["elbo", "importance_weighted"])
def test_the_bound_is_that_of_the_elements_that_are_present(objective: str) -> None:
    """Where whole columns are missing, it is the bound of a model without them."""
    net = make_net(Variational, Gaussian(variance=0.5), k=3, objective=objective)
    whole, _ = make_table(rows=8)
    x = whole.clone()
    x[:, 3:] = torch.nan
    output = net(x, noise=Noise(2))
    code = net.model.encode(x.nan_to_num(0.5), Noise(2).derive_stream("code"))
    parameters = net.model.decode(code.value)
    weight = torch.ones(8, 6)
    weight[:, 3:] = 0
    terms = net.model.terms(x.nan_to_num(9.0), code, parameters, weight, net.clock)
    wanted = sum(term.weighted for term in terms.values())
    torch.testing.assert_close(output.loss, wanted)
    filled, present = x.nan_to_num(0.5), x.isfinite()
    exact = net.model.log_likelihood(filled, 20, Noise(3), present=present)
    other = net.model.log_likelihood(
        torch.where(present, filled, 1e3), 20, Noise(3), present=present
    )
    assert exact.shape == (8,)
    assert bool(exact.isfinite().all())
    assert not torch.equal(exact, other)  # the code still follows from what the encoder reads


# metrics


def test_metrics_count_what_is_present() -> None:
    net = make_net(Variational, Gaussian(variance=0.5), constraints={"m": Masking(fraction=0.2)})
    _, x = make_table(rows=50)
    metrics, present = Metrics(net, 10.0), x.isfinite()
    errors = []
    for part in x.split(20):
        clean = net(part, noise=Noise(1), as_trained=False)
        metrics.update(clean, net(part, noise=Noise(2)))
        errors.append((clean.reconstruction - part).square())
    found = metrics.compute()
    squares = torch.cat(errors).detach().double()
    mse = float(squares[present].mean())
    about = (x - x.nanmean(0)).double().square()
    variation = float(about[present].mean())
    assert found["mse"] == pytest.approx(mse, rel=1e-6)
    assert found["explained_variance"] == pytest.approx(1 - mse / variation, rel=1e-5)
    assert found["psnr"] == pytest.approx(-10 * np.log10(mse / 100), rel=1e-6)
    assert all(np.isfinite(list(found.values())))


def test_baselines_fill_gaps_and_do_not_measure_them() -> None:
    from sklearn.decomposition import PCA

    _whole, gappy = make_table(rows=300)
    made = set_up(gappy, batch_size=16)
    mean, pca = measure_baselines(made, 2)
    normalize = made.normalization
    train, test = (normalize(gappy[made.splits[split].index.long()]) for split in ("train", "test"))
    present = test.isfinite().numpy()
    fitted = PCA(2).fit(train.nan_to_num(0).numpy())
    restored = fitted.inverse_transform(fitted.transform(test.nan_to_num(0).numpy()))
    squares = (restored - test.numpy()) ** 2
    assert pca.mse == pytest.approx(float(squares[present].mean()), rel=1e-4)
    about = (fitted.mean_ - test.numpy()) ** 2
    assert mean.mse == pytest.approx(float(about[present].mean()), rel=1e-4)
    assert pca.mse < mean.mse / 2


def test_the_copy_check_measures_what_is_present() -> None:
    net = make_net()
    _, x = make_table(rows=40)
    check = check_copying(net, x, x.nanmean(0))
    present = x.isfinite()
    numbers = (check.real, check.shuffled, check.permuted, check.mean_image)
    assert all(np.isfinite(numbers))
    each = torch.stack(
        [(net.reconstruct(x) - x)[present[:, i], i].square().mean() for i in range(6)]
    ).detach()
    if not check.columns:
        assert check.real == pytest.approx(float(each.mean()), rel=1e-5)


def test_an_outlier_is_found_beside_gaps() -> None:
    x = torch.tensor([[1.0, torch.nan], [1e12, 2.0], [torch.nan, torch.nan]])
    batch = Batch(x, torch.tensor([5, 6, 7]), 3)
    net = SimpleNamespace(normalization=lambda given: given, normalize_target=lambda given: given)
    assert explain_outlier([batch], net) == (
        "Sample 6 reaches 1e+12 when it is normalized: correct it, or leave it out."
    )


def test_a_curve_is_broken_at_a_gap() -> None:
    whole = torch.full((1, 9), 0.5)
    gappy = whole.clone()
    gappy[0, 4] = torch.nan
    full, broken = (
        np.asarray(draw_plots([(line, "#000000")], 90, [("0", "1")])) for line in (whole, gappy)
    )
    dark = [(picture < 200).all(2).any(0) for picture in (full, broken)]
    assert dark[0][5:-5].all()
    assert not dark[1][40:50].any()
    assert dark[1][5:20].all()


# whole runs


@pytest.fixture
def arrays_have_gaps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrays may have gaps."""
    load = Array.load
    monkeypatch.setattr(Array, "load", lambda self: replace(load(self), gaps=True))


RUN = (
    *("dataset.normalization=standard", "network=linear", "model.latent_dim=2"),
    *("trainer.max_epochs=25", "dataset.batch_size=16", "optimizer.lr=0.01"),
)


@pytest.mark.usefixtures("arrays_have_gaps")
def test_a_model_is_trained_saved_and_fills_gaps(tmp_path: Path) -> None:
    whole, gappy = make_table(rows=250)
    run = aeframe.train(RUN, data=gappy.numpy(), folder=tmp_path / "run")
    model = run.model
    gaps = gappy.isnan()
    assert model.description.data.gaps
    filled = torch.from_numpy(model.reconstruct(gappy.numpy()))
    once = model.net.normalization.inverse(model.net.reconstruct(model.net.normalization(gappy)))
    assert model.description.data.seen is not None
    torch.testing.assert_close(filled, once.detach().clamp(*model.description.data.seen))
    assert bool(filled.isfinite().all())
    deviation = whole.std(0)
    error = ((filled - whole) / deviation)[gaps].square().mean()
    by_mean = ((gappy.nanmean(0) - whole) / deviation)[gaps].square().mean()
    assert error < 0.5 * by_mean
    assert run.evaluation is not None
    hidden = run.evaluation["metrics"]["imputation_mse"]
    assert hidden < 0.5 * run.evaluation["baselines"]["mean sample"]["imputation_mse"]
    loaded = aeframe.load(tmp_path / "run")
    assert np.array_equal(loaded.encode(gappy.numpy()), model.encode(gappy.numpy()))
    scores = loaded.score(gappy.numpy())
    normal = loaded.net.normalization(gappy)
    squares = (loaded.net.reconstruct(normal) - normal).square()
    each = torch.stack([s[p].mean() for s, p in zip(squares, ~gaps, strict=True)])
    np.testing.assert_allclose(scores, each.detach().numpy(), rtol=1e-5)
    empty = np.full((1, 6), np.nan, np.float32)
    assert loaded.score(empty).tolist() == [0.0]
    assert loaded.threshold(99) > 0
    with pytest.raises(UserError, match="holds infinity or values beyond float32 in sample 1"):
        loaded.encode(np.array([[1.0] * 6, [np.inf] * 6]))


@pytest.mark.usefixtures("arrays_have_gaps")
def test_a_run_with_gaps_is_drawn_and_resumed(tmp_path: Path) -> None:
    _, gappy = make_table(rows=100)
    np.save(tmp_path / "x.npy", gappy.numpy())
    words = (
        *("dataset=array", f"dataset.path={tmp_path / 'x.npy'}", "model=denoising"),
        *("network=mlp", "network.widths=[8]", "model.latent_dim=2", "dataset.batch_size=16"),
    )
    first = aeframe.train([*words, "trainer.max_epochs=1"], folder=tmp_path / "run")
    assert first.evaluation is not None
    again = aeframe.train(["resume=" + str(tmp_path / "run"), "trainer.max_epochs=2"])
    whole = aeframe.train([*words, "trainer.max_epochs=2"], folder=tmp_path / "whole")
    x = gappy.numpy()
    assert np.array_equal(again.model.encode(x), whole.model.encode(x))
    # what a denoising model filled in, it reads twice more
    net, normal = again.model.net, again.model.net.normalization(gappy)
    with torch.no_grad():
        filled = net.reconstruct(normal)
        for _ in range(2):
            filled = net.reconstruct(torch.where(normal.isnan(), filled, normal))
    seen = again.model.description.data.seen
    assert seen is not None
    wanted = net.normalization.inverse(filled).clamp(*seen).numpy()
    np.testing.assert_allclose(again.model.reconstruct(x), wanted, rtol=1e-5, atol=1e-5)
