"""Event files: where they are written, of a run that goes on, and of one whose disk is full."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from google.protobuf.message import DecodeError
from pytorch_lightning.loggers import Logger, TensorBoardLogger
from pytorch_lightning.utilities import rank_zero_only
from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import _AsyncWriterThread
from tensorboard.summary.writer.record_writer import RecordWriter

from aeframe.core.files import replaced
from aeframe.monitoring import crc32c as checksum

QUEUE = 1000  # events that may wait for the thread that writes them before training does
HPARAMS = "_hparams_/"
"""The tags of the choices, which the end of a run writes, as if in step 0."""


def cut(folder: Path, steps: int) -> None:
    """Leave in a folder's event files what was written in the first `steps` steps.

    The run that goes on writes the rest again; without this its curves would have points twice. A record
    that was not written to its end goes, too. What is no event file stays as it is.
    """
    for file in sorted(folder.glob("events.out.tfevents.*")):
        if file.is_symlink() or not file.is_file():
            continue
        records = list(RawEventFileLoader(str(file)).Load())
        try:
            kept = [record for record in records if _is_kept(Event.FromString(record), steps)]
        except DecodeError:  # TensorBoard cannot read it either
            continue
        size = sum(len(record) + 16 for record in kept)  # length, its checksum, and the record's
        if size != file.stat().st_size:
            _replace(file, kept)


def _is_kept(event: Event, steps: int) -> bool:
    choices = any(value.tag.startswith(HPARAMS) for value in event.summary.value)
    return event.HasField("file_version") or (event.step < steps and not choices)


def _replace(file: Path, records: list[bytes]) -> None:
    if len(records) < 2:  # nothing but the version
        file.unlink()
        return
    with replaced(file) as opened:
        writer = RecordWriter(opened)
        for record in records:
            writer.write(record)


class Curves(TensorBoardLogger):
    """Lie in a run's folder itself, and add nothing to what ended a run when no more can be written."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, name="", version="", default_hp_metric=False, max_queue=QUEUE)
        checksum.install()
        self.folder = folder

    @property
    def log_dir(self) -> str:
        """The folder as it is called: Lightning would put variables of the environment into its name."""
        return str(self.folder)

    def save(self) -> None:
        """Write what waits; Lightning would add a file of settings, which every checkpoint has."""
        self.experiment.flush()

    def finalize(self, status: str) -> None:
        if status != "failed":  # a test may follow: closed, it would begin another file
            return self.save()
        with suppress(OSError):
            self.close()

    def close(self) -> None:
        """Write what waits, and let go of the file."""
        self.experiment.flush()
        self.experiment.close()


@contextmanager
def failing_once() -> Iterator[None]:
    """Let the thread that writes events keep to itself what stops it: whoever writes next is told."""
    before = threading.excepthook

    def told(failure: threading.ExceptHookArgs) -> None:
        of_disk = issubclass(failure.exc_type, OSError)
        if not (of_disk and isinstance(failure.thread, _AsyncWriterThread)):
            before(failure)

    threading.excepthook = told
    try:
        yield
    finally:
        threading.excepthook = before


@rank_zero_only
def write_scalars(
    loggers: Iterable[Logger], values: Mapping[str, float], step: int, when: float
) -> None:
    """All values of one step as one event, which costs a fraction of one event for each.

    when: in seconds since 1970.
    """
    summary = Summary(value=[Summary.Value(tag=k, simple_value=v) for k, v in values.items()])
    for logger in loggers:
        assert isinstance(logger, TensorBoardLogger)
        assert logger.experiment.file_writer is not None
        logger.experiment.file_writer.add_summary(summary, step, when)
