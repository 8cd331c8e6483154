"""Photographs of any size as bytes, and back."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from aeframe.cli.main import main
from aeframe.cli.verbs.own_data import list_image_files
from aeframe.codec import aez_file as files
from aeframe.codec import codec_file as saved
from aeframe.codec import photographs, tiles
from aeframe.codec.comparison import whole_photographs as rd_photographs
from aeframe.codec.container.file_errors import ContainerError, DamagedError
from aeframe.codec.entropy.fitting import Counts, estimate_bits
from aeframe.codec.entropy.tables import Tables
from aeframe.codec.packing import Packer
from aeframe.core.errors import UserError
from aeframe.data import DataModule, Digits, PhotoCrops
from tests.support.forks import Server
from tests.support.runs import trained_in

PATCH = 4


def codes_of(height: int, width: int, channels: int = 5) -> np.ndarray:
    rows = -(-height // PATCH) * -(-width // PATCH)
    return np.random.default_rng(rows).laplace(0, 2, (rows, channels)).round().astype(np.int32)


@pytest.fixture(scope="module")
def tables() -> Tables:
    return Counts(codes_of(200, 200)).fit_tables(16)


@settings(max_examples=25)
@given(height=st.integers(1, 60), width=st.integers(1, 60), band=st.integers(1, 300))
def test_a_map_of_any_size_comes_back_as_it_was(
    tables: Tables, height: int, width: int, band: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(photographs, "BAND", band)
        codes = codes_of(height, width)
        codes[0, 0] = 10_000  # that no table has
        payload = photographs.pack_map(tables, codes, height, width)
        assert photographs.read_size(payload) == (height, width)
        assert np.array_equal(photographs.unpack_map(tables, payload, PATCH), codes)


def test_the_bytes_are_those_of_the_estimate(tables: Tables) -> None:
    codes = codes_of(400, 600)
    payload = photographs.pack_map(tables, codes, 400, 600)
    bands = -(-len(codes) // photographs.BAND)
    estimated = estimate_bits(tables, codes) / 8
    assert estimated < len(payload) < 1.002 * estimated + 8 + bands * 40


def test_every_cut_and_every_wrong_size_has_a_name(tables: Tables) -> None:
    payload = photographs.pack_map(tables, codes_of(9, 13), 9, 13)
    for length in range(len(payload)):
        with pytest.raises(DamagedError):
            photographs.unpack_map(tables, payload[:length], PATCH)
    with pytest.raises(DamagedError, match="has trailing bytes after an image"):
        photographs.unpack_map(tables, payload + b"\0", PATCH)
    for size in ((0, 13), (2**31, 2**31), (9, 2**30)):
        with pytest.raises(DamagedError, match="claims an image"):
            photographs.unpack_map(tables, photographs.SIZE.pack(*size) + payload[8:], PATCH)
    for size in ((13, 13), (5, 5), (2**13, 2**13)):
        with pytest.raises(DamagedError):
            photographs.unpack_map(tables, photographs.SIZE.pack(*size) + payload[8:], PATCH)


@pytest.mark.parametrize("size", [(2**27, 1), (1, 2**27), (2**16, 8), (2**14, 2**13)])
def test_a_size_that_takes_too_much_memory_is_told(tables: Tables, size: tuple[int, int]) -> None:
    with pytest.raises(DamagedError, match="claims an image"):
        photographs.unpack_map(tables, photographs.SIZE.pack(*size), PATCH)


def test_a_map_of_too_many_numbers_is_told(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    codes = codes_of(40, 60)
    payload = photographs.pack_map(tables, codes, 40, 60)
    monkeypatch.setattr(photographs, "MOST_NUMBERS", codes.size)
    assert np.array_equal(photographs.unpack_map(tables, payload, PATCH), codes)
    monkeypatch.setattr(photographs, "MOST_NUMBERS", codes.size - 1)
    with pytest.raises(DamagedError, match="claims an image of 40 x 60"):
        photographs.unpack_map(tables, payload, PATCH)
    monkeypatch.undo()
    assert not photographs.is_within_limits(2**13, 2**13, channels=320, patch=16)
    assert photographs.is_within_limits(6000, 8000, channels=320, patch=16)


def test_an_image_that_takes_too_much_memory_is_refused(
    run: Path, verb: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    Image.new("RGB", (photographs.MOST_SIDE + 1, 1)).save(tmp_path / "a.png")
    status, _, err = verb("compress", str(run), "a.png", "--out", "x.aez")
    assert status == 2
    assert "an image of 32769 x 1 pixels is too large for this codec" in err
    assert [f.name for f in tmp_path.iterdir()] == ["a.png"]


def test_maps_by_position_and_back() -> None:
    maps = np.arange(2 * 3 * 4, dtype=np.int32).reshape(2, 3 * 4)
    rows = photographs.order_by_position(maps, 3)
    assert rows.shape == (8, 3)
    assert rows[0].tolist() == [0, 4, 8]
    assert rows[5].tolist() == [13, 17, 21]
    flat = np.arange(6, dtype=np.int32).reshape(2, 3)
    assert np.array_equal(photographs.order_by_position(flat, 3), flat)


@pytest.fixture(scope="module")
def run(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a few steps on crops of color photographs, with its codec."""
    root = tmp_path_factory.mktemp("photographs")
    (root / "train").mkdir()
    for i in range(5):
        photograph(40 + i, 50, i).save(root / "train" / f"{i}.png")
    command = [
        *(
            "dataset=photo_crops",
            "dataset.root=train",
            "dataset.size=16",
            "dataset.crops_per_image=20",
        ),
        *("network=fully_conv", "network.widths=[4]", "network.patch=4", "network.overlap=2"),
        *("constraint=rate", "constraint.rate.step=0.2", "constraint.rate.weight=0.003"),
        *("model.latent_dim=320", "trainer.max_epochs=1", "dataset.batch_size=10"),
        *("evaluation.images=4", "dataset.cache=null"),
    ]
    return trained_in(server, root, *command)


