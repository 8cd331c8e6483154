"""Brightness of image files: one range for all of a folder, and dataset.range."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import aeframe
from aeframe.config.node import to_plain
from aeframe.core.errors import UserError
from aeframe.data import ImageFolder, Raw
from aeframe.data.images.image_reader import ImageReader
from aeframe.runs.model_file import save
from aeframe.training.build import build

DARK, BRIGHT = np.full((8, 8), 2), np.arange(64).reshape(8, 8)


def write(root: Path, dtype: object, *images: np.ndarray, ending: str = "tif") -> Path:
    root.mkdir(exist_ok=True)
    for i, image in enumerate(images):
        Image.fromarray(image.astype(dtype)).save(root / f"{i}.{ending}")  # type: ignore[call-overload]
    return root


def load(root: Path, **options: object) -> Raw:
    given: Any = {"size": 8, "color": "gray", "cache": None, **options}
    source = ImageFolder(root=str(root), **given)
    assert source.problems() == []
    return source.load()


def pixels(root: Path, **options: object) -> np.ndarray:
    return load(root, **options).data[:, 0].numpy()


def in_bytes(x: np.ndarray, low: float, high: float) -> np.ndarray:
    return ((x - low) / (high - low) * 255).round()


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
@pytest.mark.parametrize(
    ("low", "factor"),
    [(0, 1), (0, 4), (0, 1000), (-30, 1)],
    ids=["small", "8 bits", "deep", "signed"],
)
def test_tiffs_of_any_numbers_share_one_scale(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], dtype: type, low: int, factor: int
) -> None:
    images = [np.array(image) * factor + low for image in (DARK, BRIGHT, BRIGHT // 2)]
    root, high = write(tmp_path / "a", dtype, *images), 63 * factor + low
    for image, found in zip(images, pixels(root), strict=True):
        assert np.array_equal(found, in_bytes(image, low, high))
    said = capfd.readouterr().err
    assert f"dataset.root={root}: {low} is black and {high} white in TIFFs of floats or" in said
    assert f"To change it, write dataset.range=[LOW,HIGH]; now it is [{low},{high}]." in said


def test_floats_of_0_to_1_keep_that_range(tmp_path: Path) -> None:
    root = write(tmp_path / "a", np.float32, BRIGHT / 126)
    assert np.allclose(pixels(root)[0], in_bytes(BRIGHT, 0, 126), atol=1)  # 127.5


@pytest.mark.parametrize(
    ("dtype", "ending", "high"),
    [
        (np.uint16, "png", 63),
        (np.uint16, "tif", 63),
        (np.uint8, "png", 63),
        (np.float32, "tif", 90),
    ],
)
def test_the_range_that_is_said_is_black_and_white(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], dtype: type, ending: str, high: int
) -> None:
    root = write(tmp_path / "a", dtype, DARK, BRIGHT, ending=ending)
    found = pixels(root, range=[0, high])
    assert np.array_equal(found[1], in_bytes(BRIGHT, 0, high))
    assert np.array_equal(found[0], in_bytes(DARK, 0, high))
    assert capfd.readouterr().err == ""
    with pytest.raises(UserError) as caught:
        load(root, range=[0, 50])
    what = "cannot be read as an image (it has values from 0 to 63, outside the range from 0 to 50)"
    assert f"dataset.root: 1 unreadable image(s): {root}/1.{ending} {what}." in str(caught.value)


def test_colors_and_what_is_clear_are_brought_to_the_range(tmp_path: Path) -> None:
    tmp_path.joinpath("a").mkdir()
    Image.new("RGBA", (8, 8), (1, 0, 1, 255)).save(tmp_path / "a" / "0.png")
    Image.new("RGBA", (8, 8), (1, 0, 1, 0)).save(tmp_path / "a" / "1.png")
    Image.new("1", (8, 8), 1).save(tmp_path / "a" / "2.png")
    found = load(tmp_path / "a", color="rgb", range=[0, 1]).data[:, :, 0, 0].tolist()
    assert found == [[255, 0, 255], [255, 255, 255], [255, 255, 255]]


@pytest.mark.parametrize(
    ("dtype", "factor", "known", "likely"),
    [(np.uint16, 65, "0 to 65535", "[0,4095]"), (np.uint8, 0.02, "0 to 255", "[0,1]")],
)
def test_a_folder_that_hardly_uses_its_range_is_told(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    dtype: type,
    factor: float,
    known: str,
    likely: str,
) -> None:
    root = write(tmp_path / "a", dtype, DARK * factor, BRIGHT * factor, ending="png")
    load(root)
    said = capfd.readouterr().err
    assert (
        f"in an assumed range of {known}. If no others are possible, write dataset.range={likely}."
        in said
    )
    found = pixels(root, range=[float(end) for end in likely.strip("[]").split(",")])
    assert found.max() > 250
    assert capfd.readouterr().err == ""


def test_pages_that_are_not_read_are_told(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pages = [Image.fromarray((BRIGHT + i).astype(np.uint8)) for i in range(3)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    write(tmp_path, np.uint8, BRIGHT * 4, ending="png")
    assert np.array_equal(pixels(tmp_path)[1], BRIGHT)
    said = capfd.readouterr().err
    assert f"1 TIFF(s) have several pages; only the first is read: {tmp_path}/a.tif" in said
    assert "To read all pages, save each as a file." in said


def test_pages_are_not_looked_at_to_be_told(tmp_path: Path) -> None:
    """A file may have any number of them, or say that there is one where there is none."""
    file = write(tmp_path, np.uint8, DARK, ending="tif") / "0.tif"
    whole = pixels(tmp_path)
    content = bytearray(file.read_bytes())
    (first,) = struct.unpack_from("<I", content, 4)
    (entries,) = struct.unpack_from("<H", content, first)
    struct.pack_into("<I", content, first + 2 + 12 * entries, len(content))
    file.write_bytes(content + b"no page")
    assert np.array_equal(pixels(tmp_path), whole)


def test_kept_images_are_those_of_their_range(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, cache = write(tmp_path / "a", np.float32, DARK, BRIGHT), str(tmp_path / "cache")
    options: list[dict[str, object]] = [{}, {"range": [0, 63]}, {"range": [-63, 126]}]
    first = [load(root, cache=cache, **given) for given in options]
    assert [raw.levels for raw in first] == [(0, 63), None, None]
    assert int(first[2].data.max()) == 170
    monkeypatch.setattr(ImageReader, "_read", None)  # nothing is decoded again
    for raw, given in zip(first, options, strict=True):
        again = load(root, cache=cache, **given)
        assert again.levels == raw.levels
        assert np.array_equal(again.data, raw.data)


def test_a_test_folder_is_brought_to_the_range_of_the_training_folder(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    root = write(tmp_path / "a", np.float32, DARK, BRIGHT)
    other = write(tmp_path / "b", np.float32, BRIGHT // 2, BRIGHT * 2)
    for _ in range(2):
        raw = load(root, test_root=str(other), cache=str(tmp_path / "cache"))
        assert raw.test is not None
        found = raw.test.data[:, 0].numpy()
        assert np.array_equal(found[0], in_bytes(BRIGHT // 2, 0, 63))
        assert np.array_equal(found[1], in_bytes(BRIGHT * 2, 0, 63).clip(0, 255))
    said = capfd.readouterr().err
    assert (
        "1 image(s) have values outside the range of the training images, which are clipped: "
        f"{other}/1" in said
    )


@pytest.mark.parametrize("given", [(), ("dataset.range=[-63,63]",)])
def test_a_model_reads_files_as_its_training_did(
    compose: Callable[..., Any], verb: Callable[..., Any], tmp_path: Path, given: tuple[str, ...]
) -> None:
    images = [BRIGHT % n for n in (17, 23, 31, 64)] * 2
    root = write(tmp_path / "a", np.float32, *images)
    words = ("dataset=image_folder", f"dataset.root={root}", "dataset.size=8", "network.widths=[]")
    words = (*words, "network.start=random")
    node = to_plain(compose(*words, "dataset.color=gray", *given))
    built = build(node)
    (tmp_path / "m").mkdir()
    save(tmp_path / "m", built.net, built.node, built.data, {})
    model = aeframe.load(tmp_path / "m")
    assert model.description.data.levels == (None if given else (0, 63))
    wanted = model.encode(built.data.splits["train"].raw.data.numpy())
    for files, rows in (("a/0.tif", [0]), ("a", list(range(8)))):  # a file alone, too
        status, _, err = verb("encode", "m", files, "--out", "z.npy", "--force")
        assert status == 0, err
        assert np.allclose(np.load(tmp_path / "z.npy"), wanted[rows], atol=1e-6)


@pytest.mark.parametrize(
    ("dtype", "high", "file", "scale"),
    [
        (np.float32, 1, np.uint8, 255),  # images of 8 bits are brought to the range
        (np.float32, 1, np.float32, 1),  # those of floats have it
        (np.uint16, 4080, np.uint8, 255),
        (np.uint16, 4080, np.uint16, 4080),
    ],
)
def test_a_model_of_arrays_with_a_range_takes_image_files(
    compose: Callable[..., Any],
    verb: Callable[..., Any],
    tmp_path: Path,
    dtype: type,
    high: int,
    file: type,
    scale: int,
) -> None:
    x = np.random.default_rng(0).integers(0, 256, (8, 8, 8))
    np.save(tmp_path / "a.npy", (x / 255 * high).astype(dtype))
    words = ("dataset=array", f"dataset.path={tmp_path / 'a.npy'}", f"dataset.range=[0,{high}]")
    node = to_plain(compose(*words, "network.widths=[]"))
    built = build(node)
    (tmp_path / "m").mkdir()
    save(tmp_path / "m", built.net, built.node, built.data, {})
    write(tmp_path / "images", file, *(x / 255 * scale))
    for given, out in (("a.npy", "a"), ("images", "b")):
        status, _, err = verb("encode", "m", given, "--out", f"z{out}.npy")
        assert status == 0, err
    assert np.allclose(np.load(tmp_path / "za.npy"), np.load(tmp_path / "zb.npy"), atol=1e-3)


def test_larger_images_are_refused_unless_it_is_said(
    compose: Callable[..., Any], verb: Callable[..., Any], tmp_path: Path
) -> None:
    root = write(tmp_path / "a", np.uint8, *[BRIGHT * i for i in range(1, 5)], ending="png")
    Image.new("L", (100, 100), 200).save(root / "9.png")
    with pytest.raises(UserError) as caught:
        load(root, max_megapixels=0.005)
    what = "it has 0.01 megapixels; to allow this, write dataset.max_megapixels=1"
    assert f"9.png cannot be read as an image ({what})" in str(caught.value)
    assert len(load(root, max_megapixels=0.01).data) == 5
    assert Image.MAX_IMAGE_PIXELS == 89478485
    words = ("dataset=image_folder", f"dataset.root={root}", "dataset.size=8", "network.widths=[]")
    node = to_plain(compose(*words, "dataset.max_megapixels=0.01"))
    built = build(node)
    (tmp_path / "m").mkdir()
    save(tmp_path / "m", built.net, built.node, built.data, {})
    out = ("--out", "z.npy", "--force")
    status, _, err = verb("encode", "m", "a", "--max-megapixels", "0.005", *out)
    assert status == 2
    assert "write --max-megapixels 1)" in err
    assert verb("encode", "m", "a", *out)[0] == 0
    assert "is not above 0" in verb("encode", "m", "a", "--max-megapixels", "0", *out)[2]
