"""Contents of TensorBoard for real runs, read with TensorBoard's own reader."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.plugins.hparams import api_pb2

from aeframe.config.node import to_plain
from aeframe.config.options import DashboardOptions
from aeframe.evaluation.metric_names import list_metric_names
from aeframe.monitoring.dashboard.dashboard import Dashboard
from aeframe.monitoring.dashboard.page import number_picture
from aeframe.monitoring.dashboard.paper import EDGE, GAP, INSET
from aeframe.monitoring.dashboard.sheet import LINE, SPACE
from aeframe.monitoring.dashboard.view import View
from aeframe.training import hparams
from aeframe.training.build import build
from tests.support.drawing import decoded
from tests.support.events import Events

Command = Callable[..., Any]
SMALL = ("network=linear", "evaluation.images=20", "evaluation.importance_samples=2")
STEPS = 4  # of each epoch
SHORT = (*SMALL, f"trainer.limit_train_batches={STEPS}", "trainer.log_every_n_steps=1")
TWICE = ("trainer.max_epochs=2", "dashboard.every_n_epochs=1")
STILL = "optimizer.lr=1e-30"  # less than any weight can show


@pytest.fixture
def run(aeframe: Command, tmp_path: Path) -> Callable[..., Events]:
    """The events of a run with these overrides."""

    def ran(*overrides: str) -> Events:
        status, out, err = aeframe(*overrides, "hydra.run.dir=run")
        assert status == 0, out + err
        return Events(tmp_path / "run")

    return ran


# -------------------------------------------------------------------------------------------- scalars


def test_every_term_is_logged_raw_and_weighted_at_its_step(run: Callable[..., Events]) -> None:
    """A weight that grows by a tenth with each step tells which step a value is of."""
    schedule = "{schedule: linear, start: 0.0, end: 1.0, steps: 10}"
    events = run(
        *(*SHORT, "trainer.max_epochs=2", "model=sparse", "model.latent_dim=80"),
        *("constraint=[l1,l2]", f"constraint.l1.weight={schedule}", "constraint.l2.weight=0.25"),
        *("constraint.l1.relative=false", "constraint.l2.relative=false"),
        "scheduler={_target_: torch.optim.lr_scheduler.ExponentialLR, gamma: 0.5, interval: step}",
    )
    steps = list(range(2 * STEPS))
    raw = {name: events.scalars(f"train/{name}") for name in ("reconstruction", "l1", "l2")}
    weighted = {name: events.scalars(f"train/{name}_weighted") for name in raw}
    loss = events.scalars("train/loss")
    for values in (*raw.values(), *weighted.values(), loss):
        assert list(values) == steps
    for step in steps:
        weights = {"reconstruction": 1.0, "l1": step / 10, "l2": 0.25}
        for name, weight in weights.items():
            assert raw[name][step] > 0
            assert weighted[name][step] == pytest.approx(weight * raw[name][step], rel=1e-5)
        total = sum(values[step] for values in weighted.values())
        assert loss[step] == pytest.approx(total, rel=1e-5)
    rate = events.scalars("vitals/learning_rate")
    assert rate == pytest.approx({step: 1e-3 * 0.5**step for step in steps})
    assert set(events.scalars("train/dormant")) == set(steps)
    assert all(0 < value < 1 for value in events.scalars("train/dormant").values())


def test_beta_weighs_the_kl_term(run: Callable[..., Events]) -> None:
    events = run(*SHORT, "trainer.max_epochs=1", "model=variational", "model.beta=3")
    kl, weighted = (events.scalars(f"train/gaussian_kl{s}") for s in ("", "_weighted"))
    assert {step: 3 * value for step, value in kl.items()} == pytest.approx(weighted, rel=1e-5)
    assert events.tags() >= {"train/reconstruction", "train/reconstruction_weighted"}


@pytest.mark.parametrize("accumulated", [1, 2])
def test_every_nth_step_is_logged(run: Callable[..., Events], accumulated: int) -> None:
    """Steps of the optimizer, of which several batches make one."""
    events = run(
        *(*SMALL, "trainer.max_epochs=2", "trainer.limit_train_batches=12"),
        *("trainer.log_every_n_steps=3", f"trainer.accumulate_grad_batches={accumulated}"),
        *("constraint=[bottleneck,l2]",),
        "constraint.l2.weight={schedule: linear, start: 0.0, end: 1.0, steps: 100}",
        "constraint.l2.relative=false",
    )
    last = list(range(2, 24 // accumulated, 3))
    raw, weighted = events.scalars("train/l2"), events.scalars("train/l2_weighted")
    assert list(raw) == list(weighted) == last
    for step in last:
        assert weighted[step] == pytest.approx(raw[step] * step / 100, rel=1e-5)
    assert list(events.scalars("vitals/learning_rate")) == last
    speed = events.scalars("vitals/samples_per_second")
    assert list(speed) == last
    assert all(0 < value < math.inf for value in speed.values())


@pytest.mark.parametrize(
    "overrides",
    [
        ["model=undercomplete"],
        ["model=denoising"],
        ["model=sparse", "model.latent_dim=80", "constraint=[topk,l1]"],
        ["model=variational"],
    ],
    ids=lambda overrides: overrides[0],
)
def test_all_validation_metrics_once_for_each_epoch(
    run: Callable[..., Events], compose: Callable[..., Any], overrides: list[str]
) -> None:
    events = run(*SHORT, *overrides, "trainer.max_epochs=2")
    cfg = compose(*SHORT, *overrides)
    built = build(cfg)
    net, metric = built.net, built.node["optimized_metric"]
    names = list_metric_names(type(net.model), dict(net.parts), vars(net.model))
    if net.lone_term is not None:  # it is the loss
        names.remove(f"val/{net.lone_term}")
        assert {f"{split}/{net.lone_term}" for split in ("train", "val")}.isdisjoint(events.tags())
    assert set(names) <= events.tags()
    # of a picture that is called like a scalar TensorBoard shows nothing
    assert events.tags().isdisjoint(events.tags("images") | events.tags("histograms"))
    series = {name: events.scalars(name) for name in names}
    steps = [list(values) for values in series.values()]
    assert all(found == steps[0] for found in steps)
    assert len(steps[0]) == 2
    reported = events.report()["optimized_metric"]
    assert reported["name"] == metric
    best = min(series[metric].values())
    assert best == pytest.approx(reported["value"], rel=1e-6)


def test_validations_are_shown_at_their_step(run: Callable[..., Events]) -> None:
    """Scalars, pictures and histograms of one validation stand at one step: the steps done by then."""
    events = run(*SHORT, *TWICE)
    done = [STEPS, 2 * STEPS]
    assert list(events.images("reconstructions")) == done
    assert [event.step for event in events.read.Histograms("val/code")] == done
    assert list(events.scalars("val/mse")) == done


def test_a_test_metric_has_one_value_and_no_curve(run: Callable[..., Events]) -> None:
    events = run(*SHORT, "trainer.max_epochs=2")
    columns = events.columns()
    for name in ("mse", "psnr", "explained_variance", "loss"):
        value = events.report()["metrics"][name]
        assert columns[f"→ test/{name}"] == pytest.approx(value, rel=1e-6)
    assert {tag.partition("/")[0] for tag in events.tags()} == {"train", "val", "vitals"}


def test_events_lie_in_the_runs_own_folder(run: Callable[..., Events]) -> None:
    folder = run(*SHORT, "trainer.max_epochs=1").folder
    direct = set(folder.glob("events.out.tfevents.*"))
    assert direct
    assert set(folder.rglob("events*")) == direct
    assert set(folder.parent.rglob("events.out*")) == direct


# --------------------------------------------------------------------------------------------- images

SIDE = 64  # digits are enlarged eightfold


def cells(picture: np.ndarray, rows: int = 3, blocks: int = 2) -> np.ndarray:
    """The samples of a sheet as [rows, samples, 8, 8], in [0, 1], in blocks of so many rows.

    The rows lie below each other from the bottom up, each with a name, the first of a block also
    with captions. A single row has neither.
    """
    bottom, found = len(picture) - INSET, []
    for _ in range(blocks):
        block = []
        for row in reversed(range(rows)):
            bottom -= GAP + SIDE
            line = picture[bottom : bottom + SIDE, :, 0]
            tiles = [
                line[:, x : x + SIDE] for x in range(EDGE, EDGE + 5 * (SIDE + GAP), SIDE + GAP)
            ]
            tiles = [tile.reshape(8, 8, 8, 8) for tile in tiles if (tile < 255).any()]
            block.insert(0, tiles)
            bottom -= SPACE + LINE * (1 + (row == 0)) if rows > 1 else 0
        found.insert(0, np.array(block))
    pixels = np.concatenate(found, 1)
    assert (pixels == pixels[:, :, :, :1, :, :1]).all()  # each pixel is a square
    return pixels[:, :, :, 0, :, 0] / 255


def near(a: np.ndarray, b: np.ndarray, steps: float = 2.5) -> bool:
    """Equal as far as bytes tell."""
    return bool(np.abs(a - b).max() < steps / 255)


def is_error(row: np.ndarray, restored: np.ndarray, x: np.ndarray) -> bool:
    """Check whether a row shows errors in red, which is full at a third of half the data's range."""
    return near(row, (6 * np.abs(restored - x)).clip(0, 1), 9)


