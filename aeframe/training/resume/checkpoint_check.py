"""Check that a checkpoint belongs to this run: its keys, shapes, configuration and data.

`weights_only=True` keeps foreign code out. This check keeps out other networks, optimizers and data, and
tensors that are too small: fused optimizers would read beyond them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from aeframe.config.optimizer_checks import FLAT
from aeframe.core.errors import UserError, shorten
from aeframe.core.plain import as_mapping, flatten, is_count
from aeframe.runs.checkpoint import LEFT, MOST_BACK, Saved, load_state
from aeframe.runs.layout import BEST, CHECKPOINTS, LAST, PREVIOUS
from aeframe.runs.saved_network import convert_old_counts
from aeframe.training.divergence import PLANNED, RATES
from aeframe.training.learning_rates import CYCLED, find_lengths
from aeframe.training.module import AutoencoderModule

VARYING = (
    *CYCLED,
    *("last_epoch", "_step_count", "_last_lr", "best", "num_bad_epochs", "cooldown_counter"),
    *("T_cur", "T_i", "_get_lr_called_within_step", "_is_initial"),
)
"""Keys of optimizers and schedulers whose values change in training; all others are configuration."""
LOWERED = (*RATES, *PLANNED)
"""Keys of optimizers and schedulers whose values also change if a run went back."""
SCORES = ("best_model_score", "current_score")
"""Keys of callbacks that are None until the first validation, and then a tensor."""
MEASURED = ("Doctor", "Timer")
"""Callbacks that save numbers of any kind; the others save counts."""
OPTIONAL = ("decoupled_weight_decay", "stopping_reason", "stopping_reason_message")
"""Keys that older releases of torch and Lightning did not save, and newer ones do without."""
GROWING = ("callbacks.Doctor", "callbacks.Dashboard")
"""Mappings to which later versions add keys."""
UNREAD = ("best_k_models", "stopping_reason_message")
"""Keys of callbacks that are not used."""


class UnfitError(Exception):
    """Reason why a checkpoint does not belong to a run."""


def check_fits(saved: Saved, module: AutoencoderModule, trainer: pl.Trainer) -> None:
    """Raise UserError if a checkpoint in the run's folder does not belong to the run.

    module, trainer: as they are before training.
    """
    for file in (saved.folder / CHECKPOINTS / name for name in (LAST, PREVIOUS, BEST)):
        if not file.exists():  # a run may not have written all of them
            continue
        try:
            state = load_state(file)
            _check(state, module, trainer, is_best=file.name == BEST)
        except UnfitError as error:
            raise UserError(str(file), f"is not a checkpoint of this run ({error})", LEFT) from None
        except UserError as error:
            if file.name != BEST:
                raise
            remedy = "Delete it to resume without it."
            raise UserError(str(file), error.problems[0].what, remedy) from None
        if file.name != BEST and not _is_same_data(state["data"], module.data.as_dict()):
            what = f"is not the data of the run in {saved.folder}"
            raise UserError("dataset", what, "Use the original data, or start a new run.")


def _is_same_data(saved: Any, now: Mapping[str, Any]) -> bool:
    """Compare the saved description of the data with the present one. Older runs saved less."""
    saved = as_mapping(saved)
    lacking = {*(now.keys() - saved.keys()), "classes"}  # which are never trained on
    if "normalization" in lacking:  # its range was computed differently
        lacking |= {"low", "high", "extent"}
    known = {key: value for key, value in now.items() if key not in lacking}
    return "digest" in known and {key: saved[key] for key in known} == known


def _check(
    state: dict[str, Any], module: AutoencoderModule, trainer: pl.Trainer, *, is_best: bool
) -> None:
    """Check the state of a whole checkpoint, or of the best one, which holds weights alone."""
    loops = ("fit_loop", "validate_loop", "test_loop", "predict_loop")
    like: dict[str, Any] = {
        "epoch": 0,
        "global_step": 0,
        "state_dict": dict(module.state_dict()),
        "loops": {name: getattr(trainer, name).state_dict() for name in loops},
        "guard": module.guard.state_dict(),
    }
    free = {"pytorch-lightning_version", "hparams_name", "hyper_parameters"}
    free |= {"callback_metrics", "data"}
    if not is_best:
        plugin = trainer.precision_plugin
        kept = {c.state_key: s for c in trainer.callbacks if (s := c.state_dict())}  # type: ignore[attr-defined]
        like["callbacks"] = kept | {k: _as_floats(s) for k, s in kept.items() if k in MEASURED}
        like |= {type(plugin).__qualname__: s} if (s := plugin.state_dict()) else {}
        free |= {"optimizer_states", "lr_schedulers"}
    check_keys(like | dict.fromkeys(free), state, "it")
    if isinstance(weights := state["state_dict"], dict):
        state["state_dict"] = convert_old_counts(weights, like["state_dict"])
    for key, value in like.items():
        check_like(value, state[key], key, is_late=key in ("callbacks", "guard"))
    _check_values(state, dict(module.named_parameters()))
    if not is_best:
        varying = VARYING + LOWERED * (state["guard"]["back"] > 0)
        _check_optimizer(state["optimizer_states"], state["lr_schedulers"], module, varying)


def _check_values(state: Mapping[str, Any], trained: Mapping[str, Tensor]) -> None:
    """Check versions, weights, metrics and counts, which types and shapes do not cover."""
    version, metrics = state["pytorch-lightning_version"], state["callback_metrics"]
    if not isinstance(version, str) or not re.fullmatch(r"2\.\d+(\.\w+)*", version):
        raise UnfitError("it is of another version of Lightning")
    for name, value in state["state_dict"].items():
        exact = name in trained or "normalization" in name or name.endswith("_extra_state")
        if not bool((value.isfinite() if exact else ~value.isnan()).all()):
            raise UnfitError(f"{name} is not finite")
    if not isinstance(metrics, dict) or not all(isinstance(v, float) for v in metrics.values()):
        raise UnfitError("callback_metrics holds other values than numbers")
    for name, kept in state.get("callbacks", {}).items():
        if name not in MEASURED and any(isinstance(value, float) for value in kept.values()):
            raise UnfitError(f"{name} holds fractions")
        if kept.get("stopping_reason", 0) not in range(5):  # Lightning's reasons
            raise UnfitError(f"{name}.stopping_reason is {kept['stopping_reason']}")
    fit = state["loops"]["fit_loop"]
    steps = fit["epoch_loop.automatic_optimization.optim_progress"]["optimizer"]["step"]
    batches = fit["epoch_loop.batch_progress"]
    counts = (v for _, v in flatten(state["loops"]) if not isinstance(v, bool | Mapping))
    if (
        steps["total"]["completed"] != state["global_step"]
        or fit["epoch_progress"]["current"]["processed"] != state["epoch"]
        or batches["current"]["ready"] > batches["total"]["ready"]
        or state["guard"]["back"] > MOST_BACK
        or not all(map(is_count, counts))
    ):
        raise UnfitError("its counts contradict each other")


def _check_optimizer(
    states: Any, schedules: Any, module: AutoencoderModule, varying: Collection[str]
) -> None:
    """Check the options of optimizer and scheduler, and what the optimizer keeps of each weight."""
    weights = [p for p in module.net.parameters() if p.requires_grad]
    optimizer, scheduler = module.make_optimizer(weights)
    if not isinstance(schedules, list) or len(schedules) != int(scheduler is not None):
        raise UnfitError("lr_schedulers holds other schedulers")
    if scheduler is not None:  # of the saved length, which may be changed
        lengths = find_lengths(schedules[0], scheduler.state_dict())
        _, scheduler = module.make_optimizer(weights, lengths)
        check_like(scheduler.state_dict(), schedules[0], "lr_schedulers", varying=varying)
    like = optimizer.state_dict()
    if not isinstance(states, list) or len(states) != 1:
        raise UnfitError("optimizer_states holds other optimizers")
    check_keys(like, states[0], "optimizer_states")
    groups, found = states[0]["param_groups"], states[0]["state"]
    check_like(like["param_groups"], groups, "optimizer_states.param_groups", varying=varying)
    if not isinstance(found, dict) or not all(key in range(len(weights)) for key in found):
        raise UnfitError("optimizer_states.state is of other weights")
    if isinstance(optimizer, FLAT):
        for state in found.values():
            check_history(state, sum(w.numel() for w in weights), groups[0]["history_size"])
        return
    first: dict[torch.Size, dict[str, Any]] = {}
    for number, state in found.items():
        shape = weights[number].shape
        if shape not in first:
            first[shape] = _make_first_state(shape, module)
        where = f"optimizer_states.state.{number}"
        check_like(first[shape], state, where)
        step, saved = first[shape].get("step"), state.get("step")
        if isinstance(step, Tensor) and saved.dtype != step.dtype:  # float16 counts to 2048 only
            raise UnfitError(f"{where}.step is {saved.dtype}, not {step.dtype}")


def check_history(state: Any, size: int, longest: int) -> None:
    """Check the state of LBFGS: counts, numbers, and gradients of all weights together.

    size: the number of weights. longest: the length to which its lists grow.
    """
    where = "optimizer_states.state"
    kept = dict(as_mapping(state))
    buffer = kept.pop("al", [None] * longest)  # its values are never read
    like: dict[str, Any] = {"func_evals": 0, "n_iter": 0}
    if "d" in kept:  # else no step found a gradient
        vector, number, past = torch.zeros(size), torch.zeros(()), kept.get("ro")
        length = min(len(past), longest) if isinstance(past, list) else 0
        like |= {"d": vector, "prev_flat_grad": vector, "ro": [number] * length}
        like |= dict.fromkeys(("old_dirs", "old_stps"), [vector] * length)
        for key in ("t", "H_diag", "prev_loss"):
            like[key] = number if isinstance(kept.get(key), Tensor) else 0.0
    check_like(like, kept, where)
    is_buffer = isinstance(buffer, list) and len(buffer) == longest
    if not is_buffer or ("d" not in kept and kept["n_iter"] != 0):
        raise UnfitError(f"{where} is not that of LBFGS")


def _make_first_state(shape: torch.Size, module: AutoencoderModule) -> dict[str, Any]:
    """Return the optimizer's state of a weight of this shape after one step."""
    weight = nn.Parameter(torch.zeros(shape))
    weight.grad = torch.zeros(shape)
    optimizer, _ = module.make_optimizer([weight])
    optimizer.step(lambda: 0.0)
    return dict(optimizer.state[weight])


def check_keys(like: Mapping[str, Any], found: Any, where: str) -> None:
    """Raise UnfitError unless a mapping has the keys of another, except those in OPTIONAL and GROWING."""
    if not isinstance(found, dict):
        raise UnfitError(f"{where} is not a mapping")
    if odd := [key for key in found if key not in like]:
        raise UnfitError(f"{where} holds {shorten(odd[0], 60)}")
    missing = [key for key in like if key not in found and key not in OPTIONAL]
    if missing and where not in GROWING:
        raise UnfitError(f"{where} has no {missing[0]}")


def check_like(
    like: Any,
    found: Any,
    where: str,
    *,
    varying: Collection[str] | None = None,
    is_late: bool = False,
) -> None:
    """Raise UnfitError unless a value has the keys, shapes and types of another.

    varying: if given, values must be equal, too, except those of these keys, which may be fractions.
    is_late: None may become a number, and a tensor in SCORES.
    """
    if isinstance(like, Tensor):
        _check_tensor(like, found, where)
    elif isinstance(like, Mapping):
        check_keys(like, found, where)
        for key in (key for key in found if key not in UNREAD):
            place, value = f"{where}.{key}", like[key]
            if is_late and key in SCORES and isinstance(found[key], Tensor):
                value = torch.zeros(())
            if varying is not None and key in varying:
                check_like(_as_floats(value), found[key], place)
            else:
                check_like(value, found[key], place, varying=varying, is_late=is_late)
    elif isinstance(like, list | tuple):
        if not isinstance(found, list | tuple) or len(found) != len(like):
            raise UnfitError(f"{where} is not a list of {len(like)}")
        for i, value in enumerate(like):
            check_like(value, found[i], f"{where}.{i}", varying=varying, is_late=is_late)
    else:
        is_same = type(found) is type(like) and found == like
        if not is_same and (varying is not None or not _is_alike(like, found, is_late=is_late)):
            raise UnfitError(f"{where} is {shorten(found, 60)}, not {shorten(like, 60)}")


def _is_alike(like: Any, found: Any, *, is_late: bool) -> bool:
    """Compare the types of two plain values."""
    if isinstance(like, bool | str) or (like is None and not is_late):
        return type(found) is type(like)
    if isinstance(like, int):
        return is_count(found)
    if isinstance(found, int) and not isinstance(found, bool):
        return abs(found) < 2**63
    return (isinstance(found, float) and not math.isnan(found)) or found is like is None


def _as_floats(value: Any) -> Any:
    """Replace counts by floats where values may become fractions."""
    if isinstance(value, Mapping):
        return {key: _as_floats(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_as_floats(inner) for inner in value]
    return float(value) if type(value) is int else value


def _check_tensor(like: Tensor, found: Any, where: str) -> None:
    """Raise UnfitError unless a tensor has the shape and kind of another, in memory of its own."""
    if not isinstance(found, Tensor) or found.layout != torch.strided or found.is_quantized:
        raise UnfitError(f"{where} is not a tensor of numbers")
    floats = found.is_floating_point() and like.is_floating_point()
    if found.shape != like.shape or (found.dtype != like.dtype and not floats):
        raise UnfitError(
            f"{where} is {found.dtype} {list(found.shape)}, not {like.dtype} {list(like.shape)}"
        )
    is_whole = (
        found.is_contiguous()
        or (found.dim() == 4 and found.is_contiguous(memory_format=torch.channels_last))
        or (found.dim() == 2 and found.t().is_contiguous())  # stored unit by unit
    )
    if found.device.type != "cpu" or not is_whole:
        raise UnfitError(f"{where} has no memory of its own")
