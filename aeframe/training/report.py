"""What a run says: first what is being trained, last what came of it and where it is."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from aeframe.config.differences import differences
from aeframe.constraints.constrained import ConstrainedAutoencoder
from aeframe.core.process import here
from aeframe.core.strict_json import cell
from aeframe.evaluation.card import Card
from aeframe.runs.checkpoint import Saved
from aeframe.training.build import Built

ROWS = {  # metric of the test split -> what the table calls it
    "denoised_mse": "MSE from the corrupted input",
    "corrupted_psnr": "PSNR of the corrupted input (dB)",
    "denoised_psnr": "PSNR of its reconstruction (dB)",
    "gain_db": "gain (dB)",
    "l0": "active units per sample (L0)",
    "dormant": "share of dormant units",
    "dead": "share of dead units (training)",
    "explained_variance": "explained variance",
    "negative_elbo": "-ELBO (nats)",
    "kl": "KL (nats)",
    "active_units": "active units",
}
MOST_CHOICES = 24
"""Columns of TensorBoard's HParams."""
MOST_WORDS = 12
"""That are not the defaults."""


def opening(
    built: Built, node: Mapping[str, Any], folder: Path | None, saved: Saved | None
) -> None:
    """What is being trained, on what, where, and what of it is not the default.

    folder: None where no command began the run, for which neither the folder nor keys to type are told.
    saved: what it goes on from.
    """
    net, spec = built.net, built.data.spec
    weights = sum(p.numel() for p in net.model.parameters() if p.requires_grad)
    device = built.trainer.get("accelerator", "cpu")
    constraints = " + ".join(net.constraints) or "no constraint"
    console = Console(soft_wrap=True, highlight=False, markup=False)
    console.print(
        f"{type(net.model).__name__} autoencoder with {constraints}: {sizes(net)}; {weights:,} weights; "
        f"{net.model.likelihood.describe()}; "
        f"{built.data.source.description()}, {spec.samples:,} training samples; "
        f"{device}, seed {node['seed']}"
    )
    if built.data.kind == "auto":
        console.print(f"Normalization: {spec.normalization}, as {built.data.reason}.")
    for note in built.notes:
        console.print(f"Note: {note}", style="yellow")
    if saved is not None:
        console.print(f"It goes on after {saved.steps:,} steps, in epoch {saved.epoch + 1}.")
    if folder is None:
        return
    console.print(f"Run folder: {here(folder)}")
    if words := differences(node):
        more = f" and {len(words) - MOST_WORDS} more" if len(words) > MOST_WORDS else ""
        shown = " ".join(map(shlex.quote, words[:MOST_WORDS]))
        console.print(f"Not the defaults: {shown}{more}")


def sizes(net: ConstrainedAutoencoder) -> str:
    """From the shape of a sample to that of its code, and how many times fewer numbers that is."""
    model = net.model
    told = [part.active_units(model.latent_dim) for _, part in net.parts]
    active = min((number for number in told if number is not None), default=None)
    ratio = model.inputs / (active or model.latent_dim)
    how = f"{max(ratio, 1 / ratio):.1f}"
    fewer = "as many" if how == "1.0" else f"{how} times {'fewer' if ratio > 1 else 'more'}"
    beside = "as" if how == "1.0" else "than"
    shape, code = (" x ".join(map(str, n)) for n in (model.shape, model.code_shape))
    some = f", {active:,.0f} of them active" if active else ""
    return f"{shape} -> {code} units{some}, {fewer} numbers {beside} the input's {model.inputs:,}"


def closing(
    card: Card,
    result: Mapping[str, Any],
    said: Sequence[str],
    folder: Path,
    onward: Mapping[str, str],
) -> None:
    """The table of test metrics, the copy check, the folder, and what to type next.

    said: why training ended. onward: commands, by what they do.
    """
    console = Console(soft_wrap=True, highlight=False, markup=False)
    console.print(_table(card, result))
    check = card.copy_check
    console.print(check.told, style=None if check.passed else "bold red")
    ending(said)
    for what, text in {"Run folder": here(folder), **onward}.items():
        console.print(f"{f'{what}:':<12} {text}")


def ending(said: Sequence[str]) -> None:
    """Why training ended, and what the doctor found."""
    console = Console(soft_wrap=True, highlight=False, markup=False)
    for sentence in said:
        console.print(sentence)


def _table(card: Card, result: Mapping[str, Any]) -> Table:
    epochs = f"{result['epochs']} epoch{'' if result['epochs'] == 1 else 's'}"
    title = f"Test metrics after {epochs}, {result['seconds']:.0f} s"
    table = Table(title=title, title_justify="left")
    table.add_column("")
    table.add_column("model", justify="right", style="bold")
    for baseline in card.baselines:
        table.add_column(baseline.name, justify="right")
    m, errors = card.metrics, [baseline.mse for baseline in card.baselines]
    table.add_row("MSE per pixel", *(_error(mse) for mse in (m["mse"], *errors)))
    levels = [m["psnr"], *(baseline.psnr for baseline in card.baselines)]
    table.add_row("PSNR (dB)", *(cell(level, ".2f") for level in levels))
    for name, label in ROWS.items():
        if name in m:
            form = ".2f" if name == "denoised_psnr" else ".4g"
            others = (baseline.as_dict() for baseline in card.baselines)
            found = (cell(other[name], form) for other in others if name in other)
            table.add_row(label, cell(m[name], form), *found)
    if "nll" in m:
        error = m.get("nll_standard_error")
        beside = "" if error is None else f" ± {error:.2f}"
        table.add_row(f"NLL of {card.images} images (nats)", f"{m['nll']:.2f}{beside}")
    return table


def _error(mse: float) -> str:
    return f"{mse:.5f}" if mse >= 1e-3 else f"{mse:.3g}"


def choices(hyperparameters: Mapping[str, Any], latent_dim: int) -> dict[str, Any]:
    """The choices worth comparing runs by, for TensorBoard's HParams.

    latent_dim: the network's own, which a bottleneck may have set.
    """
    h = hyperparameters
    found = {
        "model": h["model"]["_target_"].rpartition(".")[2],
        "latent_dim": latent_dim,
        "network": h["network"]["_target_"].rpartition(".")[2],
        "widths": str(h["network"].get("widths")),
        "likelihood": h["likelihood"]["_target_"].rpartition(".")[2],
        "dataset": h["dataset"]["_target_"].rpartition(".")[2],
        "batch_size": h["dataset"].get("batch_size"),
        "constraint": "+".join(h["constraint"] or {}) or "free",
        "lr": h["optimizer"].get("lr"),
        "max_epochs": h["trainer"].get("max_epochs"),
        "seed": h["seed"],
    }
    if "beta" in h["model"]:
        found["beta"] = h["model"]["beta"]
    of_constraints = [  # and what is swept: k, weight, rate; a constraint's first key is what it is about
        (place, f"{name}.{key}", value)
        for name, options in (h["constraint"] or {}).items()
        for place, (key, value) in enumerate(options.items())
        if isinstance(value, (int, float))
    ]
    of_constraints.sort(key=lambda one: one[0])
    found |= {key: value for _, key, value in of_constraints[: MOST_CHOICES - len(found)]}
    plain = (str, int, float, bool)
    return {name: v if isinstance(v, plain) else str(v) for name, v in found.items()}


def headline(card: Card, value: float) -> dict[str, float]:
    """The final metrics beside them."""
    optimized = {} if math.isnan(value) else {"optimized_metric": value}  # without a validation
    return optimized | {f"test/{k}": v for k, v in card.metrics.items()}
