"""The doctor: each rule speaks of a run that was made sick, once, and of no healthy one."""

from __future__ import annotations

import io
import json
import math
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from omegaconf import DictConfig
from rich.console import Console

from aeframe.config.check import check
from aeframe.core.errors import UserError
from aeframe.evaluation.baselines import Baseline
from aeframe.evaluation.card import Card
from aeframe.evaluation.copy_check import CopyCheck
from aeframe.monitoring.doctor.code_units import Collapse, DeadUnits
from aeframe.monitoring.doctor.doctor import Doctor, Signs
from aeframe.monitoring.doctor.end_of_training import find_in_card
from aeframe.monitoring.doctor.finding import Finding
from aeframe.monitoring.doctor.learning import LearningRate, MeanImage
from aeframe.monitoring.doctor.overfitting import FewSamples, Overfitting
from aeframe.monitoring.doctor.rule import Patient, Rule, Vitals
from aeframe.monitoring.doctor.saturation import SAMPLES, SaturatedUnits, measure_saturation
from aeframe.monitoring.doctor.suggestions import Override, find_valid
from aeframe.monitoring.progress_bar import Bar
from aeframe.training.build import Built, build
from aeframe.training.checkpointing import collect_metrics
from aeframe.training.module import AutoencoderModule
from aeframe.training.next_commands import list_next_commands
from aeframe.training.resume.state_shapes import UnfitError, check_like
from tests.stress import sick_runs
from tests.stress.sick_cases import SHORT, SICK, files
from tests.stress.sick_runs import find_command, is_better, read_run
from tests.support.events import Events
from tests.support.runs import Killed

Compose = Callable[..., DictConfig]
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    files(folder)
    return folder


def doctor_of(built: Built) -> Doctor:
    return next(c for c in built.callbacks if isinstance(c, Doctor))


