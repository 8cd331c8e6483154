"""The input of a verb: images, folders and arrays, read as in training."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import aeframe as package
from aeframe.cli.verbs import image_files, inputs
from aeframe.data import ImageFolder
from tests.support.digits import DIGITS
from tests.support.verbs import Verb, converted, good, picture, table


def test_images_are_read_as_in_training(
    verb: Verb, made: Callable[..., Path], photos: Path, tmp_path: Path
) -> None:
    options = ("dataset.size=8", "dataset.fit=resize", "network.widths=[20]")
    run = made("dataset=image_folder", f"dataset.root={photos}", *options)
    note = converted("photos", "12 images were")
    good(verb("encode", run, "photos", "--out", "codes.csv", "--batch-size", "5"), note)
    source = ImageFolder(root=str(photos), size=8, fit="resize", cache=None)
    wanted = package.load(run).encode(source.load().data.numpy())
    header, *lines = table(tmp_path / "codes.csv")
    assert header[:3] == ["name", "label", "z0"]
    files = sorted(str(f.relative_to(photos)) for f in photos.rglob("*.*"))
    assert [line[0] for line in lines] == files
    assert [line[1] for line in lines] == [file.partition("/")[0] for file in files]
    assert np.allclose(np.array([line[2:] for line in lines], np.float32), wanted, atol=1e-5)
    some = ["photos/a/1.png", "photos/b/3.bmp"]
    good(verb("encode", run, *some, "--out", "two.csv"), converted("2 images", "2 images were"))
    assert [line[0] for line in table(tmp_path / "two.csv")[1:]] == some


def test_images_that_are_made_others_are_counted(verb: Verb, trained: Path, tmp_path: Path) -> None:
    """Images of another size, or in color for a gray model, are counted."""
    gray = np.full((8, 8, 3), 90, np.uint8)
    for name, pixels in (
        ("gray", gray[..., 0]),
        ("gray_as_rgb", gray),
        ("color", gray * np.array([1, 2, 1], np.uint8)),
        ("large", np.zeros((16, 9), np.uint8)),
    ):
        (tmp_path / "some").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "some" / f"{name}.png")
    note = converted("some", "2 images were", "8 x 8 pixels, gray")
    good(verb("encode", trained, "some", "--out", "x.npy"), note)
    good(verb("reconstruct", trained, "some", "--out", "x"), note)
    good(verb("score", trained, "some", "--out", "x.csv"), note)
    good(verb("evaluate", trained, "some"), note)
    good(verb("encode", trained, "some/gray.png", "some/gray_as_rgb.png", "--out", "y.npy"))


def test_several_arrays_are_one_after_the_other(verb: Verb, trained: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "first.npy", DIGITS[:10, 0])  # [N, H, W], as in training
    np.savez(tmp_path / "second.npz", a=DIGITS[10:30], b=DIGITS[:3])
    argv = ("first.npy", "second.npz", "--key", "a", "--batch-size", "7")
    good(verb("encode", trained, *argv, "--out", "codes.npy"))
    wanted = package.load(trained).encode(DIGITS[:30])
    assert np.allclose(np.load(tmp_path / "codes.npy"), wanted, atol=1e-5)


def test_an_array_comes_back_as_it_was_laid_out(
    verb: Verb, trained: Path, made: Callable[..., Path], tmp_path: Path
) -> None:
    some = DIGITS[:9]
    wanted = package.load(trained).reconstruct(some)
    for take in (np.asarray, lambda x: x[:, 0], lambda x: np.moveaxis(x, 1, -1)):
        np.save(tmp_path / "x.npy", take(some))
        good(verb("reconstruct", trained, "x.npy", "--out", "y.npy", "--force"))
        assert np.array_equal(np.load(tmp_path / "y.npy"), take(wanted))
        good(verb("reconstruct", trained, "x.npy", "--out", "y", "--force"))
        assert picture(tmp_path / "y" / "0.png").shape == (8, 8)
    run = made("dataset=array", "dataset.path=x.npy", "dataset.layout=flat", "model.latent_dim=4")
    good(verb("reconstruct", run, "x.npy", "--out", "flat.npy"))
    assert np.load(tmp_path / "flat.npy").shape == (9, 8, 8, 1)


def test_a_folder_is_not_read_ahead_of_its_use(
    verb: Verb, made: Callable[..., Path], photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(200):
        Image.new("RGB", (9, 9)).save(photos / "a" / f"more{i}.png")
    run = made(
        "dataset=image_folder", f"dataset.root={photos}", "dataset.size=8", "network.widths=[20]"
    )
    seen, read = list[Path](), image_files.ImageReader.try_read

    def noted(self: image_files.ImageReader, file: Path) -> Any:
        seen.append(file)
        return read(self, file)

    monkeypatch.setattr(image_files.ImageReader, "try_read", noted)
    found = inputs.open_input(
        [str(photos)], package.load(run), Namespace(on_bad_sample="error", max_megapixels=None)
    )
    assert found.count == 212
    assert next(found.blocks(10)).shape == (10, 3, 8, 8)
    assert len(seen) <= 10 + 2 * (os.cpu_count() or 1) + 1


def test_images_that_cannot_be_read_are_left_out_where_one_says_so(
    verb: Verb, made: Callable[..., Path], photos: Path, tmp_path: Path
) -> None:
    run = made(
        "dataset=image_folder", f"dataset.root={photos}", "dataset.size=8", "network.widths=[20]"
    )
    good(verb("encode", run, "photos", "--out", "whole.csv"), converted("photos", "12 images were"))
    (photos / "a" / "1.bmp").write_bytes(b"no image")
    status, _, err = verb("encode", run, "photos", "--out", "some.csv")
    assert status == 2
    assert err.endswith("Remove or replace them, or write --on-bad-sample skip.\n")
    skips = ("--on-bad-sample", "skip")
    status, out, err = verb("encode", run, "photos", "--out", "some.csv", *skips)
    assert (status, out) == (0, "Codes of 11 images, 16 units each: some.csv\n")
    left = "1 image(s) of photos cannot be read and are left out: photos/a/1.bmp."
    note = converted("photos", "11 images were")
    assert err == f"aeframe: --on-bad-sample skip: {left}\n{note}"
    others = [row for row in table(tmp_path / "whole.csv") if row[0] != "a/1.bmp"]
    assert table(tmp_path / "some.csv") == others
    status, _, err = verb("encode", run, "photos/a/1.bmp", "--out", "none.csv", *skips)
    assert status == 2
    assert err.endswith("Remove or replace them.\n")


@pytest.mark.parametrize("name", ["encode", "score", "reconstruct", "evaluate"])
def test_the_file_and_the_row_of_a_sample_that_cannot_be_are_named(
    verb: Verb, trained: Path, tmp_path: Path, name: str
) -> None:
    x = DIGITS.astype(np.float32)
    np.save(tmp_path / "good.npy", x[:700])
    x[555, 0, 3, 3] = np.nan  # in a later batch
    np.save(tmp_path / "bad.npy", x)
    out = () if name == "evaluate" else ("--out", "out.csv" if name == "score" else "out.npy")
    status, _, err = verb(name, trained, "good.npy", "bad.npy", *out)
    assert status == 2
    what = "holds NaN, infinity or values beyond float32 in sample 555 (from 0)"
    assert f"bad.npy: {what}. Remove such samples, or replace the values." in err
