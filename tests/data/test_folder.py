"""Folders of images: every kind of file, and what is refused."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from aeframe.core.errors import UserError
from aeframe.data import ImageFolder
from aeframe.data.images import image_reader as images
from aeframe.data.source import Raw

RED, WIDE = (200, 30, 40), (24, 16)


def image(mode: str = "RGB", color: object = RED, size: tuple[int, int] = WIDE) -> Image.Image:
    return Image.new(mode, size, color)  # type: ignore[arg-type]


def load(root: Path, **options: object) -> Raw:
    source = ImageFolder(root=str(root), **{"size": 8, **options})  # type: ignore[arg-type]
    assert source.problems() == []
    raw = source.load()
    assert raw.data.dtype == torch.uint8
    assert tuple(raw.data.shape[1:]) == source.shape()
    return raw


@pytest.mark.parametrize(
    "ending", ["png", "PNG", "jpg", "jpeg", "bmp", "gif", "webp", "tif", "tiff", "ppm", "tga"]
)
def test_common_formats(tmp_path: Path, ending: str) -> None:
    image().save(tmp_path / f"a b ü.{ending}")
    found = load(tmp_path).data[0].float().mean((1, 2))
    assert torch.allclose(found, torch.tensor(RED).float(), atol=6)


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (image("L", 77), (77, 77, 77)),
        (image("LA", (0, 0)), (255, 255, 255)),
        (image("RGBA", (*RED, 255)), RED),
        (image("RGBA", (*RED, 0)), (255, 255, 255)),
        (image("RGBA", (0, 0, 0, 128)), (127, 127, 127)),
        (image("P", 0), (0, 0, 0)),
        (image("1", 1), (255, 255, 255)),
        (Image.fromarray(np.full((16, 24), 0x8080, np.uint16)), (128, 128, 128)),
        (image("CMYK", (0, 255, 255, 0)), None),
        (image("I", 65535), (255, 255, 255)),
    ],
)
def test_every_mode_becomes_the_color_that_is_seen(
    tmp_path: Path, made: Image.Image, expected: tuple[int, ...] | None
) -> None:
    made.save(tmp_path / ("a.tif" if made.mode in ("CMYK", "I") else "a.png"))
    found = load(tmp_path).data[0].float().mean((1, 2))
    if expected is None:
        assert found[0] > 200
        assert found[1] < 60
    else:
        assert torch.allclose(found, torch.tensor(expected).float(), atol=1.5)


def test_gray_and_rotation_and_first_frame(tmp_path: Path) -> None:
    top = image("L", 0, (20, 20))
    top.paste(255, (0, 0, 20, 10))
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    top.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    upright = load(tmp_path, color="gray").data[0, 0].float()
    assert upright[:3].mean() < 20
    assert upright[-3:].mean() > 235
    (tmp_path / "turned.jpg").unlink()
    image("L", 10).save(tmp_path / "moving.gif", save_all=True, append_images=[image("L", 200)])
    assert load(tmp_path, color="gray").data.float().mean() == pytest.approx(10, abs=2)


def test_crop_takes_the_middle_and_resize_takes_all(tmp_path: Path) -> None:
    made = image("L", 0, (30, 10))
    made.paste(255, (10, 0, 20, 10))
    made.save(tmp_path / "a.png")
    assert load(tmp_path, color="gray").data.float().mean() > 250
    assert load(tmp_path, color="gray", fit="resize").data.float().mean() == pytest.approx(
        85, abs=6
    )


def test_class_subfolders_give_labels_and_hidden_files_are_passed_over(tmp_path: Path) -> None:
    for name, shade in (("cat", 10), ("dog", 200)):
        (tmp_path / name).mkdir()
        for i in range(2):
            image("L", shade + i).save(tmp_path / name / f"{i}.png")
    (tmp_path / "cat" / "._0.png").write_bytes(b"resource fork")
    (tmp_path / "notes.txt").write_text("")
    raw = load(tmp_path, color="gray")
    assert raw.classes == ("cat", "dog")
    assert raw.labels is not None
    assert raw.labels.tolist() == [0, 0, 1, 1]
    assert raw.data[:, 0, 0, 0].tolist() == [10, 11, 200, 201]


def test_images_that_lie_too_deep_are_told_of_and_hidden_ones_are_not(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("cat/a.png", "dog/b.png", "dog/young/c.png", ".thumbnails/d.png", "cat/.e/f.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        image().save(tmp_path / name)
    (tmp_path / "cat" / "notes").mkdir()
    raw = load(tmp_path)
    assert (raw.classes, len(raw.data)) == (("cat", "dog"), 2)
    what = f"images two folders down are left out: {tmp_path}/dog/young"
    remedy = "Move them into the folder or its subfolders."
    assert capfd.readouterr().err == f"aeframe: dataset.root={tmp_path}: {what}. {remedy}\n"


def test_pictures_of_a_run_in_the_folder_are_no_samples(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.png", "b.png", "run/pictures/c.png", "outputs/day/run/pictures/d.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        image().save(tmp_path / name)
    (tmp_path / "run" / "checkpoints").mkdir()
    assert len(load(tmp_path).data) == 2
    assert capfd.readouterr().err == ""


def truncated(path: Path) -> None:
    image(size=(200, 200)).save(path)
    path.write_bytes(path.read_bytes()[:120])


@pytest.mark.parametrize(
    "make",
    [
        truncated,
        lambda p: p.write_bytes(b""),
        lambda p: p.write_text("no image"),
        lambda p: p.write_bytes(b"\x89PNG\r\n"),
    ],
    ids=["truncated", "zero bytes", "text", "only a signature"],
)
def test_an_unreadable_image_is_named(tmp_path: Path, make: object) -> None:
    image().save(tmp_path / "a.png")
    make(tmp_path / "broken.png")  # type: ignore[operator]
    with pytest.raises(UserError) as caught:
        ImageFolder(root=str(tmp_path)).load()
    assert "1 unreadable image(s)" in str(caught.value)
    assert "broken.png cannot be read as an image" in str(caught.value)


def test_many_unreadable_images_are_counted(tmp_path: Path) -> None:
    for i in range(8):
        (tmp_path / f"{i}.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"8 unreadable image\(s\).*and 3 more"):
        ImageFolder(root=str(tmp_path)).load()


def test_a_decompression_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    image("L", 0, (15, 15)).save(tmp_path / "bomb.png")
    with pytest.raises(UserError, match=r"bomb\.png"):
        ImageFolder(root=str(tmp_path)).load()


def problem(**options: object) -> str:
    return str(ImageFolder(**options).problems()[0])  # type: ignore[arg-type]


def test_folders_that_are_refused(tmp_path: Path) -> None:
    assert problem() == "dataset.root: no folder given. Write dataset.root=FOLDER."
    assert "no such folder" in problem(root=str(tmp_path / "nowhere"))
    assert "nor do its subfolders. Known endings: .avif .bmp" in problem(root=str(tmp_path))
    image().save(tmp_path / "loose.png")
    assert "is a file, not a folder" in problem(root=str(tmp_path / "loose.png"))
    (tmp_path / "cats").mkdir()
    image().save(tmp_path / "cats" / "a.png")
    assert "mixes images (loose.png) with folders of images (cats)" in problem(root=str(tmp_path))


def test_reading_leaves_the_warning_filters_as_they_were(tmp_path: Path) -> None:
    for i in range(40):
        image().save(tmp_path / f"{i}.png")
    before = list(warnings.filters)
    load(tmp_path)
    assert warnings.filters == before


def test_large_images_are_read_ahead_as_far_as_they_have_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(9):
        Image.new("L", (100, 100), i).save(tmp_path / f"{i}.png")
    pulled = []

    def files() -> Iterator[Path]:
        for i in range(9):
            pulled.append(i)
            yield tmp_path / f"{i}.png"

    monkeypatch.setattr(images, "AHEAD", 25_000)
    monkeypatch.setattr(images.os, "cpu_count", lambda: 4)
    for size, first in ((None, 3), ((100, 100), 10)):
        pulled.clear()
        with images.read_strictly():
            found = images.ImageReader(size, "crop", "gray").read_all(files())
            assert int(next(found)[0, 0, 0]) == 0  # type: ignore[index]
            assert len(pulled) == min(first, 9)
            assert [int(image[0, 0, 0]) for image in found] == list(range(1, 9))  # type: ignore[index]
