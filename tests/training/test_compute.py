"""Settings of torch: threads, precisions, compilation; and obstacles to steps taken ahead."""

from __future__ import annotations

import copy
import itertools
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import DictConfig
from pytorch_lightning.profilers import PassThroughProfiler
from pytorch_lightning.strategies import SingleDeviceStrategy
from torch import nn

from aeframe.models import Autoencoder
from aeframe.monitoring.dashboard.dashboard import Dashboard
from aeframe.training.build import build
from aeframe.training.speed import compute
from aeframe.training.speed.steps_ahead import _Ahead, needs_lightning
from tests.support.fitting import fit
from tests.support.runs import TINY

Compose = Callable[..., DictConfig]
Command = Callable[..., tuple[int, str, str]]

VARIANTS = {
    "undercomplete": ["model=undercomplete"],
    "denoising": ["model=denoising"],
    "sparse": ["model=sparse", "model.latent_dim=96", "constraint=topk", "constraint.topk.k=4"],
    "active": ["model=sparse", "model.latent_dim=512", "constraint=topk", "constraint.topk.k=4"],
    "variational": ["model=variational"],
    "conv": ["network=conv", "network.widths=[4,8]"],
}


def network(compose: Compose, *overrides: str) -> Autoencoder:
    return build(compose(*overrides)).net.model


# -------------------------------------------------------------------------------------------- threads


def test_operations_are_two_for_each_weight(compose: Compose) -> None:
    linear = network(compose, "network=linear", "model.latent_dim=16")
    assert compute.count_operations(linear) == 2 * 2 * 64 * 16


@pytest.mark.parametrize(
    ("cores", "allowed", "processes", "jobs", "threads"),
    [
        (16, 16, 1, 1, 16),
        (16, 16, 2, 1, 8),
        (16, 4, 1, 4, 4),  # joblib has shared the cores out before
        (16, 16, 1, 4, 4),
        (16, 3, 1, 1, 3),  # what OMP_NUM_THREADS says is the most
        (2, 2, 4, 4, 1),
    ],
)
def test_a_large_network_has_the_cores_that_others_leave(
    compose: Compose,
    monkeypatch: pytest.MonkeyPatch,
    cores: int,
    allowed: int,
    processes: int,
    jobs: int,
    threads: int,
) -> None:
    model = network(compose)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(cores), raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: allowed)
    among = {"processes": processes, "jobs": jobs}
    assert compute.count_threads("auto", model, 2**20, **among) == threads
    assert compute.count_threads("auto", model, 1, **among) == 1  # a small one has one
    assert compute.count_threads(5, model, 1, **among) == 5


def test_the_number_of_jobs_is_the_launchers() -> None:
    assert compute.count_parallel_jobs({}) == compute.count_parallel_jobs({"n_jobs": None}) == 1
    assert compute.count_parallel_jobs({"n_jobs": 3}) == 3
    assert compute.count_parallel_jobs({"n_jobs": -1}) == os.cpu_count()


def test_afterwards_all_is_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = torch.get_num_threads(), torch.get_float32_matmul_precision()
    with compute.configure_torch(2, "medium"):
        assert torch.get_num_threads() == 2
        assert torch.get_float32_matmul_precision() == "medium"
        assert os.environ["OMP_NUM_THREADS"] == "2"
    assert (torch.get_num_threads(), torch.get_float32_matmul_precision()) == before
    assert "OMP_NUM_THREADS" not in os.environ
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    with compute.configure_torch(1, "highest"):
        assert torch.get_float32_matmul_precision() == "highest"
    assert os.environ["OMP_NUM_THREADS"] == "7"


def test_a_run_computes_on_the_threads_that_are_written(
    aeframe: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    step = _Ahead.step
    noted: Any = lambda ahead: (seen.append(torch.get_num_threads()), step(ahead))  # noqa: E731
    monkeypatch.setattr(_Ahead, "step", noted)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)  # fewer are refused
    short = ("trainer.max_epochs=1", "trainer.steps_per_call=4", "evaluation.images=32")
    assert aeframe(*short, "hardware.threads=2", "trainer.precision=high")[0] == 0
    assert set(seen) == {2}


