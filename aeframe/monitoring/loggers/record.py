"""Record of a finished run, and the loggers that take it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from aeframe.core.errors import UserError
from aeframe.core.files import write_atomically
from aeframe.core.plain import as_mapping, flatten
from aeframe.core.strict_json import format_json
from aeframe.monitoring.metrics_file import NAME, Row, read_rows

SENT = "sent.json"
"""File in a run's folder that says what its loggers have got."""
NOT_IN_NAMES = r"[^\w\-./ ]"
"""Characters that MLflow takes in no name of a metric."""


@dataclass(frozen=True)
class Record:
    """Record of a finished run. folder: of the run. node: its configuration. result: evaluation.json."""

    folder: Path
    node: Mapping[str, Any]
    result: Mapping[str, Any]

    @cached_property
    def rows(self) -> list[Row]:
        """All curves: a row for each logged step."""
        return read_rows(self.folder / NAME)

    @property
    def settings(self) -> dict[str, str]:
        """Configuration, with a flat name for each value."""
        return {key: str(value) for key, value in flatten(self.node)}

    @property
    def results(self) -> dict[str, float]:
        """Numbers of evaluation.json, with flat names below `final/`."""
        found = flatten(self.result)
        numbers = {k: float(v) for k, v in found if type(v) in (int, float)}
        return {f"final/{re.sub(NOT_IN_NAMES, '_', key)}": v for key, v in numbers.items()}

    @property
    def pictures(self) -> list[Path]:
        """Pictures of the dashboard."""
        return sorted((self.folder / "pictures").glob("*.png"))


class RunLogger:
    """Logger, which gets a run when it has ended, from the run's own files.

    No server can therefore delay or end training, and the points that a killed run would log again have
    not been sent. package: what it needs.
    """

    package: str | None = None

    def check_package(self, name: str) -> None:
        """Raise UserError with the command that installs the missing package. name: the option's."""
        if self.package is not None and find_spec(self.package) is None:
            remedy = f"Install it: python -m pip install 'aeframe[{self.package}]'."
            raise UserError(f"logger={name}", f"needs {self.package}", remedy)

    def deliver(self, name: str, record: Record) -> None:
        """Send what has not been sent yet, and note it in the run's folder."""
        file = record.folder / SENT
        notes = as_mapping(json.loads(file.read_text("utf-8"))) if file.is_file() else {}
        before = as_mapping(notes.get(name))
        known, last = before.get("id"), as_mapping(before.get("last"))
        rows = [row for row in (_subtract(row, last) for row in record.rows) if row]
        identity = self.send(record, rows, known if isinstance(known, str) else None)
        if identity is not None:
            sent = {"id": identity, "last": record.rows[-1] if record.rows else last}
            with write_atomically(file) as opened:
                opened.write(f"{format_json({**notes, name: sent})}\n".encode())

    def send(self, record: Record, rows: list[Row], identity: str | None) -> str | None:
        """Send a run. Returns its name at the receiver; None if there is no receiver.

        rows: those to be sent. identity: the name of the run that is to be continued.
        """
        return None


def _subtract(row: Row, last: Mapping[str, Any]) -> Row | None:
    """Leave out what was sent up to the last row; None if nothing is left."""
    step, before = int(row["step"]), int(last.get("step", -1))
    if step > before:
        return row
    new = {k: v for k, v in row.items() if k not in last} if step == before else {}
    return {"step": row["step"], "epoch": row["epoch"], **new} if new else None


def read_values(row: Row) -> dict[str, float]:
    """Read the values of a row, by tag."""
    return {tag: float(cell) for tag, cell in row.items() if tag not in ("step", "epoch")}


class TensorBoard(RunLogger):
    """Event files in the run's folder, written while it trains."""


class Csv(RunLogger):
    """No other receiver: metrics.csv and pictures/ are in each run's folder."""
