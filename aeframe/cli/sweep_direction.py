"""Direction of a search: a sweeper such as Optuna's minimizes or maximizes, as the optimized metric wants."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from aeframe.config.override_words import quoted
from aeframe.core.errors import UserError

KEY = "hydra.sweeper.direction"
WORDS = {"min": "minimize", "max": "maximize"}


def follow_metric(cfg: Any, words: Sequence[str]) -> None:
    """Let the sweeper search in the direction in which the optimized metric is better.

    cfg: a sweep's configuration. words: its overrides. Raises UserError where they name the other direction.
    All jobs get the direction and the metric as overrides: values of two metrics cannot be compared.
    Does nothing for sweepers without a direction.
    """
    sweeper = cfg.hydra.sweeper
    if "direction" not in sweeper:
        return
    said, metric = _direction(sweeper.direction), _metric(cfg)
    wanted = direction_of(metric)
    is_typed = any(re.match(rf"\+*{KEY}=", word) for word in words)
    if said != wanted and (is_typed or said == "maximize"):  # which is not what it is by default
        raise _other(said, metric)
    sweeper.direction = wanted
    if not is_typed:
        cfg.hydra.overrides.hydra.append(f"{KEY}={wanted}")
    if not any(re.match(r"\+*optimized_metric=", word) for word in words):
        cfg.hydra.overrides.task.append(f"++optimized_metric={quoted(metric)}")


def check_job(sweeper: Any, cfg: Any) -> None:
    """Raise UserError where a job's metric is better in the other direction than the search goes."""
    if "direction" not in sweeper:
        return
    said, metric = _direction(sweeper.direction), _metric(cfg)
    if said != direction_of(metric):
        raise _other(said, metric)


def worst(sweeper: Any) -> float:
    """The value of a job that failed: a search turns away from it, and goes on.

    Optuna's plug-in ends where a trial has no value. NaN for sweepers without a direction.
    """
    if "direction" not in sweeper:
        return math.nan
    return -math.inf if _direction(sweeper.direction) == "maximize" else math.inf


def direction_of(metric: str) -> str:
    """`minimize` or `maximize`."""
    from aeframe.evaluation.metric_names import better_is

    return WORDS[better_is(metric)]


def _metric(cfg: Any) -> str:
    """The optimized metric of a configuration, also where that is left to its parts."""
    from omegaconf import OmegaConf

    from aeframe.config.optimized_metric import optimized_metric

    node: Any = OmegaConf.to_container(cfg, resolve=False)
    return str(optimized_metric(node))


def _direction(node: Any) -> str:
    """The direction as Optuna's plug-in has it: an Enum, its name, or a list of one."""
    found = node if isinstance(node, str) or not hasattr(node, "__len__") else list(node)
    if isinstance(found, list):
        if len(found) != 1:
            raise UserError(KEY, "a run returns one metric", f"Write {KEY}=minimize.")
        found = found[0]
    return str(getattr(found, "name", found))


def _other(said: str, metric: str) -> UserError:
    what = f"of {metric}, {'more' if direction_of(metric) == 'maximize' else 'less'} is better"
    remedy = f"Leave {KEY} out, or write optimized_metric=METRIC."
    return UserError(f"{KEY}={said}", what, remedy)
