"""A run's folder from a stranger runs no code, reads no environment and writes nowhere but in itself."""
# ruff: noqa: E501 (tables keep each case on one line)

from __future__ import annotations

import json
import logging
import os
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from aeframe.config.targets import resolve
from aeframe.monitoring import event_files as events
from aeframe.runs.foreign_files import FILES, FOLDERS, PATTERNS
from tests.support.runs import TWO, contents

Command = Callable[..., tuple[int, str, str]]
State = dict[str, Any]
NAMED = ("resume=run",)
AUTO = (*TWO, "hydra.run.dir=run", "resume=auto")
both = pytest.mark.parametrize("how", [NAMED, AUTO], ids=["named", "auto"])


class Shell:
    """Object whose pickle calls os.system."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch owned",)


def changed(folder: Path, change: Callable[[State], Any], name: str = "last") -> None:
    """Let a checkpoint of the folder say something else."""
    file = folder / "checkpoints" / f"{name}.ckpt"
    state = torch.load(file, weights_only=True)
    change(state)
    torch.save(state, file)


def refused(aeframe: Command, root: Path, *words: str) -> str:
    """The one line with which the command ends, with nothing changed on the disk."""
    before = contents(root)
    status, _, err = aeframe(*words)
    assert status == 2, err
    (line,) = err.splitlines()
    assert "Traceback" not in line
    hydras = ("run/train.log", "run/.lock")  # which are empty
    assert {k: v for k, v in contents(root).items() if k not in hydras} == {
        k: v for k, v in before.items() if k not in hydras
    }
    return line


# code


@both
@pytest.mark.parametrize("place", ["all", "inside", "hyper_parameters", "raw"])
def test_a_pickle_runs_nothing(
    aeframe: Command, begun: Path, tmp_path: Path, how: tuple[str, ...], place: str
) -> None:
    file = begun / "checkpoints" / "last.ckpt"
    if place == "raw":
        file.write_bytes(pickle.dumps(Shell()))
    elif place == "all":
        torch.save(Shell(), file)
    else:
        changed(begun, lambda s: s.update({place: Shell()}))
    line = refused(aeframe, tmp_path, *how)
    assert "is not a checkpoint of aeframe, or is damaged" in line
    assert not list(tmp_path.rglob("owned"))


def test_the_best_checkpoint_is_none_either(
    aeframe: Command, begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")  # that of torch, for careless code
    torch.save(Shell(), begun / "checkpoints" / "best.ckpt")
    assert "best.ckpt: is not a" in refused(aeframe, tmp_path, "resume=run")
    assert not list(tmp_path.rglob("owned"))


@pytest.mark.parametrize(
    "target",
    [
        *("os.system", "builtins.eval", "subprocess.Popen", "torch.load", "torch.hub.load"),
        *("torch.optim.swa_utils.AveragedModel", "torch.optim.adam.Adam", "torch.optim.os.system"),
        *("aeframe.__main__.main", "aeframe.cli.main.main", "aeframe.cli.sweep.SweepTable", "aeframe.cli.main"),
        *("aeframe.conf.x", "aeframe.training.build.build", "aeframe.training.run.run", "aeframe.data.os"),
        *("aeframe.modelsx.Sparse", "aeframe.models.autoencoder.nn.Linear", "aeframe", "", ".", "..", "aeframe.data."),
        *("aeframe.models..Sparse", "aeframe.models.sparse.nn", "aeframe.data.datamodule.torch", "torch.optim."),
        *("aeframe.constraints.", "aeframe.networks/../cli.main", "torch.optim.lr_scheduler.math"),
    ],
)  # fmt: skip
def test_only_classes_that_a_configuration_needs_can_be_named(target: str) -> None:
    with pytest.raises(ValueError, match=r"only classes of torch\.optim|no such class"):
        resolve(target)


def test_a_name_imports_nothing_that_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise AssertionError(f"{name} was imported")

    monkeypatch.setattr("importlib.import_module", fail)
    for target in (
        "aeframe.__main__.main",
        "aeframe.cli.main.main",
        "torch.hub.load",
        "antigravity.x",
    ):
        with pytest.raises(ValueError, match="only classes of"):
            resolve(target)


def at(state: State, path: str) -> tuple[Any, Any]:
    """The innermost container of a place such as loops|fit_loop|epoch_progress, and its last key."""
    *outer, last = [int(key) if key.isdigit() else key for key in path.split("|")]
    for key in outer:
        state = state[key]
    return state, last


def put(path: str, value: Any) -> Callable[[State], None]:
    def change(state: State) -> None:
        inner, key = at(state, path)
        inner[key] = value

    return change


def without(path: str) -> Callable[[State], None]:
    def change(state: State) -> None:
        inner, key = at(state, path)
        del inner[key]

    return change


HYPER = "hyper_parameters"
OTHER_CLASSES: list[tuple[str, Any]] = [
    (f"{HYPER}|model|_target_", "os.system"),
    (f"{HYPER}|model|_target_", "aeframe.__main__.main"),
    (f"{HYPER}|optimizer|_target_", "torch.hub.load"),
    (f"{HYPER}|optimizer|_target_", "torch.optim.lr_scheduler.StepLR"),
    (f"{HYPER}|dataset|_target_", "aeframe.cli.main.main"),
    (f"{HYPER}|network", {"_target_": "builtins.exec", "code": "1"}),
    (f"{HYPER}|constraint|bottleneck|_target_", "os.system"),
    (f"{HYPER}|constraint", {"x": {"_target_": "subprocess.run", "args": ["touch", "owned"]}}),
    (f"{HYPER}|scheduler", {"_target_": "os.system", "command": "touch owned"}),
    (f"{HYPER}|until", {"_target_": "os.system"}),
    (f"{HYPER}|hydra", {"callbacks": {"x": {"_target_": "os.system"}}}),
]


@pytest.mark.parametrize(("path", "value"), OTHER_CLASSES, ids=lambda v: str(v)[:40])
def test_a_saved_configuration_calls_no_other_class(
    aeframe: Command, begun: Path, tmp_path: Path, path: str, value: Any
) -> None:
    changed(begun, put(path, value))
    before = contents(tmp_path)
    status, _, err = aeframe("resume=run")
    assert status == 2
    assert "Traceback" not in err
    assert contents(tmp_path) == before


SECRETS: list[Callable[[State], None]] = [
    put(f"{HYPER}|model|latent_dim", "${oc.env:SECRET}"),
    put(f"{HYPER}|optimized_metric", "${oc.env:SECRET}"),
    put(f"{HYPER}|dataset|${{oc.env:SECRET}}", 1),
    put(f"{HYPER}|${{oc.env:SECRET}}", 1),
    put(f"{HYPER}|network|widths", [8, "${oc.env:SECRET}"]),
    put(f"{HYPER}|constraint|bottleneck|x", {"y": [{"${oc.env:SECRET}": 1}]}),
    put(f"{HYPER}|resume", "x${oc.env:SECRET}"),
    put(f"{HYPER}|model|latent_dim", "${run_folder:owned,a,b}"),
    put(f"{HYPER}|model|latent_dim", "\\${oc.env:SECRET}"),
    put(f"{HYPER}|model|latent_dim", "${oc.create:${oc.env:SECRET}}"),
]


@both
@pytest.mark.parametrize("change", SECRETS)
def test_no_environment_is_read(
    aeframe: Command, begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    how: tuple[str, ...], change: Callable[[State], None],
) -> None:  # fmt: skip
    monkeypatch.setenv("SECRET", "4711")
    changed(begun, change)
    line = refused(aeframe, tmp_path, *how)
    assert "which no run saves" in line
    assert "4711" not in line


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


LAUGHS: Any = [0]
for _ in range(40):  # 2 ** 40 values, in a few bytes
    LAUGHS = [LAUGHS, LAUGHS]
FIT = "loops|fit_loop"
GROUP = "optimizer_states|0|param_groups|0"
MOMENT = "optimizer_states|0|state|0"
BEST = "callbacks|Best{'monitor': 'val/mse', 'mode': 'min', 'every_n_train_steps': 0, 'every_n_epochs': 1, 'train_time_interval': None}"
STOP = "callbacks|EarlyStopping{'monitor': 'val/mse', 'mode': 'min'}"
ENCODER = "state_dict|net.model.encoder.1.weight"
NONSENSE: dict[str, Callable[[State], None]] = {
    # the configuration
    "no configuration": without(HYPER),
    "a list for it": put(HYPER, []),
    "a tensor in it": put(f"{HYPER}|seed", torch.zeros(2)),
    "a set in it": put(f"{HYPER}|seed", {1}),
    "a tuple in it": put(f"{HYPER}|network|widths", (8,)),
    "an ordered one": put(f"{HYPER}|network", OrderedDict(a=OrderedDict(b=torch.zeros(1)))),
    "bytes in it": put(f"{HYPER}|optimized_metric", b"val/mse"),
    "a number as a key": put(f"{HYPER}|model", {1: 2}),
    "a whole number too large": put(f"{HYPER}|model|latent_dim", 10**400),
    "a huge code": put(f"{HYPER}|model|latent_dim", 2**62),
    "a huge layer": put(f"{HYPER}|network|widths", [2**62, 2**62]),
    "too deep": put(f"{HYPER}|model|x", deep(100)),
    "too many": put(f"{HYPER}|network|widths", [8] * 20_000),
    "laughs": put(f"{HYPER}|network|widths", LAUGHS),
    "a key is missing": without(f"{HYPER}|model|latent_dim"),
    "a group is missing": without(f"{HYPER}|model"),
    "nothing for a group": put(f"{HYPER}|trainer", None),
    "text for a group": put(f"{HYPER}|trainer", "x"),
    "text for a number": put(f"{HYPER}|trainer|max_epochs", "many"),
    "nan for a number": put(f"{HYPER}|optimizer|lr", float("nan")),
    "an unknown key": put(f"{HYPER}|trainer|callbacks", ["x"]),
    "another code size": put(f"{HYPER}|model|latent_dim", 9),
    "another optimizer": put(f"{HYPER}|optimizer", {"_target_": "torch.optim.SGD", "lr": 0.1}),
    "a schedule": put(f"{HYPER}|scheduler", {"_target_": "torch.optim.lr_scheduler.ExponentialLR", "gamma": 0.5}),
    # the whole
    "no epoch": without("epoch"),
    "a negative epoch": put("epoch", -1),
    "text for steps": put("global_step", "8"),
    "a truth for steps": put("global_step", True),
    "a huge number of steps": put("global_step", 2**70),
    "other steps": put("global_step", 7),
    "another epoch": put("epoch", 0),
    "no version": without("pytorch-lightning_version"),
    "no version at all": put("pytorch-lightning_version", "not a version"),
    "an old version": put("pytorch-lightning_version", "0.7.0"),
    "a number for a version": put("pytorch-lightning_version", 2.6),
    "an old key": put("native_amp_scaling_state", {"scale": "x"}),
    "a key of ours": put("MixedPrecision", {"scale": "x"}),
    "a key that is no text": put("0", 1),
    "no metrics": without("callback_metrics"),
    "text for metrics": put("callback_metrics", "x"),
    "text for a metric": put("callback_metrics|val/mse", "x"),
    "text for a guard": put("guard", "x"),
    "text for a first loss": put("guard|first", "x"),
    "no more ways back": put("guard|back", -1),
    "a share of a way back": put("guard|back", 0.5),
    "a tensor for a first loss": put("guard|first", torch.tensor(1e30)),
    # weights
    "no weights": put("state_dict", {}),
    "a list of weights": put("state_dict", [1]),
    "a weight is missing": without(ENCODER),
    "a weight too many": put("state_dict|net.other", torch.zeros(2)),
    "text for a weight": put(ENCODER, "x"),
    "a weight of another shape": put(ENCODER, torch.zeros(3, 3)),
    "a weight of whole numbers": put(ENCODER, torch.zeros(8, 64, dtype=torch.int64)),
    "a complex weight": put(ENCODER, torch.zeros(8, 64, dtype=torch.complex64)),
    "a sparse weight": put(ENCODER, torch.zeros(8, 64).to_sparse()),
    "a weight without memory": put(ENCODER, torch.zeros(8, 64, device="meta")),
    "a weight that is one number": put(ENCODER, torch.zeros(1, 1).expand(8, 64)),
    "a weight that is no number": put(ENCODER, torch.full((8, 64), torch.nan)),
    "an infinite weight": put(ENCODER, torch.full((8, 64), torch.inf)),
    "an infinite scale": put("state_dict|net.normalization.scale", torch.full((1, 8, 8), torch.inf)),
    "no clock": put("state_dict|net._extra_state", torch.zeros(0, dtype=torch.float64)),
    "a clock of no numbers": put("state_dict|net._extra_state", torch.full((2,), torch.nan, dtype=torch.float64)),
    # loops
    "no loops": without("loops"),
    "text for loops": put("loops", "x"),
    "no fit loop": without(FIT),
    "a negative count": put(f"{FIT}|epoch_loop.batch_progress|current|ready", -3),
    "text for a count": put(f"{FIT}|epoch_loop.batch_progress|current|ready", "3"),
    "a share for a count": put(f"{FIT}|epoch_progress|current|ready", 1.5),
    "a huge count": put(f"{FIT}|epoch_progress|current|completed", 10**30),
    "more batches than all": put(f"{FIT}|epoch_loop.batch_progress|current|ready", 10**6),
    "a list for counts": put(f"{FIT}|epoch_progress|current", [1, 2]),
    "a count is missing": without(f"{FIT}|epoch_progress|current|ready"),
    "an unknown loop": put("loops|other_loop", {}),
    "an unknown state": put(f"{FIT}|state_dict", {"x": 1}),
    "a number for a truth": put(f"{FIT}|epoch_loop.batch_progress|is_last_batch", 1),
    # callbacks
    "text for callbacks": put("callbacks", "x"),
    "an unknown callback": put("callbacks|Evil", {}),
    "a callback is missing": without(BEST),
    "text for a score": put(f"{BEST}|best_model_score", [1]),
    "a tensor for a step": put("callbacks|Dashboard|step", torch.zeros(())),
    "a share for an epoch": put("callbacks|Dashboard|epoch", 0.5),
    "a share for patience": put(f"{STOP}|wait_count", 0.5),
    "a large score": put(f"{BEST}|best_model_score", torch.zeros(9)),
    "a number for a path": put(f"{BEST}|best_model_path", 1.5),
    "an unknown state of a callback": put(f"{BEST}|x", 1),
    "a negative patience": put(f"{STOP}|wait_count", -1),
    "an unknown reason": put(f"{STOP}|stopping_reason", 77),
    "text for a count of a callback": put("callbacks|Dashboard|epoch", "x"),
    # the optimizer
    "no optimizer": put("optimizer_states", []),
    "two optimizers": lambda s: s["optimizer_states"].append(s["optimizer_states"][0]),
    "text for an optimizer": put("optimizer_states", "x"),
    "no groups": put("optimizer_states|0|param_groups", []),
    "another group": put(GROUP, {"params": [0]}),
    "other weights in it": put(f"{GROUP}|params", [0, 0, 0, 0]),
    "text for a rate": put(f"{GROUP}|lr", "x"),
    "a rate that is none": put(f"{GROUP}|lr", float("nan")),
    "a rate beyond all floats": put(f"{GROUP}|lr", 10**400),
    "a truth for a rate": put(f"{GROUP}|lr", True),
    "a rate of many": put(f"{GROUP}|lr", torch.zeros(3)),
    "another form": put(f"{GROUP}|fused", None),
    "a tensor for a form": put(f"{GROUP}|foreach", torch.tensor(1.0)),
    "another direction": put(f"{GROUP}|maximize", True),
    "betas of text": put(f"{GROUP}|betas", ("a", "b")),
    "three betas": put(f"{GROUP}|betas", (0.9, 0.9, 0.9)),
    "another decay": put(f"{GROUP}|weight_decay", 1e9),
    "a list for moments": put("optimizer_states|0|state", [1]),
    "moments of no weight": put("optimizer_states|0|state|99", {}),
    "a moment that is too small": put(f"{MOMENT}|exp_avg", torch.zeros(2)),
    "a moment that is one number": put(f"{MOMENT}|exp_avg", torch.zeros(1, 1).expand(8, 64)),
    "a moment of whole numbers": put(f"{MOMENT}|exp_avg", torch.zeros(8, 64, dtype=torch.int8)),
    "a moment without memory": put(f"{MOMENT}|exp_avg", torch.zeros(8, 64, device="meta")),
    "text for a moment": put(f"{MOMENT}|exp_avg", "x"),
    "a moment is missing": without(f"{MOMENT}|exp_avg_sq"),
    "steps of another type": put(f"{MOMENT}|step", torch.zeros((), dtype=torch.int64)),
    "steps that count to 2048": put(f"{MOMENT}|step", torch.zeros((), dtype=torch.float16)),
    "many steps": put(f"{MOMENT}|step", torch.zeros(5)),
    "steps that are no tensor": put(f"{MOMENT}|step", 3),
    "text for schedules": put("lr_schedulers", "x"),
    "a schedule too many": put("lr_schedulers", [{"T_max": 0}]),
}  # fmt: skip


@pytest.mark.parametrize("kind", NONSENSE)
def test_nonsense_in_a_checkpoint_is_told_before_anything_is_done_with_it(
    aeframe: Command, begun: Path, tmp_path: Path, kind: str
) -> None:
    changed(begun, NONSENSE[kind])
    before = contents(tmp_path)
    status, _, err = aeframe("resume=run")
    assert status == 2, err
    assert "Traceback" not in err
    assert 1 <= len(err.splitlines()) <= 4, err
    after = contents(tmp_path)
    assert {k: v for k, v in after.items() if k != "run/.lock"} == {
        k: v for k, v in before.items() if k != "run/.lock"
    }


@pytest.mark.parametrize("kind", ["no weights", "an infinite weight", "an old version"])
def test_nonsense_in_the_best_checkpoint_too(
    aeframe: Command, begun: Path, tmp_path: Path, kind: str
) -> None:
    changed(begun, NONSENSE[kind], "best")
    assert "best.ckpt: is not a checkpoint of this run" in refused(aeframe, tmp_path, "resume=run")


def test_the_best_checkpoint_holds_weights_alone(
    aeframe: Command, begun: Path, tmp_path: Path
) -> None:
    changed(begun, put("optimizer_states", [{"state": {}}]), "best")
    line = refused(aeframe, tmp_path, "resume=run")
    assert "best.ckpt: is not a checkpoint of this run (it holds optimizer_states)" in line


def test_a_schedule_is_that_of_the_configuration(
    aeframe: Command, begun: Path, tmp_path: Path
) -> None:
    def endless(state: State) -> None:
        state["hyper_parameters"]["scheduler"] = {
            "_target_": "torch.optim.lr_scheduler.CosineAnnealingLR", "T_max": 10
        }  # fmt: skip
        group = state["optimizer_states"][0]["param_groups"][0]
        group["initial_lr"] = 0.001
        state["lr_schedulers"] = [
            {
                "T_max": 0, "eta_min": 0.0, "base_lrs": [0.001], "last_epoch": 0, "_step_count": 1,
                "_is_initial": False, "_get_lr_called_within_step": False, "_last_lr": [0.001],
            }
        ]  # fmt: skip

    changed(begun, endless)
    line = refused(aeframe, tmp_path, "resume=run")
    assert "lr_schedulers.T_max is 0, not 10" in line


def test_a_compressed_archive_is_not_unpacked(
    aeframe: Command, begun: Path, tmp_path: Path
) -> None:
    file = begun / "checkpoints" / "last.ckpt"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("last/data.pkl", bytes(10**8))
        archive.writestr("last/version", "3")
    assert "is not a checkpoint" in refused(aeframe, tmp_path, "resume=run")


# places outside


def test_paths_in_a_checkpoint_lead_nowhere(aeframe: Command, begun: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "best.ckpt").write_bytes((begun / "checkpoints" / "best.ckpt").read_bytes())

    def climb(state: State) -> None:
        best = state["callbacks"][BEST.partition("|")[2]]
        path = str(outside / "best.ckpt")
        best |= {"dirpath": "../../outside", "best_model_path": path, "last_model_path": path}
        best |= {"kth_best_model_path": path, "best_k_models": {path: best["best_model_score"]}}

    changed(begun, climb)
    before = contents(outside)
    status, _, err = aeframe("resume=run", "trainer.max_epochs=4")
    assert (status, err) == (0, "")
    assert contents(outside) == before
    best = torch.load(begun / "checkpoints" / "best.ckpt", weights_only=True)
    assert best["epoch"] == 3


LIKE_PATTERNS = ("events.out.tfevents.9.x", "fit-profile.txt")


@both
@pytest.mark.parametrize("kind", ["link", "dangling", "pipe", "folder"])
@pytest.mark.parametrize("name", [*FOLDERS, *FILES, *LIKE_PATTERNS])
def test_only_files_are_in_the_place_of_files(
    aeframe: Command, begun: Path, tmp_path: Path, name: str, kind: str, how: tuple[str, ...]
) -> None:
    path, outside = begun / name, tmp_path / "outside"
    if kind == "folder" and name in FOLDERS:
        return
    path.parent.mkdir(exist_ok=True)  # a run without pictures has no folder for the projector
    if path.is_dir():
        path.rename(outside)
    elif path.exists():
        outside.mkdir()
        path.rename(outside / "precious")
    else:
        outside.mkdir()
        (outside / "precious").write_text("do not lose me")
    target = outside if name in FOLDERS else outside / "precious"
    if kind == "link":
        path.symlink_to(target)
    elif kind == "dangling":
        path.symlink_to(outside / "nothing")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    before = contents(outside), set(os.listdir(outside))
    status, out, err = aeframe(*how)
    assert (status, out) == (2, "")
    (line,) = err.splitlines()
    if (
        "no checkpoint to resume from" not in line
        and "a sweep cannot be resumed this way" not in line
    ):
        assert f"{name}: is " in line, line
    assert (contents(outside), set(os.listdir(outside))) == before


def test_all_that_runs_write_is_looked_at(
    aeframe: Command, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All files are checked: of a run that is done, one that went back and failed, one with a profile, a sweep, and what stays of none; and
    of all that something is logged in.
    """
    names = {"run": _names(finished), "partial": set[str]()}
    replace = Path.replace

    def replaced(self: Path, target: Path) -> Path:
        root = next(p for p in self.parents if p.parent in (tmp_path, tmp_path / "sweep"))
        names["partial"].add(str(self.relative_to(root)))
        logging.getLogger("another's").warning("a word")  # what Hydra keeps in train.log
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", replaced)
    often = (*TWO, "checkpoint.every_minutes=0", "trainer.steps_per_call=1")
    steep = "optimizer={_target_: torch.optim.SGD, lr: 0.2}"
    words = (steep, "divergence.explodes_at=1.5", "divergence.lr_factor=0.999")
    assert aeframe(*often, *words, "divergence.retries=1", "hydra.run.dir=failed")[0] == 1
    drawn = ("trainer.profiler=simple", "dashboard.images=2", "constraint=rate")
    assert aeframe(*often, *drawn, "hydra.run.dir=profiled")[0] == 0
    assert aeframe("-m", *TWO, "seed=1", "hydra.sweep.dir=sweep")[0] == 0
    for folder in (tmp_path / "failed", tmp_path / "profiled", tmp_path / "sweep"):
        names[folder.name] = _names(folder)
    assert {"diverged.json", "failed.txt", "checkpoints/last.ckpt"} <= names["failed"]
    (job,) = (p.name for p in (tmp_path / "sweep").iterdir() if p.is_dir())
    found = {name.removeprefix(f"{job}/") for some in names.values() for name in some}
    odd = {n for n in found if not any(Path(n).match(pattern) for pattern in PATTERNS)}
    older = {"hparams.yaml"}  # which runs of older versions hold
    from_python = {"given_data"}
    # see tests/monitoring/test_loggers.py
    sent = {"sent.json", ".sent.json.partial", "mlflow.db", "mlflow", "wandb"}
    assert odd - {job} == {*FOLDERS, *FILES} - older - from_python - sent


