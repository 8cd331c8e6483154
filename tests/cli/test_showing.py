"""The verbs reconstruct, sample and interpolate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

import aeframe as package
from tests.support.digits import DIGITS
from tests.support.verbs import Verb, converted, good, picture


def test_reconstructions_lie_as_the_files_did(
    verb: Verb, made: Callable[..., Path], photos: Path, tmp_path: Path
) -> None:
    run = made(
        "dataset=image_folder", f"dataset.root={photos}", "dataset.size=8", "network.widths=[20]"
    )
    note = converted("photos", "12 images were")
    good(verb("reconstruct", run, "photos", "--out", "restored"), note)
    names = {
        str(f.relative_to(tmp_path / "restored")) for f in (tmp_path / "restored").rglob("*.*")
    }
    assert names == {f"{f.relative_to(photos)}.png" for f in photos.rglob("*.*")}  # 0.png and 0.jpg
    note = converted("photos/a/0.png", "1 image was")
    good(verb("reconstruct", run, "photos/a/0.png", "--out", "one"), note)
    one = picture(tmp_path / "one" / "photos" / "a" / "0.png")
    assert np.array_equal(one, picture(tmp_path / "restored" / "a" / "0.png.png"))


def test_samples_are_drawn_by_seed(verb: Verb, made: Callable[..., Path], tmp_path: Path) -> None:
    run = made("model=variational", "network.widths=[20]")
    good(verb("sample", run, "--n", "5", "--seed", "3", "--out", "x.npy"))
    assert np.array_equal(np.load(tmp_path / "x.npy"), package.load(run).sample(5, seed=3))
    good(verb("sample", run, "--n", "5", "--out", "grid.png"))
    grid = picture(tmp_path / "grid.png")
    assert grid.shape[1] == 350  # a title above 3 x 2 tiles of 64 x 64
    for i, sample in enumerate(package.load(run).sample(5)):
        row, column = divmod(i, 3)
        top, left = grid.shape[0] - 4 - (2 - row) * 67, 2 + column * 67
        tile = grid[top : top + 64, left : left + 64]
        shown = np.kron(np.round(sample[0] / 16 * 255), np.ones((8, 8)))
        assert np.abs(tile.astype(float) - shown).max() <= 1
    good(verb("sample", run, "--n", "5", "--out", "folder"))
    assert len(list((tmp_path / "folder").iterdir())) == 5


def test_more_samples_than_the_memory_holds_are_told(
    verb: Verb, made: Callable[..., Path], tmp_path: Path
) -> None:
    run = made("model=variational", "network.widths=[20]")
    many = 10**15
    for words, where in (
        (("sample", run, "--n", many), "--n"),
        (("interpolate", run, "0", "1", "--input", "digits", "--steps", many), "--steps"),
    ):
        status, _, err = verb(*words, "--out", "x.npy")
        assert (status, err.count("\n")) == (2, 1)
        assert err.startswith(f"aeframe: {where} {many}: is ")
        assert err.endswith(" GiB are free. Write a smaller number.\n")


def test_a_way_leads_from_one_sample_to_another(verb: Verb, trained: Path, tmp_path: Path) -> None:
    argv = ("interpolate", trained, "3", "17", "--input", "digits")
    good(verb(*argv, "--steps", "5", "--out", "way.npy"))
    model = package.load(trained)
    ends = model.reconstruct(DIGITS[[3, 17]])
    way = np.load(tmp_path / "way.npy")
    assert way.shape == (5, 1, 8, 8)
    assert np.array_equal(way[[0, -1]], ends)
    middle = model.encode(DIGITS[[3, 17]]).mean(0, keepdims=True)
    assert np.array_equal(way[2:3], model.decode(middle))
    good(verb(*argv, "--out", "strip.png"))
    strip = picture(tmp_path / "strip.png")
    assert strip.shape[1] == 2 * 2 + 10 * 64 + 9 * 3  # both inputs, and 8 steps between them
    top = strip.shape[0] - 4 - 67
    for column, row in ((0, 3), (9, 17)):
        tile = strip[top : top + 64, 2 + column * 67 :][:, :64]
        shown = np.kron(DIGITS[row, 0] / 16 * 255, np.ones((8, 8)))
        assert np.abs(tile.astype(float) - shown).max() <= 1


def test_vectors_are_no_pictures(
    verb: Verb, made: Callable[..., Path], vectors: Path, photos: Path, tmp_path: Path
) -> None:
    run = made(
        "dataset=array", f"dataset.path={vectors}", "model.latent_dim=3", "network.widths=[]"
    )
    good(verb("reconstruct", run, vectors, "--out", "x.npy"))
    assert np.load(tmp_path / "x.npy").dtype == np.float32
    status, _, err = verb("reconstruct", run, vectors, "--out", "folder")
    assert (status, err.count("\n")) == (2, 1)
    assert "samples of 12 cannot be saved as images. Write --out FILE.npy." in err
    status, _, err = verb("encode", run, photos, "--out", "y.npy")
    assert (status, err.count("\n")) == (2, 1)
    assert "samples of 12 are not images. Give an array (.npy)." in err
