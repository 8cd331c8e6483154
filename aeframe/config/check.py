"""Checks of a whole configuration, without data: all mistakes at once, and the parts that can be made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aeframe.config.added_parts import BASES, make_added_parts
from aeframe.config.auto_record import RECORD
from aeframe.config.compatibility import collect_choices, list_pair_notes, list_pair_problems
from aeframe.config.make import count_batch_rows
from aeframe.config.metric_checks import list_metric_problems
from aeframe.config.node import to_plain
from aeframe.config.optimizer_checks import list_optimizer_problems
from aeframe.config.options import (
    CheckpointOptions,
    DashboardOptions,
    DivergenceOptions,
    EarlyStoppingOptions,
    Hardware,
    Training,
    UntilOptions,
    WarmStart,
)
from aeframe.config.other_options import name_owner
from aeframe.config.result import Parts
from aeframe.config.signature import build_unknown_problem, list_problems
from aeframe.config.sizes import list_size_problems
from aeframe.config.targets import find_class, find_named_classes, get_options, list_keys
from aeframe.config.trainer_checks import list_length_problems, list_machine_problems
from aeframe.config.validation import find_unvalidated_problems
from aeframe.constraints import Constraint
from aeframe.core.errors import ConfigError, Problem, find_closest
from aeframe.core.local_paths import check_address
from aeframe.core.plain import as_mapping
from aeframe.data import DataModule, Source, find_uneven_batch
from aeframe.data.augmentation import check_changes
from aeframe.evaluation.card import Evaluation
from aeframe.evaluation.metric_names import list_metric_names
from aeframe.models import Autoencoder
from aeframe.models.likelihoods import Likelihood
from aeframe.networks import Network

if TYPE_CHECKING:
    from omegaconf import DictConfig

OBJECTS: dict[str, type] = {
    "network": Network,
    "likelihood": Likelihood,
    "dataset": Source,
    "model": Autoencoder,
}
"""Root keys whose node names a class, and the base of that class."""
PLAIN: dict[str, Any] = {
    "init_from": WarmStart,
    "until": UntilOptions,
    "early_stopping": EarlyStoppingOptions,
    "checkpoint": CheckpointOptions,
    "divergence": DivergenceOptions,
    "dashboard": DashboardOptions,
    "evaluation": Evaluation,
    "hardware": Hardware,
    "trainer": Training,
}
"""Root keys whose node is the options of one class."""
PROVIDED = {"model": ("setting",), "dataset": ("source", "seed")}
"""Arguments that the framework passes itself."""
ROOT = (
    *OBJECTS,
    *PLAIN,
    "constraint",
    "optimizer",
    "scheduler",
    "seed",
    "optimized_metric",
    "doctor",
    "resume",
    "freeze",
    *BASES,
)
LATER: dict[str, Any] = {
    "init_from": {"run": None, "normalization": "keep", "identity": None},
    "freeze": [],
    **{group: {} for group in BASES},
    "logger": {"tensorboard": {"_target_": "aeframe.monitoring.loggers.TensorBoard"}},
}
"""Root keys that configurations of earlier versions lack, and what they mean without them."""


def check(cfg: DictConfig | Mapping[str, Any]) -> None:
    """Raise ConfigError with every mistake that shows without reading data or touching a device."""
    make_parts(to_plain(cfg))


def make_parts(node: dict[str, Any]) -> Parts:
    """Make all parts that need no data. Raises ConfigError with all mistakes."""
    parts = Parts()
    known = (*ROOT, RECORD)
    parts.problems += [_explain_root_key(key, node) for key in node if key not in known]
    node = {**LATER, **node}
    missing = [key for key in ROOT if key not in node]
    parts.problems += [
        Problem(key, "is missing", "Take it from conf/config.yaml.") for key in missing
    ]
    node = {**dict.fromkeys(missing), **node}
    _check_seed(node["seed"], parts)
    if not isinstance(node["resume"], str | None):
        remedy = "Write resume=auto, or the folder of a run."
        parts.problems.append(Problem(f"resume={node['resume']}", "expected text or null", remedy))
    if not isinstance(node["doctor"], bool):
        parts.problems.append(Problem(f"doctor={node['doctor']}", "expected true or false"))
    _check_freeze(node["freeze"], parts)
    for key, base in OBJECTS.items():
        make_object(node, key, base, parts)
    for key, target in PLAIN.items():
        if _is_mapping(node, key, parts):
            wrong = list_problems(node[key], target, key, named=False)
            parts.problems += wrong
            if not wrong:
                _try_make(key, target, node[key], parts)
    parts.problems += list_length_problems(as_mapping(node["trainer"]))
    if "hardware" in parts.made:
        precision = as_mapping(node["trainer"]).get("precision")
        workers = as_mapping(node["dataset"]).get("num_workers")
        parts.problems += list_machine_problems(parts.made["hardware"], precision, workers)
    make_constraints(node, parts)
    make_added_parts(node, parts)
    if _is_mapping(node, "optimizer", parts) and (
        node["scheduler"] is None or _is_mapping(node, "scheduler", parts)
    ):
        trainer = as_mapping(node["trainer"])
        parts.problems += list_optimizer_problems(node["optimizer"], node["scheduler"], trainer)
    _construct(node, parts)
    if parts.problems:
        raise ConfigError([name_owner(problem, OBJECTS, node) for problem in parts.problems])
    return parts


def _explain_root_key(key: str, node: Mapping[str, Any]) -> Problem:
    """Explain an unknown root key, or a key without its group such as lr."""
    if key in ("experiment", "debug"):
        what = "the first line of its file is missing"
        return Problem(key, what, "Write `# @package _global_` at its top.")
    inside = {
        name: f"{group}.{name}" for group in reversed(ROOT) for name in as_mapping(node.get(group))
    }
    close = find_closest(key, inside) if key in inside or not find_closest(key, ROOT) else None
    if close is None:
        return build_unknown_problem(key, key, ROOT)
    return Problem(key, "unknown key", f"Did you mean {inside[close]}?")


def _check_seed(seed: Any, parts: Parts) -> None:
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
        shown = "null" if seed is None else seed
        parts.problems.append(
            Problem(f"seed={shown}", "expected a whole number of 0 to 4294967295")
        )


def _check_freeze(names: Any, parts: Parts) -> None:
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        remedy = (
            "Write freeze=[encoder], freeze=[decoder] or names of weights such as [encoder.1.*]."
        )
        parts.problems.append(Problem(f"freeze={names}", "expected a list of names", remedy))


def _is_mapping(node: dict[str, Any], key: str, parts: Parts) -> bool:
    if isinstance(node[key], Mapping):
        return True
    value = "null" if node[key] is None else node[key]
    parts.problems.append(Problem(f"{key}={value}", "expected keys and values"))
    return False


def make_object(node: dict[str, Any], key: str, base: type, parts: Parts) -> None:
    """Make the object of one root key, or add what is wrong with its node."""
    if not _is_mapping(node, key, parts):
        return
    cls = find_class(node[key], key, base, parts.problems)
    if cls is None:
        return
    targets = [cls, DataModule] if key == "dataset" else [cls]
    wrong = list_problems(node[key], targets, key, PROVIDED.get(key, ()))
    parts.problems += wrong
    if key == "model":
        parts.model = None if wrong else cls
    elif not wrong:
        arguments = {k: v for k, v in get_options(node[key]).items() if k in list_keys(cls)}
        _try_make(key, cls, arguments, parts)


def make_constraints(node: dict[str, Any], parts: Parts) -> None:
    """Make the constraints in their order, or add what is wrong with their nodes."""
    given = node["constraint"] or {}
    if not isinstance(given, Mapping):
        remedy = "Write constraint=l1, constraint=[masking,topk] or constraint=[]."
        parts.problems.append(
            Problem(f"constraint={given}", "expected names of constraints", remedy)
        )
        return
    if "_target_" in given:
        what = "the first line of a constraint's own file is missing"
        remedy = "Write `# @package constraint.NAME` at its top."
        parts.problems.append(Problem("constraint", what, remedy))
        return
    for name, where, options, cls in find_named_classes(
        given, "constraint", Constraint, parts.problems
    ):
        parts.classes[name] = cls
        wrong = list_problems(options, cls, where)
        parts.problems += wrong
        if not wrong:
            _try_make(where, cls, get_options(options), parts)
            if where in parts.made:
                parts.constraints[name] = parts.made.pop(where)


def _try_make(where: str, cls: type, arguments: dict[str, Any], parts: Parts) -> None:
    if issubclass(cls, Source):
        found = [check_address(f"{where}.{key}", value) for key, value in arguments.items()]
        if addresses := [problem for problem in found if problem is not None]:
            parts.problems += addresses
            return
    try:
        parts.made[where] = cls(**arguments)
    except ValueError as error:
        parts.problems.append(Problem(where, str(error)))
        return
    if isinstance(parts.made[where], Source):
        parts.problems += parts.made[where].problems()


def _construct(node: dict[str, Any], parts: Parts) -> None:
    """Add the mistakes that show only when the choices are put together."""
    if parts.model is None:
        return
    dataset, hardware = as_mapping(node["dataset"]), as_mapping(node["hardware"])
    size = count_batch_rows(node) if "dataset" in parts.made else None
    source = parts.made.get("dataset")
    has_target = source is not None and source.has_target
    choices = collect_choices(node, parts, parts.model, size, has_target=has_target)
    unresolved = len(parts.classes) < len(as_mapping(node["constraint"]))
    pairs = [] if unresolved else list_pair_problems(choices)
    parts.problems += pairs
    parts.notes = list_pair_notes(choices)
    _check_fractions(dataset, parts)
    parts.problems += find_unvalidated_problems(node)
    if as_mapping(node["divergence"]).get("retries") and hardware.get("strategy") != "auto":
        what = "retries need a single process"
        remedy = "Write divergence.retries=0, hardware=cpu or hardware=gpu."
        parts.problems.append(Problem("divergence.retries", what, remedy))
    chosen = parts.made.get("hardware")
    if "dataset" in parts.made and chosen is not None and chosen.processes is not None:
        uneven = find_uneven_batch(count_batch_rows(node), chosen.processes)
        parts.problems += [Problem(*uneven)] if uneven is not None else []
    if not {"network", "likelihood"} <= parts.made.keys():
        return
    shape = None if source is None else source.shape()
    target = None if source is None else source.target_shape()
    known = shape is not None and (target is not None or not has_target)
    if (
        known
        and shape is not None
        and (wrong := check_changes(dataset.get("augment", ()), shape, target)) is not None
    ):
        parts.problems.append(wrong)
    if known and shape is not None and not pairs:
        parts.problems += list_size_problems(node, parts, shape, target)
    names = list_metric_names(
        parts.model, choices.constraints, node["model"], has_target=has_target
    )
    if not (pairs or unresolved):
        parts.problems += list_metric_problems(node, names, parts.added["metrics"])


def _check_fractions(dataset: Mapping[str, Any], parts: Parts) -> None:
    shares = [dataset.get("val_fraction"), dataset.get("test_fraction")]
    numbers = [share for share in shares if isinstance(share, (int, float))]
    if "dataset" in parts.made and sum(numbers) >= 1:
        what = f"with dataset.test_fraction={shares[1]} it leaves nothing to train on"
        where = f"dataset.val_fraction={shares[0]}"
        parts.problems.append(Problem(where, what, "Write fractions whose sum is below 1."))
