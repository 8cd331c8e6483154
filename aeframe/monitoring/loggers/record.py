"""Record of a run, and the loggers that take it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import uuid4

from aeframe.core.errors import UserError
from aeframe.core.files import write_atomically
from aeframe.core.plain import as_mapping, flatten
from aeframe.core.regular_files import read_text
from aeframe.core.strict_json import format_json
from aeframe.monitoring.metrics_file import NAME, Row, read_rows

SENT = "sent.json"
"""File in a run's folder that says what its loggers have got."""
LARGEST = 2**20  # bytes of it
NOT_IN_NAMES = r"[^\w\-./ ]"
"""Characters that MLflow takes in no name of a metric."""


@dataclass(frozen=True)
class Record:
    """Record of a run. folder: of the run. node: its configuration. result: evaluation.json, at its end.

    given: its rows until now, while it trains; None for a run that has ended.
    """

    folder: Path
    node: Mapping[str, Any]
    result: Mapping[str, Any]
    given: Sequence[Row] | None = None

    @property
    def has_ended(self) -> bool:
        """Check whether the run has ended."""
        return self.given is None

    @cached_property
    def rows(self) -> Sequence[Row]:
        """Curves until now: a row for each logged step."""
        return read_rows(self.folder / NAME) if self.given is None else self.given

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
    """Logger, which gets a run from the run's own files: while it trains, and at its end.

    No server can therefore delay or end training. package: what it needs. splits_steps: it takes the values
    of one step in parts.
    """

    package: str | None = None
    splits_steps: bool = True
    has_begun: bool = False
    """Set with the first part that this process sends."""
    token: str = ""
    """Name of the run for the receiver, noted before the first part: it finds that part after a kill."""

    def check_package(self, name: str) -> None:
        """Raise UserError with the command that installs the missing package. name: the option's."""
        if self.package is not None and find_spec(self.package) is None:
            remedy = f"Install it: python -m pip install 'aeframe[{self.package}]'."
            raise UserError(f"logger={name}", f"needs {self.package}", remedy)

    def deliver(self, name: str, record: Record) -> None:
        """Send what has not been sent yet, and note it in the run's folder."""
        notes = _read_notes(record.folder)
        before = as_mapping(notes.get(name))
        known, last = before.get("id"), as_mapping(before.get("last"))
        token = before.get("token")
        self.token = token if isinstance(token, str) and token.isalnum() else uuid4().hex[:16]
        # the last step of a run that trains may get more values
        whole = record.has_ended or self.splits_steps
        ready = record.rows if whole else record.rows[:-1]
        was_killed = bool(before.get("open")) and not self.has_begun
        if was_killed and self.recover(record.folder, str(known or self.token)):
            last = {}
        rows = [row for row in (_subtract(row, last) for row in ready) if row]
        if not rows and not record.has_ended:
            return
        if not before:
            first = {"token": self.token, "last": {}, "open": True}
            _write_notes(record.folder, {**notes, name: first})
        identity = self.send(record, rows, known if isinstance(known, str) else None)
        self.has_begun = True
        if identity is not None:
            sent = {"id": identity, "token": self.token, "last": ready[-1] if ready else last}
            _write_notes(record.folder, {**notes, name: sent | {"open": not record.has_ended}})

    def stop(self, name: str, folder: Path) -> None:
        """Close what is open: training has stopped before its end. A resumed run sends the rest."""
        self.pause()
        notes = _read_notes(folder)
        if name in notes:
            _write_notes(folder, {**notes, name: {**notes[name], "open": False}})

    def send(self, record: Record, rows: list[Row], identity: str | None) -> str | None:
        """Send a part of a run. Returns the run's name at the receiver; None if there is no receiver.

        record: tells by `has_ended` if this is the last part, with results and pictures. rows: those to be
        sent. identity: the name of the run that is to be continued; None for the first part.
        """
        return None

    def pause(self) -> None:
        """Close what is open at the receiver."""

    def recover(self, folder: Path, identity: str) -> bool:
        """Prepare to send all rows again, because those of a killed process may not have arrived.

        Returns False to send only those that were not noted as sent. folder: of the run. identity: its name
        at the receiver.
        """
        return False


def forget_sent(folder: Path, steps: int) -> None:
    """Forget the receivers that have points beyond these steps, which the run is about to repeat.

    This happens only after a divergence, when the repeated points are others: they get a run of their own.
    """
    notes = _read_notes(folder)
    kept = {name: note for name, note in notes.items() if _count_steps(note) <= steps}
    if kept != notes:
        _write_notes(folder, kept)


def _count_steps(note: Any) -> float:
    """Return the last step that a note tells; infinity for a note that no run has written."""
    try:
        return int(as_mapping(note)["last"].get("step", -1))
    except (AttributeError, KeyError, TypeError, ValueError):
        return math.inf


def _read_notes(folder: Path) -> Mapping[str, Any]:
    try:
        return as_mapping(json.loads(read_text(folder / SENT, LARGEST)))
    except (OSError, ValueError, RecursionError):
        return {}


def _write_notes(folder: Path, notes: Mapping[str, Any]) -> None:
    with write_atomically(folder / SENT, f".{SENT}.partial") as opened:  # training may write, too
        opened.write(f"{format_json(notes)}\n".encode())


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
