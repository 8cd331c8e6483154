"""Every optimizer of torch's trains every network, or is refused in words; schedulers follow each other."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig
from torch.optim import Optimizer

from aeframe.config.check import check
from aeframe.config.optimizer_checks import list_optimizer_problems
from aeframe.config.torch_classes import make_scheduler
from aeframe.core.errors import ConfigError
from aeframe.core.noise import Noise
from aeframe.training.build import build
from tests.support.fitting import fit

Compose = Callable[..., DictConfig]
OPTIMIZERS = sorted(
    name
    for name, cls in vars(torch.optim).items()
    if isinstance(cls, type) and issubclass(cls, Optimizer) and cls is not Optimizer
)
NETWORKS = {
    "mlp": ["network.widths=[32]", "network.start=random"],
    "conv": ["network=conv", "network.widths=[4,8]", "network.start=random"],
    "active units": [
        "model=sparse",
        "model.latent_dim=80",
        "constraint.topk.k=4",
        "constraint.topk.read=active",
    ],
}
REFUSED = {"Muon": "Muon only supports 2D", "SparseAdam": "does not support dense gradients"}


@pytest.mark.parametrize("network", NETWORKS)
def test_every_optimizer_trains_or_is_refused(compose: Compose, network: str) -> None:
    """The fused form counts as well."""
    chosen = NETWORKS[network]
    plain = build(compose(*chosen))
    flat = build(compose(*chosen, "optimizer={_target_: torch.optim.LBFGS, lr: 0.1}"))
    assert len(OPTIMIZERS) > 12
    for name in OPTIMIZERS:
        fused = "fused" in inspect.signature(getattr(torch.optim, name)).parameters
        for options in ({}, {"fused": True}) if fused else ({},):
            node = {"_target_": f"torch.optim.{name}", **options}
            if wrong := list_optimizer_problems(node, None, {}):
                assert REFUSED[name] in str(wrong[0])
                continue
            assert name not in REFUSED
            net = (flat if name == "LBFGS" else plain).net
            before = loss_of(net, Noise(0)).item()
            step(net, getattr(torch.optim, name)(net.parameters(), **{"lr": 1e-3, **options}))
            assert loss_of(net, Noise(0)).item() < before, name


def loss_of(net: Any, noise: Noise) -> torch.Tensor:
    x = torch.rand(32, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    loss: torch.Tensor = net(x, noise=noise).loss
    return loss


def step(net: Any, optimizer: Optimizer) -> None:
    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = loss_of(net, Noise(0))
        loss.backward()
        return loss

    optimizer.step(closure)


@pytest.mark.parametrize("network", ["conv", "active units"])
def test_lbfgs_trains_weights_of_any_layout(compose: Compose, tmp_path: Path, network: str) -> None:
    words = (
        "optimizer._target_=torch.optim.LBFGS",
        "optimizer.lr=0.3",
        "+optimizer.max_iter=3",
        "trainer.max_epochs=1",
    )
    built = build(compose(*NETWORKS[network], *words, "dataset.batch_size=500"))
    _, losses = fit(built, tmp_path)
    assert losses[-1] < losses[0]


# -------------------------------------------------------------------------- one scheduler after another

LR = "torch.optim.lr_scheduler."
LINEAR = f"{{_target_: {LR}LinearLR, start_factor: 0.2, total_iters: 4}}"
COSINE = f"{{_target_: {LR}CosineAnnealingLR, T_max: 8}}"


def sequence(*parts: str, more: str = "milestones: [4]") -> str:
    return f"scheduler={{_target_: {LR}SequentialLR, {more}, schedulers: [{', '.join(parts)}]}}"


def test_a_warm_up_and_then_a_cosine(compose: Compose) -> None:
    cfg = compose(sequence(LINEAR, COSINE, more="milestones: [4], interval: step"))
    check(cfg)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    built = build(cfg)
    assert built.module._scheduler_options["interval"] == "step"
    schedule = built.module._scheduler(optimizer)  # type: ignore[misc]
    found = []
    for _ in range(12):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    rise = [0.5 * (0.2 + 0.8 * t / 4) for t in range(4)]
    fall = [0.25 * (1 + math.cos(math.pi * t / 8)) for t in range(8)]
    assert found == pytest.approx(rise + fall)


def test_chained_schedulers_multiply() -> None:
    parts = [{"_target_": f"{LR}ExponentialLR", "gamma": 0.5}] * 2
    make = make_scheduler({"_target_": f"{LR}ChainedScheduler", "schedulers": parts})
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = make(optimizer)
    optimizer.step()
    schedule.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        (
            sequence(LINEAR.replace("start_factor", "start_facto"), COSINE),
            "scheduler.schedulers.0.start_facto: unknown key. Did you mean start_factor?",
        ),
        (
            sequence(LINEAR, f"{{_target_: {LR}ReduceLROnPlateau}}"),
            "scheduler.schedulers.1: ReduceLROnPlateau needs a metric",
        ),
        (
            sequence(LINEAR, f"{{_target_: {LR}OneCycleLR, max_lr: 1.0, total_steps: 9}}"),
            "scheduler.schedulers.1: OneCycleLR warms up and ends by itself",
        ),
        (sequence(LINEAR, "{_target_: os.system}"), "scheduler.schedulers.1._target_=os.system: only"),
        (sequence(LINEAR, "3"), "scheduler.schedulers.1=3: expected {_target_: CLASS, ...}"),
        (sequence(LINEAR), "scheduler: does not work (Sequential Schedulers expects"),
        (
            sequence(sequence(LINEAR, COSINE.replace("T_max", "T")).partition("=")[2], COSINE),
            "scheduler.schedulers.0.schedulers.1.T: unknown key. Known: T_max",
        ),
        (f"scheduler={{_target_: {LR}MultiplicativeLR}}", "takes a Python function, which no"),
    ],
)  # fmt: skip
def test_each_scheduler_of_a_sequence_is_checked(compose: Compose, word: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        check(compose(word))
    assert said in str(refused.value)
