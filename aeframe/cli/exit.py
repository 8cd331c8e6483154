"""The end of the process: its status, and mistakes in words."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

from aeframe.cli.slurm import requeue
from aeframe.cli.stdout import heard
from aeframe.core.errors import TrainingError, UserError
from aeframe.core.signals import REQUEUE, Interrupted


def end_with(work: Callable[[], int]) -> NoReturn:
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
