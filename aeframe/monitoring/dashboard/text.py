"""Texts for TensorBoard: the command, the configuration and the evaluation card."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from aeframe.core.process import get_command, shorten_path
from aeframe.evaluation.card import Card
from aeframe.evaluation.card_table import list_measures, list_rows, list_terms
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
    page.add_text("run/command", _block(f"{get_command()} {shlex.join(words)}".strip(), "bash"))
    page.add_text("run/configuration", _block(noted.read_text("utf-8", "replace"), "yaml"))


def write_card(page: Page, card: Card) -> None:
    """Write the test metrics beside the baselines, and the copy check."""
    page.add_text("card", format_card(card))


def format_card(card: Card) -> str:
    """Format the card as a table in Markdown, with the names of the terminal, and the copy check."""
    columns = ["model", *(baseline.name for baseline in card.baselines)]
    text = _format_table(["test metric", *columns], list_rows(card) + list_terms(card))
    if card.representation is not None:
        columns, rows = list_measures(card.representation)
        text += f"\n{_format_table(['representation, ± standard error', *columns], rows)}"
    return f"{text}\n{card.check_line}\n"


def _format_table(columns: Sequence[str], rows: Iterable[list[str]]) -> str:
    marks = ["---", *["---:"] * (len(columns) - 1)]
    full = (row + [""] * (len(columns) - len(row)) for row in rows)
    return "".join(f"| {' | '.join(row)} |\n" for row in (columns, marks, *full))


def _block(text: str, language: str) -> str:
    return f"```{language}\n{text.strip()}\n```"
