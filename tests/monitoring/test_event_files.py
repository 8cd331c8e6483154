"""Event files: events are cut where a run resumes, and a full disk is reported once."""

from __future__ import annotations

import errno
import threading
from pathlib import Path
from typing import NoReturn

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.summary.writer.record_writer import RecordWriter

from aeframe.monitoring.event_files import Curves, silence_writer, truncate_events


def write(folder: Path, steps: range) -> Path:
    """Write one event for each step, and the choices for HParams, as a run that has finished."""
    logger = Curves(folder)
    for step in steps:
        logger.experiment.add_scalar("loss", float(step), step)
    logger.log_hyperparams({"epochs": len(steps)}, {"final": 1.0}, steps[-1])
    logger.close()
    return max(folder.glob("events.out.tfevents.*"), key=lambda file: file.stat().st_mtime_ns)


def steps_of(folder: Path, tag: str = "loss") -> list[int]:
    return [point.step for point in EventAccumulator(str(folder)).Reload().Scalars(tag)]


def tags_in(file: Path) -> set[str]:
    return {v.tag for event in EventFileLoader(str(file)).Load() for v in event.summary.value}


def test_later_events_and_choices_go(tmp_path: Path) -> None:
    file = write(tmp_path, range(10))
    truncate_events(tmp_path, 4)
    assert steps_of(tmp_path) == [0, 1, 2, 3]
    assert tags_in(file) == {"loss"}
    content = file.read_bytes()
    truncate_events(tmp_path, 4)
    assert file.read_bytes() == content


def test_a_file_with_nothing_left_goes(tmp_path: Path) -> None:
    write(tmp_path, range(10))
    truncate_events(tmp_path, 0)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("tail", [b"\x09", bytes(7), b"\xff" * 40, bytes(range(1, 60))])
def test_a_broken_end_goes_and_the_events_before_it_stay(tmp_path: Path, tail: bytes) -> None:
    file = write(tmp_path, range(3))
    file.write_bytes(file.read_bytes() + tail)
    truncate_events(tmp_path, 2)
    assert steps_of(tmp_path) == [0, 1]
    assert not file.read_bytes().endswith(tail)


def test_an_interrupted_record_goes(tmp_path: Path) -> None:
    file = write(tmp_path, range(3))
    truncate_events(tmp_path, 3)  # the choices go
    assert tags_in(file) == {"loss", "final"}
    whole = file.read_bytes()
    file.write_bytes(whole[:-5])
    truncate_events(tmp_path, 3)
    assert tags_in(file) == {"loss"}
    assert steps_of(tmp_path) == [0, 1, 2]
    assert whole.startswith(file.read_bytes())


@pytest.mark.parametrize("content", [b"", b"no events", b"\xff" * 64])
def test_files_without_events_are_left_alone(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "events.out.tfevents.1.x"
    file.write_bytes(content)
    truncate_events(tmp_path, 1)
    assert file.read_bytes() == content


@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left on device"), ValueError])
def test_a_full_disk_is_raised_once_and_not_printed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    failure: OSError | type[ValueError],
) -> None:
    printed: list[type[BaseException]] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: printed.append(args.exc_type))
    logger = Curves(tmp_path)
    logger.experiment.add_scalar("loss", 1.0, 1)
    logger.save()

    def fail(*_: object) -> NoReturn:
        raise failure

    monkeypatch.setattr(RecordWriter, "write", fail)

    def write_more() -> None:
        logger.experiment.add_scalar("loss", 2.0, 2)
        logger.save()

    with silence_writer(), pytest.raises((OSError, ValueError)) as raised:
        write_more()
    threads = [t for t in threading.enumerate() if type(t).__name__ == "_AsyncWriterThread"]
    for thread in threads:
        thread.join(5)
    expected = failure if isinstance(failure, type) else type(failure)
    assert raised.type is expected
    assert printed == ([] if expected is OSError else [ValueError])


def test_errors_of_other_threads_are_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    printed: list[type[BaseException]] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: printed.append(args.exc_type))

    def fail() -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    with silence_writer():
        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()
    assert printed == [OSError]