def fitted(built: Built, *more: pl.Callback, **options: Any) -> tuple[Doctor, pl.Trainer]:
    """A training without files."""
    trainer = pl.Trainer(
        **{**built.trainer, **options},
        callbacks=[*built.callbacks, *more],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(built.module)
    return doctor_of(built), trainer


def carded(built: Built, doctor: Doctor, trainer: pl.Trainer, best_step: int = 0) -> list[Finding]:
    """All that is said, with that of the card. best_step: of the checkpoint that is tested."""
    trainer.test(built.module, verbose=False)
    tested = collect_metrics(trainer)
    metrics = {k.removeprefix("test/"): v for k, v in tested.items() if k.startswith("test/")}
    return doctor.read(
        built.evaluation.make_card(built.net, built.data, metrics), trainer, best_step
    )


# ------------------------------------------------------------------------------------ sick and healthy


@pytest.mark.parametrize("name", {sick.rule: name for name, sick in SICK.items()}.values())
def test_a_sick_run_is_told_once_and_with_a_valid_override(
    compose: Compose,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    sick = SICK[name]
    if sick.rule == "data_waiting":
        monkeypatch.setattr(sick_runs.Samples, "_gather", sick_runs.Samples._gather)
        monkeypatch.setattr(sick_runs.DataWaiting, "seconds", 10.0)
        sick_runs.slow_disk()
    command = [*SHORT, *(word.format(folder=data) for word in sick.words)]
    built = build(compose(*command))
    doctor, trainer = fitted(built)
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Doctor: ")]
    waits = sick.rule in ("few_samples", "overfitting")  # whose best weights are kept
    at_end = waits or sick.rule in (
        "copying",
        "pca",
        "spreads",
    )  # which is left to the closing lines
    assert len(said) == 0 if at_end else len(said) == 1
    if at_end:
        said = [str(finding) for finding in carded(built, doctor, trainer)]
    (finding,) = doctor.findings
    assert said == [str(finding)]
    assert finding.rule == sick.rule
    assert finding.remedy is not None
    assert finding.remedy.startswith(sick.remedy)
    assert any(character.isdigit() for character in finding.seen)
    check(compose(*command, *shlex.split(finding.remedy)))


@pytest.mark.parametrize("model", ["undercomplete", "denoising", "sparse", "variational"])
def test_the_defaults_are_healthy(compose: Compose, model: str, capsys: Any) -> None:
    """After so many epochs as each rule takes to speak."""
    built = build(compose(f"model={model}", "trainer.max_epochs=6", "dashboard.images=0"))
    doctor, _ = fitted(built)
    assert "Doctor" not in capsys.readouterr().out
    assert doctor.findings == []


def test_it_is_turned_off(compose: Compose, capsys: Any) -> None:
    built = build(compose(*SHORT, "optimizer.lr=1e-6", "doctor=false"))
    doctor, trainer = fitted(built)
    assert carded(built, doctor, trainer) == []
    assert "Doctor" not in capsys.readouterr().out


@pytest.mark.parametrize("value", ["null", "1", "yes please"])
def test_the_switch_is_true_or_false(compose: Compose, value: str) -> None:
    with pytest.raises(UserError, match="expected true or false"):
        check(compose(f"doctor='{value}'" if " " in value else f"doctor={value}"))


# ------------------------------------------------------------------------------------- where it is said


def test_it_is_said_above_the_bar(compose: Compose) -> None:
    bar, screen = Bar("val/mse"), io.StringIO()
    bar.console = Console(file=screen, force_terminal=True, width=200, color_system=None)
    bar.interval = 0.0
    built = build(compose(*SHORT, "network.start=random", "optimizer.lr=1e-6"))
    doctor, _ = fitted(built, bar)
    (finding,) = doctor.findings
    (line,) = [line for line in screen.getvalue().splitlines() if "Doctor: " in line]
    assert str(finding)[:150] in line  # a whole line of its own, which the bar follows
    assert "images/s" not in line


def test_it_is_left_in_all_places_and_a_run_that_goes_on_does_not_say_it_again(
    aeframe: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    words = (*SHORT, "network.start=random", "optimizer.lr=1e-6")
    words += ("hydra.run.dir=run", "resume=auto")
    often = ("checkpoint.every_minutes=0", "trainer.steps_per_call=10")
    loss = AutoencoderModule.compute_loss

    def dies(module: Any, batch: Any, index: int, step: int) -> Any:
        if step == 155:  # in the eighth epoch: it was said after the seventh
            raise Killed
        return loss(module, batch, index, step)

    monkeypatch.setattr(AutoencoderModule, "compute_loss", dies)
    with pytest.raises(Killed):
        aeframe(*words, *often)
    (first,) = [x for x in capfd.readouterr().out.splitlines() if x.startswith("Doctor: ")]
    monkeypatch.setattr(AutoencoderModule, "compute_loss", loss)
    last = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["callbacks"]["Doctor"]["mean_image.spoke"] == 7
    status, out, err = aeframe(*words, *often)
    assert (status, err) == (0, "")
    lines = out.splitlines()
    (last,) = (line for line in lines if line.startswith("Doctor: "))
    assert lines.index(last) > lines.index(next(x for x in lines if "Test metrics" in x))
    (told,) = json.loads((tmp_path / "run" / "evaluation.json").read_text())["doctor"]
    assert (told["rule"], told["epoch"], told["try"]) == ("mean_image", 7, "optimizer.lr=0.001")
    assert "since epoch 5" in told["seen"]
    assert first == f"Doctor: {told['seen']}. Try: {told['try']}"
    command = "python train.py trainer.max_epochs=9 trainer.log_every_n_steps=5"
    assert last.startswith(f"Doctor: {told['seen']}. Try: {command}")  # a whole one
    assert last.endswith(" optimizer.lr=0.001")
    assert "optimizer.lr=1e-06" not in last
    assert not any(
        line.startswith("Train longer:") for line in lines
    )  # more of the same is no remedy
    (written,) = Events(tmp_path / "run").read.Tensors("doctor/mean_image/text_summary")
    assert written.step == 7 * 20
    assert written.tensor_proto.string_val[0].decode() == first


@pytest.mark.parametrize("odd", ["text", {"a": 1}, [1], None, math.nan])
def test_a_checkpoint_with_anything_but_numbers_of_it_is_refused(odd: Any) -> None:
    like = {"Doctor": {"dead_units.dead": 0.0, "dead_units.since": None}}
    check_like(
        like, {"Doctor": {"dead_units.dead": 0.5, "dead_units.since": 3}}, "callbacks", is_late=True
    )
    odd_state = {"Doctor": {"dead_units.dead": odd, "dead_units.since": None}}
    with pytest.raises(UnfitError, match=r"callbacks\.Doctor\.dead_units\.dead is .*, not 0.0"):
        check_like(like, odd_state, "callbacks", is_late=True)


def test_a_checkpoint_of_a_version_with_fewer_rules_is_taken(compose: Compose) -> None:
    like = {"Doctor": {"dead_units.dead": 0.0, "few_samples.best": None}}
    check_like(like, {"Doctor": {"dead_units.dead": 0.5}}, "callbacks", is_late=True)
    with pytest.raises(UnfitError, match=r"callbacks\.Timer has no b"):
        check_like(
            {"Timer": {"a": 0.0, "b": 0.0}}, {"Timer": {"a": 0.0}}, "callbacks", is_late=True
        )
    doctor = doctor_of(build(compose()))
    saved = {k: v for k, v in doctor.state_dict().items() if not k.startswith("few_samples.")}
    doctor.load_state_dict({**saved, "dead_units.dead": 0.5})
    assert doctor.state_dict()["dead_units.dead"] == 0.5
    assert doctor.state_dict()["few_samples.best"] is None


# ---------------------------------------------------------------------------------------- rules alone


PATIENTS: dict[tuple[str, ...], Patient] = {}


@pytest.fixture
def patient(compose: Compose) -> Callable[..., Patient]:
    """Make the patient of a configuration, once: rules do not change it."""

    def made(*words: str) -> Patient:
        if words not in PATIENTS:
            PATIENTS[words] = doctor_of(build(compose(*words))).patient
        return PATIENTS[words]

    return made


def shown(rule: Rule, series: list[dict[str, Any]]) -> int | None:
    """The epoch in which the rule speaks. series: what each validation shows, and Vitals' other fields."""
    for epoch, values in enumerate(series, start=1):
        fields = {key: values.pop(key) for key in list(values) if key in Vitals._fields}
        if rule.judge_validation(Vitals(epoch=epoch, steps=epoch * 100, val=values, **fields)):
            return epoch
    return None


def test_passing_symptoms_are_not_reported(patient: Callable[..., Patient]) -> None:
    rule = Collapse(patient("model=variational"))
    assert shown(rule, [{"active_units": n} for n in (0, 0, 0, 3, 4, 0, 0, 5, 9, 9)]) is None
    assert shown(rule, [{"active_units": n} for n in (9, 9, 9, 3, 3, 3, 3)]) == 6
    assert (rule.since, rule.active) == (4, 3)


def test_few_samples_do_not_reach_all_units(patient: Callable[..., Patient]) -> None:
    """180 samples with one active unit each leave at least 82 % of 1024 inactive, with ten 17 %."""
    sparse = patient("model=sparse", "model.latent_dim=1024")

    def spoke(series: list[dict[str, Any]], samples: int = 180) -> int | None:
        return shown(DeadUnits(sparse), [{**one, "samples": samples} for one in series])

    assert spoke([{"dead": 0.84, "l0": 1.0}] * 9) is None
    assert spoke([{"dead": 0.84, "l0": 10.0}] * 9) == 3
    assert spoke([{"dead": 0.84, "l0": 10.0}] * 9, samples=18) is None
    assert spoke([{"dead": 0.26, "l0": 16.0}] * 9) is None  # MNIST's, not growing
    assert spoke([{"dead": 0.2 + 0.05 * epoch, "l0": 16.0} for epoch in range(9)]) == 6


def test_few_samples_need_fewer_units(patient: Callable[..., Patient], tmp_path: Path) -> None:
    """A fifth of the units is too much: 64 inputs, and then 300, which a code of 64 units is smaller than."""

    def judge(dead: float, *words: str) -> str | None:
        wide = ("model.latent_dim=1024", "model.allow_undercomplete=false", "constraint.topk.k=16")
        rule = DeadUnits(patient("model=sparse", *wide, *words))
        rule.review(card_of(dead=dead, l0=16.0), epoch=9, steps=900)
        finding = rule.build_finding()
        return finding and finding.remedy

    assert judge(0.24) == "model.latent_dim=128"
    assert judge(0.15) is None
    assert judge(0.6, "model.latent_dim=128") == "constraint=[topk,auxk]"  # there are few already
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(200, 300)))
    data = ("dataset=array", f"dataset.path={tmp_path / 'x.npy'}")
    assert judge(0.6, *data) == "model.latent_dim=64 model.allow_undercomplete=true"
    assert judge(0.6, *data, "model.allow_undercomplete=true") == "model.latent_dim=64"


def test_samples_are_those_that_a_validation_sees(compose: Compose) -> None:
    words = ("trainer.max_epochs=1", "network=linear", "dataset.batch_size=32")
    words += ("doctor=false", "dashboard.text=false", "dashboard.images=0")
    limits = {"trainer.limit_val_batches=2": 64, "trainer.limit_val_batches=0.5": 3 * 32}
    for word, samples in {**limits, "trainer.limit_val_batches=null": 180}.items():
        built = build(compose(*words, word, "trainer.limit_train_batches=2"))
        fitted(built)
        assert len(built.data.splits["val"]) == 180
        assert int(built.module.metrics.terms["reconstruction"].samples) == samples  # were seen


def test_a_long_decline_is_no_jump(patient: Callable[..., Patient]) -> None:
    sinking = [{"explained_variance": v} for v in (0.9, 0.7, 0.5, 0.3, 0.1, 0.0, 0.0)]
    assert shown(LearningRate(patient()), sinking) is None
    jumping = [{"explained_variance": v} for v in (0.9, 0.7, 0.8, 0.6, 0.8, 0.5, 0.9, 0.9)]
    rule = LearningRate(patient())
    assert shown(rule, jumping) == 7
    assert "jumps: 3 times since epoch 2" in rule.describe_symptom()
    beta = "model.beta={schedule: cyclic, value: 1.0, epochs: 2}"
    cyclic = LearningRate(patient("model=variational", beta))
    assert shown(cyclic, [{"explained_variance": v} for v in (0.9, 0.7) * 5]) is None


def test_a_gradient_that_explodes_is_told_when_the_error_grows(
    patient: Callable[..., Patient],
) -> None:
    def series(end: float) -> list[dict[str, Any]]:
        norms, explained = (1.0, 2.0, 50.0, 300.0, 400.0), (0.5, 0.6, 0.7, end, end)
        return [
            {"explained_variance": e, "gradient_norm": n}
            for n, e in zip(norms, explained, strict=True)
        ]

    assert shown(LearningRate(patient()), series(0.75)) is None
    rule = LearningRate(patient())
    assert shown(rule, series(0.5)) == 5
    assert "the gradient's norm explodes: 400 since epoch 4, after 1" in rule.describe_symptom()


def test_a_mean_image_is_explained_by_what_was_told(patient: Callable[..., Patient]) -> None:
    nothing = {"explained_variance": 0.0, "mse": 0.1}
    assert shown(MeanImage(patient()), [{**nothing} for _ in range(6)]) == 5
    before = [{**nothing, "reported": frozenset({"posterior_collapse"})} for _ in range(6)]
    assert shown(MeanImage(patient()), before) is None
    before = [{**nothing, "reported": frozenset({"data_waiting"})} for _ in range(6)]
    assert shown(MeanImage(patient()), before) == 5
    assert shown(MeanImage(patient()), [{"explained_variance": 0.0, "mse": 0.0}] * 6) is None


def test_over_fitting_is_a_rise_in_one_loss_and_a_fall_in_the_other(
    patient: Callable[..., Patient],
) -> None:
    """Start at 10, best 6: a twentieth of the way is 0.2."""

    def series(val: list[float], train: list[float]) -> list[dict[str, Any]]:
        # "loss" is both a metric of the validation and a field of Vitals, so the rule is called directly
        rule, spoke = FewSamples(patient()), []
        for epoch, (v, t) in enumerate(zip(val, train, strict=True), start=1):
            vitals = Vitals(epoch=epoch, steps=100, val={"loss": v, "mse": v}, start=10.0, loss=t)
            spoke += [epoch] if rule.judge_validation(vitals) else []
        return spoke

    best = [8.0, 7.0, 6.0]
    falls = [8.0, 7.0, 6.0, 5.5, 5.0, 4.5, 4.0, 3.5, 3.0]
    assert series([*best, *[6.3] * 6], falls) == [9]
    assert series([*best, *[6.1] * 6], falls) == []
    assert series([*best, *[6.3] * 6], [*best, *[6.2] * 6]) == []
    assert series([*best, 6.3, 6.3, 6.3, 6.3, 6.0, 6.3], falls) == []


def test_over_fitting_of_few_samples_is_put_down_to_their_number(
    patient: Callable[..., Patient],
) -> None:
    few, many = FewSamples(patient()), Overfitting(patient())
    losses = [(8.0, 8.0), (6.0, 6.0), *[(6.5, 4.0)] * 5]
    for epoch, (v, t) in enumerate(losses, start=1):
        vitals = Vitals(epoch=epoch, steps=100, val={"loss": v, "mse": v}, start=10.0, loss=t)
        few.judge_validation(vitals)
        many.judge_validation(vitals)
    assert many.build_finding() is None
    finding = few.build_finding()
    assert finding is not None
    assert finding.seen == (
        "over-fitting, as 1,437 training images are few: after epoch 2, the best, the validation loss rose "
        "from 6 to 6.5 nats, while the training loss fell from 6 to 4.0938. More data helps most"
    )
    assert (
        finding.remedy == "optimizer.lr=0.00033"
    )  # digits that are flipped and shifted help no others
    for words in (("network.start=random",), ("optimizer.lr=1e-4",)):
        assert FewSamples(patient(*words)).suggest_remedy() is None


def test_a_finding_whose_symptom_went_away_is_withdrawn(patient: Callable[..., Patient]) -> None:
    """Its numbers stay as they were reported."""
    rule = SaturatedUnits(patient("network.activation=sigmoid"))
    shares = [0.95, 0.95, 0.96, 0.5, 0.5, 0.97, 0.5, 0.5]

    def judge(share: float, epoch: int) -> bool:
        told = frozenset() if rule.spoke is None else frozenset({rule.name})
        vitals = Vitals(epoch, epoch * 100, {}, saturated={"units": share}, reported=told)
        return rule.judge_validation(vitals)

    assert [judge(share, epoch) for epoch, share in enumerate(shares, 1)].index(True) == 2
    rule.review(card_of(), epoch=8, steps=800)
    finding = rule.build_finding()
    assert finding is not None  # two healthy validations are too few
    assert finding.seen.startswith("96% of the sigmoid units")
    judge(0.5, 9)
    rule.review(card_of(), epoch=9, steps=900)
    assert rule.build_finding() is None


@pytest.mark.parametrize(
    "name", ["columns of different scales", "one active unit", "a rate a thousand times too low"]
)
def test_obeying_the_doctor_helps(aeframe: Command, tmp_path: Path, name: str) -> None:
    sick = SICK[name]
    files(tmp_path)
    words = (*SHORT, *(word.format(folder=tmp_path) for word in sick.words))
    status, out, err = aeframe(*words)
    assert (status, err) == (0, "")
    before = read_run(out, tmp_path)
    assert before.command is not None
    python, script, *told = shlex.split(before.command)
    assert (python, script) == ("python", "train.py")
    assert any(word.startswith(sick.remedy) for word in told)
    status, out, err = aeframe(*told)
    assert (status, err) == (0, "")
    assert is_better(sick, before, read_run(out, tmp_path))


def test_one_command_is_suggested_at_the_end(aeframe: Command, tmp_path: Path) -> None:
    """It is the doctor's, or else to train longer, while the error falls."""
    linear, short = SICK["one linear layer each way"], SICK["a training that is cut short"]
    status, out, err = aeframe(*SHORT, *linear.words, "hydra.run.dir=linear")
    assert (status, err) == (0, "")
    (line,) = (line for line in out.splitlines() if line.startswith("Doctor: "))
    assert line.endswith(" network=mlp")
    assert "Train longer:" not in out
    status, out, err = aeframe(*SHORT, *short.words, "hydra.run.dir=short")
    assert (status, err) == (0, "")
    assert find_command(out) == "python train.py resume=short trainer.max_epochs=12"
    (line,) = (line for line in out.splitlines() if line.startswith("Doctor: "))
    assert line.endswith("after 6 epochs; it still falls.")


# ---------------------------------------------------------------------------------------- the final card


def card_of(pca: Baseline | None = None, check: CopyCheck | None = None, **metrics: float) -> Card:
    """The card of a run that errs by 0.003, where the mean image errs by 0.07."""
    mean = Baseline("mean image", 0.07, 11.5)
    passed = CopyCheck(0.003, 0.05, 0.05, 0.07, 0.07, 100)
    measured = {"mse": 0.003, "psnr": 25.0, **metrics}
    return Card(measured, [mean, *([pca] if pca else [])], check or passed, 16, 100, 100)


PCA = Baseline("PCA, 16 components", 0.0025, 26.0)
MLP = ("network=mlp",)
RANDOM = "; it began with random weights"


@pytest.mark.parametrize(
    ("words", "improves", "remedy", "seen"),
    [
        ((), True, "trainer.max_epochs=178", "after 1 epoch; it still falls"),
        ((*MLP, "network.tied=true"), True, "trainer.max_epochs=178", "; it still falls"),
        ((*MLP, "network.start=random"), True, "network.start=pca", RANDOM),
        (("network=conv", "network.start=random"), False, "network.start=pca", RANDOM),
        ((*MLP, "network.tied=true"), False, "network.widths=[512]", "; it no longer falls"),
        (
            (*MLP, "network.tied=true", "network.widths=[64]"),
            False,
            "optimizer.lr=0.00033",
            "; it no longer falls",
        ),
        (
            ("optimizer.lr=0.01",),
            False,
            "optimizer.lr=0.001",
            "after 1 epoch; the learning rate of 0.01 is high",
        ),
        (
            ("network=linear",),
            True,
            "network=mlp",
            "; a network of linear layers can only equal PCA",
        ),
        (("++trainer.max_steps=450",), True, "trainer.max_steps=900", "; it still falls"),
    ],
    ids=["falls", "tied", "random", "conv", "layers", "one layer", "rate", "linear", "steps"],
)
def test_longer_training_is_advised_where_the_error_still_falls(
    patient: Callable[..., Patient], words: tuple[str, ...], improves: bool, remedy: str, seen: str
) -> None:
    """A run of one epoch counts if it has steps enough."""
    one = patient(*words)
    (found,) = find_in_card(card_of(PCA), one, 1, 450, improves, others=False)
    assert (found.rule, found.remedy) == ("pca", remedy)
    assert found.seen.endswith(seen)
    assert found.longer == remedy.startswith("trainer.")
    assert not list(find_in_card(card_of(PCA), one, 1, 450, improves, others=True))
    assert not list(find_in_card(card_of(PCA), one, 1, 90, improves, others=False))  # too few steps
    better = replace(PCA, mse=0.0031)
    assert not list(find_in_card(card_of(better), one, 20, 900, improves, others=False))


def test_few_samples_are_named_where_a_network_that_began_as_pca_ends_no_better(
    patient: Callable[..., Patient],
) -> None:
    (found,) = find_in_card(card_of(PCA), patient(), 20, 900, False, others=False)
    assert found.seen.endswith("; 1,437 training images are few. More data helps most")
    assert found.remedy == "optimizer.lr=0.00033"
    tie = replace(PCA, mse=0.00296)
    assert not list(find_in_card(card_of(tie), patient(), 20, 900, False, others=False))


def test_hidden_layers_are_no_advice_for_fewer_samples_than_values(
    patient: Callable[..., Patient], tmp_path: Path
) -> None:
    for values, remedy in ((40, None), (20, "network=mlp")):
        file = tmp_path / f"{values}.npy"
        np.save(file, np.random.default_rng(0).normal(size=(40, values)))
        data = ("dataset=array", f"dataset.path={file}", "model.latent_dim=4")
        linear = patient(*data, "network=linear")
        (found,) = find_in_card(card_of(PCA), linear, 20, 900, False, others=False)
        assert found.remedy == remedy
        assert ("too few for hidden layers" in found.seen) == (remedy is None)


def test_a_network_that_copies_short_samples_is_tightened_step_by_step(
    patient: Callable[..., Patient], tmp_path: Path
) -> None:
    """The sizes pass the check on tables. The number of active units is that of the note at the start."""
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(40, 12)))
    data = ("dataset=array", f"dataset.path={tmp_path / 'x.npy'}")
    copies = card_of(PCA, CopyCheck(0.1, 0.3, 0.3, 1.0, 1.0, 100))
    remedies = {
        ("model=denoising",): "model.latent_dim=6",
        ("model=denoising", "model.latent_dim=6"): "model.latent_dim=3",
        ("model=sparse", "constraint.topk.k=16"): "constraint.topk.k=3",
        ("model=sparse", "constraint.topk.k=8"): "constraint.topk.k=3",
        ("model=sparse", "constraint.topk.k=4"): "constraint.topk.k=2",
    }
    for words, remedy in remedies.items():
        one = patient(*data, *words)
        (found,) = find_in_card(copies, one, 20, 900, False, others=False)
        assert (found.rule, found.remedy) == ("copying", remedy)


