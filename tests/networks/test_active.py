"""Products of active units alone equal those of the whole matrices."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from aeframe.constraints import TopK
from aeframe.core.noise import Noise
from aeframe.core.schedules import Clock
from aeframe.models import Output
from aeframe.networks.active_units import Active, read_active, write_active
from aeframe.training.build import Built, build
from tests.support.fitting import fit

Compose = Callable[..., DictConfig]
EXACT = {"rtol": 1e-12, "atol": 1e-12}

# --------------------------------------------------------------------------------------------- layers


@st.composite
def sizes(draw: st.DrawFn) -> dict[str, int]:
    """Draw the sizes of a batch, the code, its active units, and the layer's other side."""
    units = draw(st.integers(1, 12))
    one = draw(st.sampled_from(["batch", "k", "all", "none"]))
    k = draw(st.integers(1, units))
    return {
        "batch": 1 if one == "batch" else draw(st.integers(1, 7)),
        "units": units,
        "k": {"k": 1, "all": units}.get(one, k),
        "other": draw(st.integers(1, 6)),
        "seed": draw(st.integers(0, 2**31)),
    }


def drawn(*shape: int) -> Tensor:
    """Numbers that want a gradient."""
    return torch.randn(shape, dtype=torch.float64, requires_grad=True)


def active_units(batch: int, units: int, k: int) -> Tensor:
    """Draw the active units of each row, all different and in no order."""
    return torch.rand(batch, units).argsort(dim=1)[:, :k]


def by_unit(weight: Tensor) -> Tensor:
    """The same numbers, laid out column by column."""
    return weight.detach().t().contiguous().t().requires_grad_()


def assert_same(ours: tuple[Tensor, ...], theirs: tuple[Tensor, ...]) -> None:
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, **EXACT)


@given(size=sizes(), has_bias=st.booleans(), stored_by_unit=st.booleans())
def test_reading_active_units_is_reading_the_code_with_its_zeros(
    size: dict[str, int], has_bias: bool, stored_by_unit: bool
) -> None:
    torch.manual_seed(size["seed"])
    m, out, batch = size["units"], size["other"], size["batch"]
    weight, values = drawn(out, m), drawn(batch, size["k"])
    weight = by_unit(weight) if stored_by_unit else weight
    bias = drawn(out) if has_bias else None
    active = Active(active_units(batch, m, size["k"]), values)
    code = active.spread(torch.empty(batch, m))
    assert (code != 0).sum() == values.numel()
    assert torch.equal(code.gather(1, active.units), values)
    theirs = F.linear(code, weight, bias)
    layer: Any = SimpleNamespace(weight=weight, bias=bias)
    ours = read_active(layer, active)
    wanted = [weight, values, *([bias] if bias is not None else [])]
    above = torch.randn_like(theirs)
    assert_same((ours,), (theirs,))
    assert_same(
        torch.autograd.grad(ours, wanted, above), torch.autograd.grad(theirs, wanted, above)
    )


@given(size=sizes(), features_want=st.booleans())
def test_writing_active_units_is_writing_all_and_picking_them(
    size: dict[str, int], features_want: bool
) -> None:
    torch.manual_seed(size["seed"])
    m, width, batch = size["units"], size["other"], size["batch"]
    weight, bias, features = drawn(m, width), drawn(m), drawn(batch, width)
    features.requires_grad_(features_want)
    units = active_units(batch, m, size["k"])
    output = F.linear(features, weight, bias)
    theirs = output.gather(1, units)
    layer: Any = SimpleNamespace(weight=weight, bias=bias)
    ours = write_active(layer, features, output, units)
    wanted = [weight, bias, *([features] if features_want else [])]
    above = torch.randn_like(theirs)
    assert torch.equal(ours, theirs)
    found = torch.autograd.grad(ours, wanted, above)
    assert_same(found, torch.autograd.grad(theirs, wanted, above))
    silent = torch.ones(m).index_fill(0, units.flatten(), 0).bool()
    assert (found[0][silent] == 0).all()


