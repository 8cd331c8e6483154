"""A package of somebody else: made with `aeframe new`, installed, and used in every way."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import aeframe as api
from aeframe.cli.command_line import parse
from aeframe.cli.verbs.new_files import GROUPS, write_part, write_project
from aeframe.config.composition import CONF
from aeframe.config.plugins import use_plugins
from aeframe.estimators import AutoencoderTransformer
from tests.support.events import Events
from tests.support.runs import TRAIN

Command = Callable[..., tuple[int, str, str]]
OPTIMIZERS = """
import torch
from torch.optim.lr_scheduler import LRScheduler


class Plain(torch.optim.SGD):
    def __init__(self, params, *, lr: float, nesterov: bool = False) -> None:
        super().__init__(params, lr=lr, momentum=0.9, nesterov=nesterov)


class Inverse(LRScheduler):
    def __init__(self, optimizer, *, steps: int) -> None:
        self.steps = steps
        super().__init__(optimizer)

    def get_lr(self):
        return [lr / (1 + self.last_epoch / self.steps) for lr in self.base_lrs]
"""
SHORT = ("dataset.samples=60", "dataset.batch_size=16", "evaluation.images=8", "dashboard.images=2")
PARTS = (
    *("model=my_model", "network=my_network", "likelihood=my_likelihood", "dataset=my_dataset"),
    *("constraint=[bottleneck,my_constraint]", "callbacks=my_callback", *SHORT),
    "logger=[tensorboard,my_logger]",
    *("metrics=my_metric", "pictures=my_picture", "rules=my_rule", "rules.my_rule.least=1e9"),
    *("until.metric=val/my_metric", "until.at_most=-1", "trainer.log_every_n_steps=1"),
    *("optimizer={_target_: my_parts.optimizers.Plain, lr: 0.001, nesterov: true}",),
    *("scheduler={_target_: my_parts.optimizers.Inverse, steps: 2}", "trainer.max_epochs=1"),
)
"""A run with a part of each kind from the package."""


def run(*argv: str | Path, cwd: Path, **environment: str) -> str:
    """Return the output of this command, which must end well."""
    done = subprocess.run(
        [str(word) for word in argv],
        cwd=cwd,
        env={**os.environ, "PIP_NO_INDEX": "1", **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package with a part of each kind."""
    folder = tmp_path_factory.mktemp("project")
    files = write_project("my_parts")
    for kind in GROUPS:
        files |= write_part(kind, f"my_{kind}", "my_parts")
    for name, text in {**files, "my_parts/optimizers.py": OPTIMIZERS}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def site(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that pip has installed the package in."""
    folder = tmp_path_factory.mktemp("site")
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation")
    run(*pip, "--target", folder, project, cwd=folder)
    return folder


@pytest.fixture
def _installed(site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The package is installed for this process."""
    monkeypatch.syspath_prepend(str(site))
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_parts"]:
        del sys.modules[name]


@pytest.mark.usefixtures("_installed")
def test_an_installed_package_is_used_in_every_way(
    aeframe: Command, verb: Command, tmp_path: Path
) -> None:
    status, out, err = aeframe(*PARTS, "hydra.run.dir=run")
    assert (status, err) == (0, "")
    assert "MyModel autoencoder with bottleneck + my_constraint" in out
    assert "aeframe encode run my_dataset --out codes.npy\n" in out
    logger = "logger=[tensorboard,my_logger]"
    status, out, err = aeframe("resume=run", "trainer.max_epochs=2", logger)
    assert (status, err) == (0, "")
    assert "Resuming at step 3 (epoch 1 of 2)" in out
    assert "Doctor: the norm of the gradients is " in out
    assert " since epoch 1. Try: " in out  # of the first process
    check_what_was_added(tmp_path / "run")
    model = api.load(tmp_path / "run")
    samples = np.zeros((3, 64), np.float32)
    codes = model.encode(samples)
    assert codes.shape == (3, 16)
    assert ((codes != 0).sum(1) <= 8).all()  # my_constraint
    assert np.abs(codes).max() <= 1  # my_model
    for words in (
        ("encode", "run", "my_dataset", "--out", "codes.npy"),
        ("export", "run", "--out", "exported"),
        ("evaluate", "run", "my_dataset", "--json"),
        ("evaluate", "exported", "my_dataset", "--json"),
        ("evaluate", "run"),
    ):
        before, (status, out, err) = out, verb(*words)
        assert status == 0, err
    assert 0 < json.loads(before)["metrics"]["my_metric"] <= 1
    assert re.search(r"my_metric\W+([\d.]+)\W+\1 ", out)  # now, and at the end of training
    assert np.load(tmp_path / "codes.npy").shape == (1000, 16)
    assert (api.load(tmp_path / "exported").encode(samples) == codes).all()
    sweep = ("network=my_network,linear", "hydra.sweep.dir=sweep")
    status, out, err = aeframe("-m", *(w for w in PARTS if w != "network=my_network"), *sweep)
    assert status == 0, err
    assert "my_network" in out
    assert len(list((tmp_path / "sweep").glob("*/evaluation.json"))) == 2


def check_what_was_added(folder: Path) -> None:
    """A metric, a picture and a rule of the package have left their marks in a run of two epochs."""
    result = json.loads((folder / "evaluation.json").read_text())
    for values in (result["metrics"], result["validation"]):
        assert 0 < values["my_metric"] <= 1
    assert [found["rule"] for found in result["doctor"]].count("my_rule") == 1
    events = Events(folder)
    assert list(events.scalars("val/my_metric")) == [3, 6]
    assert "pictures/16_my_picture" in events.read.Tags()["images"]
    assert (folder / "pictures" / "16_my_picture.png").is_file()
    lines = [json.loads(line) for line in (folder / "my_logger.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "val/my_metric" in line] == [3, 6]
    assert "doctor/my_rule/text_summary" in events.tags("tensors")


@pytest.mark.usefixtures("_installed")
def test_options_of_a_package_stand_beside_ours(
    aeframe: Command, capfd: pytest.CaptureFixture[str]
) -> None:
    out = aeframe("--help")[1]
    assert (
        "my_constraint   Dormant units: keeps the largest values of each code. (from my_parts)"
        in out
    )
    assert "callbacks   my_callback     Writes the norm" in out
    assert "metrics     my_metric       The share of samples with a large error. (from my" in out
    assert "rules       my_rule         Reports gradients that stay small. (from my_parts)" in out
    out = aeframe("--help", "constraint=my_constraint")[1]
    assert "constraint.my_constraint.quantile=0.5" in out
    assert "above 0" in out
    for line, found in {
        "aeframe train constraint=my": "constraint=my_constraint",
        "aeframe train callbacks=": "callbacks=my_callback",
        "aeframe train rules=": "rules=my_rule",
        "aeframe train constraint=my_constraint constraint.my_constraint.": "quantile=",
    }.items():
        assert found in aeframe("--complete", line, str(len(line)))[1]
    for words, message in {
        ("constraint=my_constrain",): "Did you mean constraint=my_constraint?",
        ("constraint=my_constraint", "constraint.my_constraint.quantile=1"): "must be below 1",
        (
            "constraint=my_constraint",
            "constraint.my_constraint.quantil=1",
        ): "Did you mean quantile?",
        ("model=variational", "constraint=my_constraint"): "my_constraint",
        ("network.layers=2",): "It belongs to network=my_network",
        ("metrics=my_metric", "metrics.my_metric.limit=0"): "must be above 0",
        ("pictures=my_picture", "pictures.my_picture.bin=9"): "Did you mean bins?",
        ("rules=my_rule", "rules.my_rule.least=x"): "rules.my_rule.least=x: expected a number",
        ("rules=my_rule", "rules.my_rule.patient=1"): "rules.my_rule.patient: unknown key",
        ("rules=my_ruel",): "Did you mean rules=my_rule?",
        ("metrics=my_metric", "pictures.my_picture.bins=9"): "Add my_picture to pictures=[...]",
        ("optimized_metric=val/my_metric",): "unknown metric",
    }.items():
        status, _, err = aeframe(*words)
        assert status == 2
        assert message in err


def test_other_processes_get_the_named_packages(project: Path) -> None:
    folder = str(project / "my_parts")
    with use_plugins(folder):
        command = parse(["constraint=my_constraint", "-m"])
    assert command.flags == ("--plugin", folder)  # for other ranks
    assert command.plugins == (folder,)  # for the processes of a launcher
    assert command.folders == (CONF, project / "my_parts" / "conf")
    assert command.mistakes is None


def test_train_py_finds_the_installed_package(site: Path, tmp_path: Path) -> None:
    out = run(
        sys.executable, TRAIN, *PARTS, "hydra.run.dir=run", cwd=tmp_path, PYTHONPATH=str(site)
    )
    assert "MyModel autoencoder" in out
    found = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert found["metrics"]["mse"] > 0


def test_a_package_that_is_not_installed_is_named(
    aeframe: Command, verb: Command, project: Path, tmp_path: Path
) -> None:
    try:
        run = api.train(PARTS, folder=tmp_path / "run", plugins=[str(project / "my_parts")])
        codes = run.model.encode(np.zeros((3, 64), np.float32))
        again = api.Run(run.folder, plugins=str(project / "my_parts"))
        assert (again.model.encode(np.zeros((3, 64), np.float32)) == codes).all()
        words = [*(word for word in PARTS if not word.startswith("callbacks")), "seed=0,1"]
        assert run.metrics["val/my_metric"] == again.metrics["val/my_metric"] > 0
        runs = api.sweep(words, folder=tmp_path / "sweep", plugins=[project / "my_parts"])
        assert [each.model.latent_dim for each in runs.runs] == [16, 16]
        transformer = AutoencoderTransformer(
            constraint="my_constraint", latent_dim=4, max_epochs=1, plugins=project / "my_parts"
        )
        table = np.random.default_rng(0).normal(size=(60, 8))
        assert ((transformer.fit_transform(table) != 0).sum(1) == 2).all()
        flag = ("--plugin", str(project / "my_parts"))
        assert aeframe("resume=run", "trainer.max_epochs=2", *flag)[0] == 0
        assert verb("encode", "run", "my_dataset", "--out", "codes.npy", *flag)[0] == 0
        for words in (("resume=run",), ("resume=run", "trainer.max_epochs=3")):
            status, _, err = aeframe(*words)
            assert status == 2
            assert "needs the plug-in my_parts, which is neither installed nor named" in err
        status, _, err = verb("encode", "run", "digits", "--out", "other.npy")
        assert status == 2
        assert err == (
            f"aeframe: {Path('run', 'model.safetensors')}: needs the plug-in my_parts, which is "
            "neither installed nor named. Install it, or name it: --plugin my_parts (in Python "
            'plugins=["my_parts"]).\n'
        )
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "my_parts"]:
            del sys.modules[name]
