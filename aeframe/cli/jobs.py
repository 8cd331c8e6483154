"""Jobs, which Hydra calls: each one checks, trains, and records its errors."""

from __future__ import annotations

import contextlib
import math
import shlex
import shutil
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from aeframe.cli.resuming import build_finished_error, find_saved, write_configuration
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

        typed = self.command.overrides
        node, saved = find_saved(to_plain(cfg), folder, typed, typed)
        check(node)
        return saved is not None

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
        from aeframe.config.plugins import use_plugins
        from aeframe.training.garbage import free_cycles

        with use_plugins(self.command.plugins):  # a launcher's process has none yet
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
                self._delete_new_run(folder)
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
        if is_first_process() and not others and not isinstance(self.failure, MachineError):
            with contextlib.suppress(OSError):
                (folder / FAILED).write_text(text)
        if is_sweep:  # the table shows it; the other jobs continue
            print(f"failed: {text.splitlines()[0]}", file=sys.stderr)
            self.mistakes += mistake
            self.failure = None
        elif mistake:
            self._delete_new_run(folder)

    def _delete_new_run(self, folder: Path) -> None:
        """Delete a folder that was made for this run, unless it holds a checkpoint."""
        if folder in self.folders.made and not any(folder.glob("checkpoints/*.ckpt")):
            shutil.rmtree(folder)
            with contextlib.suppress(OSError):  # the folder of the day, if it is empty now
                folder.parent.rmdir()

    def hold_folder(self) -> contextlib.AbstractContextManager[None]:
        """Hold a named folder of a new run, from before Hydra writes into it."""
        return contextlib.nullcontext() if self.beginning is None else self.beginning.hold()

    def _run(self, cfg: Any, folder: Path) -> float:
        """Train, unless the job has finished, or has failed before and is not to be retried."""
        from hydra.core.hydra_config import HydraConfig
        from hydra.types import RunMode

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
        node, saved = find_saved(given, folder, words, self.command.overrides)
        if saved is not None and saved.is_done(node):
            if cfg.resume not in AUTOMATIC:
                raise build_finished_error(saved, f"resume={cfg.resume}")
            print(f"{folder}: has finished")
            return saved.value
        if self.keep_configurations:
            refuse_used(folder, cfg.resume is not None)
            hydra: Any = HydraConfig.instance().cfg
            write_configuration(cfg, hydra.hydra, folder)
        failed.unlink(missing_ok=True)
        brief = HydraConfig.get().mode == RunMode.MULTIRUN
        return run(node, folder, self.command.flags, saved, brief=brief)