def test_hardware_keys_have_defaults(aeframe: Command) -> None:
    status, _, err = aeframe(*TINY, "~hardware.devices", "~hardware.accelerator")
    assert status == 0, err


# ----------------------------------------------------------------------------------------- precisions


@pytest.mark.parametrize("precision", ["high", "medium", "bf16-mixed", "32-true"])
@pytest.mark.parametrize("clip", ["norm", "value"])
def test_gradients_are_clipped_in_every_precision(
    compose: Compose, tmp_path: Path, precision: str, clip: str
) -> None:
    clipped = ("trainer.gradient_clip_val=1e-3", f"+trainer.gradient_clip_algorithm={clip}")
    rate = "optimizer={_target_: torch.optim.SGD, lr: 1.0}"
    for optimizer, most in ((rate, 4e-3), ("optimizer.lr=1e-4", math.inf)):  # Adam, which is fused
        chosen = (f"trainer.precision={precision}", optimizer, "trainer.max_epochs=1", *clipped)
        built = build(compose(*chosen))
        before = [p.detach().clone() for p in built.net.parameters()]
        fit(built, tmp_path, limit_train_batches=4)
        moved = [p.detach() - b for p, b in zip(built.net.parameters(), before, strict=True)]
        largest = max(float(m.abs().max()) for m in moved)
        assert 0 < largest < most * 1.01


@pytest.mark.parametrize(
    ("precision", "widths", "batch", "accelerator", "amd", "exact", "expected"),
    [
        ("32-true", (1000, 500), 128, "cpu", True, True, "medium"),
        (None, (1000, 500), 128, "cpu", True, True, "medium"),
        ("32-true", (128, 64), 128, "cpu", True, True, "highest"),
        ("32-true", (128, 64), 1024, "cpu", True, True, "medium"),
        ("32-true", (1000, 500), 128, "gpu", True, True, "highest"),
        ("32-true", (1000, 500), 128, "cpu", False, True, "highest"),
        ("32-true", (1000, 500), 128, "cpu", True, False, "highest"),
        ("64-true", (1000, 500), 128, "cpu", True, True, "highest"),
        ("bf16-mixed", (1000, 500), 128, "cpu", True, True, "highest"),
        ("medium", (4,), 1, "cpu", False, False, "medium"),
        ("high", (1000, 500), 128, "cpu", True, True, "high"),
    ],
)
def test_which_products_a_run_takes(
    monkeypatch: pytest.MonkeyPatch,
    precision: str | None,
    widths: tuple[int, ...],
    batch: int,
    accelerator: str,
    amd: bool,
    exact: bool,
    expected: str,
) -> None:
    monkeypatch.setattr(compute, "_is_amd", lambda: amd)
    monkeypatch.setattr(compute, "_is_medium_exact", lambda: exact)
    sizes = (784, *widths, 32)
    model = nn.Sequential(*(nn.Linear(a, b) for a, b in itertools.pairwise(sizes)))
    found = compute.choose_rounding(precision, model, batch, accelerator=accelerator)
    assert found == expected
    flat = nn.Sequential(nn.Flatten())
    assert compute.choose_rounding("32-true", flat, batch, accelerator="cpu") == "highest"


