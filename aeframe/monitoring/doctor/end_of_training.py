"""Findings in the evaluation card, at the end of training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from aeframe.config.auto_values import choose_active_units, choose_small_code
from aeframe.config.suggested_options import CONSTRAINTS, NETWORKS
from aeframe.core.shares import format_share
from aeframe.evaluation.card import Card
from aeframe.evaluation.copy_check import CopyCheck
from aeframe.monitoring.doctor.finding import Finding
from aeframe.monitoring.doctor.overfitting import MORE
from aeframe.monitoring.doctor.rule import BEGUN, FAST, RATE, Patient
from aeframe.monitoring.doctor.suggestions import Override

ENOUGH = 10  # epochs after which results are judged, however few steps they have
TIE = 0.02  # share by which errors may differ by chance
SPREADS = "spreads"
"""Name of the finding that explains other findings on learning."""
PLAIN = ("val/mse", "val/psnr", "val/explained_variance", "val/denoised_mse", "val/denoised_psnr")
"""Metrics of a run that minimizes the squared error alone, as PCA does."""


def find_in_card(
    card: Card, patient: Patient, epochs: int, steps: int, improves: bool, others: bool
) -> Iterator[Finding]:
    """Yield the findings of a card.

    epochs, steps: of training. improves: whether validation still improved at the end. others:
    whether a rule found something else.
    """
    check = card.copy_check
    if check is not None and check.hides_columns:
        seen = (
            f"{check.learned} of {check.columns} columns are learned: beside the largest the others vary "
            "too little to count in the loss"
        )
        standard = Override("dataset.normalization", "standard")
        remedy = patient.choose_remedy(standard)
        if remedy is None and patient.data.spec.normalization == "unit":  # the likelihood needs it
            remedy = f"likelihood=gaussian {standard}"
        yield Finding(SPREADS, epochs, seen, remedy)
        return
    if check is not None and not check.passed:
        seen = f"the network copies its input: it reconstructs {format_share(check.copied)} of pure noise"
        yield Finding("copying", epochs, seen, _suggest_tighter(patient))
        return
    is_plain = patient.node["optimized_metric"] in PLAIN
    noise = patient.choose_remedy(patient.suggest_measured_noise())
    compares = (is_plain or noise is not None) and card.images >= CopyCheck.fewest
    has_begun = steps >= BEGUN or epochs >= ENOUGH
    if compares and has_begun and not others and _has_seen_all(patient, steps):
        for pca in card.baselines[1:2]:  # none if the code is as large as the input
            own, other = card.metrics["mse"], pca.mse
            if pca.denoised_mse is not None:
                own, other = card.metrics["denoised_mse"], pca.denoised_mse
            if own >= other * (1 + (0 if _is_linear(patient) else TIE)):
                seen = (
                    f"the error of {own:.3g} per {card.nouns.value} is no better than that of {pca.name} "
                    f"({other:.3g}, the same code size) after {epochs} epoch{'' if epochs == 1 else 's'}"
                )
                if pca.denoised_mse is None and own - other < card.metrics.get(
                    "mse_standard_error", 0.0
                ):
                    seen += "; the difference is within the standard error of this test split"
                if noise is None:
                    yield _compare_with_pca(seen, patient, epochs, improves)
                    continue
                active = round(card.metrics.get("active_units", patient.units))
                seen += (
                    "; the likelihood assumes more noise than this data has, so that the code keeps little: "
                    f"{active} of {patient.units} code units are active"
                )
                yield Finding("pca", epochs, seen, noise)


def _compare_with_pca(seen: str, patient: Patient, epochs: int, improves: bool) -> Finding:
    """Build the finding that a network does no better than PCA. seen: the two errors."""
    is_linear = _is_linear(patient)
    begins_as_pca = patient.begins_as_pca
    if patient.rate > FAST and (is_linear or begins_as_pca):
        seen += f"; the learning rate of {patient.rate:g} is high"
        return Finding("pca", epochs, seen, patient.choose_remedy(patient.suggest_slower()))
    if is_linear:
        best = "PCA" if patient.data.spec.target is None else "linear regression"
        seen += f"; a network of linear layers can only equal {best}"
        if patient.has_fewer_samples_than_values:
            seen += f", and {patient.counted_samples} are too few for hidden layers"
            return Finding("pca", epochs, seen, None)
        layers = Override("network", NETWORKS["hidden layers"])
        return Finding("pca", epochs, seen, patient.choose_remedy(layers))
    if not begins_as_pca and (start := patient.choose_remedy(Override("network.start", "pca"))):
        return Finding("pca", epochs, f"{seen}; it began with random weights", start)
    if improves and (longer := patient.suggest_longer()) is not None:
        return Finding("pca", epochs, f"{seen}; it still falls", str(longer), longer=True)
    if patient.has_few_samples and (begins_as_pca or patient.net.is_sparse):
        seen += f"; {patient.counted_samples} are few. {MORE}"
        remedy = patient.choose_remedy(*patient.suggest_for_few_samples())
        return Finding("pca", epochs, seen, remedy)
    remedy = patient.choose_remedy(
        _suggest_wide_layer(patient),
        patient.suggest_scaled(RATE, 1 / 3),
    )
    return Finding("pca", epochs, f"{seen}; it no longer falls", remedy)


def _is_linear(patient: Patient) -> bool:
    """Check for a network that can only equal PCA."""
    return not patient.net.model.layer_sizes and not patient.net.is_sparse


def _suggest_wide_layer(patient: Patient) -> Override | None:
    """Suggest one hidden layer twice as wide, which is closer to PCA, in place of several layers."""
    widths, sizes = patient.node["network"].get("widths"), list(patient.net.model.layer_sizes)
    return Override("network.widths", [2 * max(sizes)]) if widths == sizes != sizes[:1] else None


def _has_seen_all(patient: Patient, steps: int) -> bool:
    """Check whether training has seen the whole training split, as PCA has."""
    changes = patient.data.shuffle or patient.node["trainer"].get("limit_train_batches") is None
    return changes and steps >= patient.data.batches["train"]


def _suggest_tighter(patient: Patient) -> str | None:
    """Suggest a stronger constraint: fewer units, or a corrupted input."""
    inputs = patient.net.model.inputs
    active = [patient.suggest_scaled(k, 0.5) for k in patient.list_options("k", "sparsity")]
    most = choose_active_units(inputs)
    smaller = [
        key for option in ("size", "ratio") for key in patient.list_options(option, "small code")
    ]
    corruption = CONSTRAINTS["corrupted input"][0]
    small = choose_small_code(inputs)
    small = small if small < patient.units else max(1, patient.units // 2)
    sparse = patient.net.is_sparse
    return patient.choose_remedy(
        *(replace(one, value=min(one.value, most)) for one in active if one is not None),
        *(patient.suggest_scaled(key, 0.5) for key in smaller),
        None if sparse else Override("model.latent_dim", small),
        patient.suggest_constraints(corruption),
        patient.suggest_scaled(f"constraint.{corruption}.fraction", 2),
        *patient.suggest_scaled_penalties(4),
    )
