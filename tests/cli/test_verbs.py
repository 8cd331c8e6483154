"""The verbs that put a trained network to work."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import aeframe as package
from aeframe.cli.shell_completion import list_options, write_script
from aeframe.cli.verbs import VERBS, image_files, inputs
from aeframe.cli.verbs.outputs import READ, check_output_path
from aeframe.cli.verbs.sheets import Sheet
from aeframe.config.node import to_plain
from aeframe.constraints import TopK
from aeframe.core.errors import UserError
from aeframe.data import ImageFolder
from aeframe.runs.model_file import save
from aeframe.runs.program_export import is_near
from aeframe.runs.program_export import list_parts as parts_of
from aeframe.training.build import build
from tests.support.digits import DIGITS
from tests.support.forks import Server
from tests.support.runs import EPOCH, ROOT, contents, trained_in

Verb = Callable[..., tuple[int, str, str]]


@pytest.fixture
def made(compose: Callable[..., Any], tmp_path: Path) -> Callable[..., Path]:
    """An untrained network in ./made, with the configuration of these overrides."""

    def make(*overrides: str) -> Path:
        node = to_plain(compose(*overrides))
        built = build(node)
        (tmp_path / "made").mkdir()
        save(tmp_path / "made", built.net.eval(), built.node, built.data, {})
        return tmp_path / "made"

    return make


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twelve color photographs of noise in two folders, in several formats."""
    generator = np.random.default_rng(0)
    for i in range(12):
        folder = tmp_path / "photos" / ("a" if i < 7 else "b")
        folder.mkdir(parents=True, exist_ok=True)
        pixels = generator.integers(0, 255, size=(20 + i, 30, 3), dtype=np.uint8)
        ending = ("png", "jpg", "bmp")[i % 3]
        Image.fromarray(pixels).save(folder / f"{i // 3}.{ending}")
    return tmp_path / "photos"


def brought(where: str, count: str, to: str = "8 x 8 pixels") -> str:
    """Return the note on images that the model does not take as they are."""
    return f"aeframe: {where}: {count} converted to {to}, as the model needs them.\n"


def table(file: Path) -> list[list[str]]:
    with file.open(newline="") as opened:
        return list(csv.reader(opened))


def picture(file: Path) -> np.ndarray:
    with Image.open(file) as opened:
        return np.array(opened)


def good(ended: tuple[int, str, str], note: str = "") -> str:
    """Return the last line of a command that ended well. note: what it said besides."""
    assert ended[0] == 0, ended
    assert ended[2] == note, ended
    return ended[1].splitlines()[-1]


# encode and decode


def test_codes_are_the_same_in_every_kind_of_file(
    verb: Verb, trained: Path, tmp_path: Path
) -> None:
    codes = package.load(trained).encode(DIGITS)
    for ending in ("npy", "npz", "csv"):
        last = good(verb("encode", trained, "digits", "--out", f"codes.{ending}"))
        assert last == f"Codes of 1,797 samples, 8 units each: codes.{ending}"
    assert np.array_equal(np.load(tmp_path / "codes.npy"), codes)
    with np.load(tmp_path / "codes.npz") as stored:
        assert np.array_equal(stored["z"], codes)
        labels = stored["labels"].tolist()
    assert labels[:12] == [*"012345678901"]
    header, *lines = table(tmp_path / "codes.csv")
    assert header == ["label", *(f"z{i}" for i in range(8))]
    assert [line[0] for line in lines] == labels
    assert np.array_equal(np.array([line[1:] for line in lines], np.float32), codes)
    wanted = package.load(trained).decode(codes)
    for ending in ("npy", "npz", "csv"):
        good(verb("decode", trained, f"codes.{ending}", "--out", f"x_{ending}.npy"))
        assert np.array_equal(np.load(tmp_path / f"x_{ending}.npy"), wanted)