def test_a_noise_that_hides_the_data_is_told(patient: Callable[..., Patient]) -> None:
    """A variational model is compared with PCA only where a likelihood with less noise can be chosen."""
    variational = "model=variational"
    card = card_of(PCA, active_units=4.0)
    (found,) = find_in_card(card, patient(variational), 20, 900, False, others=False)
    assert (found.rule, found.remedy) == ("pca", "likelihood=gaussian")
    assert found.seen.endswith("keeps little: 4 of 16 code units are active")
    fixed = patient(variational, "likelihood=gaussian", "likelihood.variance=1.0")
    (found,) = find_in_card(card, fixed, 20, 900, False, others=False)
    assert found.remedy == "likelihood.variance=optimal"
    measured = patient(variational, "likelihood=gaussian")
    assert not list(find_in_card(card, measured, 20, 900, False, others=False))
    collapsed = Collapse(patient(variational))
    assert collapsed.suggest_remedy() == "likelihood=gaussian"


def test_the_doctors_advice_is_the_command_to_train_on(compose: Compose) -> None:
    cfg = compose()
    one = doctor_of(build(cfg)).patient
    (found,) = find_in_card(card_of(PCA), one, 20, 900, improves=True, others=False)
    ended = {"epochs": 20, "steps": 900, "until": {"reached": None}}
    ended["ended_by"] = ["trainer.max_epochs"]
    train_on = list_next_commands(one.node, ended, Path("run"), compresses=False)["Train longer"]
    assert train_on.endswith(f"resume=run {found.remedy}")
    assert found.format_for_end(train_on).endswith(f"; it still falls. Try: {train_on}")
    assert found.format_for_end(None) == f"Doctor: {found.seen}."


