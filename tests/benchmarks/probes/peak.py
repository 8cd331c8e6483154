"""Peak memory of this process, from a moment on."""

from __future__ import annotations

from pathlib import Path

PROCESS = Path("/proc/self")


class Peak:
    """The growth of the resident memory above what it is when this is made, in MiB.

    From the kernel's high-water mark, which can be reset on Linux. getrusage's cannot: it keeps the peak of
    the imports, and even that of the process that started this one.
    """

    def __init__(self) -> None:
        (PROCESS / "clear_refs").write_text("5")
        self.before = _mark()

    def growth(self) -> float:
        """MiB."""
        return self.most() - self.before

    def most(self) -> float:
        """All that the process has used at once since then, in MiB."""
        return _mark()


def measurable() -> str | None:
    """Return the reason why the peak cannot be read here, or None."""
    return None if (PROCESS / "clear_refs").exists() else "peak memory is read from Linux's /proc"


def _mark() -> float:
    lines = (PROCESS / "status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