def test_codes_as_parquet(
    verb: Verb, made: Callable[..., Path], photos: Path, tmp_path: Path
) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    run = made(
        "dataset=image_folder", f"dataset.root={photos}", "dataset.size=8", "network.widths=[20]"
    )
    note = brought("photos", "12 images were")
    good(verb("encode", run, "photos", "--out", "codes.parquet"), note)
    good(verb("encode", run, "photos", "--out", "codes.npz"), note)
    found = parquet.read_table(tmp_path / "codes.parquet").to_pydict()
    with np.load(tmp_path / "codes.npz") as stored:
        assert found.pop("name") == stored["names"].tolist()
        assert found.pop("label") == stored["labels"].tolist() == ["a"] * 7 + ["b"] * 5
        assert np.array_equal(np.array(list(found.values()), np.float32).T, stored["z"])
    for ending in ("parquet", "npz"):
        good(verb("decode", run, f"codes.{ending}", "--out", f"from_{ending}.npz"))
    with (
        np.load(tmp_path / "codes.npz") as codes,
        np.load(tmp_path / "from_npz.npz") as wanted,
        np.load(tmp_path / "from_parquet.npz") as restored,
    ):
        assert np.array_equal(restored["x"], wanted["x"])
        assert np.array_equal(restored["names"], codes["names"])
    for other, what in (
        ({"z0": [1.0, 2.0]}, "has shape [2, 1], but this model takes [N, 16]"),
        ({f"z{i}": ["a"] for i in range(16)}, "cannot be read (could not convert string to float"),
    ):
        parquet.write_table(pyarrow.table(other), tmp_path / "other.parquet")
        status, _, err = verb("decode", run, "other.parquet", "--out", "x.npy")
        assert (status, err.startswith(f"aeframe: other.parquet: {what}")) == (2, True), err
    (tmp_path / "other.parquet").write_bytes(b"PAR1")
    status, _, err = verb("decode", run, "other.parquet", "--out", "x.npy")
    assert (status, err.startswith("aeframe: other.parquet: cannot be read (")) == (2, True), err


def test_images_are_read_as_in_training(
    verb: Verb, made: Callable[..., Path], photos: Path, tmp_path: Path
) -> None:
    options = ("dataset.size=8", "dataset.fit=resize", "network.widths=[20]")
    run = made("dataset=image_folder", f"dataset.root={photos}", *options)
    note = brought("photos", "12 images were")
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
    good(verb("encode", run, *some, "--out", "two.csv"), brought("2 images", "2 images were"))
    assert [line[0] for line in table(tmp_path / "two.csv")[1:]] == some


def test_images_become_what_the_model_takes(verb: Verb, trained: Path, tmp_path: Path) -> None:
    # the digits have values of 0 to 16, which pictures show as 0 to 255
    good(verb("decode", trained, encoded(verb, trained), "--out", "pictures"))
    wanted = package.load(trained).reconstruct(DIGITS)
    pictures = sorted((tmp_path / "pictures").iterdir())
    assert [file.name for file in pictures[:2]] == ["0000.png", "0001.png"]
    shown = np.stack([picture(file) for file in pictures])[:, None]
    assert np.array_equal(shown, (wanted * (255 / 16)).round().astype(np.uint8))
    good(verb("encode", trained, "pictures", "--out", "again.npy"))
    again = package.load(trained).encode(wanted)
    assert np.allclose(np.load(tmp_path / "again.npy"), again, atol=1e-5)


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
    note = brought("some", "2 images were", "8 x 8 pixels, gray")
    good(verb("encode", trained, "some", "--out", "x.npy"), note)
    good(verb("reconstruct", trained, "some", "--out", "x"), note)
    good(verb("score", trained, "some", "--out", "x.csv"), note)
    good(verb("evaluate", trained, "some"), note)
    good(verb("encode", trained, "some/gray.png", "some/gray_as_rgb.png", "--out", "y.npy"))


def encoded(verb: Verb, run: Path) -> str:
    good(verb("encode", run, "digits", "--out", "codes.npy"))
    return "codes.npy"


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
    good(verb("encode", run, "photos", "--out", "whole.csv"), brought("photos", "12 images were"))
    (photos / "a" / "1.bmp").write_bytes(b"no image")
    status, _, err = verb("encode", run, "photos", "--out", "some.csv")
    assert status == 2
    assert err.endswith("Remove or replace them, or write --on-bad-sample skip.\n")
    skips = ("--on-bad-sample", "skip")
    status, out, err = verb("encode", run, "photos", "--out", "some.csv", *skips)
    assert (status, out) == (0, "Codes of 11 samples, 16 units each: some.csv\n")
    left = "1 image(s) of photos cannot be read and are left out: photos/a/1.bmp."
    note = brought("photos", "11 images were")
    assert err == f"aeframe: --on-bad-sample skip: {left}\n{note}"
    others = [row for row in table(tmp_path / "whole.csv") if row[0] != "a/1.bmp"]
    assert table(tmp_path / "some.csv") == others
    status, _, err = verb("encode", run, "photos/a/1.bmp", "--out", "none.csv", *skips)
    assert status == 2
    assert err.endswith("Remove or replace them.\n")


# pictures