def test_a_denoising_run_is_compared_from_corrupted_samples(
    patient: Callable[..., Patient],
) -> None:
    one = patient("model=denoising", "optimized_metric=val/denoised_mse")
    worse = replace(PCA, denoised_mse=0.01, denoised_psnr=20.0)
    assert not list(
        find_in_card(card_of(worse, denoised_mse=0.008), one, 20, 900, True, others=False)
    )
    (found,) = find_in_card(card_of(worse, denoised_mse=0.012), one, 20, 900, True, others=False)
    assert "the error of 0.012 per pixel is no better than that of PCA" in found.seen


def test_a_tie_with_pca_is_told_with_its_standard_error(patient: Callable[..., Patient]) -> None:
    one = patient()
    seen = list[str]()
    for error in (PCA.mse, PCA.mse / 100):
        card = card_of(PCA, mse=PCA.mse * 1.1, mse_standard_error=error)
        (found,) = find_in_card(card, one, 20, 900, True, others=False)
        seen.append(found.seen)
    assert ["within the standard error of this test split" in text for text in seen] == [
        True,
        False,
    ]


def test_drowned_columns_of_a_likelihood_with_a_fixed_range_need_both_keys(
    patient: Callable[..., Patient],
) -> None:
    one = patient("model=variational", "likelihood=bernoulli", "dataset.normalization=unit")
    drowned = CopyCheck(0.95, 0.95, 1.0, 1.0, 1.0, 100, columns=20, learned=1)
    (found,) = find_in_card(card_of(PCA, drowned), one, 20, 900, True, others=False)
    assert found.remedy == "likelihood=gaussian dataset.normalization=standard"


