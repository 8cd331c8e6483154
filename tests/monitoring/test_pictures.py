"""The dashboard's parts: what each shows of a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from aeframe.config.options import DashboardOptions
from aeframe.monitoring.dashboard.filters import decoder_filters, encoder_filters
from aeframe.monitoring.dashboard.latent import quantiles
from aeframe.monitoring.dashboard.painting import GAP, LINE, MARGIN, SIDE
from aeframe.training.build import build
from tests.support.drawing import EVERY, Drawn, drawn

__all__ = ["drawn"]
Draw = Callable[..., Drawn]

EACH = {
    "reconstructions",
    "worst",
    "best",
    "codes",
    "encoder_filters",
    "decoder_filters",
}
LATENT = {"samples", "traversal", "interpolation", "kl_of_units"}
SPARSE = ("model=sparse", "model.latent_dim=80", "constraint.topk.k=4")


def tile(
    picture: np.ndarray, row: int, column: int, *, named: bool = True, top: int = 0
) -> np.ndarray:
    """A sample of digits in a picture, [8, 8] in [0, 1]."""
    x = (MARGIN if named else 0) + GAP + column * (SIDE + GAP)
    y = top + GAP + row * (SIDE + GAP)
    return picture[y : y + SIDE : 7, x : x + SIDE : 7, 0] / 255


def is_near(found: np.ndarray, wanted: Tensor) -> bool:
    return bool(np.abs(found - wanted.squeeze().clamp(0, 1).numpy()).max() < 0.01)


# ------------------------------------------------------------------------------------------ what there is


@pytest.mark.parametrize(
    ("overrides", "more"),
    [
        ((), set[str]()),
        (("model=denoising", "constraint=[masking,gaussian_noise]"), {"corruptions"}),
        (SPARSE, {"units", "firing_rates"}),
        (("model=variational",), LATENT),
        (("model=variational", "model.latent_dim=2"), {*LATENT, "manifold"}),
    ],
    ids=lambda value: " ".join(sorted(value)) if isinstance(value, set) else str(value),
)
def test_each_variant_has_its_own_pictures(
    drawn: Draw, overrides: tuple[str, ...], more: set[str]
) -> None:
    found = drawn(*overrides)
    assert found.pictures.keys() == EACH | more
    frequency = {"val/activation_frequency"} if "model=sparse" in overrides else set()
    assert found.histograms.keys() == {"val/code"} | frequency
    for picture in found.pictures.values():
        assert np.ptp(picture) > 100  # none is empty
    assert all(len(said) > 30 for said in found.said.values())


def test_every_part_has_an_option_and_every_option_a_part() -> None:
    options = {f.name for f in fields(DashboardOptions)} - {"images", "every_n_epochs", "text"}
    assert options == set(EVERY)


TAGS = {
    "reconstructions": {"reconstructions"},
    "extremes": {"worst", "best"},
    "filters": {"encoder_filters", "decoder_filters"},
    "samples": {"samples"},
    "traversal": {"traversal"},
    "interpolation": {"interpolation"},
    "kl": {"kl_of_units"},
    "code": {"val/code"},
    "projection": {"codes"},
}


def test_each_part_draws_its_own(drawn: Draw) -> None:
    first = drawn("model=variational", "network=linear", parts=())
    assert not first.said
    for part, tags in TAGS.items():
        found = Drawn.of(first.view, first.page.writer, [part])
        assert found.said.keys() == tags


@pytest.mark.parametrize(
    ("shape", "overrides"),
    [
        (
            (40, 30),
            ["model=denoising", "constraint=[masking,gaussian_noise]", "model.latent_dim=4"],
        ),
        ((40, 30), ["model=variational", "likelihood=gaussian", "model.latent_dim=2"]),
        ((40, 30), [*SPARSE]),
        ((30, 1, 1, 20), ["dataset.layout=chw", "model.latent_dim=4"]),
        ((30, 2, 9, 7), ["network=conv", "network.widths=[4]", "model.latent_dim=4"]),
        ((30, 3, 32, 20), ["network=conv", "network.widths=[4,8]", "model.latent_dim=4"]),
        (
            (30, 3, 16, 16),
            ["network=fully_conv", "network.widths=[4]", "model.latent_dim=64", "constraint=rate"],
        ),
        (
            (30, 3, 16, 16),
            [
                "network=fully_conv",
                "network.widths=[4]",
                "model=variational",
                "model.latent_dim=64",
                "likelihood=gaussian",
            ],
        ),
        ((30, 1, 150, 40), ["network.widths=[8]", "model.latent_dim=2"]),
        ((3, 6), ["model.latent_dim=1"]),
        (
            (30, 1, 5, 5),
            [
                "network.tied=true",
                "network.widths=[8]",
                "trainer.precision=64-true",
                "model.latent_dim=3",
                "likelihood=bernoulli",
            ],
        ),
        (
            (30, 1, 5, 5),
            [
                "model=variational",
                "model.k=3",
                "model.latent_dim=3",
                "likelihood.variance=learned",
                "likelihood=gaussian",
            ],
        ),
        ((30, 1, 5, 5), ["network=conv", "network.widths=[]", "model.latent_dim=3"]),
    ],
    ids=str,
)
def test_odd_shapes_are_drawn(
    drawn: Draw, tmp_path: Path, shape: tuple[int, ...], overrides: list[str]
) -> None:
    values = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    np.save(tmp_path / "data.npy", values)
    data = ("dataset=array", f"dataset.path={tmp_path / 'data.npy'}", "dataset.batch_size=8")
    found = drawn(*data, *overrides)
    assert {"reconstructions", "worst", "codes"} <= found.pictures.keys()
    assert {"encoder_filters", "decoder_filters"} <= found.pictures.keys()
    assert all(p.shape[0] * p.shape[1] < 1_500_000 for p in found.pictures.values())


# --------------------------------------------------------------------------------------- which samples


def test_the_worst_and_the_best_are_those(drawn: Draw) -> None:
    found = drawn("network=linear", parts=("extremes",))
    x = found.view.samples.many
    assert len(x) == 180  # all that there are
    with torch.no_grad():
        error = ((found.view.net.reconstruct(x) - x) ** 2).flatten(1).mean(1)
    order = sorted(range(len(x)), key=lambda i: -error[i])
    for i in range(8):
        assert is_near(tile(found.pictures["worst"], 0, i, top=LINE), x[order[i]])
        assert is_near(tile(found.pictures["best"], 0, i, top=LINE), x[order[-1 - i]])


def test_many_large_images_are_drawn_smaller(drawn: Draw, tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (20, 1, 100, 50)).astype(np.uint8)
    np.save(tmp_path / "large.npy", values)
    data = ("dataset=array", f"dataset.path={tmp_path / 'large.npy'}", "network=linear")
    found = drawn(*data, "model=variational", "model.latent_dim=2", columns=2)
    assert found.pictures["traversal"].shape == (LINE + GAP + 2 * 66, MARGIN + GAP + 9 * 34, 3)
    assert found.pictures["reconstructions"].shape[0] == GAP + 3 * (100 + GAP)


def test_no_more_samples_than_there_are_or_than_fit(drawn: Draw, tmp_path: Path) -> None:
    np.save(
        tmp_path / "few.npy", np.random.default_rng(0).integers(0, 256, (30, 6, 6)).astype("u1")
    )
    data = ("dataset=array", f"dataset.path={tmp_path / 'few.npy'}", "model.latent_dim=4")
    found = drawn(*data)
    assert found.view.columns == len(found.view.samples.many) == 3
    wide = drawn("model=sparse", "network=linear", "model.latent_dim=65536", parts=("units",))
    assert len(wide.view.samples.many) == 2**22 // 65536


def test_each_corruption_is_shown_alone_and_then_all_together(drawn: Draw) -> None:
    names = "masking,gaussian_noise"
    words = (
        "model=denoising",
        "network=linear",
        f"constraint=[{names}]",
        "constraint.masking.fraction=0.5",
    )
    found = drawn(*words, parts=("corruptions", "reconstructions"))
    picture, x = found.pictures["corruptions"], found.view.samples.few
    assert picture.shape[0] == GAP + 7 * (SIDE + GAP)
    assert is_near(tile(picture, 0, 0), x[0])
    masked, noisy, both = (tile(picture, row, 0) for row in (1, 3, 5))
    assert (masked == 0).mean() >= 0.5
    assert set(masked[masked > 0].round(4)) <= set(tile(picture, 0, 0).round(4).flatten())
    assert 0.1 < np.std(noisy - x[0, 0].numpy()) < 0.3  # 0.3, where it was not cut off
    assert is_near(both, found.view.output.corrupted[0])
    with torch.no_grad():
        restored = found.view.net.reconstruct(found.view.output.corrupted)
    assert is_near(tile(picture, 6, 0), restored[0])


# ------------------------------------------------------------------------------------------ the latent


def test_the_traversal_begins_with_the_units_of_most_nats(drawn: Draw) -> None:
    found = drawn(
        "model=variational", "network=linear", "model.latent_dim=12", parts=("traversal", "kl")
    )
    net, view = found.view.net, found.view
    with torch.no_grad():
        posterior = net.encode(view.samples.many).posterior
        assert posterior is not None
        kl = posterior.kl().mean(0)
        assert torch.allclose(view.passed.kl, kl, rtol=1e-4)  # type: ignore[arg-type]
        order = sorted(range(12), key=lambda unit: -kl[unit])
        base = net.encode(view.samples.few[:1]).value
        for row in (0, 9):  # ten of twelve
            for column, value in ((0, -3.0), (4, 0.0), (8, 3.0)):
                code = base.clone()
                code[0, order[row]] = value
                wanted = net.model.reconstruct(code)
                assert is_near(tile(found.pictures["traversal"], row, column, top=LINE), wanted)
    assert found.pictures["traversal"].shape[0] == LINE + GAP + 10 * (SIDE + GAP)


def test_what_lies_between_two_samples(drawn: Draw) -> None:
    found = drawn("model=variational", "network=linear", columns=5, parts=("interpolation",))
    picture, x, net = found.pictures["interpolation"], found.view.samples.few, found.view.net
    assert picture.shape[0] == GAP + 2 * (SIDE + GAP)
    with torch.no_grad():
        a, b = net.encode(x[2:4]).value
        middle = net.model.reconstruct(torch.stack([a, a + (b - a) * 3 / 7, b]))
    assert is_near(tile(picture, 1, 0, named=False), x[2])
    for column, wanted in zip((1, 4, 8), middle, strict=True):
        assert is_near(tile(picture, 1, column, named=False), wanted)
    assert is_near(tile(picture, 1, 9, named=False), x[3])
    assert (
        "interpolation"
        not in drawn("model=variational", columns=1, parts=("interpolation",)).pictures
    )


def test_a_manifold_has_as_much_of_the_prior_between_any_two() -> None:
    codes = quantiles().view(15, 15, 2)
    normal = torch.distributions.Normal(0.0, 1.0)
    expected = (torch.arange(15) + 0.5) / 15
    assert torch.allclose(normal.cdf(codes[0, :, 0].float()), expected, atol=1e-5)
    assert torch.allclose(normal.cdf(codes[:, 0, 1].float()), expected.flip(0), atol=1e-5)
    assert (codes[:, :, 0] == codes[:1, :, 0]).all()


# ------------------------------------------------------------------------------------------------ units


def test_the_most_used_units_with_what_excites_them_most(drawn: Draw) -> None:
    found = drawn(*SPARSE, "network=linear", parts=("units",))
    view = found.view
    with torch.no_grad():
        codes = view.net.encode(view.samples.many).value.numpy()
    active = (codes != 0).sum(0)
    order = sorted(range(80), key=lambda unit: -active[unit])[:10]
    for row, unit in enumerate(order):
        strongest = sorted(range(len(codes)), key=lambda i: -codes[i, unit])[:8]
        for column, i in enumerate(strongest):
            if codes[i, unit] > 0:
                assert is_near(tile(found.pictures["units"], row, column), view.samples.many[i])


# ---------------------------------------------------------------------------------------------- filters


def test_filters_are_the_weights_next_to_the_samples(compose: Callable[..., Any]) -> None:
    model = build(compose("network.widths=[24]", "model.latent_dim=4")).net.model
    first, last = model.encoder[1].weight, list(model.decoder.modules())[-1].weight
    assert torch.equal(encoder_filters(model.encoder, model.shape), first.view(24, 1, 8, 8))  # type: ignore[arg-type]
    found = decoder_filters(model.decoder, model.shape)
    assert found is not None
    assert torch.equal(found[3].flatten(), last[:, 3])
    tied = build(
        compose("network.widths=[24]", "network.tied=true", "model.latent_dim=4")
    ).net.model
    assert torch.equal(
        encoder_filters(tied.encoder, tied.shape),  # type: ignore[arg-type]
        decoder_filters(tied.decoder, tied.shape),  # type: ignore[arg-type]
    )
    conv = build(compose("network=conv", "network.widths=[4,8]", "model.latent_dim=4")).net.model
    for found in (
        encoder_filters(conv.encoder, conv.shape),
        decoder_filters(conv.decoder, conv.shape),
    ):
        assert found is not None
        assert found.shape == (4, 1, 3, 3)
