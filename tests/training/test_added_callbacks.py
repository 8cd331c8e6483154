"""Callbacks of plug-ins: checked as other parts, called in each step, and resumed with their state."""
# ruff: noqa: E501 (tables keep each case on one line)

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import yaml

import aeframe as api
from tests.support.events import Events
from tests.support.runs import TWO, weights

Command = Callable[..., tuple[int, str, str]]
CODE = """
import json
from pathlib import Path

import torch
from pytorch_lightning import Callback


class Diary(Callback):
    def __init__(self, *, where: str = "diary.json") -> None:
        self.where, self.steps, self.errors = Path(where), 0, []
        self.total = torch.zeros(2)

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.steps += 1
        assert trainer.global_step == self.steps
        self.total += 1

    def on_validation_end(self, trainer, pl_module):
        self.errors.append(float(trainer.callback_metrics["val/mse"]))
        trainer.logger.experiment.add_scalar("diary/steps", self.steps, trainer.global_step)

    def on_validation_epoch_end(self, trainer, pl_module):
        pl_module.log("val/own", 2.5, logger=False)

    def on_test_epoch_end(self, trainer, pl_module):
        pl_module.log("test/own", 1.25, logger=False)

    def on_train_end(self, trainer, pl_module):
        self.where.write_text(json.dumps([self.steps, self.errors, self.total.tolist()]))

    def state_dict(self):
        return {"steps": self.steps, "errors": list(self.errors), "total": self.total}

    def load_state_dict(self, state):
        self.steps, self.errors, self.total = state["steps"], state["errors"], state["total"]


class Epochs(Callback):
    def on_train_start(self, trainer, pl_module):
        if trainer.max_epochs == 9:
            raise KeyError("a mistake of the author")


class Keyed(Diary):
    @property
    def state_key(self):
        return f"Keyed {self.where}"


class Doctor(Diary):
    pass


class Other:
    pass
"""


@pytest.fixture
def package(tmp_path: Path) -> Iterator[Path]:
    """A package with callbacks."""
    folder = tmp_path / "diaries"
    (folder / "conf" / "callbacks").mkdir(parents=True)
    (folder / "__init__.py").write_text(CODE)
    for name in ("Diary", "Epochs", "Other", "Keyed", "Doctor"):
        file = folder / "conf" / "callbacks" / f"{name.lower()}.yaml"
        file.write_text(f"# @package callbacks.{name.lower()}\n_target_: diaries.{name}\n")
    yield folder
    sys.modules.pop("diaries", None)


@pytest.mark.usefixtures("package")
def test_a_callback_sees_each_step_and_resumes(aeframe: Command, tmp_path: Path) -> None:
    words = ("--plugin", "diaries", "callbacks=[diary,epochs]", *TWO, "hydra.run.dir=run")
    assert aeframe(*words, "trainer.max_epochs=1")[0] == 0
    begun = json.loads((tmp_path / "diary.json").read_text())
    assert (begun[0], len(begun[1]), begun[2]) == (4, 1, [4.0, 4.0])
    longer = ("trainer.max_epochs=2", "resume=run")
    status, out, err = aeframe("--plugin", "diaries", *longer)
    assert (status, err) == (0, "")
    assert "aeframe encode run digits --out codes.npy --plugin diaries" in out
    assert " 'callbacks=[diary,epochs]' " in out
    ended = json.loads((tmp_path / "diary.json").read_text())
    assert (ended[0], ended[2]) == (8, [8.0, 8.0])
    assert ended[1][:1] == begun[1]
    assert len(ended[1]) == 2
    events = Events(tmp_path / "run")
    assert events.scalars("diary/steps") == {4: 4.0, 8: 8.0}
    metrics = api.Run(tmp_path / "run").metrics
    assert (metrics["test/own"], metrics["val/own"]) == (1.25, 2.5)
    assert aeframe(*TWO, "hydra.run.dir=other")[0] == 0  # to the same weights without it
    with_it, without = weights(tmp_path / "run"), weights(tmp_path / "other")
    assert all(torch.equal(with_it[name], without[name]) for name in without)
    node = yaml.safe_load((tmp_path / "run" / ".hydra" / "config.yaml").read_text())
    assert node["callbacks"]["diary"] == {"_target_": "diaries.Diary"}
    assert (
        yaml.safe_load((tmp_path / "other" / ".hydra" / "config.yaml").read_text())["callbacks"]
        == {}
    )