def test_columns_that_drown_are_told_instead_of_copying(patient: Callable[..., Patient]) -> None:
    one = patient("dataset.normalization=unit")
    drowned = CopyCheck(0.95, 0.95, 1.0, 1.0, 1.0, 100, columns=20, learned=1)
    (found,) = find_in_card(card_of(PCA, drowned), one, 20, 900, True, others=False)
    assert (found.rule, found.remedy) == ("spreads", "dataset.normalization=standard")
    assert found.seen.startswith("1 of 20 columns are learned")
    doctor = Doctor(one, Signs([], lambda: None, lambda trainer: 0.0), on=True)
    rate = next(rule for rule in doctor.rules if isinstance(rule, LearningRate))
    rate.spoke, rate.since = 7, 7  # of which the spreads are the cause
    trainer: Any = SimpleNamespace(current_epoch=20, global_step=900, loggers=[])
    nothing = replace(drowned, learned=0)
    (found,) = doctor.read(card_of(PCA, nothing, mse=0.08), trainer, best_step=900)
    assert found.rule == "spreads"


def test_a_short_run_is_told_what_its_card_shows(patient: Callable[..., Patient]) -> None:
    """Two thirds of the units are dead after one epoch, in which no rule has spoken."""
    rule = DeadUnits(patient("model=sparse", "model.latent_dim=1024"))
    short = card_of(dead=0.68, l0=16.0)
    rule.review(short, epoch=1, steps=90)
    assert rule.build_finding() is None
    rule.review(short, epoch=1, steps=422)
    finding = rule.build_finding()
    assert finding is not None
    assert finding.seen == ("68% of 1024 code units are dead: no training sample activates them")
    collapse = Collapse(patient("model=variational"))
    collapse.review(card_of(active_units=2.0), epoch=1, steps=422)
    finding = collapse.build_finding()
    assert finding is not None
    assert finding.seen.endswith("code units carry no information about the input")


