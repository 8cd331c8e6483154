"""Hardware: several processes train what one does, and a sweep of such jobs is a sweep like any other."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import DictConfig

from aeframe.config.check import check
from aeframe.config.composition import CONF
from aeframe.core.errors import ConfigError
from tests.support.forks import Server
from tests.support.shards import ROWS, write_shards

Command = Callable[..., tuple[int, str, str]]
Compose = Callable[..., DictConfig]

TRAIN = CONF.parent / "train.py"
HARDWARE = sorted(file.stem for file in (CONF / "hardware").glob("*.yaml"))
LIMIT = 100  # seconds, several times what a run takes: a deadlock would last for ever
SHORT = (
    "model=sparse",
    "model.latent_dim=96",
    "dataset.batch_size=128",  # 11 batches of an epoch, and a rest of 29, of which the ranks have 15 and 14
    "evaluation.images=32",
    "dashboard.images=0",
)
STARTS = """\
import json, os, sys
if os.environ.get("LOCAL_RANK", "0") != "0":
    with open(os.environ["STARTS"], "a") as opened:
        opened.write(json.dumps(sys.orig_argv) + "\\n")
"""
"""A sitecustomize.py: every process that Lightning starts notes its command line.

The one that tests.support.forks starts in its place does, too.
"""


def train(root: Path, *argv: str, **environment: str) -> tuple[int, str, str]:
    """`python train.py ARGV` in a process group of its own: (exit status, stdout, stderr)."""
    inherited = {k: v for k, v in os.environ.items() if k != "HYDRA_FULL_ERROR"}
    process = subprocess.Popen(
        [sys.executable, str(TRAIN), *argv],
        cwd=root,
        env={**inherited, "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=LIMIT)
    finally:  # a rank may outlive the process that started it
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    return process.returncode, out, err


def weights(folder: Path) -> dict[str, torch.Tensor]:
    state = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    return dict(state)


def largest_difference(one: Path, other: Path) -> float:
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    full = [k for k in first if first[k].numel()]
    return max(float((first[k].double() - second[k].double()).abs().max()) for k in full)


# noise that is drawn for each sample, a penalty that is not linear in the batch's mean, and units that
# start anew from the worst samples of the whole batch
NONLINEAR = (
    *(*SHORT, "trainer.max_epochs=2", "constraint=[masking,sigmoid,kl_sparsity,resampling]"),
    *("constraint.sigmoid.rate=0.5", "constraint.sigmoid.gain=1.0", "constraint.sigmoid.adapt=0"),
    *("constraint.resampling.every=0.3", "constraint.resampling.after=0.05"),
)


@pytest.fixture(scope="module")
def two(server: Server, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """The folder of a run of two processes, and its stdout and stderr."""
    root, said = tmp_path_factory.mktemp("two"), tmp_path_factory.mktemp("said")
    words = [*NONLINEAR, "hardware=ddp_cpu", "hydra.run.dir=run"]
    run = server.start(words, root, said / "err", out=said / "out")
    assert run.wait(LIMIT) == 0, (said / "err").read_text()
    return root / "run", (said / "out").read_text(), (said / "err").read_text()


@pytest.fixture(scope="module")
def one(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the same run in one process."""
    root = tmp_path_factory.mktemp("one")
    return forked(server, root, *NONLINEAR, "hydra.run.dir=run") / "run"


def forked(server: Server, root: Path, *argv: str) -> Path:
    """A run that has nothing to import; the folder in which it was started."""
    assert server.start(argv, root, root / "said").wait(LIMIT) == 0, (root / "said").read_text()
    return root


def card(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "evaluation.json").read_text()))