def test_reconstructions_lie_as_the_files_did(
    verb: Verb, made: Callable[..., Path], photos: Path, tmp_path: Path
) -> None:
    run = made(
        "dataset=image_folder", f"dataset.root={photos}", "dataset.size=8", "network.widths=[20]"
    )
    note = brought("photos", "12 images were")
    good(verb("reconstruct", run, "photos", "--out", "restored"), note)
    names = {
        str(f.relative_to(tmp_path / "restored")) for f in (tmp_path / "restored").rglob("*.*")
    }
    assert names == {f"{f.relative_to(photos)}.png" for f in photos.rglob("*.*")}  # 0.png and 0.jpg
    note = brought("photos/a/0.png", "1 image was")
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


@pytest.mark.parametrize(
    ("words", "told", "size"),
    [
        (
            ("traverse", "--row", "3", "--units", "0,5", "--steps", "4"),
            "2 units of sample 3 at 4 values",
            3,
        ),
        (("map", "--steps", "3"), "3 x 3 codes of units ", 3),
    ],
)
def test_units_are_drawn(
    verb: Verb, trained: Path, tmp_path: Path, words: tuple[str, ...], told: str, size: int
) -> None:
    name, *more = words
    status, out, err = verb(name, trained, "digits", *more, "--out", "p.png")
    assert (status, err) == (0, "")
    assert out.startswith(told)
    found = picture(tmp_path / "p.png")
    assert found.shape[1] == 350
    assert found.shape[0] > size * 67


def test_a_traversal_changes_one_unit(
    verb: Verb, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = list[np.ndarray]()
    monkeypatch.setattr(Sheet, "add_row", lambda self, x, *more, **rest: rows.append(np.asarray(x)))
    monkeypatch.setattr(Sheet, "write", lambda *args: None)
    verb(
        "traverse",
        trained,
        "digits",
        "--row",
        "3",
        "--units",
        "2",
        "--steps",
        "3",
        "--out",
        "p.png",
    )
    model = package.load(trained)
    codes = model.encode(DIGITS)
    assert np.array_equal(rows[0], np.concatenate([DIGITS[3:4], model.decode(codes[3:4])]))
    changed = codes[[3, 3, 3]]
    changed[:, 2] = np.linspace(*np.percentile(codes[:, 2], [2, 98]), 3)
    assert np.allclose(rows[1], model.decode(changed), atol=1e-4)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("traverse", "RUN", "digits", "--units", "99"), "--units 99: must be numbers of code units, "),
        (("traverse", "RUN", "digits", "--row", "5000"), "--row 5000: is not a row from 0 to 1796."),
        (("traverse", "RUN", "digits", "--steps", "1"), "--steps 1: must be from 2 to 100."),
        (("traverse", "RUN", "one.npy"), "one.npy: holds one sample, and the range of each unit "),
        (("map", "RUN", "digits", "--units", "1,2,3"), "--units 1,2,3: must be two units, such as 0,1."),
    ],
)  # fmt: skip
def test_a_mistake_of_a_picture_is_told(
    verb: Verb, trained: Path, tmp_path: Path, words: tuple[str, ...], told: str
) -> None:
    np.save(tmp_path / "one.npy", DIGITS[:1])
    argv = [str(trained) if word == "RUN" else word for word in words]
    status, out, err = verb(*argv, "--out", "p.png")
    assert (status, out) == (2, "")
    assert err.startswith(f"aeframe: {told}")
    assert not (tmp_path / "p.png").exists()


# scores


def test_scores_are_sorted_and_marked(verb: Verb, trained: Path, tmp_path: Path) -> None:
    strange = np.random.default_rng(0).integers(0, 17, size=(3, 8, 8), dtype=np.uint8)
    np.save(tmp_path / "x.npy", np.concatenate([DIGITS[:50, 0], strange]))
    status, out, _ = verb("score", trained, "x.npy", "--percentile", "99.9", "--out", "scores.csv")
    assert status == 0
    model = package.load(trained)
    header, *lines = table(tmp_path / "scores.csv")
    assert header == ["row", "score", "above"]
    scores = np.array([float(line[1]) for line in lines])
    assert (np.diff(scores) <= 0).all()
    assert {int(line[0]) for line in lines[:3]} == {50, 51, 52}
    wanted = model.score(np.load(tmp_path / "x.npy")[:, None])
    assert np.allclose(scores, wanted[[int(line[0]) for line in lines]], rtol=1e-4)
    assert [line[2] == "1" for line in lines] == (scores > model.threshold(99.9)).tolist()
    assert "3 of 53 samples" in out
    above = [line.endswith("  above") for line in out.splitlines()[:5]]
    assert above == [True, True, True, False, False]
    np.save(tmp_path / "known.npy", DIGITS[:50, 0])
    out = verb("score", trained, "known.npy", "--percentile", "100", "--out", "known.csv")[1]
    best = table(tmp_path / "known.csv")[1]
    assert out.splitlines()[0] == f"{float(best[1]):.5g}  {best[0]}"