def test_findings_that_the_card_contradicts_are_withdrawn(patient: Callable[..., Patient]) -> None:
    """The best checkpoint errs by 0.003 where the mean image errs by 0.07."""

    def spoken(kind: type[Rule], *words: str, **values: float) -> Rule:
        rule = kind(patient(*words))
        vars(rule).update({"since": 6, "spoke": 7, **values})
        return rule

    worse, nothing = (
        spoken(LearningRate, explained=-0.4, is_worse=1),
        spoken(MeanImage, explained=0.01),
    )
    dead = spoken(DeadUnits, "model=sparse", dead=0.7)
    for rule in (worse, nothing, dead):
        assert rule.build_finding() is not None
        rule.review(card_of(dead=0.1, l0=16.0), epoch=9, steps=900)
        assert rule.build_finding() is None
    still = {"mse": 0.08, "dead": 0.7, "l0": 16.0}
    jumps = spoken(LearningRate, explained=0.8, fell=3)
    for rule in (
        spoken(LearningRate, explained=-0.4, is_worse=1),
        spoken(MeanImage, explained=0.01),
        spoken(DeadUnits, "model=sparse", dead=0.7),
        jumps,
    ):
        rule.review(card_of(**still), epoch=9, steps=900)
        assert rule.build_finding() is not None
    jumps.review(card_of(), epoch=9, steps=900)
    assert jumps.build_finding() is not None  # which no card contradicts


