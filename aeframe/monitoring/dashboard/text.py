"""Texts for TensorBoard: the command, the configuration and the evaluation card."""

from __future__ import annotations

import shlex
from pathlib import Path

from aeframe.core.process import get_command, shorten_path
from aeframe.core.strict_json import format_cell
from aeframe.evaluation.baselines import Baseline
from aeframe.evaluation.card import Card
from aeframe.monitoring.dashboard.page import Page


def write_beginning(page: Page) -> None:
    """Write the command and the configuration as they were typed, with names of environment
    variables.

    A run that another program started without Hydra has neither.
    """
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    noted = page.folder / ".hydra" / "config.yaml"
    if not HydraConfig.initialized() or not noted.is_file():
        return
    hydra = HydraConfig.get()
    overrides = OmegaConf.to_container(hydra.overrides.task, resolve=False)
    sources = hydra.runtime.config_sources
    words = [
        f"--config-dir={shorten_path(Path(s.path))}"
        for s in sources
        if s.provider == "command-line"
    ]
    words += [f"--config-name={hydra.job.config_name}"] * (hydra.job.config_name != "config")
    words += [str(word).removeprefix("++") for word in overrides or ()]  # aeframe added ++
    page.text("run/command", _block(f"{get_command()} {shlex.join(words)}".strip(), "bash"))
    page.text("run/configuration", _block(noted.read_text("utf-8", "replace"), "yaml"))


def write_card(page: Page, card: Card) -> None:
    """Write the test metrics beside the baselines, and the copy check."""
    page.text("run/card", markdown(card))


def markdown(card: Card) -> str:
    """Format the card as a table."""
    metrics, others = card.metrics, card.baselines
    rows = [
        ["test metric", "model", *(b.name for b in others)],
        ["---", *["---:"] * (1 + len(others))],
        ["MSE per pixel", f"{metrics['mse']:.5f}", *(f"{b.mse:.5f}" for b in others)],
        [
            "PSNR (dB)",
            *(format_cell(v, ".2f") for v in (metrics["psnr"], *(b.psnr for b in others))),
        ],
        *(
            [name, format_cell(value, ".5g"), *(_beside(baseline, name) for baseline in others)]
            for name, value in metrics.items()
            if name not in ("mse", "psnr")
        ),
    ]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"{table}\n\n{card.copy_check.report_line}\n"


def _beside(baseline: Baseline, name: str) -> str:
    value = baseline.as_dict().get(name)
    return "" if value is None else format_cell(value, ".5g")


def _block(text: str, language: str) -> str:
    return f"```{language}\n{text.strip()}\n```"
