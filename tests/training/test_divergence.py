"""A loss that is no number, or explodes, is told with its step, term and samples; training may go back."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim import Optimizer, lr_scheduler

from aeframe.config.optimizer_checks import list_optimizer_problems
from aeframe.config.options import DivergenceOptions
from aeframe.config.torch_classes import make_scheduler
from aeframe.data.sampler import EpochBatches
from aeframe.runs.checkpoint import read_tried_steps
from aeframe.training.divergence import PLANNED, Guard
from aeframe.training.module import AutoencoderModule
from aeframe.training.resume.checkpoint_check import LOWERED, VARYING, check_history
from aeframe.training.resume.state_shapes import UnfitError, check_like
from tests.support.paces import differences, written
from tests.support.run_contents import story
from tests.support.runs import Killed

Command = Callable[..., tuple[int, str, str]]

SHORT = (
    *(
        "network.widths=[]",
        "network.start=random",
        "dataset.batch_size=128",
        "trainer.max_epochs=2",
        "evaluation.images=32",
    ),
    *("dashboard.images=0", "trainer.log_every_n_steps=1", "hydra.run.dir=run"),
)
# each step multiplies the error
STEEP = "optimizer={_target_: torch.optim.SGD, lr: 0.2}"


def test_the_message_names_step_term_and_samples(aeframe: Command, tmp_path: Path) -> None:
    status, _, err = aeframe(*SHORT, STEEP, "divergence.explodes_at=10")
    assert status == 1
    (line,) = err.splitlines()
    found = json.loads((tmp_path / "run" / "diverged.json").read_text())
    step = found["step"]
    assert (
        f"the loss exploded to {float(found['loss'].split()[2]):.3g} (the first step's was" in line
    )
    assert f"at step {step} (term: reconstruction), in a batch of samples " in line
    assert line.count("Write a lower optimizer.lr") == 1
    losses = dict(written(tmp_path / "run")["train/loss"])
    assert max(losses.values()) <= 10 * losses[0] < found["terms"]["reconstruction"]
    # every sample of that batch, by its place in the digits
    assert len(set(found["samples"])) == 128
    assert ", ".join(str(row) for row in found["samples"][:5]) in line


def test_damage_by_the_last_step_is_reported_and_not_drawn(aeframe: Command) -> None:
    words = ("trainer.max_steps=1", "optimizer.lr=1e30", "hydra.run.dir=run")
    status, _, err = aeframe(*words)
    assert status == 1
    assert "aeframe: the loss became nan at step 1, on the val split" in err


@pytest.mark.parametrize("every", ["0", "100"])
def test_training_goes_back_and_learns_more_slowly(
    aeframe: Command, tmp_path: Path, every: str
) -> None:
    """Checkpoints are written after each step, or only at the end."""
    words = (STEEP, "divergence.explodes_at=10", f"checkpoint.every_minutes={every}")
    status, out, err = aeframe(*SHORT, *words, "trainer.steps_per_call=1", "divergence.retries=9")
    assert status == 0, err
    said = [line for line in out.splitlines() if "Going back: " in line]
    assert [line.rpartition("Going back: ")[2] for line in said] == [
        f"{back + 1} of 9." for back in range(len(said))
    ]
    assert 1 <= len(said) < 9
    curves = written(tmp_path / "run")
    steps = [step for step, _ in curves["train/loss"]]
    assert steps == list(range(24))  # none twice, none missing
    rates = [rate for _, rate in curves["vitals/learning_rate"]]
    assert rates[-1] == pytest.approx(0.2 * 0.5 ** len(said))
    assert rates == pytest.approx(
        [rates[-1]] * 24
    )  # the first steps lead nowhere, and are taken anew
    last = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["guard"]["back"] == len(said)
    assert last["optimizer_states"][0]["param_groups"][0]["lr"] == pytest.approx(rates[-1])


@pytest.mark.parametrize(("often", "again"), [("0", 14), ("100", 0)])
def test_the_steps_before_the_last_good_checkpoint_are_kept(
    aeframe: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, often: str, again: int
) -> None:
    """The loss of step 15 tells of the weights that the checkpoint after 15 steps holds."""
    losses, complaint = [], Guard.find_complaint

    def late(self: Guard, loss: float) -> str | None:
        losses.append(loss)
        return "exploded" if len(losses) == 16 else complaint(self, loss)

    monkeypatch.setattr(Guard, "find_complaint", late)
    words = ("trainer.steps_per_call=1", f"checkpoint.every_minutes={often}")
    status, out, err = aeframe(*SHORT, *words, "divergence.retries=1", "optimizer.lr=0.01")
    assert status == 0, err
    assert out.count("Going back: 1 of 1") == 1
    curves = written(tmp_path / "run")
    rates = [rate for _, rate in curves["vitals/learning_rate"]]
    assert rates == pytest.approx([0.01] * again + [0.005] * (24 - again))
    assert [value for _, value in curves["train/loss"]] == pytest.approx(
        losses[:again] + losses[16:], rel=1e-6
    )


def test_after_the_last_retry_training_ends(aeframe: Command, tmp_path: Path) -> None:
    words = (STEEP, "divergence.explodes_at=10", "divergence.lr_factor=0.999")
    status, out, err = aeframe(*SHORT, *words, "divergence.retries=2")
    assert status == 1
    assert out.count("Going back: ") == 2
    assert len(err.splitlines()) == 1
    assert "the loss exploded" in err
    assert not (tmp_path / "run" / "evaluation.json").exists()


LR = {"_target_": "torch.optim.SGD", "lr": 0.2, "momentum": 0.9}
SCHEDULES: dict[str, dict[str, Any]] = {
    "StepLR": {"step_size": 5},
    "MultiStepLR": {"milestones": [4, 12]},
    "ConstantLR": {"factor": 0.3, "total_iters": 12},
    "LinearLR": {"start_factor": 0.2, "total_iters": 12},
    "ExponentialLR": {"gamma": 0.9},
    "PolynomialLR": {"total_iters": 25, "power": 2.0},
    "CosineAnnealingLR": {"T_max": 8, "eta_min": 0.03},
    "CosineAnnealingWarmRestarts": {"T_0": 4, "T_mult": 2, "eta_min": 0.03},
    "CyclicLR": {"base_lr": 0.02, "max_lr": 0.4, "step_size_up": 5, "mode": "triangular2"},
    "OneCycleLR": {"max_lr": 0.5, "total_steps": 37, "three_phase": True},
    "ReduceLROnPlateau": {"patience": 1, "factor": 0.5, "min_lr": 0.001, "eps": 2e-4},
}
TORCH = "torch.optim.lr_scheduler."
WARM_UP = {"_target_": f"{TORCH}LinearLR", "start_factor": 0.1, "total_iters": 6}
SCHEDULES |= {
    "SequentialLR": {
        "schedulers": [
            WARM_UP,
            {"_target_": f"{TORCH}CosineAnnealingLR", "T_max": 20, "eta_min": 0.03},
        ],
        "milestones": [6],
    },
    "ChainedScheduler": {
        "schedulers": [WARM_UP, {"_target_": f"{TORCH}ExponentialLR", "gamma": 0.9}]
    },
}


def planned(name: str) -> tuple[Optimizer, Any]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(2))], lr=0.2, momentum=0.9)
    return optimizer, make_scheduler({"_target_": f"{TORCH}{name}", **SCHEDULES[name]})(optimizer)


def rates_of(optimizer: Optimizer, schedule: Any, steps: int) -> list[float]:
    """The rate of each step, of a loss that never improves."""
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step(*[1.0] * isinstance(schedule, lr_scheduler.ReduceLROnPlateau))
    return found


@pytest.mark.parametrize("after", [0, 1, 7, 13])
@pytest.mark.parametrize("name", SCHEDULES)
def test_the_lower_rate_lasts_in_every_schedule(name: str, after: int) -> None:
    plain, (optimizer, schedule) = rates_of(*planned(name), 32), planned(name)
    assert rates_of(optimizer, schedule, after) == plain[:after]
    guard = Guard(DivergenceOptions(retries=3, lr_factor=0.3))
    guard.tried = (5, 0)
    guard.slow_down([optimizer], [schedule])
    expected = [rate * 0.3**2 for rate in plain[after:]]
    assert rates_of(optimizer, schedule, 32 - after) == pytest.approx(expected, rel=1e-9)
    assert len(set(plain)) > 1


@pytest.mark.parametrize("name", SCHEDULES)
def test_lower_rates_are_a_run_s_own_only_where_it_went_back(name: str) -> None:
    (_, plain), (optimizer, schedule) = planned(name), planned(name)
    guard = Guard(DivergenceOptions(retries=1))
    guard.tried = (0,)
    guard.slow_down([optimizer], [schedule])
    like, lower = plain.state_dict(), schedule.state_dict()
    varying = (*VARYING, *LOWERED)
    check_like(like, lower, "lr_schedulers", varying=varying)
    if like != lower:
        with pytest.raises(UnfitError, match=r"lr_schedulers\.[\w.]+ is .*, not "):
            check_like(like, lower, "lr_schedulers", varying=VARYING)
    for key in lower.keys() & {"eta_min", "base_lrs"}:
        value = [rate / 2 for rate in like[key]] if key == "base_lrs" else like[key] + 0.5
        with pytest.raises(UnfitError, match=rf"lr_schedulers\.{key}.* is .*, not "):
            check_like(like, {**like, key: value}, "lr_schedulers", varying=VARYING)
    for odd in (math.nan, "x", None, True, 10**400, [0.1, 0.2]):
        for key in lower.keys() & set(PLANNED):
            value = [odd] if isinstance(like[key], list) and odd != [0.1, 0.2] else odd
            with pytest.raises(UnfitError, match=rf"lr_schedulers\.{key}"):
                check_like(like, {**lower, key: value}, "lr_schedulers", varying=varying)


@pytest.mark.parametrize("name", SCHEDULES)
def test_options_of_a_schedule_are_those_of_the_configuration(name: str) -> None:
    like = planned(name)[1].state_dict()
    options = like.keys() - set(VARYING)
    assert options
    for key in options:
        with pytest.raises(UnfitError, match=rf"lr_schedulers\.{key}"):
            check_like(like, {**like, key: "x"}, "lr_schedulers", varying=VARYING)
        if isinstance(like[key], int):
            with pytest.raises(UnfitError, match=rf"lr_schedulers\.{key} is .*, not "):
                check_like(like, {**like, key: 1 + like[key]}, "lr_schedulers", varying=VARYING)


def test_rates_that_a_schedule_keeps_in_a_group_are_fixed_too() -> None:
    optimizer, _ = planned("ExponentialLR")
    like = optimizer.state_dict()["param_groups"]
    check_like(like, [{**like[0], "lr": 0.01}], "groups", varying=VARYING)
    lower = [{**like[0], "initial_lr": like[0]["initial_lr"] / 2}]
    check_like(like, lower, "groups", varying=(*VARYING, *LOWERED))
    with pytest.raises(UnfitError, match=r"groups\.0\.initial_lr is "):
        check_like(like, lower, "groups", varying=VARYING)


def lbfgs_history(steps: int) -> tuple[dict[str, Any], int]:
    """Return the state of LBFGS after steps on five weights, and the length of its lists."""
    weight = torch.nn.Parameter(torch.ones(5))
    optimizer = torch.optim.LBFGS([weight], lr=0.1, max_iter=3, history_size=4)

    def loss() -> float:
        optimizer.zero_grad()
        value = (weight**4).sum()
        value.backward()  # type: ignore[no-untyped-call]
        return float(value.detach())

    for _ in range(steps):
        optimizer.step(loss)
    return dict(optimizer.state_dict()["state"].get(0, {"func_evals": 1, "n_iter": 0})), 4


@pytest.mark.parametrize("steps", [0, 1, 2, 9])
def test_a_history_of_lbfgs_is_its_own(steps: int) -> None:
    state, longest = lbfgs_history(steps)
    check_history(state, 5, longest)


@pytest.mark.parametrize(
    ("key", "odd"),
    [
        *(("n_iter", odd) for odd in ("a", 0.5, -1, True, torch.zeros(2))),
        *(("d", odd) for odd in (torch.zeros(3), 5, None)),
        *(("old_dirs", odd) for odd in ([], [torch.zeros(3)] * 4, "x")),
        *(("ro", odd) for odd in ([], [torch.zeros(())] * 9, None)),
        *(("t", "x"), ("H_diag", torch.zeros(2)), ("prev_loss", None)),
        *(
            ("al", []),
            ("al", 3),
            ("other", 1),
            ("prev_flat_grad", torch.zeros(5, dtype=torch.int8)),
        ),
    ],
)
def test_another_history_of_lbfgs_is_refused(key: str, odd: Any) -> None:
    state, longest = lbfgs_history(9)
    with pytest.raises(UnfitError, match=r"optimizer_states\.state"):
        check_history({**state, key: odd}, 5, longest)


def test_a_history_of_lbfgs_is_whole() -> None:
    state, longest = lbfgs_history(9)
    lacking = [{k: v for k, v in state.items() if k != key} for key in state if key != "al"]
    for odd in (5, None, {}, {"func_evals": 1, "n_iter": 3}, *lacking):
        with pytest.raises(UnfitError, match=r"optimizer_states\.state"):
            check_history(odd, 5, longest)


def test_no_other_schedule_of_torch_is_taken() -> None:
    """The other schedules are made of functions; a new one in torch needs a decision."""
    others: dict[str, dict[str, Any]] = {
        "LambdaLR": {"lr_lambda": "x"},
        "MultiplicativeLR": {"lr_lambda": "x"},
        "LRScheduler": {},
    }
    assert set(lr_scheduler.__all__) == {*SCHEDULES, *others}
    for name, options in {**SCHEDULES, **others}.items():
        node = {"_target_": f"torch.optim.lr_scheduler.{name}", **options}
        assert bool(list_optimizer_problems(LR, node, {})) == (name in others), name


@pytest.mark.parametrize("name", ["ExponentialLR", "OneCycleLR", "CyclicLR", "SequentialLR"])
def test_a_run_with_a_schedule_goes_on_with_the_lower_rate(
    aeframe: Command, tmp_path: Path, name: str
) -> None:
    """A later process does so too: it has to take the checkpoint's rates for its own."""
    node = {**SCHEDULES[name], "_target_": f"torch.optim.lr_scheduler.{name}", "interval": "step"}
    steep = "optimizer={_target_: torch.optim.SGD, lr: 0.2, momentum: 0.9}"
    words = (steep, "scheduler=" + json.dumps(node).replace('"', ""), "divergence.retries=20")
    status, out, err = aeframe(*SHORT, *words, "divergence.explodes_at=10")
    assert status == 0, err
    factor = 0.5 ** out.count("Going back: ")
    assert factor < 1
    plain = rates_of(*planned(name), 36)
    for epochs in (2, 3):
        # sorted: files of one second are read in the order of their names
        rates = [rate for _, rate in sorted(written(tmp_path / "run")["vitals/learning_rate"])]
        assert rates == pytest.approx([rate * factor for rate in plain[: 12 * epochs]], rel=1e-6)
        if epochs == 2:
            status, out, err = aeframe("resume=run", "trainer.max_epochs=3")
            assert (status, "Going back" in out, err) == (0, False, "")