def test_the_picture_shows_input_reconstruction_and_error(
    run: Callable[..., Events], compose: Callable[..., Any]
) -> None:
    # Bernoulli's means stay within what a picture can show, so that the rows can be compared
    overrides = (*SHORT, *TWICE, "likelihood=bernoulli")
    pictures = run(*overrides).images("reconstructions")
    assert len(pictures) == 2
    data = build(compose(*overrides)).data.peek("val", 8).squeeze(1).numpy()
    for picture in pictures.values():
        x, restored, error = cells(picture)
        assert near(x, data)
        assert is_error(error, restored, x)
    first, second = pictures.values()
    assert (cells(first)[0] == cells(second)[0]).all()
    assert not near(cells(first)[1], cells(second)[1])  # it has learned meanwhile


def test_the_picture_is_of_the_network_as_it_is_by_then(
    run: Callable[..., Events], compose: Callable[..., Any]
) -> None:
    events = run(*SHORT, "trainer.max_epochs=2")
    checkpoint = torch.load(events.folder / "checkpoints" / "last.ckpt", weights_only=True)
    built = build(compose(*SHORT))
    built.module.load_state_dict(checkpoint["state_dict"])
    with torch.no_grad():
        restored = built.net.eval().reconstruct(built.data.peek("val", 8)).squeeze(1).numpy()
    *_, last = events.images("reconstructions").values()
    assert near(cells(last)[1], restored.clip(0, 1))


