"""Table of the evaluation card, for the terminal and for TensorBoard."""

from __future__ import annotations

from aeframe.core.strict_json import format_cell
from aeframe.evaluation.card import Card
from aeframe.evaluation.representation import MEASURES, Measured, Representation

LABELS = {
    "denoised_mse": "MSE from the corrupted input",
    "corrupted_psnr": "PSNR of the corrupted input (dB)",
    "denoised_psnr": "PSNR of its reconstruction (dB)",
    "gain_db": "gain over corruption (dB)",
    "imputation_mse": "imputation error (MSE)",
    "l0": "active units per sample (L0)",
    "dormant": "share of dormant units",
    "dead": "share of dead units (training)",
    "explained_variance": "explained variance",
    "ssim": "SSIM",
    "negative_elbo": "-ELBO (nats)",
    "kl": "KL (nats)",
    "active_units": "active units",
}
"""Names of metrics for people, in the order of the table."""
NAMED_APART = ("mse", "mse_standard_error", "psnr", "nll", "nll_standard_error")


def list_rows(card: Card) -> list[list[str]]:
    """List the rows of the table as cells: a name, the model's value, those of the baselines that
    have one.
    """
    metrics, others = card.metrics, card.baselines
    spread = metrics.get("mse_standard_error")
    own = _format_error(metrics["mse"]) + ("" if spread is None else f" ± {spread:.2g}")
    rows = [[f"MSE per {card.nouns.value}", own, *(_format_error(b.mse) for b in others)]]
    if card.has_peak:
        levels = (metrics["psnr"], *(b.psnr for b in others))
        rows.append(["PSNR (dB)", *(format_cell(value, ".2f") for value in levels)])
    for name, label in LABELS.items():
        if name in metrics and (card.has_peak or not name.endswith("_psnr")):
            form = ".2f" if name == "denoised_psnr" else ".4g"
            found = (values[name] for values in (b.as_dict() for b in others) if name in values)
            rows.append([label, *(format_cell(value, form) for value in (metrics[name], *found))])
    rows += [[name, format_cell(metrics[name], ".4g")] for name in card.added]
    if "nll" in metrics:
        error = metrics.get("nll_standard_error")
        beside = "" if error is None else f" ± {error:.2f}"
        rows.append(
            [f"NLL of {card.images} {card.nouns.sample}s (nats)", f"{metrics['nll']:.2f}{beside}"]
        )
    return rows


def list_terms(card: Card) -> list[list[str]]:
    """List the rows that `list_rows` leaves out: the loss and its terms, with all their digits."""
    shown = (*LABELS, *NAMED_APART, *MEASURES, *card.added)
    left = {n: v for n, v in card.metrics.items() if n not in shown}
    return [[f"{name} (nats)", format_cell(value, ".7g")] for name, value in left.items()]


def list_measures(found: Representation) -> tuple[list[str], list[list[str]]]:
    """List the columns and the rows of the table of the representation."""
    columns = list(next(iter(found.measures.values())))
    rows = [
        [label, *(_format_measured(found.measures[name].get(what)) for what in columns)]
        for name, label in MEASURES.items()
        if name in found.measures
    ]
    return columns, rows


def _format_measured(found: Measured | None) -> str:
    if found is None:
        return "-"
    return f"{found.value:.3f}" + ("" if found.error is None else f" ± {found.error:.3f}")


def _format_error(mse: float) -> str:
    return f"{mse:.5f}" if mse >= 1e-3 else f"{mse:.3g}"
