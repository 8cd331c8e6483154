"""On a CUDA device; skipped visibly where there is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig
from torch import Tensor

from aeframe.constraints.penalty import L2
from aeframe.training.build import Built, build
from aeframe.training.divergence import DivergenceError
from aeframe.training.speed.compute import choose_rounding, compile_network, configure_torch
from aeframe.training.speed.cuda_graph import WARM_UP
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
GRAPH = "trainer.cuda_graph=true"
AHEAD = 2 * (45 - 2)  # of an epoch's 45 batches of digits Lightning takes the first and the last
REPLAYS = AHEAD - WARM_UP


@pytest.fixture(autouse=True)
def _all_that_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` takes all steps ahead that it may, on any machine."""
    monkeypatch.setattr(StepsAhead, "interval", 1e9)


@pytest.fixture
def replays(monkeypatch: pytest.MonkeyPatch) -> list[torch.cuda.CUDAGraph]:
    """The graph of each replay."""
    replayed, replay = [], torch.cuda.CUDAGraph.replay

    def noted(graph: torch.cuda.CUDAGraph) -> None:
        replayed.append(graph)
        replay(graph)

    monkeypatch.setattr(torch.cuda.CUDAGraph, "replay", noted)
    return replayed


@pytest.fixture
def train(compose: Compose, tmp_path: Path) -> Train:
    """The weights after a short training. change: what to do with it before."""

    def trained(*words: str, change: Callable[[Built], None] = lambda _: None) -> Tensor:
        built = build(compose(*SHORT, *words))
        change(built)
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


@pytest.mark.parametrize("kind", KINDS)
def test_steps_of_a_graph_are_the_usual_ones(
    train: Train, replays: list[torch.cuda.CUDAGraph], kind: str
) -> None:
    usual, repeated = train(*KINDS[kind]), train(*KINDS[kind], GRAPH)
    assert len(replays) == REPLAYS
    assert len(set(replays)) == 1
    assert_close(usual, repeated, kind)


def test_a_new_learning_rate_is_captured_anew(
    train: Train, replays: list[torch.cuda.CUDAGraph]
) -> None:
    rate = "scheduler={_target_: torch.optim.lr_scheduler.ExponentialLR, gamma: 0.5}"
    assert_close(train(rate), train(rate, GRAPH))
    assert len(replays) == REPLAYS
    assert len(set(replays)) == 2


def test_a_graph_of_data_that_a_thread_pins(
    train: Train, replays: list[torch.cuda.CUDAGraph]
) -> None:
    away = "dataset.in_memory=false"
    assert_close(train(away), train(away, GRAPH))
    assert len(replays) == REPLAYS


@pytest.mark.filterwarnings("ignore:TensorFloat32 tensor cores")
def test_a_graph_of_a_compiled_network(train: Train, replays: list[torch.cuda.CUDAGraph]) -> None:
    usual, repeated = (
        train(*words, change=lambda built: compile_network(built.net)) for words in ([], [GRAPH])
    )
    assert_close(usual, repeated)
    assert len(replays) == REPLAYS


def test_each_training_has_a_graph_of_its_own(
    train: Train, replays: list[torch.cuda.CUDAGraph], tmp_path: Path
) -> None:
    twice = [train(*words, change=lambda built: fit(built, tmp_path)) for words in ([], [GRAPH])]
    assert_close(*twice)
    assert len(replays) == 2 * REPLAYS
    assert len(set(replays)) == 2


def test_a_step_that_waits_is_told_and_training_goes_on(
    train: Train,
    replays: list[torch.cuda.CUDAGraph],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    penalty = L2.penalty

    def waiting(self: L2, seen: Any) -> Tensor:
        value = penalty(self, seen)
        return value * float(value.detach() > 0)

    monkeypatch.setattr(L2, "penalty", waiting)
    assert_close(train("constraint=l2"), train("constraint=l2", GRAPH))
    said = capsys.readouterr().err
    assert "a step cannot be captured (called a synchronizing CUDA operation" in said
    assert replays == []
    assert torch.cuda.get_sync_debug_mode() == 0
    assert torch.cuda.current_stream() == torch.cuda.default_stream()


def test_the_data_is_placed_on_the_device(compose: Compose, tmp_path: Path) -> None:
    built = build(compose(*SHORT))
    fit(built, tmp_path)
    (batch, *_) = built.data.loader("train", training=True, device=torch.device("cuda", 0))
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