def test_the_corrupted_input_has_its_own_row(run: Callable[..., Events]) -> None:
    events = run(
        *(*SHORT, *TWICE, "model=denoising", "model.latent_dim=16", "likelihood=bernoulli"),
        "constraint.masking.fraction=0.5",
    )
    first, second = (cells(p, 4) for p in events.images("reconstructions").values())
    for found in (first, second):
        x, corrupted, restored, error = found
        kept = corrupted == x
        assert (corrupted[~kept] == 0).all()
        hidden = (corrupted == 0).mean((1, 2))
        assert (hidden >= 0.5).all()  # half are masked, and others are black anyway
        assert (~kept).any(axis=(1, 2)).all()
        assert is_error(error, restored, x)  # of the clean input
    assert (first[:2] == second[:2]).all()  # the same samples, equally corrupted


@pytest.mark.parametrize(("images", "columns"), [(1, 1), (3, 3)])
def test_as_many_columns_as_images(run: Callable[..., Events], images: int, columns: int) -> None:
    events = run(*SHORT, "trainer.max_epochs=1", f"dashboard.images={images}")
    (picture,) = events.images("reconstructions").values()
    assert cells(picture, blocks=1).shape[:2] == (3, columns)


def test_no_images_are_none(run: Callable[..., Events]) -> None:
    events = run(*SHORT, "trainer.max_epochs=1", "dashboard.images=0")
    assert events.tags("images") == events.tags("histograms") == set()
    assert not (events.folder / "projector_config.pbtxt").exists()
    assert not (events.folder / "pictures").exists()


def test_the_latest_of_each_picture_is_a_file_too(run: Callable[..., Events]) -> None:
    events = run(*SHORT, *TWICE, "model=variational")
    files = sorted((events.folder / "pictures").iterdir())
    names = [file.stem for file in files]
    assert names[:3] == ["01_reconstructions", "02_worst", "03_best"]  # as TensorBoard sorts them
    assert names[-2:] == ["14_encoder_filters", "15_decoder_filters"]
    assert {f"pictures/{name}" for name in names} == events.tags("images")
    for file in files:
        *_, last = events.images(file.stem.split("_", 1)[1]).values()
        assert (decoded(file.read_bytes()) == last).all()
    assert "`pictures/`" in (events.folder / "README.md").read_text()