# ------------------------------------------------------------------------------------------ overrides


def test_an_override_is_written_as_it_is_typed() -> None:
    warmup = {"schedule": "warmup", "value": 1.0, "epochs": 5}
    written = "model.beta='{schedule: warmup, value: 1, epochs: 5}'"
    assert str(Override("model.beta", warmup)) == written
    assert str(Override("constraint", ["topk", "auxk"])) == "constraint=[topk,auxk]"
    assert str(Override("optimizer.lr", 1e-5)) == "optimizer.lr=1e-05"
    assert str(Override("dataset.in_memory", True)) == "dataset.in_memory=true"


def test_overrides_that_the_check_refuses_are_not_suggested(
    patient: Callable[..., Patient],
) -> None:
    sparse = patient("model=sparse", "model.latent_dim=1024")
    overrides = [
        Override("model.beta", 1.0),  # a sparse model has none
        Override("constraint", ["topk", "jump_relu"]),  # each decides alone
        Override("model.latent_dim", 1024),  # as it is
        Override("constraint.l1.weight", 0.1),  # not chosen
        Override("constraint", ["topk", "auxk"]),
    ]
    assert find_valid(sparse.node, overrides) == overrides[-1]
    assert find_valid(sparse.node, overrides[:-1]) is None
    deep = patient("model=sparse", "network=mlp")
    assert find_valid(deep.node, [overrides[-1]]) is None  # auxk needs a linear decoder
    rule = DeadUnits(deep)
    rule.dead, rule.spoke = 0.6, 3
    assert rule.build_finding() is not None
    assert rule.suggest_remedy() == "constraint=[topk,resampling]"


