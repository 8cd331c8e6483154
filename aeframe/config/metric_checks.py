"""Checks of the metrics that a configuration names, and of those that it adds."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from aeframe.config.auto_record import AUTO
from aeframe.config.optimized_metric import resolve_optimized_metric
from aeframe.config.signature import build_unknown_problem
from aeframe.core.errors import Problem
from aeframe.core.plain import as_mapping


def list_metric_problems(
    node: Mapping[str, Any], known: Collection[str], added: Mapping[str, Any]
) -> Iterator[Problem]:
    """Yield the metrics that do not exist, and added ones that cannot be used where they are named.

    known: names such as val/mse. added: those of plug-ins, by name.
    """
    names = [*known, *(f"val/{name}" for name in added)]
    for name in added:
        if f"val/{name}" in known:
            yield Problem(f"metrics.{name}", "a metric of this name exists", "Rename its option.")
    for key, metric in _list_named(node):
        name = str(metric).removeprefix("val/")
        if metric is None and key == "optimized_metric":
            yield Problem(f"{key}=null", "is not a metric", "Write auto, or val/mse.")
        elif metric not in (None, AUTO, *names):
            yield build_unknown_problem(f"{key}={metric}", str(metric), names, "metric")
        elif key != "until.metric" and getattr(added.get(name), "higher_is_better", False):
            what = "is better if it is larger, and an added metric must be better if it is smaller here"
            yield Problem(f"{key}={metric}", what, "Let its class return the negative value.")


def _list_named(node: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield "optimized_metric", resolve_optimized_metric(node)
    for group, key in (("until", "metric"), ("scheduler", "monitor")):
        yield f"{group}.{key}", as_mapping(node[group]).get(key)