@pytest.mark.parametrize(
    ("precision", "accelerator", "batch", "rounded"),
    [
        ("bf16-mixed", "cpu", 128, [True, False, False, False]),  # 2^24, 2^21 - 2^14, 2^14, 2^17
        ("bf16-mixed", "cpu", 130, [True, True, False, False]),
        ("bf16-mixed", "cpu", 1, [False, False, False, False]),
        ("bf16-mixed", "gpu", 128, [True, True, True, True]),
        ("medium", "cpu", 128, [True, True, True, True]),
    ],
)
def test_narrow_layers_are_not_rounded_on_a_cpu(
    precision: str, accelerator: str, batch: int, rounded: list[bool]
) -> None:
    sizes = (1024, 128, 127, 1, 1024)
    layers = [nn.Linear(a, b) for a, b in itertools.pairwise(sizes)]
    plain = copy.deepcopy(layers)
    compute.keep_narrow_layers_exact(
        precision, nn.Sequential(*layers), batch, accelerator=accelerator
    )
    for layer, other, is_rounded in zip(copy.deepcopy(layers), plain, rounded, strict=True):
        x = torch.randn(3, layer.in_features)
        for given in (x, x.bfloat16()):
            with torch.autocast("cpu", torch.bfloat16):
                found, after = layer(given), layer.weight @ x.t()
            exact = found.dtype == torch.float32
            assert exact != is_rounded
            with torch.autocast("cpu", torch.bfloat16, enabled=is_rounded):
                assert found.equal(other(given if is_rounded else given.float()))
            assert after.dtype == torch.bfloat16  # autocast goes on behind the layer


@pytest.mark.parametrize("network", ["mlp", "linear", "mlp network.tied=true"])
def test_a_network_of_narrow_layers_trains_in_bf16_mixed_as_in_float32(
    aeframe: Command, tmp_path: Path, network: str
) -> None:
    results = []
    for precision in ("32-true", "bf16-mixed"):
        run = f"hydra.run.dir={precision}"
        words = (*TINY, *f"network={network}".split(), f"trainer.precision={precision}", run)
        assert aeframe(*words)[0] == 0
        results.append(json.loads((tmp_path / precision / "evaluation.json").read_text()))
    assert results[0]["validation"] == results[1]["validation"]
    assert results[0]["metrics"] == results[1]["metrics"]


def test_products_that_count_as_exact_are_those_of_float32() -> None:
    compute._is_medium_exact.cache_clear()
    before = torch.get_float32_matmul_precision()
    exact = compute._is_medium_exact()
    assert torch.get_float32_matmul_precision() == before
    a, b = torch.randn(128, 784), torch.randn(784, 1000)
    wanted = a.double() @ b.double()
    with compute.configure_torch(1, "medium"):
        error = float(((a @ b).double() - wanted).norm() / wanted.norm())
    assert exact == (error < 1e-6)


# ---------------------------------------------------------------------------------------- compilation


@pytest.mark.parametrize("kind", VARIANTS)
def test_a_compiled_network_trains_the_same(
    compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    translated = []

    def backend(graph: torch.fx.GraphModule, _: Any) -> Callable[..., Any]:
        translated.append(graph)
        return graph.forward

    translate = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f, **_: translate(f, backend=backend))
    losses = []
    for compiled in (False, True):
        short = ("trainer.max_epochs=1", "trainer.steps_per_call=1")
        built = build(compose(*VARIANTS[kind], *short))
        if compiled:
            compute.compile_network(built.net)
        losses.append(fit(built, tmp_path, limit_train_batches=3)[1])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert len(translated) >= 2  # both ways through the network


def test_a_network_that_cannot_be_translated_is_one_line(
    aeframe: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise OSError("no compiler here")

    translate = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f, **_: translate(f, backend=broken))
    status, _, err = aeframe(*TINY, "trainer.compile=true")
    assert status == 2
    assert err.startswith("aeframe: trainer.compile=true: the network could not be translated (")
    assert len(err.splitlines()) == 1


# --------------------------------------------------------------------------------- steps taken ahead


