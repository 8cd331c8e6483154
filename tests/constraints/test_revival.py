"""Dead units: who counts as dead, and what bringing them back touches."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from aeframe.constraints import AuxK, JumpReLU, Resampling, Step
from aeframe.constraints.revival import draw_directions, revive
from aeframe.core.noise import Noise
from aeframe.core.schedules import Clock
from aeframe.models import Sparse
from aeframe.models.likelihoods import Gaussian
from tests.support.constraint_tools import NOW, code, data, model, output, seen

X = torch.randn(20, 6, generator=torch.Generator().manual_seed(1))


def with_dead_half() -> Sparse:
    """A model whose last 5 of 10 units never fire."""
    autoencoder = model(units=10)
    with torch.no_grad():
        autoencoder.writes_code.bias[5:] = -100.0
    assert isinstance(autoencoder, Sparse)
    return autoencoder


def test_dead_is_counted_in_epochs_of_the_data_at_hand() -> None:
    part = AuxK(after=2.0)
    part.attach(model(units=3), data(X, samples=30))
    fires = torch.tensor([[1.0, -1.0, -1.0]]).repeat(20, 1)
    for step in range(4):
        assert part.dead.tolist() == [False, step >= 3, step >= 3]  # 60 samples are two epochs
        part.observe(output(X, code(fires)), NOW)
    part.observe(output(X, code(fires.flip(1))), NOW)
    assert part.dead.tolist() == [False, True, False]


def test_auxk_gives_gradient_to_dead_units_only() -> None:
    autoencoder, part = with_dead_half(), AuxK(k=3)
    part.attach(autoencoder, data(X))
    part.idle[5:] = part.limit
    with torch.no_grad():
        autoencoder.writes_code.bias[5:] = (
            0.1  # dead by count, with some pre-activation to learn from
        )
    passed = seen(part, autoencoder, X)
    autoencoder.zero_grad()
    part.penalty(passed).backward()
    columns, rows = autoencoder.decoder.dictionary.grad, autoencoder.writes_code.weight.grad
    assert columns is not None
    assert rows is not None
    assert (columns[:, :5] == 0).all()
    assert columns[:, 5:].abs().sum() > 0
    assert (rows[:5] == 0).all()
    assert rows[5:].abs().sum() > 0
    assert (
        autoencoder.decoder.output_bias.grad is None
        or (autoencoder.decoder.output_bias.grad == 0).all()
    )


def test_auxk_is_half_the_squared_error_without_the_bias() -> None:
    autoencoder, part = with_dead_half(), AuxK(k=10)
    part.attach(autoencoder, data(X))
    part.idle[:] = part.limit
    with torch.no_grad():
        autoencoder.decoder.output_bias.fill_(3.0)
    passed = seen(part, autoencoder, X)
    missed = X - passed.reconstruction
    made = passed.code.pre.relu() @ autoencoder.decoder.dictionary.t()  # no bias in it
    expected = 0.5 * (missed - made).square().sum(1).mean()
    assert part.penalty(passed).item() == pytest.approx(expected.item(), rel=1e-5)


class Counting(TorchDispatchMode):
    """Notes the elements of all that is computed."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        self.elements += made.numel() if isinstance(made, Tensor) else 0
        return made


def test_auxk_computes_nothing_without_dead_units() -> None:
    autoencoder, part = with_dead_half(), AuxK()
    part.attach(autoencoder, data(X))
    passed = seen(part, autoencoder, X)
    with Counting() as counted:
        assert part.penalty(passed).item() == 0
    assert counted.elements <= 3 * len(part.idle)  # which is compared; no pass over the batch
    part.idle[5:] = part.limit
    with Counting() as counted:
        assert part.penalty(passed).item() > 0
    assert counted.elements > X.numel()


def test_resampling_computes_nothing_between_its_moments() -> None:
    autoencoder, part = with_dead_half(), Resampling()
    part.attach(autoencoder, data(X))
    shown = output(X, seen(part, autoencoder, X).code)

    def restored(parameters: Tensor) -> Tensor:
        raise AssertionError("nobody wants to know")

    part.observe(shown._replace(mean=restored), NOW)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("widths", [(), (7,)])