def _names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_a_run_may_be_reached_by_a_link(aeframe: Command, begun: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(begun)
    status, _, err = aeframe("resume=link")
    assert (status, err) == (0, "")


def test_a_new_run_follows_no_link_either(aeframe: Command, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "precious").write_text("do not lose me")
    (tmp_path / "run" / ".lock").symlink_to(tmp_path / "precious")
    assert ".lock: is a link" in refused(aeframe, tmp_path, *TWO, "hydra.run.dir=run")


def test_nothing_is_cut_behind_a_link(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"no events")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "events.out.tfevents.1.x").symlink_to(precious)
    os.mkfifo(tmp_path / "run" / "events.out.tfevents.2.x")
    (tmp_path / "run" / "events.out.tfevents.3.x").mkdir()
    events.truncate_events(tmp_path / "run", 0)
    assert precious.read_bytes() == b"no events"
    assert len(list((tmp_path / "run").iterdir())) == 3


@pytest.mark.parametrize(
    "content", [b"", b"no events", bytes(100), os.urandom(1000), b"\xff" * 64], ids=range(5)
)
def test_broken_events_do_no_harm(aeframe: Command, begun: Path, content: bytes) -> None:
    (begun / "events.out.tfevents.9.x").write_bytes(content)
    status, _, err = aeframe("resume=run")
    assert (status, err) == (0, "")


