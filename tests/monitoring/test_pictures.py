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
from aeframe.monitoring.dashboard.latent import SIZE, quantiles
from aeframe.monitoring.dashboard.paper import WIDTH
from aeframe.monitoring.dashboard.sheet import Row
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


def tile(rows: list[Row], row: int, column: int) -> np.ndarray:
    """A sample of digits in a sheet, [8, 8] in [0, 1]."""
    pixels = np.asarray(rows[row].tiles[column].convert("L"))
    assert pixels.shape == (64, 64)
    return pixels[::8, ::8] / 255


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
        row, column = 3 * (i // 4), i % 4  # input, reconstruction and error of four, twice
        for name, wanted in (("worst", order[i]), ("best", order[-1 - i])):
            rows = found.sheets[name]
            assert is_near(tile(rows, row, column), x[wanted])
            assert float(rows[row].captions[column]) == pytest.approx(
                float(error[wanted]), rel=0.06
            )


def test_many_large_images_are_drawn_smaller(drawn: Draw, tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (20, 1, 100, 50)).astype(np.uint8)
    np.save(tmp_path / "large.npy", values)
    data = ("dataset=array", f"dataset.path={tmp_path / 'large.npy'}", "network=linear")
    found = drawn(*data, "model=variational", "model.latent_dim=2", columns=2)
    sizes = {
        name: {tile.size for row in rows for tile in row.tiles}
        for name, rows in found.sheets.items()
    }
    assert sizes["reconstructions"] == {(50, 100)}  # as they are
    assert sizes["traversal"] == {(33, 66)}  # five beside each other
    assert all(
        picture.shape[1] == WIDTH for name, picture in found.pictures.items() if name in sizes
    )


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
    rows, x = found.sheets["corruptions"], found.view.samples.few
    assert [row.name for row in rows] == [
        *("input", "masking: input", "masking: reconstruction"),
        *("gaussian noise: input", "gaussian noise: reconstruction"),
        *("all together: input", "all together: reconstruction"),
    ]
    assert is_near(tile(rows, 0, 0), x[0])
    masked, noisy, both = (tile(rows, row, 0) for row in (1, 3, 5))
    assert (masked == 0).mean() >= 0.5
    assert set(masked[masked > 0].round(4)) <= set(tile(rows, 0, 0).round(4).flatten())
    assert 0.1 < np.std(noisy - x[0, 0].numpy()) < 0.3  # 0.3, where it was not cut off
    assert is_near(both, found.view.output.corrupted[0])
    with torch.no_grad():
        restored = found.view.net.reconstruct(found.view.output.corrupted)
    assert is_near(tile(rows, 6, 0), restored[0])


# ------------------------------------------------------------------------------------------ the latent


def test_the_traversal_begins_with_the_units_of_most_nats(drawn: Draw) -> None:
    found = drawn(
        "model=variational", "network=linear", "model.latent_dim=12", parts=("traversal", "kl")
    )
    net, view, rows = found.view.net, found.view, found.sheets["traversal"]
    with torch.no_grad():
        posterior = net.encode(view.samples.many).posterior
        assert posterior is not None
        kl = posterior.kl().mean(0)
        assert torch.allclose(view.passed.kl, kl, rtol=1e-4)  # type: ignore[arg-type]
        order = sorted(range(12), key=lambda unit: -kl[unit])
        base = net.encode(view.samples.few[:1]).value
        for row in (0, 9):  # ten of twelve
            for column, value in ((0, -3.0), (1, -1.5), (2, 0.0), (4, 3.0)):
                code = base.clone()
                code[0, order[row]] = value
                wanted = net.model.reconstruct(code)
                assert is_near(tile(rows, row, column), wanted)
    assert [row.name for row in rows] == [
        f"unit {unit}, {kl[unit]:.2f} nats" for unit in order[:10]
    ]
    assert rows[0].captions == ["-3", "-1.5", "0", "1.5", "3"]


def test_what_lies_between_two_samples(drawn: Draw) -> None:
    found = drawn("model=variational", "network=linear", columns=5, parts=("interpolation",))
    rows, x, net = found.sheets["interpolation"], found.view.samples.few, found.view.net
    with torch.no_grad():
        a, b = net.encode(x[2:4]).value
        between = net.model.reconstruct(torch.stack([a + (b - a) * n / 4 for n in (1, 2, 3)]))
    assert [row.captions for row in rows] == [
        ["image 1", "25%", "50%", "75%", "image 2"],
        ["image 3", "25%", "50%", "75%", "image 4"],
    ]
    for column, wanted in enumerate([x[2], *between, x[3]]):
        assert is_near(tile(rows, 1, column), wanted)
    assert (
        "interpolation"
        not in drawn("model=variational", columns=1, parts=("interpolation",)).pictures
    )


def test_a_manifold_has_as_much_of_the_prior_between_any_two() -> None:
    codes = quantiles().view(SIZE, SIZE, 2)
    normal = torch.distributions.Normal(0.0, 1.0)
    expected = (torch.arange(SIZE) + 0.5) / SIZE
    assert torch.allclose(normal.cdf(codes[0, :, 0].float()), expected, atol=1e-5)
    assert torch.allclose(normal.cdf(codes[:, 0, 1].float()), expected.flip(0), atol=1e-5)
    assert (codes[:, :, 0] == codes[:1, :, 0]).all()


def test_a_map_names_the_units_and_their_values(drawn: Draw) -> None:
    found = drawn("model=variational", "network=linear", "model.latent_dim=2", parts=("samples",))
    rows, model = found.sheets["manifold"], found.view.net.model
    assert rows[0].captions == ["-1.6", "-1.0", "-0.6", "-0.3", "0.0", "0.3", "0.6", "1.0", "1.6"]
    assert [row.name for row in rows] == [f"unit 1 at {c}" for c in reversed(rows[0].captions)]
    with torch.no_grad():
        wanted = model.reconstruct(quantiles()[[8]].float()).squeeze().clamp(0, 1)
    found_tile = np.asarray(rows[0].tiles[8])[::4, ::4] / 255  # both units at their highest
    assert np.abs(found_tile - wanted.numpy()).max() < 0.01


# ------------------------------------------------------------------------------------------------ units


def test_the_most_used_units_with_what_excites_them_most(drawn: Draw) -> None:
    found = drawn(*SPARSE, "network=linear", parts=("units",))
    view = found.view
    with torch.no_grad():
        codes = view.net.encode(view.samples.many).value.numpy()
    active = (codes != 0).sum(0)
    rows = found.sheets["units"]
    order = sorted(range(80), key=lambda unit: -active[unit])[:10]
    for row, unit in enumerate(order):
        strongest = sorted(range(len(codes)), key=lambda i: -codes[i, unit])[:5]
        for column, i in enumerate(strongest):
            if codes[i, unit] > 0:
                assert is_near(tile(rows, row, column), view.samples.many[i])
                assert float(rows[row].captions[column]) == pytest.approx(codes[i, unit], rel=0.06)


# ---------------------------------------------------------------------------------------------- filters


def test_filters_are_the_weights_next_to_the_samples(compose: Callable[..., Any]) -> None:
    plain = ("network.start=random", "model.latent_dim=4")
    model = build(compose("network.widths=[24]", *plain)).net.model
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
    conv = build(compose("network=conv", "network.widths=[4,8]", *plain)).net.model
    for found in (
        encoder_filters(conv.encoder, conv.shape),
        decoder_filters(conv.decoder, conv.shape),
    ):
        assert found is not None
        assert found.shape == (4, 1, 3, 3)


def test_the_picture_of_a_linear_path_says_so(drawn: Draw) -> None:
    beside = drawn("network.widths=[24]", "network.start=pca", parts=["filters"]).said
    plain = drawn("network.widths=[24]", "network.start=random", parts=["filters"]).said
    assert beside["decoder_filters"].startswith(
        "Weights of the decoder's linear path: what one unit of the code adds to the output."
    )
    assert plain["decoder_filters"].startswith("Weights of the decoder's last layer: what one of ")
    assert beside["encoder_filters"][:40] == plain["encoder_filters"][:40]


def test_the_last_filters_of_a_network_that_starts_as_pca_are_the_components(
    compose: Callable[..., Any],
) -> None:
    built = build(compose("network.widths=[24]", "network.start=pca", "model.latent_dim=4"))
    found = decoder_filters(built.net.model.decoder, built.net.model.shape)
    assert found is not None
    assert found.shape == (4, 1, 8, 8)
    flat = found.flatten(1)
    assert torch.allclose(flat @ flat.t(), torch.diag(flat.square().sum(1)), atol=1e-4)