def test_a_run_that_went_back_goes_on_with_its_rate(aeframe: Command, tmp_path: Path) -> None:
    words = (STEEP, "divergence.explodes_at=10", "divergence.retries=9")
    status, out, _ = aeframe(*SHORT, *words)
    assert status == 0
    status, more, err = aeframe("resume=run", "trainer.max_epochs=3")
    assert status == 0, err
    assert "Going back" not in more
    rates = [rate for _, rate in written(tmp_path / "run")["vitals/learning_rate"]]
    assert len(rates) == 36
    assert rates == pytest.approx([0.2 * 0.5 ** out.count("Going back: ")] * 36)


DIVERGING = (STEEP, "divergence.explodes_at=10", "resume=auto", "checkpoint.every_minutes=0")


def test_a_run_has_its_retries_once(aeframe: Command, tmp_path: Path) -> None:
    """However often it is started."""
    words = (*SHORT, *DIVERGING, "trainer.steps_per_call=1", "divergence.lr_factor=0.999")
    for retries, more in ((2, 2), (2, 0), (3, 1), (0, 0)):
        status, out, err = aeframe(*words, f"divergence.retries={retries}")
        assert status == 1
        assert "the loss exploded" in err
        assert out.count("Going back: ") == more
        assert not more or f"Going back: {retries} of {retries}." in out
        tried = json.loads((tmp_path / "run" / "diverged.json").read_text())["went_back_to"]
        assert len(tried) == (retries or 3)
        assert read_tried_steps(tmp_path / "run") == tuple(tried)


