"""Scalars of a step beside its loss, and TensorBoard's charts that put together what belongs together."""

from __future__ import annotations

import json
import math
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pytorch_lightning.plugins.precision import MixedPrecision
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins import base_plugin
from tensorboard.plugins.custom_scalar import layout_pb2

from aeframe.evaluation.metric_names import METRICS
from aeframe.monitoring.dashboard.custom_scalars import (
    CHARTS,
    STEP,
    VITALS,
    CustomScalars,
    choose_charts,
)
from aeframe.monitoring.event_files import Curves
from aeframe.training import scalars
from aeframe.training.build import build
from aeframe.training.module import AutoencoderModule
from aeframe.training.scalars import compute_norm
from tests.support.events import Events
from tests.support.fitting import fit
from tests.support.runs import Killed

Command = Callable[..., tuple[int, str, str]]
SHORT = (
    *("network.widths=[]", "dataset.batch_size=128", "trainer.max_epochs=1", "hydra.run.dir=run"),
    *("trainer.log_every_n_steps=3", "evaluation.images=16", "dashboard.images=0"),
)
LAYOUT = "custom_scalars__config__"


def test_a_norm_is_that_of_all_elements() -> None:
    assert float(compute_norm([torch.tensor([3.0, 0.0]), torch.tensor([[4.0], [12.0]])])) == 13.0
    assert float(compute_norm([torch.tensor([3.0, 4.0])], sharded=True)) == 5.0  # of one rank


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("trainer.steps_per_call=4",),
        ("trainer.accumulate_grad_batches=2",),
        ("trainer.precision=bf16-mixed",),
        ("model=sparse", "model.latent_dim=80", "constraint=l1", "constraint.l1.form=unit_norm"),
    ],
    ids=["lightning", "ahead", "accumulated", "bf16", "projected"],
)
def test_norms_are_those_of_the_step_before_clipping(
    aeframe: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    """Norms are computed by brute force before clipping, which leaves a norm of 0.001."""
    seen: dict[int, tuple[float, float]] = {}
    clip = AutoencoderModule.clip_gradients

    def looked(module: AutoencoderModule, *args: Any, **kwargs: Any) -> None:
        weights = [p for p in module.net.parameters() if p.grad is not None]
        squares = sum(float(p.grad.double().square().sum()) for p in weights if p.grad is not None)
        all_squares = sum(float(p.detach().double().square().sum()) for p in module.trained)
        seen[len(seen)] = math.sqrt(squares), math.sqrt(all_squares)
        clip(module, *args, **kwargs)

    monkeypatch.setattr(AutoencoderModule, "clip_gradients", looked)
    clips = "trainer.gradient_clip_val=0.001"
    assert aeframe(*SHORT, "trainer.steps_per_call=1", *options, clips)[0] == 0
    events = Events(tmp_path / "run")
    gradients = events.scalars("vitals/gradient_norm")
    assert list(gradients) == list(range(2, len(seen), 3))
    for step, value in gradients.items():
        assert value == pytest.approx(seen[step][0], rel=1e-5)
        assert value > 0.001
        parameters = events.scalars("vitals/parameter_norm")[step]
        assert parameters == pytest.approx(seen[step][1], rel=1e-5)


@pytest.mark.parametrize("clipped", [False, True], ids=["fused", "clipped"])
def test_norms_of_gradients_that_were_scaled_are_true(
    compose: Callable[..., Any], tmp_path: Path, clipped: bool
) -> None:
    """Gradients are float16 on a CPU, slow but scaled. Clipped, the optimizer is not fused."""
    seen = []
    for scaled in (False, True):
        words = ("model.latent_dim=8", "trainer.log_every_n_steps=1")
        apart = ("+optimizer.fused=false", "trainer.gradient_clip_val=0.001") if clipped else ()
        built = build(compose(*words, *apart))
        told: list[float] = []
        built.module.scalars.listeners.append(
            lambda values, told=told: told.append(values["vitals/gradient_norm"])
        )
        plugin = MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=1024.0))
        options = {"precision": None, "plugins": plugin} if scaled else {}
        fit(built, tmp_path, max_epochs=1, limit_train_batches=5, limit_val_batches=1, **options)
        seen.append(told)
    assert len(seen[0]) == 5
    assert seen[1] == pytest.approx(seen[0], rel=0.02)