@pytest.mark.usefixtures("package")
def test_a_resumed_run_keeps_its_callbacks(aeframe: Command) -> None:
    words = ("--plugin", "diaries", *TWO, "hydra.run.dir=run", "resume=auto")
    assert aeframe(*words, "trainer.max_epochs=1")[0] == 0
    status, _, err = aeframe(*words, "callbacks=epochs")
    assert status == 2
    assert "callbacks=[epochs]: run was trained" in err.replace(str(Path.cwd()) + "/", "")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["callbacks=diary", "callbacks.diary.wher=x"], "callbacks.diary.wher: unknown key. Did you mean where?"),
        (["callbacks=diary", "callbacks.diary.where=3"], "callbacks.diary.where=3: expected text"),
        (["callbacks=other"], "callbacks.other._target_=diaries.Other: is not a subclass of pytorch_lightning.Callback."),
        (["callbacks=diaries"], "callbacks=diaries: no such option. Did you mean callbacks=diary? There are diary (from diaries), doctor (from diaries), epochs (from diaries), keyed (from diaries), other (from diaries)."),
        (["callbacks.diary.where=x"], "callbacks.diary: is not among the chosen callbacks. Add diary to callbacks=[...]."),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("package")
def test_callbacks_are_checked(aeframe: Command, words: list[str], message: str) -> None:
    status, _, err = aeframe("--plugin", "diaries", *words)
    assert status == 2
    assert message in err


def test_two_states_need_two_keys(package: Path, aeframe: Command, tmp_path: Path) -> None:
    for name in ("diary", "keyed"):
        text = (package / "conf" / "callbacks" / f"{name}.yaml").read_text()
        other = text.replace(f"callbacks.{name}", f"callbacks.{name}2") + "where: other.json\n"
        (package / "conf" / "callbacks" / f"{name}2.yaml").write_text(other)
    words = ("--plugin", "diaries", *TWO, "trainer.max_epochs=1", "hydra.run.dir=run")
    for chosen, message in {
        "[diary,diary2]": "callbacks.diary2: its state has the key Diary in checkpoints, as that of callbacks.diary. Give its class a property state_key",
        "doctor": "callbacks.doctor: its state has the key Doctor in checkpoints, as that of one of aeframe. Give",
    }.items():
        status, _, err = aeframe(*words, f"callbacks={chosen}")
        assert status == 2
        assert message in err
        assert not (tmp_path / "run").exists()
    assert aeframe(*words, "callbacks=[keyed,keyed2]")[0] == 0
    assert (tmp_path / "other.json").is_file()


@pytest.mark.usefixtures("package")
def test_an_error_before_the_first_checkpoint_leaves_no_run(
    aeframe: Command, tmp_path: Path
) -> None:
    words = ("callbacks=epochs", *TWO, "trainer.max_epochs=9")
    with pytest.raises(KeyError, match="a mistake of the author"):
        aeframe("--plugin", "diaries", *words, "hydra.run.dir=run")
    assert not (tmp_path / "run").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("own")
    with pytest.raises(KeyError, match="a mistake of the author"):
        api.train(words, folder=tmp_path / "mine", plugins="diaries", verbose=False)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_without_plugins_there_are_none(aeframe: Command) -> None:
    status, _, err = aeframe("callbacks=diary")
    assert status == 2
    assert "callbacks=diary: no plug-in has such an option. Install its package" in err


def test_a_list_of_callbacks_without_a_plugin_is_one_line(aeframe: Command) -> None:
    status, _, err = aeframe("callbacks=[x]", *TWO)
    assert status == 2
    (line,) = err.splitlines()
    assert line.startswith("aeframe: callbacks=[x]: no plug-in has such an option. Install its")
    assert aeframe("callbacks=[]", *TWO, "hydra.run.dir=none")[0] == 0
