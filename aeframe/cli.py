"""The command line: `aeframe VERB`, and what `python train.py` does."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aeframe import __version__
from aeframe.errors import UserError
from aeframe.imports import imported

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
    try:
        sys.exit(_train(sys.argv[1:]))
    except UserError as error:
        from aeframe.launch import is_first_process

        if is_first_process():
            report(error)
        sys.exit(2)
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

    from aeframe.launch import CONF, Folders, is_first_process
    from aeframe.overrides import explained, parse
    from aeframe.sweep import SweepTable

    # Hydra would print its own advice and end the process; this way its exceptions arrive here
    os.environ["HYDRA_FULL_ERROR"] = "1"
    command = parse(argv)
    folders = Folders(make=command.trains)
    folders.register()
    jobs = Jobs(command, folders)
    sys.argv = [sys.argv[0], *command.argv]
    SweepTable.failures = 0
    with explained(command), folders.dropped_if_empty():
        if command.trains and not command.multirun:
            # before Hydra makes a folder or writes into an existing one
            jobs.check(command.compose())
            if is_first_process():
                folders.refuse_used(command.overrides)
        hydra.main(config_path=str(CONF), config_name="config", version_base="1.3")(jobs)()
    if isinstance(jobs.failure, UserError):
        raise jobs.failure
    if jobs.failure is not None and is_first_process():
        print(f"aeframe: {jobs.failure}", file=sys.stderr)
    if jobs.mistakes and jobs.mistakes == jobs.started:  # no job of the sweep was ever right
        return 2
    return int(jobs.failure is not None or SweepTable.failures > 0 or jobs.mistakes > 0)


class Jobs:
    """What Hydra calls for each job: it trains, and takes note of what went wrong."""

    def __init__(self, command: Any, folders: Any) -> None:
        self.command, self.folders = command, folders
        self.failure: Exception | None = None
        self.started = self.mistakes = 0

    def check(self, cfg: Any) -> None:
        """Raise ConfigError with every mistake in the configuration."""
        imported("aeframe.config").check(cfg)

    def __call__(self, cfg: Any) -> float:
        from hydra.core.hydra_config import HydraConfig
        from hydra.types import RunMode

        from aeframe.errors import TrainingError
        from aeframe.launch import is_first_process
        from aeframe.sweep import FAILED

        hydra = HydraConfig.get()
        folder = Path(hydra.runtime.output_dir)
        self.started += 1
        try:
            return imported("aeframe.train").run(cfg, folder, self.command.flags)
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
        if is_first_process() and not others:
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
