"""Files of numbers of every odd and broken kind: the numbers, or one line that names the file."""
# ruff: noqa: E501 (the tables keep each file and its message on one line)

from __future__ import annotations

import gzip
import io
import pickle
import pickletools
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from aeframe.core.errors import UserError
from aeframe.data import CIFAR10, MNIST, SVHN, Array, DataModule, Source
from tests.support.valid_files import batch, idx, in_archive, kinds, npy, npz

VALUES = np.arange(16, dtype=np.float32).reshape(4, 4)


def header(
    text: str,
    body: bytes = VALUES.tobytes(),
    version: tuple[int, int] = (1, 0),
    claim: int | None = None,
) -> bytes:
    """A .npy file with any header, of any claimed length."""
    length = struct.pack("<H" if version == (1, 0) else "<I", len(text) if claim is None else claim)
    return b"\x93NUMPY" + bytes(version) + length + text.encode() + body


def described(descr: object = "<f4", shape: object = (4, 4), fortran: object = False) -> str:
    return f"{{'descr': {descr!r}, 'fortran_order': {fortran!r}, 'shape': {shape!r}}}"


def refusal(source: Source) -> str:
    """Return the error of a source, before or while it reads its samples."""
    if problems := source.problems():
        (problem,) = problems
        text = str(problem)
    else:
        with pytest.raises(UserError) as caught:
            source.load()
        text = str(caught.value)
    assert len(text.splitlines()) == 1
    assert len(text) < 600
    return text


WHOLE = {
    "versions": header(described(), version=(2, 0)),
    "version of unicode": header(described(), version=(3, 0)),
    "Python 2": header("{'descr': '<f4', 'fortran_order': False, 'shape': (4L, 4L)}"),
    "Fortran": header(described(fortran=True), VALUES.T.tobytes()),
    "big-endian": npy(VALUES.astype(">f4")),
    "double": npy(VALUES.astype("<f8")),
    "wider": npy(VALUES.astype(np.longdouble)),
    "half": npy(VALUES.astype("<f2")),
    "bytes": npy(VALUES.astype("u1")),
}


@pytest.mark.parametrize("case", WHOLE)
@pytest.mark.parametrize("ending", ["npy", "npz"])
def test_the_numbers_that_were_saved(tmp_path: Path, case: str, ending: str) -> None:
    file = tmp_path / f"a.{ending}"
    file.write_bytes(WHOLE[case] if ending == "npy" else in_archive(WHOLE[case]))
    assert np.array_equal(Array(path=str(file)).load().data.double().numpy(), VALUES)


