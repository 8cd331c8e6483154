"""Ends of training, and their traces in a log file."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import active_count
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from aeframe.config.options import UntilOptions
from aeframe.core.errors import TrainingError
from aeframe.monitoring import progress_bar
from aeframe.monitoring.progress_bar import Bar, make_progress
from tests.support.fitted import SMALL, STILL, Compose, Fitted
from tests.support.runs import TINY

# ---------------------------------------------------------------------------------------------- until


@pytest.mark.parametrize(
    ("metric", "bound"),
    [("val/mse", "at_most"), ("val/psnr", "at_least"), ("val/explained_variance", "at_least")],
)
def test_training_stops_where_the_level_is_reached(
    compose: Compose, metric: str, bound: str
) -> None:
    free = Fitted(compose)
    values = free.history.of(metric)
    assert free.epochs == 8
    assert free.until.reached is None  # no level was wanted
    assert values == sorted(values, reverse=bound == "at_most")  # it learns in every epoch
    between = (values[2] + values[3]) / 2
    stopped = Fitted(compose, f"until.metric={metric}", f"until.{bound}={between!r}")
    assert stopped.epochs == 4
    assert stopped.history.of(metric) == values[:4]
    assert stopped.until.reached is True


@pytest.mark.parametrize(("metric", "bound"), [("val/mse", "at_most"), ("val/psnr", "at_least")])
def test_a_level_is_reached_by_what_equals_it(compose: Compose, metric: str, bound: str) -> None:
    values = Fitted(compose, "trainer.max_epochs=3").history.of(metric)
    stopped = Fitted(compose, f"until.metric={metric}", f"until.{bound}={values[1]!r}")
    assert stopped.epochs == 2
    assert stopped.until.reached is True


@pytest.mark.parametrize("level", [("val/mse", "at_most=1e-9"), ("val/psnr", "at_least=99")])
def test_a_level_that_is_not_reached_lets_training_end(
    compose: Compose, level: tuple[str, str]
) -> None:
    fitted = Fitted(compose, f"until.metric={level[0]}", f"until.{level[1]}")
    assert fitted.epochs == 8
    assert fitted.until.reached is False


def test_a_level_may_be_reached_in_the_middle_of_an_epoch(compose: Compose) -> None:
    often = ("+trainer.val_check_interval=2", STILL)
    fitted = Fitted(compose, *often, "until.metric=val/mse", "until.at_most=9")
    assert fitted.trainer.global_step == 2
    assert fitted.until.reached is True


def test_the_level_as_a_person_would_write_it() -> None:
    assert UntilOptions(metric="val/mse", at_most=0.01).level == "val/mse <= 0.01"
    assert UntilOptions(metric="val/psnr", at_least=30).level == "val/psnr >= 30"
    assert UntilOptions(metric="val/mse", at_most=0.0).level == "val/mse <= 0"
    assert UntilOptions().level == ""


@pytest.mark.parametrize(
    ("level", "reached", "said"),
    [
        ("at_most=9", True, "The wanted level val/mse <= 9 was reached."),
        ("at_most=0", False, "The wanted level val/mse <= 0 was NOT reached."),
    ],
)
def test_a_run_tells_whether_the_level_was_reached(
    aeframe: Callable[..., Any], tmp_path: Path, level: str, reached: bool, said: str
) -> None:
    status, out, _ = aeframe(
        *SMALL,
        "trainer.max_epochs=3",
        "hydra.run.dir=run",
        "until.metric=val/mse",
        f"until.{level}",
    )
    assert status == 0
    assert said in out
    report = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert report["until"]["reached"] is reached
    assert report["epochs"] == (1 if reached else 3)


def test_a_run_without_a_level_says_nothing_of_one(
    aeframe: Callable[..., Any], tmp_path: Path
) -> None:
    _, out, _ = aeframe(*SMALL, "trainer.max_epochs=1", "hydra.run.dir=run")
    assert "wanted level" not in out
    assert (
        json.loads((tmp_path / "run" / "evaluation.json").read_text())["until"]["reached"] is None
    )


# ------------------------------------------------------------------------------------- early stopping


@pytest.mark.parametrize(("warmup", "patience"), [(0, 1), (0, 3), (2, 1), (3, 2)])
def test_patience_counts_after_the_warmup(compose: Compose, warmup: int, patience: int) -> None:
    """The first validation that counts is the one to improve on."""
    options = (f"early_stopping.warmup_epochs={warmup}", f"early_stopping.patience={patience}")
    fitted = Fitted(compose, *options, STILL)
    assert len(set(fitted.history.of("val/mse"))) == 1
    assert fitted.epochs == warmup + 1 + patience


def test_without_patience_training_is_never_stopped_early(compose: Compose) -> None:
    assert Fitted(compose, STILL).epochs == 8


@pytest.mark.parametrize("metric", ["val/mse", "val/psnr", "val/explained_variance"])
def test_improving_training_is_not_stopped(compose: Compose, metric: str) -> None:
    fitted = Fitted(compose, f"optimized_metric={metric}", "early_stopping.patience=1")
    values = fitted.history.of(metric)
    assert values == sorted(values, reverse=metric == "val/mse")
    assert fitted.epochs == 8


@pytest.mark.parametrize("metric", ["val/mse", "val/psnr"])
def test_an_improvement_below_min_delta_is_none(compose: Compose, metric: str) -> None:
    options = ("early_stopping.patience=2", "early_stopping.min_delta=100")
    assert Fitted(compose, f"optimized_metric={metric}", *options).epochs == 3


def test_worsening_training_is_stopped(compose: Compose) -> None:
    # the metric that is watched is the one that is optimized, not the loss
    fitted = Fitted(
        compose,
        *("model=variational", "model.beta=0", "optimized_metric=val/kl"),
        *("early_stopping.patience=2", "early_stopping.warmup_epochs=1"),
    )
    kl = fitted.history.of("val/kl")
    assert kl[1] < kl[2] < kl[3]  # a posterior that nothing holds leaves the prior
    assert fitted.epochs == 4


def test_patience_counts_validations_where_these_are_rarer_than_epochs(compose: Compose) -> None:
    rare = ("trainer.check_val_every_n_epoch=2", "early_stopping.patience=2", STILL)
    fitted = Fitted(compose, *rare)
    assert len(fitted.history.seen) == 3
    assert fitted.epochs == 6


# ------------------------------------------------------------------------------------------- the bar

LINE = re.compile(r"epoch (\d+)/(\d+)  (\S+) (\S+)  ([\d,]+) images/s")


@pytest.mark.parametrize(
    ("epochs", "shown"),
    [(1, [1]), (4, [1, 2, 3, 4]), (10, list(range(1, 11))), (24, list(range(2, 25, 2)))],
)
def test_without_a_terminal_a_line_for_every_tenth_of_the_epochs(
    aeframe: Callable[..., Any], epochs: int, shown: list[int]
) -> None:
    batches = ("trainer.limit_train_batches=1", "trainer.limit_val_batches=1")
    _, out, err = aeframe(*SMALL, *batches, f"trainer.max_epochs={epochs}", "hydra.run.dir=run")
    lines = LINE.findall(out)
    assert [int(line[0]) for line in lines] == shown
    assert {(line[1], line[2]) for line in lines} == {(str(epochs), "val/mse")}
    assert err == ""  # no bar
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", out)  # and nothing that moves a cursor


def test_a_validation_after_training_is_no_further_epoch(aeframe: Callable[..., Any]) -> None:
    _, out, err = aeframe(*SMALL, "trainer.max_steps=1", "hydra.run.dir=run")
    assert (LINE.findall(out), err) == ([], "")
    assert "Test metrics after 1 epoch" in out


def test_the_lines_show_the_monitored_metric(compose: Compose, capsys: Any) -> None:
    bar = Bar("val/psnr")
    fitted = Fitted(compose, "trainer.max_epochs=3", more=(bar,))
    shown = [float(line[3]) for line in LINE.findall(capsys.readouterr().out)]
    assert shown == [float(f"{value:.4g}") for value in fitted.history.of("val/psnr")]


def test_the_rate_is_images_by_seconds_since_training_began(
    compose: Compose, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def seconds() -> Iterator[float]:
        yield 100.0
        while True:
            yield 102.0

    clock = seconds()
    monkeypatch.setattr(progress_bar, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    Fitted(compose, "trainer.max_epochs=3", "dataset.batch_size=25", more=(Bar("val/mse"),))
    rates = [line[4] for line in LINE.findall(capsys.readouterr().out)]
    assert rates == ["50", "100", "150"]  # 4 batches of 25 in each epoch, over 2 seconds


def test_the_last_epoch_has_a_line_though_it_ends_no_tenth(
    compose: Compose, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("trainer.max_epochs=25", "trainer.limit_train_batches=1", "dataset.batch_size=25")
    Fitted(compose, *words, more=(Bar("val/mse"),))
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch ")]
    assert [int(line.split()[1].split("/")[0]) for line in lines] == [*range(2, 26, 2), 25]


@pytest.mark.parametrize(
    "words", [("dataset.batch_size=1000000",), ("trainer.accumulate_grad_batches=1000",)]
)
def test_the_rate_counts_the_images_that_there_are(
    aeframe: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    clock = iter([100.0, *[102.0] * 100])
    monkeypatch.setattr(progress_bar, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    _, out, _ = aeframe("trainer.max_epochs=1", "hydra.run.dir=run", "dashboard.images=0", *words)
    assert [line[4] for line in LINE.findall(out)] == ["718"]  # 1,437 in 2 seconds


def test_rates_have_separators_for_thousands(
    compose: Compose, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, *[0.01] * 100])
    monkeypatch.setattr(progress_bar, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    Fitted(compose, "trainer.max_epochs=1", "dataset.batch_size=25", more=(Bar("val/mse"),))
    assert "  10,000 images/s" in capsys.readouterr().out


def on_a_terminal(monitor: str) -> tuple[Bar, io.StringIO]:
    bar, screen = Bar(monitor), io.StringIO()
    bar.console = Console(file=screen, force_terminal=True, width=200, color_system=None)
    bar.interval = 0.0
    return bar, screen


def test_on_a_terminal_a_bar_and_no_lines(compose: Compose, capsys: Any) -> None:
    bar, screen = on_a_terminal("val/mse")
    Fitted(compose, "trainer.max_epochs=2", more=(bar,))
    assert capsys.readouterr().out == ""
    bar.progress.refresh()
    (task,) = bar.progress.tasks
    assert (task.completed, task.total) == (8, 8)
    assert task.fields["epoch"] == "2/2"
    assert task.fields["rate"] > 0
    assert re.fullmatch(r"loss \S+  val/mse \S+", task.fields["shown"])
    assert "images/s" in screen.getvalue()


def test_on_a_dumb_terminal_lines_and_no_bar(
    compose: Compose, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    bar, screen = on_a_terminal("val/mse")
    Fitted(compose, "trainer.max_epochs=2", more=(bar,))
    assert len(LINE.findall(capsys.readouterr().out)) == 2
    assert screen.getvalue() == ""


def test_no_thread_draws_the_bar() -> None:
    """A thread would take time from training."""
    bar, threads = (
        make_progress(Console(file=io.StringIO(), force_terminal=True), False),
        active_count(),
    )
    with bar:
        assert active_count() == threads


@pytest.mark.parametrize("width", [40, 60, 80, 120])
@pytest.mark.parametrize(
    "shown", ["", "loss 0.1  val/mse 0.2", f"loss 1.234e+05  val/{'long_' * 9}"]
)
def test_the_bar_is_one_line_however_narrow_the_terminal(width: int, shown: str) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=width, color_system=None)
    bar = make_progress(console, disable=False)
    fields = {"epoch": "112/200", "rate": 1_123_456.0, "shown": shown}
    bar.add_task("", total=1000, completed=560, **fields)
    console.print(bar.get_renderable())
    (line,) = screen.getvalue().splitlines()
    assert len(line) <= width
    if width >= 60:
        for part in ("epoch 112/200", "56%", "1,123,456 images/s", shown[:5], "--:--"):
            assert part in line
    if width >= 120:
        assert shown[:30] in line


def test_the_bar_leaves_the_terminal_when_training_fails(compose: Compose) -> None:
    bar, _ = on_a_terminal("val/mse")
    with pytest.raises(TrainingError, match="the loss became"):
        Fitted(compose, "optimizer.lr=1e30", "trainer.max_epochs=3", more=(bar,))
    assert not bar.progress.live.is_started


def test_a_run_that_stopped_early_says_so(aeframe: Callable[..., Any]) -> None:
    never_better = ("early_stopping.patience=2", "early_stopping.min_delta=10")
    status, out, _ = aeframe(*TINY, *never_better, "trainer.max_epochs=9")
    assert status == 0
    assert "Stopped early: val/mse had not improved in 2 validations." in out.splitlines()
    assert "Stopped early" not in aeframe(*TINY)[1]