def photograph(height: int, width: int, seed: int) -> Image.Image:
    """Something smooth with an edge."""
    y, x = np.mgrid[:height, :width] / 10.0
    waves = [np.sin(x * a + y * b + seed) for a, b in ((1, 0.5), (0.3, 1), (0.7, 0.7))]
    pixels = 128 + 60 * np.stack(waves, 2) + 40 * (x > seed)[:, :, None]
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


@pytest.fixture
def verb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    def called(*argv: str) -> tuple[int, str, str]:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["aeframe", *argv])
        with pytest.raises(SystemExit) as ended:
            sys.exit(main())
        out, err = capfd.readouterr()
        return int(ended.value.code or 0), out, err

    return called


def test_photographs_of_any_size_to_a_file_and_back(
    run: Path,
    verb: Callable[..., tuple[int, str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tiles, "TILE", 5)
    sizes = {"a": (37, 61), "b": (9, 5), "c": (64, 64)}
    (tmp_path / "in").mkdir()
    for i, (name, size) in enumerate(sizes.items()):
        photograph(*size, i).save(tmp_path / "in" / f"{name}.png")
    status, out, err = verb("compress", str(run), "in", "--out", "x.aez", "--on-unlike", "keep")
    assert status == 0, err
    assert "3 images in" in out
    assert "3 x any x any" in verb("inspect", "x.aez")[1]
    assert verb("decompress", str(run), "x.aez", "--out", "back")[0] == 0
    codec = saved.load(run)
    for name, size in sizes.items():
        image = np.asarray(Image.open(tmp_path / "in" / f"{name}.png"))
        back = np.asarray(Image.open(tmp_path / "back" / f"{name}.png"))
        assert back.shape == (*size, 3)
        codes = photographs.round_map(codec, image.transpose(2, 0, 1))
        expected = photographs.restore_image(codec, codes, *size)
        np.testing.assert_array_equal(back.transpose(2, 0, 1), expected)
        assert np.square(image.astype(float) - back).mean() < 400
    status, out, _ = verb("verify", str(run), "x.aez", "--against", "in")
    assert status == 0
    assert "dB of the worst image" in out
    # another size is not the same photograph
    photograph(37, 60, 0).save(tmp_path / "in" / "a.png")
    status, _, err = verb("verify", str(run), "x.aez", "--against", "in")
    assert status == 2
    assert "contains images of another size" in err
    status, _, err = verb("decompress", str(run), "x.aez", "--out", "x.npy")
    assert status == 2
    assert "one array cannot hold images of different sizes" in err


def test_a_photograph_that_comes_back_badly_is_refused_or_stored(
    run: Path, verb: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    photograph(30, 41, 1).save(tmp_path / "a.png")
    command = ("compress", str(run), "a.png", "--out", "x.aez", "--min-psnr", "90")
    status, _, err = verb(*command)
    assert (status, (tmp_path / "x.aez").exists()) == (2, False)
    assert "a.png" in err
    assert verb(*command, "--on-unlike", "lossless")[0] == 0
    assert verb("decompress", str(run), "x.aez", "--out", "back")[0] == 0
    same = [np.asarray(Image.open(tmp_path / name)) for name in ("a.png", "back/a.png")]
    np.testing.assert_array_equal(*same)


def test_a_flipped_byte_anywhere_and_a_cut_have_a_name(
    run: Path, verb: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    photograph(12, 12, 1).save(tmp_path / "a.png")
    assert verb("compress", str(run), "a.png", "--out", "x.aez", "--on-unlike", "keep")[0] == 0
    codec, whole = saved.load(run), (tmp_path / "x.aez").read_bytes()
    wrong = [whole[:i] for i in range(len(whole))]
    wrong += [whole[:i] + bytes([whole[i] ^ 16]) + whole[i + 1 :] for i in range(len(whole))]
    for data in wrong:
        (tmp_path / "y.aez").write_bytes(data)
        with pytest.raises(ContainerError):
            list(files.decompress(codec, tmp_path / "y.aez"))


def test_gray_photographs_to_a_file_and_back_and_beside_other_formats(
    aeframe: Callable[..., Any],
    verb: Callable[..., tuple[int, str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for folder, count, size in (("train", 4, (40, 50)), ("odd", 3, (23, 37))):
        (tmp_path / folder).mkdir()
        for i in range(count):
            photograph(size[0] + i, size[1], i).convert("L").save(tmp_path / folder / f"{i}.png")
    words = ("experiment=compress_photos", "dataset.root=train", "dataset.color=gray", "seed=1")
    words += ("dataset.size=16", "dataset.crops_per_image=5", "dataset.cache=null")
    words += ("network.widths=[4]", "network.patch=4", "network.overlap=2", "model.latent_dim=160")
    words += ("trainer.max_epochs=1", "evaluation.images=4", "scheduler.steps_per_epoch=2")
    assert (
        aeframe(*words, "optimizer.lr=1e-6", "scheduler.max_lr=1e-6", "hydra.run.dir=run")[0] == 0
    )
    assert verb("compress", "run", "odd", "-o", "x.aez", "--on-unlike", "keep")[0] == 0
    assert verb("verify", "run", "x.aez", "--against", "odd")[0] == 0
    assert verb("decompress", "run", "x.aez", "-o", "back")[0] == 0
    images = [Image.open(tmp_path / "odd" / f"{i}.png") for i in range(3)]
    for i, image in enumerate(images):
        back = Image.open(tmp_path / "back" / f"{i}.png")
        assert (back.mode, back.size) == ("L", image.size)
        assert np.square(np.asarray(back, float) - np.asarray(image)).mean() < 400

    jpeg = rd_photographs.Standard("JPEG", "JPEG", [{"quality": 20}, {"quality": 95}])
    monkeypatch.setattr(rd_photographs, "list_formats", lambda: [jpeg])
    status, out, err = verb("rd", "run", "--data", "odd", "-o", "rd")
    assert status == 0, err
    assert "Bits per pixel at the same PSNR (3 images)" in " ".join(out.split())
    assert "At none of these PSNRs: JPEG." in out.splitlines()
    told = json.loads((tmp_path / "rd" / "rd.json").read_text())
    ours, theirs = (curve["results"] for curve in told["curves"])
    bpp, psnr = zip(*(one_jpeg(image, 20) for image in images), strict=True)
    assert theirs["bpp"][0] == pytest.approx(np.mean(bpp))
    assert theirs["psnr"][0] == pytest.approx(np.mean(psnr), abs=1e-4)
    codec, sizes = saved.load(tmp_path / "run"), []
    for image in images:
        stream = BytesIO()
        files.compress(Packer(codec, "keep"), [np.asarray(image)[None, None]], stream)
        sizes.append(8 * len(stream.getvalue()) / (image.width * image.height))
    assert ours["bpp"] == pytest.approx([np.mean(sizes)])
    # of the images that the test crops are cut from
    assert "(1 images)" in verb("rd", "run")[1]


def test_an_image_that_is_too_large_for_a_format_is_told() -> None:
    wide = np.zeros((1, 2, 65501), np.uint8)  # JPEG ends at 65500
    with pytest.raises(
        UserError, match="--data: has an image of 65501 x 2 pixels, too large for JPEG"
    ):
        rd_photographs._measure_format(wide, "JPEG", {"quality": 5})


def one_jpeg(image: Image.Image, quality: int) -> tuple[float, float]:
    """Bits per pixel and PSNR of a file of its own."""
    stream = BytesIO()
    image.save(stream, "JPEG", quality=quality)
    mse = np.square(np.asarray(Image.open(stream), float) - np.asarray(image)).mean()
    return 8 * len(stream.getvalue()) / (image.width * image.height), 10 * np.log10(255**2 / mse)


def test_the_files_of_crops_are_those_of_their_split(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        for i in range(5):
            photograph(20, 20, i).save(tmp_path / folder / f"{i}.png")
    crops = {"root": str(tmp_path / "a"), "size": 8, "crops_per_image": 3, "cache": None}
    for test_root, folder in ((None, "a"), (str(tmp_path / "b"), "b")):
        data = DataModule(source=PhotoCrops(**crops, test_root=test_root), seed=3)
        data.setup()
        found = list_image_files(data, "test")
        assert len(found) * 3 == len(data.splits["test"])
        for file, crop in zip(found, data.splits["test"][::3].x.numpy(), strict=True):
            assert Path(file).parent.name == folder
            pixels = np.asarray(Image.open(file)).transpose(2, 0, 1)
            windows = np.lib.stride_tricks.sliding_window_view(pixels, (8, 8), (1, 2))
            assert (windows == crop[:, None, None]).all((0, 3, 4)).any()
    (tmp_path / "b" / "9.png").write_bytes(b"")
    with pytest.raises(UserError, match="some image files of this split cannot be read"):
        list_image_files(data, "test")
    digits = DataModule(source=Digits(), seed=0)
    digits.setup()
    with pytest.raises(UserError, match="has no image files"):
        list_image_files(digits, "val")
