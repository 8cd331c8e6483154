"""Decoded images are kept, and never believed where they could be others."""

from __future__ import annotations

import multiprocessing
import os
import resource
import shutil
from collections import namedtuple
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from aeframe.core.errors import UserError
from aeframe.data import ImageFolder, Raw
from aeframe.data.images import image_source as folder
from aeframe.data.images.brightness import Levels
from aeframe.data.images.image_reader import ImageReader
from aeframe.data.user_cache import find_user_cache


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    for i in range(6):
        file = root / f"class{i % 2}" / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        paint(file, 40 * i)
    return root


def paint(file: Path, shade: int) -> None:
    Image.new("RGB", (20, 16), (shade, 5, 7)).save(file)


def source(root: Path, **options: object) -> ImageFolder:
    return ImageFolder(root=str(root), **{"size": 8, **options})  # type: ignore[arg-type]


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that are decoded from now on."""
    seen: list[Path] = []
    read = ImageReader._read

    def noted(self: ImageReader, file: Path) -> np.ndarray:
        seen.append(file)
        return read(self, file)

    monkeypatch.setattr(ImageReader, "_read", noted)
    return seen


def entries() -> list[Path]:
    return sorted(find_user_cache().glob("*.images"))


def same(one: Raw, other: Raw) -> bool:
    assert one.labels is not None
    assert other.labels is not None
    labels = torch.equal(one.labels, other.labels)
    return labels and one.classes == other.classes and torch.equal(one.data, other.data)


def test_the_second_time_nothing_is_decoded(photos: Path, decoded: list[Path]) -> None:
    first = source(photos).load()
    assert len(decoded) == 6
    again = source(photos).load()
    assert len(decoded) == 6
    assert same(first, again)
    assert same(first, source(photos, cache=None).load())
    assert again.mapping is not None
    again.release()
    assert same(first, again)


def test_the_same_folder_by_another_name_is_the_same(
    photos: Path, decoded: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    source(photos).load()
    monkeypatch.chdir(photos.parent)
    source(Path("photos")).load()
    assert len(decoded) == 6


def test_a_test_folder_is_kept_too(photos: Path, tmp_path: Path, decoded: list[Path]) -> None:
    shutil.copytree(photos, tmp_path / "held")
    for _ in range(2):
        raw = source(photos, test_root=str(tmp_path / "held")).load()
        assert len(decoded) == 12
        assert raw.test is not None
        assert raw.test.mapping is not None
        assert torch.equal(raw.test.data, raw.data)


def repaint(root: Path) -> None:
    paint(root / "class0" / "2.png", 99)


def add(root: Path) -> None:
    paint(root / "class1" / "9.png", 250)


def remove(root: Path) -> None:
    (root / "class0" / "0.png").unlink()


def rename(root: Path) -> None:
    (root / "class0" / "0.png").rename(root / "class1" / "0.png")


def touch(root: Path) -> None:
    os.utime(root / "class0" / "2.png", ns=(1, 1))


@pytest.mark.parametrize("change", [repaint, add, remove, rename, touch])
def test_a_changed_folder_is_decoded_again_and_replaces_what_was_kept(
    photos: Path, decoded: list[Path], change: Callable[[Path], None]
) -> None:
    source(photos).load()
    change(photos)
    decoded.clear()
    changed = source(photos).load()
    assert decoded
    assert same(changed, source(photos, cache=None).load())
    assert len(entries()) == 1
    decoded.clear()
    source(photos).load()
    assert not decoded


def flip_a_pixel(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-100] ^= 1
    file.write_bytes(content)


def flip_the_header(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[8] ^= 1
    file.write_bytes(content)


def cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size - 1)


def lengthen(file: Path) -> None:
    with file.open("ab") as stream:
        stream.write(b"x")


def empty(file: Path) -> None:
    file.write_bytes(b"")


@pytest.mark.parametrize("harm", [flip_a_pixel, flip_the_header, cut, lengthen, empty])
def test_a_damaged_entry_is_decoded_again(
    photos: Path, decoded: list[Path], harm: Callable[[Path], None], capsys: pytest.CaptureFixture
) -> None:
    first = source(photos).load()
    kept = first.data.clone()
    (entry,) = entries()
    harm(entry)
    decoded.clear()
    assert torch.equal(source(photos).load().data, kept)
    assert len(decoded) == 6
    source(photos).load()
    assert len(decoded) == 6
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "other",
    [{"size": 9}, {"color": "gray"}, {"fit": "resize"}],
    ids=lambda other: next(iter(other)),
)
def test_other_options_have_their_own_entry(photos: Path, other: dict[str, object]) -> None:
    first, second = source(photos).load(), source(photos, **other).load()
    assert len(entries()) == 2
    assert torch.equal(source(photos).load().data, first.data)
    assert torch.equal(source(photos, **other).load().data, second.data)


def test_another_decoder_decodes_again(
    photos: Path, decoded: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    source(photos).load()
    monkeypatch.setattr(folder, "DECODER", folder.DECODER + 1)
    source(photos).load()
    assert len(decoded) == 12
    monkeypatch.setattr(folder.PIL, "__version__", "0.0")
    source(photos).load()
    assert len(decoded) == 18


def test_a_folder_of_ones_own_and_none(photos: Path, tmp_path: Path, decoded: list[Path]) -> None:
    own = tmp_path / "deep" / "own"
    for _ in range(2):
        source(photos, cache=str(own)).load()
    assert len(decoded) == 6
    assert len(list(own.glob("*.images"))) == 1
    assert source(photos, cache=None).load().mapping is None
    assert not entries()


def one_warning(error: str, reason: str) -> None:
    assert error.count("\n") == 1
    assert error.startswith("aeframe: dataset.cache=")
    assert reason in error


def test_a_folder_that_cannot_be_written_is_said_once(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    bad = source(photos, cache=str(tmp_path / "file" / "cache"), test_root=str(photos))
    raw = bad.load()
    one_warning(capsys.readouterr().err, "Not a directory")
    assert raw.mapping is None
    assert same(raw, source(photos, cache=None).load())


def test_a_full_disk_is_said_once_and_leaves_nothing(
    photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(100))
    raw = source(photos).load()
    one_warning(capsys.readouterr().err, "No space left on device")
    assert same(raw, source(photos, cache=None).load())


def load_with_little_space(root: Path) -> tuple[Raw, list[str]]:
    resource.setrlimit(resource.RLIMIT_FSIZE, (4500, 4500))
    raw = source(root).load()
    return raw.copy_to_memory(), [file.suffix for file in find_user_cache().iterdir()]


def test_a_disk_that_fills_while_decoding_does_no_harm(photos: Path) -> None:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        raw, left = pool.submit(load_with_little_space, photos).result()
    assert same(raw, source(photos, cache=None).load())
    assert left == [".lock"]


def test_unreadable_images_leave_nothing(photos: Path) -> None:
    (photos / "class0" / "broken.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"1 unreadable image\(s\).*broken\.png"):
        source(photos).load()
    assert [file.suffix for file in find_user_cache().iterdir()] == [".lock"]


def test_files_of_an_interrupted_run_are_overwritten(photos: Path, decoded: list[Path]) -> None:
    first = source(photos).load().data.clone()
    (entry,) = entries()
    entry.rename(entry.with_suffix(".partial"))
    assert torch.equal(source(photos).load().data, first)
    assert len(decoded) == 12
    assert sorted(file.suffix for file in entry.parent.iterdir()) == [".images", ".lock"]


@pytest.mark.parametrize("ending", [".lock", ".partial", ".images"])
def test_nothing_is_written_through_what_lies_in_a_folder(photos: Path, ending: str) -> None:
    folder, precious = photos.parent / "cache", photos.parent / "precious"
    first = source(photos, cache=str(folder)).load().data.clone()
    (entry,) = folder.glob("*.images")
    precious.write_text("do not lose me")
    for place in (lambda p: p.symlink_to(precious), lambda p: p.hardlink_to(precious), os.mkfifo):
        entry.unlink(missing_ok=True)
        entry.with_suffix(ending).unlink(missing_ok=True)
        place(entry.with_suffix(ending))
        assert torch.equal(source(photos, cache=str(folder)).load().data, first)
        assert precious.read_text() == "do not lose me"


def load(root: Path) -> Raw:
    return source(root).load().copy_to_memory()


def test_processes_at_once_agree_and_keep_one_entry(photos: Path) -> None:
    with ProcessPoolExecutor(3, mp_context=multiprocessing.get_context("spawn")) as pool:
        found = list(pool.map(load, [photos] * 6))
    alone = source(photos, cache=None).load()
    assert all(same(raw, alone) for raw in found)
    assert len(entries()) == 1


def test_whoever_maps_an_entry_keeps_it_when_it_is_replaced(photos: Path) -> None:
    raw = source(photos).load()
    before = raw.data.clone()
    paint(photos / "class0" / "2.png", 199)
    changed = source(photos).load()
    raw.release()
    assert torch.equal(raw.data, before)
    assert not torch.equal(changed.data, before)


def test_few_decoded_images_wait_in_memory(tmp_path: Path, decoded: list[Path]) -> None:
    for i in range(200):
        paint(tmp_path / f"{i:03}.png", i)
    files = sorted(tmp_path.iterdir())
    images = iter(source(tmp_path, size=4)._decode(files, Levels()).images)
    next(images)
    assert 1 <= len(decoded) <= 3 * (os.cpu_count() or 1) + 2
    assert len(list(images)) == 199
    assert len(decoded) == 200


def test_a_cache_that_is_a_file_is_refused_beforehand(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (problem,) = source(photos, cache=str(tmp_path / "file")).problems()
    assert str(problem).startswith(f"dataset.cache={tmp_path / 'file'}: is a file, not a folder.")
