"""Broken data files by the thousand: python -m tests.stress.fuzz_data [--cases N] [--seed N].

Each case takes a small valid file, breaks some of its bytes, and loads it. It may end in samples of the
declared shape and type, or in one line for the user; anything else is a defect.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import random
import resource
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table

from aeframe.core.errors import ConfigError, UserError
from aeframe.data import Array, DataModule, Source
from tests.support.valid_files import kinds

PIXELS = 2**20  # of an image, at most: broken headers claim any size, and a case must stay small
HANG = 60  # seconds after which the command shows where a case is stuck, and ends
OUTCOMES = ("loaded", "refused unread", "refused", "defect")

# what is done to a file


class Edit(NamedTuple):
    """A change of a file at one byte; positions beyond the end start again at 0."""

    operation: str
    place: int
    payload: bytes


OPERATIONS: dict[str, Callable[[bytes, int, bytes], bytes]] = {
    "flip": lambda c, i, p: c[:i] + bytes((c[i] ^ (p[0] or 1),)) + c[i + 1 :],
    "overwrite": lambda c, i, p: c[:i] + p + c[i + len(p) :],
    "insert": lambda c, i, p: c[:i] + p + c[i:],
    "delete": lambda c, i, p: c[:i] + c[i + len(p) :],
    "truncate": lambda c, i, p: c[:i],
    "splice": lambda c, i, p: c[:i] + another(p)[i:],
}
OFTEN = ("flip", "flip", "flip", "flip", "overwrite", "overwrite", *OPERATIONS)
TELLING = (
    b"\0",
    b"\xff",
    b"\x80",
    b"9",
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\xff" * 8,
)


def another(payload: bytes) -> bytes:
    contents = [kind.content for kind in kinds().values()]
    return contents[payload[0] % len(contents)]


def edited(content: bytes, edits: Sequence[Edit]) -> bytes:
    for operation, place, payload in edits:
        if content:
            content = OPERATIONS[operation](content, place % len(content), payload)
    return content


def drawn(seed: str) -> list[Edit]:
    """Draw a few changes, more of them near the beginning, where headers are."""
    generator = random.Random(seed)
    return [
        Edit(
            generator.choice(OFTEN),
            generator.randrange(generator.choice((16, 64, 256, 2**16))),
            generator.choice((*TELLING, generator.randbytes(1), generator.randbytes(4))),
        )
        for _ in range(generator.choice((1, 1, 1, 2, 3, 8)))
    ]


# what it ends in


class Lair:
    """A folder for one kind of file, in which one broken file replaces the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.placed: dict[str, tuple[Path, Source]] = {}

    def outcome(self, name: str, edits: Sequence[Edit]) -> str:
        return self.outcome_of(name, edited(kinds()[name].content, edits))

    def outcome_of(self, name: str, content: bytes) -> str:
        kind = kinds()[name]
        if name not in self.placed:
            (self.folder / name).mkdir()
            self.placed[name] = kind.place(self.folder / name, kind.name)
        file, source = self.placed[name]
        file.unlink(missing_ok=True)  # an earlier case may have mapped it
        file.write_bytes(kind.wrap(content))
        return outcome(source)


def outcome(source: Source) -> str:
    """Load a file; returns one of OUTCOMES. Raises for a defect."""
    with warnings.catch_warnings(), small_images():
        warnings.simplefilter("error")
        try:
            if problems := source.problems():
                raise ConfigError(problems)
        except UserError as error:
            check_message(error)
            return "refused unread"
        try:
            raw = source.load()
            for part in filter(None, (raw, raw.test)):
                check_samples(part.data, part.labels, source)
            if isinstance(source, Array):
                check_normalized(source)
        except UserError as error:
            check_message(error)
            return "refused"
    return "loaded"


@contextlib.contextmanager
def small_images() -> Iterator[None]:
    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, PIXELS
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def check_message(error: UserError) -> None:
    """Check that a message has one line of normal length for each mistake, with a remedy."""
    for problem in error.problems:
        text = str(problem)
        assert len(text.splitlines()) == 1, text
        assert len(text.encode()) < 600, text
        assert problem.remedy, problem


def check_samples(data: torch.Tensor, labels: torch.Tensor | None, source: Source) -> None:
    assert tuple(data.shape[1:]) == source.shape()
    assert len(data) > 0
    assert data.dtype == torch.uint8 or isinstance(source, Array)
    assert labels is None or (labels.dtype == torch.int64 and labels.shape == (len(data),))
    data.double().sum()  # every byte of it can be read


def check_normalized(source: Source) -> None:
    """Check that normalized numbers are finite, for stored numbers of any size."""
    for kind in ("unit", "standard"):
        made = DataModule(source=source, seed=0, normalization=kind)  # type: ignore[arg-type]
        made.setup()
        assert torch.isfinite(made.peek("train", 100)).all(), kind


# the command


def main(argv: Sequence[str] | None = None) -> int:
    """Run the cases; the exit status is 1 if there are defects."""
    parser = argparse.ArgumentParser(prog="python -m tests.stress.fuzz_data", description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000, help="of all kinds together")
    parser.add_argument("--seed", type=int, default=0, help="other cases for each")
    options = parser.parse_args(argv)
    counts: Counter[tuple[str, str]] = Counter()
    defects = []
    with tempfile.TemporaryDirectory() as folder:
        lair, names = Lair(Path(folder)), list(kinds())
        for n in track(range(options.cases), "Breaking files", console=Console(stderr=True)):
            name, seed = names[n % len(names)], f"{options.seed} {n}"
            faulthandler.dump_traceback_later(HANG, exit=True, file=sys.__stderr__)
            try:
                ended = lair.outcome(name, drawn(seed))
            except Exception as error:
                ended = "defect"
                defects.append(f"{name}, drawn({seed!r}): {type(error).__name__}: {error}")
            counts[name, ended] += 1
    faulthandler.cancel_dump_traceback_later()
    report(counts)
    print(*defects, sep="\n")
    return int(bool(defects))


def report(counts: Counter[tuple[str, str]]) -> None:
    table = Table("kind", *OUTCOMES)
    for name in kinds():
        table.add_row(name, *(str(counts[name, ended]) for ended in OUTCOMES))
    table.add_section()
    sums = [sum(counts[name, ended] for name in kinds()) for ended in OUTCOMES]
    table.add_row(f"{sum(sums)} cases", *map(str, sums))
    Console().print(table)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{peak:.0f} MiB of memory at the peak, torch's among them")


if __name__ == "__main__":
    sys.exit(main())