def test_a_key_is_scaled_as_its_type_is_and_what_ends_training_is_made_longer(
    patient: Callable[..., Patient],
) -> None:
    size = "model.latent_dim=1024"
    typed = patient("model=sparse", size, "constraint=[topk,l1]", "constraint.l1.weight=1")
    assert str(typed.suggest_scaled("constraint.l1.weight", 0.1)) == "constraint.l1.weight=0.1"
    assert str(typed.suggest_scaled("model.latent_dim", 1 / 3)) == "model.latent_dim=341"
    assert str(typed.suggest_scaled("constraint.topk.k", 0.5)) == "constraint.topk.k=8"
    assert str(typed.suggest_scaled("optimizer.lr", 1 / 3)) == "optimizer.lr=0.00033"
    assert (
        typed.suggest_scaled("scheduler.max_lr", 2)
        is typed.suggest_scaled("model._target_", 2)
        is None
    )
    assert str(typed.suggest_longer()) == "trainer.max_epochs=178"
    assert str(patient("++trainer.max_steps=150").suggest_longer()) == "trainer.max_steps=300"


def test_saturation_is_found_in_a_compiled_network_too(compose: Compose) -> None:
    built = build(
        compose(
            "network.activation=tanh",
            "trainer.compile=true",
            "network.widths=[32]",
            "network.start=random",
        )
    )
    patient, model = doctor_of(built).patient, built.net.eval().model
    for layer in (model.encoder[1], model.decoder.reader):
        layer.weight.data *= 1e3
    wanted = measure_saturation(patient)
    assert wanted["units"] > 0.9
    model.write_code = torch.compile(model.write_code, backend="eager")
    model.decoder.compile(backend="eager")
    with torch.no_grad():
        built.net.reconstruct(patient.data.peek("val", SAMPLES, built.net.normalization))
    assert measure_saturation(patient) == wanted


def test_without_a_remedy_it_is_told_all_the_same() -> None:
    assert str(Finding("x", 1, "something is odd", None)) == "Doctor: something is odd."
