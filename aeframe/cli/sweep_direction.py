"""Direction of a search: minimize or maximize, by the optimized metric (for sweepers such as Optuna)."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from aeframe.config.override_words import quote
from aeframe.core.errors import UserError

KEY = "hydra.sweeper.direction"
WORDS = {"min": "minimize", "max": "maximize"}


def follow_metric(cfg: Any, words: Sequence[str]) -> None:
    """Set the direction of the sweeper to that of the optimized metric, if the sweeper has one.

    cfg: the configuration of a sweep. words: its overrides. Raises UserError if they set the other direction.
    All jobs get the direction and the metric as overrides, since values of two metrics cannot be compared.
    """
    sweeper = cfg.hydra.sweeper
    if "direction" not in sweeper:
        return
    direction, metric = _read_direction(sweeper.direction), _find_metric(cfg)
    wanted = find_direction(metric)
    is_typed = any(re.match(rf"\+*{KEY}=", word) for word in words)
    if direction != wanted and (is_typed or direction == "maximize"):  # not the default
        raise _build_direction_error(direction, metric)
    sweeper.direction = wanted
    if not is_typed:
        cfg.hydra.overrides.hydra.append(f"{KEY}={wanted}")
    if not any(re.match(r"\+*optimized_metric=", word) for word in words):
        cfg.hydra.overrides.task.append(f"++optimized_metric={quote(metric)}")


def check_job(sweeper: Any, cfg: Any) -> None:
    """Raise UserError if the metric of a job needs the other direction than the search has."""
    if "direction" not in sweeper:
        return
    direction, metric = _read_direction(sweeper.direction), _find_metric(cfg)
    if direction != find_direction(metric):
        raise _build_direction_error(direction, metric)


def get_worst_value(sweeper: Any) -> float:
    """Return the worst possible value, for a failed job, so that a search avoids it and continues.

    Optuna's plug-in stops if a trial has no value. NaN for sweepers without a direction.
    """
    if "direction" not in sweeper:
        return math.nan
    return -math.inf if _read_direction(sweeper.direction) == "maximize" else math.inf


def find_direction(metric: str) -> str:
    """Return `minimize` or `maximize` for a metric."""
    from aeframe.evaluation.metric_names import find_better

    return WORDS[find_better(metric)]


def _find_metric(cfg: Any) -> str:
    """Find the optimized metric of a configuration, also if its parts choose it."""
    from omegaconf import OmegaConf

    from aeframe.config.optimized_metric import resolve_optimized_metric

    node: Any = OmegaConf.to_container(cfg, resolve=False)
    return str(resolve_optimized_metric(node))


def _read_direction(node: Any) -> str:
    """Read the direction from the forms that Optuna's plug-in has: an Enum, its name, or a list of one."""
    found = node if isinstance(node, str) or not hasattr(node, "__len__") else list(node)
    if isinstance(found, list):
        if len(found) != 1:
            raise UserError(KEY, "a run returns one metric", f"Write {KEY}=minimize.")
        found = found[0]
    return str(getattr(found, "name", found))


def _build_direction_error(direction: str, metric: str) -> UserError:
    what = f"{metric} is better if it is {'larger' if find_direction(metric) == 'maximize' else 'smaller'}"
    remedy = f"Leave {KEY} out, or write optimized_metric=METRIC."
    return UserError(f"{KEY}={direction}", what, remedy)
