"""Summary of a finished run in its folder's README.md: what was trained, the result, and commands."""

from __future__ import annotations

from pathlib import Path

from aeframe.monitoring.dashboard.text import format_card
from aeframe.runs.folder_guide import write_guide
from aeframe.training.next_commands import LONGER, list_next_commands
from aeframe.training.outcome import Outcome
from aeframe.training.report import describe_run, list_advice


def write_summary(folder: Path, outcome: Outcome) -> None:
    """Write the summary into the guide of the folder."""
    built, result = outcome.attempt.built, outcome.result
    onward = list_next_commands(built.node, result, folder, built.net.step is not None)
    if not outcome.needs_longer:
        onward.pop(LONGER, None)
    commands = [f"# {what}\n{text}" for what, text in onward.items()]
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