def write_table(root: Path) -> tuple[str, ...]:
    """Write a table with gaps and a category; its values are swapped in training."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(300, 5)), columns=list("abcde"))
    frame = frame.mask(rng.random(frame.shape) < 0.1)
    frame["kind"] = rng.choice(["x", "y", "z"], 300)
    frame.to_csv(root / "x.csv", index=False)
    return ("dataset=table", f"dataset.path={root / 'x.csv'}", *SWAPS)


SWAPS = ("model=denoising", "constraint=swap_noise", "model.latent_dim=2", "network.start=random")


def write_pairs(root: Path) -> tuple[str, ...]:
    """Write shards with targets, which stay in their files."""
    write_shards(root / "in")
    write_shards(root / "out", ROWS[:, :3] * 2)
    words = ("dataset=shards", f"dataset.path={root / 'in'}", f"dataset.target={root / 'out'}")
    return (*words, "dataset.memory_limit=1e-9", "dataset.window=0.003", "model.latent_dim=2")


def write_series(root: Path) -> tuple[str, ...]:
    """Write a series of two channels."""
    t = np.arange(900) / 20
    x = np.stack([np.sin(t), np.cos(2 * t)], 1) + np.random.default_rng(0).normal(0, 0.1, (900, 2))
    np.save(root / "x.npy", x.astype(np.float32))
    return (
        "dataset=series",
        f"dataset.path={root / 'x.npy'}",
        "dataset.window=16",
        "model.latent_dim=2",
    )


@pytest.mark.parametrize("write", [write_table, write_pairs, write_series])
def test_two_processes_see_each_row_once(
    server: Server, tmp_path: Path, write: Callable[[Path], tuple[str, ...]]
) -> None:
    shared = ("network=mlp", "network.widths=[8]", "dataset.batch_size=50", "trainer.max_epochs=1")
    words = (*write(tmp_path), *shared, "evaluation.images=8", "dashboard.images=0")
    for name, hardware in (("one", "cpu"), ("two", "ddp_cpu")):
        forked(server, tmp_path, *words, f"hardware={hardware}", f"hydra.run.dir={name}")
    assert largest_difference(tmp_path / "one", tmp_path / "two") < 1e-5
    ours, theirs = (card(tmp_path / name)["validation"] for name in ("one", "two"))
    swapped = ("corrupted_psnr", "gain_db")  # outside of training with samples of the own process
    same = [name for name in ours if name not in swapped]
    assert [ours[name] for name in same] == pytest.approx([theirs[name] for name in same], rel=1e-3)


def test_two_processes_train_what_one_trains(
    server: Server, tmp_path: Path, one: Path, two: tuple[Path, str, str]
) -> None:
    assert largest_difference(one, two[0]) < 1e-6
    assert card(one)["steps"] == card(two[0])["steps"] == 24
    # and the comparison can fail: another seed gives other weights
    other = forked(server, tmp_path, *NONLINEAR, "seed=1", "hydra.run.dir=other") / "other"
    assert largest_difference(other, two[0]) > 1e-3


def test_two_processes_measure_what_one_measures(one: Path, two: tuple[Path, str, str]) -> None:
    alone, other = card(one), card(two[0])
    assert other["metrics"] == pytest.approx(alone["metrics"], rel=1e-5)
    assert other["copy_check"]["real"] == pytest.approx(alone["copy_check"]["real"], rel=1e-5)
    values = [c["optimized_metric"]["value"] for c in (alone, other)]
    assert values[1] == pytest.approx(values[0], rel=1e-5)


def test_one_process_speaks_for_both(two: tuple[Path, str, str]) -> None:
    folder, out, err = two
    assert out.count("Sparse autoencoder with masking + sigmoid + kl_sparsity") == 1
    assert out.count("TensorBoard:  tensorboard --logdir") == 1
    assert [path.name for path in folder.parent.iterdir()] == ["run"]  # and no run was begun beside
    assert len(list(folder.glob("checkpoints/*.ckpt"))) == 2
    assert err == ""  # no warnings that a single process does not give


def test_no_rank_waits_for_one_that_has_nothing_to_do(
    aeframe: Command, server: Server, tmp_path: Path
) -> None:
    # 161 validation and 1,441 training samples in batches of 32: the last batch is one sample, and the
    # second rank has none of it; pictures are drawn by the first rank alone; free bits need the mean over
    # both
    argv = (
        "model=variational",
        "likelihood=gaussian",  # whose variance needs the error of both
        "network.widths=[16]",
        "model.free_bits=0.05",
        "dataset.val_fraction=0.0896",
        "dataset.test_fraction=0.1085",
        "trainer.max_epochs=1",
        "evaluation.images=32",
    )
    forked(server, tmp_path, *argv, "hardware=ddp_cpu", "hydra.run.dir=two")
    assert aeframe(*argv, "hydra.run.dir=one")[0] == 0
    assert largest_difference(tmp_path / "one", tmp_path / "two") < 1e-5


def test_a_sweep_of_distributed_jobs_trains_each_once(
    aeframe: Command, server: Server, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    starts, said = tmp_path_factory.mktemp("starts"), tmp_path_factory.mktemp("said")
    (starts / "sitecustomize.py").write_text(STARTS)
    noted = starts / "noted.txt"
    argv = (*SHORT, "constraint=[masking,batch_topk]", "trainer.max_epochs=1")
    paths = [str(starts), str(CONF.parent), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    run = server.start(
        ["-m", *argv, "hardware=ddp_cpu", "optimizer.lr=0.001,0.01"],
        tmp_path,
        said / "err",
        out=said / "out",
        environment={"PYTHONPATH": os.pathsep.join(paths), "STARTS": str(noted)},
    )
    assert run.wait(LIMIT) == 0, (said / "err").read_text()
    out = (said / "out").read_text()
    assert "2 jobs by val/mse" in out

    # one sweep, one folder for each job, and no other run anywhere
    assert [path.name for path in (tmp_path / "outputs").iterdir()] == ["sweeps"]
    (sweep,) = (tmp_path / "outputs" / "sweeps").glob("*/*")
    names = [f"{n}_sparse_masking+batch_topk_digits_lr-{lr}" for n, lr in ((0, 0.001), (1, 0.01))]
    assert sorted(path.name for path in sweep.iterdir() if path.is_dir()) == names
    assert len(list(tmp_path.rglob("evaluation.json"))) == 2

    # the second rank was started once for each job, to train that job alone in that job's folder
    second = [json.loads(line) for line in noted.read_text().splitlines()]
    assert len(second) == 2
    for words, rate, name in zip(second, ("0.001", "0.01"), names, strict=True):
        words = words[words.index("aeframe.__main__") + 1 :]  # behind: python -m
        assert not {"-m", "--multirun"} & set(words)
        assert [word.lstrip("+") for word in words if "optimizer.lr" in word] == [
            f"optimizer.lr={rate}"
        ]
        assert any(str(sweep / name) in word for word in words if "hydra.run.dir=" in word)

    # and it trained the same: were its learning rate another, these weights would be others
    for rate, name in zip(("0.001", "0.01"), names, strict=True):
        assert aeframe(*argv, f"optimizer.lr={rate}", f"hydra.run.dir={rate}")[0] == 0
        assert largest_difference(sweep / name, tmp_path / rate) < 1e-6
    assert largest_difference(tmp_path / "0.001", tmp_path / "0.01") > 1e-3


def test_a_mistake_is_told_once_and_by_one_process(tmp_path: Path) -> None:
    status, _, err = train(tmp_path, "hardware=ddp_cpu", "dataset.batch_size=33", "debug=fast")
    assert status == 2
    (line,) = err.splitlines()
    assert line.startswith(
        "aeframe: dataset.batch_size=33: is not a multiple of the number of processes, "
    )
    assert "Write dataset.batch_size=32." in line
    assert not list(tmp_path.glob("outputs/*/*"))


def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this machine one without a GPU."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.mark.parametrize("name", HARDWARE)
def test_every_hardware_checks_where_its_device_is_not(
    compose: Compose, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def fail(*args: Any) -> None:
        raise AssertionError("a device was asked for")

    no_gpu(monkeypatch)
    monkeypatch.setattr("pytorch_lightning.Trainer.__init__", fail)
    cfg = compose(f"hardware={name}")
    check(cfg)
    assert cfg.hardware.accelerator in ("cpu", "gpu", "auto")
    # and its keys are looked at
    with pytest.raises(
        ConfigError, match=r"hardware\.device: unknown key\. Did you mean devices\?"
    ):
        check(compose(f"hardware={name}", "++hardware.device=2"))


@pytest.mark.parametrize("name", ["gpu", "ddp", "fsdp"])
def test_a_device_that_is_not_there_is_the_users_mistake(
    aeframe: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    no_gpu(monkeypatch)
    status, out, err = aeframe(f"hardware={name}", "debug=fast")
    assert (status, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith("aeframe: hardware.accelerator=gpu: ")
    assert "Write hardware=cpu" in line
    assert not list(tmp_path.glob("outputs/*/*"))


def test_slurm_outside_of_a_job_is_the_users_mistake(
    aeframe: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    status, out, err = aeframe("hardware=slurm", "debug=fast")
    assert (status, out) == (2, "")
    (line,) = err.splitlines()
    assert "SLURM_JOB_ID" in line
    assert "hardware=ddp" in line
    assert not (tmp_path / "outputs").exists()
