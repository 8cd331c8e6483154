"""Image files of every odd and broken kind: the right picture, or one line that names the file."""
# ruff: noqa: E501 (the tables keep each file and its message on one line)

from __future__ import annotations

import builtins
import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from aeframe.core.errors import UserError
from aeframe.data import ImageFolder, Raw
from aeframe.data.images.image_reader import FORMATS

RED = (200, 30, 40)
CORNERS = np.kron(np.array([[0, 80], [160, 240]], np.uint8), np.ones((8, 8), np.uint8))


def picture(
    mode: str = "RGB", color: object = RED, size: tuple[int, int] = (24, 16)
) -> Image.Image:
    return Image.new(mode, size, color)  # type: ignore[arg-type]


def load(root: Path, **options: object) -> Raw:
    made = ImageFolder(root=str(root), **{"size": 8, "cache": None, **options})  # type: ignore[arg-type]
    assert made.problems() == []
    return made.load()


def refusal(root: Path, **options: object) -> str:
    with pytest.raises(UserError) as caught:
        load(root, **options)
    text = str(caught.value)
    one_line(text)
    return text


def one_line(text: str) -> None:
    """The line holds nothing that a terminal obeys or cannot show."""
    assert len(text.splitlines()) == 1, text
    assert "\x1b" not in text
    text.encode()


def png(width: int, height: int, depth: int, color: int, rows: bytes, *more: bytes) -> bytes:
    """A PNG file as no library would write it."""
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    parts = (b"IHDR" + header, *more, b"IDAT" + zlib.compress(rows), b"IEND")
    chunks = (struct.pack(">I", len(p) - 4) + p + struct.pack(">I", zlib.crc32(p)) for p in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def deep(value: int, dtype: str = "<u2") -> Image.Image:
    return Image.fromarray(np.full((9, 9), value, dtype))


SHOWN: dict[str, tuple[str, Callable[[Path], object], tuple[int, ...]]] = {
    "one pixel": ("a.png", lambda p: picture(size=(1, 1)).save(p), RED),
    "a thread": ("a.png", lambda p: picture(size=(1, 20_000)).save(p), RED),
    "16 bits": ("a.png", lambda p: deep(0x8080).save(p), (128, 128, 128)),
    "16 bits, big-endian": ("a.tif", lambda p: deep(0x4040, ">u2").save(p), (64, 64, 64)),
    "16 bits, few in use": ("a.png", lambda p: deep(4095).save(p), (16, 16, 16)),
    "16 bits of ppm": ("a.ppm", lambda p: p.write_bytes(b"P5 1 1 65535\n\x80\x80"), (128,) * 3),
    "10 bits of ppm": ("a.ppm", lambda p: p.write_bytes(b"P5 1 1 1023\n\x02\x02"), (128,) * 3),
    "16 bits of color": (
        "a.png",
        lambda p: p.write_bytes(png(1, 1, 16, 2, b"\0" + struct.pack(">3H", 51400, 7710, 10280))),
        RED,
    ),
    "16 bits, one value clear": (
        "a.png",
        lambda p: p.write_bytes(png(1, 1, 16, 0, b"\0\x12\x34", b"tRNS\x12\x34")),
        (255, 255, 255),
    ),
    "floats": ("a.tif", lambda p: deep(0, "<f4").point(lambda v: v + 0.5).save(p), (128,) * 3),
    "palette": ("a.png", lambda p: picture().quantize(4).save(p), RED),
    "palette, one color clear": ("a.gif", lambda p: picture("P", 0).save(p, transparency=0), (255,) * 3),
    "one color clear": ("a.png", lambda p: picture().save(p, transparency=RED), (255,) * 3),
    "half transparent": ("a.webp", lambda p: picture("RGBA", (0, 0, 0, 128)).save(p), (127,) * 3),
    "CMYK": ("a.jpg", lambda p: picture("CMYK", (0, 255, 255, 0)).save(p), (254, 0, 0)),
    "YCbCr": ("a.tif", lambda p: picture().convert("YCbCr").save(p), RED),
    "animated gif": ("a.gif", lambda p: moving().save(p, save_all=True, append_images=[picture()]), (9,) * 3),
    "animated png": ("a.png", lambda p: moving().save(p, save_all=True, append_images=[picture()]), (9,) * 3),
    "animated webp": ("a.webp", lambda p: moving().save(p, save_all=True, append_images=[picture()]), (9,) * 3),
    "many pages": ("a.tif", lambda p: moving().save(p, save_all=True, append_images=[picture()]), (9,) * 3),
    "another ending": ("a.jpg", lambda p: picture().save(p, "png"), RED),
    "two pictures in one": ("a.jpg", lambda p: moving().save(p, "mpo", save_all=True), (9,) * 3),
}  # fmt: skip


def moving() -> Image.Image:
    return picture(color=(9, 9, 9))


@pytest.mark.parametrize("case", SHOWN)
def test_the_color_that_is_seen(tmp_path: Path, case: str) -> None:
    name, make, color = SHOWN[case]
    make(tmp_path / name)
    seen = load(tmp_path).data[0].float().mean((1, 2))
    assert torch.allclose(seen, torch.tensor(color).float(), atol=3), seen


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_upright(tmp_path: Path, ending: str, orientation: int) -> None:
    flips = {2: (0,), 3: (3,), 4: (1,), 5: (5,), 6: (2,), 7: (6,), 8: (4,)}  # what undoes each
    stored = Image.fromarray(CORNERS).convert("RGB")
    for flip in flips.get(orientation, ()):
        stored = stored.transpose(Image.Transpose(flip))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / f"a.{ending}", exif=exif)
    seen = load(tmp_path, color="gray").data[0, 0, [1, 1, 6, 6], [1, 6, 1, 6]]
    assert torch.allclose(seen.float(), torch.tensor([0.0, 80, 160, 240]), atol=4), seen


