"""Whether a checkpoint fits the run that is to go on from it: nothing of it is used before that is known.

What a checkpoint holds decides what optimizers and loops do, and their fast forms trust it: they would write
beyond a tensor that is too small.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from aeframe.core.errors import UserError, short
from aeframe.core.plain import is_count, mapping
from aeframe.runs.checkpoint import LEFT, MOST_BACK, Saved, state_in
from aeframe.runs.layout import BEST, CHECKPOINTS, LAST, PREVIOUS
from aeframe.runs.structure import (
    UnfitError,
    as_floats,
    check_like,
    check_tensor,
    is_number,
    same_keys,
    with_floats,
)
from aeframe.training.divergence import PLANNED, RATES
from aeframe.training.learning_rates import CYCLED, lengths_in
from aeframe.training.module import AutoencoderModule

COUNTED = (
    *("last_epoch", "_step_count", "_last_lr", "best", "num_bad_epochs", "cooldown_counter"),
    *("T_cur", "T_i", "_get_lr_called_within_step", "_is_initial"),
)
"""What they count; all else of their state is their options, but for PLANNED of a run that went back."""
YOUNGER = ("decoupled_weight_decay", "stopping_reason", "stopping_reason_message")
"""What older releases of torch and Lightning did not save, and newer ones do without."""
HISTORY = (
    *("func_evals", "n_iter", "d", "t", "old_dirs", "old_stps", "ro", "H_diag", "al"),
    *("prev_flat_grad", "prev_loss"),
)
"""What LBFGS keeps."""
LONGEST = 10_000
"""Of its lists."""
TEXTS = (
    *("monitor", "dirpath", "best_model_path", "kth_best_model_path", "last_model_path"),
    "stopping_reason_message",
)
"""What callbacks save that is text. Paths are not heeded."""

MEASURED = "Doctor"
"""The callback that saves numbers of any kind, where others count."""


def check_fits(saved: Saved, module: AutoencoderModule, trainer: pl.Trainer) -> None:
    """Raise UserError where one of the checkpoints in the run's folder is not of this run.

    module, trainer: as they are before training.
    """
    for file in (saved.folder / CHECKPOINTS / name for name in (LAST, PREVIOUS, BEST)):
        if not file.exists():  # not every run has written all of them
            continue
        try:
            state = state_in(file)
            if file.name == BEST:
                _check(state, _weights_alone(trainer, module), module)
                continue
            _check(state, _whole(trainer, module), module)
            _check_training(state, module, trainer)
        except UnfitError as error:
            raise UserError(str(file), f"is no checkpoint of this run ({error})", LEFT) from None
        except UserError as error:
            if file.name != BEST:
                raise
            remedy = "Delete it to go on without it: the best is then looked for anew."
            raise UserError(str(file), error.problems[0].what, remedy) from None
        if not _is_same_data(state["data"], module.data.as_dict()):
            what = f"is not the data that the run in {saved.folder} was begun with"
            raise UserError("dataset", what, "Give that, unchanged, or start a new run.")


def _is_same_data(saved: Any, now: Mapping[str, Any]) -> bool:
    """Compare what two runs know of their data. Older ones did not keep all of it."""
    saved = mapping(saved)
    lacking = now.keys() - saved.keys()
    if "normalization" in lacking:  # its range was found by other rules
        lacking |= {"low", "high", "extent"}
    known = {key: value for key, value in now.items() if key not in lacking}
    return "digest" in known and {key: saved[key] for key in known} == known


def _weights_alone(trainer: pl.Trainer, module: AutoencoderModule) -> dict[str, Any]:
    """What a checkpoint of weights alone looks like."""
    return {
        "epoch": 0,
        "global_step": 0,
        "pytorch-lightning_version": "",
        "state_dict": dict(module.state_dict()),
        "loops": trainer._checkpoint_connector._get_loops_state_dict(),
        "hparams_name": "",
        "hyper_parameters": {},
        "callback_metrics": {},
        "guard": {},
        "data": {},
    }


def _whole(trainer: pl.Trainer, module: AutoencoderModule) -> dict[str, Any]:
    """What one looks like from which training goes on."""
    plugin = trainer.precision_plugin
    return {
        **_weights_alone(trainer, module),
        "callbacks": {c.state_key: s for c in trainer.callbacks if (s := c.state_dict())},  # type: ignore[attr-defined]
        "optimizer_states": [],
        "lr_schedulers": [],
        **({type(plugin).__qualname__: scaler} if (scaler := plugin.state_dict()) else {}),
    }


def _check(state: dict[str, Any], like: dict[str, Any], module: AutoencoderModule) -> None:
    same_keys(like, state, "it")
    version = state["pytorch-lightning_version"]
    if not isinstance(version, str) or not re.fullmatch(r"2\.\d+(\.\w+)*", version):
        raise UnfitError("it is of another Lightning's")
    if isinstance(weights := state["state_dict"], dict):
        state["state_dict"] = with_floats(weights, like["state_dict"])
    for key in ("epoch", "global_step", "state_dict", "loops"):
        check_like(like[key], state[key], key)
    _check_weights(state["state_dict"], module)
    same_keys(module.guard.state_dict(), state["guard"], "guard")
    first, back = state["guard"]["first"], state["guard"]["back"]
    if not isinstance(first, float | None) or not is_count(back) or back > MOST_BACK:
        raise UnfitError("guard")
    metrics = state["callback_metrics"]
    if not isinstance(metrics, dict) or not all(
        isinstance(name, str) and isinstance(value, float) for name, value in metrics.items()
    ):
        raise UnfitError("callback_metrics")


def _check_training(state: dict[str, Any], module: AutoencoderModule, trainer: pl.Trainer) -> None:
    """What training alone needs."""
    like = _whole(trainer, module)
    _check_callbacks(like["callbacks"], state["callbacks"])
    went_back = state["guard"]["back"] > 0
    _check_optimizer(state["optimizer_states"], state["lr_schedulers"], module, went_back)
    if (plugin := type(trainer.precision_plugin).__qualname__) in like:
        check_like(like[plugin], state[plugin], plugin)
    _check_counts(state)


def _check_weights(state: Mapping[str, Tensor], module: AutoencoderModule) -> None:
    """What computes with a weight that is no number gives no numbers, and training then tells of its rate."""
    trained = dict(module.named_parameters())
    for name, value in state.items():
        exact = name in trained or "normalization" in name or name.endswith("_extra_state")
        bad = value.is_floating_point() and bool(
            (~value.isfinite() if exact else value.isnan()).any()
        )
        if bad:
            raise UnfitError(f"{name} is not finite")


def _check_counts(state: Mapping[str, Any]) -> None:
    """All counts come from the same steps."""
    fit = state["loops"]["fit_loop"]
    steps = fit["epoch_loop.automatic_optimization.optim_progress"]["optimizer"]["step"]
    if steps["total"]["completed"] != state["global_step"]:
        raise UnfitError("it counts steps in two ways")
    if fit["epoch_progress"]["current"]["processed"] != state["epoch"]:
        raise UnfitError("it counts epochs in two ways")
    batches = fit["epoch_loop.batch_progress"]
    if batches["current"]["ready"] > batches["total"]["ready"]:
        raise UnfitError("it counts batches in two ways")


def _check_callbacks(like: Mapping[str, Mapping[str, Any]], found: Any) -> None:
    same_keys(like, found, "callbacks")
    for name, state in like.items():
        kind = name.partition("{")[0]
        same_keys(state, found[name], kind, YOUNGER)
        for key, value in found[name].items():
            where = f"{kind}.{key}"
            if kind == MEASURED:
                if not (is_number(value) or value is state[key] is None):
                    raise UnfitError(f"{where} is no number")
                continue
            if isinstance(value, dict):  # of scores by file, which Best takes from its folder
                continue
            if isinstance(value, Tensor):
                check_tensor(torch.zeros(()), value.float(), where)
            elif isinstance(value, str) and key not in TEXTS:
                raise UnfitError(f"{where} is no number")
            elif not isinstance(value, str | None) and not is_count(value):
                raise UnfitError(f"{where} is no count")
        if found[name].get("stopping_reason", 0) not in range(5):
            raise UnfitError(f"{kind}.stopping_reason")


def _check_optimizer(
    states: Any, schedules: Any, module: AutoencoderModule, went_back: bool
) -> None:
    weights = [p for p in module.net.parameters() if p.requires_grad]
    counted, cycled = (*COUNTED, *PLANNED * went_back), (*CYCLED, *RATES * went_back)
    optimizer, scheduler = module.optimizer_and_schedule(weights)
    if not isinstance(schedules, list) or len(schedules) != int(scheduler is not None):
        raise UnfitError("lr_schedulers")
    for found in schedules:  # as long as it was, which training may since be told not to be
        lengths = lengths_in(found, scheduler.state_dict())
        _, scheduler = module.optimizer_and_schedule(weights, lengths)
        _check_options(scheduler.state_dict(), found, "lr_schedulers", counted)
    if not isinstance(states, list) or len(states) != 1:
        raise UnfitError("optimizer_states")
    same_keys({"state": {}, "param_groups": []}, states[0], "optimizer_states")
    groups, known = states[0]["param_groups"], optimizer.state_dict()["param_groups"]
    if not isinstance(groups, list) or len(groups) != len(known):
        raise UnfitError("optimizer_states.param_groups")
    for options, found in zip(known, groups, strict=True):
        _check_options(options, found, "optimizer_states.param_groups", cycled)
    _check_moments(states[0]["state"], weights, module)


def _check_options(like: dict[str, Any], found: Any, where: str, change: Sequence[str]) -> None:
    """The options that the configuration gives, but for those that change: of these the kind."""
    same_keys(like, found, where, YOUNGER)
    for key, value in found.items():
        if _are_tables(like[key]):  # of the schedulers that one is made of
            if not _are_tables(value) or len(value) != len(like[key]):
                raise UnfitError(f"{where}.{key}")
            for number, (inner, other) in enumerate(zip(like[key], value, strict=True)):
                _check_options(inner, other, f"{where}.{key}.{number}", change)
        elif key in change:
            check_like(as_floats(like[key]), value, f"{where}.{key}")
        elif value != like[key] or type(value) is not type(like[key]):
            raise UnfitError(f"{where}.{key} is {short(value, 60)}, not {short(like[key], 60)}")


def _are_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, dict) for v in value)


def _check_moments(found: Any, weights: list[nn.Parameter], module: AutoencoderModule) -> None:
    """What the optimizer keeps of each weight is of the kind that a first step on it makes."""
    if not isinstance(found, dict) or not all(key in range(len(weights)) for key in found):
        raise UnfitError("optimizer_states.state")
    if module.optimizer_and_schedule(weights)[0].__class__ is torch.optim.LBFGS:
        _check_history(found, sum(weight.numel() for weight in weights))
        return
    known: dict[torch.Size, dict[str, Any]] = {}
    for number, state in found.items():
        shape = weights[number].shape
        if shape not in known:
            trial = nn.Parameter(torch.zeros(shape))
            trial.grad = torch.zeros(shape)
            optimizer, _ = module.optimizer_and_schedule([trial])
            optimizer.step(lambda: 0.0)
            known[shape] = dict(optimizer.state[trial])
        where = f"optimizer_states.state.{number}"
        same_keys(known[shape], state, where)
        for key, value in known[shape].items():
            check_like(value, state[key], f"{where}.{key}")
            if key == "step" and getattr(value, "dtype", None) != getattr(
                state[key], "dtype", None
            ):
                raise UnfitError(f"{where}.{key} is of another type")


def _check_history(found: dict[Any, Any], size: int) -> None:
    """What LBFGS keeps: numbers and gradients of all weights together, which grow with the steps."""
    for key, value in (pair for state in found.values() for pair in mapping(state).items()):
        where = f"optimizer_states.state.{short(key, 60)}"
        if key not in HISTORY or (isinstance(value, list) and len(value) > LONGEST):
            raise UnfitError(where)
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, Tensor):
                check_tensor(torch.zeros(size if part.dim() else ()), part, where)
            elif isinstance(part, bool) or not isinstance(part, int | float | None):
                raise UnfitError(f"{where} is no number")