def test_an_evaluation_is_that_of_the_run(verb: Verb, trained: Path) -> None:
    status, out, err = verb("evaluate", trained, "--json")
    assert (status, err) == (0, "")
    found, card = json.loads(out), json.loads((trained / "evaluation.json").read_text())
    assert found["metrics"] == pytest.approx(card["metrics"], rel=1e-4)
    assert found["copy_check"]["real"] == pytest.approx(card["copy_check"]["real"], rel=1e-4)
    status, out, _ = verb("evaluate", trained, "digits")
    assert status == 0
    assert "at the end of training" in out
    metrics = json.loads(verb("evaluate", trained, "digits", "--json")[1])["metrics"]
    assert metrics["mse"] == pytest.approx(package.load(trained).score(DIGITS).mean(), rel=1e-4)


def test_an_evaluation_draws_the_noise_that_training_drew(
    verb: Verb, server: Server, tmp_path: Path
) -> None:
    words = ("model=variational", "constraint=[masking]", "dataset.batch_size=32")
    run = trained_in(server, tmp_path, *EPOCH, *words, "trainer.max_epochs=1")
    card = json.loads((run / "evaluation.json").read_text())
    status, out, _ = verb("evaluate", run, "--json", "--batch-size", "50")
    assert status == 0
    assert json.loads(out)["metrics"] == pytest.approx(card["metrics"], rel=1e-5)


def test_numbers_that_json_lacks_are_null(
    verb: Verb, made: Callable[..., Path], vectors: Path, tmp_path: Path
) -> None:
    run = made("dataset=array", f"dataset.path={vectors}", "model.latent_dim=3")
    np.save(tmp_path / "x.npy", np.load(vectors)[:5] * np.float32(1e30))
    status, out, _ = verb("evaluate", run, "x.npy", "--json")
    assert status == 0
    found = json.loads(out, parse_constant=lambda word: pytest.fail(word))
    assert None in found["metrics"].values()


def test_the_data_is_found_from_where_training_was_started(
    verb: Verb, aeframe: Verb, server: Server, tmp_path: Path
) -> None:
    (tmp_path / "start").mkdir()
    np.save(tmp_path / "start" / "x.npy", np.random.default_rng(0).random((60, 12), np.float32))
    words = (*EPOCH, "model.latent_dim=3", "dataset=array", "dataset.path=x.npy")
    run = trained_in(server, tmp_path / "start", *words, "trainer.max_epochs=1")
    card = json.loads((run / "evaluation.json").read_text())
    shutil.copy(run / "model.safetensors", tmp_path / "alone.safetensors")
    for loaded in (run, "start/run/model.safetensors", run / "checkpoints" / "best.ckpt"):
        status, out, err = verb("evaluate", loaded, "--json")
        assert (status, err) == (0, "")
        assert json.loads(out)["metrics"] == pytest.approx(card["metrics"], rel=1e-4)
    assert aeframe("resume=start/run", "trainer.max_epochs=2")[0] == 0
    status, _, err = verb("evaluate", "alone.safetensors")
    remedy = "The data of the run must be unchanged and where it was in training; or write:"
    said = f"dataset.path=x.npy: no such file. {remedy} aeframe evaluate RUN INPUT."
    assert (status, err) == (2, f"aeframe: {said}\n")


# runs


def test_the_table_of_runs(verb: Verb, finished: Path, tmp_path: Path) -> None:
    for name in ("broken", "stopped", "evil"):
        (tmp_path / "day" / name / ".hydra").mkdir(parents=True)
        (tmp_path / "day" / name / "checkpoints").mkdir()
    (tmp_path / "day" / "broken" / "failed.txt").write_text("no")
    text = (finished / ".hydra" / "config.yaml").read_text()
    (tmp_path / "day" / "stopped" / ".hydra" / "config.yaml").write_text(text)
    evil = "!!python/object/apply:os.system ['touch owned']"
    (tmp_path / "day" / "evil" / ".hydra" / "config.yaml").write_text(evil)
    status, out, err = verb("runs", ".", "--json")
    assert (status, err) == (0, "")
    found = {run["folder"]: run for run in json.loads(out)}
    assert {name: run["status"] for name, run in found.items()} == {
        "run": "finished", "day/broken": "failed", "day/stopped": "interrupted", "day/evil": "interrupted",
    }  # fmt: skip
    value = json.loads((finished / "evaluation.json").read_text())["optimized_metric"]["value"]
    for name in ("run", "day/stopped"):
        kinds = (found[name]["model"], found[name]["constraint"], found[name]["dataset"])
        assert kinds == ("Undercomplete", "bottleneck", "Digits")
        assert found[name]["metric"] == "val/mse"
    assert found["run"]["value"] == value
    assert not (tmp_path / "owned").exists()
    status, out, _ = verb("runs", ".")
    assert status == 0
    assert "4 runs below ." in out
    assert f"{value:.5g}" in out
    shutil.copytree(finished, tmp_path / "outputs" / "one")
    out = verb("runs", "outputs")[1]
    assert "1 run below outputs" in out
    assert "outputs/one" in out