def cut(content: bytes, share: float) -> bytes:
    return content[: int(len(content) * share)]


def noise(encoding: str) -> bytes:
    buffer = io.BytesIO()
    random = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    Image.fromarray(random).save(buffer, encoding)
    return buffer.getvalue()


def eps(path: Path) -> None:
    """Write a file that Pillow would give to Ghostscript."""
    buffer = io.BytesIO()
    picture().save(buffer, "eps")
    path.write_bytes(buffer.getvalue())


REFUSED: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "no bytes": ("a.png", lambda p: p.write_bytes(b""), "not a known image format"),
    "text": ("a.png", lambda p: p.write_text("no image"), "not a known image format"),
    "a signature": ("a.png", lambda p: p.write_bytes(b"\x89PNG\r\n\x1a\n"), ""),
    "Postscript": ("a.png", eps, "its format is EPS"),
    "anything as TGA": ("a.png", lambda p: picture().save(p, "tga"), "its format is TGA"),
    "no pixels": ("a.png", lambda p: p.write_bytes(png(0, 0, 8, 2, b"")), ""),
    "400 million pixels": ("a.png", lambda p: picture("1", 0, (20_000, 20_000)).save(p), "it has 400 megapixels; to allow this, write dataset.max_megapixels=400)"),
    "100 million pixels": ("a.gif", lambda p: p.write_bytes(b"GIF89a\x10\x27\x10\x27\0\0\0,\0\0\0\0\x10\x27\x10\x27\0\x02\0;"), "it has 100 megapixels"),
    "text that unpacks to much": ("a.png", lambda p: p.write_bytes(png(1, 1, 8, 0, b"\0\0", b"zTXta\0\0" + zlib.compress(bytes(2**27)))), "too large"),
    "not a number": ("a.tif", lambda p: Image.fromarray(np.full((4, 4), np.nan, np.float32)).save(p), "it contains NaN"),
    "infinity": ("a.tif", lambda p: Image.fromarray(np.full((4, 4), np.inf, np.float32)).save(p), "it contains NaN"),
    "a link to nothing": ("a.png", lambda p: p.symlink_to("b.png"), "No such file"),
    "a link to itself": ("a.png", lambda p: p.symlink_to(p.name), "Too many levels"),
    **{f"half a {e}": (f"a.{e}", lambda p, e=e: p.write_bytes(cut(noise(e), 0.5)), "") for e in ("png", "jpeg", "gif", "bmp", "webp", "tiff", "ppm")},
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_one_line_names_the_file_and_says_what_to_do(tmp_path: Path, case: str) -> None:
    name, make, reason = REFUSED[case]
    picture().save(tmp_path / "whole.png")
    make(tmp_path / name)
    text = refusal(tmp_path)
    assert text.startswith(f"dataset.root: 1 unreadable image(s): {tmp_path / name} cannot be read")
    assert reason in text
    assert text.endswith("Remove or replace them, or write dataset.on_bad_sample=skip.")
    assert len(load(tmp_path, on_bad_sample="skip").data) == 1