def test_resampling_changes_exactly_the_dead_units_and_their_moments(
    tied: bool, widths: tuple[int, ...]
) -> None:
    autoencoder, part = model(units=10, widths=widths, tied=tied), Resampling(every=1.0)
    part.attach(autoencoder, data(X))
    optimizer = torch.optim.Adam(autoencoder.parameters(), lr=1e-3)
    passed = seen(part, autoencoder, X)
    (passed.reconstruction - X).square().sum().backward()
    optimizer.step()
    dead = torch.tensor([2, 7])
    part.observe(output(X, passed.code, passed.reconstruction), NOW)
    part.idle.zero_()
    part.idle[dead] = part.limit
    before = {n: p.clone() for n, p in autoencoder.named_parameters()}
    memory = {
        n: optimizer.state[p]["exp_avg"].clone()
        for n, p in autoencoder.named_parameters()
        if p.requires_grad
    }
    part.after_step(Step(autoencoder, optimizer, Clock(10, 1.1), Noise(0), part.restart))
    assert all(torch.equal(before[n], p) for n, p in autoencoder.named_parameters())  # not yet due
    part.after_step(Step(autoencoder, optimizer, Clock(11, 1.25), Noise(0), part.restart))

    live = [i for i in range(10) if i not in (2, 7)]
    layer = autoencoder.writes_code
    name = next(n for n, p in autoencoder.named_parameters() if p is layer.weight)
    assert torch.equal(layer.weight[live], before[name][live])
    assert (layer.weight[dead] != before[name][dead]).any(1).all()
    torch.testing.assert_close(layer.bias[dead], layer.bias[live].mean().expand(2))
    state = optimizer.state[layer.weight]["exp_avg"]
    assert (state[dead] == 0).all()
    assert torch.equal(state[live], memory[name][live])
    if not tied:
        columns = autoencoder.decoder.dictionary
        assert torch.allclose(columns[:, dead].norm(dim=0), columns[:, live].norm(dim=0).mean())
        assert (optimizer.state[columns]["exp_avg"][:, dead] == 0).all()
        assert (optimizer.state[columns]["exp_avg"][:, live] != 0).any()
    assert (part.idle[dead] == 0).all()
    untouched = [n for n in before if "bias" in n and n != name.replace("weight", "bias")]
    parameters = dict(autoencoder.named_parameters())
    assert all(torch.equal(before[n], parameters[n]) for n in untouched)


def test_resampling_revives_most_of_planted_dead_units() -> None:
    torch.manual_seed(0)
    atoms = torch.nn.functional.normalize(torch.randn(10, 6), dim=1)
    autoencoder = with_dead_half()
    part = Resampling(every=0.5, after=0.5)
    part.attach(autoencoder, data(X, samples=200))
    optimizer = torch.optim.Adam(autoencoder.parameters(), lr=3e-3)
    for step in range(200):
        mixture = torch.rand(20, 10) * (torch.rand(20, 10) < 0.2)
        x = mixture @ atoms
        passed = seen(part, autoencoder, x)
        optimizer.zero_grad()
        (passed.reconstruction - x).square().sum(1).mean().backward()
        part.observe(output(x, passed.code, passed.reconstruction.detach()), NOW)
        optimizer.step()
        part.after_step(
            Step(autoencoder, optimizer, Clock(step, step * 20 / 200), Noise(step), part.restart)
        )
    fired = autoencoder.encode(
        torch.rand(500, 10) * (torch.rand(500, 10) < 0.2) @ atoms
    ).active.any(0)
    assert fired.float().mean() >= 0.9


def test_few_are_revived_at_once_and_no_two_alike() -> None:
    """Twins would have one gradient, and stay twins for ever; many would undo what has been learned."""
    autoencoder, part = model(units=30), Resampling(every=1.0)
    part.attach(autoencoder, data(X))
    optimizer = torch.optim.Adam(autoencoder.parameters(), lr=1e-3)
    before = autoencoder.writes_code.weight.detach().clone()
    part.observe(output(X, seen(part, autoencoder, X).code), NOW)
    part.idle.fill_(part.limit)
    part.idle[:5] = 0
    part.after_step(Step(autoencoder, optimizer, Clock(10, 1.25), Noise(0), part.restart))
    rows, columns = autoencoder.writes_code.weight, autoencoder.decoder.dictionary
    changed = (rows != before).any(1).nonzero().flatten().tolist()
    assert changed == list(range(5, 5 + len(X) // 4))
    assert len(rows[changed].unique(dim=0)) == len(columns[:, changed].unique(dim=1).t()) == 5


def test_a_revived_unit_gets_the_threshold_of_the_live_ones() -> None:
    autoencoder, part = model(units=4), JumpReLU(weight=0.1)
    part.attach(autoencoder, data(X))
    with torch.no_grad():
        part.theta.copy_(torch.tensor([1.0, 3.0, 100.0, 100.0]))
    part.restart(torch.tensor([2]), torch.tensor([True, True, False, False]))
    assert part.theta.tolist() == [1.0, 3.0, 2.0, 100.0]


def test_auxk_is_in_units_of_the_likelihoods_deviation() -> None:
    autoencoder, part = with_dead_half(), AuxK(weight=1.0, k=3)
    part.attach(autoencoder, data(X))
    part.idle[5:] = part.limit
    passed = seen(part, autoencoder, X)
    plain = part.penalty(passed)
    autoencoder.likelihood = Gaussian(variance=0.25)
    assert part.penalty(passed).item() == pytest.approx(4 * plain.item(), rel=1e-5)


@pytest.mark.parametrize("widths", [(), (4,)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_new_directions_are_as_precise_as_the_weights(
    widths: tuple[int, ...], dtype: torch.dtype
) -> None:
    network = model(widths=widths).to(dtype)
    optimizer = torch.optim.Adam(network.parameters())
    units, live = torch.tensor([1, 3]), torch.ones(9, dtype=torch.bool)
    live[units] = False
    rows, columns = draw_directions(network, 2, torch.randn(8, 6, dtype=dtype), Noise(0))
    assert rows.dtype == columns.dtype == dtype
    with torch.no_grad():
        revive(network, optimizer, units, live, rows, columns)
        lengths = network.writes_code.weight.norm(dim=1)
    assert lengths[units].tolist() == pytest.approx([float(lengths[live].mean())] * 2)