@pytest.mark.parametrize(
    ("words", "steps"),
    [
        ((), [2, 5, 8]),
        (("trainer.log_every_n_steps=2",), [1, 3, 5, 7]),
        (("trainer.accumulate_grad_batches=2",), [1, 3, 5]),
        (("++trainer.max_steps=2",), [1]),
    ],
    ids=["short epochs", "often", "accumulated", "less than an epoch"],
)
def test_each_epoch_has_a_point_in_the_curve(
    compose: Callable[..., Any], tmp_path: Path, words: tuple[str, ...], steps: list[int]
) -> None:
    """Runs with epochs shorter than trainer.log_every_n_steps log the last step of each."""
    built = build(compose("network.widths=[]", "model.latent_dim=8", *words))
    wrote = built.module.scalars.write
    seen: list[int] = []

    def noting(numbers: Mapping[str, float], step: int, *more: Any) -> None:
        seen.append(step)
        wrote(numbers, step, *more)

    built.module.scalars.write = noting  # type: ignore[method-assign]
    fit(built, tmp_path, max_epochs=3, limit_train_batches=3, limit_val_batches=1)
    assert seen == steps


def test_active_units_are_counted_in_training(aeframe: Command, tmp_path: Path) -> None:
    words = ("model=sparse", "model.latent_dim=80", "constraint.topk.k=4")
    assert aeframe(*SHORT, *words)[0] == 0
    events = Events(tmp_path / "run")
    active, dormant = events.scalars("train/l0"), events.scalars("train/dormant")
    assert set(active) == {2, 5, 8, 11}
    for step, value in active.items():
        assert 0 < value <= 4
        assert dormant[step] == pytest.approx(1 - value / 80, rel=1e-5)


def test_scalars_from_before_a_failure_are_kept(aeframe: Command, tmp_path: Path) -> None:
    steep = ("optimizer._target_=torch.optim.SGD", "optimizer.lr=1", "divergence.explodes_at=1e300")
    status, _, said = aeframe(*SHORT, *steep, "trainer.log_every_n_steps=1")
    assert status == 1
    (failed,) = re.findall(r"at step (\d+)", said)
    assert list(Events(tmp_path / "run").scalars("train/loss")) == list(range(int(failed)))


def test_waiting_is_the_share_of_the_time_between_logged_steps(
    aeframe: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock moves only for fetching and logging: 1 s for each batch, 6 s for each that is logged."""
    now = 0.0

    def ticking() -> Iterator[float]:
        while True:
            yield now

    from aeframe.data.datamodule import Resident
    from aeframe.training import train_batches

    batches, write = Resident.__iter__, scalars.Scalars.write

    def slow(self: Resident) -> Iterator[Any]:
        nonlocal now
        for batch in batches(self):
            now += 1.0
            yield batch

    def slowly(self: scalars.Scalars, *what: Any) -> None:
        nonlocal now
        now += 6.0
        write(self, *what)

    clock = SimpleNamespace(perf_counter=lambda: next(ticking()), time=lambda: 1e9 + now)
    for room in (train_batches, scalars):
        monkeypatch.setattr(room, "time", clock)
    monkeypatch.setattr(Resident, "__iter__", slow)
    monkeypatch.setattr(scalars.Scalars, "write", slowly)
    assert aeframe(*SHORT, "trainer.steps_per_call=5")[0] == 0
    events = Events(tmp_path / "run")
    found = events.scalars("vitals/data_waiting")
    assert found == {step: pytest.approx(3 / 9) for step in (2, 5, 8, 11)}
    # several steps are given to the file's thread at once, each with its own time
    times = [event.wall_time - 1e9 for event in events.read.Scalars("train/loss")]
    assert times == pytest.approx([9, 18, 27, 36])


# --------------------------------------------------------------------------------------------- charts


def charts_of(events: Events) -> dict[str, dict[str, list[str]]]:
    """The layout that was written, and that it was written once."""
    (written,) = events.read.Tensors(LAYOUT)
    found = layout_pb2.Layout.FromString(written.tensor_proto.string_val[0])
    return {
        category.title: {chart.title: list(chart.multiline.tag) for chart in category.chart}
        for category in found.category
    }


@pytest.mark.parametrize(
    "words",
    [
        ("model.latent_dim=8",),
        ("model=denoising", "constraint=[masking,l2]"),
        ("model=sparse", "model.latent_dim=80", "constraint=[l1,resampling]"),
        ("model=variational", "model.latent_dim=4"),
        ("model=variational", "model.objective=importance_weighted", "model.k=2"),
    ],
    ids=["undercomplete", "denoising", "sparse", "variational", "importance weighted"],
)
def test_tensorboard_finds_each_curve_of_each_chart(
    aeframe: Command, tmp_path: Path, words: tuple[str, ...]
) -> None:
    """Asked as TensorBoard's page asks its plugin: every chart has its first curve, and each tag a chart."""
    assert aeframe(*SHORT, *words)[0] == 0
    plugin = custom_scalars(tmp_path / "run")
    events = Events(tmp_path / "run")
    charts = charts_of(events)
    assert charts
    shown = set()
    for title, patterns in ((t, p) for category in charts.values() for t, p in category.items()):
        tags = [
            set(plugin.scalars_impl(RequestContext(), ".", pattern, "")["tag_to_events"])
            for pattern in patterns
        ]
        assert tags[0], title
        assert sum(map(len, tags)) == len(set().union(*tags)), title  # each curve once
        shown |= set().union(*tags)
    written = {
        tag
        for tag in events.read.Tags()["scalars"]
        if tag.startswith(("train/", "val/", "vitals/"))
    }
    alone = {"val/explained_variance", "val/gain_db"}
    assert written - shown == alone & written


def custom_scalars(folder: Path) -> Any:
    """TensorBoard's plugin for the runs below a folder."""
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # its own imports
        from tensorboard.plugins.custom_scalar.custom_scalars_plugin import CustomScalarsPlugin

    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(folder))
    multiplexer.Reload()
    provider = MultiplexerDataProvider(multiplexer, str(folder))
    values = SimpleNamespace(scalars_impl=lambda context, tag, *rest: ([tag], "text/plain"))
    context = base_plugin.TBContext(
        data_provider=provider, plugin_name_to_instance={"scalars": values}
    )
    return CustomScalarsPlugin(context)


