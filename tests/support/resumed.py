"""Runs that are resumed."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.paces import differences
from tests.support.run_contents import story
from tests.support.runs import TWO


def unlike(a: Path, b: Path) -> list[str]:
    """List the differences between two runs, except for the paths of their files and their commands."""
    found = differences(story(a), story(b))
    places = (
        r"/(best_model_path|kth_best_model_path|best_k_models|dirpath): |/hyper_parameters/"
        r"|^/files/.hydra/"
    )
    return [text[:200] for text in found if not re.search(places, text)]


def auto(*words: str) -> tuple[str, ...]:
    return (*TWO, "hydra.run.dir=run", "resume=auto", *words)
