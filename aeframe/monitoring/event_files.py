"""Event files: TensorBoard's curves of a run, also of a run that resumes or fills its disk."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from google.protobuf.message import DecodeError
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities import rank_zero_only
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from torch.utils.tensorboard.summary import hparams

from aeframe.core.files import write_atomically
from aeframe.monitoring.metrics_file import MetricsFile, make_row

QUEUE = 1000
"""Events that may wait for the thread that writes them before training waits."""
HEADER, FOOTER = 12, 4
"""Bytes before a record (its length and a checksum) and after it (a checksum), as in TFRecord files."""
HPARAMS = "_hparams_/"
"""Prefix of the tags of HParams, which the end of a run writes at step 0."""


def truncate_events(folder: Path, steps: int) -> None:
    """Keep the events of the first `steps` steps in a folder's event files.

    The resumed run writes the later events again. TensorBoard's own `purge_step` is not enough: its web
    server ignores it, and shows points twice. An incomplete last record is removed, too. Links and files
    that hold no event are left alone.
    """
    for file in sorted(folder.glob("events.out.tfevents.*")):
        if file.is_symlink() or not file.is_file():
            continue
        content = file.read_bytes()
        records = [(record, _is_kept(event, steps)) for record, event in _split(content)]
        kept = [record for record, is_kept in records if is_kept]
        if not records or sum(map(len, kept)) == len(content):
            continue
        if len(kept) < 2:  # only the version is left
            file.unlink()
            continue
        with write_atomically(file) as opened:
            opened.writelines(kept)


def _split(content: bytes) -> Iterator[tuple[bytes, Event]]:
    """Split a file into records, each with its length and checksums, up to the first that is broken."""
    start = 0
    while start + HEADER <= len(content):
        length = int.from_bytes(content[start : start + 8], "little")
        record = content[start : start + HEADER + length + FOOTER]
        if len(record) < HEADER + length + FOOTER:
            return
        try:
            yield record, Event.FromString(record[HEADER:-FOOTER])
        except DecodeError:
            return
        start += len(record)


def _is_kept(event: Event, steps: int) -> bool:
    has_hparams = any(value.tag.startswith(HPARAMS) for value in event.summary.value)
    return event.HasField("file_version") or (event.step < steps and not has_hparams)


class Point(NamedTuple):
    """Values of all curves at one step, by tag. when: in seconds since 1970."""

    step: int
    epoch: int
    values: Mapping[str, float]
    when: float


class NoEvents:
    """Stand-in for torch's SummaryWriter that writes no event file. It is its own file writer."""

    default_bins = (-1.0, 0.0, 1.0)

    def __init__(self, folder: Path) -> None:
        self.log_dir, self.file_writer = str(folder), self

    def add_summary(self, summary: Any, step: Any = None, when: Any = None) -> None: ...
    def add_text(self, tag: str, text: str, step: Any = None) -> None: ...
    def add_custom_scalars(self, layout: Any) -> None: ...
    def flush(self) -> None: ...
    def close(self) -> None: ...


class Curves(TensorBoardLogger):
    """TensorBoard logger that writes curves to the run's folder, also as a table. It is silent if a
    failed run cannot be written. has_events: false for the table alone.
    """

    def __init__(self, folder: Path, *, has_events: bool = True) -> None:
        super().__init__(folder, name="", version="", default_hp_metric=False, max_queue=QUEUE)
        self.folder, self.table = folder, MetricsFile(folder)
        self.silent = None if has_events else NoEvents(folder)
        if not has_events:
            folder.mkdir(parents=True, exist_ok=True)

    @property
    def experiment(self) -> Any:
        """Return the writer of the event file."""
        return super().experiment if self.silent is None else self.silent

    @property
    def log_dir(self) -> str:
        """Return the folder as it is: Lightning would expand environment variables in its name."""
        return str(self.folder)

    @rank_zero_only
    def write(self, points: Sequence[Point]) -> None:
        """Write the values of each step as one event, which is faster than one event for each."""
        for step, _, values, when in points:
            summary = Summary(
                value=[Summary.Value(tag=tag, simple_value=v) for tag, v in values.items()]
            )
            assert self.experiment.file_writer is not None
            self.experiment.file_writer.add_summary(summary, step, when)
        self.table.append(make_row(p.step, p.epoch, p.values) for p in points)

    def write_columns(self, columns: Mapping[str, Any]) -> None:
        """Write the run's line in TensorBoard's HParams.

        Without the summary of an experiment, which would hide the columns of other runs, TensorBoard
        finds the columns itself, and ticks those that differ.
        """
        _, *session = hparams(dict(columns), {})
        for summary in session:
            assert self.experiment.file_writer is not None
            self.experiment.file_writer.add_summary(summary, 0)

    def save(self) -> None:
        """Write pending events. Lightning would add a file of settings, which checkpoints hold already."""
        self.experiment.flush()

    def finalize(self, status: str) -> None:
        if status != "failed":  # a test may follow, and a closed writer would start another file
            return self.save()
        with suppress(OSError):
            self.close()

    def close(self) -> None:
        """Write pending events and close the file."""
        self.experiment.flush()
        self.experiment.close()


@contextmanager
def silence_writer() -> Iterator[None]:
    """Silence the event writer's thread when the disk fails: the next write raises its error anyway."""
    before = threading.excepthook

    def report(failure: threading.ExceptHookArgs) -> None:
        is_writer = type(failure.thread).__module__ == EventFileWriter.__module__
        if not (is_writer and issubclass(failure.exc_type, OSError)):
            before(failure)

    threading.excepthook = report
    try:
        yield
    finally:
        threading.excepthook = before
