from __future__ import annotations

from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from aeframe.networks import MLP, Conv, Network, doubling
from aeframe.networks.doubling import Doubling


def passed(network: Network, shape: tuple[int, ...], latent_dim: int = 3, heads: int = 1) -> None:
    encoder, decoder = network.build(shape, latent_dim, heads)
    x = torch.randn(2, *shape)
    code = encoder(x)
    assert code.shape == (2, heads * latent_dim)
    assert decoder(code[:, :latent_dim]).shape == x.shape
    assert decoder.dictionary.shape[1] == latent_dim


@settings(max_examples=40)
@given(
    channels=st.integers(1, 4),
    height=st.integers(1, 33),
    width=st.integers(1, 33),
    widths=st.lists(st.integers(1, 5), max_size=4),
)
def test_conv_gives_back_exactly_the_inputs_shape(
    channels: int, height: int, width: int, widths: list[int]
) -> None:
    passed(Conv(widths=widths), (channels, height, width), heads=2)


@settings(max_examples=25)
@given(
    shape=st.sampled_from([(7,), (1, 8, 8), (3, 5, 9)]),
    widths=st.lists(st.integers(1, 9), max_size=3),
    tied=st.booleans(),
    norm=st.sampled_from(["none", "batch", "layer"]),
    dropout=st.sampled_from([0.0, 0.3]),
)
def test_mlp_for_vectors_and_images(
    shape: tuple[int, ...], widths: list[int], tied: bool, norm: str, dropout: float
) -> None:
    passed(MLP(widths=widths, tied=tied, norm=norm, dropout=dropout), shape)  # type: ignore[arg-type]


@pytest.mark.parametrize("norm", ["none", "batch", "layer"])
@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "gelu", "silu", "tanh", "sigmoid"])
def test_conv_options(norm: str, activation: str) -> None:
    passed(Conv(widths=[2, 3], norm=norm, activation=activation), (1, 6, 7))  # type: ignore[arg-type]


def test_tied_weights_are_one_tensor_and_learn_from_both_ends() -> None:
    encoder, decoder = MLP(widths=[4], tied=True).build((6,), 2, 1)
    last = encoder[-1]
    assert isinstance(last, nn.Linear)
    assert torch.equal(decoder.dictionary, last.weight.t())
    names = [name for name, _ in decoder.named_parameters()]
    assert names == ["layers.0.bias", "layers.2.bias"]
    decoder(torch.ones(1, 2)).sum().backward()
    assert last.weight.grad is not None
    assert last.weight.grad.abs().sum() > 0


def test_the_decoder_mirrors_the_encoder() -> None:
    encoder, decoder = MLP(widths=[5, 4]).build((6,), 2, 1)
    up = [(m.in_features, m.out_features) for m in decoder.modules() if isinstance(m, nn.Linear)]
    down = [(m.in_features, m.out_features) for m in encoder.modules() if isinstance(m, nn.Linear)]
    assert down == [(6, 5), (5, 4), (4, 2)]
    assert up == [(2, 4), (4, 5), (5, 6)]


@pytest.mark.parametrize(
    "network", [MLP(widths=[]), MLP(widths=[4]), Conv(widths=[]), Conv(widths=[2, 2])]
)
def test_a_decoder_starts_at_a_given_output(network: Network) -> None:
    _, decoder = network.build((2, 4, 4), 3, 1)
    nn.init.zeros_(next(iter(decoder.parameters())))
    wanted = torch.randn(2, 4, 4)
    decoder.start_at(wanted)
    bias = decoder.output_bias
    assert torch.allclose(bias, wanted.reshape(bias.numel(), -1).mean(1))
    assert decoder.is_linear == (not network.widths)


def test_conv_refuses_vectors() -> None:
    assert Conv(widths=[2]).problem((1, 8, 8)) is None
    what, remedy = Conv(widths=[2]).problem((9,)) or ("", "")
    assert what == "convolutions need images of C x H x W, and the samples are vectors of 9"
    assert remedy == "Write network=mlp."


@settings(max_examples=60)
@given(
    channels=st.integers(1, 5),
    to=st.integers(1, 5),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    missing=st.tuples(st.integers(0, 1), st.integers(0, 1)),
    last=st.booleans(),
    at_once=st.sampled_from([1, 200, 2**18]),
)
def test_the_doubling_convolution_is_torchs(
    channels: int,
    to: int,
    height: int,
    width: int,
    missing: tuple[int, int],
    last: bool,
    at_once: int,
) -> None:
    layout = torch.channels_last if last else torch.contiguous_format
    ours, theirs = (
        layer.double().to(memory_format=layout) for layer in _both(channels, to, missing)
    )
    x = torch.randn(3, channels, height, width, dtype=torch.float64).to(memory_format=layout)
    results = []
    with patch.object(doubling, "AT_ONCE", at_once):
        for layer in (ours, theirs):
            inputs = x.clone().requires_grad_()
            first = torch.autograd.grad(
                layer(inputs).square().sum(), [inputs, *layer.parameters()], create_graph=True
            )
            second = torch.autograd.grad(
                sum(g.square().sum() for g in first), [*layer.parameters()]
            )
            results.append([layer(inputs), *first, *second])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("to", "dtype"), [(1, torch.float32), (3, torch.float32), (4, torch.bfloat16)]
)
def test_a_doubling_convolution_under_autocast(to: int, dtype: torch.dtype) -> None:
    """To few channels nothing is rounded but the input; to more it is torch's in bfloat16."""
    ours, theirs = _both(5, to, (1, 0))
    x = torch.randn(2, 5, 4, 4).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        one, other = ours(x), theirs(x)
    assert one.dtype == dtype
    if dtype == torch.float32:
        torch.testing.assert_close(one, theirs(x.float()))
    torch.testing.assert_close(one.bfloat16(), other, rtol=0.02, atol=0.02)
    gradients = []
    for out, layer in ((one, ours), (other, theirs)):
        gradients.append(torch.autograd.grad(out.float().square().sum(), layer.weight)[0])
    assert gradients[0].dtype == torch.float32
    torch.testing.assert_close(*gradients, rtol=0.05, atol=0.2)


@settings(max_examples=30)
@given(
    channels=st.integers(1, 5),
    to=st.integers(1, 5),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    missing=st.tuples(st.integers(0, 1), st.integers(0, 1)),
)
def test_its_way_back_in_bfloat16_is_torchs(
    channels: int, to: int, height: int, width: int, missing: tuple[int, int]
) -> None:
    """In double precision, and with the derivatives of what it gives."""
    layer = _both(channels, to, missing)[1].double()
    x = torch.randn(2, channels, height, width, dtype=torch.float64, requires_grad=True)
    out = layer(x)
    grad = torch.randn_like(out).requires_grad_()
    weights = layer.weight, layer.bias
    theirs = torch.autograd.grad(out, [x, *weights], grad, create_graph=True)
    ours = doubling._by_columns(grad, x, layer.weight)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)
    second = [
        torch.autograd.grad(sum(g.square().sum() for g in first), [x, layer.weight, grad])
        for first in (ours, theirs)
    ]
    for one, other in zip(*second, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def _both(channels: int, to: int, missing: tuple[int, int]) -> tuple[Doubling, nn.ConvTranspose2d]:
    ours = Doubling(channels, to, missing)
    theirs = nn.ConvTranspose2d(channels, to, 3, stride=2, padding=1, output_padding=missing)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs
