"""Check that a checkpoint belongs to this run: its keys, shapes, configuration and data.

`weights_only=True` keeps foreign code out. This check keeps out other networks, optimizers and data, and
tensors that are too small: fused optimizers would read beyond them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from aeframe.config.optimizer_checks import FLAT
from aeframe.core.errors import UserError
from aeframe.core.plain import as_mapping, flatten, is_count
from aeframe.runs.checkpoint import LEFT, MOST_BACK, Saved, load_state
from aeframe.runs.layout import BEST, CHECKPOINTS, LAST, PREVIOUS
from aeframe.runs.saved_network import convert_old_counts
from aeframe.training.divergence import PLANNED, RATES
from aeframe.training.learning_rates import CYCLED, find_lengths
from aeframe.training.module import AutoencoderModule
from aeframe.training.resume.state_shapes import UnfitError, as_floats, check_keys, check_like

VARYING = (
    *CYCLED,
    *("last_epoch", "_step_count", "_last_lr", "best", "num_bad_epochs", "cooldown_counter"),
    *("T_cur", "T_i", "_get_lr_called_within_step", "_is_initial"),
)
"""Keys of optimizers and schedulers whose values change in training; all others are configuration."""
LOWERED = (*RATES, *PLANNED)
"""Keys of optimizers and schedulers whose values also change if a run went back."""
WHERE = ("in memory", "from their files")
UNTRAINED = ("classes", "usual", "axes")
"""Parts of the data's description that are for pictures alone."""
MEASURED = ("Doctor", "Timer")
"""Callbacks that save numbers of any kind; the others save counts."""


def check_fits(
    saved: Saved, module: AutoencoderModule, trainer: pl.Trainer, added: Sequence[pl.Callback] = ()
) -> None:
    """Raise UserError if a checkpoint in the run's folder does not belong to the run.

    module, trainer: as they are before training. added: the callbacks of plug-ins, whose state may be any
    plain data.
    """
    ours = [c for c in trainer.callbacks if c not in added]  # type: ignore[attr-defined]
    theirs = {callback.state_key for callback in added}
    for file in (saved.folder / CHECKPOINTS / name for name in (LAST, PREVIOUS, BEST)):
        if not file.exists():  # a run may not have written all of them
            continue
        try:
            state = load_state(file)
            _drop_states(state, theirs)
            _check(state, module, trainer, ours, is_best=file.name == BEST)
        except UnfitError as error:
            raise UserError(str(file), f"is not a checkpoint of this run ({error})", LEFT) from None
        except UserError as error:
            if file.name != BEST:
                raise
            remedy = "Delete it to resume without it."
            raise UserError(str(file), error.problems[0].what, remedy) from None
        if file.name != BEST:
            _require_same_place(state["data"], module.data.splits["train"].is_streamed)
        if file.name != BEST and not _is_same_data(state["data"], module.data.as_dict()):
            what = f"is not the data of the run in {saved.folder}"
            raise UserError("dataset", what, "Use the original data, or start a new run.")


def _require_same_place(saved: Any, streamed: bool) -> None:
    """Raise UserError for rows of shards that are in memory and were not, or the other way round. Their order
    would be another. Older runs did not save it.
    """
    if as_mapping(saved).get("streamed", streamed) != streamed:
        now, before = ("reads", "kept") if streamed else ("keeps", "read")
        what = (
            f"{now} the rows {WHERE[streamed]}, where the run {before} them {WHERE[not streamed]}"
        )
        remedy = (
            "Leave it and dataset.in_memory as they were: the order of the rows depends on them."
        )
        raise UserError("dataset.memory_limit", what, remedy)


def _drop_states(state: dict[str, Any], names: Collection[str]) -> None:
    """Leave out the states of these callbacks, which only their authors can check."""
    if isinstance(kept := state.get("callbacks"), dict):
        state["callbacks"] = {name: value for name, value in kept.items() if name not in names}


def _is_same_data(saved: Any, now: Mapping[str, Any]) -> bool:
    """Compare the saved description of the data with the present one. Older runs saved less."""
    saved = as_mapping(saved)
    lacking = {*(now.keys() - saved.keys()), *UNTRAINED}
    if "normalization" in lacking:  # its range was computed differently
        lacking |= {"low", "high", "extent"}
    elif "source" in now.keys() & saved.keys():  # computed samples, whose last bits may differ
        lacking |= {"digest", "low", "high", "extent", "seen"}
    known = {key: value for key, value in now.items() if key not in lacking}
    is_identified = not known.keys().isdisjoint(("digest", "source"))
    return is_identified and {key: saved[key] for key in known} == known


def _check(
    state: dict[str, Any],
    module: AutoencoderModule,
    trainer: pl.Trainer,
    callbacks: Sequence[pl.Callback],
    *,
    is_best: bool,
) -> None:
    """Check the state of a whole checkpoint, or of the best one, which holds weights alone.

    callbacks: those whose state is checked.
    """
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
        kept = {c.state_key: s for c in callbacks if (s := c.state_dict())}
        like["callbacks"] = kept | {k: as_floats(s) for k, s in kept.items() if k in MEASURED}
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