PLAIN, ONE = "Save plain numbers with numpy.save.", "Save the array again."
REFUSED: dict[str, tuple[bytes, str]] = {
    "no bytes": (b"", f"cannot be read (EOF: reading magic string, expected 8 bytes got 0). {PLAIN}"),
    "a .npz": (npz(("a.npy", npy(VALUES))), "cannot be read (the magic string is not correct"),
    "objects": (npy(np.array([[None]])), "holds object, not numbers."),
    "records": (header(described([(f"field{i}", "<f4") for i in range(300)])), "not numbers."),
    "text": (npy(np.array([["a"]])), "holds <U1, not numbers."),
    "an old name of text": (header(described("a4")), "holds |S4, not numbers."),
    "times": (npy(np.array([[0]], "M8[s]")), "holds datetime64[s], not numbers."),
    "complex": (npy(VALUES * 1j), "holds complex64, not numbers."),
    "a type of nothing": (header(described(())), "cannot be read (tuple index out of range)"),
    "no type": (header(described("<z9")), "cannot be read (descr is not a valid dtype descriptor"),
    "one axis": (npy(VALUES[0]), "has shape (4,)."),
    "no axis": (npy(VALUES[0, 0]), "has shape ()."),
    "no samples": (npy(VALUES[:0]), "has shape (0, 4)."),
    "no features": (npy(VALUES[:, :0]), "has shape (4, 0)."),
    "below zero": (header(described(shape=(-4, -4))), "has shape (-4, -4)."),
    "fractions": (header(described(shape=(4.0, 4))), "cannot be read (shape is not valid"),
    "too many axes": (header(described(shape=(1,) * 65)), "cannot be read (its shape is too large for an array)"),
    "a size of any length": (header(described(shape=(4, 10**4000))), "cannot be read (its shape is too large for an array)"),
    "an order of any kind": (header(described(fortran=1)), "cannot be read (fortran_order is not a valid bool"),
    "more than it has": (header(described(shape=(4, 5))), f"cannot be read (it has 131 bytes instead of the 147 of its header). {ONE}"),
    "more than there is": (header(described(shape=(2**62, 2**62))), "cannot be read (it has "),
    "less than it has": (header(described(shape=(4, 3))), f"cannot be read (it has 131 bytes instead of the 115 of its header). {ONE}"),
    "two arrays": (npy(VALUES) * 2, f"cannot be read (it has 384 bytes instead of the 192 of its header). {ONE}"),
    "a header of 4 GiB": (header(described(), version=(2, 0), claim=2**32 - 1), "cannot be read (EOF: reading array header"),
    "a long header": (header(described() + " " * 12_000), "cannot be read (Header info length"),
    "another version": (header(described(), version=(9, 0)), "cannot be read (numpy has no format 9.0)"),
    "a call": (header("__import__('os').abort()"), "cannot be read (malformed node"),
    "half a dictionary": (header("{'descr': ("), "cannot be read (('EOF in multi-line statement'"),
    "no dictionary": (header("[1]"), "cannot be read (Header is not a dictionary"),
    "keys of all types": (header("{1: 2, 'a': 3}"), "cannot be read ("),
    "a key that is none": (header("{{}: 1}"), "cannot be read (unhashable type: 'dict')"),
    "brackets": (header("(" * 5000), "cannot be read ("),
    "signs": (header("-" * 9000 + "1"), "cannot be read ("),
    "escapes": (header(described().replace("<f4", r"\d")), "cannot be read ("),
    "indents": (header("  a\n b"), "cannot be read (unindent"),
    "other bits": (header(described("|b1"), bytes(range(16))), "is of type bool, but has bytes other than 0 and 1. Save them as numpy.uint8."),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("ending", ["npy", "npz"])
def test_one_line_names_the_array_and_says_what_to_do(
    tmp_path: Path, case: str, ending: str
) -> None:
    content, message = REFUSED[case]
    file = tmp_path / f"a.{ending}"
    file.write_bytes(content if ending == "npy" else in_archive(content))
    text = refusal(Array(path=str(file)))
    assert text.startswith(f"dataset.path={file}: ")
    assert message in text


def patched(place: int, value: int) -> bytes:
    """An archive with one byte of its directory, and of its member's header, changed."""
    content = bytearray(npz(("a.npy", npy(VALUES))))
    directory = content.rindex(b"PK\1\2")
    content[directory + place] = value
    content[place - 2] = value
    return bytes(content)


ARCHIVES: dict[str, tuple[bytes, str | None]] = {
    "one": (npz(("a.npy", npy(VALUES))), None),
    "one beside other files": (npz(("README", b"x"), ("d/", b""), ("d/a.npy", npy(VALUES))), None),
    "climbing out": (npz(("../../a.npy", npy(VALUES))), None),
    "bzip2": (npz(("a.npy", npy(VALUES)), compression=zipfile.ZIP_BZIP2), None),
    "lzma": (npz(("a.npy", npy(VALUES)), compression=zipfile.ZIP_LZMA), None),
    "no bytes": (b"", "cannot be read (File is not a zip file)"),
    "a .npy": (npy(VALUES), "cannot be read (File is not a zip file)"),
    "none": (npz(), "holds no arrays. Save them with numpy.savez."),
    "no array": (npz(("README", b"x")), "holds no arrays."),
    "two": (npz(("a\nb.npy", npy(VALUES)), ("c.npy", npy(VALUES))), r"holds 2 arrays: a\nb, c. Write dataset.key=NAME."),
    "many": (npz(*((f"{'n' * 99}{i}.npy", b"") for i in range(5000))), "holds 5000 arrays: nnn"),
    "more than it says": (npz(("a.npy", npy(VALUES) + bytes(2**26))), "cannot be read (it has 67109056 bytes instead of the 192 of its header)"),
    "less than it says": (npz(("a.npy", npy(VALUES)[:-1])), "cannot be read (it has 191 bytes instead of the 192 of its header)"),
    "encrypted": (patched(8, 1), "cannot be read (File 'a.npy' is encrypted"),
    "a method of tomorrow": (patched(10, 99), "cannot be read (That compression method is not supported)"),
    "another method": (patched(10, zipfile.ZIP_LZMA), "cannot be read ("),
    "half": (npz(("a.npy", npy(VALUES)))[:90], "cannot be read (File is not a zip file)"),
}  # fmt: skip


@pytest.mark.parametrize("case", ARCHIVES)
def test_archives(tmp_path: Path, case: str) -> None:
    content, message = ARCHIVES[case]
    file = tmp_path / "a.npz"
    file.write_bytes(content)
    source = Array(path=str(file))
    if message is None:
        assert np.array_equal(source.load().data.numpy(), VALUES)
    else:
        text = refusal(source)
        assert text.startswith(f"dataset.path={file}: ")
        assert message in text
    assert list(tmp_path.iterdir()) == [file]


# bombs


def npz_bomb(folder: Path) -> Source:
    (folder / "a.npz").write_bytes(in_archive(npy(np.zeros((2**12, 2**12), np.uint8))))
    return Array(path=str(folder / "a.npz"))


def gz_bomb(folder: Path) -> Source:
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    packed = gzip.compress(idx(30_000, 28, 28))
    for part in ("train", "t10k"):
        (raw / f"{part}-images-idx3-ubyte.gz").write_bytes(packed)
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(idx(4))
    return MNIST(root=str(folder), download=False)


def gz_bomb_behind(folder: Path) -> Source:
    """Bytes after the last image are not unpacked."""
    source = gz_bomb(folder)
    packed = gzip.compress(idx(4, 28, 28) + bytes(2**26))
    (folder / "MNIST" / "raw" / "train-images-idx3-ubyte.gz").write_bytes(packed)
    return source


def mat_bomb(folder: Path) -> Source:
    """Write a file whose header claims more images than the memory holds."""
    content = kinds()["mat"].content
    end = 136 + int.from_bytes(content[132:136], "little")
    n = 5000
    part = content[128:end].replace(
        struct.pack("<4i", 32, 32, 3, 2), struct.pack("<4i", 32, 32, 3, n)
    )
    part = part.replace(struct.pack("<II", 2, 2 * 3072), struct.pack("<II", 2, n * 3072))
    packed = zlib.compress(part + np.random.default_rng(0).bytes(n * 3072))
    for split in ("train", "test"):
        (folder / f"{split}_32x32.mat").write_bytes(
            content[:128] + struct.pack("<II", 15, len(packed)) + packed
        )
    return SVHN(root=str(folder), download=False)


def header_bomb(folder: Path) -> Source:
    content = header(" " * 2**26, version=(2, 0))
    (folder / "a.npz").write_bytes(in_archive(content))
    return Array(path=str(folder / "a.npz"))


def label_bomb(folder: Path) -> Source:
    """Labels, of which none is followed by a picture."""
    (folder / "cifar-10-batches-py").mkdir()
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        (folder / "cifar-10-batches-py" / name).write_bytes(
            b"U\x06labels" + b"K\x01" * 10**6 + b"."
        )
    return CIFAR10(root=str(folder), download=False)


@pytest.mark.parametrize(
    "bomb", [npz_bomb, gz_bomb, gz_bomb_behind, mat_bomb, header_bomb, label_bomb]
)
def test_files_that_unpack_to_more_than_memory_holds_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bomb: Callable[[Path], Source]
) -> None:
    monkeypatch.setattr("aeframe.data.memory_map._measure_free_memory", lambda: 10 * 2**20)
    source = bomb(tmp_path)
    tracemalloc.start()
    try:
        assert "cannot be read (" in refusal(source)
        assert tracemalloc.get_traced_memory()[1] < 5 * 2**20
    finally:
        tracemalloc.stop()