@pytest.mark.parametrize(
    ("overrides", "any_ahead"),
    [
        ([], True),
        (["+trainer.profiler=simple"], False),  # it would see a fraction of the steps
        (["trainer.accumulate_grad_batches=2"], False),
        (["optimizer={_target_: torch.optim.LBFGS, lr: 0.1}"], False),
        (
            [
                "scheduler={_target_: torch.optim.lr_scheduler.ReduceLROnPlateau, interval: step, "
                "frequency: 5, patience: 0, threshold: 9}",
                "+trainer.val_check_interval=5",
            ],
            False,
        ),
    ],
)
def test_where_a_step_is_more_than_a_step_none_is_taken_ahead(
    compose: Compose,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    overrides: list[str],
    any_ahead: bool,
) -> None:
    taken = []
    step = _Ahead.step
    monkeypatch.setattr(_Ahead, "step", lambda ahead: (taken.append(1), step(ahead)))
    built = build(compose(*overrides, "trainer.max_epochs=1"))
    trainer, _ = fit(built, tmp_path, limit_train_batches=8)
    assert bool(taken) == any_ahead
    assert trainer.global_step > 1


def test_an_optimizer_without_a_closure_is_left_to_lightning() -> None:
    class Odd:
        def step(self, *args: Any) -> None: ...

    trainer: Any = SimpleNamespace(
        optimizers=[Odd()],
        lr_scheduler_configs=[],
        strategy=object.__new__(SingleDeviceStrategy),
        accumulate_grad_batches=1,
        precision_plugin=None,
        profiler=PassThroughProfiler(),
    )
    assert needs_lightning(trainer)
    trainer.optimizers = [torch.optim.SGD([torch.zeros(1)])]
    assert not needs_lightning(trainer)


@pytest.mark.parametrize("profiler", ["simple", "advanced"])
def test_times_of_a_profiler_are_in_the_run_folder(
    aeframe: Command, tmp_path: Path, profiler: str
) -> None:
    run = tmp_path / "run"
    assert aeframe(*TINY, f"+trainer.profiler={profiler}", f"hydra.run.dir={run}")[0] == 0
    (found,) = run.glob("fit-profile*.txt")
    assert "training_step" in found.read_text()


def test_the_last_checkpoint_is_of_the_last_step(aeframe: Command, tmp_path: Path) -> None:
    run = tmp_path / "run"
    rare = ("trainer.max_epochs=3", "trainer.check_val_every_n_epoch=2", "evaluation.images=32")
    assert aeframe(*rare, "trainer.limit_train_batches=4", f"hydra.run.dir={run}")[0] == 0
    steps = {
        name: torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True)["global_step"]
        for name in ("best", "last")
    }
    assert steps == {"best": 8, "last": 12}


def test_a_run_computes_without_denormals(
    aeframe: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = []
    step = _Ahead.step
    product: Any = lambda: float(torch.tensor(1e-30) * torch.tensor(1e-10))  # noqa: E731
    noted: Any = lambda ahead: (tiny.append(product()), step(ahead))  # noqa: E731
    monkeypatch.setattr(_Ahead, "step", noted)
    assert product() > 0
    assert aeframe("trainer.max_epochs=1", "evaluation.images=32")[0] == 0
    assert set(tiny) == {0.0}
    assert product() > 0


@pytest.mark.parametrize("workers", [0, 1])
def test_a_file_that_changes_while_training_ends_the_run_and_loses_nothing(
    aeframe: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    file, values = tmp_path / "a.npy", np.random.default_rng(0).normal(size=(400, 12))
    np.save(file, values)
    draw = Dashboard.on_train_end
    noted: Any = lambda *a: (draw(*a), np.save(file, values + 1))  # noqa: E731
    monkeypatch.setattr(Dashboard, "on_train_end", noted)
    where = ("dataset=array", f"dataset.path={file}", "dataset.in_memory=false")
    short = ("trainer.max_epochs=1", "model.latent_dim=2", "network.widths=[6]")
    status, _, err = aeframe(*where, *short, f"dataset.num_workers={workers}")
    assert status == 1
    (line,) = [line for line in err.splitlines() if line.startswith("aeframe:")]
    assert "was changed while it was in use" in line
    assert list(tmp_path.rglob("last.ckpt"))