def test_a_metric_that_is_no_number_is_no_broken_evaluation(aeframe: Command, begun: Path) -> None:
    (begun / "evaluation.json").write_text('{"steps": 8, "optimized_metric": {"value": null}}')
    assert "has finished, after 8 steps" in aeframe("resume=run")[2]


@pytest.mark.parametrize(
    "content",
    ["", "x", "[]", "{}", "[" * 100_000, '{"steps": 8}', '{"steps": 8, "optimized_metric": 3}',
     '{"steps": 8, "optimized_metric": {"value": "x"}}',
     '{"steps": 8, "optimized_metric": {"value": 1' + "0" * 400 + "}}"],
    ids=range(9),
)  # fmt: skip
def test_a_broken_evaluation_is_made_anew(aeframe: Command, begun: Path, content: str) -> None:
    (begun / "evaluation.json").write_text(content)
    status, _, err = aeframe("resume=run")
    assert (status, err) == (0, "")
    assert json.loads((begun / "evaluation.json").read_text())["steps"] == 8


def test_files_that_hydra_wrote_are_never_read(
    aeframe: Command, begun: Path, tmp_path: Path
) -> None:
    evil = (
        "hydra: {callbacks: {x: {_target_: os.system, command: touch owned}}, run: {dir: ../owned},\n"
        "  launcher: {_target_: os.system}}\n_target_: os.system\nseed: ${oc.env:HOME}\n"
    )
    for name in ("config", "hydra", "overrides"):
        (begun / ".hydra" / f"{name}.yaml").write_text(evil)
    for how in (NAMED, AUTO):
        assert aeframe(*how)[0] in (0, 2)
    assert not list(tmp_path.rglob("owned"))


