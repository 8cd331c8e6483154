"""A run that was interrupted and goes on equals one that was not, bit for bit."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.summary.writer import event_file_writer
from tensorboard.summary.writer.record_writer import RecordWriter

from aeframe.training.checkpointing import LAST, Last, WholeFiles
from aeframe.training.module import AutoencoderModule
from aeframe.training.speed import steps_ahead
from tests.support.paces import differences
from tests.support.run_contents import logged, records, story
from tests.support.runs import Killed
from tests.support.shards import write_shards

Command = Callable[..., tuple[int, str, str]]

BATCHES = 12  # of an epoch of digits
SMALL = (
    *(
        "network.widths=[]",
        "dataset.batch_size=128",
        "trainer.max_epochs=3",
        "evaluation.images=32",
    ),
    *("dashboard.images=0", "dashboard.every_n_epochs=1", "trainer.log_every_n_steps=5"),
)
FEW = ("dataset.batch_size=256", "trainer.max_epochs=2")  # half as many, twice
PICTURES = "dashboard.images=2"
VARIANTS = {
    "undercomplete": ["model.latent_dim=8"],
    "denoising": ["model=denoising", "constraint=[masking,gaussian_noise]"],
    "dropout, batch norm": [
        "network.widths=[16]",
        "network.dropout=0.2",
        "network.norm=batch",
        "model.latent_dim=8",
    ],
    "topk": ["model=sparse", "model.latent_dim=80", "constraint.topk.k=4"],
    "topk by its active units": [
        *("model=sparse", "model.latent_dim=80"),
        *("constraint.topk.k=4", "constraint.topk.read=active"),
    ],
    "batch_topk, auxk, workers": [
        *("model=sparse", "model.latent_dim=80", "constraint=[batch_topk,auxk]"),
        *("constraint.auxk.after=0.1", "dataset.num_workers=2"),
    ],
    "kl_sparsity, resampling": [
        *("model=sparse", "model.latent_dim=80", "constraint=[sigmoid,kl_sparsity,resampling]"),
        *(
            "constraint.sigmoid.rate=0.5",
            "constraint.sigmoid.gain=1.0",
            "constraint.sigmoid.adapt=0",
        ),
        *("constraint.kl_sparsity.rho=0.01", "constraint.resampling.every=0.4"),
        "constraint.resampling.after=0.1",
    ],
    "threshold": ["model=sparse", "model.latent_dim=80", "constraint=threshold"],
    "jump_relu": ["model=sparse", "model.latent_dim=80", "constraint=jump_relu"],
    "winner_take_all": ["model=sparse", "model.latent_dim=80", "constraint=winner_take_all"],
    "l1": ["model=sparse", "model.latent_dim=80", "constraint=l1", "constraint.l1.form=unit_norm"],
    "variational": [
        *("model=variational", "model.latent_dim=4"),
        "model.beta={schedule: warmup, value: 2.0, steps: 20}",
    ],
    "conv": ["network=conv", "network.widths=[4,8]"],
    "variational, learned variance": [
        *("model=variational", "model.latent_dim=4"),
        *("likelihood=gaussian", "likelihood.variance=learned"),
    ],
    "variational, optimal variance": [
        *("model=variational", "model.latent_dim=4", "likelihood=gaussian"),
    ],
}
OPTIONS = {
    "workers": ["dataset.num_workers=2"],
    "accumulation": ["trainer.accumulate_grad_batches=3"],
    "validation within epochs": ["++trainer.val_check_interval=5"],
    "limits": ["trainer.limit_train_batches=4", "trainer.limit_val_batches=1"],
    "schedule of steps": [
        "scheduler={_target_: torch.optim.lr_scheduler.CosineAnnealingLR, T_max: 15, interval: step}"
    ],
    "a warm-up, then a cosine": [
        "scheduler={_target_: torch.optim.lr_scheduler.SequentialLR, interval: step, milestones: [7], "
        "schedulers: [{_target_: torch.optim.lr_scheduler.LinearLR, total_iters: 7}, "
        "{_target_: torch.optim.lr_scheduler.CosineAnnealingLR, T_max: 11}]}"
    ],
    "schedule of epochs": [
        "scheduler={_target_: torch.optim.lr_scheduler.ExponentialLR, gamma: 0.5}"
    ],
    "plateau": [
        "scheduler={_target_: torch.optim.lr_scheduler.ReduceLROnPlateau, patience: 0, threshold: 9.0}",
        "trainer.max_epochs=3",
    ],
    "plateau of steps": [
        "scheduler={_target_: torch.optim.lr_scheduler.ReduceLROnPlateau, patience: 3, threshold: 9.0, "
        "interval: step, frequency: 4}",
        "++trainer.val_check_interval=4",
    ],
    "momentum": ["optimizer={_target_: torch.optim.SGD, lr: 0.001, momentum: 0.9}"],
    "steps instead of epochs": ["++trainer.max_steps=11"],
    "one cycle, accumulation, validation within epochs": [
        "scheduler={_target_: torch.optim.lr_scheduler.OneCycleLR, max_lr: 0.01, total_steps: 9, "
        "interval: step}",
        *("trainer.accumulate_grad_batches=2", "++trainer.val_check_interval=5"),
    ],
    "cycles, RMSprop": [
        "scheduler={_target_: torch.optim.lr_scheduler.CyclicLR, base_lr: 0.0001, max_lr: 0.01, "
        "step_size_up: 4, interval: step}",
        "optimizer={_target_: torch.optim.RMSprop, lr: 0.001, momentum: 0.9}",
    ],
    "patience": ["early_stopping.patience=2", "trainer.max_epochs=3"],
    "bf16": ["trainer.precision=bf16-mixed"],
    "double precision": ["trainer.precision=64-true"],
    "validation of every second epoch": [
        "trainer.check_val_every_n_epoch=2",
        "trainer.max_epochs=3",
    ],
}
KILLED_AT = {
    "accumulation": (2, 3),
    "one cycle, accumulation, validation within epochs": (3, 5),
    "limits": (4, 6),
}
"""Steps of options with shorter epochs: at an epoch's end, and within one."""


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, str], None]:
    """Let the run end at a step: by a kill after it, in it, or by a signal, also in the validation."""
    loss, after = AutoencoderModule.compute_loss, Last.after_batch
    validated = Last.on_validation_batch_end

    def at(step: int, how: str) -> None:
        monkeypatch.setattr(AutoencoderModule, "compute_loss", loss)
        monkeypatch.setattr(Last, "after_batch", after)
        monkeypatch.setattr(Last, "on_validation_batch_end", validated)

        def dies(module: Any, batch: Any, index: int, now: int) -> Any:
            if now == step:
                raise Killed
            return loss(module, batch, index, now)

        def signalled(last: Last, trainer: Any) -> None:
            if trainer.global_step >= step:
                last.signals.received = 15
            after(last, trainer)

        def signalled_late(last: Last, trainer: Any, *rest: Any) -> None:
            if trainer.global_step >= step:
                last.signals.received = 15
            validated(last, trainer, *rest)

        if how == "kill":
            monkeypatch.setattr(AutoencoderModule, "compute_loss", dies)
        elif how == "signal":
            monkeypatch.setattr(Last, "after_batch", signalled)
        elif how == "signal in a validation":
            monkeypatch.setattr(Last, "on_validation_batch_end", signalled_late)

    return at


