"""Warm start: first weights and normalization of a trained network, and weights that are not trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor, nn

from aeframe.config.auto_record import AUTO
from aeframe.config.options import WarmStart
from aeframe.config.targets import get_options
from aeframe.constraints.constrained import ConstrainedAutoencoder
from aeframe.core.errors import Problem, UserError
from aeframe.core.plain import as_mapping
from aeframe.data.normalization.normalization_fit import Kept
from aeframe.data.normalization.rank_normalization import build_saved
from aeframe.data.normalization.spread import Kind
from aeframe.models import Autoencoder
from aeframe.runs.checkpoint import Saved, load_state
from aeframe.runs.model import Model
from aeframe.runs.model_file import load
from aeframe.training.stack import Stack, make_stack

WHERE = "init_from.run"
SAME = 1e-3
"""Share of the code by which a stack may differ from its runs, from rounding."""
NORMALIZATIONS = ("normalization.", "target_normalization.")
NAMED = 4
"""Names of weights that a line lists at most."""


@dataclass(frozen=True)
class Start:
    """First weights and normalization of a run. weights: by name. sizes: of the layers. stack: of runs.
    kept_target: the normalization of targets beside the samples. model, options: the run's own model.

    A run that resumes has neither weights nor a stack.
    """

    run: str
    identity: str
    kept: Kept | None
    weights: Mapping[str, Tensor]
    sizes: tuple[int, ...] = ()
    stack: Stack | None = None
    kept_target: Kept | None = None
    model: type[Autoencoder] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


def read_start(options: WarmStart, saved: Saved | None) -> Start | None:
    """Read the network of a warm start, or None without one.

    saved: the checkpoint from which the run resumes: its normalization stays, and the trained network is no
    longer needed. Raises UserError for a run that cannot be loaded, or is another than `identity`.
    """
    if not options.runs:
        return None
    name, keeps = ", ".join(options.runs), options.normalization == "keep"
    if saved is not None:
        kept = _read_kept(saved, "") if keeps else None
        goal = _read_kept(saved, "target_") if keeps else None
        return Start(name, options.identity or "", kept, {}, kept_target=goal)
    models = [_load(run) for run in options.runs]
    stack = make_stack(models, options.runs) if isinstance(options.run, list) else None
    model = models[0]
    identity = model.identity if stack is None else stack.identity
    if options.identity not in (None, "auto", identity):
        what = "is another network than init_from.identity says"
        raise UserError(f"{WHERE}={name}", what, "Write init_from.identity=auto.")
    kept, goal, data = None, None, model.description.data
    if keeps and data.normalization is not None:
        kept = Kept(deepcopy(model.net.normalization).float().train(), data.normalization)
    if keeps and data.target is not None and data.target.normalization is not None:
        written = deepcopy(model.net.written_normalization).float().train()
        goal = Kept(written, data.target.normalization)
    if stack is not None:
        return Start(name, identity, kept, {}, stack=stack)
    state = model.net.state_dict()
    weights = {key: value for key, value in state.items() if not key.startswith(NORMALIZATIONS)}
    sizes = _list_sizes(model.net.model)
    own, given = model.net.model, get_options(as_mapping(model.description.config["model"]))
    chosen = {k: v for k, v in given.items() if v != AUTO} | {"latent_dim": own.latent_dim}
    return Start(name, identity, kept, weights, sizes, None, goal, type(own), chosen)


def _load(run: str) -> Model:
    try:
        model = load(run)
    except UserError as error:
        (problem, *_) = error.problems
        remedy = problem.remedy or "Write the folder of a finished run."
        raise UserError(f"{WHERE}={run}", problem.what, remedy) from error
    model.require_decoder(WHERE)
    return model


def _read_kept(saved: Saved, prefix: Literal["", "target_"]) -> Kept | None:
    """Read the normalization of a run that resumes from its checkpoint. prefix: of samples or targets."""
    state = load_state(saved.checkpoint)
    data = as_mapping(state.get("data"))
    kind = (as_mapping(data.get("target")) if prefix else data).get("normalization")
    own = f"net.{prefix}normalization."
    weights = {
        name.removeprefix(own): value
        for name, value in as_mapping(state.get("state_dict")).items()
        if name.startswith(own) and isinstance(value, Tensor)
    }
    normalization = build_saved(weights) if kind in get_args(Kind) else None
    return None if normalization is None else Kept(normalization, cast(Kind, kind))


def require_same_kind(start: Start | None, wanted: str) -> None:
    """Raise UserError for dataset.normalization that differs from the one to be kept."""
    if start is None or start.kept is None or wanted in ("auto", start.kept.kind):
        return
    what = f"{start.run} has {start.kept.kind}, which its weights expect"
    remedy = "Leave it out, or write init_from.normalization=refit."
    raise UserError(f"dataset.normalization={wanted}", what, remedy)


@torch.no_grad()
def take_weights(module: nn.Module, prefix: str, weights: Mapping[str, Tensor]) -> list[str]:
    """Copy the weights whose names and shapes fit. prefix: of the names in `weights`. Returns the names."""
    taken = []
    for name, value in module.state_dict(keep_vars=True).items():
        found = weights.get(f"{prefix}{name}")
        if isinstance(value, Tensor) and found is not None and found.shape == value.shape:
            value.copy_(found)
            taken.append(f"{prefix}{name}")
    return taken


def take_stack(start: Start, model: Autoencoder, x: Tensor) -> str | None:
    """Put the layers of several runs into a network, and describe that; None without a stack.

    x: normalized samples, on which the result is compared with the runs one after another.
    """
    if start.stack is None:
        return None
    if model.written_shape != model.shape:
        what = (
            "the layers of several runs write samples, but this data has targets of another shape"
        )
        raise UserError(f"{WHERE}={start.run}", what, "Name one run, or leave dataset.target out.")
    start.stack.put_into(model)
    share = start.stack.measure_difference(model, x)
    text = f"Warm start: the layers of {start.run}."
    if share > SAME:
        text += (
            f" Its codes differ by {share:.0%} from those of the runs one after another: their codes do not "
            "pass through network.activation. For equal codes train all runs but the last with "
            "experiment=layer, and this one with network.activation=relu."
        )
    return text


def describe_start(start: Start, taken: Sequence[str], net: ConstrainedAutoencoder) -> str:
    """Describe which weights were taken, which are new, and which were left. Raises UserError for none."""
    own = [name for name in net.state_dict() if not name.startswith(NORMALIZATIONS)]
    own = [name for name in own if not name.endswith("_extra_state")]
    if all(name.startswith("model.likelihood.") for name in taken):
        here, there = (" - ".join(map(str, s)) for s in (_list_sizes(net.model), start.sizes))
        what = f"none of its weights fits: its layers are {there}, those of this network {here}"
        remedy = "Write network.widths and model.latent_dim as in that run."
        raise UserError(f"{WHERE}={start.run}", what, remedy)
    new = [name for name in own if name not in taken]
    left = [n for n in start.weights if n not in taken and not n.endswith("_extra_state")]
    parts = [f"{len(taken)} of {len(own)} tensors are those of {start.run}"]
    parts += [f"new: {_list_names(new)}"] if new else []
    parts += [f"not used: {_list_names(left)}"] if left else []
    return f"Warm start: {'; '.join(parts)}."


def _list_names(names: Sequence[str]) -> str:
    shown = ", ".join(name.removeprefix("model.") for name in names[:NAMED])
    return shown + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def _list_sizes(model: Autoencoder) -> tuple[int, ...]:
    return (model.inputs, *model.layer_sizes, model.latent_dim)


def freeze(net: ConstrainedAutoencoder, patterns: Sequence[str]) -> None:
    """Exclude weights from training. patterns: encoder, decoder, or names with wildcards.

    Raises UserError for a pattern without weights, if nothing is left to train, or where a part changes
    frozen weights in another way than by gradients.
    """
    if not patterns:
        return
    model, where = net.model, f"freeze=[{','.join(patterns)}]"
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    for pattern in patterns:
        if not any(_matches(name, pattern) for name in names):
            what = f"no weights are called {pattern}"
            raise UserError(where, what, f"There are encoder, decoder, {', '.join(names[:3])}, ...")
    for name, parameter in model.named_parameters():
        if any(_matches(name, pattern) for pattern in patterns):
            parameter.requires_grad_(False)
    problem = _find_problem(net, where)
    if problem is not None:
        raise UserError(problem.where, problem.what, problem.remedy)


def _find_problem(net: ConstrainedAutoencoder, where: str) -> Problem | None:
    if not any(parameter.requires_grad for parameter in net.parameters()):
        return Problem(where, "nothing is left to train", "Freeze fewer weights.")
    for name, part in net.parts:
        if part.changes_weights:
            what = f"constraint.{name} changes weights after each step"
            return Problem(where, what, f"Leave {name} out of constraint=[...].")
    for layer in net.modules():
        own = list(layer.parameters(recurse=False))
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) and not any(
            weight.requires_grad for weight in own
        ):
            what = "the statistics of network.norm=batch would still change"
            return Problem(where, what, "Write network.norm=layer in both runs.")
    return None


def _matches(name: str, pattern: str) -> bool:
    if pattern in ("encoder", "decoder"):
        return name.startswith(f"{pattern}.")
    return fnmatch(name, pattern)
