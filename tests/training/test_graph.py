"""Steps that are repeated by a graph: without a GPU, with a graph that repeats recorded operations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from aeframe.constraints import revival
from aeframe.constraints.penalty import L2
from aeframe.core.errors import TrainingError
from aeframe.training.build import build
from aeframe.training.speed import cuda_graph as graph
from aeframe.training.speed import steps_ahead
from tests.support.cuda_recorder import Simulated
from tests.support.fitting import fit
from tests.support.graph_variants import VARIANTS
from tests.support.paces import SMALL, Compose, Run, differences, quickly, trained

__all__ = ["quickly", "trained"]  # fixtures

pytestmark = pytest.mark.filterwarnings("ignore:Anomaly Detection has been enabled")

Trained = Callable[..., Run]
GRAPH = "trainer.cuda_graph=true"
REPLAYS = 2 * 12 - 4 - 4 - graph.WARM_UP
"""Of 2 x 12 steps Lightning takes an epoch's first and last, and 4 are logged."""


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Simulated:
    made = Simulated()
    made.install(monkeypatch)
    monkeypatch.setattr(graph, "_is_cuda", lambda _: True)
    monkeypatch.setattr(revival, "_is_on_host", lambda _: False)
    monkeypatch.setattr(steps_ahead.StepsAhead, "interval", 1e9)
    return made