def test_data_is_neither_fetched_nor_stored_where_a_stranger_says(
    aeframe: Command, begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = list[bool]()

    def fetched(*args: Any, download: bool = False, **kwargs: Any) -> None:
        asked.append(download)
        raise RuntimeError("Dataset not found.")

    monkeypatch.setattr("torchvision.datasets.MNIST", fetched)
    (tmp_path / "home").mkdir()
    root = str(tmp_path / "home")
    for stored in ({"download": True}, {}):
        mnist = {"_target_": "aeframe.data.MNIST", "root": root, **stored}
        changed(begun, lambda s, d=mnist: s["hyper_parameters"].update(dataset=d))  # type: ignore[misc]
        line = refused(aeframe, tmp_path, "resume=run")
        assert "MNIST was not found and could not be downloaded" in line
    assert asked == [False, False]
    assert not list((tmp_path / "home").iterdir())


def test_images_are_cached_where_the_user_has_his_cache(
    aeframe: Command, begun: Path, tmp_path: Path
) -> None:
    import numpy as np
    from PIL import Image

    (tmp_path / "photos").mkdir()
    for i in range(12):
        pixels = np.full((8, 8, 3), i, np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{i}.png")
    folder = {
        "_target_": "aeframe.data.ImageFolder", "root": "photos", "size": 8, "color": "gray",
        "cache": str(tmp_path / "owned"),
    }  # fmt: skip
    changed(begun, lambda s: s["hyper_parameters"].update(dataset=folder))
    assert aeframe("resume=run")[0] in (0, 2)
    assert not (tmp_path / "owned").exists()
