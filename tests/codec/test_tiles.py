"""Images of any size, piece by piece: as if they had gone through the network in one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from aeframe.codec import tiles
from aeframe.constraints.constrained import ConstrainedAutoencoder
from aeframe.data import Normalization
from aeframe.models import Undercomplete
from aeframe.models.autoencoder import Setting
from aeframe.models.likelihoods import Gaussian
from aeframe.networks import FullyConv


def made(colors: int, patch: int, overlap: int, widths: list[int]) -> ConstrainedAutoencoder:
    torch.manual_seed(0)
    network = FullyConv(widths=widths, patch=patch, overlap=overlap)
    setting = Setting(network, Gaussian(), (colors, 2 * patch, 2 * patch))
    model = Undercomplete(setting, latent_dim=4 * 6)
    for parameter in (*model.encoder.parameters(), *model.decoder.parameters()):
        torch.nn.init.normal_(parameter, std=0.1)
    scale = Normalization(torch.tensor(0.0), torch.tensor(255.0))
    return ConstrainedAutoencoder(model, {}, scale).eval()


@pytest.mark.parametrize(("height", "width"), [(1, 1), (37, 50), (64, 3), (41, 80)])
@pytest.mark.parametrize(
    ("colors", "patch", "overlap", "widths"),
    [(3, 4, 2, [5]), (1, 4, 0, []), (1, 3, 7, [4, 4]), (3, 2, 1, [4, 4])],
)
def test_pieces_are_those_of_the_whole(
    monkeypatch: pytest.MonkeyPatch,
    height: int,
    width: int,
    colors: int,
    patch: int,
    overlap: int,
    widths: list[int],
) -> None:
    net = made(colors, patch, overlap, widths)
    image = np.random.default_rng(0).integers(0, 256, (colors, height, width), np.uint8)
    whole = tiles.encode_image(net, image)
    with torch.inference_mode():
        expected = net.encode(net.normalization(torch.from_numpy(image[None]))).value
    np.testing.assert_allclose(whole.ravel(), expected[0], rtol=1e-4, atol=1e-5)
    back = tiles.decode_image(net, whole, height, width, torch.Tensor.float)
    assert back.shape == image.shape
    monkeypatch.setattr(tiles, "TILE", 5)
    pieces = tiles.encode_image(net, image)
    np.testing.assert_allclose(pieces, whole, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        tiles.decode_image(net, whole, height, width, torch.Tensor.float),
        back,
        rtol=1e-4,
        atol=1e-2,
    )


def test_less_around_a_piece_would_leave_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    net = made(3, 4, 2, [5])
    image = np.random.default_rng(0).integers(0, 256, (3, 60, 60), np.uint8)
    whole = tiles.encode_image(net, image)
    monkeypatch.setattr(tiles, "TILE", 5)
    tiles.get_decoder(net).reach -= 1
    assert np.abs(tiles.encode_image(net, image) - whole).max() > 1e-3