def test_no_format_that_starts_a_program_is_read() -> None:
    assert not {"EPS", "WMF", "PDF", "FPX"} & set(FORMATS)


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Permissions do not stop root, who may be running this."""
    picture().save(tmp_path / "a.png")
    picture().save(tmp_path / "b.png")
    opened = builtins.open

    def locked(file: object, *args: object, **options: object) -> object:
        if str(file).endswith("b.png"):
            raise PermissionError(13, "Permission denied", file)
        return opened(file, *args, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(builtins, "open", locked)
    assert "b.png cannot be read as an image (Permission denied)" in refusal(tmp_path)


def test_a_folder_that_may_not_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def locked(self: Path) -> object:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "iterdir", locked)
    (problem,) = ImageFolder(root=str(tmp_path)).problems()
    assert str(problem).startswith(f"{tmp_path}: cannot be listed (Permission denied).")


NAMES = [
    "a b.png",
    "日本語.png",
    "צילום.png",
    "می‌روم.png",
    "né.png",
    "🌅.png",
    "a\nb.png",
    "\x1b[31m.png",
    "%s {}.png",
]


@pytest.mark.parametrize("name", [*NAMES, os.fsdecode(b"\xff\xfe.png")])
def test_names_in_any_script_and_with_any_byte(
    tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    for folder in (tmp_path / name / "one", tmp_path / name / "other"):
        folder.mkdir(parents=True)
        try:
            picture().save(folder / name)
        except OSError:
            pytest.skip("this file system has no such names")
    raw = load(tmp_path / name, cache=str(tmp_path / "cache"))
    assert raw.data.float().mean((0, 2, 3)).tolist() == list(RED)
    (tmp_path / name / "one" / name).write_bytes(b"")
    refused = refusal(tmp_path / name)
    assert "1 unreadable image(s)" in refused
    if name.isprintable():
        assert str(tmp_path / name / "one" / name) in refused
    load(tmp_path / name, on_bad_sample="skip")
    one_line(capfd.readouterr().err)


def test_links_in_a_circle_and_pipes_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "cats").mkdir()
    picture().save(tmp_path / "cats" / "a.png")
    (tmp_path / "cats" / "up").symlink_to(tmp_path)
    (tmp_path / "round").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "cats" / "b.png")
    (tmp_path / "cats" / "c.png").symlink_to("b.png")
    assert load(tmp_path).classes == ("cats",)


@pytest.mark.parametrize("root", ["~nobody-of-this-name/x", "a\0b", "x" * 5000, "/" + "y" * 300])
def test_folders_that_cannot_be(root: str) -> None:
    (problem,) = ImageFolder(root=root).problems()
    assert problem.what == "no such folder"
    one_line(str(problem))


def test_more_images_than_memory_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aeframe.data.memory_map._measure_free_memory", lambda: 2**20)
    for i in range(20):
        picture().save(tmp_path / f"{i}.png")
    text = refusal(tmp_path, size=512)
    assert text.startswith("dataset.size=512: 20 images need 0.01 GiB of memory, but only 0.00 GiB")
