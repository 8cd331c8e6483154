"""The evaluation card: does the network copy, what do simpler methods reach, how likely is the data."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig
from torch import Tensor
from torch.distributions import MultivariateNormal

from aeframe.data import Array, DataModule, Normalization
from aeframe.evaluation.baselines import FITTED, Baseline, Corruption, measure_baselines
from aeframe.evaluation.card import Card, Evaluation
from aeframe.evaluation.card_table import list_rows
from aeframe.evaluation.copy_check import CopyCheck, check_copying
from aeframe.training.build import Built, build
from aeframe.training.checkpointing import collect_metrics
from aeframe.training.report import _make_table

Compose = Callable[..., DictConfig]
X = torch.rand(600, 1, 4, 5, generator=torch.Generator().manual_seed(0))
MEAN = X.mean(0)
VARIANCE = float((X.double() - X.double().mean(0)).square().mean())


class Stub:
    """Stands for a network that does this to its input; remembers what it was given."""

    normalization = Normalization(torch.tensor(0.0), torch.tensor(1.0))

    def __init__(self, does: Callable[[Tensor], Tensor]) -> None:
        self.does, self.given = does, list[Tensor]()

    def reconstruct(self, x: Tensor) -> Tensor:
        self.given.append(x.clone())
        return self.does(x)


def checked(does: Callable[[Tensor], Tensor]) -> CopyCheck:
    net: Any = Stub(does)
    return check_copying(net, X, X.mean(0))


# ---------------------------------------------------------------------------------------- copy check


def test_the_identity_copies_all() -> None:
    found = checked(lambda x: x)
    assert (found.real, found.shuffled, found.permuted) == (0.0, 0.0, 0.0)
    assert found.shuffled_variance == pytest.approx(VARIANCE, rel=1e-5)
    assert found.copied == 1.0
    assert not found.passed
    assert found.sentence == "The network copies its input: it reconstructs 100% of pure noise."


def test_a_constant_copies_nothing() -> None:
    found = checked(lambda x: MEAN.expand_as(x))
    assert found.real == pytest.approx(VARIANCE, rel=1e-5)
    assert found.shuffled == pytest.approx(VARIANCE, rel=1e-5)
    assert found.copied == pytest.approx(0.0, abs=1e-5)
    assert found.ratio == pytest.approx(1.0, rel=1e-5)


def test_a_network_that_reconstructs_nothing_is_not_said_to_have_learned() -> None:
    found = checked(lambda x: MEAN.expand_as(x))
    assert not found.sentence.startswith("The network learned this data")


def test_a_network_worse_than_a_constant_copies_at_least_nothing() -> None:
    assert checked(lambda x: 2 * MEAN - x).copied == 0.0


@settings(max_examples=20)
@given(share=st.floats(0, 1))
def test_the_share_that_comes_back_in_closed_form(share: float) -> None:
    """Deviations from the mean shrunk to a share: 1 - (1 - share)^2 of the variance comes back."""
    found = checked(lambda x: MEAN + share * (x - MEAN))
    assert found.copied == pytest.approx(1 - (1 - share) ** 2, abs=1e-5)
    assert found.passed == (found.copied < 2 / 3)


def test_the_limit_is_two_thirds() -> None:
    share = 1 - math.sqrt(1 / 3)
    assert checked(lambda x: MEAN + (share - 0.01) * (x - MEAN)).passed
    assert not checked(lambda x: MEAN + (share + 0.01) * (x - MEAN)).passed


def test_projection_on_k_directions_brings_back_k_of_all() -> None:
    """Noise with equal variances has no preferred direction, data in k directions has."""
    generator = torch.Generator().manual_seed(0)
    data = torch.randn(5000, 3, generator=generator) @ torch.randn(3, 20, generator=generator)
    data = data.double() / data.double().std(0)  # of equal variances, and still of rank 3
    basis = torch.linalg.svd(data, full_matrices=False).Vh[:3].t()
    net: Any = Stub(lambda x: x @ basis @ basis.t())
    found = check_copying(net, data, data.mean(0))
    assert found.real == pytest.approx(0.0, abs=1e-10)
    assert found.copied == pytest.approx(3 / 20, abs=0.01)


def test_a_known_ratio() -> None:
    found = CopyCheck(
        0.1, shuffled=0.3, permuted=0, shuffled_variance=0.4, mean_image=0.4, samples=50
    )
    assert found.ratio == pytest.approx(3.0)
    assert found.copied == pytest.approx(0.25)
    assert found.sentence == (
        "The network learned this data: it explains 75% of its variance and only 25% of pure noise."
    )
    half = replace(found, real=0.3)
    assert half.sentence.startswith(
        "The network began to learn this data: it explains 25% of its variance"
    )


def test_shuffled_keeps_each_pixels_values_and_permuted_each_samples() -> None:
    net: Any = Stub(lambda x: x)
    check_copying(net, X, X.mean(0))
    assert all(len(part) <= 256 for part in net.given)
    real, shuffled, permuted = torch.cat(net.given).split(600)
    assert torch.equal(real, X)
    assert torch.equal(shuffled.sort(0).values, X.sort(0).values)
    # of 600 values one stays where it was in a pixel on average
    assert (shuffled == X).float().mean() < 0.01
    flat, moved = X.flatten(1), permuted.flatten(1)
    order = [int((flat[0] == value).nonzero()) for value in moved[0]]
    assert sorted(order) == list(range(20)) != order
    assert torch.equal(moved, flat[:, order])


def test_shuffled_pixels_have_nothing_to_do_with_each_other() -> None:
    net: Any = Stub(lambda x: x)
    copies = torch.rand(512, 1, generator=torch.Generator().manual_seed(0)).repeat(1, 6)
    check_copying(net, copies, copies.mean(0))
    shuffled = torch.cat(net.given)[512:1024]
    correlation = torch.corrcoef(shuffled.t()) - torch.eye(6)
    assert correlation.abs().max() < 0.2  # 4 standard deviations of independent ones are 0.18


def test_the_check_gives_the_same_twice_and_leaves_the_global_stream_alone() -> None:
    state = torch.get_rng_state()
    first, again = checked(lambda x: 0.5 * x), checked(lambda x: 0.5 * x)
    assert first == again
    assert torch.equal(torch.get_rng_state(), state)


def table(columns: int = 20) -> torch.Tensor:
    """A table whose first column varies a million times more than the others."""
    x = torch.randn(400, columns, generator=torch.Generator().manual_seed(0))
    x[:, 0] *= 1e3
    return x


def test_a_column_that_varies_far_more_does_not_hide_the_others() -> None:
    """All of the first column and nothing of the others is 0.95 of what was to be learned, not 2e-5."""

    def first_alone(x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x[:, :1], torch.zeros_like(x[:, 1:])], 1)

    x = table()
    net: Any = Stub(first_alone)
    found = check_copying(net, x, x.mean(0))
    assert (found.columns, found.learned) == (20, 1)
    assert found.real == pytest.approx(19 / 20, abs=0.01)
    assert found.copied == pytest.approx(1 / 20, abs=0.01)
    assert found.passed
    assert found.sentence == (
        "The network learned 1 of 20 columns: beside the largest the others vary too little to count."
    )
    net = Stub(lambda x: x)
    copies = check_copying(net, x, x.mean(0))
    assert (copies.learned, copies.copied, copies.passed) == (20, 1.0, False)
    assert not replace(found, learned=18).hides_columns  # a few are always harder than the others
    assert replace(found, learned=17).hides_columns


def test_columns_of_like_spreads_are_averaged_as_they_are() -> None:
    """Images with dark borders are averaged too: their pixels vary differently and whose channels do not."""
    net: Any = Stub(lambda x: 0.5 * x)
    image = torch.rand(100, 3, 4, 4) * torch.tensor([1.0, 0.01, 0.0, 0.0])
    for x in (table() / table().std(0), image):
        found = check_copying(net, x, x.mean(0))
        assert found.columns == 0
        assert found.real == pytest.approx(float((0.5 * x).square().mean()))


# ------------------------------------------------------------------------------- real networks, digits


def fitted(compose: Compose, *overrides: str) -> Built:
    built = build(compose("dashboard.images=0", *overrides))
    pl.Trainer(
        **built.trainer,
        callbacks=built.callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    ).fit(built.module)
    return built


QUICK = ("network=linear", "optimizer.lr=0.01", "trainer.max_epochs=3")


@pytest.mark.parametrize(
    ("overrides", "passes"),
    [
        (["constraint=[]", "model.allow_overcomplete=true", "model.latent_dim=96"], False),
        (["model.latent_dim=8"], True),
        (["model=sparse", "model.latent_dim=96", "constraint.topk.k=8"], True),
        (["model=denoising", "model.latent_dim=96", "constraint.masking.fraction=0.5"], True),
    ],
    ids=["unconstrained", "bottleneck", "topk", "masking"],
)
def test_a_network_that_copies_is_caught_and_a_constrained_one_is_not(
    compose: Compose, overrides: list[str], passes: bool
) -> None:
    built = fitted(compose, *QUICK, *overrides)
    card = built.evaluation.make_card(built.net, built.data, {"l0": 8.0})
    assert card.copy_check.passed is passes
    assert card.images == 180  # the whole test split
    assert card.copy_check.real < card.copy_check.shuffled
    # it was trained: it does better than the mean image
    assert card.copy_check.real < 0.7 * card.copy_check.shuffled_variance


# ------------------------------------------------------------------------------------------ baselines


def written(folder: Path, train: np.ndarray, test: np.ndarray, **options: Any) -> DataModule:
    for name, array in (("train", train), ("test", test)):
        np.save(folder / f"{name}.npy", array.astype(np.float32))
    source = Array(path=str(folder / "train.npy"), test_path=str(folder / "test.npy"))
    data = DataModule(source=source, seed=0, **options)
    data.setup()
    return data


def by_svd(data: DataModule, size: int) -> tuple[float, float]:
    """The errors of the mean and of the best `size` directions about it, found in float64."""
    train, test = (data.peek(s, 10**6).flatten(1).double().numpy() for s in ("train", "test"))
    mean = train.mean(0)
    _, values, directions = np.linalg.svd(train - mean, full_matrices=False)
    basis = directions[:size][values[:size] > 1e-6 * values[0]]
    restored = mean + (test - mean) @ basis.T @ basis
    return float(np.mean((test - mean) ** 2)), float(np.mean((test - restored) ** 2))


def near_a_plane(n: int, offset: float = 0.0, seed: int = 0) -> np.ndarray:
    """Samples near three dimensions of twelve."""
    generator, own = np.random.default_rng(0), np.random.default_rng([seed, n])
    plane, centre = generator.normal(size=(3, 12)), generator.normal(size=12)
    return own.normal(size=(n, 3)) @ plane + 0.1 * own.normal(size=(n, 12)) + offset * centre


@pytest.mark.parametrize("normalization", ["unit", "standard", "none"])
@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_the_mean_and_pca_are_those_of_a_direct_decomposition(
    tmp_path: Path, normalization: str, offset: float
) -> None:
    """The result is exact too if values are much larger than their spread, as in spectra and temperatures."""
    train, test = (
        near_a_plane(200, offset),
        near_a_plane(5000, offset),
    )  # more than are taken at once
    data = written(tmp_path, train, test, normalization=normalization)
    mean, pca = measure_baselines(data, 3)
    expected = by_svd(data, 3)
    assert (mean.name, pca.name) == ("mean sample", "PCA, 3 components")
    assert mean.mse == pytest.approx(expected[0], rel=1e-3 if offset else 1e-5)
    assert pca.mse == pytest.approx(expected[1], rel=1e-2)
    peak, scale = np.ptp(train[data.splits["train"].index]), data.normalization.scale
    if scale.ndim == 0:
        for found in (mean, pca):
            wanted = -20 * math.log10(float(scale) / peak) - 10 * math.log10(found.mse)
            assert found.psnr == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 11])
def test_pca_with_any_number_of_components(tmp_path: Path, size: int) -> None:
    data = written(tmp_path, near_a_plane(100), near_a_plane(50))
    _, pca = measure_baselines(data, size)
    assert pca.mse == pytest.approx(by_svd(data, size)[1], rel=1e-3)


@pytest.mark.parametrize("size", [12, 13, 1000])
def test_as_many_components_as_features_are_no_baseline(tmp_path: Path, size: int) -> None:
    data = written(tmp_path, near_a_plane(100), near_a_plane(50))
    (mean,) = measure_baselines(data, size)
    assert mean.name == "mean sample"


@pytest.mark.parametrize("size", [7, 8, 9, 100])
def test_fewer_samples_than_components_span_what_they_span(tmp_path: Path, size: int) -> None:
    """Nine training samples lie in eight dimensions about their mean, and there is no ninth."""
    generator = np.random.default_rng(0)
    train, test = generator.normal(size=(10, 30)), generator.normal(size=(50, 30))
    data = written(tmp_path, train, test)
    assert len(data.splits["train"]) == 9
    _, pca = measure_baselines(data, size)
    assert pca.mse == pytest.approx(by_svd(data, size)[1], rel=1e-3)


def test_constant_features_disturb_no_baseline(tmp_path: Path) -> None:
    train, test = near_a_plane(100), near_a_plane(50)
    train[:, 5] = test[:, 5] = 2.5
    data = written(tmp_path, train, test)
    assert [b.mse for b in measure_baselines(data, 2)] == pytest.approx(by_svd(data, 2), rel=1e-3)


def test_baselines_of_images_are_on_the_split_that_the_network_is_tested_on(
    compose: Compose,
) -> None:
    data = build(compose()).data
    found = [b.mse for b in measure_baselines(data, 16)]
    assert found == pytest.approx(by_svd(data, 16), rel=1e-3)
    assert found[1] < found[0]


def test_a_denoising_model_and_the_baselines_see_the_same_corrupted_samples(
    compose: Compose,
) -> None:
    words = ("model=denoising", "network=linear", "dataset.batch_size=32", "model.latent_dim=8")
    built = build(compose(*words, "constraint.masking.fraction=0.4"))
    net, data = built.net.eval(), built.data
    seen: list[torch.Tensor] = []
    forward = net.forward

    def noting(x: torch.Tensor, **options: Any) -> Any:
        output = forward(x, **options)
        seen.extend([output.corrupted] if options.get("as_trained", True) else [])
        return output

    net.forward = noting
    trainer = pl.Trainer(**built.trainer, logger=False, enable_progress_bar=False)
    trainer.test(built.module, verbose=False)
    tested = collect_metrics(trainer)
    corruption = Corruption(net, data)
    clean = data.peek("test", 10**6)
    assert clean.shape == torch.cat(seen).shape
    blocks = clean.split(corruption.rows)
    again = [torch.from_numpy(corruption(x.numpy(), n)) for n, x in enumerate(blocks)]
    assert torch.equal(torch.cat(again), torch.cat(seen))

    mean, pca = measure_baselines(data, 8, corruption)
    assert (mean.denoised_mse, mean.denoised_psnr) == (mean.mse, mean.psnr)
    train = data.peek("train", 10**6).flatten(1).double()
    directions = torch.linalg.svd(train - train.mean(0), full_matrices=False).Vh[:8]
    projected = (torch.cat(seen).flatten(1).double() - train.mean(0)) @ directions.t()
    restored = train.mean(0) + projected @ directions
    expected = float((restored - clean.flatten(1)).square().mean())
    assert pca.denoised_mse == pytest.approx(expected, rel=1e-4)
    assert pca.mse < pca.denoised_mse
    assert measure_baselines(data, 8)[1].denoised_mse is None
    metrics = {k.removeprefix("test/"): v for k, v in tested.items() if k.startswith("test/")}
    card = built.evaluation.make_card(net, data, metrics)
    assert card.baselines == [mean, pca]
    assert card.as_dict()["baselines"][pca.name]["denoised_mse"] == pca.denoised_mse
    rows = {str(cell) for cell in _make_table(card, {"epochs": 1, "seconds": 1}).columns[0].cells}
    assert "MSE from the corrupted input" in rows


def test_few_of_many_samples_are_said_to_be_those_that_pca_is_fitted_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = written(tmp_path, near_a_plane(300), near_a_plane(50))
    assert (FITTED, measure_baselines(data, 3)[1].name) == (20_000, "PCA, 3 components")
    monkeypatch.setattr("aeframe.evaluation.baselines.FITTED", 200)
    assert measure_baselines(data, 3)[1].name == "PCA, 3 components, fitted on 200 samples"


@pytest.mark.parametrize("inference", ["relu", "threshold"])
def test_codes_that_no_decoder_was_trained_on_are_not_compared_with_pca(
    compose: Compose, inference: str
) -> None:
    words = ("model=sparse", "constraint=winner_take_all", "model.latent_dim=80")
    built = build(compose(*words, f"constraint.winner_take_all.inference={inference}"))
    built.net.constraints["winner_take_all"].weight.fill_(1.0)  # as after a training step
    card = Evaluation(images=10).make_card(built.net, built.data, {"l0": 40.0})
    names = ["mean image", "PCA, 40 components"]
    assert [b.name for b in card.baselines] == names[: 1 if inference == "relu" else 2]


# ------------------------------------------------------------------------------------------- the card


def test_the_cards_likelihood_is_the_exact_one_where_that_is_known(compose: Compose) -> None:
    """X = W z + b + N(0, 1) has log p(x) = log N(x; b, W W^T + I). The posterior is the prior."""
    built = build(
        compose(
            *("model=variational", "likelihood=gaussian", "likelihood.variance=1.0"),
            *("network=linear", "model.latent_dim=2"),
            *("evaluation.images=150", "evaluation.importance_samples=2000"),
        )
    )
    model = built.net.model
    with torch.no_grad():
        model.writes_code.weight.zero_()
        model.writes_code.bias.zero_()
        weight, bias = model.decoder.dictionary, model.decoder.output_bias
        exact = MultivariateNormal(bias, weight @ weight.t() + torch.eye(64))
        x = built.data.peek("test", 150).flatten(1)
        each = -exact.log_prob(x)
    given = {"mse": 0.5}
    card = built.evaluation.make_card(built.net, built.data, given)
    assert card.images == 150
    assert card.metrics["nll"] == pytest.approx(each.mean().item(), abs=0.02)
    error = each.std().item() / 150**0.5
    assert card.metrics["nll_standard_error"] == pytest.approx(error, rel=0.02)
    assert card.metrics["mse"] == 0.5
    assert given == {"mse": 0.5}


def test_more_images_than_pass_at_once_have_one_likelihood(compose: Compose) -> None:
    built = build(
        compose("model=variational", "dataset.test_fraction=0.3", "evaluation.importance_samples=3")
    )
    card = built.evaluation.make_card(built.net, built.data, {})
    assert card.images == 539
    assert 20 < card.metrics["nll"] < 60  # nats of all 64 pixels, of one image


def test_only_a_stochastic_model_has_a_likelihood(compose: Compose) -> None:
    built = build(compose("network=linear"))
    card = Evaluation(images=20).make_card(built.net, built.data, {"mse": 0.1})
    assert card.metrics == {"mse": 0.1}
    assert (card.images, card.samples) == (20, 180)


@pytest.mark.parametrize(("l0", "size"), [(7.6, 8), (0.0, 1), (20.0, 20)])
def test_a_sparse_codes_size_is_its_number_of_active_units(
    compose: Compose, l0: float, size: int
) -> None:
    built = build(compose("model=sparse", "model.latent_dim=80"))
    card = Evaluation(images=10).make_card(built.net, built.data, {"l0": l0})
    assert card.code_size == size
    assert (
        card.baselines[1].name == f"PCA, {size} component{'s' * (size > 1)}"
    )  # compared at an equal size


def test_another_codes_size_is_its_number_of_units(compose: Compose) -> None:
    built = build(compose("model.latent_dim=7"))
    card = Evaluation(images=10).make_card(built.net, built.data, {})
    assert card.code_size == 7
    assert card.baselines[1].name == "PCA, 7 components"


def test_the_card_is_of_the_network_as_it_is_used(compose: Compose) -> None:
    """Dropout is off, even right after training."""
    built = build(compose("network.dropout=0.9"))
    built.net.train()
    first = Evaluation(images=50).make_card(built.net, built.data, {})
    with torch.no_grad():
        x = built.data.peek("test", 50)
        real = (built.net.eval().reconstruct(x) - x).square().mean().item()
    assert first.copy_check.real == pytest.approx(real, rel=1e-6)


def test_a_card_is_plain_data(compose: Compose) -> None:
    built = build(compose("model=variational"))
    evaluation = Evaluation(images=20, importance_samples=2)
    card = evaluation.make_card(built.net, built.data, {"mse": 0.1})
    plain = card.as_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    check = plain["copy_check"]
    assert check["copied"] == card.copy_check.copied
    assert check["passed"] is card.copy_check.passed
    assert check["sentence"] == card.copy_check.sentence
    assert plain["baselines"]["mean image"]["mse"] == card.baselines[0].mse
    assert plain["metrics"] == card.metrics
    assert (plain["code_size"], plain["images"]) == (16, 20)


def test_a_perfect_copy_is_plain_data_too() -> None:
    card = Card({}, [], checked(lambda x: x), 1, len(X), len(X))
    assert json.loads(json.dumps(card.as_dict(), allow_nan=False)) == card.as_dict()


def test_too_few_samples_are_no_ground_for_a_verdict() -> None:
    net: Any = Stub(lambda x: x)
    found = check_copying(net, X[:5], X.mean(0))
    assert found.passed
    assert found.sentence == "Only 5 test samples: too few for this check."


def test_no_better_than_the_training_mean_is_nothing_learned() -> None:
    """Whatever the test samples' own mean is: the table beside it shows the training data's."""
    far = X.mean(0) + 3.0
    net: Any = Stub(lambda x: x.mean(0).expand_as(x))
    assert "learned nothing" not in check_copying(net, X, far).sentence
    net = Stub(lambda x: far.expand_as(x))
    sentence = check_copying(net, X, far).sentence
    assert (
        sentence
        == "The network has learned nothing yet: its error is no lower than that of the data's mean."
    )


def test_the_check_explains_as_much_variance_as_the_table() -> None:
    """The number is that of the whole test split, unless columns count alike."""
    check = CopyCheck(0.1, 0.3, 0.3, 0.4, 0.4, 50, explained=0.8123)
    assert "it explains 81% of its variance" in check.sentence
    assert "it explains 75% of its variance" in replace(check, columns=12, learned=12).sentence
    for explained, told in ((0.9992, "99.9%"), (0.99999, "99.9%"), (0.9949, "99%"), (1.0, "100%")):
        assert f"it explains {told} of its variance" in replace(check, explained=explained).sentence
    little = replace(check, explained=0.06).sentence
    assert little == "The network has learned almost nothing yet: it explains 6% of the variance."
    nothing = (
        "The network has learned nothing yet: its error is no lower than that of the data's mean."
    )
    assert replace(check, explained=-0.2).sentence == nothing


def test_only_images_and_known_ranges_have_a_psnr() -> None:
    metrics = {"mse": 0.01, "psnr": 20.0, "denoised_psnr": 18.0, "gain_db": 2.0}
    passed = CopyCheck(0.1, 0.3, 0.3, 0.4, 0.4, 50)
    card = Card(metrics, [Baseline("data mean", 0.06, 12.2)], passed, 4, 100, 100)
    names = [row[0] for row in list_rows(card)]
    assert names[:2] == ["MSE per pixel", "PSNR (dB)"]
    assert "PSNR of its reconstruction (dB)" in names
    names = [row[0] for row in list_rows(replace(card, has_peak=False))]
    assert names == ["MSE per pixel", "gain over corruption (dB)"]


def test_signed_values_of_no_known_range_have_none(compose: Compose, vectors: Path) -> None:
    built = build(compose("dataset=array", f"dataset.path={vectors}", "model.latent_dim=3"))
    metrics = {"mse": 0.1, "psnr": 20.0, "explained_variance": 0.5}
    card = built.evaluation.make_card(built.net, built.data, metrics)
    assert not card.has_peak
    assert card.copy_check.explained == 0.5
