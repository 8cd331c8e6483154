"""A run whose folder is deleted while it trains: status 1, and one line that says so."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from aeframe.cli.command_line import parse
from aeframe.cli.hydra_errors import translate_errors
from aeframe.core.errors import MachineError, UserError
from aeframe.runs.folder import lock_folder
from aeframe.training.checkpointing import Best
from aeframe.training.fit import translate_exceptions
from tests.support.runs import TINY

Command = Callable[..., tuple[int, str, str]]


def test_the_line_names_the_folder(
    aeframe: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = Best.on_validation_end

    def without(self: Best, *args: Any) -> None:
        shutil.rmtree(tmp_path / "run")
        save(self, *args)

    monkeypatch.setattr(Best, "on_validation_end", without)
    status, _, err = aeframe(*TINY, f"hydra.run.dir={tmp_path / 'run'}")
    assert err == f"aeframe: {tmp_path / 'run'} was deleted during training.\n"
    assert status == 1


def test_it_is_the_same_before_training_begins(tmp_path: Path) -> None:
    gone = tmp_path / "run"
    with (
        pytest.raises(MachineError, match=f"^{gone} was deleted during"),
        translate_exceptions(gone, None),
        lock_folder(gone),
    ):  # type: ignore[arg-type]
        pass


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "No such file", b"run/events.out"),
        ValueError("you tried to log 0.5 which is currently not supported"),
        RuntimeError("Parent directory does not exist"),
    ],
    ids=["system", "lightning", "torch"],
)
def test_whoever_notices_it(tmp_path: Path, error: Exception) -> None:
    with (
        pytest.raises(MachineError, match=f"^{tmp_path}/run was deleted during"),
        translate_exceptions(tmp_path / "run", None),  # type: ignore[arg-type]
    ):
        raise error


def test_other_errors_stay_what_they_are(tmp_path: Path) -> None:
    trainer: Any = SimpleNamespace(world_size=1)
    with pytest.raises(ValueError, match="a defect"), translate_exceptions(tmp_path, trainer):
        raise ValueError("a defect")


@pytest.mark.parametrize("name", [b"/x/a.ckpt", "/x/a.ckpt", Path("/x/a.ckpt")])
def test_names_in_bytes_are_told_as_text(name: Any) -> None:
    with (
        pytest.raises(UserError, match=r"^/x/a\.ckpt: No such file\."),
        translate_errors(parse([])),
    ):
        raise FileNotFoundError(errno.ENOENT, "No such file", name)
