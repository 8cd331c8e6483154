"""Sentences below the table of a sweep: its columns, and the choice among its jobs."""

from __future__ import annotations

from collections.abc import Collection, Sequence

COLUMNS = {
    "copied": "share of pure noise that the network reconstructs; above 0.67 it copies any input",
    "l0": "active units per sample",
    "dead": "share of the units that no training sample activates",
    "gain_db": "PSNR gained from the corrupted input to its reconstruction",
    "nll": "estimate of -log p(x), in nats",
}
"""Meanings of columns that their names do not explain."""
PRICES = {"latent_dim": "code units", "l0": "active units", "kl": "nats in the code"}
"""Costs of a code in words, by the metric that measures them; others are penalties."""
UNITS = (
    "{} is in units of dataset.normalization, which the jobs do not share. Write "
    "optimized_metric=val/psnr to compare them."
)


def explain_columns(shown: Collection[str]) -> list[str]:
    """Explain the columns that are shown, each in a line."""
    return [f"{name}: {meaning}." for name, meaning in COLUMNS.items() if name in shown]


def explain_trade(keys: Sequence[str], error: str, prices: Sequence[str]) -> str:
    """Explain why a sweep over these keys has no best run, and what to choose from.

    prices: metrics of the code's cost, several if the jobs do not share one.
    """
    costs = " or ".join(f"{name} ({PRICES.get(name, 'a penalty')})" for name in prices)
    other = "job" if len(prices) == 1 else "job with the same cost"
    why = f"with {' and '.join(keys)}, a smaller val/{error} costs a larger {costs}"
    choose = "Choose among the jobs marked *"
    return f"No best run: {why}. {choose}: no other {other} is as good or better in both."


def explain_prices(prices: Sequence[str]) -> str:
    """Explain that jobs with codes of other kinds are sorted by their error alone."""
    why = f"the codes of the jobs cost {' and '.join(prices)}, which cannot be compared"
    return f"{why}. The order is that of the error alone."
