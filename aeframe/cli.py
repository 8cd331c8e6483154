"""The command line: `aeframe VERB`, and what `python train.py` does."""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aeframe import __version__
from aeframe.errors import Problem, TrainingError, UserError
from aeframe.imports import imported
from aeframe.interruption import Interrupted

DESCRIPTION = """\
Trains autoencoders from configuration.

  aeframe train [GROUP=OPTION ...] [KEY=VALUE ...]    as `python train.py` in a checkout
  aeframe train -m model=sparse,denoising seed=0,1    a sweep
  aeframe train --help                                groups, options and all keys
"""


def main() -> None:
    """The `aeframe` command."""
    parser = argparse.ArgumentParser(
        "aeframe", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"aeframe {__version__}")
    parser.add_argument("verb", choices=["train"], help="train: train an autoencoder")
    arguments = parser.parse_args(sys.argv[1:2] or ["--help"])
    assert arguments.verb == "train"
    sys.argv = [sys.argv[0], *sys.argv[2:]]
    train()


def train() -> None:
    """Train what sys.argv says; ends the process with 0 done, 1 failed, 2 the user's mistake."""
    from aeframe.launch import end_with_the_first, is_first_process

    end_with_the_first()
    try:
        sys.exit(_train(sys.argv[1:]))
    except UserError as error:
        if is_first_process():
            report(error)
        sys.exit(2)
    except TrainingError as error:
        if is_first_process():
            print(f"aeframe: {error}", file=sys.stderr)
        sys.exit(1)
    except Interrupted as end:
        if is_first_process():
            print(f"aeframe: {end}", file=sys.stderr)
        sys.exit(end.status if is_first_process() else 0)  # Lightning ends all where a rank fails
    except KeyboardInterrupt:
        print("aeframe: interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def report(error: UserError) -> None:
    """All mistakes, one line each, on stderr."""
    count = len(error.problems)
    if count > 1:
        print(f"aeframe: {count} mistakes", file=sys.stderr)
    for problem in error.problems:
        print(f"{'  ' if count > 1 else 'aeframe: '}{problem}", file=sys.stderr)


def _train(argv: Sequence[str]) -> int:
    import hydra

    from aeframe.belongings import refuse_foreign_sweep
    from aeframe.launch import CONF, Folders
    from aeframe.overrides import explained, parse
    from aeframe.sweep import SweepTable

    if not os.environ.keys() & {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}:
        # threads that wait for each other would hold cores for milliseconds that another process and the very
        # thread that they wait for need: a tenth of the speed. Read when torch is imported
        os.environ["GOMP_SPINCOUNT"] = "1000"
    # Hydra would print its own advice and end the process; this way its exceptions arrive here
    os.environ["HYDRA_FULL_ERROR"] = "1"
    command = _resumed(parse(argv))
    folders = Folders(make=command.trains)
    folders.register()
    jobs = Jobs(command, folders)
    sys.argv = [sys.argv[0], *command.argv]
    SweepTable.failures = 0
    with explained(command), folders.dropped_if_empty():
        if command.trains and command.multirun and command.sweep is not None:
            refuse_foreign_sweep(command.sweep)
        if command.trains and not command.multirun:
            # before Hydra makes a folder or writes into an existing one
            command = _allowed(command, jobs)
            sys.argv = [sys.argv[0], *command.argv]
        hydra.main(config_path=str(CONF), config_name="config", version_base="1.3")(jobs)()
    if jobs.failure is not None:
        raise jobs.failure
    if jobs.mistakes and jobs.mistakes == jobs.started:  # no job of the sweep was ever right
        return 2
    return int(SweepTable.failures > 0 or jobs.mistakes > 0)


def _resumed(command: Any) -> Any:
    """The command line, in the folder of the run that it names."""
    from aeframe.launch import is_first_process
    from aeframe.overrides import AUTOMATIC

    if not command.trains or command.resume in (None, *AUTOMATIC):
        return command
    word, folder = f"resume={command.resume}", Path(command.resume)
    if command.names("hydra.run.dir"):
        if not is_first_process():
            return command  # the first one told it
        raise UserError(word, "the run goes on in its own folder", "Leave hydra.run.dir out.")
    if command.multirun or (folder / "multirun.yaml").exists():
        raise _sweep_named(word)
    if "${" in word:
        raise UserError(word, "Hydra would put something else in place of ${", "Rename the folder.")
    if not (folder / "checkpoints" / "last.ckpt").exists():
        raise _no_run(word, folder)
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


def _allowed(command: Any, jobs: Jobs) -> Any:
    """The command line of a single run whose configuration and folder are good; no file was touched."""
    from aeframe.belongings import refuse_foreign, refuse_foreign_sweep
    from aeframe.launch import is_first_process, refuse_used
    from aeframe.overrides import AUTOMATIC

    cfg, folder, sweeps = command.compose()
    if sweeps:
        if command.resume not in (None, *AUTOMATIC):
            raise _sweep_named(f"resume={command.resume}")
        jobs.check(cfg, None)
        if folder is not None:
            refuse_foreign_sweep(folder)
        return command
    if folder is not None:
        refuse_foreign(folder)
    goes_on = jobs.check(cfg, folder)
    if folder is None and command.resume in AUTOMATIC:
        what = "the folder of this run is a new one, in which there is nothing to go on from"
        remedy = "Write hydra.run.dir=FOLDER as well, or resume=FOLDER."
        print(f"Note: {Problem(f'resume={command.resume}', what, remedy)}")
    if folder is None or not is_first_process():
        return command
    refuse_used(folder, cfg.get("resume") is not None)
    return command.writing_no_configuration() if goes_on else command


class Jobs:
    """What Hydra calls for each job: it trains, and takes note of what went wrong."""

    def __init__(self, command: Any, folders: Any) -> None:
        self.command, self.folders = command, folders
        self.failure: Exception | None = None
        self.started = self.mistakes = 0

    def check(self, cfg: Any, folder: Path | None) -> bool:
        """Raise ConfigError with every mistake in the configuration. folder: the run's, if it is known.

        Returns whether there is a checkpoint to go on from.
        """
        config = imported("aeframe.config")
        node, saved = self._continued(config.plain(cfg), folder)
        config.check(node)
        return saved is not None

    def _continued(self, node: Any, folder: Path | None) -> tuple[Any, Any]:
        """The configuration to train with and the checkpoint to go on from, if any.

        folder: the run's, where it is known.
        """
        if node.get("resume") is None or folder is None:
            return node, None
        from aeframe.overrides import AUTOMATIC

        resume = imported("aeframe.resume")
        saved = imported("aeframe.saved").saved_in(folder)
        if saved is None:
            return node, None
        if node["resume"] in AUTOMATIC:
            resume.check_same(saved, node)
        else:
            node = resume.with_overrides(saved, self.command.overrides, node)
        resume.check_length(saved, node)
        return node, saved

    def __call__(self, cfg: Any) -> float:
        from hydra.core.hydra_config import HydraConfig
        from hydra.types import RunMode

        from aeframe.errors import MachineError
        from aeframe.launch import is_first_process
        from aeframe.sweep import FAILED

        hydra = HydraConfig.get()
        folder = Path(hydra.runtime.output_dir)
        self.started += 1
        try:
            return self._run(cfg, folder)
        except (UserError, TrainingError) as error:
            self.failure = error
            text = str(error)
        except Exception as error:
            if hydra.mode != RunMode.MULTIRUN:
                raise
            import traceback

            traceback.print_exc()
            self.failure = error
            text = f"{type(error).__name__}: {error}\n{traceback.format_exc()}"
        mistake = isinstance(self.failure, UserError)
        others = mistake and (folder / "checkpoints").exists()  # a run that was there before
        trained = any(folder.glob("checkpoints/*.ckpt"))
        if is_first_process() and not others and not isinstance(self.failure, MachineError):
            with contextlib.suppress(OSError):
                (folder / FAILED).write_text(text)
        if hydra.mode == RunMode.MULTIRUN:  # noted for the table; the other jobs go on
            print(f"failed: {text.splitlines()[0]}", file=sys.stderr)
            self.mistakes += mistake
            self.failure = None
        elif isinstance(self.failure, UserError) and folder in self.folders.made and not trained:
            import shutil

            shutil.rmtree(folder)  # it holds nothing but the configuration of a run that was none
            with contextlib.suppress(OSError):  # of the day's folder, where that was its first run
                folder.parent.rmdir()
        return float("nan")

    def _run(self, cfg: Any, folder: Path) -> float:
        """Train, but for a job that has been done, or has failed and is not to be tried again."""
        from aeframe.overrides import AUTOMATIC
        from aeframe.sweep import FAILED

        failed = folder / FAILED
        if failed.exists() and cfg.resume == "auto" and self.command.multirun:
            print(f"{folder}: failed before; resume=retry tries it again", file=sys.stderr)
            return float("nan")
        node, saved = self._continued(imported("aeframe.config").plain(cfg), folder)
        if saved is not None and saved.is_done(node):
            if cfg.resume not in AUTOMATIC:
                what = f"has finished, after {saved.steps:,} steps"
                remedy = "Write a larger trainer.max_epochs to train on."
                raise UserError(f"resume={cfg.resume}", what, remedy)
            print(f"{folder}: has finished")
            return saved.value
        failed.unlink(missing_ok=True)
        return imported("aeframe.train").run(node, folder, self.command.flags, saved)
