"""Runs of the command in processes that need not import anything: python -m tests.support.forks serves them.

The server has imported all that training needs, has composed the default configuration, and forks for each
run. A run does the same as `python train.py`, except for that.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

from aeframe.config.composition import CONF

TRAIN = CONF.parent / "train.py"
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(CONF.parent)}
ENDED = os.WEXITED | os.WNOHANG | os.WNOWAIT
WAITING = "waiting"  # the name of a process that may become another rank


class Process(Protocol):
    """A running process of the command, in a session of its own."""

    pid: int

    def wait(self, seconds: float) -> int | None:
        """Return the exit status, as subprocess has it, or None if it still runs."""


class Real:
    """`python train.py ARGV`. said: the file for its stderr."""

    def __init__(self, argv: Sequence[str], folder: Path, said: Path) -> None:
        with said.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(TRAIN), *argv],
                cwd=folder,
                env={**os.environ, **ENVIRONMENT},
                stdout=subprocess.DEVNULL,
                stderr=output,
                start_new_session=True,
            )
        self.pid = self.process.pid

    def wait(self, seconds: float) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.process.wait(max(seconds, 0))
        return None


class Forked:
    """`python train.py ARGV`, forked from a server."""

    def __init__(self, server: Server, pid: int) -> None:
        self.server, self.pid = server, pid

    def wait(self, seconds: float) -> int | None:
        return self.server.wait(self.pid, seconds)


class Server:
    """Starts runs, also several at once."""

    def __enter__(self) -> Server:
        self.connection, other = Pipe()
        self.statuses = dict[int, int]()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.forks", str(other.fileno())],
            cwd=CONF.parent,
            env={**os.environ, **ENVIRONMENT},
            pass_fds=[other.fileno()],
        )
        other.close()
        self.connection.recv()  # it has imported all
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()
        self.process.wait()

    def start(
        self,
        argv: Sequence[str],
        folder: Path,
        said: Path,
        *,
        out: Path = Path(os.devnull),
        limit: int | None = None,
        environment: Mapping[str, str] | None = None,
        entry: str = "aeframe.cli.train:train",
    ) -> Forked:
        """said, out: the files for its stderr and stdout. limit: of a file's bytes. entry: what it calls."""
        how = {"said": said, "out": out, "limit": limit, "environment": environment or {}}
        how["entry"] = entry
        self.connection.send((list(argv), folder, how))
        while (answer := self.connection.recv())[1] is not None:  # the end of an earlier run
            self.statuses[answer[0]] = answer[1]
        return Forked(self, answer[0])

    def wait(self, pid: int, seconds: float) -> int | None:
        """Return the exit status of a run that ends in time, or None."""
        until = time.monotonic() + seconds
        while pid not in self.statuses:
            if not self.connection.poll(max(until - time.monotonic(), 0)):
                return None
            ended, status = self.connection.recv()
            self.statuses[ended] = status
        return self.statuses[pid]


def processes() -> dict[int, tuple[str, str, int, int]]:
    """List this machine's processes, except zombies: name, state, parent and session by number."""
    found = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            head, _, tail = file.read_text().rpartition(")")
            number, _, name = head.partition(" (")
            state, parent, _, session, *_ = tail.split()
            if state not in "ZX":
                found[int(number)] = name, state, int(parent), int(session)
    return found


def session_of(run: Process) -> list[int]:
    """List the processes of a run that are still there."""
    return [pid for pid, (*_, session) in processes().items() if session == run.pid]


def other_ranks(run: Process) -> list[int]:
    """List the ranks that Lightning has started beside the first."""
    found = processes().items()
    return [pid for pid, (name, _, up, _) in found if up == run.pid and name != WAITING]


def ended(run: Process, seconds: float) -> bool:
    """Check whether all its processes end in time; they are no longer there afterwards."""
    until = time.monotonic() + seconds
    while (left := session_of(run)) and time.monotonic() < until:
        time.sleep(0.02)
    if left:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)
    return not left


# the server's side


