"""A network whose code is a map: the same weights for images of any size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig
from PIL import Image
from scipy.fft import dctn

from aeframe.config.check import check
from aeframe.core.errors import ConfigError
from aeframe.networks import FullyConv
from aeframe.networks.fully_conv import FullyConvDecoder, make_cosine_kernels
from aeframe.training.build import build
from tests.support.fitting import fit

Compose = Callable[..., DictConfig]


@settings(max_examples=40)
@given(
    colors=st.integers(1, 4),
    height=st.integers(1, 33),
    width=st.integers(1, 33),
    patch=st.integers(2, 9),
    overlap=st.integers(0, 9),
    heads=st.integers(1, 2),
    widths=st.lists(st.integers(1, 5), max_size=2),
)
def test_the_code_is_a_map_and_the_output_has_the_inputs_shape(
    colors: int, height: int, width: int, patch: int, overlap: int, heads: int, widths: list[int]
) -> None:
    network, shape = FullyConv(widths=widths, patch=patch, overlap=overlap), (colors, height, width)
    positions = -(-height // patch) * -(-width // patch)
    assert network.code_shape(shape, 3 * positions) == (3, -(-height // patch), -(-width // patch))
    assert network.code_problem(shape, 3 * positions) is None
    encoder, decoder = network.build(shape, 3 * positions, heads)
    x = torch.rand(2, *shape)
    code = encoder(x)
    assert code.shape == (2, heads * 3 * positions)
    assert decoder(code[:, : 3 * positions]).shape == x.shape


@settings(max_examples=20)
@given(colors=st.integers(1, 4), patch=st.integers(2, 9), overlap=st.integers(0, 5))
def test_it_begins_as_an_orthonormal_transform_that_gives_everything_back(
    colors: int, patch: int, overlap: int
) -> None:
    channels = colors * patch**2
    shape = (colors, 2 * patch, 3 * patch)
    x = torch.rand(2, *shape)
    encoder, decoder = FullyConv(widths=[4], patch=patch, overlap=overlap).build(
        shape, 6 * channels, 1
    )
    code = encoder(x)
    torch.testing.assert_close(decoder(code), x, atol=1e-5, rtol=0)
    torch.testing.assert_close(code.square().sum(1), x.square().flatten(1).sum(1))


def test_its_kernels_are_the_cosine_transforms_lowest_frequencies_first() -> None:
    patch = np.random.default_rng(0).random((8, 8))
    found = (make_cosine_kernels(1, 8, 64)[:, 0] * torch.from_numpy(patch)).sum((1, 2))
    expected = dctn(patch, norm="ortho")
    order = sorted((u + v, u, v) for u in range(8) for v in range(8))
    np.testing.assert_allclose(found, [expected[u, v] for _, u, v in order], atol=1e-6)
    gray, *others = make_cosine_kernels(
        3, 8, 3
    )  # of gray twice as many frequencies as of differences
    assert torch.allclose(gray, torch.full((3, 8, 8), 1 / (8 * 3**0.5)))
    assert all(torch.allclose(k.sum(), torch.zeros(()), atol=1e-6) for k in others)


def test_the_same_weights_read_and_write_images_of_any_size() -> None:
    torch.manual_seed(0)
    encoder, decoder = FullyConv(widths=[6], patch=4, overlap=2).build((3, 16, 16), 16 * 10, 1)
    assert isinstance(decoder, FullyConvDecoder)
    for parameter in (*encoder.parameters(), *decoder.parameters()):
        torch.nn.init.normal_(parameter, std=0.1)
    for height, width in ((1, 1), (7, 9), (16, 16), (33, 50)):
        x = torch.rand(2, 3, height, width)
        code = encoder(x)
        assert code.shape == (2, 10 * -(-height // 4) * -(-width // 4))
        assert decoder.sized(code, height, width).shape == x.shape
    # far from the edges a part of an image is coded like that part of the whole
    whole = torch.rand(1, 3, 80, 80)
    far = encoder(whole).view(1, 10, 20, 20)[..., 8:12, 8:12]
    near = encoder(whole[..., 16:64, 16:64]).view(1, 10, 12, 12)[..., 4:8, 4:8]
    torch.testing.assert_close(far, near)


def options(*more: str) -> list[str]:
    return ["network=fully_conv", "network.widths=[4]", "network.patch=4", *more]


def test_a_code_that_is_no_map_is_told_the_next_number(compose: Compose) -> None:
    with pytest.raises(ConfigError) as caught:
        check(compose(*options("model.latent_dim=14")))
    (problem,) = caught.value.problems
    assert str(problem) == (
        "model.latent_dim=14: the units of 2 x 2 positions must be a multiple of 4, "
        "and at most 64. Write model.latent_dim=16 for 4 channels."
    )
    with pytest.raises(ConfigError, match=r"Write model\.latent_dim=4 for 1 channel\."):
        check(compose(*options("model.latent_dim=3")))
    check(compose(*options("model.latent_dim=16")))
    with pytest.raises(ConfigError, match=r"Write model\.latent_dim=64 for 16 channels"):
        check(compose(*options("model=sparse", "constraint=l1", "model.latent_dim=256")))


@pytest.mark.parametrize(
    "constraint", ["orthogonal", "[sigmoid,kl_sparsity]", "[topk,resampling]", "[topk]"]
)
def test_constraints_on_a_units_own_weights_are_refused(compose: Compose, constraint: str) -> None:
    more = ["constraint.topk.read=active"] if constraint == "[topk]" else []
    with pytest.raises(ConfigError) as caught:
        check(compose(*options("model.latent_dim=16", f"constraint={constraint}", *more)))
    assert "needs units with weights of their own, but this network shares them" in str(
        caught.value
    )


@pytest.mark.parametrize(
    "choice",
    [
        ["model=undercomplete", "constraint=[contractive,l2]"],
        ["model=denoising"],
        ["model=sparse", "constraint=[topk]", "constraint.topk.k=4"],
        ["model=sparse", "constraint=[winner_take_all,l1]"],
        ["model=variational"],
    ],
)
def test_every_variant_trains(compose: Compose, choice: list[str], tmp_path: Path) -> None:
    small = ["model.allow_undercomplete=true"] if "model=sparse" in choice else []
    built = build(compose(*options(*choice, *small, "model.latent_dim=16")))
    fit(built, tmp_path, max_epochs=1, limit_train_batches=2, limit_val_batches=1)
    model = built.net.model
    changed = [not torch.equal(p, torch.zeros_like(p)) for p in model.parameters()]
    assert sum(changed) >= len(changed) - 1  # all but a fixed variance begin to learn
    assert model.code_shape == (4, 2, 2)


def test_color_photographs_from_the_configuration(compose: Compose, tmp_path: Path) -> None:
    for i in range(4):
        noise = np.random.default_rng(i).integers(0, 255, (20, 24, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{i}.png")
    chosen = ["dataset=photo_crops", f"dataset.root={tmp_path}", "dataset.size=8"]
    built = build(compose(*options("model.latent_dim=96", "dataset.crops_per_image=5", *chosen)))
    x = built.data.peek("train", 3)
    assert x.shape == (3, 3, 8, 8)
    assert built.net.reconstruct(x).shape == x.shape
