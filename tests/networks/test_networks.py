from __future__ import annotations

import itertools
import math
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from aeframe.networks import MLP, Automatic, Conv, FullyConv, Network, Norm
from aeframe.networks import upsampling as doubling
from aeframe.networks.network import Start
from aeframe.networks.residual import Residual
from aeframe.networks.upsampling import Doubling

DOUBLED = {
    **{name: st.integers(1, 5) for name in ("channels", "to")},
    **{name: st.integers(1, 9) for name in ("height", "width")},
    "missing": st.tuples(st.integers(0, 1), st.integers(0, 1)),
}
"""Sizes of a doubling convolution and of its input."""


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


@settings(max_examples=40)
@given(
    channels=st.integers(1, 3),
    sides=st.one_of(
        st.tuples(st.integers(1, 70)),
        st.tuples(*[st.integers(1, 9)] * 2),
        st.tuples(*[st.integers(1, 9)] * 3),
    ),
    widths=st.lists(st.integers(1, 4), max_size=4),
    norm=st.sampled_from(["none", "layer"]),
    residual=st.booleans(),
    start=st.sampled_from(["random", "pca"]),
)
def test_conv_takes_signals_images_and_volumes(
    channels: int,
    sides: tuple[int, ...],
    widths: list[int],
    norm: Norm,
    residual: bool,
    start: Start,
) -> None:
    network = Conv(widths=widths, norm=norm, residual=residual, start=start)
    passed(network, (channels, *sides), heads=2)
    sizes, size = [], list(sides)
    for width in widths:
        size = [math.ceil(side / 2) for side in size]
        sizes.append(width * math.prod(size))
    assert network.layer_sizes((channels, *sides)) == sizes


@pytest.mark.parametrize("sides", [(12,), (5, 6), (4, 5, 6)])
@pytest.mark.parametrize("norm", ["none", "batch", "layer"])
def test_residual_layers_begin_as_the_network_without_them(
    sides: tuple[int, ...], norm: Norm
) -> None:
    shape = (2, *sides)
    plain, deep = (
        nn.ModuleList(Conv(widths=[6, 5], norm=norm, residual=residual).build(shape, 3, 1))
        for residual in (False, True)
    )
    own = plain.state_dict()
    missing = deep.load_state_dict(own, strict=False)
    assert not missing.unexpected_keys
    assert len(deep.state_dict()) - len(own) == {"none": 12, "batch": 27, "layer": 18}[norm]
    x = torch.randn(4, *shape)
    (encode, decode), (deeper, back) = plain, deep
    assert torch.equal(deeper(x), encode(x))
    assert torch.equal(back(deeper(x)), decode(encode(x)))
    back(deeper(x)).square().sum().backward()
    lasts = [m[-1] for m in deep.modules() if isinstance(m, Residual)]
    assert len(lasts) == 3, "two stages down, one stage up"
    assert all(last.weight.grad.abs().sum() > 0 for last in lasts)


def test_the_weights_of_image_networks_keep_their_names_and_layout() -> None:
    encoder, decoder = Conv(widths=[2, 3]).build((1, 8, 8), 4, 1)
    assert [*encoder.state_dict()] == [
        *("0.0.weight", "0.0.bias", "1.0.weight", "1.0.bias", "3.weight", "3.bias"),
    ]
    assert [*decoder.state_dict()] == [
        *(
            "read.weight",
            "read.bias",
            "ups.1.0.weight",
            "ups.1.0.bias",
            "ups.2.weight",
            "ups.2.bias",
        ),
    ]
    assert encoder[1][0].weight.is_contiguous(memory_format=torch.channels_last)


def test_auto_chooses_by_the_shape_of_the_samples() -> None:
    auto = Automatic()
    conv = {"kind": "conv", "widths": [32, 64]}
    assert auto.choose((1, 16, 16)) == auto.choose((2, 16, 20, 24)) == conv
    assert auto.choose((3, 16)) == {"kind": "conv", "widths": [32, 32]}
    mlp = {"kind": "mlp", "widths": [256, 128]}
    assert auto.choose((99,)) == auto.choose((3, 15)) == auto.choose((1, 15, 99)) == mlp
    assert Automatic(widths=[8]).choose((3, 64)) == {"kind": "conv", "widths": [8]}
    assert Automatic(tied=True).choose((3, 64)) == mlp
    assert Automatic(residual=True).choose((3, 8)) == {"kind": "conv", "widths": [32, 32]}
    assert Automatic(residual=True).problem((9,)) is not None
    assert Conv().choose((3, 16)) == {"widths": [32, 32]}
    with pytest.raises(ValueError, match=r"write network\.residual=false"):
        Automatic(kind="mlp", residual=True)
    with pytest.raises(ValueError, match="neither dropout nor tied weights"):
        Automatic(residual=True, dropout=0.1)