def test_pictures_come_every_few_epochs_and_at_the_end(run: Callable[..., Events]) -> None:
    events = run(*SHORT, "trainer.max_epochs=6", "dashboard.every_n_epochs=2")
    epochs = [step / STEPS for step in events.images("reconstructions")]
    assert epochs == [1, 3, 5, 6]
    assert [e.step / STEPS for e in events.read.Histograms("val/code")] == epochs


@pytest.mark.parametrize(
    "stops",
    [
        ["until.metric=val/mse", "until.at_most=9"],
        ["early_stopping.patience=1", "early_stopping.min_delta=9"],
    ],
    ids=["until", "early_stopping"],
)
def test_the_end_is_shown_also_where_it_comes_early(
    run: Callable[..., Events], stops: list[str]
) -> None:
    events = run(*SHORT, "trainer.max_epochs=9", "dashboard.every_n_epochs=4", *stops)
    assert list(events.images("reconstructions"))[-1] == events.report()["steps"]


def test_the_end_is_shown_also_where_steps_end_it(run: Callable[..., Events]) -> None:
    events = run(
        *(*SHORT, "trainer.max_epochs=9", f"+trainer.max_steps={3 * STEPS}"),
        "dashboard.every_n_epochs=4",
    )
    assert list(events.images("reconstructions")) == [STEPS, 3 * STEPS]


def test_later_pictures_come_when_the_epochs_have_doubled() -> None:
    dashboard, drawn = Dashboard(DashboardOptions(every_n_epochs=5)), []
    for epoch in range(1000):
        if dashboard._is_due(epoch):
            dashboard.epoch = epoch
            drawn.append(epoch)
    assert drawn == [0, 5, 10, 20, 40, 80, 160, 320, 640]  # TensorBoard keeps ten


