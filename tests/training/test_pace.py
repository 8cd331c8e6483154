"""Fast paths give what the plain ones give: steps taken ahead, losses in one pass."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.loops.fetchers import _PrefetchDataFetcher
from pytorch_lightning.utilities.combined_loader import CombinedLoader
from torch import Tensor

from aeframe.core import signals as interruption
from aeframe.core.errors import TrainingError
from aeframe.data import Batch
from aeframe.models.likelihoods import Bernoulli, Gaussian, Likelihood
from aeframe.training.module import AutoencoderModule
from aeframe.training.speed import steps_ahead
from aeframe.training.train_batches import TrainBatches
from tests.support.paces import (
    SMALL,
    Compose,
    Pace,
    Run,
    differences,
    quickly,
    trained,
    written,
)

__all__ = ["quickly", "trained"]  # fixtures

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*could not find the monitored key",  # where training ends before the first validation
    "ignore:Anomaly Detection has been enabled",
    "ignore:This DataLoader will create 2 worker processes",  # on one core
)

PACES = (3, 7, "auto")
BATCHES = 12  # of an epoch of digits
PICTURES = "dashboard.images=2"


@pytest.fixture(autouse=True)
def ahead(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of the steps that were taken ahead. `auto` takes all that it may, on any machine."""
    taken: list[int] = []
    step = steps_ahead._Ahead.step

    def noted(self: Any) -> None:
        taken.append(self.steps)
        step(self)

    monkeypatch.setattr(steps_ahead._Ahead, "step", noted)
    monkeypatch.setattr(steps_ahead.StepsAhead, "interval", 1e9)
    return taken


def expected_ahead(stretches: list[int], steps_per_call: Pace) -> int:
    """Count the steps that are taken ahead in stretches of batches, each of whose last is Lightning's."""
    most = 10**9 if steps_per_call == "auto" else int(steps_per_call)
    count = 0
    for left in stretches:
        while left:
            taken = min(most, max(left - 1, 1))
            count, left = count + taken - 1, left - taken
    return count


@pytest.fixture
def same_at_every_pace(trained: Callable[..., Run], ahead: list[int]) -> Callable[..., Run]:
    """Train at every pace, look for differences, and give the run that Lightning did alone.

    stretches: of batches, at whose ends Lightning has something to do.
    """

    def compared(*overrides: str, stretches: list[int], paces: Iterable[Pace] = PACES) -> Run:
        alone = trained(1, *overrides)
        assert ahead == []
        expected = alone.story()
        for steps_per_call in paces:
            run = trained(steps_per_call, *overrides)
            assert list(differences(expected, run.story())) == [], steps_per_call
            assert run.trainer.global_step == alone.trainer.global_step
            assert run.trainer.current_epoch == alone.trainer.current_epoch
            assert len(ahead) == expected_ahead(stretches, steps_per_call)
            ahead.clear()
        return alone

    return compared


def rates(run: Run) -> dict[int, float]:
    return dict(written(run.folder)["vitals/learning_rate"])


# ----------------------------------------------------------------------------------- steps taken ahead

