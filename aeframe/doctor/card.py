"""What the evaluation card shows when training is over."""

from __future__ import annotations

from collections.abc import Iterator

from aeframe.doctor.base import Finding, Patient
from aeframe.doctor.overrides import Override
from aeframe.evaluate import Card

ENOUGH = 10  # epochs, of which more than an attempt can be expected
PLAIN = ("val/mse", "val/psnr", "val/explained_variance")
"""The metrics of a run that is after the squared error alone, as PCA is."""


def of_card(card: Card, patient: Patient, epochs: int, others: bool) -> Iterator[Finding]:
    """What its numbers say. epochs: of training. others: whether something was said before."""
    check = card.copy_check
    if not check.passed:
        seen = f"the network copies its input: it brings back {check.copied:.0%} of pure noise"
        yield Finding("copying", epochs, seen, _tighter(patient))
    compares = patient.node["optimized_metric"] in PLAIN and not patient.net.corrupts
    compares = compares and check.samples >= check.fewest
    if not compares or epochs < ENOUGH or others:
        return
    for pca in card.baselines[1:]:  # none for a code that is no smaller than the input
        if card.metrics["mse"] >= pca.mse:
            seen = (
                f"the error of {card.metrics['mse']:.3g} per pixel is no better than that of "
                f"{pca.name}, {pca.mse:.3g}, though the code is as large, after {epochs} epochs"
            )
            yield Finding("pca", epochs, seen, _longer(patient))


def _tighter(patient: Patient) -> str | None:
    """A constraint that says more: fewer units, or a corrupted input."""
    keys = [f"constraint.{name}.k" for name in ("topk", "batch_topk")]
    fewer = [patient.scaled(key, 0.5) for key in (*keys, "constraint.bottleneck.size")]
    shares = patient.scaled("constraint.bottleneck.ratio", 0.5)
    small = max(1, min(patient.units, patient.net.model.inputs) // 4)
    sparse = patient.net.is_sparse
    return patient.remedy(
        *fewer,
        shares,
        None if sparse else Override("model.latent_dim", small),
        patient.more_constraints("masking"),
        patient.scaled("constraint.masking.fraction", 2),
        *(patient.scaled(f"constraint.{name}.weight", 4) for name in patient.penalties),
    )


def _longer(patient: Patient) -> str | None:
    """One linear layer each way is PCA at best; else it has not learned all that it can."""
    linear = not patient.net.model.layer_sizes and not patient.net.is_sparse
    return patient.remedy(
        Override("network", "mlp") if linear else None,
        patient.longer(3),
    )
