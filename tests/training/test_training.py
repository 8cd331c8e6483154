"""Training: it learns, keeps most units dormant, and follows its schedules."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig
from torch import Tensor

from aeframe.core.noise import Noise
from aeframe.training.build import Built, build
from aeframe.training.hparams import select_choices
from aeframe.training.trainer import quiet_lightning
from tests.support.fitting import fit

Compose = Callable[..., DictConfig]
MNIST = Path(os.environ.get("AEFRAME_DATA", "data"))
DORMANCY = ["topk", "batch_topk", "winner_take_all", "jump_relu", "threshold", "sigmoid"]


@pytest.fixture(params=["digits", "mnist"])
def pictures(request: pytest.FixtureRequest) -> list[str]:
    """Overrides for the digits that are always there, and for MNIST where it is."""
    if request.param == "digits":
        return ["dataset=digits", "trainer.max_epochs=3"]
    if not (MNIST / "MNIST" / "raw").is_dir():
        pytest.skip(f"no MNIST in {MNIST}; set AEFRAME_DATA to a folder in torchvision's layout")
    few = ["trainer.max_epochs=1", "trainer.limit_train_batches=100"]
    return ["dataset=mnist", f"dataset.root={MNIST}", *few]


@torch.no_grad()
def active(built: Built, split: str = "test", n: int = 2000) -> Tensor:
    """Return the active units of the first samples of a split, bool [n, m]."""
    built.net.eval()
    return built.net.encode(built.data.peek(split, n)).active


@pytest.mark.parametrize("constraint", DORMANCY)
def test_most_units_are_dormant_for_each_input(
    compose: Compose, tmp_path: Path, pictures: list[str], constraint: str
) -> None:
    built = build(compose("model=sparse", f"constraint={constraint}", *pictures))
    trainer, _ = fit(built, tmp_path)
    share = active(built).float().mean(1)
    assert share.max() < 0.5
    assert share.mean() > 0  # and not because all of them are
    logged = float(trainer.callback_metrics["val/dormant"])
    assert logged == pytest.approx(1 - float(active(built, "val", 10**6).float().mean()), abs=1e-6)


@pytest.mark.parametrize("rows", [1, 7, 64])
def test_inference_does_not_depend_on_the_batch(
    compose: Compose, tmp_path: Path, rows: int
) -> None:
    built = build(compose("model=sparse", "constraint=batch_topk", "trainer.max_epochs=1"))
    fit(built, tmp_path)
    x = built.data.peek("test", 64)
    built.net.eval()
    with torch.no_grad():
        together = built.net.encode(x).value
        apart = torch.cat([built.net.encode(part).value for part in x.split(rows)])
    assert torch.equal(together > 0, apart > 0)
    torch.testing.assert_close(together, apart)


def test_batch_topk_finds_its_threshold(compose: Compose, tmp_path: Path) -> None:
    built = build(compose("model=sparse", "constraint=batch_topk", "trainer.max_epochs=5"))
    fit(built, tmp_path)
    assert float(active(built).float().sum(1).mean()) == pytest.approx(16, rel=0.25)


@pytest.mark.parametrize("variant", ["undercomplete", "denoising", "sparse", "variational"])
def test_each_variant_learns_a_batch(compose: Compose, tmp_path: Path, variant: str) -> None:
    built = build(compose(f"model={variant}", "debug=overfit", "trainer.max_epochs=300"))
    _, losses = fit(built, tmp_path)
    x = built.data.normalization(built.data.splits["train"][0:32].x)
    built.net.eval()
    with torch.no_grad():
        error = (built.net.reconstruct(x) - x).square().mean()
    mean_image = (x - x.mean(0)).square().mean()
    assert error < mean_image / 2
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(
    "overrides",
    [
        ["model=sparse", "constraint=[masking,batch_topk,auxk]"],
        ["model=sparse", "constraint=winner_take_all"],
        ["model=sparse", "constraint=[jump_relu,resampling]"],
        ["model=sparse", "constraint=sigmoid"],
        ["model=variational", "likelihood=gaussian", "likelihood.variance=learned"],
        ["model=variational", "likelihood=gaussian", "model.k=2", "constraint=[masking]"],
        ["dataset.normalization=standard", "network.norm=batch"],
    ],
    ids=" ".join,
)
def test_a_saved_network_is_the_trained_one_bit_for_bit(
    compose: Compose, tmp_path: Path, overrides: list[str]
) -> None:
    cfg = compose(*overrides, "trainer.max_epochs=2")
    built = build(cfg)
    trainer, _ = fit(built, tmp_path)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    saved = torch.load(tmp_path / "a.ckpt", weights_only=True)
    fresh = build(cfg)
    fresh.module.load_state_dict(saved["state_dict"])
    x = built.data.peek("test", 50)
    built.net.eval(), fresh.net.eval()
    assert fresh.net.clock == built.net.clock
    with torch.no_grad():
        assert torch.equal(fresh.net.encode(x).value, built.net.encode(x).value)
        assert torch.equal(fresh.net.reconstruct(x), built.net.reconstruct(x))
    kept, loaded = built.net.state_dict(), fresh.net.state_dict()
    assert kept.keys() == loaded.keys()
    assert all(torch.equal(torch.as_tensor(kept[k]), torch.as_tensor(loaded[k])) for k in kept)


def test_a_schedule_is_followed_step_by_step(compose: Compose, tmp_path: Path) -> None:
    beta = "model.beta={schedule: warmup, value: 2.0, steps: 4}"
    built = build(compose("model=variational", beta, "trainer.max_epochs=1"))
    weights = []
    step = built.module.compute_loss

    def noted(batch: object, batch_idx: int, taken: int) -> Tensor:
        loss = step(batch, batch_idx, taken)  # type: ignore[arg-type]
        output = built.net(
            built.net.normalization(batch.x),  # type: ignore[attr-defined]
            noise=Noise(0),
        )
        weights.append(output.terms["gaussian_kl"].weight)
        return loss

    built.module.compute_loss = noted  # type: ignore[method-assign]
    fit(built, tmp_path, limit_train_batches=6)
    assert weights == pytest.approx([0.0, 0.5, 1.0, 1.5, 2.0, 2.0])


PLATEAU = "torch.optim.lr_scheduler.ReduceLROnPlateau, patience: 0, threshold: 9"


@pytest.mark.parametrize(
    ("words", "steps"),
    [
        (["trainer.check_val_every_n_epoch=2"], 2),
        (["trainer.check_val_every_n_epoch=3"], 1),
        (["trainer.check_val_every_n_epoch=2", "+scheduler.frequency=4"], 1),
        (["++trainer.val_check_interval=2", "+scheduler.interval=step"], 4),
        (["++trainer.max_steps=1"], 0),  # training ends before the first validation
    ],
)
def test_a_plateau_is_looked_for_where_a_validation_was(
    compose: Compose, tmp_path: Path, words: list[str], steps: int
) -> None:
    words = [f"scheduler={{_target_: {PLATEAU}}}", *words, "trainer.max_epochs=4"]
    built = build(compose(*words, "network.widths=[]"))
    quiet_lightning()
    trainer, _ = fit(built, tmp_path, limit_train_batches=2)
    (schedule,) = trainer.lr_scheduler_configs
    assert schedule.scheduler.last_epoch == steps


def test_the_same_seed_trains_the_same_and_another_does_not(
    compose: Compose, tmp_path: Path
) -> None:
    def trained(seed: int) -> Tensor:
        dropout = ["network.dropout=0.2", "trainer.max_epochs=1"]
        built = build(compose("model=denoising", f"seed={seed}", *dropout))
        torch.rand(seed + 3)  # what came before does not matter
        fit(built, tmp_path)
        return torch.cat([p.detach().flatten() for p in built.net.model.parameters()])

    assert torch.equal(trained(1), trained(1))
    assert not torch.equal(trained(1), trained(2))


@pytest.mark.parametrize("window", [1, 7])
def test_the_clock_keeps_epochs_whatever_is_accumulated(
    compose: Compose, tmp_path: Path, window: int
) -> None:
    every = f"trainer.accumulate_grad_batches={window}"
    built = build(compose(every, "trainer.max_epochs=3"))
    trainer, _ = fit(built, tmp_path)
    assert built.net.clock.epoch == pytest.approx(3)
    assert built.net.clock.step == trainer.global_step


def test_hparams_show_the_size_that_the_bottleneck_gave(compose: Compose) -> None:
    built = build(compose("constraint.bottleneck.size=8"))
    shown = select_choices(built.module.hparams, built.net.model.latent_dim)
    assert shown["model.latent_dim"] == 8
