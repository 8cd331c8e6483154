"""metrics.csv: all curves of a run as a table, also of a run that was interrupted."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from aeframe.core.errors import UserError
from aeframe.monitoring.metrics_file import (
    NAME,
    MetricsFile,
    make_row,
    read_rows,
    truncate_rows,
)
from aeframe.training.module import AutoencoderModule
from tests.support.events import Events
from tests.support.runs import Killed

Command = Callable[..., tuple[int, str, str]]
SHORT = (
    *("network.widths=[]", "trainer.max_epochs=2", "trainer.limit_train_batches=5"),
    *("trainer.log_every_n_steps=1", "evaluation.images=16", "dashboard.images=0"),
    *("hydra.run.dir=run", "resume=auto", "checkpoint.every_minutes=0", "trainer.steps_per_call=2"),
)


def table(folder: Path) -> pd.DataFrame:
    """Read a run's table; each step has one row."""
    found = pd.read_csv(folder / NAME)
    assert found["step"].is_monotonic_increasing
    assert found["step"].is_unique
    return found


def curves(folder: Path) -> dict[str, dict[int, float]]:
    """The curves of the table, by tag and step."""
    found = table(folder).set_index("step")
    return {tag: found[tag].dropna().to_dict() for tag in found.columns if tag != "epoch"}


def assert_equals_events(folder: Path) -> None:
    events, found = Events(folder), curves(folder)
    assert found.keys() == events.tags()
    for tag, values in found.items():
        assert values == pytest.approx(events.scalars(tag), rel=1e-6), tag


# ---------------------------------------------------------------------------------------------- the file


def test_rows_of_one_step_are_one_and_new_curves_are_new_columns(tmp_path: Path) -> None:
    file = MetricsFile(tmp_path)
    file.append([make_row(0, 0, {"train/loss": 2.5}), make_row(1, 0, {"train/loss": 0.1})])
    file.append([make_row(2, 0, {"val/mse": 1e-9})])
    file.append([make_row(2, 1, {"train/loss": math.nan})])
    file.append([])
    file.append([make_row(3, 1, {"train/loss": -1 / 3})])
    assert (tmp_path / NAME).read_text().splitlines() == [
        "step,epoch,train/loss,val/mse",
        "0,0,2.5,",
        "1,0,0.1,",
        "2,1,nan,1e-09",
        "3,1,-0.333333333,",
    ]


def test_another_process_goes_on_where_the_file_ends(tmp_path: Path) -> None:
    MetricsFile(tmp_path).append([make_row(0, 0, {"a": 1.0}), make_row(1, 0, {"a": 2.0})])
    MetricsFile(tmp_path).append([make_row(1, 0, {"b": 3.0}), make_row(2, 0, {"a": 4.0})])
    assert (tmp_path / NAME).read_text() == "step,epoch,a,b\n0,0,1,\n1,0,2,3\n2,0,4,\n"


def test_rows_after_the_checkpoint_and_a_broken_end_go(tmp_path: Path) -> None:
    rows = [make_row(step, 0, {"a": step / 8}) for step in range(5)]
    MetricsFile(tmp_path).append(rows)
    path = tmp_path / NAME
    path.write_bytes(path.read_bytes()[:-2])  # as of a process that was killed
    assert read_rows(path) == rows[:4]
    truncate_rows(tmp_path, 3)
    assert read_rows(path) == rows[:3]
    truncate_rows(tmp_path, 0)
    assert not path.exists()
    truncate_rows(tmp_path, 0)


def test_a_file_of_somebody_else_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text("name,value\nmine,1\n")
    with pytest.raises(UserError, match=r"metrics\.csv: was not written by a run"):
        truncate_rows(tmp_path, 0)
    assert (tmp_path / NAME).read_text() == "name,value\nmine,1\n"


# ------------------------------------------------------------------------------------------------ of runs


@pytest.mark.parametrize("model", ["denoising", "sparse", "variational"])
def test_the_table_has_all_curves_of_tensorboard(
    aeframe: Command, tmp_path: Path, model: str
) -> None:
    assert aeframe(*SHORT, f"model={model}")[0] == 0
    folder = tmp_path / "run"
    assert_equals_events(folder)
    found = table(folder)
    assert list(found.columns[:2]) == ["step", "epoch"]
    assert {*found["step"]} == set(range(11))  # ten steps, and the validation after the last
    assert found.set_index("step")["epoch"].loc[[0, 4, 9, 10]].tolist() == [0, 0, 1, 1]
    assert list(found.dropna(subset="val/mse")["step"]) == [5, 10]
    assert f"`{NAME}`" in (folder / "README.md").read_text()


@pytest.mark.parametrize("step", [3, 5, 8], ids=["first epoch", "after a validation", "later"])
def test_a_killed_run_has_each_row_once_after_it_resumes(
    aeframe: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    compute = AutoencoderModule.compute_loss

    def dies(module: Any, batch: Any, index: int, steps: int) -> Any:
        if steps == step:
            raise Killed
        return compute(module, batch, index, steps)

    assert aeframe(*SHORT)[0] == 0
    whole = curves((tmp_path / "run").rename(tmp_path / "whole"))
    monkeypatch.setattr(AutoencoderModule, "compute_loss", dies)
    with pytest.raises(Killed):
        aeframe(*SHORT)
    monkeypatch.setattr(AutoencoderModule, "compute_loss", compute)
    assert aeframe(*SHORT)[0] == 0
    assert_equals_events(tmp_path / "run")
    found = curves(tmp_path / "run")
    for tag in whole.keys() - {"vitals/samples_per_second", "vitals/data_waiting"}:
        assert found[tag] == whole[tag], tag


def test_a_run_stopped_by_ctrl_c_has_the_rows_of_all_its_steps(
    aeframe: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute = AutoencoderModule.compute_loss

    def interrupted(module: Any, batch: Any, index: int, steps: int) -> Any:
        if steps == 7:
            signal.raise_signal(signal.SIGINT)
        return compute(module, batch, index, steps)

    monkeypatch.setattr(AutoencoderModule, "compute_loss", interrupted)
    assert aeframe(*SHORT)[0] == 130
    assert_equals_events(tmp_path / "run")
    seen = set(curves(tmp_path / "run")["train/loss"])
    assert seen >= set(range(8))
    monkeypatch.setattr(AutoencoderModule, "compute_loss", compute)
    assert aeframe(*SHORT)[0] == 0
    assert set(curves(tmp_path / "run")["train/loss"]) == set(range(10))


def test_a_longer_training_goes_on_in_the_same_table(aeframe: Command, tmp_path: Path) -> None:
    assert aeframe(*SHORT)[0] == 0
    before = (tmp_path / "run" / NAME).read_text().splitlines()
    assert aeframe("resume=run", "trainer.max_epochs=3")[0] == 0
    assert_equals_events(tmp_path / "run")
    after = (tmp_path / "run" / NAME).read_text().splitlines()
    assert after[: len(before) - 1] == before[:-1]  # step 10 got the values of a training step
    assert set(table(tmp_path / "run")["step"]) == set(range(16))
