"""The end of the process: its exit status, and errors as messages."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

from aeframe.cli.slurm import requeue
from aeframe.cli.stdout import check_stdout
from aeframe.core.errors import TrainingError, UserError
from aeframe.core.process import is_first_process
from aeframe.core.signals import REQUEUE, Interrupted


def end_with(work: Callable[[], int]) -> NoReturn:
    """End the process with the exit status of `work`, or print its error as a message and exit.

    Of several processes that train together only the first one prints.
    """
    try:
        with check_stdout():
            status = work()
        sys.exit(status)
    except UserError as error:
        if is_first_process():
            report(error)
        sys.exit(2)
    except TrainingError as error:
        if is_first_process():
            print(f"aeframe: {error}", file=sys.stderr)
        sys.exit(1)
    except Interrupted as end:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one would break off this end
        if is_first_process():
            requeued = [requeue()] if end.requeues and end.number == REQUEUE else []
            print(f"aeframe: {end.describe(*requeued)}", file=sys.stderr, flush=True)
        # Lightning ends all processes as soon as one of them fails
        sys.exit(end.status if is_first_process() else 0)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        print("aeframe: interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # the reader, such as head, has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def report(error: UserError) -> None:
    """Print all mistakes on stderr, one line each."""
    count = len(error.problems)
    if count > 1:
        print(f"aeframe: {count} mistakes", file=sys.stderr)
    for problem in error.problems:
        print(f"{'  ' if count > 1 else 'aeframe: '}{problem}", file=sys.stderr)
