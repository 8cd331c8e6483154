"""On a CUDA device; skipped visibly where there is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig

from aeframe.config.build import build
from aeframe.pace import _Ahead
from tests.test_pairs import fit

Compose = Callable[..., DictConfig]

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

KINDS = {
    "undercomplete": ["model=undercomplete"],
    "denoising": ["model=denoising", "constraint=[masking,gaussian_noise]"],
    "topk": ["model=sparse", "model.latent_dim=1024", "constraint=topk"],
    "batch_topk": ["model=sparse", "model.latent_dim=96", "constraint=batch_topk"],
    "threshold": ["model=sparse", "model.latent_dim=96", "constraint=[threshold,l1]"],
    "variational": ["model=variational"],
    "orthogonal": ["constraint=orthogonal"],
    "conv": ["network=conv", "network.widths=[8,16]"],
}
SHORT = ("hardware=gpu", "trainer.max_epochs=2", "trainer.log_every_n_steps=1000")


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_does_not_wait_for_the_device(
    compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    step, taken = _Ahead.step, []

    def watched(ahead: _Ahead) -> None:
        torch.cuda.set_sync_debug_mode(
            "error" if taken else "default"
        )  # the first may set things up
        try:
            step(ahead)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        taken.append(1)

    monkeypatch.setattr(_Ahead, "step", watched)
    fit(build(compose(*KINDS[kind], *SHORT)), tmp_path)
    assert len(taken) > 5


@pytest.mark.parametrize("kind", KINDS)
def test_steps_taken_ahead_are_lightnings(compose: Compose, tmp_path: Path, kind: str) -> None:
    trained = []
    for pace in ("1", "auto"):
        built = build(compose(*KINDS[kind], *SHORT, f"trainer.steps_per_call={pace}"))
        fit(built, tmp_path)
        trained.append(torch.cat([p.detach().flatten() for p in built.net.parameters()]).cpu())
    assert torch.allclose(*trained, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_steps_of_a_graph_are_the_usual_ones(
    compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    replays, replay = [], torch.cuda.CUDAGraph.replay

    def counted(graph: torch.cuda.CUDAGraph) -> None:
        replays.append(1)
        replay(graph)

    monkeypatch.setattr(torch.cuda.CUDAGraph, "replay", counted)
    trained = []
    for graph in ("false", "true"):
        built = build(compose(*KINDS[kind], *SHORT, f"trainer.cuda_graph={graph}"))
        fit(built, tmp_path)
        trained.append(torch.cat([p.detach().flatten() for p in built.net.parameters()]).cpu())
    assert len(replays) > 10
    assert torch.allclose(*trained, rtol=1e-4, atol=1e-5)


def test_the_data_is_placed_on_the_device(compose: Compose, tmp_path: Path) -> None:
    built = build(compose(*SHORT))
    fit(built, tmp_path)
    (batch, *_) = built.data.loader("train", training=True, device=torch.device("cuda", 0))
    assert batch.x.is_cuda
    assert batch.row.is_cuda


@pytest.mark.parametrize("precision", ["high", "medium", "bf16-mixed", "16-mixed"])
def test_other_precisions_train(compose: Compose, tmp_path: Path, precision: str) -> None:
    built = build(compose(*SHORT, f"trainer.precision={precision}"))
    _, losses = fit(built, tmp_path)
    assert losses[-1] < losses[0]
