"""Handling of images that cannot be decoded, by dataset.on_bad_sample."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from aeframe.core.errors import UserError
from aeframe.data import ImageFolder, Raw
from aeframe.data.images.image_reader import ImageReader
from aeframe.data.user_cache import find_user_cache
from tests.support.runs import TINY

NOTE = "aeframe: dataset.on_bad_sample=skip: {} image(s) of {} cannot be read and are left out: {}."


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Eight images in two classes, of which the second and the last cannot be decoded."""
    root = tmp_path / "photos"
    for i in range(8):
        file = root / f"class{i // 4}" / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (20, 16), 30 * i).save(file)
    for i in (1, 7):
        (root / f"class{i // 4}" / f"{i}.png").write_bytes(b"")
    return root


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that are decoded from now on."""
    seen: list[str] = []
    read = ImageReader._read

    def noted(self: ImageReader, file: Path) -> object:
        seen.append(file.name)
        return read(self, file)

    monkeypatch.setattr(ImageReader, "_read", noted)
    return seen


def source(root: Path, **options: object) -> ImageFolder:
    return ImageFolder(root=str(root), size=4, color="gray", **options)  # type: ignore[arg-type]


def skipping(root: Path, **options: object) -> Raw:
    return source(root, on_bad_sample="skip", **options).load()


def shades(raw: Raw) -> list[int]:
    assert raw.data.flatten(1).float().std(1).max() == 0
    return raw.data[:, 0, 0, 0].tolist()


def test_an_error_by_default(photos: Path) -> None:
    with pytest.raises(UserError, match=r"2 unreadable image\(s\).*1\.png.*7\.png"):
        source(photos).load()


@pytest.mark.parametrize("kept_in", ["auto", None])
def test_skip_leaves_them_out_and_says_so(
    photos: Path, kept_in: str | None, capfd: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):  # decoded, and from the cache
        raw = skipping(photos, cache=kept_in)
        assert shades(raw) == [0, 60, 90, 120, 150, 180]
        assert raw.labels is not None
        assert raw.labels.tolist() == [0, 0, 0, 1, 1, 1]
        assert raw.classes == ("class0", "class1")
        assert (raw.mapping is not None) == (kept_in == "auto")
        assert raw.data.is_contiguous()
        assert capfd.readouterr().err == NOTE.format(2, photos, "class0/1.png, class1/7.png") + "\n"


def test_the_cache_keeps_skipped_files_too(photos: Path, decoded: list[str]) -> None:
    first = skipping(photos)
    assert len(decoded) == 8
    again = skipping(photos)
    assert len(decoded) == 8
    assert torch.equal(first.data, again.data)
    again.release()
    assert torch.equal(first.data, again.copy_to_memory().data)


def test_an_error_is_one_still_where_skip_has_kept_the_others(photos: Path) -> None:
    skipping(photos)
    with pytest.raises(UserError, match=r"2 unreadable image\(s\)"):
        source(photos).load()
    assert len(skipping(photos).data) == 6


def test_a_whole_folder_is_kept_for_both(photos: Path, decoded: list[str]) -> None:
    for name in ("class0/1.png", "class1/7.png"):
        (photos / name).unlink()
    first = source(photos).load()
    assert torch.equal(skipping(photos).data, first.data)
    assert torch.equal(source(photos).load().data, first.data)
    assert len(decoded) == 6


def test_a_file_that_is_mended_comes_in(photos: Path, capfd: pytest.CaptureFixture[str]) -> None:
    skipping(photos)
    Image.new("L", (20, 16), 30).save(photos / "class0" / "1.png")
    capfd.readouterr()
    assert shades(skipping(photos)) == [0, 30, 60, 90, 120, 150, 180]
    assert capfd.readouterr().err == NOTE.format(1, photos, "class1/7.png") + "\n"


def test_a_link_that_leads_somewhere_again_comes_in(photos: Path, tmp_path: Path) -> None:
    (photos / "class1" / "7.png").unlink()
    (photos / "class1" / "7.png").symlink_to(tmp_path / "later.png")
    assert len(skipping(photos).data) == 6
    Image.new("L", (20, 16), 210).save(tmp_path / "later.png")
    assert shades(skipping(photos))[-1] == 210


def test_damage_to_the_list_of_what_was_left_out_is_seen(photos: Path, decoded: list[str]) -> None:
    skipping(photos)
    (entry,) = find_user_cache().glob("*.images")
    content = bytearray(entry.read_bytes())
    content[-8], content[-7] = content[-7], content[-8]
    entry.write_bytes(content)
    raw = skipping(photos)
    assert len(decoded) == 16
    assert raw.labels is not None
    assert raw.labels.tolist() == [0, 0, 0, 1, 1, 1]


def test_many_are_counted_and_few_are_named(
    photos: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for i in range(4):
        (photos / "class0" / f"{i}.png").write_bytes(b"")
    assert shades(skipping(photos)) == [120, 150, 180]
    names = "class0/0.png, class0/1.png, class0/2.png and 2 more"
    assert capfd.readouterr().err == NOTE.format(5, photos, names) + "\n"


@pytest.mark.parametrize("kept_in", ["auto", None])
def test_with_nothing_left_it_is_an_error(photos: Path, kept_in: str | None) -> None:
    for file in photos.rglob("*.png"):
        file.write_bytes(b"")
    with pytest.raises(UserError, match=r"8 unreadable image\(s\).*Remove or replace them\.$"):
        skipping(photos, cache=kept_in)
    assert not list(find_user_cache().glob("*.images"))


def test_bad_samples_of_the_test_folder_too(
    photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(photos, tmp_path / "held")
    raw = skipping(photos, test_root=str(tmp_path / "held"))
    assert raw.test is not None
    assert torch.equal(raw.test.data, raw.data)
    assert capfd.readouterr().err.count("are left out") == 2


def test_a_run_goes_on_or_ends_in_one_line(photos: Path, aeframe: Callable[..., Any]) -> None:
    run = ("dataset=image_folder", f"dataset.root={photos}", "dataset.size=8", "model.latent_dim=2")
    small = ("constraint=[]", "dataset.batch_size=2", *TINY)
    status, _, error = aeframe(*run, *small)
    assert status == 2
    assert error.count("\n") == 1
    assert error.startswith("aeframe: dataset.root: 2 unreadable image(s): ")
    status, _, error = aeframe(*run, *small, "dataset.on_bad_sample=skip")
    assert status == 0, error
    assert error.count("are left out: class0/1.png, class1/7.png.") == 1