def test_parts_that_take_longer_wait_for_many_steps(
    run: Callable[..., Events], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Drawn after each epoch: the worst after as many steps as three epochs have, and at the end."""
    monkeypatch.setattr("aeframe.monitoring.dashboard.dashboard.MANY", 3 * STEPS)
    events = run(*SHORT, "trainer.max_epochs=4", "dashboard.every_n_epochs=1")
    drawn = {n: [s / STEPS for s in events.images(n)] for n in ("reconstructions", "worst")}
    assert drawn == {"reconstructions": [1, 2, 3, 4], "worst": [3, 4]}


def test_pictures_do_not_depend_on_how_rare_validation_is(run: Callable[..., Events]) -> None:
    """Validated after epochs 2, 4, 6 and 8: two epochs after the first, and as many again."""
    events = run(
        *(*SHORT, "trainer.max_epochs=8", "trainer.check_val_every_n_epoch=2"),
        "dashboard.every_n_epochs=2",
    )
    epochs = [step / STEPS for step in events.images("reconstructions")]
    assert epochs == [2, 4, 8]


def test_samples_of_the_variational_model_are_drawn_alike_each_time(
    run: Callable[..., Events],
) -> None:
    """Pictures change only if the weights change: all noise is fixed."""
    events = run(*(*SHORT, *TWICE, "model=variational", STILL))
    samples = [cells(picture, 1, 5) for picture in events.images("samples").values()]
    assert len(samples) == 2
    assert samples[0].shape == (1, 25, 8, 8)
    assert (samples[0] == samples[1]).all()
    flat = samples[0].reshape(25, 64)
    assert len(np.unique(flat, axis=0)) == 25  # each of another code
    pictures = [cells(picture) for picture in events.images("reconstructions").values()]
    assert (pictures[0] == pictures[1]).all()


def test_the_codes_histogram_counts_every_unit_of_every_sample(
    run: Callable[..., Events],
) -> None:
    events = run(
        *(*SHORT, "trainer.max_epochs=1", "model=sparse", "model.latent_dim=80"),
        "constraint.topk.k=6",
    )
    (event,) = events.read.Histograms("val/code")
    histogram = event.histogram_value
    assert histogram.num == 8 * 80
    assert histogram.min == 0.0 < histogram.max
    edges = [-math.inf, *histogram.bucket_limit]
    positive = sum(count for low, count in zip(edges, histogram.bucket, strict=False) if low > 1e-9)
    assert 0 < positive <= 8 * 6  # the others are dormant


def test_vectors_have_a_histogram_and_curves(run: Callable[..., Events], vectors: Path) -> None:
    events = run(
        *(*SHORT, "trainer.max_epochs=1", "dataset=array", f"dataset.path={vectors}"),
        "model.latent_dim=3",
    )
    wanted = {number_picture(name) for name in ("reconstructions", "encoder_filters")}
    assert wanted <= events.tags("images")
    (event,) = events.read.Histograms("val/code")
    assert event.histogram_value.num == 6 * 3  # no more samples than the split has


# -------------------------------------------------------------------------------------------- hparams


def test_hparams_have_the_choices_and_the_final_metrics(run: Callable[..., Events]) -> None:
    events = run(
        *(*SHORT, "trainer.max_epochs=2", "model=variational", "model.latent_dim=5", "seed=3"),
        *("constraint=[masking,l2]", "optimizer.lr=0.002"),
    )
    report = events.report()
    final = {f"→ test/{name}": value for name, value in report["metrics"].items()}
    final["→ best val/negative_elbo"] = report["optimized_metric"]["value"]
    assert {"→ test/nll", "→ test/mse"} <= final.keys()
    columns = events.columns()
    assert {name: columns.pop(name) for name in final} == pytest.approx(final, rel=1e-6)
    typed = {"evaluation.images": 20, "evaluation.importance_samples": 2}
    typed |= {"trainer.limit_train_batches": STEPS, "trainer.log_every_n_steps": 1}
    masking = {"fraction": 0.25, "exact": True, "emphasis_corrupted": 1.0, "emphasis_rest": 1.0}
    assert columns == {
        **{"model": "Variational", "model.latent_dim": 5, "model.beta": 1.0},
        **{"network": "MLP", "network.widths": "[]", "likelihood": "Bernoulli"},
        **{"dataset": "Digits", "dataset.batch_size": 32, "constraint": "masking+l2"},
        **{"optimizer.lr": 0.002, "trainer.max_epochs": 2, "seed": 3},
        **typed,
        **{f"constraint.masking.{name}": value for name, value in masking.items()},
        **{"constraint.l2.weight": 5e-5, "constraint.l2.relative": True},
    }
    assert events.hparams("session_end_info").status == api_pb2.STATUS_SUCCESS


def test_hparams_do_not_grow_with_the_constraints(compose: Callable[..., Any]) -> None:
    """Many constraints leave only the first key of each."""
    names = "masking,gaussian_noise,salt_and_pepper,jump_relu,auxk,l1,l2,orthogonal,resampling"
    cfg = compose("model=sparse", f"constraint=[{names}]")
    chosen = hparams.select_choices(to_plain(cfg), 1024)
    assert len(chosen) == hparams.MOST_CHOICES == 24
    abouts = {"masking.fraction", "gaussian_noise.sigma", "jump_relu.weight", "l2.weight"}
    keys = {f"constraint.{about}" for about in abouts} | {"model.latent_dim", "optimizer.lr"}
    assert {*keys, "model", "constraint", "seed"} <= chosen.keys()
    for variant in ("undercomplete", "denoising", "sparse", "variational"):
        assert len(hparams.select_choices(to_plain(compose(f"model={variant}")), 16)) <= 16


@pytest.mark.parametrize("words", [TWICE, TWICE[:1]], ids=["after each epoch", "after the first"])
def test_the_last_drawing_passes_no_sample_again(
    run: Callable[..., Events], monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    """Drawn after both epochs, or after the first and at the end: with new weights each time."""
    seen: list[torch.Tensor] = []

    class Counted(View):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            seen.append(self.passed.codes)

    monkeypatch.setattr("aeframe.monitoring.dashboard.dashboard.View", Counted)
    monkeypatch.setattr("aeframe.monitoring.dashboard.code_charts.LONG", 0)
    events = run(*SHORT, *words, "dashboard.images=2")
    assert len(seen) == 2
    assert not torch.equal(*seen)
    assert (events.folder / "projector" / "code.tsv").exists()
    assert list(events.images("tsne")) == [2 * STEPS]
