"""Options to suggest to the user: the only names of parts that this package writes outside conf/."""

from __future__ import annotations

from collections.abc import Sequence

from aeframe.core.part import Word

CONSTRAINTS: dict[Word, tuple[str, ...]] = {
    "sparsity": (
        *("topk", "batch_topk", "winner_take_all", "jump_relu"),
        *("threshold", "sigmoid", "l1", "kl_sparsity"),
    ),
    "corrupted input": ("masking", "gaussian_noise", "salt_and_pepper"),
    "revived units": ("auxk", "resampling"),
    "weight decay": ("l2",),
}
"""Constraints that give a word. The first ones suit most data."""
MEASURED_NOISE = "gaussian"
"""Likelihood whose variance follows from the errors by default, if the code is drawn from a posterior."""
NETWORKS: dict[Word, str] = {"hidden layers": "mlp"}
"""The usual network that gives a word."""


def join_names(names: Sequence[str]) -> str:
    """Join names as a sentence does: `a, b or c`."""
    *some, last = names
    return f"{', '.join(some)} or {last}" if some else last
