"""Files that are whole or not there."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from aeframe.core.files import write_atomically


@pytest.mark.parametrize("can_sync_folders", [True, False])
def test_contents_are_on_the_disk_before_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can_sync_folders: bool
) -> None:
    target, partial = tmp_path / "file", tmp_path / ".partial"
    target.write_bytes(b"before")
    done, replace = list[str](), Path.replace

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            done.append("folder")
            assert (target.read_bytes(), partial.exists()) == (b"after", False)
            if not can_sync_folders:
                raise OSError("not here")
        else:
            done.append("file")
            assert os.path.samestat(os.fstat(descriptor), partial.stat())
            assert partial.read_bytes() == b"after"  # nothing is left in a buffer
            assert target.read_bytes() == b"before"

    def renamed(self: Path, to: Path) -> Path:
        done.append("name")
        return replace(self, to)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", renamed)
    with write_atomically(target) as file:
        file.write(b"after")
    assert done == ["file", "name", "folder"]
    assert target.read_bytes() == b"after"


@pytest.mark.parametrize("moment", ["synced", "named"])
def test_whatever_goes_wrong_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    def fails(*_: object) -> None:
        raise OSError("no room")

    (tmp_path / "file").write_bytes(b"before")
    monkeypatch.setattr(*{"synced": (os, "fsync"), "named": (Path, "replace")}[moment], fails)
    with pytest.raises(OSError, match="no room"), write_atomically(tmp_path / "file") as file:
        file.write(b"after")
    assert os.listdir(tmp_path) == ["file"]
    assert (tmp_path / "file").read_bytes() == b"before"
