"""Event files: where they are written, and what is left in them when a run goes on."""

from __future__ import annotations

import os
from pathlib import Path

from google.protobuf.message import DecodeError
from pytorch_lightning.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.summary.writer.record_writer import RecordWriter


class Writer(TensorBoardLogger):
    """Writes them into a run's folder itself."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, name="", version="", default_hp_metric=False)
        self.folder = folder

    @property
    def log_dir(self) -> str:
        """The folder as it is called: Lightning would put variables of the environment into its name."""
        return str(self.folder)


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
    return event.step < steps or event.HasField("file_version")


def _replace(file: Path, records: list[bytes]) -> None:
    if len(records) < 2:  # nothing but the version
        file.unlink()
        return
    partial = file.with_name(f".{file.name}.partial")
    with partial.open("wb") as opened:
        writer = RecordWriter(opened)
        for record in records:
            writer.write(record)
        opened.flush()
        os.fsync(opened.fileno())
    partial.replace(file)