@pytest.fixture
def compare(
    aeframe: Command, tmp_path: Path, killed: Callable[[int, str], None]
) -> Callable[..., None]:
    """Train without interruption, and with one at each of the steps; look for differences."""

    def compared(*overrides: str, steps: tuple[int, ...], how: str = "kill") -> None:
        often = "checkpoint.every_minutes=0"
        command = (*SMALL, *overrides, "hydra.run.dir=run", "resume=auto", often)
        # both write a checkpoint after each of Lightning's batches
        status, _, err = aeframe(*command)
        assert status == 0, err
        whole = story(tmp_path / "run")
        shutil.rmtree(tmp_path / "run")
        for step in steps:
            killed(step, how)
            if how == "kill":
                with pytest.raises(Killed):
                    aeframe(*command)
            else:
                assert aeframe(*command)[0] == 128 + 15
        killed(0, "not")
        status, out, err = aeframe(*command)
        assert status == 0, err
        assert "Resuming at step" in out
        found = list(differences(whole, story(tmp_path / "run")))
        assert [text[:200] for text in found] == []

    return compared


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_goes_on_as_if_nothing_had_been(
    compare: Callable[..., None], monkeypatch: pytest.MonkeyPatch, variant: str
) -> None:
    """Within an epoch, and at its end."""
    monkeypatch.setattr(steps_ahead.StepsAhead, "interval", 1e9)
    words = (*VARIANTS[variant], PICTURES, *FEW, "trainer.steps_per_call=3")
    compare(*words, steps=(2, BATCHES // 2))


def test_targets_beside_the_samples_do(
    compare: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within an epoch, and at its end; with a normalization of their own, and as pictures."""
    monkeypatch.setattr(steps_ahead.StepsAhead, "interval", 1e9)
    x = np.random.default_rng(0).normal(size=(1500, 9)) * np.logspace(0, 3, 9)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", np.tanh(x[:, :4]))
    data = ("dataset=array", "dataset.path=x.npy", "dataset.target=y.npy", "model.latent_dim=3")
    words = ("model=denoising", "constraint=gaussian_noise", *data, PICTURES, *FEW)
    compare(*words, "trainer.steps_per_call=3", steps=(2, 5))


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_does(compare: Callable[..., None], option: str) -> None:
    words = ("model=denoising", *FEW, *OPTIONS[option], "trainer.steps_per_call=1")
    compare(*words, steps=KILLED_AT.get(option, (6, 9)))


@pytest.mark.parametrize("step", [1, 5, 12, 35, 36])
def test_a_signal_ends_a_run_where_it_goes_on(compare: Callable[..., None], step: int) -> None:
    compare("model=denoising", PICTURES, "trainer.steps_per_call=4", steps=(step,), how="signal")


def test_shards_go_on_within_a_window(compare: Callable[..., None], tmp_path: Path) -> None:
    write_shards(tmp_path / "acts")
    words = ("dataset=shards", "dataset.path=acts", "dataset.window=0.004", "model.latent_dim=3")
    batches = ("dataset.batch_size=48", "trainer.max_epochs=2", "trainer.steps_per_call=1")
    compare(*words, *batches, "dataset.in_memory=false", steps=(5, 12))


def test_no_sample_is_left_out_or_seen_twice(
    aeframe: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Count the samples of all steps that are in the final weights, over many ends and beginnings."""
    loss, rows = AutoencoderModule.compute_loss, dict[int, list[int]]()
    ends = [3, 4, 11, 12, 13, 25]

    def counted(module: Any, batch: Any, index: int, step: int) -> Any:
        if ends and step == ends[0]:
            ends.pop(0)
            raise Killed
        rows[step] = batch.row.tolist()  # a step that is taken anew counts once
        return loss(module, batch, index, step)

    monkeypatch.setattr(AutoencoderModule, "compute_loss", counted)
    often = ("checkpoint.every_minutes=0", "trainer.steps_per_call=2")
    for _ in range(6):
        with pytest.raises(Killed):
            aeframe(*SMALL, *often, "hydra.run.dir=run", "resume=auto")
    assert aeframe(*SMALL, *often, "hydra.run.dir=run", "resume=auto")[0] == 0
    assert sorted(rows) == list(range(3 * BATCHES))
    epochs = [[row for i in range(BATCHES) for row in rows[e * BATCHES + i]] for e in range(3)]
    train = set(epochs[0])
    assert len(train) == 1437
    for epoch in epochs:
        assert len(epoch) == len(set(epoch))
        assert set(epoch) == train
    assert epochs[0] != epochs[1]


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 bytes.\nSee the notes."),
        MemoryError("Unable to allocate 9 bytes"),
    ],
    ids=["torch", "cuda", "numpy"],
)
def test_lack_of_memory_is_reported(
    aeframe: Command, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def greedy(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(AutoencoderModule, "compute_loss", greedy)
    status, _, err = aeframe(*SMALL, "hydra.run.dir=run")
    assert status == 1
    (line,) = err.splitlines()
    assert line.startswith(
        f"aeframe: memory ran out ({str(error).splitlines()[0].rstrip('.')}). Use a smaller"
    )


def test_the_death_of_a_process_that_fetches_is_told_and_the_run_goes_on(
    aeframe: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    often = ("checkpoint.every_minutes=0", "dataset.num_workers=2")
    command = (*SMALL, *often, "hydra.run.dir=run", "resume=auto")
    assert aeframe(*command)[0] == 0
    whole = story(tmp_path / "run")
    shutil.rmtree(tmp_path / "run")
    loss = AutoencoderModule.compute_loss

    def murderous(module: Any, batch: Any, index: int, step: int) -> Any:
        if step == 15:
            for child in multiprocessing.active_children():
                os.kill(int(child.pid or 0), signal.SIGKILL)
                child.join()
        return loss(module, batch, index, step)

    monkeypatch.setattr(AutoencoderModule, "compute_loss", murderous)
    status, _, err = aeframe(*command)
    assert status == 1
    assert "Traceback" not in err
    *_, line = err.splitlines()  # torch may have complained before
    assert "a process that loads data was killed" in line
    assert line.endswith(
        f"last good checkpoint is {tmp_path / 'run' / 'checkpoints' / 'last.ckpt'}."
    )
    monkeypatch.setattr(AutoencoderModule, "compute_loss", loss)
    assert aeframe(*command)[0] == 0
    assert list(differences(whole, story(tmp_path / "run"))) == []


def test_a_signal_ends_a_validation_which_is_done_anew(compare: Callable[..., None]) -> None:
    words = ("model=denoising", "trainer.limit_val_batches=2", "++trainer.val_check_interval=6")
    compare(*words, "trainer.max_epochs=2", steps=(6, 12, 24), how="signal in a validation")


def test_no_checkpoint_is_ahead_of_the_curves_on_the_disk(
    aeframe: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill right after it would lose what the writer of events still holds, and no later step writes."""

    class Holding(RecordWriter):  # as long as it may; the usual one does where the disk is slow
        def __init__(self, writer: Any) -> None:
            super().__init__(writer)
            self.held: list[bytes] = []

        def write(self, data: bytes) -> None:
            self.held.append(data)

        def flush(self) -> None:
            while self.held:
                super().write(self.held.pop(0))
            super().flush()

    save, steps = WholeFiles.save_checkpoint, list[int]()

    def saves(self: WholeFiles, checkpoint: dict[str, Any], path: Any, **rest: Any) -> None:
        if Path(path).name == LAST:
            steps.append(checkpoint["global_step"])
            assert logged(tmp_path / "run") == steps[-1]
        save(self, checkpoint, path, **rest)

    monkeypatch.setattr(event_file_writer, "RecordWriter", Holding)
    monkeypatch.setattr(WholeFiles, "save_checkpoint", saves)
    often = ("checkpoint.every_minutes=0", "trainer.log_every_n_steps=1", "trainer.max_epochs=1")
    assert aeframe(*SMALL, *often, "trainer.steps_per_call=4", "hydra.run.dir=run")[0] == 0
    assert steps == [4, 8, 11, 12]


def test_a_run_that_lacks_its_last_file_writes_nothing_twice(
    aeframe: Command, tmp_path: Path
) -> None:
    command = (*SMALL, "hydra.run.dir=run", "resume=auto")
    assert aeframe(*command)[0] == 0
    whole = records(tmp_path / "run")
    assert any(tag.startswith("_hparams_") for tag, _ in whole)
    (tmp_path / "run" / "evaluation.json").unlink()
    assert aeframe(*command)[0] == 0
    assert records(tmp_path / "run") == whole
