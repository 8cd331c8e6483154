"""Summary of a finished run in its folder's README.md: what was trained, the result, and commands."""

from __future__ import annotations

from pathlib import Path

from aeframe.monitoring.dashboard.text import format_card
from aeframe.runs.folder_guide import write_guide
from aeframe.training.outcome import Outcome
from aeframe.training.report import describe_run, list_advice, list_onward


def write_summary(folder: Path, outcome: Outcome) -> None:
    """Write the summary into the guide of the folder."""
    built = outcome.attempt.built
    commands = [f"# {what}\n{text}" for what, text in list_onward(outcome, folder).items()]
    sentences = [*outcome.reasons, *list_advice(outcome)]
    parts = [
        f"{describe_run(built)}.",
        f"## Result after {outcome.length}",
        format_card(outcome.tested.card).strip(),
        *sentences,
        "## Commands",
        "```bash\n" + "\n".join(commands) + "\n```",
        "## Files",
    ]
    write_guide(folder, "\n\n".join(parts))
