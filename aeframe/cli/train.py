"""The command train: check, compose, and start Hydra's jobs."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aeframe.cli.exit import end_with
from aeframe.cli.jobs import Jobs
from aeframe.cli.slurm import is_in_job
from aeframe.core.errors import Problem, UserError, build_read_error
from aeframe.core.signals import REQUEUE, Interrupted, delay_sigint, raise_on


def train() -> None:
    """Train what sys.argv says; ends the process with 0 done, 1 failed, 2 the user's mistake."""
    from aeframe.training.processes import end_with_the_first

    end_with_the_first()
    end_with(lambda: _train(sys.argv[1:]))


def _train(argv: Sequence[str]) -> int:
    from aeframe.cli.command_line import parse
    from aeframe.cli.completion import FLAG, completions
    from aeframe.cli.run_folders import Folders
    from aeframe.config.composition import CONF

    if argv[:1] == [FLAG] and len(argv) == 3:
        print("\n".join(completions(argv[1], int(argv[2]))))
        return 0
    command = parse(argv)
    if command.asks:
        from aeframe.cli.help import help_text

        print(help_text(command.folders), end="")
        return 0
    with delay_sigint():
        import hydra

        from aeframe.cli.checked_loader import checked_composition
        from aeframe.cli.hydra_errors import explained
        from aeframe.cli.sweep import SweepTable, show_unfinished

    if not os.environ.keys() & {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}:
        # threads that wait for each other would hold cores for milliseconds that another process and the very
        # thread that they wait for need: a tenth of the speed. Read when torch is imported
        os.environ["GOMP_SPINCOUNT"] = "1000"
    # Hydra would print its own advice and end the process; this way its exceptions arrive here
    os.environ["HYDRA_FULL_ERROR"] = "1"
    command = _resumed(command)
    folders = Folders(make=command.trains)
    folders.register()
    jobs = Jobs(command, folders)
    sys.argv = [sys.argv[0], *command.argv]
    SweepTable.failures, SweepTable.folder, SweepTable.is_shown = 0, None, False
    sweeps = False
    with explained(command), folders.dropped_if_empty(), checked_composition():
        if command.trains:
            # before Hydra makes a folder or writes into an existing one
            command, sweeps = _allowed(command, jobs)
            sys.argv = [sys.argv[0], *command.argv]
        ends = [
            *([signal.SIGTERM, signal.SIGHUP] if sweeps else []),
            *([REQUEUE] if sweeps or is_in_job() else []),
        ]
        try:
            with raise_on(ends):
                hydra.main(config_path=str(CONF), config_name="config", version_base="1.3")(jobs)()
        except (Interrupted, KeyboardInterrupt) as end:
            raise jobs.ended(end) from None
        except Exception:
            show_unfinished()
            raise
    if jobs.failure is not None:
        raise jobs.failure
    if jobs.mistakes and jobs.mistakes == jobs.started:  # no job of the sweep was ever right
        return 2
    return int(SweepTable.failures > 0 or jobs.mistakes > 0)


def _resumed(command: Any) -> Any:
    """The command line, in the folder of the run that it names."""
    from aeframe.config.override_words import AUTOMATIC
    from aeframe.core.local_paths import expand_path
    from aeframe.core.process import is_first_process

    if not command.trains or command.resume in (None, *AUTOMATIC):
        return command
    word = f"resume={command.resume}"
    folder = expand_path(command.resume, word)
    if command.names("hydra.run.dir"):
        if not is_first_process():
            return command  # the first one told it
        raise UserError(word, "the run goes on in its own folder", "Leave hydra.run.dir out.")
    try:
        if command.multirun or (folder / "multirun.yaml").exists():
            raise _sweep_named(word)
        if "${" in word:
            what = "Hydra would put something else in place of ${"
            raise UserError(word, what, "Rename the folder.")
        if not (folder / "checkpoints" / "last.ckpt").exists():
            raise _no_run(word, folder)
    except OSError as error:
        raise build_read_error(word, error, "") from error
    return command.going_on(folder)


def _sweep_named(word: str) -> UserError:
    remedy = "Write the sweep's command again, with hydra.sweep.dir=FOLDER resume=auto."
    return UserError(word, "a sweep cannot be named here", remedy)


def _no_run(word: str, folder: Path) -> UserError:
    for above in folder.parents:  # of the checkpoint itself, which other programs want to be told
        if (above / "checkpoints" / "last.ckpt").exists():
            what = "is in the folder of a run, and not that folder"
            return UserError(word, what, f"Write resume={shlex.quote(str(above))}.")
    if not folder.is_dir():
        what = "is no folder" if folder.exists() else "there is no such folder"
        return UserError(word, what, "Write auto, or the folder of a run.")
    return UserError(word, "holds no checkpoint of a run", "Start it anew.")


def _allowed(command: Any, jobs: Jobs) -> tuple[Any, bool]:
    """The command line, whose configuration and folder are good, and whether it is a sweep's.

    No file was touched. Of a sweep by -m the jobs' configurations are not known yet.
    """
    from aeframe.config.override_words import AUTOMATIC
    from aeframe.core.process import is_first_process
    from aeframe.runs.folder import refuse_run, refuse_used
    from aeframe.runs.foreign_files import Beginning, refuse_foreign, refuse_foreign_sweep

    composed: Any = (None, command.sweep, True) if command.multirun else command.compose()
    cfg, folder, sweeps = composed
    if sweeps:
        if command.resume not in (None, *AUTOMATIC):
            raise _sweep_named(f"resume={command.resume}")
        if cfg is not None:
            jobs.check(cfg, None)
        _say_where_it_can_only_begin(command, folder, "hydra.sweep.dir")
        if folder is None:
            return command, True
        refuse_foreign_sweep(folder)
        refuse_run(folder)
        jobs.keep_configurations = True
        return command.writing_no_configuration(), True
    if folder is not None:
        refuse_foreign(folder)
    goes_on = jobs.check(cfg, folder)
    _say_where_it_can_only_begin(command, folder, "hydra.run.dir")
    if folder is None or not is_first_process():
        return command, False
    refuse_used(folder, cfg.get("resume") is not None)
    if goes_on:
        return command.writing_no_configuration(), False
    jobs.beginning = Beginning(folder)
    return command, False


def _say_where_it_can_only_begin(command: Any, folder: Path | None, key: str) -> None:
    from aeframe.config.override_words import AUTOMATIC
    from aeframe.core.process import is_first_process

    if folder is None and command.resume in AUTOMATIC and is_first_process():
        what = "the folder is a new one, in which there is nothing to go on from"
        print(f"Note: {Problem(f'resume={command.resume}', what, f'Write {key}=FOLDER as well.')}")