VARIANTS = {
    "undercomplete": ["model.latent_dim=8"],
    "denoising": ["model=denoising", "constraint.masking.emphasis_corrupted=2"],
    "dropout": ["network.widths=[16]", "model.latent_dim=8", "network.dropout=0.2"],
    "batch norm": ["network.widths=[16]", "model.latent_dim=8", "network.norm=batch"],
    "topk": ["model=sparse", "constraint.topk.k=4", "constraint.topk.read=all"],
    "topk, active": ["model=sparse", "constraint.topk.k=4", "constraint.topk.read=active"],
    "batch_topk, auxk": [
        "model=sparse",
        "constraint=[batch_topk,auxk]",
        "constraint.auxk.after=0.1",
    ],
    "resampling": [
        *("model=sparse", "constraint=[sigmoid,kl_sparsity,resampling]"),
        *(
            "constraint.sigmoid.rate=0.5",
            "constraint.sigmoid.gain=1.0",
            "constraint.sigmoid.adapt=0",
        ),
        "constraint.kl_sparsity.rho=0.01",  # pulled from 0.5 to it, no unit is active any more
        *("constraint.resampling.every=0.4", "constraint.resampling.after=0.1"),
    ],
    "jump_relu": ["model=sparse", "constraint=jump_relu"],
    "l1": ["model=sparse", "constraint=l1", "constraint.l1.form=unit_norm"],
    "variational": [
        *("model=variational", "model.latent_dim=4"),
        "model.beta={schedule: warmup, value: 2.0, steps: 20}",
    ],
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_is_the_same_at_every_pace(
    same_at_every_pace: Callable[..., Run], variant: str
) -> None:
    """Weights, buffers, the optimizer's memory, all counts, and all that was written."""
    size = ["model.latent_dim=80"] if "model=sparse" in VARIANTS[variant] else []
    words, stretches = (*VARIANTS[variant], *size, PICTURES), [BATCHES] * 2
    paces = (5, "auto")  # full calls and a shorter one; all in one
    run = same_at_every_pace(*words, stretches=stretches, paces=paces)
    assert run.trainer.global_step == 2 * BATCHES
    assert [step for step, _ in written(run.folder)["train/loss"]] == [4, 9, 14, 19]
    assert [step for step, _ in written(run.folder)["val/mse"]] == [BATCHES, 2 * BATCHES]


def test_units_start_anew_in_the_comparison_of_resampling(
    trained: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    from aeframe.constraints import revival

    revived: list[int] = []
    revive = revival.revive

    def noted(model: Any, optimizer: Any, units: Tensor, *rest: Any) -> None:
        revived.append(len(units))
        revive(model, optimizer, units, *rest)

    monkeypatch.setattr(revival, "revive", noted)
    trained("auto", *VARIANTS["resampling"], "model.latent_dim=80")
    assert len(revived) > 1
    assert sum(revived) > 10


OPTIONS: dict[str, tuple[list[str], list[int]]] = {
    "clip by norm": (["+trainer.gradient_clip_val=0.05"], [12, 12]),
    "clip by value": (
        ["trainer.gradient_clip_val=0.001", "+trainer.gradient_clip_algorithm=value"],
        [12, 12],
    ),
    "clip what a constraint edits": (
        [
            *("model=sparse", "model.latent_dim=80", "constraint=l1"),
            *("constraint.l1.form=unit_norm", "trainer.gradient_clip_val=0.05"),
        ],
        [12, 12],
    ),
    "a profiler, which sees each step": (["+trainer.profiler=simple"], []),
    "an optimizer that is not fused": (["optimizer._target_=torch.optim.RMSprop"], [12, 12]),
    "momentum": (["optimizer._target_=torch.optim.SGD", "+optimizer.momentum=0.9"], [12, 12]),
    "steps end in an epoch": (["+trainer.max_steps=17", "trainer.max_epochs=9"], [12, 5]),
    "steps end after a first step": (["+trainer.max_steps=13"], [12, 1]),
    "steps end with an epoch": (["+trainer.max_steps=24", "trainer.max_epochs=9"], [12, 12]),
    "one step": (["+trainer.max_steps=1"], [1]),
    "validation every 4": (["+trainer.val_check_interval=4"], [4, 4, 4] * 2),
    "validation every 5": (["+trainer.val_check_interval=5"], [5, 5, 2] * 2),
    "validation after each": (["+trainer.val_check_interval=1"], [1] * 24),
    "validation every half": (["+trainer.val_check_interval=0.5"], [6, 6] * 2),
    "rare validation": (["trainer.check_val_every_n_epoch=2"], [12, 12]),
    "rare validation, twice": (
        ["trainer.check_val_every_n_epoch=2", "+trainer.val_check_interval=0.5"],
        [6, 6] * 2,
    ),
    "windows of two": (["trainer.accumulate_grad_batches=2"], []),
    "windows of seven": (["trainer.accumulate_grad_batches=7"], []),
    "bf16-mixed": (["trainer.precision=bf16-mixed"], [12, 12]),
    "bf16-mixed, active": (
        [
            *("trainer.precision=bf16-mixed", "model=sparse", "model.latent_dim=80"),
            *("constraint.topk.k=4", "constraint.topk.read=active"),
        ],
        [12, 12],
    ),
    "64-true": (["trainer.precision=64-true"], [12, 12]),
    "seven batches": (["trainer.limit_train_batches=7"], [7, 7]),
    "half the batches": (["trainer.limit_train_batches=0.5"], [6, 6]),
    "one batch": (["trainer.limit_train_batches=1"], [1, 1]),
    "two batches": (["trainer.limit_train_batches=2"], [2, 2]),
    "in order": (["dataset.shuffle=false"], [12, 12]),
    "anomalies are looked for": (["+trainer.detect_anomaly=true"], [12, 12]),
    "a level that is reached before training may end": (
        [
            *("+trainer.min_epochs=2", "trainer.max_epochs=3", "until.metric=val/mse"),
            *("until.at_most=9", "+trainer.val_check_interval=5"),
        ],
        [*[5, 5, 2] * 2, 5],  # it is looked at anew in each validation
    ),
}


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_does_the_same_at_every_pace(
    same_at_every_pace: Callable[..., Run], option: str
) -> None:
    overrides, stretches = OPTIONS[option]
    same_at_every_pace(*overrides, stretches=stretches, paces=(3, "auto"))


@pytest.mark.parametrize("steps", [1, 2, 11, 12, 13, 14, 20])
def test_no_step_more_than_was_asked_for(trained: Callable[..., Run], steps: int) -> None:
    for steps_per_call in PACES:
        run = trained(steps_per_call, f"+trainer.max_steps={steps}", "trainer.max_epochs=9")
        assert run.trainer.global_step == steps
        assert run.built.net.clock.step == steps
        assert {float(s["step"]) for s in run.trainer.optimizers[0].state.values()} == {steps}


@pytest.mark.parametrize("interval", [4, 5])
def test_validation_comes_after_the_same_steps(trained: Callable[..., Run], interval: int) -> None:
    run = trained("auto", f"+trainer.val_check_interval={interval}")
    steps = [step for step, _ in written(run.folder)["val/mse"]]
    assert steps == [e * BATCHES + s for e in (0, 1) for s in range(interval, 13, interval)]


SCHEDULES = {
    "step": ("ExponentialLR, gamma: 0.5, interval: step", lambda s: 0.5**s),
    "every second step": (
        "ExponentialLR, gamma: 0.5, interval: step, frequency: 2",
        lambda s: 0.5 ** (s // 2),
    ),
    "every fifth step, counted in each epoch": (
        "ExponentialLR, gamma: 0.5, interval: step, frequency: 5",
        lambda s: 0.5 ** (s // BATCHES * 2 + s % BATCHES // 5),
    ),
    "epoch": ("ExponentialLR, gamma: 0.5, interval: epoch", lambda s: 0.5 ** (s // BATCHES)),
    "one cycle": (
        f"LinearLR, start_factor: 1.0, end_factor: 0.25, total_iters: {BATCHES}, interval: step",
        lambda s: 1 - 0.75 * min(s / BATCHES, 1),
    ),
    "plateau": (
        "ReduceLROnPlateau, factor: 0.5, patience: 0, threshold: 0.99, monitor: val/mse",
        lambda s: 0.5 ** max(0, s // BATCHES - 1),  # the first value is the one to improve on
    ),
}


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_learning_rate_is_that_of_the_step_at_every_pace(
    same_at_every_pace: Callable[..., Run], schedule: str
) -> None:
    written_as, curve = SCHEDULES[schedule]
    scheduler = f"scheduler={{_target_: torch.optim.lr_scheduler.{written_as}}}"
    epochs = ("trainer.max_epochs=3", "trainer.log_every_n_steps=1")
    run = same_at_every_pace(scheduler, *epochs, stretches=[BATCHES] * 3, paces=(7, "auto"))
    assert rates(run) == pytest.approx({s: 1e-3 * curve(s) for s in range(3 * BATCHES)})


def test_a_plateau_between_validations_of_each_step_is_seen_at_every_pace(
    same_at_every_pace: Callable[..., Run],
) -> None:
    plateau = "torch.optim.lr_scheduler.ReduceLROnPlateau, patience: 0, threshold: 0.99"
    options = "factor: 0.5, interval: step, monitor: val/mse"
    run = same_at_every_pace(
        *(f"scheduler={{_target_: {plateau}, {options}}}", "+trainer.val_check_interval=1"),
        *("trainer.log_every_n_steps=1", "trainer.limit_train_batches=5"),
        stretches=[1] * 10,
    )
    assert rates(run) == pytest.approx({s: 1e-3 * 0.5 ** max(0, s - 1) for s in range(10)})


def test_a_level_reached_within_an_epoch_stops_there_at_every_pace(
    same_at_every_pace: Callable[..., Run], trained: Callable[..., Run], ahead: list[int]
) -> None:
    often = ("+trainer.val_check_interval=5", "optimizer.lr=0.01")
    values = [value for _, value in written(trained(1, *often).folder)["val/mse"]]
    assert values == sorted(values, reverse=True)
    level = (values[2] + values[3]) / 2  # after 17 and 22 steps
    stops = ("until.metric=val/mse", f"until.at_most={level!r}")
    run = same_at_every_pace(*often, *stops, stretches=[5, 5, 2, 5, 5])
    assert run.trainer.global_step == 22


def test_patience_ends_within_an_epoch_at_every_pace(
    same_at_every_pace: Callable[..., Run],
) -> None:
    never = ("early_stopping.patience=3", "early_stopping.min_delta=9")
    run = same_at_every_pace(*never, "+trainer.val_check_interval=5", stretches=[5, 5, 2, 5, 5])
    assert run.trainer.global_step == 22


def test_an_optimizer_that_asks_for_the_loss_again_is_left_to_lightning(
    trained: Callable[..., Run], ahead: list[int]
) -> None:
    lbfgs = ("optimizer._target_=torch.optim.LBFGS", "optimizer.lr=0.5", "+optimizer.max_iter=3")
    run = trained("auto", *lbfgs, "trainer.log_every_n_steps=1")
    assert ahead == []
    values = [value for _, value in written(run.folder)["val/mse"]]
    assert values[1] < values[0] < 0.06  # the mean image's is 0.074
    assert run.trainer.global_step == 2 * BATCHES


@pytest.fixture
def handlers() -> Iterator[None]:
    """Signals are handled as before: after Ctrl-C Lightning ignores any other."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class Interrupted(Run):
    """A run in whose step 5 the user presses Ctrl-C."""

    def fit(self) -> Run:
        module = self.built.module
        loss = module.compute_loss

        def interrupted(batch: Batch, batch_idx: int, step: int) -> Tensor:
            if step == 5:
                raise KeyboardInterrupt
            return loss(batch, batch_idx, step)

        module.compute_loss = interrupted  # type: ignore[method-assign]
        with pytest.raises(SystemExit):
            self.trainer.fit(module)
        return self


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("steps_per_call", [1, *PACES])
def test_an_interruption_leaves_whole_steps_and_counts_of_them(
    trained: Callable[..., Run],
    quickly: Compose,
    tmp_path: Path,
    ahead: list[int],
    steps_per_call: Pace,
) -> None:
    whole = trained(1, "+trainer.max_steps=5")
    cfg = quickly(*SMALL, f"trainer.steps_per_call={steps_per_call}")
    run = Interrupted(cfg, tmp_path / "run").fit()
    loop: Any = run.trainer.fit_loop.epoch_loop
    step = loop.automatic_optimization.optim_progress.optimizer.step.total
    batches = loop.batch_progress.current
    assert (run.trainer.global_step, step.ready, step.completed) == (5, 6, 5)
    assert (batches.ready, batches.started, batches.processed) == (6, 6, 5)
    was_ahead = 5 in ahead
    assert was_ahead == (steps_per_call != 1)
    # Lightning's own step of this call is completed when those ahead of it are
    assert batches.completed == 5 - was_ahead
    assert loop._batches_that_stepped == 5 - was_ahead
    assert not list(differences(whole.built.net.state_dict(), run.built.net.state_dict()))


def test_the_step_whose_loss_is_not_finite_is_named_at_every_pace(
    trained: Callable[..., Run], tmp_path: Path, ahead: list[int]
) -> None:
    def message(steps_per_call: Pace) -> str:
        steep = ("optimizer._target_=torch.optim.SGD", "optimizer.lr=1")
        with pytest.raises(TrainingError) as caught:
            trained(steps_per_call, *steep, "divergence.explodes_at=1e300")
        (tmp_path / "run").rename(tmp_path / f"failed at pace {steps_per_call}")
        return str(caught.value)

    expected = message(1)
    for steps_per_call in PACES:
        assert message(steps_per_call) == expected
        assert f"at step {ahead[-1]} " in expected


@pytest.mark.usefixtures("handlers")
def test_a_signal_to_end_is_heeded_after_the_step_at_every_pace(
    quickly: Compose, tmp_path: Path
) -> None:
    cfg = quickly(*SMALL)
    for steps_per_call in (1, *PACES):
        cfg.trainer.steps_per_call = steps_per_call
        run = Run(cfg, tmp_path / f"run{steps_per_call}")
        after_step = run.built.module.after_step

        def killed(optimizer: Any, steps: int, after_step: Any = after_step) -> None:
            after_step(optimizer, steps)
            if steps == 5:
                os.kill(os.getpid(), signal.SIGTERM)

        run.built.module.after_step = killed  # type: ignore[method-assign]
        with pytest.raises(interruption.Interrupted):
            run.fit()
        assert run.checkpoint("last")["global_step"] == 5
        assert run.trainer.global_step == run.built.net.clock.step == 5


# ---------------------------------------------------------------------------------- how many at once


def test_auto_takes_none_ahead_where_one_step_takes_the_interval(
    trained: Callable[..., Run], ahead: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps_ahead.StepsAhead, "interval", 1e-9)
    assert trained("auto").trainer.global_step == 2 * BATCHES
    assert ahead == []


def test_a_number_of_steps_is_taken_however_long_they_take(
    trained: Callable[..., Run], ahead: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps_ahead.StepsAhead, "interval", 1e-9)
    trained(4)
    assert ahead == [1, 2, 3, 5, 6, 7, 9, 10, 13, 14, 15, 17, 18, 19, 21, 22]


@pytest.mark.parametrize(
    ("slow", "expected"),
    [
        (-1, [1, 2, 3, 5, 6, 7, 9, 10]),  # four steps of a quarter
        (1, [1, 3, 4, 5, 7, 8, 9]),  # the second takes three quarters, and the call ends with it
    ],
)
def test_auto_takes_as_many_as_fit_by_its_latest_step(
    trained: Callable[..., Run],
    ahead: list[int],
    monkeypatch: pytest.MonkeyPatch,
    slow: int,
    expected: list[int],
) -> None:
    now, late = [0.0], set[int]()

    def clock() -> float:  # it is read at a call's begin and after each step
        now[0] += 0.75 if ahead[-1:] == [slow] and slow not in late else 0.25
        late.update(ahead)
        return now[0]

    monkeypatch.setattr(steps_ahead, "time", SimpleNamespace(perf_counter=clock))
    monkeypatch.setattr(steps_ahead.StepsAhead, "interval", 1.125)
    trained("auto", "trainer.max_epochs=1")
    assert ahead == expected


# ------------------------------------------------------------------------------------- what is written


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int, int, list[int], float]]:
    """Record of each training step: the epoch, the batch's number, the step, the rows and the loss."""
    found: list[tuple[int, int, int, list[int], float]] = []
    loss = AutoencoderModule.compute_loss

    def noted(self: AutoencoderModule, batch: Batch, batch_idx: int, step: int) -> Tensor:
        value = loss(self, batch, batch_idx, step)
        found.append((self.epoch.number, batch_idx, step, batch.row.tolist(), value.item()))
        return value

    monkeypatch.setattr(AutoencoderModule, "compute_loss", noted)
    return found


@pytest.mark.parametrize("every", [1, 3, 7])
def test_the_command_writes_the_values_of_the_very_step(
    aeframe: Callable[..., Any], tmp_path: Path, ahead: list[int], seen: list[Any], every: int
) -> None:
    """A weight that grows with each step tells which step a term is of, wherever it was taken."""
    status, _, _ = aeframe(
        *(
            *SMALL,
            f"trainer.log_every_n_steps={every}",
            "evaluation.images=20",
            "hydra.run.dir=run",
        ),
        *("constraint=[bottleneck,l2]", "dashboard.images=0"),
        "constraint.l2.weight={schedule: linear, start: 0.0, end: 1.0, steps: 100}",
        "constraint.l2.relative=false",
    )
    assert status == 0
    found = written(tmp_path / "run")
    losses = {step: loss for _, _, step, _, loss in seen}
    steps = list(range(every - 1, 2 * BATCHES, every))
    assert list(losses) == list(range(2 * BATCHES))
    assert dict(found["train/loss"]) == {step: losses[step] for step in steps}
    raw, weighted = dict(found["train/l2"]), dict(found["train/l2_weighted"])
    assert weighted == pytest.approx({step: raw[step] * step / 100 for step in steps}, rel=1e-5)
    assert found["vitals/samples_per_second"] == steps
    assert len(ahead) == 2 * (BATCHES - 2)
    assert set(ahead) & set(steps)


# --------------------------------------------------------------------------------------- the batches


@pytest.mark.parametrize(("count", "limit"), [(0, None), (1, None), (4, None), (4, 3), (4, 9)])
def test_batches_come_as_from_lightnings_loader(count: int, limit: int | None) -> None:
    def fetching(loader: CombinedLoader) -> _PrefetchDataFetcher:
        loader.limits = limit
        fetcher = _PrefetchDataFetcher()
        fetcher.setup(loader)
        iter(fetcher)
        assert len(loader) == min(count, count if limit is None else limit)
        return fetcher

    def epochs(fetcher: _PrefetchDataFetcher) -> list[Any]:
        found: list[Any] = []
        for _ in range(2):
            found.append([(batch, fetcher.fetched, fetcher.done) for batch in fetcher])
            with pytest.raises(StopIteration):
                next(fetcher)
        return found

    plain, ours = CombinedLoader(range(count), "max_size_cycle"), TrainBatches(range(count))
    found = epochs(fetching(ours))
    assert found == epochs(fetching(plain))
    assert [len(epoch) for epoch in found] == 2 * [len(ours)]
    if count:  # of an epoch that was begun
        assert next(fetching(TrainBatches(range(count)))) == (0, 0, 0)


def test_training_gets_its_batches_from_ours(
    trained: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched, fetch = [], TrainBatches.__next__

    def noted(self: TrainBatches) -> tuple[Any, int, int]:
        fetched.append(fetch(self))
        return fetched[-1]

    monkeypatch.setattr(TrainBatches, "__next__", noted)
    trained("auto")
    assert [index for _, index, _ in fetched] == 2 * list(range(BATCHES))


PLACES = {
    "in memory": [],
    "two workers": ["dataset.num_workers=2"],
    "not in memory": ["dataset.in_memory=false"],
    "not in memory, no workers": ["dataset.in_memory=false", "dataset.num_workers=0"],
}


def batches_of(seen: list[Any]) -> list[tuple[int, int, int, list[int]]]:
    found = [batch[:4] for batch in seen]
    seen.clear()
    return found


@pytest.mark.parametrize("size", [100, 479, 1436, 2000])
def test_each_sample_is_seen_once_in_each_epoch(
    trained: Callable[..., Run], seen: list[Any], ahead: list[int], size: int
) -> None:
    run = trained("auto", f"dataset.batch_size={size}")
    count = math.ceil(1437 / size)
    batches = batches_of(seen)
    assert [batch[:3] for batch in batches] == [
        (epoch, i, epoch * count + i) for epoch in (0, 1) for i in range(count)
    ]
    rows: list[list[int]] = [[], []]
    for number, _, _, row in batches:
        rows[number] += row
    index = run.built.data.splits["train"].index.tolist()
    assert [sorted(row) for row in rows] == [index, index]
    assert rows[0] != rows[1]
    assert len(ahead) == 2 * max(0, count - 2)


@pytest.mark.parametrize(
    ("source", "precision"), [("digits", "32-true"), ("array", "32-true"), ("array", "64-true")]
)
def test_batches_are_the_same_wherever_they_come_from(
    trained: Callable[..., Run], seen: list[Any], tmp_path: Path, source: str, precision: str
) -> None:
    data = ["dataset.batch_size=500"]
    if source == "array":
        np.save(tmp_path / "a.npy", np.random.default_rng(0).normal(size=(70, 5)).astype("float32"))
        data = ["dataset=array", f"dataset.path={tmp_path / 'a.npy'}", "dataset.batch_size=9"]
        data += ["model.latent_dim=2", f"trainer.precision={precision}"]
    alone = trained(1, *data)
    expected, story = batches_of(seen), alone.story()
    for place in PLACES.values():
        run = trained("auto", *data, *place)
        assert batches_of(seen) == expected
        assert list(differences(story, run.story())) == []


# ----------------------------------------------------------------------------------- losses in one pass

LIKELIHOODS: dict[str, Callable[[], Likelihood]] = {
    "bernoulli": Bernoulli,
    "gaussian": Gaussian,
    "narrow": lambda: Gaussian(variance=0.01),
    "wide": lambda: Gaussian(variance=30.0),
    "learned": lambda: Gaussian(variance="learned"),
    "optimal": lambda: Gaussian(variance="optimal"),
}


@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (3, 2, 4, 5)])
@pytest.mark.parametrize("weighs", [False, True])
@pytest.mark.parametrize("kind", LIKELIHOODS)
def test_the_loss_is_the_sum_over_elements_averaged_over_the_batch(
    kind: str, weighs: bool, shape: tuple[int, ...]
) -> None:
    likelihood = LIKELIHOODS[kind]().double()
    torch.manual_seed(0)
    x, scale = torch.rand(shape, dtype=torch.float64), torch.tensor(3.0, dtype=torch.float64)
    weight = torch.rand(shape, dtype=torch.float64) if weighs else None
    parameters = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    wanted = [parameters, *(p for p in likelihood.parameters() if p.requires_grad)]
    nll = likelihood.nll(parameters, x) * (1 if weight is None else weight)
    expected, found = nll.sum() / len(x), likelihood.loss(parameters, x, weight)
    expected = expected - likelihood.sum_constant(x, weight)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    ours = torch.autograd.grad(found * scale, wanted)
    theirs = torch.autograd.grad(expected * scale, wanted)
    assert len(ours) == 1 + (kind == "learned")
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
        assert (a != 0).any()


# --------------------------------------------------------------------------------- the last checkpoint

JUMP = "scheduler={_target_: torch.optim.lr_scheduler.StepLR, step_size: 2, gamma: 300.0}"
STATE = ("state_dict", "optimizer_states", "lr_schedulers", "global_step", "epoch")


class Snapshots(pl.Callback):
    """The weights after each epoch."""

    def __init__(self) -> None:
        self.states: list[dict[str, Tensor]] = []

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.states.append({k: v.detach().clone() for k, v in pl_module.state_dict().items()})


def state_of(checkpoint: dict[str, Any]) -> dict[str, Any]:
    return {key: checkpoint[key] for key in STATE}


def test_the_last_checkpoint_is_of_the_last_epoch_and_the_best_of_the_best(
    quickly: Compose, tmp_path: Path
) -> None:
    run = Run(quickly(*SMALL, JUMP, "trainer.max_epochs=4"), tmp_path / "run")
    snapshots = Snapshots()
    run.trainer.callbacks.insert(0, snapshots)
    run.fit()
    values = [value for _, value in written(run.folder)["val/mse"]]
    assert values[1] < values[0] < min(values[2:])
    last, best = run.checkpoint("last"), run.checkpoint("best")
    assert (last["global_step"], best["global_step"]) == (4 * BATCHES, 2 * BATCHES)
    assert not list(differences(last["state_dict"], snapshots.states[3]))
    assert not list(differences(best["state_dict"], snapshots.states[1]))
    assert list(differences(snapshots.states[1], snapshots.states[3]))
    end = state_of(run.checkpoint("end")) | {"epoch": 3}  # it was written after the last epoch
    assert not list(differences(state_of(last), end))
