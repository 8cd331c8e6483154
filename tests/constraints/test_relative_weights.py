"""The data's scale changes neither what a penalty weighs nor which units are active."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import DictConfig

from aeframe.constraints import L1, L2, Contractive, JumpReLU, KLSparsity, Orthogonal
from aeframe.constraints.constrained import ConstrainedAutoencoder
from aeframe.constraints.constraint import Penalty
from aeframe.core.noise import Noise
from aeframe.data import Normalization
from aeframe.models.likelihoods import Bernoulli, Gaussian
from aeframe.training.build import build
from tests.support.constraint_tools import NOW, data, model

X = torch.randn(200, 6, generator=torch.Generator().manual_seed(1)) + 0.3


def objective(make: Callable[[], Penalty], scale: float) -> float:
    """The loss of a network whose outputs and thresholds are in proportion to the data, in shares of the loss
    of the mean.
    """
    x, autoencoder = X.double() * scale, model().double()
    part = make()
    with torch.no_grad():
        autoencoder.start_at(x.mean(0))
        part.attach(autoencoder, data(x))
    nothing = Normalization(torch.tensor(0.0), torch.tensor(1.0))
    net = ConstrainedAutoencoder(autoencoder, {"part": part}, nothing).double().eval()
    loss = net(x, noise=Noise(0)).loss.item()
    return loss / (0.5 * scale**2)


MADE: dict[str, Callable[[], Penalty]] = {
    "l1": lambda: L1(weight=0.1, relative=True),
    "l1, unit norm": lambda: L1(weight=0.1, relative=True, form="unit_norm"),
    "jump_relu": lambda: JumpReLU(weight=0.01, relative=True),
    "kl_sparsity": lambda: KLSparsity(weight=0.1, rho=0.05, relative=True),
    "l2": lambda: L2(weight=0.01, relative=True),
    "contractive": lambda: Contractive(weight=0.01, relative=True),
    "orthogonal": lambda: Orthogonal(weight=0.01, relative=True),
}


@pytest.mark.parametrize("kind", MADE)
@pytest.mark.parametrize("scale", [0.01, 30.0])
def test_the_datas_scale_leaves_the_objective_as_it_is(kind: str, scale: float) -> None:
    assert objective(MADE[kind], scale) == pytest.approx(objective(MADE[kind], 1.0), rel=1e-3)


def test_the_unit_of_a_relative_weight() -> None:
    left = (X - X.mean(0)).square().sum(1)
    autoencoder = model()
    counted, summed = JumpReLU(weight=0.5, relative=True), L1(weight=0.5, relative=True)
    for part in (counted, summed):
        part.attach(autoencoder, data(X))
    nats = 0.5 * left.median().item()
    assert counted.weight_at(NOW) == pytest.approx(0.5 * nats, rel=1e-5)
    assert summed.weight_at(NOW) == pytest.approx(
        0.5 * nats / left.median().sqrt().item(), rel=1e-5
    )
    autoencoder.likelihood = Gaussian(variance=0.25)
    counted.attach(autoencoder, data(X))
    assert counted.weight_at(NOW) == pytest.approx(4 * 0.5 * nats, rel=1e-5)


def test_the_mean_leaves_a_part_of_probabilities_unexplained() -> None:
    x = torch.tensor([[0.0], [1.0], [1.0], [1.0]])  # the mean takes log 4 or log 4/3
    nats, _ = Bernoulli().left_by_mean(x)
    assert nats.item() == pytest.approx(math.log(4 / 3), abs=0.01)


def test_a_few_huge_samples_do_not_set_the_unit() -> None:
    huge = X.clone()
    huge[::100] *= 1000
    units = []
    for x in (X, huge):
        part = JumpReLU(weight=1.0, relative=True)
        part.attach(model(), data(x))
        units.append(part.weight_at(NOW))
    assert units[1] < 500 * units[0]


def test_the_unit_is_saved_and_older_files_lack_it() -> None:
    part, other = (L1(weight=0.5, relative=True) for _ in range(2))
    part.attach(model(), data(X))
    # as a network is made for weights that were saved
    other.attach(model().to("meta"), data(torch.empty(2, 6, device="meta")))
    other.to_empty(device="cpu").load_state_dict(part.state_dict())
    assert other.weight_at(NOW) == part.weight_at(NOW)
    older = L1(weight=0.5)
    older.attach(model(), data(X))
    assert not older.state_dict()
    assert older.weight_at(NOW) == 0.5


def mixtures(generator: np.random.Generator) -> np.ndarray:
    """Like a language model's activations: sparse sums of more directions than dimensions, a mean, and two
    large dimensions.
    """
    directions = generator.normal(size=(128, 48))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    strengths = generator.random((2000, 128)) < 0.06
    x = strengths * (0.5 + generator.exponential(size=(2000, 128))) @ directions
    x[:, :2] = 6 * x[:, :2] + 8
    return x + generator.normal(size=48)


def embeddings(generator: np.random.Generator) -> np.ndarray:
    """Like word vectors: correlated, with heavy tails."""
    x = generator.normal(size=(2000, 50)) / np.arange(1, 51) ** 0.5
    x = x @ np.linalg.qr(generator.normal(size=(50, 50)))[0]
    return x / np.sqrt(generator.chisquare(5, size=(2000, 1)) / 5)


@pytest.mark.parametrize("kind", ["l1", "jump_relu"])
@pytest.mark.parametrize("made", [None, mixtures, embeddings])
def test_the_default_weight_gives_a_sensible_code(
    compose: Callable[..., DictConfig],
    tmp_path: Path,
    made: Callable[[np.random.Generator], np.ndarray] | None,
    kind: str,
) -> None:
    words = ["model=sparse", f"constraint={kind}", "model.latent_dim=256"]
    if made is not None:
        np.save(tmp_path / "x.npy", made(np.random.default_rng(0)).astype(np.float32))
        words += ["dataset=array", f"dataset.path={tmp_path / 'x.npy'}"]
    built = build(compose(*words))
    net, x = built.net.train(), built.data.peek("train", 2000)
    optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=1e-3)
    order = torch.randperm(250 * 64, generator=torch.Generator().manual_seed(0)) % len(x)
    for rows in order.split(64):
        optimizer.zero_grad()
        net(x[rows], noise=Noise(0)).loss.backward()
        optimizer.step()
    net.eval()
    with torch.no_grad():
        active = net.encode(x).active
        missed = (net.reconstruct(x) - x).square().sum() / (x - x.mean(0)).square().sum()
    assert 5 < active.float().sum(1).mean() < 80
    assert missed < 0.4
    assert (~active.any(0)).float().mean() < 0.1
