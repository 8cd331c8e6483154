"""Loggers: MLflow and Weights & Biases get what the event files hold, once."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import aeframe
from aeframe.config.composition import choose_options, compose_options, find_options
from aeframe.core.errors import UserError
from aeframe.monitoring.loggers import MLflow, Record, RunLogger
from aeframe.monitoring.metrics_file import Row

SHORT = ("trainer.max_epochs=2", "trainer.log_every_n_steps=5", "evaluation.images=64")
Curves = dict[str, list[tuple[int, float]]]


def train(folder: Path, *words: str) -> aeframe.Run:
    return aeframe.train([*SHORT, "dashboard.images=2", *words], folder=str(folder))


def read_table(folder: Path) -> Curves:
    found: Curves = {}
    with (folder / "metrics.csv").open() as file:
        for row in csv.DictReader(file):
            for tag, cell in row.items():
                if cell and tag not in ("step", "epoch"):
                    found.setdefault(tag, []).append((int(row["step"]), float(cell)))
    return found


class Listening(RunLogger):
    def __init__(self) -> None:
        self.got: list[tuple[list[Row], str | None]] = []

    def send(self, record: Record, rows: list[Row], identity: str | None) -> str | None:
        self.got.append((rows, identity))
        return "name"


def test_a_continued_run_sends_only_new_points(tmp_path: Path) -> None:
    logger, table = Listening(), tmp_path / "metrics.csv"
    table.write_text("step,epoch,a,b\n0,0,1,\n5,0,2,\n")
    logger.deliver("x", Record(tmp_path, {}, {}))
    table.write_text("step,epoch,a,b\n0,0,1,\n5,0,2,3\n6,1,,4\n")
    logger.deliver("x", Record(tmp_path, {}, {}))
    logger.deliver("x", Record(tmp_path, {}, {}))
    first = [{"step": "0", "epoch": "0", "a": "1"}, {"step": "5", "epoch": "0", "a": "2"}]
    second = [{"step": "5", "epoch": "0", "b": "3"}, {"step": "6", "epoch": "1", "b": "4"}]
    assert logger.got == [(first, None), (second, "name"), ([], "name")]


def test_csv_writes_no_event_file_and_the_same_table(tmp_path: Path) -> None:
    one, two = train(tmp_path / "a", "logger=csv"), train(tmp_path / "b")
    assert not list(one.folder.glob("events*"))
    assert list(two.folder.glob("events*"))
    assert (one.folder / "pictures" / "01_reconstructions.png").is_file()
    ours, theirs = read_table(one.folder), read_table(two.folder)
    assert ours.keys() == theirs.keys()
    assert ours["train/loss"] == theirs["train/loss"]
    assert ours["val/mse"] == theirs["val/mse"]


@pytest.mark.parametrize("option", ["csv", "mlflow", "tensorboard", "wandb"])
def test_each_option_is_composed_under_its_name(option: str) -> None:
    assert option in find_options("logger")
    node = compose_options(choose_options({"logger": [option]}))
    assert list(node["logger"]) == [option]


def test_a_missing_package_is_named_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MLflow, "package", "no_such_package")
    with pytest.raises(UserError, match=r"logger=mlflow: needs no_such_package.* pip install"):
        train(tmp_path / "run", "logger=mlflow")
    assert not (tmp_path / "run" / "metrics.csv").exists()


def test_a_failing_receiver_leaves_a_finished_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any) -> str:
        raise OSError("no route")

    monkeypatch.setattr(MLflow, "package", None)
    monkeypatch.setattr(MLflow, "send", fail)
    run = train(tmp_path / "run", "logger=[csv,mlflow]")
    assert "logger=mlflow: the run could not be sent (no route)" in capsys.readouterr().out
    assert run.metrics["test/mse"] > 0


@pytest.mark.filterwarnings("default")
def test_mlflow_holds_the_curves_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    run = train(tmp_path / "run", "logger=[tensorboard,mlflow]")
    sent = json.loads((run.folder / "sent.json").read_text())["mlflow"]
    client = mlflow.MlflowClient(f"sqlite:///{run.folder.resolve() / 'mlflow.db'}")
    for tag, points in read_table(run.folder).items():
        history = client.get_metric_history(sent["id"], tag)
        assert sorted((m.step, m.value) for m in history) == points
    found = client.get_run(sent["id"])
    assert found.data.params["trainer.max_epochs"] == "2"
    assert found.data.metrics["final/metrics.mse"] == pytest.approx(run.metrics["test/mse"])
    assert {f.path for f in client.list_artifacts(sent["id"])} >= {"config.yaml", "pictures"}


def split_records(content: bytes) -> Iterator[bytes]:
    """Split a file of Weights & Biases, in LevelDB's format of logs: parts of records, in blocks."""
    block, header, start, parts = 32768, 7, 7, b""
    while start + header <= len(content):
        if block - start % block < header:
            start += block - start % block
            continue
        length = int.from_bytes(content[start + 4 : start + 6], "little")
        kind = content[start + 6]
        parts += content[start + header : start + header + length]
        start += header + length
        if kind in (1, 4):  # whole, last
            yield parts
            parts = b""


@pytest.mark.filterwarnings("default")
def test_wandb_holds_the_curves_once(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    from wandb.proto.wandb_internal_pb2 import Record as Stored

    run = train(tmp_path / "run", "logger=[tensorboard,wandb]")
    (file,) = (run.folder / "wandb").glob("offline-run-*/*.wandb")
    found: Curves = {}
    for content in split_records(file.read_bytes()):
        record = Stored.FromString(content)
        for item in record.history.item:
            tag = item.key or "/".join(item.nested_key)
            if tag.startswith(("train/", "val/", "vitals/")):
                point = (record.history.step.num, float(json.loads(item.value_json)))
                found.setdefault(tag, []).append(point)
    assert found == read_table(run.folder)