# export


def test_an_encoder_alone_encodes(verb: Verb, trained: Path, tmp_path: Path) -> None:
    good(verb("export", trained, "--encoder-only", "--out", "alone"))
    alone = package.load(tmp_path / "alone")
    assert np.array_equal(alone.encode(DIGITS), package.load(trained).encode(DIGITS))
    assert alone.identity != package.load(trained).identity
    both = [(p / "model.safetensors").stat().st_size for p in (tmp_path / "alone", trained)]
    assert both[0] < both[1]
    codes = encoded(verb, tmp_path / "alone")
    for argv in (
        ("decode", "alone", codes, "--out", "x"),
        ("reconstruct", "alone", "digits", "--out", "x"),
        ("score", "alone", "digits", "--out", "x.csv"),
        ("sample", "alone", "--out", "x.png"),
        ("evaluate", "alone"),
    ):
        status, out, err = verb(*argv)
        assert (status, out) == (2, "")
        assert err == (
            f"aeframe: {argv[0]}: this is an encoder alone, which can only encode. Load the whole model.\n"
        )
    good(verb("export", trained, "--out", "whole"))
    assert package.load(tmp_path / "whole").identity == package.load(trained).identity


def test_a_translation_computes_the_same(
    verb: Verb, made: Callable[..., Path], tmp_path: Path
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    run = made("model=sparse", "dataset.normalization=standard")
    good(verb("export", run, "--onnx", "--out", "onnx"))
    model = package.load(run)
    parts = [
        onnxruntime.InferenceSession(tmp_path / "onnx" / f"{n}.onnx")
        for n in ("encoder", "decoder")
    ]
    for count in (1, 3, 100):
        (codes,) = parts[0].run(None, {"x": DIGITS[:count]})
        assert np.allclose(codes, model.encode(DIGITS[:count]), rtol=1e-3, atol=1e-4)
        (restored,) = parts[1].run(None, {"z": codes})
        assert restored.dtype == np.uint8
        wanted = model.decode(codes).astype(int)
        assert np.abs(restored.astype(int) - wanted).max() <= 1


def test_an_export_leaves_the_model_as_it_was(made: Callable[..., Path]) -> None:
    model = package.load(made("model=sparse", "constraint.topk.read=active"))
    selections = [part for _, part in model.net.parts if isinstance(part, TopK)]
    before = [part.reads_active for part in selections]
    assert [name for name, _, _ in parts_of(model)] == ["encoder", "decoder"]
    assert [part.reads_active for part in selections] == before == [True]


def test_whole_numbers_may_be_apart_only_where_rounding_makes_them() -> None:
    exact = torch.tensor([10.2, 99.5, 3.499999, 250.0])
    wanted = exact.round().to(torch.uint8)
    for other, near in (
        ([10, 100, 3, 250], True),
        ([10, 99, 4, 250], True),
        ([11, 100, 3, 250], False),
        ([10, 98, 3, 250], False),
        ([10, 100, 3, 249], False),
    ):
        assert is_near(torch.tensor(other, dtype=torch.uint8), wanted, exact) is near
    assert is_near(exact * (1 + 5e-5), exact, exact)
    assert not is_near(exact + 0.05, exact, exact)
    assert not is_near(exact + torch.nan, exact, exact)


def test_a_program_of_torch_computes_the_same(verb: Verb, trained: Path, tmp_path: Path) -> None:
    good(verb("export", trained, "--torch", "--out", "programs"))
    encode = torch.export.load(tmp_path / "programs" / "encoder.pt2").module()
    codes = encode(torch.from_numpy(DIGITS[:30]))
    wanted = package.load(trained).encode(DIGITS[:30])
    assert np.allclose(codes.detach().numpy(), wanted, atol=1e-5)


# mistakes

MISTAKES = [
    # the words, RUN in the place of the run, and how the one line begins
    ("encode", "the following arguments are required: RUN, INPUT, -o/--out"),
    ("encode RUN digits", "the following arguments are required: -o/--out"),
    ("encode RUN digits --out x.txt", "--out x.txt: must end in .npy, .npz, .csv or .parquet"),
    ("encode RUN digits --out no/x.npy", "--out no/x.npy: the folder no does not exist. Create it first."),
    ("encode RUN digits --out there.npy", "--out there.npy: exists already. Use --force"),
    ("encode RUN digits --out full", "--out full: must end in .npy, .npz"),
    ("sample RUN --out s.jpg", "--out s.jpg: must end in .png, .npy or .npz, or be a folder"),
    ("decode RUN codes.npy --out d.csv", "--out d.csv: must end in .npy or .npz, or be a folder"),
    ("encode nowhere digits --out x.npy", "nowhere: no such file or folder"),
    ("encode RUN nowhere.png --out x.npy", "nowhere.png: no such file or folder"),
    ("encode RUN bad.npy --out x.npy", "bad.npy: cannot be read"),
    ("encode RUN wide.npy --out x.npy", "wide.npy: has shape [3, 1, 9, 9], but this model takes [N,"),
    ("encode RUN floats.npy --out x.npy", "floats.npy: must be whole numbers (uint8), but holds "),
    ("encode RUN two.npz --out x.npy", "two.npz: holds 2 arrays: a, b. Write --key NAME"),
    ("encode RUN two.npz --key c --out x.npy", "--key c: is not among the arrays of two.npz"),
    ("encode RUN there.npy full/a.png --out x.npy", "there.npy: is an array among images"),
    ("encode RUN text.txt --out x.npy", "text.txt: is neither an image nor an array"),
    ("encode RUN empty --out x.npy", "empty: contains no images"),
    ("encode RUN full --out x.npy", "INPUT: 1 unreadable image(s): full/a.png"),
    ("encode RUN mnist --root nowhere --out x.npy", "--root nowhere: no such folder"),
    ("encode RUN digits --split test --out x.npy", "--split test: digits has no test split of its own"),
    ("encode RUN digits --batch-size 0 --out x.npy", "batch_size=0: must be at least 1"),
    ("encode RUN digits --device there --out x.npy", "device=there: cannot be used"),
    ("decode RUN wide.npy --out x", "wide.npy: has shape [3, 1, 9, 9], but this model takes [N, 8]"),
    ("decode RUN text.txt --out x", "text.txt: is not a .npy, .npz, .csv or .parquet file"),
    ("decode RUN bad.csv --out x", "bad.csv: line 2 cannot be read"),
    ("decode RUN there.npy --out full", "--out full: exists already"),
    ("sample RUN --out x.png", "sample: a model of kind undercomplete has no distribution"),
    ("interpolate RUN 1 2 --out x.png", "1: is a row number, but --input is missing. Write --input"),
    ("interpolate RUN 1 9999 --input digits --out x.png", "9999: row index out of range"),
    ("interpolate RUN 1 2 --input digits --steps 1 --out x.png", "--steps 1: must be at least 2"),
    ("score RUN digits --percentile 101 --out x.csv", "percentile=101: must be from 0 to 100"),
    ("runs nowhere", "nowhere: no such folder"),
    ("runs empty", "empty: holds no runs"),
    ("export RUN --out full", "--out full: exists already"),
    (f"encode RUN digits --out {'x' * 300}.npy", "cannot be written (File name too long)"),
    (f"encode RUN {'x' * 300} --out x.npy", "no such file or folder"),
    (f"encode {'x' * 300} digits --out x.npy", "no such file or folder"),
    ("sing", "argument verb: invalid choice: 'sing'"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "beginning"), MISTAKES, ids=[m[0][:60] for m in MISTAKES])
def test_a_mistake_is_one_line_and_leaves_all_as_it_was(
    verb: Verb, trained: Path, tmp_path: Path, words: str, beginning: str
) -> None:
    (tmp_path / "bad.npy").write_bytes(b"no array")
    (tmp_path / "bad.csv").write_text("z0,z1\nx,y\n")
    (tmp_path / "text.txt").write_text("text")
    np.save(tmp_path / "there.npy", np.zeros((2, 8), np.float32))
    np.save(tmp_path / "wide.npy", np.zeros((3, 1, 9, 9), np.uint8))
    np.save(tmp_path / "floats.npy", np.full((3, 1, 8, 8), 0.5))
    np.savez(tmp_path / "two.npz", a=DIGITS, b=DIGITS)
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.png").write_bytes(b"no image")
    before = sorted(tmp_path.rglob("*"))
    status, out, err = verb(*(trained if word == "RUN" else word for word in words.split()))
    assert (status, out) == (2, ""), err
    (line,) = err.splitlines()
    assert beginning in line
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("words", "read"),
    [
        ("encode RUN x.npy --out x.npy", "x.npy"),
        ("encode RUN x.npy --out link.npy", "x.npy"),
        ("encode RUN y.npy x.npy --out ./x.npy", "x.npy"),
        ("decode RUN codes.npy --out codes.npy", "codes.npy"),
        ("reconstruct RUN images --out images", "images"),
        ("reconstruct RUN test --out test", "test"),  # as a split is called,
        ("reconstruct RUN 1 --out 1", "1"),  # or a row
        ("reconstruct RUN digits images --out digits", "digits"),  # beside others it is a folder
        ("export digits --out digits", "digits"),
        ("reconstruct RUN images/0.png images/1.png --out images/", "images/0.png"),
        ("interpolate RUN x.npy images/0.png --out images", "images/0.png"),
        ("interpolate RUN 1 2 --input x.npy --out x.npy", "x.npy"),
        ("export copy --out copy", "copy"),
        ("export copy/model.safetensors --out copy", "copy/model.safetensors"),
    ],
)
def test_inputs_are_not_overwritten(
    verb: Verb, trained: Path, tmp_path: Path, words: str, read: str
) -> None:
    for name in ("x.npy", "y.npy"):
        np.save(tmp_path / name, DIGITS[:2])
    np.save(tmp_path / "codes.npy", np.zeros((2, 8), np.float32))
    (tmp_path / "link.npy").symlink_to("x.npy")
    (tmp_path / "images").mkdir()
    for number in range(2):
        Image.fromarray(DIGITS[number, 0]).save(tmp_path / "images" / f"{number}.png")
    for name in ("test", "1"):
        shutil.copytree(tmp_path / "images", tmp_path / name)
    for name in ("copy", "digits"):
        shutil.copytree(trained, tmp_path / name)
    before = contents(tmp_path)
    status, out, err = verb(
        *(trained if word == "RUN" else word for word in words.split()), "--force"
    )
    place = words.rpartition(" ")[2]
    what = f"--out {place}: would overwrite the input {read}. Write another name."
    assert (status, out, err) == (2, "", f"aeframe: {what}\n")
    assert contents(tmp_path) == before


