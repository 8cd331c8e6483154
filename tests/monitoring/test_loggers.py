"""Loggers: MLflow and Weights & Biases get what the event files hold, once, while a run trains."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest
import torch
import yaml

import aeframe
from aeframe.config.composition import choose_options, compose_options, find_options
from aeframe.core.errors import UserError
from aeframe.monitoring.loggers import MLflow, Record, RunLogger, forget_sent
from aeframe.monitoring.loggers.delivery import Delivery
from aeframe.monitoring.metrics_file import Row
from aeframe.runs.foreign_files import FILES, FOLDERS
from tests.support.events import Events
from tests.support.forks import Server

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


def test_points_are_sent_up_to_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a new checkpoint at a validation the points since the last one wait."""
    monkeypatch.setattr(Delivery, "_start", lambda live, call: live._call(call, "is not sent"))
    parts = list[tuple[list[int], bool]]()

    def send(logger: MLflow, record: Record, rows: list[Row], identity: str | None) -> str:
        parts.append(([int(row["step"]) for row in rows], record.has_ended))
        return "name"

    monkeypatch.setattr(MLflow, "package", None)
    monkeypatch.setattr(MLflow, "send", send)
    words = ["logger=mlflow", "trainer.max_epochs=2", "trainer.log_every_n_steps=15"]
    words += ["trainer.limit_train_batches=30", "dashboard.images=0"]
    often = train(tmp_path / "often", *words, "checkpoint.every_minutes=0")
    assert parts == [([14, 29, 30], False), ([44, 59, 60], False), ([], True)]
    assert read_notes(often.folder)["mlflow"]["open"] is False
    parts.clear()
    train(tmp_path / "seldom", *words)
    assert parts == [([14, 29, 30, 44, 59, 60], False), ([], True)]


def test_a_divergence_begins_a_new_run_at_the_receiver(tmp_path: Path) -> None:
    logger, table = Listening(), tmp_path / "metrics.csv"
    table.write_text("step,epoch,a\n0,0,1\n5,0,2\n")
    logger.deliver("x", Record(tmp_path, {}, {}))
    forget_sent(tmp_path, 5)
    assert read_notes(tmp_path)["x"]["id"] == "name"
    forget_sent(tmp_path, 4)
    assert read_notes(tmp_path) == {}
    for text in ('{"x": {"id": "name", "last": {"step": "y"}}}', '{"x": 3}', "{"):  # a stranger's
        (tmp_path / "sent.json").write_text(text)
        forget_sent(tmp_path, 4)
        logger.deliver("x", Record(tmp_path, {}, {}))
        assert logger.got[-1][1] is None


