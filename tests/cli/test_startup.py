"""Imports at startup: nothing is imported before it is needed."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from aeframe.core.signals import delay_sigint
from tests.support.runs import ROOT

TRAINING = {
    *("pytorch_lightning", "lightning_fabric", "torchmetrics", "torchvision", "tensorboard"),
    "torch._dynamo",  # the trial of an optimizer would bring it
}
"""Modules that training needs, and that no mistake may import."""
HEAVY = TRAINING | {"torch", "numpy", "scipy", "sklearn", "matplotlib", "PIL"}

COMMAND = """
import sys
from aeframe.cli.train import train
try:
    train()
except SystemExit as end:
    status = end.code
print("\\n", status, *sys.modules)
"""
EACH_COMMAND = """
import sys
from aeframe.cli.train import train
status, commands = 0, sys.argv[1:]
for command in commands:
    sys.argv[1:] = command.split()
    try:
        train()
    except SystemExit as end:
        status += end.code
print("\\n", status, *sys.modules)
"""
FIRST_STEP = """
import os, sys
import aeframe.training.run
from aeframe.cli.train import train
from pytorch_lightning import LightningModule
def step(self, *args, **kwargs):
    print("\\n", 0, *sys.modules, flush=True)
    os._exit(0)
LightningModule.optimizer_step = step
train()
"""


def imported(folder: Path, code: str, *argv: str, **environment: str) -> tuple[int, set[str]]:
    """The exit status of the command line in a process of its own, and the modules it then has."""
    done = subprocess.run(
        [sys.executable, "-c", code, *argv],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    status, *modules = done.stdout.splitlines()[-1].split()
    return int(status), set(modules)


@pytest.mark.parametrize(
    ("argv", "status"),
    [
        (["--hydra-help"], 0),
        (["--version"], 0),
        (["--cfg", "job"], 0),
        (["--info", "defaults"], 0),
        (["--shell-completion", "query=bash"], 0),
        (["model=spars"], 2),
        (["modle@x=sparse"], 2),
        (["hydra.job.nam=x"], 2),
        (["seed=["], 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_answers_of_hydra_import_nothing_heavy(
    tmp_path: Path, argv: list[str], status: int
) -> None:
    completed = {"COMP_LINE": "train.py model=s", "COMP_POINT": "16"}
    ended, modules = imported(tmp_path, COMMAND, *argv, **completed)
    assert ended == status
    assert {"aeframe.cli.train", "hydra"} <= modules
    assert not modules & HEAVY


@pytest.mark.parametrize(
    ("argv", "status"),
    [(["--help"], 0), (["--complete", "train.py dataset=mnist data", "27"], 0), (["--halp"], 2)],
    ids=["help", "completion", "an unknown flag"],
)
def test_immediate_answers_do_not_even_import_hydra(
    tmp_path: Path, argv: list[str], status: int
) -> None:
    ended, modules = imported(tmp_path, COMMAND, *argv)
    assert ended == status
    assert "aeframe.cli.train" in modules
    assert not modules & (HEAVY | {"hydra", "omegaconf", "rich"})


MISTAKES = [
    ["optimizer.lr=0"],
    ["model.latentdim=3"],
    ["until.metric=val/msee", "until.at_most=1"],
    ["early_stopping.patience=0", "dashboard.images=-1", "evaluation.images=0"],
    ["model=sparse", "constraint=[topk,jump_relu]"],
    ["optimizer.betas=[2,3]"],
]


def test_a_mistake_is_told_with_no_more_than_torch(tmp_path: Path) -> None:
    """All of them run in one process: what one of them imported, it would have at the end."""
    status, modules = imported(tmp_path, EACH_COMMAND, *(" ".join(words) for words in MISTAKES))
    assert status == 2 * len(MISTAKES)
    assert "torch" in modules
    assert not modules & (TRAINING | {"scipy", "sklearn", "matplotlib"})


def test_the_first_step_does_not_wait_for_what_only_the_end_needs(
    tmp_path: Path, vectors: Path
) -> None:
    argv = ("dataset=array", f"dataset.path={vectors}", "model.latent_dim=3")
    _, modules = imported(tmp_path, FIRST_STEP, *argv)
    assert {"pytorch_lightning", "aeframe.training.run", "aeframe.evaluation.card"} <= modules
    # matplotlib itself comes with Lightning: torchmetrics imports it wherever it is installed
    assert not modules & {"sklearn", "matplotlib.backends.backend_agg"}


def test_an_interruption_waits_for_an_import_that_would_swallow_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = """
import os, signal
try:
    os.kill(os.getpid(), signal.SIGINT)
    whole = True
except KeyboardInterrupt:
    whole = False
"""
    (tmp_path / "swallowing.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), delay_sigint():
        importlib.import_module("swallowing")
    assert sys.modules.pop("swallowing").whole
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("own", [None, "GOMP_SPINCOUNT", "OMP_WAIT_POLICY"])
def test_threads_do_not_wait_at_others_cost_unless_told(tmp_path: Path, own: str | None) -> None:
    said = {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}
    code = "import os\n" + COMMAND.replace("*sys.modules", "os.environ.get('GOMP_SPINCOUNT')")
    environment = {name: value for name, value in os.environ.items() if name not in said}
    done = subprocess.run(
        [sys.executable, "-c", code, "--version"],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(ROOT), **({own: "7"} if own else {})},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    expected = {None: "1000", "GOMP_SPINCOUNT": "7", "OMP_WAIT_POLICY": "None"}
    assert done.stdout.split()[-1] == expected[own]
