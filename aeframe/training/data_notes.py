"""Notes on choices that are valid but do not suit the data of a run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from aeframe.config.auto_values import choose_active_units, choose_small_code
from aeframe.constraints.constrained import ConstrainedAutoencoder
from aeframe.core.errors import Problem
from aeframe.core.plain import is_count
from aeframe.data import DataModule


def list_data_notes(
    node: Mapping[str, Any], net: ConstrainedAutoencoder, data: DataModule
) -> Iterator[Problem]:
    """List notes on too many units or active ones, and on a likelihood of probabilities for signed values."""
    inputs, units = net.model.inputs, net.model.latent_dim
    if net.has_corruption and units > inputs and not net.is_sparse:
        what = (
            f"{units:,} code units for the {inputs:,} values of a sample compress nothing: only the "
            "corruption keeps the network from copying, and the table has no PCA of equal code size"
        )
        smaller = f"For a small code write model.latent_dim={choose_small_code(inputs)}."
        yield Problem(f"model.latent_dim={units}", what, smaller)
    for name, part in net.parts:
        active = part.active_units(net.model.latent_dim)
        if active is None or active < inputs:
            continue
        k = node["constraint"][name].get("k")
        what = (
            f"{active:,.0f} active units for the {inputs:,} values of a sample compress nothing, and the "
            "table has no PCA of equal code size"
        )
        fewer = f"Write constraint.{name}.k={choose_active_units(inputs)}." if is_count(k) else ""
        yield Problem(f"constraint.{name}" + (f".k={k}" if fewer else ""), what, fewer)
    low, high = data.spec.written.get_range(data.written_normalization)
    if low < 0 and all(math.isfinite(end) for end in net.model.likelihood.support):
        name = type(net.model.likelihood).__name__.lower()
        what = (
            f"values from {low:.3g} to {high:.3g} are scaled to [0, 1] and treated as probabilities"
        )
        yield Problem(f"likelihood={name}", what, "Write likelihood=gaussian for signals.")
