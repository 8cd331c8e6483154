"""The only place that turns configuration into objects."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from aeframe.callbacks import EarlyStopping, Until
from aeframe.config.pairs import Choices, pair_problems
from aeframe.config.signature import parameters, problems, unknown
from aeframe.constrained import ConstrainedAutoencoder
from aeframe.constraints import Constraint, Data
from aeframe.dashboard import Dashboard
from aeframe.data import DataModule, Source
from aeframe.errors import ConfigError, Problem
from aeframe.evaluate import Evaluation
from aeframe.likelihoods import Likelihood
from aeframe.metrics import metric_names
from aeframe.models import Autoencoder
from aeframe.module import AutoencoderModule
from aeframe.networks import Network

OBJECTS: dict[str, type] = {
    "network": Network,
    "likelihood": Likelihood,
    "dataset": Source,
    "model": Autoencoder,
}
"""Root keys whose node names a class, and what that class must be."""
PLAIN: dict[str, Any] = {
    "until": Until,
    "early_stopping": EarlyStopping,
    "dashboard": Dashboard,
    "evaluation": Evaluation,
}
"""Root keys whose node is the options of one class."""
PROVIDED = {
    "model": ("network", "likelihood", "shape"),
    "dataset": ("source", "seed"),
    "early_stopping": ("monitor", "mode"),
    "trainer": ("callbacks", "logger", "default_root_dir", "plugins", "enable_checkpointing"),
}
"""Arguments that the framework passes itself."""
ROOT = (*OBJECTS, *PLAIN, "constraint", "optimizer", "scheduler", "trainer", "hardware", "seed")
SCHEDULER_OPTIONS = ("interval", "frequency", "monitor")
LIBRARY = ("aeframe.", "torch.optim.")
"""Where classes that a configuration names may come from."""
ATTACH_SAMPLES = 2048  # training samples from which thresholds and the first output are set


@dataclass
class Parts:
    """What could be made of a configuration, and what was wrong with it."""

    found: list[Problem] = field(default_factory=list)
    made: dict[str, Any] = field(default_factory=dict)
    constraints: dict[str, Constraint] = field(default_factory=dict)
    model: type[Autoencoder] | None = None


@dataclass(frozen=True)
class Built:
    """Everything that a run needs."""

    net: ConstrainedAutoencoder
    module: AutoencoderModule
    data: DataModule
    trainer: dict[str, Any]
    callbacks: list[pl.Callback]
    evaluation: Evaluation


def check(cfg: DictConfig | Mapping[str, Any]) -> None:
    """Raise ConfigError with every mistake that shows without reading data or touching a device."""
    _parts(plain(cfg))


def plain(cfg: DictConfig | Mapping[str, Any]) -> dict[str, Any]:
    """The configuration as dicts and lists, with interpolations resolved."""
    try:
        container = OmegaConf.to_container(cfg, resolve=True) if OmegaConf.is_config(cfg) else cfg
    except OmegaConfBaseException as error:
        where = getattr(error, "full_key", None) or "configuration"
        raise ConfigError([Problem(where, str(error).splitlines()[0])]) from error
    return {str(key): value for key, value in dict(container).items()}  # type: ignore[arg-type]


def build(cfg: DictConfig | Mapping[str, Any]) -> Built:
    """Check, read the data, and make what a run needs. Raises UserError."""
    node = plain(cfg)
    parts = _parts(node)
    pl.seed_everything(node["seed"], verbose=False)
    source = parts.made["dataset"]
    data = _data_module(node, source)
    data.setup()
    net = _net(node, parts, data)
    optimizer = node["optimizer"]
    scheduler = node["scheduler"]
    options = {k: v for k, v in (scheduler or {}).items() if k in SCHEDULER_OPTIONS}
    module = AutoencoderModule(
        net,
        peak=data.spec.peak,
        seed=node["seed"],
        optimizer=partial(resolve(optimizer["_target_"]), **_arguments(optimizer)),
        scheduler=scheduler
        and partial(resolve(scheduler["_target_"]), **_arguments(scheduler, SCHEDULER_OPTIONS)),
        scheduler_options=options,
        hyperparameters=node,
    )
    trainer = {**node["hardware"], **node["trainer"]}
    monitor = node["optimized_metric"]
    callbacks = [
        Until(**node["until"]),
        EarlyStopping(monitor=monitor, **node["early_stopping"]),
        Dashboard(**node["dashboard"]),
    ]
    return Built(net, module, data, trainer, callbacks, Evaluation(**node["evaluation"]))


def _data_module(node: dict[str, Any], source: Source) -> DataModule:
    shared = {k: v for k, v in node["dataset"].items() if k in _keys(DataModule)}
    return DataModule(source=source, seed=node["seed"], **shared)


def _net(node: dict[str, Any], parts: Parts, data: DataModule) -> ConstrainedAutoencoder:
    spec = data.spec
    found = _size_problems(node, parts, spec.shape)
    low, high = parts.made["likelihood"].support
    if spec.low < low or spec.high > high:
        what = f"likelihood takes values in [{low:g}, {high:g}], the data is in [{spec.low:g}, {spec.high:g}]"
        remedy = "Write dataset.normalization=unit, or likelihood=gaussian."
        found.append(Problem("likelihood", what, remedy))
    if found:
        raise ConfigError(found)
    assert parts.model is not None
    model = _model(node, parts, spec.shape)
    batch = data.peek("train", ATTACH_SAMPLES)
    with torch.no_grad():
        model.decoder.start_at(model.likelihood.initial_output(batch.mean(0)))
        for part in parts.constraints.values():
            part.attach(model, Data(spec.low, spec.high, spec.samples, batch))
    return ConstrainedAutoencoder(model, parts.constraints, data.normalization)


def _model(node: dict[str, Any], parts: Parts, shape: tuple[int, ...]) -> Autoencoder:
    arguments = _arguments(node["model"])
    inputs = torch.Size(shape).numel()
    for part in parts.constraints.values():
        arguments["latent_dim"] = part.code_size(arguments["latent_dim"], inputs)
    assert parts.model is not None
    return parts.model(
        network=parts.made["network"], likelihood=parts.made["likelihood"], shape=shape, **arguments
    )


def _parts(node: dict[str, Any]) -> Parts:
    """Everything that can be made without data. Raises ConfigError with all that is wrong."""
    parts = Parts()
    parts.found += [
        unknown(key, key, (*ROOT, "optimized_metric")) for key in node if key not in _ROOTS
    ]
    missing = [key for key in _ROOTS if key not in node]
    parts.found += [Problem(key, "is missing", "Take it from conf/config.yaml.") for key in missing]
    node = {**dict.fromkeys(missing), **node}
    _check_seed(node["seed"], parts)
    for key, base in OBJECTS.items():
        _object(node, key, base, parts)
    for key, target in PLAIN.items():
        if _is_mapping(node, key, parts):
            parts.found += problems(node[key], target, key, PROVIDED.get(key, ()))
    _constraints(node, parts)
    _trainer(node, parts)
    _optimizer(node, "optimizer", Optimizer, ("params",), parts)
    if node["scheduler"] is not None:
        _optimizer(node, "scheduler", LRScheduler, ("optimizer",), parts)
    _construct(node, parts)
    if parts.found:
        raise ConfigError(parts.found)
    return parts


_ROOTS = (*ROOT, "optimized_metric")


def _check_seed(seed: Any, parts: Parts) -> None:
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
        parts.found.append(Problem(f"seed={seed}", "expected a whole number of 0 to 4294967295"))


def _is_mapping(node: dict[str, Any], key: str, parts: Parts) -> bool:
    if isinstance(node[key], Mapping):
        return True
    if node[key] is not None or key in PLAIN:
        parts.found.append(Problem(f"{key}={node[key]}", "expected the keys of a mapping"))
    return False


def _object(node: dict[str, Any], key: str, base: type, parts: Parts) -> None:
    if not _is_mapping(node, key, parts):
        return
    cls = _class(node[key], key, base, parts)
    if cls is None:
        return
    targets = [cls, DataModule] if key == "dataset" else [cls]
    wrong = problems(node[key], targets, key, PROVIDED.get(key, ()))
    parts.found += wrong
    if key == "model":
        parts.model = None if wrong else cls
    elif not wrong:
        arguments = {k: v for k, v in _arguments(node[key]).items() if k in _keys(cls)}
        _try_make(key, cls, arguments, parts)


def _constraints(node: dict[str, Any], parts: Parts) -> None:
    given = node["constraint"] or {}
    if not isinstance(given, Mapping):
        remedy = "Write constraint=l1, constraint=[masking,topk] or constraint=[]."
        parts.found.append(Problem(f"constraint={given}", "expected names of constraints", remedy))
        return
    for name, options in given.items():
        where = f"constraint.{name}"
        if not isinstance(options, Mapping) or "_target_" not in options:
            what = "is not among the chosen constraints"
            parts.found.append(Problem(where, what, f"Add {name} to constraint=[...]."))
            continue
        cls = _class(options, where, Constraint, parts)
        if cls is None:
            continue
        wrong = problems(options, cls, where)
        parts.found += wrong
        if not wrong:
            _try_make(where, cls, _arguments(options), parts)
            if where in parts.made:
                parts.constraints[str(name)] = parts.made.pop(where)


def _try_make(where: str, cls: type, arguments: dict[str, Any], parts: Parts) -> None:
    try:
        parts.made[where] = cls(**arguments)
    except ValueError as error:
        parts.found.append(Problem(where, str(error)))
        return
    if isinstance(parts.made[where], Source):
        parts.found += parts.made[where].problems()


def _trainer(node: dict[str, Any], parts: Parts) -> None:
    for key in ("hardware", "trainer"):
        if _is_mapping(node, key, parts):
            parts.found += problems(node[key], pl.Trainer, key, PROVIDED["trainer"])


def _optimizer(
    node: dict[str, Any], key: str, base: type, provided: tuple[str, ...], parts: Parts
) -> None:
    if not _is_mapping(node, key, parts):
        return
    options = {
        k: v for k, v in node[key].items() if k not in SCHEDULER_OPTIONS or key == "optimizer"
    }
    cls = _class(options, key, base, parts)
    if cls is not None:
        parts.found += problems(options, cls, key, provided)
    rate = options.get("lr", 1.0)
    if isinstance(rate, (int, float)) and not isinstance(rate, bool) and rate <= 0:
        parts.found.append(Problem(f"{key}.lr={rate:g}", "must be above 0"))
    if key == "scheduler" and node[key].get("interval", "epoch") not in ("epoch", "step"):
        where = f"scheduler.interval={node[key]['interval']}"
        parts.found.append(Problem(where, "expected one of epoch, step"))


def _construct(node: dict[str, Any], parts: Parts) -> None:
    """What shows only when the choices are put together."""
    if parts.model is None:
        return
    dataset = node["dataset"] if isinstance(node["dataset"], Mapping) else {}
    hardware = node["hardware"] if isinstance(node["hardware"], Mapping) else {}
    choices = Choices(
        variant=parts.model.__name__.lower(),
        model=parts.model,
        options=node["model"],
        constraints=parts.constraints,
        network=parts.made.get("network"),
        likelihood=parts.made.get("likelihood"),
        normalization=str(dataset.get("normalization")),
        strategy=str(hardware.get("strategy")),
    )
    pairs = pair_problems(choices)
    parts.found += pairs
    if not {"network", "likelihood"} <= parts.made.keys():
        return
    shape = parts.made["dataset"].shape() if "dataset" in parts.made else None
    if shape is not None and not pairs:
        parts.found += _size_problems(node, parts, shape)
    names = metric_names(parts.model, parts.constraints)
    for key, metric in (
        ("optimized_metric", node["optimized_metric"]),
        ("until.metric", (node["until"] or {}).get("metric")),
    ):
        if metric is not None and metric not in names:
            parts.found.append(unknown(f"{key}={metric}", str(metric), names))


def _size_problems(node: dict[str, Any], parts: Parts, shape: tuple[int, ...]) -> list[Problem]:
    network, inputs = parts.made["network"], torch.Size(shape).numel()
    if (wrong := network.problem(shape)) is not None:
        return [Problem("network", *wrong)]
    with torch.device("meta"):  # sizes only, no memory
        model = _model(node, parts, shape)
    found = list(model.problems())
    batch = node["dataset"]["batch_size"]
    for name, part in parts.constraints.items():
        if (wrong := part.size_problem(model.latent_dim, inputs, batch)) is not None:
            found.append(Problem(f"constraint.{name}", *wrong))
    return found


def _class(options: Mapping[str, Any], where: str, base: type, parts: Parts) -> type | None:
    """The class that a node names, or None with the problem noted."""
    target = options.get("_target_")
    try:
        cls = resolve(str(target))
    except (ImportError, AttributeError, ValueError) as error:
        parts.found.append(Problem(f"{where}._target_={target}", str(error)))
        return None
    if not (isinstance(cls, type) and issubclass(cls, base)):
        what = f"is no {base.__name__}"
        parts.found.append(Problem(f"{where}._target_={target}", what))
        return None
    return cls


def resolve(target: str) -> Any:
    """The class of this dotted name. Raises ValueError for names outside the known libraries."""
    if not target.startswith(LIBRARY):
        raise ValueError(
            f"only classes of {' and '.join(p + '*' for p in LIBRARY)} can be named here"
        )
    module, _, name = target.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ValueError("there is no such class") from error


def _arguments(options: Mapping[str, Any], without: tuple[str, ...] = ()) -> dict[str, Any]:
    return {k: v for k, v in options.items() if k != "_target_" and k not in without}


def _keys(target: Any) -> set[str]:
    return set(parameters(target))