def test_gradients_are_those_of_finite_differences() -> None:
    torch.manual_seed(0)
    units = active_units(3, 5, 2)

    def autoencoder(features: Tensor, weight: Tensor, bias: Tensor, back: Tensor) -> Tensor:
        writes: Any = SimpleNamespace(weight=weight, bias=bias)
        reads: Any = SimpleNamespace(weight=back, bias=None)
        values = write_active(writes, features, F.linear(features, weight, bias), units)
        return read_active(reads, Active(units, values.sigmoid()))

    torch.autograd.gradcheck(autoencoder, (drawn(3, 4), drawn(5, 4), drawn(5), drawn(6, 5)))


def test_a_second_derivative_is_refused_and_not_wrong() -> None:
    weight, bias, features = drawn(5, 4), drawn(5), drawn(3, 4)
    layer: Any = SimpleNamespace(weight=weight, bias=bias)
    units = active_units(3, 5, 2)
    values = write_active(layer, features, F.linear(features, weight, bias), units)
    (slope,) = torch.autograd.grad(values.square().sum(), features, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiate twice"):
        slope.sum().backward()


@pytest.mark.parametrize("rows", ["of a matrix", "expanded", "transposed"])
def test_gradients_from_above_may_lie_in_any_way(rows: str) -> None:
    torch.manual_seed(0)
    weight, bias, features = drawn(5, 4), drawn(5), drawn(3, 4)
    layer: Any = SimpleNamespace(weight=weight, bias=bias)
    units = active_units(3, 5, 2)
    output = F.linear(features, weight, bias)
    above = {
        "of a matrix": torch.randn(3, 6, dtype=torch.float64)[:, ::3],
        "expanded": torch.ones((), dtype=torch.float64).expand(3, 2),
        "transposed": torch.randn(2, 3, dtype=torch.float64).t(),
    }[rows]
    wanted = [features, weight, bias]
    ours = torch.autograd.grad(write_active(layer, features, output, units), wanted, above)
    assert_same(ours, torch.autograd.grad(output.gather(1, units), wanted, above))


# ----------------------------------------------------------------------------------------------- topk

SPARSE = ("model=sparse", "model.latent_dim=80")
NETWORKS = {
    "linear": ["network=linear"],
    "mlp": ["network=mlp", "network.widths=[24]", "network.activation=tanh"],
    "conv": ["network=conv", "network.widths=[3]"],
    "tied": ["network=linear", "network.tied=true"],
    "tied mlp": ["network=mlp", "network.widths=[24]", "network.tied=true"],
    "batch norm": ["network=mlp", "network.widths=[24]", "network.norm=batch"],
    "dropout": ["network=mlp", "network.widths=[24]", "network.dropout=0.3"],
}
CODES = {
    **{name: [*SPARSE, *layers, "constraint.topk.k=5"] for name, layers in NETWORKS.items()},
    "hardly any above zero": [*SPARSE, "network=linear", "constraint.topk.k=70"],
    "one unit": [*SPARSE, "network=linear", "constraint.topk.k=1"],
    "undercomplete": ["model.latent_dim=16", "network=linear", "constraint=topk"],
    "some below zero": ["model.latent_dim=16", "constraint=topk", "constraint.topk.k=13"],
    "undercomplete conv": ["model.latent_dim=16", "network=conv", "constraint=topk"],
    "denoising": ["model=denoising", "network.widths=[70]", "constraint=[masking,topk]"],
    "masking": [*SPARSE, "constraint=[masking,topk]", "constraint.masking.emphasis_corrupted=3"],
    "l1": [*SPARSE, "constraint=[topk,l1]", "constraint.l1.form=unit_norm"],
    "l1 before": [*SPARSE, "constraint=[l1,topk]", "constraint.l1.form=unit_norm"],
    "auxk": [*SPARSE, "constraint=[topk,auxk]", "constraint.auxk.weight=3"],
    "orthogonal": [*SPARSE, "constraint=[topk,orthogonal]"],
    "l2": [*SPARSE, *NETWORKS["mlp"], "constraint=[topk,l2]", "constraint.l2.weight=0.1"],
    "bernoulli": [*SPARSE, "likelihood=bernoulli", "constraint.topk.k=5"],
    "a schedule of k": [
        *SPARSE,
        "constraint.topk.k={schedule: linear, start: 9, end: 3, epochs: 1}",
    ],
}


def topk_of(built: Built) -> TopK:
    part = built.net.constraints["topk"]
    assert isinstance(part, TopK)
    return part


COMPOSED: dict[tuple[str, ...], DictConfig] = {}


@pytest.fixture
def both(compose: Compose) -> Callable[..., tuple[Built, Built]]:
    """One network twice: read by its active units, and whole."""

    def made(*overrides: str) -> tuple[Built, Built]:
        small = () if any("topk.k" in o for o in overrides) else ("constraint.topk.k=5",)
        if overrides not in COMPOSED:  # it takes longer than to train
            COMPOSED[overrides] = compose(*overrides, *small)
        cfg = COMPOSED[overrides]
        cfg.constraint.topk.read = "active"
        ours = build(cfg)
        cfg.constraint.topk.read = "all"
        theirs = build(cfg)
        assert topk_of(ours).reads_active
        assert not topk_of(theirs).reads_active
        return ours, theirs

    return made


def backward(built: Built) -> Output:
    """One training pass in float64 over a batch of which some units are dead, with its gradients."""
    net = built.net.double().train()
    if "auxk" in net.constraints:
        net.constraints["auxk"].idle[::2] = 10**6
    torch.manual_seed(0)  # of dropout
    output = net(built.data.peek("train", 9).double(), noise=Noise(0))
    output.loss.backward()
    return output


@pytest.mark.parametrize("kind", CODES)
def test_topk_read_by_active_units_is_topk(
    both: Callable[..., tuple[Built, Built]], kind: str
) -> None:
    ours, theirs = both(*CODES[kind])
    found, expected = backward(ours), backward(theirs)
    k = round(topk_of(ours).k(ours.net.clock))
    assert found.code.kept is not None
    assert expected.code.kept is None
    assert found.code.kept.units.shape == (9, k)
    assert 0 < found.code.active.sum() <= 9 * k
    assert torch.equal(found.code.active, expected.code.active)
    for a, b in [
        (found.code.value, expected.code.value),
        (found.reconstruction, expected.reconstruction),
        *((found.terms[name].value, term.value) for name, term in expected.terms.items()),
        (found.loss, expected.loss),
    ]:
        torch.testing.assert_close(a, b, **EXACT)
    gradients = dict(ours.net.named_parameters())
    for name, weight in theirs.net.named_parameters():
        if weight.grad is None:
            assert gradients[name].grad is None
            continue
        assert (weight.grad != 0).any()
        torch.testing.assert_close(gradients[name].grad, weight.grad, **EXACT, msg=name)


def test_units_below_zero_are_kept_and_rectified_where_the_code_is(
    both: Callable[..., tuple[Built, Built]],
) -> None:
    rectified = backward(both(*CODES["hardly any above zero"])[0]).code
    assert rectified.active.sum() < 9 * 70
    assert (rectified.value >= 0).all()
    signed = backward(both(*CODES["some below zero"])[0]).code
    assert signed.active.sum() == 9 * 13
    assert (signed.value < 0).any()


def test_a_code_that_another_constraint_has_changed_is_read_as_it_is(
    both: Callable[..., tuple[Built, Built]],
) -> None:
    ours, theirs = both(*CODES["linear"])
    code = ours.net.model.encode(torch.rand(6, 1, 8, 8))
    changed = code.with_value(code.value.flip(1).sigmoid(), floor=0.25)
    found, expected = (topk_of(built).constrain(changed, Clock()) for built in (ours, theirs))
    assert found.kept is None
    assert torch.equal(found.value, expected.value)
    assert found.floor == 0.25
    assert topk_of(ours).constrain(code, Clock()).kept is not None


@pytest.mark.parametrize("kind", ["linear", "mlp", "tied", "masking", "l1", "auxk"])
def test_a_training_run_ends_in_the_same_weights(
    both: Callable[..., tuple[Built, Built]], tmp_path: Path, kind: str
) -> None:
    soon = ["constraint.auxk.after=0.05"] if kind == "auxk" else []
    ours, theirs = both(*CODES[kind], *soon, "trainer.steps_per_call=4")
    before = [weight.detach().clone() for weight in theirs.net.model.parameters()]
    losses = [fit(built, tmp_path, max_steps=20)[1] for built in (ours, theirs)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    found = ours.net.state_dict()
    for name, weight in theirs.net.state_dict().items():
        torch.testing.assert_close(found[name], weight, rtol=1e-5, atol=1e-5, msg=name)
    for weight, start in zip(theirs.net.model.parameters(), before, strict=True):
        assert (
            not weight.requires_grad or (weight - start).abs().max() > 1e-3
        )  # hundreds of times that


def test_outside_training_the_code_is_the_same(
    both: Callable[..., tuple[Built, Built]],
) -> None:
    nets = [built.net.double().eval() for built in both(*CODES["masking"])]
    x = torch.rand(6, 1, 8, 8, dtype=torch.float64)
    with torch.inference_mode():
        ours, theirs = (net(x, noise=Noise(0), as_trained=False) for net in nets)
        torch.testing.assert_close(nets[0].reconstruct(x), nets[1].reconstruct(x), **EXACT)
    torch.testing.assert_close(ours.code.value, theirs.code.value, **EXACT)
    torch.testing.assert_close(ours.loss, theirs.loss, **EXACT)


@pytest.mark.parametrize("read", ["active", "auto"])
@pytest.mark.parametrize("order", ["[topk,contractive]", "[contractive,topk]"])
@pytest.mark.parametrize("layers", [(), ("network=mlp", "network.widths=[900]")])
def test_a_code_that_is_differentiated_twice_is_read_whole(
    compose: Compose, tmp_path: Path, read: str, order: str, layers: tuple[str, ...]
) -> None:
    chosen = (f"constraint={order}", f"constraint.topk.read={read}", "constraint.topk.k=5")
    built = build(compose("model=sparse", "model.latent_dim=800", *layers, *chosen))
    assert not topk_of(built).reads_active
    assert built.net.model.decoder.dictionary.is_contiguous()
    _, losses = fit(built, tmp_path, max_steps=2)
    assert torch.isfinite(torch.tensor(losses)).all()


@pytest.mark.parametrize(
    ("units", "k", "expected"),
    [
        (1024, "16", True),
        (512, "32", True),
        (512, "33", False),
        (511, "2", False),
        (1024, "64", True),
        (1024, "65", False),
        (1024, "{schedule: linear, start: 100, end: 25, epochs: 2}", False),
        (1600, "{schedule: linear, start: 100, end: 25, epochs: 2}", True),
    ],
)
def test_auto_reads_active_units_where_they_are_few_of_many(
    compose: Compose, units: int, k: str, expected: bool
) -> None:
    size = (f"model.latent_dim={units}", f"constraint.topk.k={k}")
    built = build(compose("model=sparse", *size))
    assert topk_of(built).read == "auto"
    assert topk_of(built).reads_active == expected
    assert built.net(torch.rand(2, 1, 8, 8), noise=Noise(0)).code.kept is not None or not expected


# ------------------------------------------------------------------------------------------ the layout


def is_by_unit(weight: Tensor) -> bool:
    return weight.t().is_contiguous() and not weight.is_contiguous()


@pytest.mark.parametrize("kind", ["linear", "mlp", "conv"])
def test_weights_that_lie_unit_by_unit_keep_shape_and_numbers(
    both: Callable[..., tuple[Built, Built]], kind: str
) -> None:
    ours, theirs = (built.net.model.decoder for built in both(*CODES[kind]))
    assert isinstance(ours.dictionary, nn.Parameter)
    assert ours.dictionary.shape == theirs.dictionary.shape
    assert ours.dictionary.shape[1] == 80
    assert is_by_unit(ours.dictionary)
    assert theirs.dictionary.is_contiguous()
    assert torch.equal(ours.dictionary, theirs.dictionary)
    ours.store_by_unit()
    assert is_by_unit(ours.dictionary)


def test_a_state_goes_to_either_layout_and_back(both: Callable[..., tuple[Built, Built]]) -> None:
    ours, theirs = both(*CODES["linear"])
    with torch.no_grad():
        ours.net.model.decoder.dictionary.normal_()
    file = io.BytesIO()
    torch.save(ours.net.state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    assert not [name for name in state if name.startswith("constraints")]  # it counts nothing
    theirs.net.load_state_dict(state)
    wanted = ours.net.model.decoder.dictionary
    assert torch.equal(theirs.net.model.decoder.dictionary, wanted)
    assert theirs.net.model.decoder.dictionary.is_contiguous()
    with torch.no_grad():
        theirs.net.model.decoder.dictionary.mul_(2)
    ours.net.load_state_dict(theirs.net.state_dict())
    assert is_by_unit(wanted)
    assert torch.equal(wanted, theirs.net.model.decoder.dictionary)


@pytest.mark.parametrize("kind", ["linear", "tied"])
def test_a_copy_trains_its_own_weights(both: Callable[..., tuple[Built, Built]], kind: str) -> None:
    ours, theirs = both(*CODES[kind])
    other = copy.deepcopy(ours.net)
    part = other.constraints["topk"]
    assert isinstance(part, TopK)
    assert part.reads_active
    kept = {name: weight.clone() for name, weight in ours.net.named_parameters()}
    with torch.no_grad():
        for net in (other, theirs.net):
            net.model.writes_code.weight.add_(0.1)
    x = torch.rand(6, 1, 8, 8)
    for net in (other, theirs.net):
        net(x, noise=Noise(0)).loss.backward()
    for (name, weight), expected in zip(
        other.named_parameters(), theirs.net.parameters(), strict=True
    ):
        assert torch.equal(weight, expected), name
        if expected.grad is not None:
            torch.testing.assert_close(weight.grad, expected.grad, msg=name)
    for name, weight in ours.net.named_parameters():
        assert weight.grad is None
        assert torch.equal(weight, kept[name])
    assert kind == "tied" or is_by_unit(other.model.decoder.dictionary)


@pytest.mark.parametrize("kind", ["linear", "tied", "mlp", "l1"])
def test_a_fused_optimizer_keeps_to_the_layout(compose: Compose, tmp_path: Path, kind: str) -> None:
    small = () if any("topk.k" in o for o in CODES[kind]) else ("constraint.topk.k=5",)
    chosen = (*CODES[kind], *small, "constraint.topk.read=active", "trainer.precision=64-true")
    states = []
    for fused in (True, False):
        built = build(compose(*chosen, f"+optimizer.fused={fused}"))
        trainer, _ = fit(built, tmp_path, max_steps=20)
        (optimizer,) = trainer.optimizers
        assert optimizer.param_groups[0]["fused"] == fused
        for weight, memory in optimizer.state.items():
            for name in ("exp_avg", "exp_avg_sq"):
                assert memory[name].stride() == weight.stride()
                assert weight.grad is not None
                assert weight.grad.stride() == weight.stride()
        states.append(built.net.state_dict())
    for name, weight in states[1].items():
        torch.testing.assert_close(states[0][name], weight, rtol=1e-9, atol=1e-9, msg=name)


def test_units_start_anew_in_either_layout(
    both: Callable[..., tuple[Built, Built]], tmp_path: Path
) -> None:
    often = ("constraint.resampling.every=0.2", "constraint.resampling.after=0.05")
    size = ("model=sparse", "model.latent_dim=200", "constraint=[topk,resampling]")
    ours, theirs = both(*size, *often)
    start = theirs.net.model.decoder.dictionary.detach().clone()
    for built in (ours, theirs):
        built.net.constraints["resampling"].idle.fill_(10**6)
        fit(built, tmp_path, max_steps=25, precision="64-true")
    found, expected = (built.net.model.decoder.dictionary for built in (ours, theirs))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    turned = F.cosine_similarity(expected, start.double(), dim=0)
    assert (turned < 0.5).sum() > 5