@settings(max_examples=25)
@given(
    shape=st.sampled_from([(7,), (1, 8, 8), (3, 5, 9), (2, 9), (2, 3, 2, 3)]),
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
    torch.manual_seed(1)  # one network in sixteen has no unit that is active
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
    assert Conv(widths=[2]).training_problem((1, 8, 8)) is None
    what, remedy = Conv(widths=[2]).training_problem((3, 1, 128)) or ("", "")
    assert (
        "two thirds of each 3 x 3 convolution would read only padding of samples of 1 x 128" in what
    )
    assert remedy == "Write network=mlp."
    assert Conv(widths=[2]).problem((3, 1, 128)) is None, "those that were trained so are loaded"
    what, remedy = Conv(widths=[2]).problem((9,)) or ("", "")
    assert what == (
        "convolutions need signals of C x L, images of C x H x W or volumes of C x D x H x W, but the "
        "samples are vectors of 9"
    )
    assert remedy == "Write network=mlp."
    what, _ = Conv(widths=[2]).training_problem((2, 1, 8, 8)) or ("", "")
    assert "3 x 3 x 3 convolution would read only padding of samples of 1 x 8 x 8" in what
    assert Conv(widths=[2]).training_problem((2, 8)) is None


def test_fully_conv_refuses_other_samples_than_images() -> None:
    assert FullyConv(widths=[2]).problem((3, 16, 16)) is None
    what = "network=fully_conv needs images of C x H x W, but the samples are "
    assert FullyConv(widths=[2]).problem((2, 50)) == (f"{what}of 2 x 50", "Write network=conv.")
    assert FullyConv(widths=[2]).problem((9,)) == (f"{what}vectors of 9", "Write network=mlp.")


@settings(max_examples=60)
@given(
    **DOUBLED,
    last=st.booleans(),
    taps=st.sampled_from([1, 200, 2**18]),
)
def test_the_doubling_convolution_is_torchs(
    channels: int,
    to: int,
    height: int,
    width: int,
    missing: tuple[int, int],
    last: bool,
    taps: int,
) -> None:
    layout = torch.channels_last if last else torch.contiguous_format
    ours, theirs = (
        layer.double().to(memory_format=layout) for layer in _both(channels, to, missing)
    )
    x = torch.randn(3, channels, height, width, dtype=torch.float64).to(memory_format=layout)
    results = []
    with patch.object(doubling, "TAPS", taps):
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


@pytest.mark.parametrize("columns", [1, 2**22])
@pytest.mark.parametrize("missing", [(1, 0), (1, 1)])
@pytest.mark.parametrize(
    ("to", "dtype"), [(1, torch.float32), (3, torch.float32), (4, torch.bfloat16)]
)
def test_a_doubling_convolution_under_autocast(
    to: int,
    dtype: torch.dtype,
    missing: tuple[int, int],
    columns: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Few channels round only the input; more make gradients matrix products."""
    monkeypatch.setattr(doubling, "COLUMNS", columns)
    ways, by_columns = [], doubling._by_columns
    monkeypatch.setattr(
        doubling, "_by_columns", lambda *args: ways.append(None) or by_columns(*args)
    )
    ours, theirs = _both(5, to, missing)
    results = []
    for layer, mixed in ((ours, True), (theirs, False)):
        x = torch.linspace(-1, 1, 160).view(2, 5, 4, 4).bfloat16().float().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            out = layer(x)
        gradients = torch.autograd.grad(out.float().square().sum(), [x, *layer.parameters()])
        results.append([out, *gradients])
    assert results[0][0].dtype == dtype
    assert bool(ways) == (dtype == torch.bfloat16)
    allowed = 0.01 if ways else 1e-6
    for one, other in zip(*results, strict=True):
        assert float((one - other).detach().norm() / other.detach().norm()) < allowed


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("wanted", list(itertools.product([False, True], repeat=3))[1:])
@pytest.mark.parametrize("to", [1, 4])
def test_gradients_that_nobody_wants(dtype: torch.dtype, wanted: list[bool], to: int) -> None:
    ours, theirs = (layer.to(dtype) for layer in _both(2, to, (0, 1)))
    results = []
    for layer in (ours, theirs):
        x = torch.linspace(-1, 1, 24, dtype=dtype).view(2, 2, 3, 2)
        tensors = [x, layer.weight, layer.bias]
        for tensor, needed in zip(tensors, wanted, strict=True):
            tensor.requires_grad_(needed)
        layer(x).float().square().sum().backward()
        results.append([None if tensor.grad is None else tensor.grad.float() for tensor in tensors])
    for one, other, needed in zip(*results, wanted, strict=True):
        assert (one is not None) == (other is not None) == needed
        if one is not None:
            torch.testing.assert_close(
                one, other, rtol=0.03, atol=0.1 if dtype.itemsize == 2 else 1e-5
            )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("to", [1, 4])
def test_no_samples_are_doubled(dtype: torch.dtype, to: int) -> None:
    layer = _both(2, to, (0, 1))[0].to(dtype)
    x = torch.zeros(0, 2, 3, 3, dtype=dtype, requires_grad=True)
    out = layer(x)
    assert out.shape == (0, to, 5, 6)
    out.sum().backward()
    assert x.grad is not None
    assert not layer.weight.grad.any()  # type: ignore[union-attr]


@pytest.mark.parametrize("to", [1, 4])
def test_jacobians_of_a_doubling_convolution(to: int) -> None:
    """Jacobians of a decoder, for example, with respect to its code."""
    ours, theirs = (layer.double() for layer in _both(2, to, (0, 1)))
    x = torch.randn(3, 2, 3, 3, dtype=torch.float64)
    one, other = (torch.func.jacrev(layer)(x) for layer in (ours, theirs))
    torch.testing.assert_close(one, other)
    one, other = (torch.func.vmap(torch.func.jacrev(layer))(x[:, None]) for layer in (ours, theirs))
    torch.testing.assert_close(one, other)


@settings(max_examples=30)
@given(**DOUBLED)
def test_its_way_back_in_bfloat16_is_torchs(
    channels: int, to: int, height: int, width: int, missing: tuple[int, int]
) -> None:
    """Double precision and second derivatives are compared."""
    layer = _both(channels, to, missing)[1].double()
    x = torch.randn(2, channels, height, width, dtype=torch.float64, requires_grad=True)
    out = layer(x)
    grad = torch.randn_like(out).requires_grad_()
    weights = layer.weight, layer.bias
    theirs = torch.autograd.grad(out, [x, *weights], grad, create_graph=True)
    ours = doubling._by_columns(grad, x, layer.weight, (True, True, True))
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
