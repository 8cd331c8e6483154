"""Sweeps: their tables, and jobs made by hand."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from aeframe.cli.sweep import SweepTable
from aeframe.evaluation.card import Card, Evaluation


def rows(sweep: Path) -> list[dict[str, str]]:
    with (sweep / "sweep.csv").open(newline="") as opened:
        return list(csv.DictReader(opened))


def job(
    sweep: Path,
    number: int,
    overrides: Sequence[str],
    value: float | None = None,
    metric: str = "val/mse",
    direction: str = "min",
    mse: float = 0.5,
) -> None:
    """Make the folder of a job; without a value, of a killed one."""
    folder = sweep / f"{number}_run"
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "overrides.yaml").write_text(
        "".join(f"- {override}\n" for override in overrides)
    )
    if value is None:
        return
    card = {
        "metrics": {"mse": 2 * mse},
        "validation": {"mse": mse},
        "copy_check": {"copied": 0.25, "passed": value != 0.0},
        "optimized_metric": {"name": metric, "value": value, "direction": direction},
    }
    (folder / "evaluation.json").write_text(json.dumps(card))


def end(sweep: Path) -> None:
    """End a sweep as Hydra does after the last job."""
    SweepTable().on_multirun_end(OmegaConf.create({"hydra": {"sweep": {"dir": str(sweep)}}}))


def fail_with(units: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the evaluation of networks with this number of code units fail."""
    make_card = Evaluation.make_card

    def fail(self: Evaluation, net: Any, *rest: Any) -> Card:
        if net.model.latent_dim == units:
            raise RuntimeError("a defect of ours")
        return make_card(self, net, *rest)

    monkeypatch.setattr(Evaluation, "make_card", fail)
