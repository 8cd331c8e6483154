"""Training on a CUDA device; skipped visibly without one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig
from torch import Tensor

from aeframe.training.build import build
from aeframe.training.divergence import DivergenceError
from aeframe.training.speed.compute import choose_rounding, configure_torch
from aeframe.training.speed.steps_ahead import StepsAhead, _Ahead
from tests.support.fitting import fit

Compose = Callable[..., DictConfig]
Train = Callable[..., Tensor]

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
    pytest.mark.filterwarnings("ignore:Synchronization debug mode"),
]

KINDS = {
    "undercomplete": ["model=undercomplete"],
    "denoising": ["model=denoising", "constraint=[masking,gaussian_noise]"],
    "topk": ["model=sparse", "model.latent_dim=1024", "constraint=topk"],
    "batch_topk": ["model=sparse", "model.latent_dim=96", "constraint=batch_topk"],
    "threshold": ["model=sparse", "model.latent_dim=96", "constraint=[threshold,l1]"],
    "variational": ["model=variational"],
    "contractive": ["constraint=contractive", "constraint.contractive.method=hutchinson"],
    "orthogonal": ["constraint=orthogonal"],
    "rate": ["constraint=rate"],
    "conv": ["network=conv", "network.widths=[8,16]"],
    "batch norm": ["network.norm=batch"],
    "clipped": ["trainer.gradient_clip_val=0.1"],
    "bf16": ["trainer.precision=bf16-mixed"],
}
SHORT = ("hardware=gpu", "trainer.max_epochs=2", "trainer.log_every_n_steps=1000")
AHEAD = 2 * (45 - 2)  # of an epoch's 45 batches of digits Lightning takes the first and the last


@pytest.fixture(autouse=True)
def _all_that_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` takes all steps ahead that it may, on any machine."""
    monkeypatch.setattr(StepsAhead, "interval", 1e9)


@pytest.fixture
def train(compose: Compose, tmp_path: Path) -> Train:
    """The weights after a short training."""

    def trained(*words: str) -> Tensor:
        built = build(compose(*SHORT, *words))
        fit(built, tmp_path)
        return torch.cat([p.detach().float().flatten() for p in built.net.parameters()]).cpu()

    return trained


def assert_close(one: Tensor, other: Tensor, kind: str = "") -> None:
    """Up to sums in another order, which differ by more where they are then rounded to bfloat16."""
    rtol, atol = (1e-2, 1e-3) if kind == "bf16" else (1e-4, 1e-5)
    torch.testing.assert_close(one, other, rtol=rtol, atol=atol)


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_does_not_wait_for_the_device(
    train: Train, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    step, taken = _Ahead.step, []

    def watched(ahead: _Ahead) -> None:
        # the first may set things up
        torch.cuda.set_sync_debug_mode("error" if taken else "default")
        try:
            step(ahead)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        taken.append(1)

    monkeypatch.setattr(_Ahead, "step", watched)
    train(*KINDS[kind])
    assert len(taken) == AHEAD


@pytest.mark.parametrize("kind", KINDS)
def test_steps_taken_ahead_are_lightnings(train: Train, kind: str) -> None:
    alone, ahead = (train(*KINDS[kind], f"trainer.steps_per_call={pace}") for pace in ("1", "auto"))
    assert_close(alone, ahead, kind)


def test_data_that_a_thread_pins_trains_alike(train: Train) -> None:
    assert_close(train(), train("dataset.in_memory=false"))


def test_the_data_is_placed_on_the_device(compose: Compose, tmp_path: Path) -> None:
    built = build(compose(*SHORT))
    fit(built, tmp_path)
    (batch, *_) = built.data.make_loader("train", training=True, device=torch.device("cuda", 0))
    assert batch.x.is_cuda
    assert batch.row.is_cuda


@pytest.mark.parametrize("precision", ["high", "medium", "bf16-mixed", "16-mixed"])
def test_other_precisions_train(compose: Compose, tmp_path: Path, precision: str) -> None:
    built = build(compose(*SHORT, f"trainer.precision={precision}"))
    rounding = choose_rounding(precision, built.net, built.data.batch_size, accelerator="gpu")
    with configure_torch(1, rounding):
        _, losses = fit(built, tmp_path)
    assert losses[-1] < losses[0]


def test_data_that_is_not_on_the_device_is_looked_at_there(
    compose: Compose, tmp_path: Path
) -> None:
    built = build(compose(*SHORT, "dataset.in_memory=false", "model.latent_dim=8"))
    with torch.no_grad():
        next(built.net.model.decoder.parameters()).fill_(float("nan"))
    built.module.guard.first = 1.0  # the first step's loss is not looked at
    with pytest.raises(DivergenceError, match="became nan at step 45, on the val split"):
        fit(built, tmp_path)