def test_a_stranger_does_not_choose_where_a_run_is_sent(
    begun: Path, aeframe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the class nor the address in the files of a run, a class of aeframe or of a plug-in."""
    sent = list[str]()
    monkeypatch.setattr(MLflow, "package", None)
    monkeypatch.setattr(MLflow, "send", lambda logger, *_: sent.append(str(logger.tracking_uri)))
    (tmp_path / "spy.py").write_text("raise SystemExit('it ran')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    loggers = {
        "mlflow": {"_target_": "aeframe.monitoring.loggers.MLflow", "tracking_uri": "http://spy"},
        "spy": {"_target_": "spy.Spy"},
    }
    file = begun / "checkpoints" / "last.ckpt"
    state = torch.load(file, weights_only=True)
    state["hyper_parameters"]["logger"] = loggers
    torch.save(state, file)
    config = yaml.safe_load((begun / ".hydra" / "config.yaml").read_text())
    (begun / ".hydra" / "config.yaml").write_text(yaml.safe_dump({**config, "logger": loggers}))
    assert aeframe("resume=run") == (0, ANY, "")
    assert (sent, "spy" in sys.modules) == ([], False)
    (begun / "evaluation.json").unlink()
    assert aeframe("resume=run", "logger=mlflow")[0] == 0
    assert {*sent} == {"None"}  # the user's own choice


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


def read_wandb(folder: Path) -> Curves:
    """Read the curves of the run in all files of Weights & Biases."""
    from wandb.proto.wandb_internal_pb2 import Record as Stored

    found: Curves = {}
    for file in sorted((folder / "wandb").glob("offline-run-*/*.wandb")):
        for content in split_records(file.read_bytes()):
            record = Stored.FromString(content)
            for item in record.history.item:
                tag = item.key or "/".join(item.nested_key)
                if tag.startswith(("train/", "val/", "vitals/")):
                    point = (record.history.step.num, float(json.loads(item.value_json)))
                    found.setdefault(tag, []).append(point)
    return found


def read_mlflow(folder: Path) -> Curves:
    """Read the curves of the run in MLflow's database."""
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{folder.resolve() / 'mlflow.db'}")
    run = read_notes(folder)["mlflow"]["id"]
    tags = [tag for tag in client.get_run(run).data.metrics if not tag.startswith("final/")]
    return {
        tag: sorted((m.step, m.value) for m in client.get_metric_history(run, tag)) for tag in tags
    }


def read_notes(folder: Path) -> dict[str, Any]:
    file = folder / "sent.json"
    return json.loads(file.read_text()) if file.is_file() else {}


@pytest.mark.filterwarnings("default")
def test_wandb_holds_the_curves_once(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    run = train(tmp_path / "run", "logger=[tensorboard,wandb]")
    assert read_wandb(run.folder) == read_table(run.folder)


@pytest.mark.filterwarnings("default")
def test_a_run_is_sent_while_it_trains_and_once_if_it_is_killed(
    server: Server, tmp_path: Path
) -> None:
    """Killed by SIGKILL after both have got points; compared with the event files."""
    for package in ("mlflow", "sqlalchemy", "wandb"):
        pytest.importorskip(package)
    words = [*SHORT[1:], "dashboard.images=0", "checkpoint.every_minutes=0", "hydra.run.dir=run"]
    words += ["logger=[tensorboard,mlflow,wandb]", "resume=auto"]
    environment = {"MLFLOW_DISABLE_TELEMETRY": "true", "WANDB_MODE": "offline"}
    folder, said = tmp_path / "run", tmp_path / "said"
    start = partial(server.start, folder=tmp_path, said=said, environment=environment)
    process = start([*words, "trainer.max_epochs=100000"])
    while {"mlflow", "wandb"} - {name for name, note in read_notes(folder).items() if "id" in note}:
        assert process.wait(0.1) is None, said.read_text()
    os.kill(process.pid, signal.SIGKILL)
    process.wait(10)
    notes = read_notes(folder)
    assert all(note["open"] for note in notes.values())
    with (folder / "metrics.csv").open() as file:
        epochs = max(int(row["epoch"]) for row in csv.DictReader(file))
    assert start([*words, f"trainer.max_epochs={epochs + 3}"]).wait(100) == 0, said.read_text()
    assert {name: note["id"] for name, note in read_notes(folder).items()} == {
        name: note["id"] for name, note in notes.items()
    }
    table, events = read_table(folder), Events(folder)
    written = {path.name for path in folder.iterdir() if "tfevents" not in path.name}
    assert {"sent.json", "mlflow.db", "wandb"} <= written <= {*FOLDERS, *FILES}
    assert read_mlflow(folder) == table
    assert read_wandb(folder) == table
    assert events.tags() == table.keys()
    for tag, points in table.items():
        steps, values = zip(*points, strict=True)
        written = events.scalars(tag)
        assert list(written) == list(steps)
        assert list(written.values()) == pytest.approx(values, rel=1e-6)


KILLED = """
import os, signal, sys
from pathlib import Path
from mlflow import MlflowClient
from aeframe.monitoring.loggers import MLflow, Record
whole, parts = MlflowClient.log_batch, []
def log_batch(*given, **named):
    whole(*given, **named)
    if "metrics" in named:
        os.kill(os.getpid(), signal.SIGKILL)
MlflowClient.log_batch = log_batch
MLflow().deliver("mlflow", Record(Path(sys.argv[1]), {"a": 1, "b": {"c": 2}}, {}))
"""


@pytest.mark.filterwarnings("default")
def test_mlflow_has_one_run_after_a_kill_in_the_first_delivery(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The killed process has sent points, and has not noted the name of its run at the receiver."""
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    (tmp_path / "metrics.csv").write_text("step,epoch,train/a,train/b\n0,0,1,\n5,0,2,3\n")
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], capture_output=True)
    assert (killed.returncode, read_notes(tmp_path)["mlflow"].get("id")) == (-signal.SIGKILL, None)
    MLflow().deliver("mlflow", Record(tmp_path, {"a": 1, "b": {"c": 3}}, {}))
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path.resolve() / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("aeframe")
    (found,) = client.search_runs([experiment.experiment_id])
    assert found.info.run_id == read_notes(tmp_path)["mlflow"]["id"]
    assert found.data.params == {"a": "1", "b.c": "2"}
    assert read_mlflow(tmp_path) == {"train/a": [(0, 1), (5, 2)], "train/b": [(5, 3)]}