def test_files_of_an_attempt_are_no_result_of_the_next(aeframe: Command, tmp_path: Path) -> None:
    words = (*SHORT, "resume=auto", "optimizer={_target_: torch.optim.SGD}")
    assert aeframe(*words, "optimizer.lr=1e30")[0] == 1
    assert (tmp_path / "run" / "diverged.json").exists()
    assert aeframe(*words, "optimizer.lr=1e-6")[0] == 0
    assert not (tmp_path / "run" / "diverged.json").exists()


@pytest.mark.parametrize("calls", [1, 2, 3])
def test_a_kill_right_after_going_back_changes_nothing(
    aeframe: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: int
) -> None:
    """A kill comes with or without a new checkpoint: the run resumes the good one, at the lower rate."""
    words = (*SHORT, *DIVERGING, "trainer.steps_per_call=1", "divergence.retries=9")
    status, out, err = aeframe(*words)
    assert status == 0, err
    backs, whole = out.count("Going back: "), story(tmp_path / "run")
    assert backs > 1
    shutil.rmtree(tmp_path / "run")
    loss, slow_down = AutoencoderModule.compute_loss, Guard.slow_down
    left = [0]

    def slows(self: Guard, *args: Any) -> None:
        slow_down(self, *args)
        left[0] = calls if self.back == 2 else 0

    def dies(self: AutoencoderModule, *args: Any) -> Any:
        left[0] -= 1
        if left[0] == 0:
            raise Killed
        return loss(self, *args)

    monkeypatch.setattr(Guard, "slow_down", slows)
    monkeypatch.setattr(AutoencoderModule, "compute_loss", dies)
    with pytest.raises(Killed):
        aeframe(*words)
    monkeypatch.setattr(Guard, "slow_down", slow_down)
    monkeypatch.setattr(AutoencoderModule, "compute_loss", loss)
    status, out, err = aeframe(*words)
    assert status == 0, err
    assert out.count("Going back: ") == backs  # of both
    assert [text[:200] for text in differences(whole, story(tmp_path / "run"))] == []


