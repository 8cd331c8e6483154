"""Steps that are repeated by a graph: without a GPU, with graphs that call what was captured again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from aeframe import graph, pace
from aeframe.noise import Noise
from tests.test_pace import Run, differences, quickly, trained

__all__ = ["quickly", "trained"]  # fixtures

Trained = Callable[..., Run]


class Simulated:
    """What torch.cuda offers, on the CPU. A capture takes its step and undoes it; a replay takes it again."""

    def __init__(self) -> None:
        self.captures: list[Simulated.CUDAGraph] = []
        self.graphs: list[graph.Graph] = []

    class CUDAGraph:
        """Counts."""

        def __init__(self) -> None:
            self.generators: list[torch.Generator] = []
            self.replays = 0
            self.take: Callable[[], None]

        def register_generator_state(self, generator: torch.Generator) -> None:
            self.generators.append(generator)

        def replay(self) -> None:
            self.replays += 1
            self.take()

    @contextmanager
    def graph(self, captured: CUDAGraph, stream: Any) -> Iterator[None]:
        module, optimizer = self.graphs[-1].module, self.graphs[-1].optimizer
        assert all(group["capturable"] for group in optimizer.param_groups)
        before = [(t, t.clone()) for t in self._tensors(module.net, optimizer)]
        registered, captured.take = {*captured.generators}, self.graphs[-1]._take
        yield
        assert {*self.graphs[-1].noise.generators.values()} == registered
        with torch.no_grad():
            for tensor, value in before:
                tensor.copy_(value)
        self.captures.append(captured)

    def _tensors(
        self, net: torch.nn.Module, optimizer: torch.optim.Optimizer
    ) -> list[torch.Tensor]:
        counted = [t for state in optimizer.state.values() for t in state.values()]
        return [*net.parameters(), *net.buffers(), *counted]


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Simulated:
    made = Simulated()
    stream = SimpleNamespace(wait_stream=lambda _: None)
    simulated = {
        "CUDAGraph": made.CUDAGraph,
        "graph": made.graph,
        "Stream": lambda _: stream,
        "current_stream": lambda: stream,
        "stream": lambda _: nullcontext(),
    }
    begin = graph.Graph.__init__

    def noted(self: graph.Graph, *args: Any) -> None:
        made.graphs.append(self)
        begin(self, *args)

    monkeypatch.setattr(graph.Graph, "__init__", noted)
    for name, value in simulated.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(graph, "_is_cuda", lambda _: True)
    monkeypatch.setattr(pace.Pace, "interval", 1e9)
    return made


VARIANTS = {
    "undercomplete": ["model.latent_dim=8"],
    "denoising": ["model=denoising", "constraint=[masking,gaussian_noise]"],
    "l1": ["model=sparse", "constraint=l1", "constraint.l1.form=unit_norm"],
    "threshold, contractive": ["model=sparse", "constraint=[threshold,contractive]"],
    "kl_sparsity": ["model=sparse", "constraint=[sigmoid,kl_sparsity]"],
    "jump_relu": ["model=sparse", "constraint=jump_relu"],
    "batch_topk, auxk": [
        "model=sparse",
        "constraint=[batch_topk,auxk]",
        "constraint.auxk.after=0.1",
    ],
    "variational": ["model=variational", "model.latent_dim=4"],
    "batch norm": ["network.widths=[16]", "model.latent_dim=8", "network.norm=batch"],
    "conv, bf16": ["network=conv", "network.widths=[4]", "trainer.precision=bf16-mixed"],
    "clipped": ["model.latent_dim=8", "trainer.gradient_clip_val=0.1"],
}


@pytest.mark.parametrize("kind", VARIANTS)
def test_repeated_steps_are_the_usual_ones(kind: str, trained: Trained, cuda: Simulated) -> None:
    usual = trained("auto", *VARIANTS[kind])
    assert not cuda.graphs
    repeated = trained("auto", *VARIANTS[kind], "trainer.cuda_graph=true")
    assert list(differences(usual.story(), repeated.story())) == []
    (captured,) = cuda.captures
    # of 2 x 12 steps Lightning takes an epoch's first and last, 4 are logged, and 3 warm up
    assert captured.replays == 2 * 12 - 4 - 4 - graph.WARM_UP


def test_a_new_learning_rate_is_captured_anew(trained: Trained, cuda: Simulated) -> None:
    rate = "scheduler={_target_: torch.optim.lr_scheduler.ExponentialLR, gamma: 0.5}"
    usual = trained("auto", "model.latent_dim=8", rate)
    repeated = trained("auto", "model.latent_dim=8", rate, "trainer.cuda_graph=true")
    assert list(differences(usual.story(), repeated.story())) == []
    assert len(cuda.captures) == 2


def test_a_capture_that_fails_is_told_and_changes_nothing(
    trained: Trained,
    cuda: Simulated,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(self: graph.Graph) -> None:
        raise RuntimeError("operation not permitted when stream is capturing\nand more")

    @contextmanager
    def failing(*_: Any, **__: Any) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(graph.Graph, "_take", fails)
            yield

    usual = trained("auto", *VARIANTS["denoising"])
    monkeypatch.setattr(torch.cuda, "graph", failing)
    run = trained("auto", *VARIANTS["denoising"], "trainer.cuda_graph=true")
    assert list(differences(usual.story(), run.story())) == []
    said = (
        "a step could not be captured (operation not permitted when stream is capturing); steps are"
    )
    assert capsys.readouterr().err.count(said) == 1
    assert not cuda.captures


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (
            ["model=variational", "model.beta={schedule: warmup, value: 1, epochs: 1}"],
            "a schedule changes the loss",
        ),
        (
            [
                "model=denoising",
                "constraint.masking.fraction={schedule: linear, start: 0, end: 1, steps: 9}",
                "network.norm=batch",
            ],
            "a schedule changes the loss",
        ),
        (
            ["model=sparse", "model.latent_dim=80", "constraint=[topk,resampling]"],
            "Resampling keeps something new in each step",
        ),
        (["network.widths=[16]", "network.dropout=0.2"], "dropout draws from the global stream"),
        (["optimizer={_target_: torch.optim.Adagrad, lr: 0.01}"], "Adagrad counts its steps"),
        (["optimizer.fused=false"], "Adam counts its steps"),
        (
            ["scheduler={_target_: torch.optim.lr_scheduler.LinearLR, interval: step}"],
            "the learning rate changes at each step",
        ),
        (["trainer.accumulate_grad_batches=2"], "all steps are Lightning's own"),
    ],
)
def test_what_cannot_be_repeated_is_told(
    trained: Trained,
    cuda: Simulated,
    capsys: pytest.CaptureFixture[str],
    overrides: list[str],
    reason: str,
) -> None:
    usual = trained("auto", "model.latent_dim=8", *overrides)
    run = trained("auto", "model.latent_dim=8", *overrides, "trainer.cuda_graph=true")
    assert list(differences(usual.story(), run.story())) == []
    lines = capsys.readouterr().err.splitlines()
    assert len([line for line in lines if line.startswith("trainer.cuda_graph: ")]) == 1
    assert any(reason in line and line.endswith("steps are taken one by one") for line in lines)
    assert not cuda.captures


def test_without_a_gpu_it_is_told(trained: Trained, capsys: pytest.CaptureFixture[str]) -> None:
    trained("auto", "model.latent_dim=8", "trainer.cuda_graph=true")
    assert "there is no GPU; steps are taken one by one" in capsys.readouterr().err


def test_streams_give_the_numbers_of_noise() -> None:
    streams = graph.Streams()
    for key in ((1, "train", 0, 5), (1, "train", 0, 6), (2, "train", 3, 0)):
        streams.seed(*key)
        expected, found = Noise(*key), streams.stream("code")
        one, other = expected.stream("code"), found
        for _ in range(2):
            assert torch.equal(one.normal((4, 3)), other.normal((4, 3)))
        inner = streams.stream("masking").stream("x").uniform((5,))
        assert torch.equal(expected.stream("masking").stream("x").uniform((5,)), inner)
        assert torch.equal(expected.uniform((2,)), streams.uniform((2,)))
    assert len(streams.generators) == 3