def told(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Collect the messages about graphs."""
    lines = capsys.readouterr().err.splitlines()
    return [line for line in lines if line.startswith("trainer.cuda_graph: ")]


@pytest.mark.parametrize("kind", VARIANTS)
def test_repeated_steps_are_the_usual_ones(
    kind: str, trained: Trained, cuda: Simulated, capsys: pytest.CaptureFixture[str]
) -> None:
    usual = trained("auto", *VARIANTS[kind])
    assert not cuda.captures
    repeated = trained("auto", *VARIANTS[kind], GRAPH)
    assert list(differences(usual.story(), repeated.story())) == []
    assert [captured.replays for captured in cuda.captures] == [REPLAYS]
    assert told(capsys) == []


def test_a_new_learning_rate_is_captured_anew(trained: Trained, cuda: Simulated) -> None:
    rate = "scheduler={_target_: torch.optim.lr_scheduler.ExponentialLR, gamma: 0.5}"
    usual = trained("auto", "model.latent_dim=8", rate)
    repeated = trained("auto", "model.latent_dim=8", rate, GRAPH)
    assert list(differences(usual.story(), repeated.story())) == []
    assert len(cuda.captures) == 2
    assert sum(captured.replays for captured in cuda.captures) == REPLAYS


def test_each_training_has_a_graph_of_its_own_and_gives_it_back(
    quickly: Compose, cuda: Simulated, tmp_path: Path
) -> None:
    weights = []
    for words in ([], [GRAPH]):
        built = build(quickly(*SMALL, "model=denoising", *words))
        for _ in range(2):
            trainer, _ = fit(built, tmp_path)
            assert [
                c._graph for c in trainer.callbacks if isinstance(c, steps_ahead.StepsAhead)
            ] == [None]
        weights.append(torch.cat([p.detach().flatten() for p in built.net.parameters()]))
    assert torch.equal(*weights)
    assert [captured.replays for captured in cuda.captures] == [REPLAYS, REPLAYS]


def test_the_optimizer_is_capturable_while_it_is_captured(
    trained: Trained, cuda: Simulated, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[bool, bool]] = []
    step = torch.optim.Adam.step

    def noted(self: torch.optim.Adam, closure: Any = None) -> Any:
        seen.append((cuda.current is cuda.default, self.param_groups[0]["capturable"]))
        return step(self, closure)

    monkeypatch.setattr(torch.optim.Adam, "step", noted)
    trained("auto", "model.latent_dim=8", GRAPH)
    assert seen.count((False, True)) == 1
    assert seen.count((False, False)) == graph.WARM_UP
    assert (True, True) not in seen


def test_a_capture_that_fails_ends_the_run(
    trained: Trained, cuda: Simulated, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def failing(captured: Any, stream: Any, **_: Any) -> Iterator[None]:
        cuda.set_stream(stream)
        yield
        try:
            raise RuntimeError("operation not permitted when stream is capturing\nand more")
        finally:
            raise RuntimeError("the capture was invalidated")

    monkeypatch.setattr(torch.cuda, "graph", failing)
    with pytest.raises(TrainingError) as caught:
        trained("auto", "model=denoising", GRAPH)
    reason = "operation not permitted when stream is capturing"
    remedy = "write trainer.cuda_graph=false."
    assert str(caught.value) == f"a step could not be captured ({reason}): {remedy}"
    assert cuda.current is cuda.default


def asking(part: L2, value: torch.Tensor) -> torch.Tensor:
    return value * bool(value > 0)


def asking_backwards(part: L2, value: torch.Tensor) -> torch.Tensor:
    if value.requires_grad:
        value.register_hook(lambda gradient: gradient * bool(gradient > 0))
    return value


def counting(part: L2, value: torch.Tensor) -> torch.Tensor:
    part.count = getattr(part, "count", 0) + 1
    return value * part.count


WAITS = "a step cannot be captured (called a synchronizing CUDA operation, "


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (asking, WAITS),
        (asking_backwards, WAITS),
        (counting, "L2 keeps something new in each step"),
    ],
)
def test_what_a_trial_of_a_step_finds_is_told_and_the_trial_changes_nothing(
    change: Callable[[L2, torch.Tensor], torch.Tensor],
    reason: str,
    trained: Trained,
    cuda: Simulated,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    penalty = L2.penalty
    monkeypatch.setattr(L2, "penalty", lambda part, seen: change(part, penalty(part, seen)))
    words = ["network.widths=[16]", "model.latent_dim=8", "network.norm=batch", "constraint=l2"]
    usual = trained("auto", *words)
    run = trained("auto", *words, GRAPH)
    assert list(differences(usual.story(), run.story())) == []
    (line,) = told(capsys)
    assert reason in line
    assert not cuda.captures
    assert cuda.mode == 0


OBSTACLES = [
    (
        ["model=variational", "model.beta={schedule: warmup, value: 1, epochs: 1}"],
        "a schedule changes the loss at each step",
    ),
    (
        [
            "model=denoising",
            "constraint.masking.fraction={schedule: linear, start: 0, end: 1, steps: 9}",
            "network.norm=batch",
        ],
        "a schedule changes the loss at each step",
    ),
    (
        ["model=sparse", "model.latent_dim=80", "constraint=[topk,resampling]"],
        "Resampling keeps something new in each step",
    ),
    (
        ["network.widths=[16]", "network.dropout=0.2"],
        "network.dropout draws from the global stream",
    ),
    (["optimizer={_target_: torch.optim.Adagrad, lr: 0.01}"], "optimizer Adagrad is not fused"),
    (
        ["optimizer={_target_: torch.optim.SGD, lr: 0.001, fused: false}"],
        "optimizer SGD is not fused",
    ),
    (
        ["scheduler={_target_: torch.optim.lr_scheduler.LinearLR, interval: step}"],
        "scheduler.interval=step changes the learning rate at each step",
    ),
    (["trainer.detect_anomaly=true"], "trainer.detect_anomaly=true looks at each gradient"),
    (
        ["trainer.accumulate_grad_batches=2"],
        "all steps are Lightning's own (trainer.accumulate_grad_batches=2)",
    ),
    (["trainer.profiler=simple"], "all steps are Lightning's own (trainer.profiler)"),
]


@pytest.mark.parametrize(("overrides", "reason"), OBSTACLES)
def test_what_cannot_be_repeated_is_told(
    trained: Trained,
    cuda: Simulated,
    capsys: pytest.CaptureFixture[str],
    overrides: list[str],
    reason: str,
) -> None:
    usual = trained("auto", "model.latent_dim=8", *overrides)
    run = trained("auto", "model.latent_dim=8", *overrides, GRAPH)
    assert list(differences(usual.story(), run.story())) == []
    assert told(capsys) == [f"trainer.cuda_graph: {reason}; steps are taken one by one"]
    assert not cuda.captures


def test_one_step_per_call_is_told(
    trained: Trained, cuda: Simulated, capsys: pytest.CaptureFixture[str]
) -> None:
    trained(1, "model.latent_dim=8", GRAPH)
    (line,) = told(capsys)
    assert "all steps are Lightning's own (trainer.steps_per_call=1)" in line


@pytest.mark.parametrize(
    "overrides", [["trainer.log_every_n_steps=1"], ["trainer.limit_train_batches=3"]]
)
def test_that_no_step_was_repeated_is_told_at_the_end(
    trained: Trained,
    cuda: Simulated,
    capsys: pytest.CaptureFixture[str],
    overrides: list[str],
) -> None:
    trained("auto", "model.latent_dim=8", *overrides, GRAPH)
    (line,) = told(capsys)
    assert "no step was repeated" in line
    assert not cuda.captures


def test_without_a_gpu_the_first_process_tells(
    trained: Trained, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    trained("auto", "model.latent_dim=8", GRAPH)
    (line,) = told(capsys)
    assert "training is on no CUDA device; steps are taken one by one" in line
    monkeypatch.setattr(graph, "is_first_process", lambda: False)
    trained("auto", "model.latent_dim=8", GRAPH)
    assert told(capsys) == []


@pytest.mark.parametrize(
    "read",
    [
        lambda clock: clock.step,
        lambda clock: clock.epoch,
        lambda clock: clock[0],
        lambda clock: [*clock],
        lambda clock: clock._asdict(),
    ],
)
def test_however_the_clock_is_read_it_is_noticed(read: Callable[[Any], Any]) -> None:
    with pytest.raises(graph._ClockWasRead):
        read(graph._Unreadable())
