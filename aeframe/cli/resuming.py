"""Resumed runs: the configuration to train with, and the files that record it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aeframe.core.errors import UserError
from aeframe.core.late_imports import protect_imports


def find_saved(
    node: Any, folder: Path | None, words: Sequence[str], typed: Sequence[str]
) -> tuple[Any, Any]:
    """Find the configuration to train with, and the checkpoint to resume from, or None.

    folder: that of the run, if known. words: the overrides of the run. typed: those of the whole command.
    """
    if node.get("resume") is None or folder is None:
        return node, None
    with protect_imports():
        from aeframe.config.override_words import AUTOMATIC
        from aeframe.runs.checkpoint import read_checkpoint
        from aeframe.training.resume import configuration as resume

    saved = read_checkpoint(folder)
    if saved is None:
        _check_new_run(node, folder, words)
        return node, None
    node = _restore_choices(saved, node, words)
    if node["resume"] in AUTOMATIC:
        resume.check_same(saved, node, words)
    else:
        node = resume.apply_overrides(saved, typed, node)
    resume.check_length(saved, node)
    resume.check_time(saved, node)
    return resume.keep_normalization(saved, node), saved


def _check_new_run(node: Any, folder: Path, words: Sequence[str]) -> None:
    """Raise ConfigError if the folder, which has no last checkpoint, holds another run."""
    from aeframe.runs.checkpoint import read_checkpoint
    from aeframe.runs.layout import BEST
    from aeframe.training.resume.configuration import check_same

    if (best := read_checkpoint(folder, BEST)) is not None:
        check_same(best, _restore_choices(best, node, words), words)


def _restore_choices(saved: Any, node: Any, words: Sequence[str]) -> Any:
    """Restore the choices of parts and defaults that were made when the run began."""
    from aeframe.training.resume.configuration import keep_choices
    from aeframe.training.resume.older_defaults import keep_own_defaults

    return keep_own_defaults(saved, words, keep_choices(saved, node))


def build_finished_error(saved: Any, where: str) -> UserError:
    """Build the error for a finished run that is resumed with nothing left to do."""
    what = f"has finished, after {saved.steps:,} steps"
    remedy = "Write a larger trainer.max_epochs to train on."
    if saved.ended_early:
        keys = "until or early_stopping keys, or a longer trainer.max_time,"
        remedy = f"Write other {keys} to train on."
    return UserError(where, what, remedy)


def write_configuration(cfg: Any, hydra: Any, folder: Path) -> None:
    """Write the configuration into .hydra/, as Hydra does for a job. hydra: its own part."""
    from omegaconf import OmegaConf

    place = folder / ".hydra"
    place.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(cfg, place / "config.yaml")
    OmegaConf.save(OmegaConf.create({"hydra": hydra}), place / "hydra.yaml")
    OmegaConf.save(hydra.overrides.task, place / "overrides.yaml")
