"""Compressed files: samples come back as they were compared, and all that is wrong has a name."""

from __future__ import annotations

import json
import os
import shutil
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from PIL import Image
from sklearn.datasets import load_digits

from aeframe import codec
from aeframe.codec import Codec, packing
from aeframe.codec import aez_file as files
from aeframe.codec.aez_file import compress, decompress, inspect, verify
from aeframe.codec.codec_file import CODEC
from aeframe.codec.container.file_errors import ContainerError, ModelMismatchError, UnlikeError
from aeframe.codec.container.format import Kind, Reader, Writer
from aeframe.codec.entropy.rans import TOTAL
from aeframe.codec.entropy.tables import Tables
from aeframe.codec.packing import Packer, build_header, choose_names, is_name, write_names
from aeframe.core.errors import UserError
from tests.support.forks import Server
from tests.support.runs import TWO, contents, trained_in

DIGITS = load_digits().images.astype(np.uint8)[:, None]
Verb = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def run(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with the rate constraint, which no test may change."""
    root = tmp_path_factory.mktemp("rate")
    words = ["constraint=rate", "network.widths=[32]", "trainer.max_epochs=3", "optimizer.lr=0.01"]
    return trained_in(server, root, *words)


@pytest.fixture(scope="module")
def made(run: Path) -> Codec:
    return codec.load(run)


def written(packer: Packer, file: Path, x: np.ndarray, names: list[str] | None = None) -> bytes:
    stream = BytesIO()
    compress(packer, [x[: len(x) // 2], x[len(x) // 2 :]], stream, names)
    file.write_bytes(stream.getvalue())
    return stream.getvalue()


def test_a_run_with_a_rate_leaves_its_tables(made: Codec) -> None:
    assert made.step == 1.0
    assert made.tables.m == made.model.latent_dim
    assert 0 < made.likeness.limit < 20


def test_decoded_samples_are_those_that_were_compared(made: Codec, tmp_path: Path) -> None:
    stream = BytesIO()
    found = compress(Packer(made), [DIGITS[:900], DIGITS[900:]], stream)
    (tmp_path / "x.aez").write_bytes(stream.getvalue())
    back = np.concatenate(list(decompress(made, tmp_path / "x.aez")))
    assert np.array_equal(back, made.decode(made.encode(DIGITS)))
    assert np.allclose(found.psnr, made.compute_psnr(DIGITS, back))
    assert found.bytes == len(stream.getvalue()) < 0.25 * DIGITS.size
    assert found.estimate <= found.payload <= 1.01 * found.estimate + 64
    mse = ((back.astype(float) - DIGITS) ** 2).mean()
    assert found.mean_psnr == pytest.approx(10 * np.log10(16**2 / mse), abs=1e-3)
    samples, errors = verify(made, tmp_path / "x.aez", iter([DIGITS[:5], DIGITS[5:]]))
    assert samples == len(DIGITS)
    assert errors.mean() == pytest.approx(mse / 16**2)


def test_every_flipped_byte_and_every_cut_is_told(made: Codec, tmp_path: Path) -> None:
    file = tmp_path / "x.aez"
    names = [f"{i}.png" for i in range(6)]
    whole = written(Packer(made, "lossless", min_psnr=18), file, DIGITS[:6], names)
    assert {s.kind for s in Reader(file).read_sections()} == {Kind.NAMES, Kind.STORED, Kind.CODED}
    for i in range(len(whole)):
        for changed in (whole[:i], whole[:i] + bytes([whole[i] ^ 0x10]) + whole[i + 1 :]):
            file.write_bytes(changed)
            with pytest.raises(ContainerError):
                list(decompress(made, file))
            with pytest.raises(ContainerError):
                inspect(file)


def test_parts_whose_checksums_a_stranger_made_right_are_told(made: Codec, tmp_path: Path) -> None:
    """Whatever the parts hold: an error with a name, or samples; never anything else."""
    file, generator = tmp_path / "x.aez", np.random.default_rng(0)
    written(Packer(made, "lossless", min_psnr=18), file, DIGITS[:40])
    sections = list(Reader(file).read_sections())
    told = 0
    for _ in range(300):
        stream, chosen = BytesIO(), int(generator.integers(len(sections)))
        writer = Writer(stream, build_header(made))
        for i, section in enumerate(sections):
            payload = bytearray(section.payload)
            if i == chosen and payload:
                payload[generator.integers(len(payload))] = generator.integers(256)
                payload = payload[: generator.integers(len(payload) + 1)]
            count = int(generator.integers(70000)) if generator.random() < 0.1 else section.samples
            writer.write_section(section.kind, count, bytes(payload))
        writer.write_end()
        file.write_bytes(stream.getvalue())
        try:
            assert all(x.shape[1:] == (1, 8, 8) for x in decompress(made, file))
        except ContainerError:
            told += 1
    assert told > 200


def test_samples_unlike_the_training_data_are_refused_stored_or_kept(
    made: Codec, tmp_path: Path
) -> None:
    file, x = tmp_path / "x.aez", DIGITS[:50].copy()
    x[[3, 40]] = np.random.default_rng(0).integers(0, 2, (2, 1, 8, 8), np.uint8) * 16
    with pytest.raises(UnlikeError, match="sample 3"):
        written(Packer(made, "error"), file, x)
    written(Packer(made, "lossless"), file, x)
    back = np.concatenate(list(decompress(made, file)))
    assert np.array_equal(back[[3, 40]], x[[3, 40]])
    others = np.delete(np.arange(50), [3, 40])
    assert np.array_equal(back[others], made.decode(made.encode(x[others])))
    assert inspect(file).stored == 2
    written(Packer(made, "keep"), file, x)
    assert np.array_equal(np.concatenate(list(decompress(made, file))), made.decode(made.encode(x)))
    assert inspect(file).stored == 0


def test_all_samples_may_be_stored_as_they_are(made: Codec, tmp_path: Path) -> None:
    file = tmp_path / "x.aez"
    written(Packer(made, "lossless", min_psnr=99), file, DIGITS[:10])
    assert np.array_equal(np.concatenate(list(decompress(made, file))), DIGITS[:10])


def test_sections_are_bounded_by_the_code_too_and_larger_ones_of_older_files_are_read(
    made: Codec, run: Path, verb: Verb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert packing.limit_rows((1, 28, 28)) == 2**23 // 784
    for units, rows in ((2**16, 64), (64, 2**23 // 784)):
        tables = Tables(
            np.zeros(units, np.int32),
            np.full((1, units, 2), TOTAL // 2, np.uint16),
            np.full(1, TOTAL, np.int32),
        )
        assert packing.limit_coded_rows(tables, (1, 28, 28)) == rows
    written(Packer(made), tmp_path / "old.aez", DIGITS[:200])
    np.save(tmp_path / "x.npy", DIGITS[:200])
    monkeypatch.setattr(packing, "NUMBERS", 10 * made.tables.m)
    assert verb("compress", str(run), "x.npy", "-o", "new.aez")[0] == 0
    counts = [s.samples for s in Reader(tmp_path / "new.aez").read_sections()]
    assert counts == [10] * 20
    assert [s.samples for s in Reader(tmp_path / "old.aez").read_sections()] == [100, 100]
    back = [
        np.concatenate(list(decompress(made, tmp_path / f"{name}.aez"))) for name in ("old", "new")
    ]
    assert np.array_equal(*back)
    assert verb("verify", str(run), "old.aez", "--against", "x.npy")[0] == 0


def test_another_model_and_other_tables_are_refused(made: Codec, tmp_path: Path) -> None:
    file = tmp_path / "x.aez"
    written(Packer(made), file, DIGITS[:10])
    for other in (
        replace(made, step=0.5),
        replace(made, tables=replace(made.tables, low=made.tables.low + 1)),
    ):
        with pytest.raises(ModelMismatchError, match="was compressed by model"):
            list(decompress(other, file))


def test_comparing_with_something_else_is_told(made: Codec, tmp_path: Path) -> None:
    file = tmp_path / "x.aez"
    written(Packer(made), file, DIGITS[:10])
    for other, what in ((DIGITS[:9], "more samples"), (DIGITS[:11], "fewer samples")):
        with pytest.raises(ContainerError, match=what):
            verify(made, file, iter([other]))


@pytest.mark.parametrize(
    "name", ["", "..", "a/../b", "/etc/x", "C:x", "a\\b", ".x", "a\0", "a\nb", "a//b"]
)
def test_names_that_lead_elsewhere_are_none(name: str, made: Codec, tmp_path: Path) -> None:
    assert not is_name(name)
    if "\n" not in name:
        with (tmp_path / "x.aez").open("wb") as file:
            writer = Writer(file, build_header(made))
            writer.write_section(*write_names([name]))
            writer.write_section(Kind.CODED, 1, made.tables.encode(made.encode(DIGITS[:1])))
            writer.write_end()
        with pytest.raises(ContainerError, match="names"):
            inspect(tmp_path / "x.aez")


def sealed(made: Codec, file: Path, kinds: str, payload: bytes = b"", samples: int = 1) -> None:
    """A file of such sections, whose checksums are right: N(ames), S(tored) and C(oded)."""
    with file.open("wb") as stream:
        writer = Writer(stream, build_header(made))
        for kind in kinds:
            if kind == "C":
                writer.write_section(Kind.CODED, 1, made.tables.encode(made.encode(DIGITS[:1])))
            else:
                writer.write_section({"N": Kind.NAMES, "S": Kind.STORED}[kind], samples, payload)
        writer.write_end()


@pytest.mark.parametrize("kinds", ["S", "N", "CS", "CN", "SSC", "NNC", "NSNC", "CNS"])
def test_sections_that_belong_to_no_coded_one_are_told(
    made: Codec, tmp_path: Path, kinds: str
) -> None:
    sealed(made, tmp_path / "x.aez", kinds, write_names(["a"]).payload)
    for look in (inspect, lambda file: list(decompress(made, file))):
        with pytest.raises(ContainerError, match="makes no sense"):
            look(tmp_path / "x.aez")


@pytest.mark.parametrize("kinds", ["NC", "SC"])
def test_names_and_stored_samples_are_those_of_the_section_that_follows(
    made: Codec, tmp_path: Path, kinds: str
) -> None:
    sealed(made, tmp_path / "x.aez", kinds, write_names(["a", "b"]).payload, 2)
    with pytest.raises(ContainerError, match="makes no sense"):
        inspect(tmp_path / "x.aez")


def test_names_without_samples_take_no_memory(made: Codec, tmp_path: Path) -> None:
    sealed(made, tmp_path / "x.aez", "N" * 400, write_names(["a" * 200] * 2**16).payload, 2**16)
    tracemalloc.start()
    with pytest.raises(ContainerError, match="makes no sense"):
        inspect(tmp_path / "x.aez")
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()


def test_more_names_than_a_file_keeps_are_told(
    made: Codec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealed(made, tmp_path / "x.aez", "NCNC", write_names(["a"]).payload)
    assert files.list_names(tmp_path / "x.aez", inspect(tmp_path / "x.aez")) == ["a", "a"]
    monkeypatch.setattr(files, "MOST_NAMES", 1)
    with pytest.raises(ContainerError, match="more names than a file may have"):
        inspect(tmp_path / "x.aez")


def test_a_file_of_no_samples_is_told(run: Path, made: Codec, verb: Verb, tmp_path: Path) -> None:
    sealed(made, tmp_path / "x.aez", "")
    for out in ("back", "back.npy"):
        status, _, err = verb("decompress", str(run), "x.aez", "-o", out)
        assert (status, err) == (2, "aeframe: x.aez: holds no samples.\n")
    assert verb("inspect", "x.aez")[0] == 0
    with pytest.raises(UserError, match="no samples"):
        compress(Packer(made), [], BytesIO())


def test_the_tables_of_a_stranger_are_looked_at(run: Path, made: Codec, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    file = folder / CODEC
    good = file.read_bytes()
    said = {"format": 1, "model": made.model.identity, "step": 1.0, "limit": 9.0}
    tables = {n: getattr(made.tables, n) for n in ("low", "units", "clusters")}
    for wrong in (
        {"format": 2},
        {"model": "0" * 64},
        {"step": 0.0},
        {"step": "1"},
        {"limit": float("nan")},
    ):
        file.write_bytes(safetensors.numpy.save(tables, {"aeframe": json.dumps({**said, **wrong})}))
        with pytest.raises(UserError, match="is not a codec of this model"):
            codec.load(folder)
    other = {
        "low": tables["low"][:-1],
        "units": tables["units"].astype(np.int32),
        "clusters": tables["clusters"] + 1,
    }
    for name, table in other.items():
        file.write_bytes(
            safetensors.numpy.save({**tables, name: table}, {"aeframe": json.dumps(said)})
        )
        with pytest.raises(UserError, match="is not a codec of this model"):
            codec.load(folder)
    for length in (0, 8, 100, len(good) - 1):
        file.write_bytes(good[:length])
        with pytest.raises(UserError, match="is not a codec of this model"):
            codec.load(folder)
    file.unlink()
    with pytest.raises(UserError, match="aeframe codec"):
        codec.load(folder)


def test_the_verbs_do_what_their_help_says(run: Path, verb: Verb, tmp_path: Path) -> None:
    np.save(tmp_path / "digits.npy", DIGITS[:100])
    status, out, _ = verb("compress", str(run), "digits.npy", "-o", "x.aez")
    assert (status, out.splitlines()[-1]) == (
        0,
        f"100 images in {(tmp_path / 'x.aez').stat().st_size:,} bytes: x.aez",
    )
    assert verb("inspect", "x.aez")[1].startswith("samples: 100 of uint8, 1 x 8 x 8; 0 stored")
    status, out, _ = verb("verify", str(run), "x.aez", "--against", "digits.npy")
    assert (status, out.splitlines()[-1]) == (
        0,
        "100 images decode, and every checksum is right: x.aez",
    )
    np.save(tmp_path / "some.npy", DIGITS[:70])
    status, _, err = verb("verify", str(run), "x.aez", "--against", "some.npy")
    told = "x.aez: contains more samples than the 70 originals. Name all"
    assert (status, told in err) == (2, True), err
    assert verb("decompress", str(run), "x.aez", "-o", "back.npy")[0] == 0
    assert np.load(tmp_path / "back.npy").shape == (100, 1, 8, 8)
    whole = (tmp_path / "x.aez").read_bytes()
    (tmp_path / "x.aez").write_bytes(whole[:-1])
    status, out, err = verb("decompress", str(run), "x.aez", "-o", "folder")
    assert (status, out) == (2, "")
    assert err.startswith(
        "aeframe: x.aez: ends in section 2: 8 bytes are expected, and 7 are left."
    )
    assert not (tmp_path / "folder").exists()


def test_an_export_with_its_decoder_takes_the_codec_along(
    run: Path, made: Codec, verb: Verb, tmp_path: Path
) -> None:
    assert verb("export", str(run), "-o", "whole")[0] == 0
    assert codec.load(tmp_path / "whole").identity == made.identity
    np.save(tmp_path / "digits.npy", DIGITS[:100])
    assert verb("compress", str(run), "digits.npy", "-o", "x.aez")[0] == 0
    assert verb("decompress", "whole", "x.aez", "-o", "back.npy", "--batch-size", "7")[0] == 0
    assert np.array_equal(np.load(tmp_path / "back.npy"), made.decode(made.encode(DIGITS[:100])))
    assert verb("export", str(run), "--encoder-only", "-o", "encoder")[0] == 0
    assert not (tmp_path / "encoder" / CODEC).exists()


@pytest.mark.parametrize(
    "words", ["compress RUN x.npy -o x.aez", "verify RUN x.aez", "codec RUN --force", "rd RUN"]
)
def test_where_a_codec_computes_is_told_as_of_other_verbs(
    run: Path, verb: Verb, words: str
) -> None:
    argv = words.replace("RUN", str(run)).split()
    assert "device=nowhere: cannot be used" in verb(*argv, "--device", "nowhere")[2]
    assert "batch_size=0: must be at least 1" in verb(*argv, "--batch-size", "0")[2]


def test_going_on_with_a_run_says_that_its_codec_is_another(
    aeframe: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    words = (*TWO, "constraint=rate", "hydra.run.dir=run", "resume=auto")
    status, out, err = aeframe(*words)
    assert (status, "compressed" in out) == (0, False), err
    old = codec.load(tmp_path / "run").identity.hex()[:12]
    status, out, err = aeframe(*words, "trainer.max_epochs=3")
    assert status == 0, err
    new = codec.load(tmp_path / "run").identity.hex()[:12]
    assert new != old
    line = (
        f"{CODEC}: {old} -> {new}; files compressed by {old} cannot be decompressed with this codec"
    )
    assert line in out.splitlines()


def test_pictures_come_back_by_their_names(run: Path, verb: Verb, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for i in range(3):
        Image.fromarray(DIGITS[i, 0] * 15).save(tmp_path / "in" / f"a{i}.bmp")
    assert verb("compress", str(run), "in", "-o", "x.aez", "--on-unlike", "keep")[0] == 0
    assert verb("decompress", str(run), "x.aez", "-o", "out")[0] == 0
    assert sorted(f.name for f in (tmp_path / "out").iterdir()) == ["a0.png", "a1.png", "a2.png"]


def test_pictures_that_had_to_shrink_are_told(run: Path, verb: Verb, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (3, 20, 30, 3), np.uint8)
    for i, pixels in enumerate(noise):
        Image.fromarray(pixels).save(tmp_path / "in" / f"{i}.png")
    size = "8 x 8 pixels, gray"
    note = f"aeframe: in: 3 images were converted to {size}, as the model needs them.\n"
    words = ("compress", str(run), "in", "--min-psnr", "50", "-o")
    status, out, err = verb(*words, "x.aez", "--on-unlike", "lossless")
    assert (status, err) == (0, note)
    assert "95 % of the images without any error\n" in out
    assert (
        f"3 images unlike the training data, stored losslessly after conversion to {size}\n" in out
    )
    assert verb("verify", str(run), "x.aez", "--against", "in")[2] == note
    status, _, err = verb(*words, "y.aez")
    assert (status, err.startswith(note)) == (2, True)


def test_pictures_that_lie_elsewhere_keep_their_names(
    run: Path, verb: Verb, tmp_path: Path
) -> None:
    for place in ("a/0", "a/b/1", "c/0"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(DIGITS[0, 0] * 15).save(tmp_path / f"{place}.png")
    few, many = [str(tmp_path / "a/b/1.png")], ["a/../a/0.png", str(tmp_path / "c/0.png")]
    for i, (given, kept) in enumerate(((few, ["1.png"]), (many, ["a/0.png", "c/0.png"]))):
        command = ("compress", str(run), *given, "-o", f"{i}.aez", "--on-unlike", "keep")
        status, out, err = verb(*command)
        assert (status, "not kept" in out) == (0, False), err
        assert verb("decompress", str(run), f"{i}.aez", "-o", f"out{i}")[0] == 0
        folder = tmp_path / f"out{i}"
        assert sorted(str(f.relative_to(folder)) for f in folder.rglob("*.png")) == kept


def test_names_that_cannot_be_kept_are_told(run: Path, verb: Verb, tmp_path: Path) -> None:
    Image.fromarray(DIGITS[0, 0] * 15).save(tmp_path / "a:b.png")
    command = ("compress", str(run), "a:b.png", "-o", "x.aez", "--on-unlike", "keep")
    status, out, _ = verb(*command)
    assert (status, "File names are not stored" in out) == (0, True)
    assert "names" not in verb("inspect", "x.aez")[1]
    assert "not kept" not in verb(*command, "--no-names", "--force")[1]
    assert verb("decompress", str(run), "x.aez", "-o", "out")[0] == 0
    assert [f.name for f in (tmp_path / "out").iterdir()] == ["0.png"]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ([], None),
        (["b/a.png", "a.png"], ["b/a.png", "a.png"]),
        (["/x/y/a.png"], ["a.png"]),
        (["/x/y/a.png", "/x/z/a.png"], ["y/a.png", "z/a.png"]),
        (["/x/a.png", "/x/z/a.png"], ["a.png", "z/a.png"]),
        (["../p/a.png", "../q/a.png"], ["p/a.png", "q/a.png"]),
        (["/x/.y/a.png", "/x/.y/b.png"], ["a.png", "b.png"]),
        (["/x/.y/a.png", "/x/b.png"], None),
        (["a\nb.png"], None),
    ],
)
def test_names_are_kept_from_the_common_folder_on(given: list[str], kept: list[str] | None) -> None:
    assert choose_names(given) == kept


def test_unlike_data_leaves_no_file(run: Path, verb: Verb, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 2, (9, 1, 8, 8), np.uint8) * 16
    np.save(tmp_path / "noise.npy", noise)
    status, _, err = verb("compress", str(run), "noise.npy", "-o", "x.aez")
    assert status == 2
    assert "--on-unlike lossless" in err
    assert [f.name for f in tmp_path.iterdir()] == ["noise.npy"]


def test_the_limit_of_likeness_has_to_be_a_number(run: Path, verb: Verb, tmp_path: Path) -> None:
    np.save(tmp_path / "digits.npy", DIGITS[:9])
    for value in ("nan", "inf"):
        words = ("compress", str(run), "digits.npy", "-o", "x.aez", "--min-psnr", value)
        status, _, err = verb(*words)
        assert (status, err) == (2, f"aeframe: --min-psnr {value}: is not a finite number of dB.\n")
    assert not (tmp_path / "x.aez").exists()


def test_any_trained_network_becomes_a_codec(
    trained: Path, verb: Verb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(trained, tmp_path / "run")
    assert "aeframe codec" in verb("compress", "run", "x.npy", "-o", "x.aez")[2]
    status, out, _ = verb("codec", "run", "--loss", "0.3")
    assert (status, out.splitlines()[-1].rpartition(": ")[2]) == (0, f"run/{CODEC}")
    made = codec.load(tmp_path / "run")
    exact = made.compute_psnr(DIGITS, made.model.reconstruct(DIGITS))
    found = made.compute_psnr(DIGITS, made.decode(made.encode(DIGITS)))
    assert found.mean() > exact.mean() - 0.6
    before = contents(tmp_path)
    status, _, err = verb("codec", "run", "--step", "2")
    assert (status, err.count("\n")) == (2, 1)
    assert f"run/{CODEC}: exists already; files compressed with it cannot be read without it" in err
    assert contents(tmp_path) == before
    assert verb("codec", "run", "--step", "2", "--force")[0] == 0
    assert codec.load(tmp_path / "run").step == 2.0
    for words, what in (
        (("--step", "0"), "--step 0: must be above 0 and below 1e9."),
        (("--step", "1e30"), "--step 1e+30: must be above 0 and below 1e9."),
        (("--step", "1e-30"), "--step 1e-30: is too small for this code, with values up to "),
        (("--step", "1", "--loss", "1"), "--step and --loss: both set how much is rounded. "),
    ):
        status, out, err = verb("codec", "run", *words, "--force")
        assert (status, out) == (2, "")
        assert err.startswith(f"aeframe: {what}")
        assert err.count("\n") == 1
    monkeypatch.setattr(
        os, "access", lambda place, mode: False
    )  # as of a folder that may only be read
    status, _, err = verb("codec", "run", "--step", "1", "--force")
    what = "is not writable. Write another place, or change its permissions."
    assert (status, err) == (2, f"aeframe: run: {what}\n")
    assert codec.load(tmp_path / "run").step == 2.0
