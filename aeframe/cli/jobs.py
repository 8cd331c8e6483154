"""Jobs, which Hydra calls: each one checks, trains, and records its errors."""

from __future__ import annotations

import contextlib
import math
import shlex
import shutil
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aeframe.core.errors import TrainingError, UserError
from aeframe.core.late_imports import protect_imports
from aeframe.core.signals import Interrupted
from aeframe.runs.foreign_files import Beginning


class Jobs:
    """The function that Hydra calls for each job, with its state.

    keep_configurations: write .hydra/ here, and only for jobs that train. Hydra would write it for all,
    and overwrite that of another job in the folder of an earlier sweep. resumes: the current job resumes
    in its folder if it is started again. beginning: the state of a named folder before the run.
    """

    def __init__(self, command: Any, folders: Any) -> None:
        self.command, self.folders = command, folders
        self.failure: Exception | None = None
        self.started = self.mistakes = 0
        self.keep_configurations = self.resumes = False
        self.beginning: Beginning | None = None

    def check(self, cfg: Any, folder: Path | None) -> bool:
        """Raise ConfigError with every mistake in the configuration. folder: that of the run, if known.

        Returns True if there is a checkpoint to resume from.
        """
        with protect_imports(owns_process=True):
            from aeframe.config.check import check
            from aeframe.config.node import to_plain

        node, saved = self._find_saved(to_plain(cfg), folder, self.command.overrides)
        check(node)
        return saved is not None

    def _find_saved(self, node: Any, folder: Path | None, words: Sequence[str]) -> tuple[Any, Any]:
        """Find the configuration to train with, and the checkpoint to resume from, or None.

        folder: that of the run, if known. words: the overrides of the run.
        """
        if node.get("resume") is None or folder is None:
            return node, None
        with protect_imports(owns_process=True):
            from aeframe.config.override_words import AUTOMATIC
            from aeframe.runs.checkpoint import read_checkpoint
            from aeframe.training.resume import configuration as resume

        saved = read_checkpoint(folder)
        if saved is None:
            self._start_new_run(node, folder, words)
            return node, None
        node = _restore_choices(saved, node, words)
        if node["resume"] in AUTOMATIC:
            resume.check_same(saved, node)
        else:
            node = resume.apply_overrides(saved, self.command.overrides, node)
        resume.check_length(saved, node)
        resume.check_time(saved, node)
        return resume.keep_normalization(saved, node), saved

    def _start_new_run(self, node: Any, folder: Path, words: Sequence[str]) -> None:
        """Raise ConfigError if the folder, which has no last checkpoint, holds another run."""
        from aeframe.runs.checkpoint import read_checkpoint
        from aeframe.runs.layout import BEST
        from aeframe.training.resume.configuration import check_same

        if (best := read_checkpoint(folder, BEST)) is not None:
            check_same(best, _restore_choices(best, node, words))

    def build_end(self, end: Interrupted | KeyboardInterrupt) -> BaseException:
        """Build the exception for a signal, with the command that resumes the run, or the whole sweep."""
        from aeframe.cli.slurm import is_in_job
        from aeframe.cli.sweep import SweepTable

        sweep = SweepTable.folder
        if sweep is None and isinstance(end, KeyboardInterrupt):
            return end
        number = end.number if isinstance(end, Interrupted) else signal.SIGINT
        folder = end.folder if isinstance(end, Interrupted) else None
        again = shlex.quote(f"hydra.sweep.dir={sweep}")
        onward = f"the same command with {again} resume=auto" if sweep else ""
        return Interrupted(number, folder, onward, requeues=self.resumes and is_in_job())

    def __call__(self, cfg: Any) -> float:
        """Do a job. Returns the optimized metric, or the worst possible value if the job failed."""
        from hydra.core.hydra_config import HydraConfig

        from aeframe.cli.sweep_direction import get_worst_value
        from aeframe.training.garbage import free_cycles

        # the exception of a failed run refers to all of its objects
        value = free_cycles(self._try_job)(cfg)
        return get_worst_value(HydraConfig.get().sweeper) if math.isnan(value) else value

    def _try_job(self, cfg: Any) -> float:
        """Do a job, and record an error in its folder. Returns the optimized metric; NaN for a failed job."""
        from hydra.core.hydra_config import HydraConfig
        from hydra.types import RunMode

        from aeframe.cli.sweep_direction import check_job

        hydra = HydraConfig.get()
        folder = Path(hydra.runtime.output_dir)
        is_new = not {folder, *folder.parents}.isdisjoint(self.folders.made)
        self.resumes = cfg.get("resume") is not None and not is_new
        self.started += 1
        try:
            if hydra.mode == RunMode.MULTIRUN:
                check_job(hydra.sweeper, cfg)
            return self._run(cfg, folder)
        except (UserError, TrainingError) as error:
            self.failure = error
            text = str(error)
        except BrokenPipeError as error:  # the reader, such as head, has closed the pipe
            self.failure = error
            return float("nan")
        except Exception as error:
            if hydra.mode != RunMode.MULTIRUN:
                raise
            traceback.print_exc()
            self.failure = error
            text = f"{type(error).__name__}: {error}\n{traceback.format_exc()}"
        self._record_failure(text, folder, is_sweep=hydra.mode == RunMode.MULTIRUN)
        return float("nan")

    def _record_failure(self, text: str, folder: Path, *, is_sweep: bool) -> None:
        """Write failed.txt, or delete the files of a single run with a mistake."""
        from aeframe.cli.sweep import FAILED
        from aeframe.core.errors import MachineError
        from aeframe.core.process import is_first_process

        mistake = isinstance(self.failure, UserError)
        others = mistake and (folder / "checkpoints").exists()  # an earlier run
        trained = any(folder.glob("checkpoints/*.ckpt"))
        if is_first_process() and not others and not isinstance(self.failure, MachineError):
            with contextlib.suppress(OSError):
                (folder / FAILED).write_text(text)
        if is_sweep:  # the table shows it; the other jobs continue
            print(f"failed: {text.splitlines()[0]}", file=sys.stderr)
            self.mistakes += mistake
            self.failure = None
        elif mistake and self.beginning is not None:
            self.beginning.restore()
        elif mistake and folder in self.folders.made and not trained:
            shutil.rmtree(folder)  # it holds only the configuration of a run that never started
            with contextlib.suppress(OSError):  # the folder of the day, if it is empty now
                folder.parent.rmdir()

    def _run(self, cfg: Any, folder: Path) -> float:
        """Train, unless the job has finished, or has failed before and is not to be retried."""
        from hydra.core.hydra_config import HydraConfig

        from aeframe.cli.sweep import FAILED

        with protect_imports(owns_process=True):
            from aeframe.config.node import to_plain
            from aeframe.config.override_words import AUTOMATIC
            from aeframe.runs.folder import refuse_used
            from aeframe.training.run import run

        failed = folder / FAILED
        if failed.exists() and cfg.resume == "auto" and self.command.multirun:
            print(f"{folder}: failed before; resume=retry tries it again", file=sys.stderr)
            return float("nan")
        given, words = to_plain(cfg), list(HydraConfig.get().overrides.task)
        node, saved = self._find_saved(given, folder, words)
        if saved is not None and saved.is_done(node):
            if cfg.resume not in AUTOMATIC:
                what = f"has finished, after {saved.steps:,} steps"
                remedy = "Write a larger trainer.max_epochs to train on."
                if saved.ended_early:
                    keys = "until or early_stopping keys, or a longer trainer.max_time,"
                    remedy = f"Write other {keys} to train on."
                raise UserError(f"resume={cfg.resume}", what, remedy)
            print(f"{folder}: has finished")
            return saved.value
        if self.keep_configurations:
            refuse_used(folder, cfg.resume is not None)
            _write_configuration(cfg, folder / ".hydra")
        failed.unlink(missing_ok=True)
        return run(node, folder, self.command.flags, saved)


def _restore_choices(saved: Any, node: Any, words: Sequence[str]) -> Any:
    """Restore the choices of parts and defaults that were made when the run began."""
    from aeframe.training.resume.configuration import keep_choices
    from aeframe.training.resume.older_defaults import keep_own_defaults

    return keep_own_defaults(saved, words, keep_choices(saved, node))


def _write_configuration(cfg: Any, folder: Path) -> None:
    """Write the configuration into .hydra/, as Hydra does for a job."""
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    hydra: Any = HydraConfig.instance().cfg
    folder.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(cfg, folder / "config.yaml")
    OmegaConf.save(hydra, folder / "hydra.yaml")
    OmegaConf.save(hydra.hydra.overrides.task, folder / "overrides.yaml")