def test_runs_of_all_variants_share_their_charts(
    compose: Callable[..., Any], tmp_path: Path
) -> None:
    """TensorBoard merges the layouts of all runs in a folder, and would show charts that differ twice."""
    runs: dict[str, list[str]] = {
        "undercomplete": [],
        "denoising": ["constraint=[masking,l2]"],
        "sparse": ["constraint=[l1,resampling]"],
        "variational": ["network=linear"],
        **{f"sweep/{k}": ["model=sparse", f"constraint.topk.k={k}", f"seed={k}"] for k in (2, 4)},
    }
    own = set()
    for name, words in runs.items():
        net = build(compose(*([] if "/" in name else [f"model={name}"]), *words)).net
        curves = Curves(tmp_path / name)
        trainer: Any = SimpleNamespace(loggers=[curves], global_step=0, is_global_zero=True)
        module: Any = SimpleNamespace(net=net)
        CustomScalars().on_train_start(trainer, module)
        curves.experiment.close()
        own |= {(c, chart) for c, charts in choose_charts(net).items() for chart in charts}
    found = json.loads(custom_scalars(tmp_path).layout_impl(RequestContext(), ""))
    titles = [(c["title"], chart["title"]) for c in found["category"] for chart in c["chart"]]
    assert len(titles) == len(set(titles))
    assert set(titles) == own
    assert {title for title, _ in titles} == set(CHARTS)


def test_charts_are_of_what_a_run_has(compose: Callable[..., Any]) -> None:
    plain = choose_charts(build(compose("model.latent_dim=8")).net)
    assert plain["loss (nats)"]["training and validation"] == ["train/loss$", "val/loss$"]
    assert plain["reconstruction"].keys() == {"mean squared error", "PSNR (dB)"}
    assert not {"sparsity", "evidence lower bound (nats)"} & plain.keys()
    drawn = choose_charts(build(compose("model=variational", "model.latent_dim=8")).net)
    bound = drawn["evidence lower bound (nats)"]["its parts"]
    assert {"val/negative_elbo$", "train/gaussian_kl$", "val/kl$"} <= set(bound)
    sparse = choose_charts(build(compose("model=sparse", "constraint=l1")).net)
    assert sparse["sparsity"]["active units per sample"] == ["train/l0$", "val/l0$"]
    assert sparse["sparsity"]["share of dormant and of dead units"][-1] == "val/dead$"


def test_a_chart_of_terms_has_each_term_and_nothing_else() -> None:
    written = [*(f"train/{name}" for name in STEP), "train/l1", "train/my_own", "train/l1_weighted"]
    written += [f"vitals/{name}" for name in VITALS]
    written += [*(f"val/{name}" for name in METRICS), "val/l1", "val/reconstruction"]

    def curves(title: str) -> list[str]:
        (pattern,) = CHARTS["loss (nats)"][title]
        return [tag for tag in written if re.match(pattern, tag)]

    assert curves("terms") == ["train/l1", "train/my_own"]
    assert curves("terms, weighted") == ["train/l1_weighted"]
    assert curves("terms in validation") == ["val/l1", "val/reconstruction"]


def test_a_run_that_goes_on_has_its_charts_once(
    aeframe: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (*SHORT, "resume=auto", "checkpoint.every_minutes=0", "trainer.steps_per_call=2")
    loss = AutoencoderModule.compute_loss

    def dies(module: Any, batch: Any, index: int, step: int) -> Any:
        if step == 6:
            raise Killed
        return loss(module, batch, index, step)

    monkeypatch.setattr(AutoencoderModule, "compute_loss", dies)
    with pytest.raises(Killed):
        aeframe(*words)
    monkeypatch.setattr(AutoencoderModule, "compute_loss", loss)
    assert aeframe(*words)[0] == 0
    assert charts_of(Events(tmp_path / "run"))["norms"]["gradient"] == ["vitals/gradient_norm$"]
