"""Report of the measurements, for people and for programs."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from tests.benchmarks.arms import Reading
from tests.benchmarks.measure import Result, Unit
from tests.benchmarks.processes import CHECKOUT

PACKAGES = ("torch", "torchvision", "pytorch-lightning", "pythae", "disent", "autoencoders")
STYLES = {"FAIL": "bold red", "not met": "yellow", "met": "green", "skipped": "dim"}
PLACES: dict[Unit, str] = {"images/s": ",.0f", "s": ".2f", "MiB": ".1f"}


def table(results: list[Result], on: dict[str, Any]) -> Table:
    """Format one line for each row. on: the machine, as it was when the first row began."""
    shown = Table("row", "reference", title="ratio: aeframe / reference, median of pairs [min-max]")
    load = on["load"] and f", load average {on['load'][0]:.1f} when it began"
    places = [f"{on['cpu']}, {on['cores']} cores{load or ''}; {on['threads']} thread", *on["gpus"]]
    shown.caption = "; ".join(places)
    for heading in ("aeframe", "reference", "unit", "ratio", "goal"):
        shown.add_column(heading, justify="right", no_wrap=True)
    shown.add_column("", no_wrap=True)
    for result in results:
        row, verdict = result.row, result.verdict
        shown.add_row(
            row.name,
            row.reference.name if row.reference else "",
            _median(result.contender, row.unit),
            _median(result.reference, row.unit),
            row.unit,
            _ratio(result),
            str(row.goal or ""),
            f"[{STYLES[verdict]}]{verdict}[/]" if verdict else "",
        )
    return shown


def remarks(results: list[Result]) -> list[str]:
    """List the reasons why rows were skipped or failed."""
    lines = [f"[dim]skipped  {r.row.name}: {r.skipped}[/]" for r in results if r.skipped]
    for result in results:
        lines += [f"[bold red]FAIL[/]  {result.row.name}: {fault}" for fault in result.faults]
    return lines


def as_dict(results: list[Result], on: dict[str, Any]) -> dict[str, Any]:
    """Return everything as plain data. on: see `table`."""
    return {"machine": on, "rows": [_row(result) for result in results]}


def machine() -> dict[str, Any]:
    """Describe the machine, with its present load."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "load": os.getloadavg() if hasattr(os, "getloadavg") else None,
        "threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "commit": _git("rev-parse", "HEAD"),
        "changed": _git("status", "--porcelain", "--untracked-files=no").splitlines(),
    }


def _row(result: Result) -> dict[str, Any]:
    row, ratios = result.row, result.ratios
    return {
        "name": row.name,
        "unit": row.unit,
        "arms": [arm.name for arm, _ in result.sides],
        "goal": row.goal and asdict(row.goal),
        "verdict": result.verdict,
        "judged": result.judged,
        "ratio": statistics.median(ratios) if ratios else None,
        "ratios": ratios,
        "contender": [asdict(reading) for reading in result.contender],
        "reference": [asdict(reading) for reading in result.reference],
        "tolerance": result.tolerance,
        "skipped": result.skipped,
        "faults": result.faults,
    }


def _median(readings: list[Reading], unit: Unit) -> str:
    if not readings:
        return ""
    return format(statistics.median(reading.value for reading in readings), PLACES[unit])


def _ratio(result: Result) -> str:
    ratios = result.ratios
    if not ratios:
        return ""
    return f"{statistics.median(ratios):.3f} \\[{min(ratios):.3f}-{max(ratios):.3f}]"


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=CHECKOUT, capture_output=True, text=True)
    return done.stdout.strip()
