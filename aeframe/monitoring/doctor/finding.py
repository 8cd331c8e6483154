"""Finding of the doctor: what is wrong with a run, and what to try."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Finding:
    """Finding of a rule. seen: the symptom, with numbers and its first epoch. epoch: of the report.

    remedy: the override to try, as typed, where one is valid for this run. longer: whether the remedy is
    to train longer.
    """

    rule: str
    epoch: int
    seen: str
    remedy: str | None
    longer: bool = False

    def __str__(self) -> str:
        return f"Doctor: {self.seen}." + (f" Try: {self.remedy}" if self.remedy else "")

    def format_for_end(self, command: str | None) -> str:
        """Format the finding for the end of training, with the whole command to try."""
        return f"Doctor: {self.seen}." + (f" Try: {command}" if command else "")

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {"rule": self.rule, "epoch": self.epoch, "seen": self.seen, "try": self.remedy}
