"""The command line: `aeframe VERB`, and what `python train.py` does."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from aeframe import __version__
from aeframe.core.errors import Problem, TrainingError, UserError, unreadable
from aeframe.core.signals import REQUEUE, Interrupted, ended_by, held_back
from aeframe.jobs import Jobs
from aeframe.slurm import is_in_job, requeue
from aeframe.standard_output import heard

DESCRIPTION = """\
Trains autoencoders from configuration, and puts them to work.

  aeframe train [GROUP=OPTION ...] [KEY=VALUE ...]    as `python train.py` in a checkout
  aeframe train -m model=sparse,denoising seed=0,1    a sweep
  aeframe train --help                                groups and their options
  aeframe train --cfg job                             all keys and their values
  aeframe VERB --help                                 what a verb takes, with an example

verbs:
"""
END = 'Completion of what is typed: eval "$(aeframe --completion bash)", or zsh.'


def main() -> None:
    """The `aeframe` command."""
    if sys.argv[1:2] == ["train"]:
        sys.argv = [sys.argv[0], *sys.argv[2:]]
        train()
    _end_with(lambda: _work(sys.argv[1:]))


def _work(argv: Sequence[str]) -> int:
    """Do what a verb other than train says."""
    from aeframe.core.local_paths import refuse_addresses
    from aeframe.verbs import VERBS
    from aeframe.verbs.base import Parser
    from aeframe.verbs.completion import SHELLS, script

    if argv and argv[0] in VERBS:
        verb = VERBS[argv[0]]
        raw = argparse.RawDescriptionHelpFormatter
        parser = Parser(
            f"aeframe {verb.name}",
            description=f"{verb.summary[0].upper()}{verb.summary[1:]}.",
            epilog=f"example:\n  {verb.example}",
            formatter_class=raw,
        )
        verb.arguments(parser)
        options = parser.parse_args(argv[1:])
        refuse_addresses(vars(options).values())
        with ended_by([signal.SIGTERM]):  # what is half there goes
            verb.run(options)
        return 0
    told = {"train": "train an autoencoder", **{v.name: v.summary for v in VERBS.values()}}
    verbs = "\n".join(f"  {name:<12} {summary}" for name, summary in told.items())
    parser = Parser(
        "aeframe",
        usage="aeframe VERB ...",
        description=f"{DESCRIPTION}{verbs}",
        epilog=END,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"aeframe {__version__}")
    parser.add_argument("--completion", choices=SHELLS, help="print what the shell evaluates")
    parser.add_argument("verb", nargs="?", choices=list(told), help=argparse.SUPPRESS)
    options = parser.parse_args(argv[:2] if argv[:1] == ["--completion"] else argv[:1])
    if options.completion:
        print(script(options.completion), end="")
    else:
        parser.print_help()
    return 0


def train() -> None:
    """Train what sys.argv says; ends the process with 0 done, 1 failed, 2 the user's mistake."""
    from aeframe.training.processes import end_with_the_first

    end_with_the_first()
    _end_with(lambda: _train(sys.argv[1:]))


def _end_with(work: Callable[[], int]) -> NoReturn:
    """End the process with the work's status, or with what went wrong in it, in words."""
    try:
        with heard():
            status = work()
        sys.exit(status)
    except UserError as error:
        if _speaks():
            report(error)
        sys.exit(2)
    except TrainingError as error:
        if _speaks():
            print(f"aeframe: {error}", file=sys.stderr)
        sys.exit(1)
    except Interrupted as end:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # one more would break off the end itself
        if _speaks():
            requeued = f"; {requeue()}" if end.requeues and end.number == REQUEUE else ""
            print(f"aeframe: {end}{requeued}", file=sys.stderr, flush=True)
        sys.exit(end.status if _speaks() else 0)  # Lightning ends all where a rank fails
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        print("aeframe: interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _speaks() -> bool:
    """Whether this process does, of those that train together."""
    from aeframe.core.process import is_first_process

    return is_first_process()


def report(error: UserError) -> None:
    """All mistakes, one line each, on stderr."""
    count = len(error.problems)
    if count > 1:
        print(f"aeframe: {count} mistakes", file=sys.stderr)
    for problem in error.problems:
        print(f"{'  ' if count > 1 else 'aeframe: '}{problem}", file=sys.stderr)


def _train(argv: Sequence[str]) -> int:
    from aeframe.completion import FLAG, completions
    from aeframe.config.composition import CONF
    from aeframe.overrides import parse
    from aeframe.runs.folder import Folders

    if argv[:1] == [FLAG] and len(argv) == 3:
        print("\n".join(completions(argv[1], int(argv[2]))))
        return 0
    command = parse(argv)
    if command.asks:
        from aeframe.menu import help_text

        print(help_text(command.folders), end="")
        return 0
    with held_back():
        import hydra

        from aeframe.composed_once import composed_once
        from aeframe.explanations import explained
        from aeframe.sweep import SweepTable, show_unfinished

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
    with explained(command), folders.dropped_if_empty(), composed_once():
        if command.trains:
            # before Hydra makes a folder or writes into an existing one
            command, sweeps = _allowed(command, jobs)
            sys.argv = [sys.argv[0], *command.argv]
        ends = [
            *([signal.SIGTERM, signal.SIGHUP] if sweeps else []),
            *([REQUEUE] if sweeps or is_in_job() else []),
        ]
        try:
            with ended_by(ends):
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
    from aeframe.core.local_paths import local
    from aeframe.core.process import is_first_process

    if not command.trains or command.resume in (None, *AUTOMATIC):
        return command
    word = f"resume={command.resume}"
    folder = local(command.resume, word)
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
        raise unreadable(word, error, "") from error
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
