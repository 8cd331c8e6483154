"""Ends of runs at random moments, and comparison with uninterrupted runs."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from tests.support.forks import Process, Real, Server, ended, other_ranks
from tests.support.paces import differences
from tests.support.run_contents import logged, saved, story

SMALL = (
    *("network.widths=[]", "dataset.batch_size=128", "evaluation.images=32"),
    *("dashboard.images=2", "dashboard.every_n_epochs=4"),
    *("trainer.max_epochs=15", "trainer.log_every_n_steps=1"),
    *("hydra.run.dir=run", "resume=auto", "checkpoint.every_minutes=0.001"),
)
WIDE = ("network.widths=[64]", "model.latent_dim=8", "trainer.steps_per_call=3")
LIMIT = 120.0  # seconds for a run of one or two; a deadlock would last for ever
AT_ONCE = 0.2  # seconds that a run takes to end which has nothing left to do
QUICK = 3.0  # seconds in which a signal ends a run, of which a step takes milliseconds
GONE = 10.0  # seconds in which the others end behind a rank; Lightning looks after 5
REAL = 0.05  # the share of runs that import what they need


@dataclass
class Tally:
    """Counts of the events. faults: in words, all that should not be."""

    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    slowest: float = 0.0  # end after a signal

    def fault(self, kind: str, what: str) -> None:
        self.counts[kind] += 1
        self.faults.append(f"{kind}: {what}")


class Torture:
    """Interrupted runs of one configuration, in a folder of their own."""

    def __init__(
        self, server: Server, folder: Path, words: Sequence[str], chance: random.Random
    ) -> None:
        self.server, self.folder, self.chance = server, folder, chance
        self.words, self.run = (*SMALL, *words), folder / "run"
        self.said = folder.with_name(f"{folder.name}.txt")  # stderr
        self.tally = Tally()
        folder.mkdir(parents=True, exist_ok=True)
        started = time.monotonic()
        status = self.start(real=False).wait(LIMIT)
        assert status == 0, self.said.read_text()
        self.seconds = time.monotonic() - started
        self.whole = story(self.run)
        self.steps = 0
        self.forget()

    def start(self, real: bool | None = None, limit: int | None = None) -> Process:
        """Start or resume the run. real: as a user starts it; None: at random."""
        if real is None:
            real = self.chance.random() < REAL
        self.real = real
        if real:
            return Real(self.words, self.folder, self.said)
        return self.server.start(self.words, self.folder, self.said, limit=limit)

    def forget(self) -> None:
        shutil.rmtree(self.run)
        self.steps = 0

    def moment(self) -> float:
        """Draw a moment of a run, in seconds from its start."""
        imports = 4.0 if self.real else 0.0
        return self.chance.uniform(0.0, self.seconds + imports)

    def fault(self, kind: str, what: str) -> None:
        lines = self.said.read_text().strip().splitlines()[-3:]
        self.tally.fault(kind, f"{what}; it said: {' | '.join(lines)[-600:]}")

    def check_saved(self) -> None:
        """Check that the checkpoint can be read and is not older than before."""
        steps = saved(self.run)
        if steps is None or steps < self.steps:
            self.fault("lost", f"the checkpoint of step {self.steps} is now {steps}")
        self.steps = steps or 0

    def finish(self, status: int | None) -> None:
        """Compare a run that ended by itself with the uninterrupted one."""
        if status != 0:
            self.fault("faults", f"status {status} of a run that nobody ended")
        elif self.said.read_text():
            self.fault("faults", "a run that is done had something to say")
        else:
            found = [text[:300] for text in differences(self.whole, story(self.run))]
            if found:
                self.fault("different", f"{len(found)}: {'; '.join(found[:4])}")
        self.forget()

    def interrupt(self, run: Process) -> int | None:
        """Interrupt the run. Returns its status; 0 if it had ended by itself before."""
        raise NotImplementedError

    def until_its_end(self, ends: int, kind: str) -> None:
        """Interrupt and resume a run this many times, or until it ends by itself."""
        for n in count():
            run = self.start()
            self.tally.counts["resumed"] += n > 0
            status = run.wait(self.moment() if ends else LIMIT)
            if status is None and ends:
                status = self.interrupt(run)
                if status != 0:
                    ends -= 1
                    self.tally.counts[kind] += 1
                    self.check_saved()
                    continue
            if status is None:
                self.fault("faults", f"did not end in {LIMIT} s")
                send(run.pid, signal.SIGKILL, os.killpg)
                run.wait(LIMIT)
            return self.finish(status)


def send(pid: int, number: int, kill: Callable[[int, int], None] = os.kill) -> None:
    """Send a signal, unless the process has just ended."""
    with suppress(ProcessLookupError):
        kill(pid, number)


class Kills(Torture):
    """Ends by SIGKILL, for the run alone or for all its processes."""

    def interrupt(self, run: Process) -> int | None:
        send(run.pid, signal.SIGKILL, self.chance.choice((os.kill, os.killpg)))
        return run.wait(LIMIT)


class Terms(Torture):
    """Ends by SIGTERM: at once, and with a checkpoint."""

    def interrupt(self, run: Process) -> int | None:
        sent = time.monotonic()
        send(run.pid, signal.SIGTERM)
        status = run.wait(LIMIT)
        took = time.monotonic() - sent
        if status == 0 and took < AT_ONCE:
            return 0
        self.tally.slowest = max(self.tally.slowest, took)
        if took > QUICK:
            self.fault("faults", f"{took:.1f} s from SIGTERM to the end")
        if status not in (128 + signal.SIGTERM, -signal.SIGTERM):  # a shell calls both 143
            self.fault("faults", f"status {status} after SIGTERM")
        steps, curves = saved(self.run), logged(self.run)
        if steps != curves:
            self.fault("lost", f"SIGTERM after step {curves}, checkpoint of {steps}")
        return status


class Ranks(Torture):
    """Ends of one or of all processes of a distributed run."""

    def interrupt(self, run: Process) -> int | None:
        how = self.chance.choice(("all", "first", "other", "first by SIGTERM"))
        others, sent = other_ranks(run), time.monotonic()
        if how == "other" and others:
            send(others[0], signal.SIGKILL)
        elif how == "first":
            send(run.pid, signal.SIGKILL)
        elif how == "first by SIGTERM":
            send(run.pid, signal.SIGTERM)
        else:
            send(run.pid, signal.SIGKILL, os.killpg)
        status = run.wait(GONE)
        took = time.monotonic() - sent
        if not ended(run, GONE - took):
            self.fault("faults", f"processes stay behind after the end of: {how} ({status})")
            run.wait(LIMIT)
        elif status == 0 and how == "first by SIGTERM" and took > AT_ONCE:
            self.fault("faults", "status 0 after SIGTERM")
        elif "Traceback" in self.said.read_text():
            self.fault("faults", f"a traceback after the end of: {how}")
        return status


class Full(Torture):
    """Ends by a full disk: a file system of a few MB, or a limit for each file."""

    def __init__(
        self, server: Server, folder: Path, chance: random.Random, *, mounted: bool
    ) -> None:
        self.mounted = mounted
        super().__init__(server, folder, WIDE, chance)

    def forget(self) -> None:
        sizes = [f.stat().st_blocks * 512 for f in self.run.rglob("*") if f.is_file()]
        self.most = max(sum(sizes) if self.mounted else max(sizes), getattr(self, "most", 0))
        super().forget()

    def starts_with(self, room: int) -> None:
        """Run with this many free bytes, perhaps after another run, then with enough."""
        if self.chance.random() < 0.5:
            run = self.start(real=False)
            if run.wait(self.moment()) is None:
                send(run.pid, signal.SIGKILL)
                run.wait(LIMIT)
            self.steps = saved(self.run) or 0
        with self.filled(room):
            limit = None if self.mounted else max(room, 2**12)  # stderr is a file, too
            status = self.start(real=False, limit=limit).wait(LIMIT)
        if status == 0:  # there was enough
            return self.finish(status)
        self.tally.counts["full"] += 1
        told = self.said.read_text().splitlines()
        if status != 1:
            self.fault("faults", f"status {status} with {room} bytes of room")
        elif len(told) != 1 or " could not be written (" not in told[0]:
            self.fault("faults", f"{len(told)} lines with {room} bytes of room")
        for word in told[0].split() if "The last good checkpoint is" in told[0] else ():
            if word.endswith(".ckpt.") and not Path(word[:-1]).exists():
                self.fault("faults", f"{word} is not there")
        self.check_saved()
        self.until_its_end(0, "")

    @contextmanager
    def filled(self, room: int) -> Iterator[None]:
        ballast, disk = self.folder / "ballast", os.statvfs(self.folder)
        with ballast.open("wb") as file:
            taken = disk.f_bavail * disk.f_frsize - room
            if self.mounted and taken > 0:
                os.posix_fallocate(file.fileno(), 0, taken)
        yield
        ballast.unlink()


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """Mount a file system of a few MB. Yields False if this is not allowed."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "none", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