def test_every_argument_that_names_a_file_is_known_for_one() -> None:
    """The arguments are those of the commands that write files."""
    read = set()
    for each in VERBS.values():
        each.arguments(parser := ArgumentParser())
        actions = {action.dest: action for action in parser._actions}
        if "out" in actions:
            read |= {name for name, action in actions.items() if not action.option_strings}
            read |= {"input", "data"} & actions.keys()
    assert read == set(READ)


def test_results_may_lie_beside_what_is_read(verb: Verb, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    Image.fromarray(DIGITS[0, 0]).save(tmp_path / "images" / "0.png")
    for _ in range(2):
        good(verb("encode", trained, "images", "--out", "images/codes.npy", "--force"))
        good(verb("reconstruct", trained, "images", "--out", "images/restored", "--force"))
        shutil.rmtree(tmp_path / "images" / "restored")
        good(verb("reconstruct", trained, "digits", "--out", "digits", "--force"))
        good(verb("interpolate", trained, "1", "2", "--input", "digits", "--out", "1", "--force"))


def test_a_working_folder_that_is_gone_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(UserError, match="the current folder no longer exists"):
        check_output_path(Namespace(out="x.npy"), (".npy",))
    there = Namespace(out=f"{tmp_path}/x.npy")
    assert check_output_path(there, (".npy",)) == tmp_path / "x.npy"


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


def test_old_results_stay_until_new_ones_are_complete(
    verb: Verb, trained: Path, tmp_path: Path
) -> None:
    data = DIGITS.copy()
    data[900] = 200  # in a later batch
    np.save(tmp_path / "bad.npy", data)
    codes = encoded(verb, trained)
    before = (tmp_path / codes).read_bytes()
    status, _, err = verb("encode", trained, "bad.npy", "--out", codes, "--force")
    assert status == 2
    assert "bad.npy: must lie between 0 and 16, but goes from 0 to 200" in err
    assert (tmp_path / codes).read_bytes() == before
    assert {f.name for f in tmp_path.iterdir()} == {"bad.npy", codes}
    np.save(tmp_path / "good.npy", DIGITS[:5])
    good(verb("encode", trained, "good.npy", "--out", codes, "--force"))
    assert np.load(tmp_path / codes).shape == (5, 8)


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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_nothing_half_written(
    verb: Verb, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    codes, seen = package.Model._encode, list[Any]()

    def interrupted(self: package.Model, x: Any) -> Any:
        seen.append(x)
        if len(seen) == 3:
            assert len(list(tmp_path.iterdir())) == 1  # under another name
            os.kill(os.getpid(), number)
        return codes(self, x)

    monkeypatch.setattr(package.Model, "_encode", interrupted)
    status, out, err = verb("encode", trained, "digits", "--out", "codes.npy")
    assert (status, out) == (128 + number, "")
    assert ("stopped by SIGTERM" if number == 15 else "interrupted") in err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_added_to_by_force(verb: Verb, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    np.save(tmp_path / "codes.npy", np.zeros((3, 8), np.float32))
    assert verb("decode", trained, "codes.npy", "--out", "out")[0] == 2
    good(verb("decode", trained, "codes.npy", "--out", "out", "--force"))
    names = {f.name for f in (tmp_path / "out").iterdir()}
    assert names == {"mine.txt", "0.png", "1.png", "2.png"}


# help and completion


def test_every_verb_has_help_with_an_example(verb: Verb) -> None:
    out = verb("--help")[1]
    for name, known in VERBS.items():
        assert f"\n  {name} " in out
        status, told, err = verb(name, "--help")
        assert (status, err) == (0, "")
        assert f"example:\n  aeframe {name} " in told
        assert known.example in told
    assert verb()[1] == out


def test_the_command_answers_without_anything_heavy() -> None:
    code = """
import sys
from aeframe.cli.main import main
sys.argv[1:] = ["--help"]
try:
    main()
except SystemExit:
    print(*sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    heavy = {"torch", "numpy", "PIL", "hydra", "omegaconf", "rich", "safetensors"}
    assert not heavy & set(done.stdout.splitlines()[-1].split())


def test_bash_completes_verbs_options_and_what_train_takes(tmp_path: Path) -> None:
    (tmp_path / "aeframe").write_text(f'#!/bin/sh\nexec {sys.executable} -m aeframe "$@"\n')
    (tmp_path / "aeframe").chmod(0o755)
    ask = r"""
complete_line() {  # divided at = as bash itself divides it
    COMP_LINE="$1" COMP_POINT=${#1}; read -ra COMP_WORDS <<< "${1//=/ = }"
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _aeframe; echo "${COMPREPLY[*]}"
}
complete_line "aeframe enc"
complete_line "aeframe encode --ou"
complete_line "aeframe encode my_im"
complete_line "aeframe train model=s"
complete_line "aeframe train constraint=[l1,top"
complete_line "aeframe train -m model=sparse,den"
complete_line "aeframe train dataset=mnist dataset.r"
complete_line "aeframe train dataset.root=da"
COMP_WORDBREAKS=" "
complete_line "aeframe train model=s"
"""
    done = subprocess.run(
        ["bash", "-c", write_script("bash") + ask],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [
        *("encode", "--out", "", "sparse", "[l1,topk", "sparse,denoising", "dataset.root=", ""),
        "model=sparse",
    ]
    assert "bashcompinit" in write_script("zsh")
    assert "--percentile" in list_options("score")


def test_a_person_who_presses_tab_gets_the_word(tmp_path: Path) -> None:
    ask = f'exec {sys.executable} -m aeframe "$@"'
    (tmp_path / "aeframe").write_text(
        f'#!/bin/sh\ncase "$*" in *--complete*) {ask};; esac\necho "<$*>"\n'
    )
    (tmp_path / "aeframe").chmod(0o755)
    (tmp_path / "rc").write_text(f"PS1=; bind 'set bell-style none'\n{write_script('bash')}")
    path = f"{tmp_path}:{os.environ['PATH']}"
    terminal, shell = pty.openpty()
    with subprocess.Popen(
        ["bash", "--noprofile", "--rcfile", str(tmp_path / "rc"), "-i"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PATH": path, "TERM": "dumb"},
        stdin=shell,
        stdout=shell,
        stderr=shell,
        start_new_session=True,
    ):
        os.close(shell)
        os.write(terminal, b"aeframe trai\tmodel=sp\t\naeframe train trainer.max_ep\t3\nexit\n")
        seen = b""
        with contextlib.suppress(OSError):  # when bash has ended
            while part := os.read(terminal, 4096):
                seen += part
        os.close(terminal)
    assert b"<train model=sparse>" in seen
    assert b"<train trainer.max_epochs=3>" in seen