@pytest.mark.parametrize(
    "text",
    ["", "x", "[]", "3", "{}", "[" * 100_000, '{"went_back_to": 3}', '{"went_back_to": ["x"]}',
     '{"went_back_to": [-1]}', '{"went_back_to": [true]}', '{"went_back_to": [0.5]}',
     json.dumps({"went_back_to": [0] * 1001})],
    ids=range(12),
)  # fmt: skip
def test_files_that_no_run_wrote_name_no_retries(tmp_path: Path, text: str) -> None:
    (tmp_path / "diverged.json").write_text(text)
    assert read_tried_steps(tmp_path) == ()


def test_a_checkpoint_knows_how_often_where_the_file_is_gone() -> None:
    guard = Guard(DivergenceOptions(retries=3))
    guard.load_state_dict({"first": 1.0, "back": 2})
    assert (guard.back, guard.may_go_back, guard.applied) == (2, True, 2)


def test_a_gpu_tells_of_steps_that_nobody_looked_at(
    aeframe: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GPU waits only for logged losses: any earlier one may have been the first."""
    monkeypatch.setattr(AutoencoderModule, "checks_each_loss", False)
    complaint, losses = Guard.find_complaint, list[float]()

    def late(self: Guard, loss: float) -> str | None:
        losses.append(loss)
        return "exploded" if len(losses) in (3, 6) else complaint(self, loss)

    monkeypatch.setattr(Guard, "find_complaint", late)
    words = (*SHORT, *DIVERGING[2:], "divergence.retries=1", "trainer.steps_per_call=1")
    status, out, err = aeframe(*words, "trainer.log_every_n_steps=6")
    assert status == 1
    assert losses[0] > losses[1] > losses[2]  # of steps 0, 5 and 11: the first is always looked at
    assert "exploded at step 11, or up to 5 before it (term: reconstruction), in a batch of" in err
    assert "... (diverged.json has all; those of step 11). Write" in err
    assert "Going back: 1 of 1" in out
    found = json.loads((tmp_path / "run" / "diverged.json").read_text())
    assert (found["step"], found["unseen_steps_before"]) == (11, 5)
    assert found["went_back_to"] == [
        0
    ]  # the checkpoints of the steps right before may hold bad weights


def test_an_explosion_is_a_multiple_of_the_first_loss() -> None:
    guard = Guard(DivergenceOptions(explodes_at=100))
    assert guard.find_complaint(5.0) is None
    assert guard.find_complaint(500.0) is None
    assert guard.find_complaint(501.0) == "exploded to 501 (the first step's was 5)"
    assert guard.find_complaint(math.nan) == "became nan"
    assert guard.find_complaint(-math.inf) == "became -inf"
    assert guard.find_complaint(-1e9) is None  # a likelihood may be as good as it likes
    small = Guard(DivergenceOptions(explodes_at=100))
    assert small.find_complaint(0.001) is None
    assert small.find_complaint(99.0) is None  # of a loss near 0 any other is a large multiple
    image = Guard(DivergenceOptions(explodes_at=100), elements=784)
    assert image.find_complaint(0.001) is None
    assert image.find_complaint(78_400.0) is None
    assert image.find_complaint(78_401.0) == "exploded to 7.84e+04 (the first step's was 0.001)"


def test_the_samples_are_those_of_the_sampler() -> None:
    batches = list(EpochBatches(10, 4, seed=1, training=True, shuffle=True))
    assert sorted(int(i) for share in batches for i in share.positions) == list(range(10))


def test_several_processes_do_not_go_back(aeframe: Command) -> None:
    status, _, err = aeframe("hardware=ddp_cpu", "divergence.retries=1")
    assert status == 2
    assert err == (
        "aeframe: divergence.retries: retries need a single process. "
        "Write divergence.retries=0, hardware=cpu or hardware=gpu.\n"
    )