def serve(client: Connection) -> None:
    import sklearn.decomposition  # noqa: F401
    import torch
    from sklearn import datasets

    import aeframe.training.run  # noqa: F401
    from aeframe.cli.train import train

    torch.set_num_threads(1)
    datasets.load_digits()
    with contextlib.suppress(SystemExit), open(os.devnull, "w") as nowhere:
        sys.argv = [str(TRAIN), "--cfg", "job"]
        with contextlib.redirect_stdout(nowhere):
            train()
    gc.freeze()  # or each run would search, and copy, the memory that it shares with the server
    woken, wakes = socket.socketpair()
    wakes.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wakes.fileno(), warn_on_full_buffer=False)
    client.send("ready")
    running = set[int]()
    with contextlib.suppress(EOFError):
        while True:
            ready = wait([client, woken])
            if woken in ready:
                woken.recv(4096)
                for pid in [each for each in running if os.waitid(os.P_PID, each, ENDED)]:
                    running.remove(pid)
                    client.send((pid, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])))
            if client in ready:
                argv, folder, how = client.recv()
                pid = os.fork()
                if pid == 0:
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    for inherited in (client, woken, wakes):
                        inherited.close()
                    _become(argv, folder, **how)
                running.add(pid)
                client.send((pid, None))
    for pid in running:
        os.waitpid(pid, 0)


def _become(
    argv: list[str],
    folder: Path,
    *,
    said: Path,
    out: Path,
    limit: int | None,
    environment: Mapping[str, str],
    entry: str,
) -> None:
    """Turn the forked process into the run."""
    with _exits():
        module, _, function = entry.partition(":")
        run = getattr(import_module(module), function)
        os.setsid()
        for number, file in ((1, out), (2, said)):
            opened = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(opened, number)
            os.close(opened)
        if limit is not None:
            import resource

            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        os.chdir(folder)
        os.environ.update(environment)
        if "hardware=ddp_cpu" in argv:
            _let_ranks_be_forked()
        sys.argv = [str(TRAIN), *argv]
        run()


@contextlib.contextmanager
def _exits() -> Iterator[None]:
    """End the process with the status that an exception stands for, as the interpreter would."""
    status: Any = 1
    try:
        yield
        status = 0
    except SystemExit as end:
        status = end.code
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(int(status or 0))


def _let_ranks_be_forked() -> None:
    """Let Lightning's first rank be a waiting process that has imported everything.

    In a sweep, the ranks of the later jobs start as usual.
    """
    from pytorch_lightning.strategies.launchers import subprocess_script

    ours, its = Pipe()
    pid = os.fork()
    if pid == 0:
        ours.close()
        _name(WAITING)
        try:
            command, environment, folder = its.recv()
        except EOFError:
            os._exit(0)
        _name("rank")
        with _exits():
            from aeframe.cli.main import main

            os.environ.clear()
            os.environ.update(environment)
            if "STARTS" in environment:
                with open(environment["STARTS"], "a") as opened:
                    opened.write(json.dumps(command) + "\n")
            os.chdir(folder)
            sys.argv = ["aeframe", *command[3:]]  # behind: python -m aeframe.__main__
            main()
    its.close()

    class Rank:
        """Process with the methods of subprocess.Popen that Lightning uses."""

        def __init__(self, command: list[str], env: Mapping[str, str], cwd: str) -> None:
            self.pid = pid
            self.returncode: int | None = None
            ours.send((list(command), dict(env), cwd))

        def poll(self) -> int | None:
            if self.returncode is None:
                done, status = os.waitpid(self.pid, os.WNOHANG)
                self.returncode = os.waitstatus_to_exitcode(status) if done else None
            return self.returncode

        def send_signal(self, number: int) -> None:
            if self.poll() is None:
                os.kill(self.pid, number)

    def start(*args: Any, **named: Any) -> Any:
        subprocess_script.subprocess = subprocess
        return Rank(*args, **named)

    subprocess_script.subprocess = SimpleNamespace(Popen=start)  # type: ignore


def _name(name: str) -> None:
    Path("/proc/self/comm").write_text(name)


if __name__ == "__main__":
    from tests.support.made_once import made_once

    with made_once():
        serve(Connection(int(sys.argv[1])))
