"""The metric that picks the best checkpoint, if the configuration leaves it to its parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aeframe.config.auto_record import AUTO
from aeframe.config.targets import find_class
from aeframe.constraints import Constraint
from aeframe.core.errors import Problem
from aeframe.core.plain import as_mapping
from aeframe.evaluation.metric_names import choose_default_metric
from aeframe.models import Autoencoder


def resolve_optimized_metric(node: Mapping[str, Any]) -> Any:
    """Return the metric as written, or for `auto` that of the variant and its constraints.

    It stays `auto` if a part cannot be made, which is another mistake of the configuration.
    """
    written = node.get("optimized_metric")
    if written != AUTO:
        return written
    found: list[Problem] = []
    options = as_mapping(node.get("model"))
    model = find_class(options, "model", Autoencoder, found)
    nodes = map(as_mapping, as_mapping(node.get("constraint")).values())
    constraints = [find_class(part, "constraint", Constraint, found) for part in nodes]
    classes = [part for part in constraints if part is not None]
    return AUTO if model is None or found else choose_default_metric(model, classes, options)