def test_the_memory_that_is_left_is_known() -> None:
    from aeframe.data import memory_map as mapped

    assert mapped._measure_free_memory() > 2**20
    with pytest.raises(MemoryError, match=r"GiB of memory, but only .* GiB are free"):
        mapped.allocate((2**62,), np.dtype(np.uint8))


# pickles


class Bomb:
    """Whoever unpickles it makes a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.file), "w")


def object_array(bomb: Bomb) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([[bomb, bomb]], object), allow_pickle=True)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["npy", "npz", "pickle.npy", *range(pickle.HIGHEST_PROTOCOL + 1)])
def test_no_pickle_is_executed(tmp_path: Path, kind: str | int) -> None:
    bomb, folder = Bomb(tmp_path / "went off"), tmp_path / "data"
    pickle.loads(pickle.dumps(bomb)).close()
    assert bomb.file.exists(), "it would work"
    bomb.file.unlink()
    source: Source
    if isinstance(kind, int):
        source = kinds()["cifar"].place(folder_of(folder), "data_batch_1")[1]
        content = pickle.dumps({b"labels": [bomb], b"data": bomb}, kind)
        for file in (folder / "cifar-10-batches-py").iterdir():
            file.write_bytes(content)
    else:
        content = pickle.dumps(bomb) if kind.startswith("pickle") else object_array(bomb)
        file = folder_of(folder) / f"a.{kind.rpartition('.')[2]}"
        file.write_bytes(in_archive(content) if kind == "npz" else content)
        source = Array(path=str(file))
    refusal(source)
    assert not bomb.file.exists()


def folder_of(path: Path) -> Path:
    path.mkdir()
    return path


def test_a_batch_with_a_bomb_beside_its_images_is_refused(tmp_path: Path) -> None:
    file, source = kinds()["cifar"].place(tmp_path, "data_batch_1")
    whole = pickle.dumps(
        {b"labels": [3], b"data": np.zeros((1, 3072), np.uint8), b"x": Bomb(tmp_path / "ran")}
    )
    file.write_bytes(whole)
    assert "data_batch_1: cannot be read (its checksum" in refusal(source)
    assert not (tmp_path / "ran").exists()


def test_every_operation_of_a_pickle_is_one_line_or_nothing(tmp_path: Path) -> None:
    file, source = kinds()["cifar"].place(tmp_path, "data_batch_1")
    for operation in pickletools.opcodes:
        for argument in (b"", b"\xff" * 8, b"'\\d'\n", b"9" * 5000 + b"\n"):
            file.write_bytes(operation.code.encode("latin-1") + argument)
            assert "data_batch_1: cannot be read" in refusal(source)
            file.write_bytes(batch(2)[:2] + operation.code.encode("latin-1") + argument)
            assert "data_batch_1: cannot be read" in refusal(source)


# numbers that a network cannot take


SPREAD: dict[str, tuple[np.ndarray, str]] = {
    "too wide": (np.array([-3e38, 3e38]), "goes from -3e+38 to 3e+38"),
    "too small": (np.array([0, 1e-300]), "every value of the training data is 0 in float32"),
    "too near": (np.array([1, 1 + 1e-12]), "every value of the training data is 1 in float32"),
    "flushed to zero": (np.array([0, 1e-40]), "every value of the training data is 0 in float32"),
    "more than float32": (np.array([0, 1e39]), "holds NaN, infinity or values beyond float32"),
}


@pytest.mark.parametrize("case", SPREAD)
@pytest.mark.parametrize("normalization", ["unit", "standard"])
def test_numbers_that_float32_cannot_tell_apart_or_reach(
    tmp_path: Path, case: str, normalization: str
) -> None:
    values, message = SPREAD[case]
    np.save(tmp_path / "a.npy", np.resize(values, (20, 3)))
    source = Array(path=str(tmp_path / "a.npy"))
    with pytest.raises(UserError) as caught:
        DataModule(source=source, seed=0, normalization=normalization).setup()  # type: ignore[arg-type]
    assert message in str(caught.value)


def test_held_out_values_that_are_out_of_reach(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.resize([0, 1e-30], (20, 3)))
    np.save(tmp_path / "b.npy", np.full((4, 3), 1e30))
    source = Array(path=str(tmp_path / "a.npy"), test_path=str(tmp_path / "b.npy"))
    with pytest.raises(UserError, match=r"goes from 0 to 1e-30, all data to 1e\+30"):
        DataModule(source=source, seed=0).setup()


def test_features_that_do_not_vary_are_no_obstacle_until_all_of_them_are(tmp_path: Path) -> None:
    values = np.tile([5.0, 1e-300, 7.0], (20, 1))
    np.save(tmp_path / "a.npy", values)
    source = Array(path=str(tmp_path / "a.npy"))
    with pytest.raises(UserError, match="every feature of the training data is constant"):
        DataModule(source=source, seed=0, normalization="standard").setup()
    values[:, 1] *= np.arange(20)
    values[:, 2] += np.arange(20)
    np.save(tmp_path / "a.npy", values)
    made = DataModule(source=source, seed=0, normalization="standard")
    made.setup()
    x = made.peek("train", 20)
    assert np.isfinite(x.numpy()).all()
    assert float(x[:, 2].std()) == pytest.approx(1, rel=0.1)
    assert float(x[:, :2].abs().max()) == 0
