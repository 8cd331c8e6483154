"""The command train: checks the command line, and starts the jobs through Hydra."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from aeframe.cli.exit import end_with
from aeframe.cli.jobs import Jobs
from aeframe.cli.slurm import is_in_job
from aeframe.core.errors import ConfigError, Problem, UserError, build_read_error
from aeframe.core.late_imports import protect_imports
from aeframe.core.process import get_command
from aeframe.core.signals import REQUEUE, Interrupted, raise_on


def train() -> None:
    """Train by sys.argv, and end the process. Exit status: 0 done, 1 failed, 2 a mistake of the user."""
    from aeframe.training.processes import end_with_the_first

    end_with_the_first()
    end_with(lambda: _train(sys.argv[1:]))


def _train(argv: Sequence[str]) -> int:
    from aeframe.cli.completion import FLAG, list_completions
    from aeframe.config.plugins import take_flags, use_plugins

    if argv[:1] == [FLAG] and len(argv) == 3:
        print("\n".join(list_completions(argv[1], int(argv[2]))))
        return 0
    plugins, words = take_flags(argv)
    with use_plugins(plugins):
        return _train_with_plugins(words)


def _train_with_plugins(argv: Sequence[str]) -> int:
    from aeframe.cli.command_line import parse
    from aeframe.cli.run_folders import Folders

    command = parse(argv)
    if command.asks:
        from aeframe.cli.help import write_help

        if command.overrides:
            from aeframe.cli.option_help import write_option_help

            print(write_option_help(command.overrides, command.folders), end="")
        else:
            print(write_help(command.folders), end="")
        return 0
    with protect_imports(owns_process=True):
        from aeframe.cli.checked_loader import check_composition
        from aeframe.cli.hydra_errors import translate_errors
        from aeframe.cli.sweep import SweepTable

    if not os.environ.keys() & {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}:
        # OpenMP threads that wait for each other would spin for milliseconds, and take cores from other
        # processes and from the thread that they wait for: a tenth of the speed. torch reads it on import
        os.environ["GOMP_SPINCOUNT"] = "1000"
    # so that Hydra raises its exceptions, and does not print advice and exit
    os.environ["HYDRA_FULL_ERROR"] = "1"
    if command.mistakes is not None:
        raise ConfigError(command.mistakes.list_all(_list_other_mistakes(command)))
    command = _locate_resume(command)
    folders = Folders(make=command.trains)
    folders.register()
    jobs = Jobs(command, folders)
    sys.argv = [sys.argv[0], *command.argv]
    SweepTable.failures, SweepTable.folder, SweepTable.is_shown = 0, None, False
    sweeps = False
    with translate_errors(command), folders.delete_if_empty(), check_composition():
        if command.trains:
            # before Hydra makes a folder or writes into an existing one
            command, sweeps = _check_command(command, jobs)
            sys.argv = [sys.argv[0], *command.argv]
        with jobs.hold_folder():
            _start_jobs(jobs, sweeps)
            if jobs.failure is not None:
                raise jobs.failure
    if jobs.mistakes and jobs.mistakes == jobs.started:  # every job of the sweep had a mistake
        return 2
    return int(SweepTable.failures > 0 or jobs.mistakes > 0)


def _list_other_mistakes(command: Any) -> Sequence[Problem]:
    """List the mistakes in the configuration that the corrected words of a command give."""
    from aeframe.cli.checked_loader import check_composition
    from aeframe.cli.hydra_errors import translate_errors
    from aeframe.cli.run_folders import Folders

    if (
        not command.trains
        or command.multirun
        or command.resume is not None
        or not command.overrides
    ):
        return ()  # its configuration is not known yet
    folders = Folders(make=False)
    folders.register()
    try:
        with translate_errors(command), check_composition():
            Jobs(command, folders).check(replace(command, mistakes=None).compose()[0], None)
    except UserError as error:
        return error.problems
    return ()


def _start_jobs(jobs: Jobs, sweeps: bool) -> None:
    """Let Hydra start the jobs. Raises Interrupted, with the command that resumes them, after a signal."""
    import hydra

    from aeframe.cli.plugin_folders import add_plugin_folders
    from aeframe.cli.sweep import show_unfinished
    from aeframe.config.composition import CONF

    numbers = [
        *([signal.SIGTERM, signal.SIGHUP] if sweeps else []),
        *([REQUEUE] if sweeps or is_in_job() else []),
    ]
    add_plugin_folders()
    try:
        with raise_on(numbers):
            hydra.main(config_path=str(CONF), config_name="config", version_base="1.3")(jobs)()
    except (Interrupted, KeyboardInterrupt) as end:
        raise jobs.build_end(end) from None
    except Exception:
        show_unfinished()
        raise


def _locate_resume(command: Any) -> Any:
    """Return the command in the folder of the run that `resume` names, if it names one."""
    from aeframe.config.override_words import AUTOMATIC
    from aeframe.core.local_paths import expand_path
    from aeframe.core.process import is_first_process

    if not command.trains or command.resume in (None, *AUTOMATIC):
        return command
    word = f"resume={command.resume}"
    folder = expand_path(command.resume, word)
    if command.has_override("hydra.run.dir"):
        if not is_first_process():
            return command  # the first process has added it
        raise UserError(
            word, "a resumed run continues in its own folder", "Leave hydra.run.dir out."
        )
    try:
        if command.multirun or (folder / "multirun.yaml").exists():
            raise _build_sweep_error(word)
        if "${" in word:
            what = "Hydra would replace ${...} in the name"
            raise UserError(word, what, "Rename the folder.")
        if not (folder / "checkpoints" / "last.ckpt").exists():
            raise _build_no_run_error(word, folder)
    except OSError as error:
        raise build_read_error(word, error, "") from error
    return command.resume_in(folder)


def _build_sweep_error(word: str) -> UserError:
    remedy = "Repeat the sweep's command with hydra.sweep.dir=FOLDER resume=auto."
    return UserError(word, "a sweep cannot be resumed this way", remedy)


def _build_no_run_error(word: str, folder: Path) -> UserError:
    for above in folder.parents:  # others want the path of the checkpoint itself
        if (above / "checkpoints" / "last.ckpt").exists():
            what = "lies inside the folder of a run"
            return UserError(word, what, f"Write resume={shlex.quote(str(above))}.")
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        return UserError(word, what, "Write auto, or the folder of a run.")
    if runs := sorted(
        folder.glob("**/checkpoints/last.ckpt"), key=lambda path: path.stat().st_mtime
    ):
        newest = shlex.quote(f"resume={runs[-1].parent.parent}")
        what = f"holds {len(runs)} run{'s' * (len(runs) > 1)}, but is not a run"
        return UserError(word, what, f"For the newest write: {get_command()} {newest}")
    return UserError(word, "has no checkpoint to resume from", "Start the run again.")


def _check_command(command: Any, jobs: Jobs) -> tuple[Any, bool]:
    """Check configuration and folder before Hydra writes anything. Returns the command, and True for a sweep.

    For a sweep by -m the jobs' configurations are not known yet.
    """
    from aeframe.config.override_words import AUTOMATIC
    from aeframe.core.process import is_first_process
    from aeframe.runs.folder import has_run, refuse_run, refuse_used
    from aeframe.runs.foreign_files import (
        Beginning,
        refuse_foreign,
        refuse_foreign_sweep,
        refuse_other_use,
    )

    cfg: Any = None
    folder, sweeps = command.sweep, True
    if not command.multirun:
        cfg, _, folder, sweeps = command.compose()
    if sweeps:
        if command.resume not in (None, *AUTOMATIC):
            raise _build_sweep_error(f"resume={command.resume}")
        if cfg is not None:
            jobs.check(cfg, None)
        _warn_if_new(command, folder, "hydra.sweep.dir")
        if folder is None:
            return command, True
        refuse_foreign_sweep(folder)
        refuse_run(folder)
        refuse_other_use(folder, "hydra.sweep.dir")
        jobs.keep_configurations = True
        return command.keep_configuration(), True
    if folder is not None:
        refuse_foreign(folder)
    resumes = jobs.check(cfg, folder)
    _warn_if_new(command, folder, "hydra.run.dir")
    if folder is None or not is_first_process():
        return command, False
    refuse_used(folder, cfg.get("resume") is not None)
    if not has_run(folder):
        refuse_other_use(folder, "hydra.run.dir")
    if resumes:
        return command.keep_configuration(), False
    jobs.beginning = Beginning(folder)
    return command, False


def _warn_if_new(command: Any, folder: Path | None, key: str) -> None:
    from aeframe.config.override_words import AUTOMATIC
    from aeframe.core.process import is_first_process

    if folder is None and command.resume in AUTOMATIC and is_first_process():
        what = "each start makes a new folder, so there is nothing to resume"
        print(f"Note: {Problem(f'resume={command.resume}', what, f'Write {key}=FOLDER as well.')}")
