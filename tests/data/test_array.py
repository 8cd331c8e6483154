"""Arrays of any kind in files, and what is refused."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch

from aeframe.config.node import to_plain
from aeframe.core.errors import TrainingError, UserError
from aeframe.data import Array, DataModule
from aeframe.runs import model_file as artifact
from aeframe.training.build import build


def setup(path: Path, **options: object) -> DataModule:
    keys = {k: options.pop(k) for k in ("layout", "key", "test_path") if k in options}
    source = Array(path=str(path), **keys)  # type: ignore[arg-type]
    made = DataModule(source=source, seed=0, **options)  # type: ignore[arg-type]
    made.setup()
    return made


@pytest.mark.parametrize(
    ("shape", "layout", "expected"),
    [
        ((30, 7), "auto", (7,)),
        ((30, 8, 6), "auto", (1, 8, 6)),
        ((30, 8, 6, 3), "auto", (3, 8, 6)),
        ((30, 3, 8, 6), "auto", (3, 8, 6)),
        ((30, 3, 8, 4), "chw", (3, 8, 4)),
        ((30, 8, 6, 5), "hwc", (5, 8, 6)),
        ((30, 8, 6, 3), "flat", (144,)),
        ((30, 2, 2, 2, 2), "flat", (16,)),
        ((30, 3, 128), "flat", (384,)),
        ((30, 3, 128), "gray", (1, 3, 128)),
        ((30, 1, 8, 6), "gray", (1, 8, 6)),
        ((30, 8, 6, 1), "gray", (1, 8, 6)),
        ((30, 40, 150), "auto", (1, 40, 150)),
    ],
)
def test_layouts(
    tmp_path: Path, shape: tuple[int, ...], layout: str, expected: tuple[int, ...]
) -> None:
    values = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    np.save(tmp_path / "a.npy", values)
    source = Array(path=str(tmp_path / "a.npy"), layout=layout)  # type: ignore[arg-type]
    assert source.problems() == []
    assert source.shape() == expected
    made = setup(tmp_path / "a.npy", layout=layout)
    assert made.spec.shape == expected
    first = made.splits["train"].raw.data[0]
    channels_last = len(shape) == 4 and expected[0] == shape[-1] and layout != "flat"
    wanted = values[0].transpose(2, 0, 1) if channels_last else values[0]
    assert np.array_equal(first.numpy().ravel(), wanted.ravel())


@pytest.mark.parametrize(
    ("layout", "shape", "expected", "words"),
    [
        ("cl", (4, 2, 50), (2, 50), "signals of 50, 2 channels first"),
        ("lc", (4, 50, 2), (2, 50), "signals of 50, 2 channels last"),
        ("cl", (4, 1, 50), (1, 50), "signals of 50"),
        ("auto", (4, 2, 5, 6, 7), (2, 5, 6, 7), "volumes of 5 x 6 x 7, 2 channels first"),
        ("auto", (4, 5, 6, 7, 3), (3, 5, 6, 7), "volumes of 5 x 6 x 7, 3 channels last"),
        ("cdhw", (4, 1, 6, 7, 3), (1, 6, 7, 3), "volumes of 6 x 7 x 3"),
        ("dhwc", (4, 6, 7, 3, 2), (2, 6, 7, 3), "volumes of 6 x 7 x 3, 2 channels last"),
    ],
)
def test_signals_and_volumes_are_normalized_by_channel(
    tmp_path: Path, layout: str, shape: tuple[int, ...], expected: tuple[int, ...], words: str
) -> None:
    values = np.random.default_rng(0).normal(3, 2, shape).astype(np.float32)
    np.save(tmp_path / "a.npy", values)
    source = Array(path=str(tmp_path / "a.npy"), layout=layout)  # type: ignore[arg-type]
    assert source.problems() == []
    assert source.description() == f"Array of {words}"
    made = setup(tmp_path / "a.npy", layout=layout, normalization="standard")
    assert made.spec.shape == expected
    assert made.normalization.shift.shape == (expected[0], *[1] * (len(expected) - 1))
    first = values if words.endswith("last") is False else np.moveaxis(values, -1, 1)
    rows = made.splits["train"].index.numpy()
    wanted = first[rows].swapaxes(0, 1).reshape(expected[0], -1)
    assert np.allclose(made.normalization.shift.flatten(), wanted.mean(1), atol=1e-5)
    assert np.allclose(made.normalization.scale.flatten(), wanted.std(1), atol=1e-5)
    assert made.spec.nouns == ("sample", "value")


@pytest.mark.parametrize(
    ("layout", "shape"),
    [("cl", (4, 9)), ("chw", (4, 2, 9)), ("lc", (4, 2, 9, 9)), ("dhwc", (4, 2, 9, 9))],
)
def test_layouts_of_other_axes_are_refused(
    tmp_path: Path, layout: str, shape: tuple[int, ...]
) -> None:
    np.save(tmp_path / "a.npy", np.zeros(shape, np.float32))
    (problem,) = Array(path=str(tmp_path / "a.npy"), layout=layout).problems()  # type: ignore[arg-type]
    assert problem.what == f"has shape {shape}, which dataset.layout={layout} cannot be"


@pytest.mark.parametrize("sides", [(3, 128), (1, 128), (128, 9), (1, 8), (12, 5000), (32, 128)])
def test_signals_with_channels_are_no_images_unless_it_is_said(
    tmp_path: Path, sides: tuple[int, int]
) -> None:
    np.save(tmp_path / "a.npy", np.zeros((4, *sides), np.float32))
    (problem,) = Array(path=str(tmp_path / "a.npy")).problems()
    assert problem.what.startswith(f"has shape {(4, *sides)}: signals of several channels")
    assert "dataset.layout=flat for signals, dataset.layout=gray for images" in problem.remedy
    for layout in ("flat", "gray"):
        assert Array(path=str(tmp_path / "a.npy"), layout=layout).problems() == []  # type: ignore[arg-type]


def test_signals_that_were_read_as_images_once_are_encoded_and_evaluated_still(
    compose: Callable[..., Any], verb: Callable[..., Any], tmp_path: Path
) -> None:
    t = np.arange(40)
    waves = [[np.sin(t / 7 * f + k) for k in range(3)] for f in np.linspace(0.5, 2, 30)]
    np.save(tmp_path / "a.npy", np.array(waves, np.float32))
    words = ("dataset=array", f"dataset.path={tmp_path / 'a.npy'}", "network.widths=[]")
    node = to_plain(compose(*words, "dataset.layout=gray"))
    built = build(node)
    node["dataset"]["layout"] = "auto"  # as it was written then
    (tmp_path / "m").mkdir()
    artifact.save(tmp_path / "m", built.net, built.node, built.data, {})
    for words in (("encode", "m", "a.npy", "--out", "z.npy"), ("evaluate", "m")):
        status, _, err = verb(*words)
        assert status == 0, err
    assert np.load(tmp_path / "z.npy").shape == (30, 16)


@pytest.mark.parametrize(
    ("shape", "layout", "said"),
    [
        ((30, 7), "auto", "vectors of 7 numbers"),
        ((30, 3, 128), "flat", "vectors of 384 numbers (3 x 128 in a row)"),
        ((30, 8, 6), "auto", "gray images of 8 x 6"),
        ((30, 8, 6, 3), "auto", "images of 8 x 6, 3 channels last"),
        ((30, 3, 8, 6), "auto", "images of 8 x 6, 3 channels first"),
    ],
)
def test_the_layout_is_said(tmp_path: Path, shape: tuple[int, ...], layout: str, said: str) -> None:
    np.save(tmp_path / "a.npy", np.zeros(shape, np.float32))
    source = Array(path=str(tmp_path / "a.npy"), layout=layout)  # type: ignore[arg-type]
    assert source.description() == f"Array of {said}"


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("ending", ["npy", "npz"])
def test_bfloat16_is_read_as_it_is(tmp_path: Path, order: str, ending: str) -> None:
    values = torch.randn(30, 4, generator=torch.Generator().manual_seed(0)).bfloat16()
    bits = np.asarray(values.view(torch.uint16).numpy(), order=order)  # type: ignore[call-overload]
    content = {
        "descr": "<V2",
        "fortran_order": order == "F",
        "shape": (30, 4),
    }  # as ml_dtypes has it
    file = tmp_path / "a.npy"
    with file.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, content)
        stream.write(bits.tobytes("A"))
    if ending == "npz":
        with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
            archive.write(file, "a.npy")
    made = setup(tmp_path / f"a.{ending}", normalization="none")
    raw = made.splits["train"].raw
    assert raw.data.dtype == torch.bfloat16
    assert torch.equal(raw.data, values)
    assert made.spec.dtype == torch.float32
    for batch in made.make_loader("val"):
        assert batch.x.dtype == torch.float32
        assert torch.equal(batch.x, values[batch.row.long()].float())


def test_two_bytes_of_no_type_may_be_bfloat16(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((9, 4), "V2"))
    (problem,) = Array(path=str(tmp_path / "a.npy")).problems()
    assert problem.what == "holds |V2, not numbers"
    remedy = "If they are bfloat16, save x.view(ml_dtypes.bfloat16).astype('float32')."
    assert problem.remedy == remedy


@pytest.mark.parametrize(
    "dtype",
    [
        "u1",
        "i1",
        "<u2",
        ">u2",
        "<i4",
        ">i4",
        "<u4",
        "<u8",
        "<i8",
        "<f2",
        ">f4",
        "<f4",
        "<f8",
        ">f8",
        "?",
    ],
)
@pytest.mark.parametrize("order", ["C", "F"])
def test_any_number_in_any_byte_order(tmp_path: Path, dtype: str, order: str) -> None:
    values = np.asarray((np.arange(120).reshape(20, 6) % 7).astype(dtype), order=order)  # type: ignore[call-overload]
    np.save(tmp_path / "a.npy", values)
    made = setup(tmp_path / "a.npy", normalization="none", batch_size=4)
    for batch in made.make_loader("val"):
        assert np.array_equal(
            made.normalization(batch.x).numpy(), values[batch.row].astype(np.float32)
        )


@pytest.mark.parametrize("ending", ["npy", "npz"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["u1", "<f4", ">f4", "?", "longdouble"])
@pytest.mark.parametrize(
    ("shape", "layout"), [((9, 4), "auto"), ((9, 5, 4, 3), "auto"), ((9, 5, 4, 3), "flat")]
)
def test_numbers_come_in_their_order(
    tmp_path: Path, shape: tuple[int, ...], layout: str, dtype: str, order: str, ending: str
) -> None:
    values = np.arange(np.prod(shape)).reshape(shape)
    stored = np.asarray(values % 251, dtype=dtype, order=order)  # type: ignore[call-overload]
    file = tmp_path / f"a.{ending}"
    np.save(file, stored) if ending == "npy" else np.savez(file, stored)
    raw = Array(path=str(file), layout=layout).load()  # type: ignore[arg-type]
    wanted = stored.transpose(0, 3, 1, 2) if len(shape) == 4 and layout == "auto" else stored
    for data in (raw.data, raw.copy_to_memory().data):
        assert np.array_equal(data.numpy(), wanted.reshape(data.shape))
    assert raw.copy_to_memory().data.is_contiguous()
    assert raw.copy_to_memory().mapping is None
    flat_fortran = layout == "flat" and order == "F"
    stays = ending == "npy" and dtype in ("u1", "<f4", "?") and not flat_fortran
    assert (raw.mapping is not None) == stays


def test_a_copy_to_memory_leaves_the_test_split_in_its_file(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(5000, 512))  # more than two chunks
    np.save(tmp_path / "a.npy", values)
    np.save(tmp_path / "b.npy", values[:300] + 1)
    raw = Array(path=str(tmp_path / "a.npy"), test_path=str(tmp_path / "b.npy")).load()
    assert raw.test is not None
    assert raw.nbytes == raw.data.nbytes
    raw.release()
    copied = raw.copy_to_memory()
    assert copied.test is not None
    assert copied.mapping is None
    assert copied.test.mapping is not None
    assert np.array_equal(copied.data.numpy(), values)
    assert np.array_equal(copied.test.data.numpy(), values[:300] + 1)
    assert copied.copy_to_memory().data is copied.data
    assert copied.nbytes == raw.nbytes
    assert torch.equal(torch.cat([chunk for _, chunk in raw.read_chunks()]), copied.data)
    assert [start for start, _ in raw.read_chunks()] == [0, 2048, 4096]


def test_mapped_data_goes_to_other_processes(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((20, 4)))
    raw = Array(path=str(tmp_path / "a.npy")).load()
    assert torch.equal(pickle.loads(pickle.dumps(raw)).data, raw.data)


@pytest.mark.parametrize("ending", ["npy", "npz"])
def test_a_file_that_is_cut_off_is_named(tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"a.{ending}"
    for order in ("C", "F"):
        array = np.ones((20, 3, 4), ">f4", order)  # type: ignore[call-overload]
        np.save(file, array) if ending == "npy" else np.savez(file, array)
        file.write_bytes(file.read_bytes()[:-200])
        with pytest.raises(UserError, match="cannot be read"):
            Array(path=str(file)).load()


def test_a_header_that_promises_too_much_is_named(tmp_path: Path) -> None:
    for shape in ((2**40, 2**20), (2**62, 2**62), (2**33, 2)):
        for dtype in ("<f4", ">f4"):
            with (tmp_path / "a.npy").open("wb") as stream:
                header = {"shape": shape, "fortran_order": False, "descr": dtype}
                np.lib.format.write_array_header_1_0(stream, header)
                stream.write(b"1234")
            with pytest.raises(UserError, match="cannot be read"):
                Array(path=str(tmp_path / "a.npy")).load()


def test_a_damaged_archive_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", np.ones((50, 40)))
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[8000] ^= 1
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(UserError, match="cannot be read"):
        Array(path=str(tmp_path / "a.npz")).load()


def test_a_file_is_mapped_and_never_written(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.random.default_rng(0).normal(size=(50, 4)))
    before = (tmp_path / "a.npy").read_bytes()
    made = setup(tmp_path / "a.npy")
    made.splits["train"].raw.data[0] = 99.0  # a private copy of the page
    assert (tmp_path / "a.npy").read_bytes() == before


def test_normalizations_are_those_of_the_training_split(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(5, 3, size=(200, 4)) * [1, 10, 0, 1e-3] + 1e4
    np.save(tmp_path / "a.npy", values)
    made = setup(tmp_path / "a.npy", normalization="standard")
    rows = made.splits["train"].index.numpy()
    mean, deviation = values[rows].mean(0), values[rows].std(0)
    deviation[2] = 1  # a constant feature
    assert np.allclose(made.normalization.shift.numpy(), mean, rtol=1e-6)
    assert np.allclose(made.normalization.scale.numpy()[:3], deviation[:3], rtol=1e-4)
    made = setup(tmp_path / "a.npy", normalization="unit")
    low, high = values[rows].min(), values[rows].max()
    assert made.normalization.shift.item() == pytest.approx(low)
    assert made.normalization.scale.item() == pytest.approx(high - low, rel=1e-4)
    x = torch.tensor(values[:3])
    assert torch.allclose(made.normalization.inverse(made.normalization(x)), x.float())


def test_standard_of_images_is_per_channel(tmp_path: Path) -> None:
    values = (
        np.random.default_rng(0).normal(size=(60, 3, 5, 4))
        * np.array([1, 2, 3])[None, :, None, None]
    )
    np.save(tmp_path / "a.npy", values)
    made = setup(tmp_path / "a.npy", normalization="standard", layout="chw")
    kept = values[made.splits["train"].index.numpy()]
    assert made.normalization.shift.shape == (3, 1, 1)
    assert np.allclose(made.normalization.scale.numpy().ravel(), kept.std((0, 2, 3)), rtol=1e-5)
    normalized = made.normalization(torch.tensor(kept))
    assert made.spec.low <= normalized.min() + 1e-5
    assert made.spec.high >= normalized.max() - 1e-5


def test_bytes_are_0_to_255_whatever_occurs(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.resize(np.uint8([51, 51, 51, 51, 102]), (20, 4)))
    made = setup(tmp_path / "a.npy")
    assert made.peek("train", 20).unique().tolist() == pytest.approx([0.2, 0.4])


def test_npz_and_a_test_file(tmp_path: Path) -> None:
    train, test = np.random.default_rng(0).normal(size=(2, 20, 4))
    np.savez(tmp_path / "a.npz", train=train, test=test)
    np.save(tmp_path / "t.npy", test)
    made = setup(tmp_path / "a.npz", key="train", test_path=str(tmp_path / "t.npy"))
    assert {k: len(v) for k, v in made.splits.items()} == {"train": 18, "val": 2, "test": 20}


def save(path: Path, values: object) -> Path:
    np.save(path, values)  # type: ignore[arg-type]
    return path


REFUSED = {
    "objects": (
        lambda p: save(p / "a.npy", np.array([{}, {}], dtype=object)),
        "holds object, not numbers",
    ),
    "text": (lambda p: save(p / "a.npy", np.array([["a", "b"]])), "holds <U1, not numbers"),
    "complex": (
        lambda p: save(p / "a.npy", np.ones((3, 2), complex)),
        "holds complex128, not numbers",
    ),
    "empty": (lambda p: save(p / "a.npy", np.ones((0, 3))), "has shape (0, 3)"),
    "one axis": (lambda p: save(p / "a.npy", np.ones(3)), "has shape (3,)"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_before_anything_is_loaded(tmp_path: Path, case: str) -> None:
    make, message = REFUSED[case]
    path = make(tmp_path)
    (problem,) = Array(path=str(path)).problems()
    assert problem.where == f"dataset.path={path}"
    assert problem.what.startswith(message)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"not an array"])
def test_no_array_at_all(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    (problem,) = Array(path=str(tmp_path / "a.npy")).problems()
    assert problem.what.startswith("cannot be read")


def test_other_mistakes(tmp_path: Path) -> None:
    def first(**options: str) -> str:
        return str(Array(**options).problems()[0])  # type: ignore[arg-type]

    assert first() == "dataset.path: no file given. Write dataset.path=FILE.npy."
    assert "no such file" in first(path="/nowhere.npy")
    many = first(path="acts/*.npy")
    assert many.endswith("For many files write dataset=shards dataset.path='acts/*.npy'.")
    (tmp_path / "a.txt").write_text("1 2")
    assert "is neither .npy nor .npz" in first(path=str(tmp_path / "a.txt"))
    np.savez(tmp_path / "two.npz", x=np.ones((3, 2)), y=np.ones((3, 2)))
    assert "holds 2 arrays: x, y. Write dataset.key=NAME." in first(path=str(tmp_path / "two.npz"))
    assert "dataset.key=z: is not among" in first(path=str(tmp_path / "two.npz"), key="z")
    np.save(tmp_path / "a.npy", np.ones((9, 2, 2, 2, 2)))
    assert "dataset.layout=hwc cannot be" in first(path=str(tmp_path / "a.npy"), layout="hwc")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused_with_their_row(tmp_path: Path, value: float) -> None:
    values = np.random.default_rng(0).normal(size=(40, 3))
    values[:] = np.where(np.arange(40)[:, None] == 17, value, values)
    np.save(tmp_path / "a.npy", values)
    made = DataModule(
        source=Array(path=str(tmp_path / "a.npy")), seed=0, val_fraction=0.05, test_fraction=0.05
    )
    with pytest.raises(
        UserError, match=r"sample 17 \(from 0\) holds NaN, infinity or values beyond"
    ):
        made.setup()


def refusal(tmp_path: Path, values: np.ndarray) -> str:
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(UserError) as caught:
        setup(tmp_path / "a.npy")
    return str(caught.value).partition("a.npy: ")[2]


def test_columns_of_nan_are_named_where_dropping_rows_would_leave_none(tmp_path: Path) -> None:
    values, kind = (
        np.random.default_rng(0).normal(size=(4000, 300)),
        "NaN, infinity or values beyond",
    )
    values[:, 3] = np.nan  # in all of two chunks
    said = refusal(tmp_path, values)
    assert said.startswith(f"column 3 (from 0) holds {kind} float32 in every sample.")
    assert said.endswith("Drop it: x = numpy.delete(x, [3], axis=1).")
    values[:2500, 7] = np.inf
    assert f"columns 3, 7 (from 0) hold {kind}" in refusal(tmp_path, values)
    assert "in most samples. Drop them: x = numpy.delete(x, [3, 7]" in refusal(tmp_path, values)
    values = np.random.default_rng(0).normal(size=(40, 30))
    values[3, 1] = values[9, 2] = np.nan
    said = refusal(tmp_path, values)
    assert said.startswith(
        "sample 3 (from 0) holds NaN, infinity or values beyond float32 in column 1 (2 of "
        "40 samples do)."
    )
    assert said.endswith("Remove such samples or replace the values before training.")
    values[np.arange(40), np.arange(40) % 30] = np.nan  # everywhere some
    assert "(40 of 40 samples do). Replace the values" in refusal(tmp_path, values)


def test_constant_data_and_unlike_test_samples_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((40, 3)))
    np.save(tmp_path / "b.npy", np.ones((40, 4)))
    with pytest.raises(UserError, match="every value of the training data is 1"):
        setup(tmp_path / "a.npy")
    np.save(tmp_path / "a.npy", np.random.default_rng(0).normal(size=(40, 3)))
    source = Array(path=str(tmp_path / "a.npy"), test_path=str(tmp_path / "b.npy"))
    (problem,) = source.problems()
    assert problem.where == f"dataset.test_path={tmp_path / 'b.npy'}"
    assert problem.what == "holds floats of shape (4,), dataset.path holds floats of shape (3,)"


def test_a_file_that_is_written_into_meanwhile_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "a.npy"
    np.save(file, np.arange(200, dtype=np.float32).reshape(50, 4))
    made = DataModule(source=Array(path=str(file)), seed=0, in_memory=False, num_workers=0)
    made.setup()
    assert len(list(made.make_loader("val"))) == 1
    np.save(file, np.zeros((50, 4), np.float32))
    with pytest.raises(TrainingError, match=r"dataset.path=.*was changed while it was in use"):
        list(made.make_loader("val"))


def test_a_file_that_is_replaced_meanwhile_stays_what_it_was(tmp_path: Path) -> None:
    file, other = tmp_path / "a.npy", tmp_path / "b.npy"
    np.save(file, np.arange(200, dtype=np.float32).reshape(50, 4))
    made = DataModule(source=Array(path=str(file)), seed=0, in_memory=False, num_workers=0)
    made.setup()
    np.save(other, np.zeros((50, 4), np.float32))
    other.replace(file)
    (batch,) = made.make_loader("val")
    assert float(batch.x.sum()) > 0


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(40, 6), (40, 5, 4, 3)])
def test_another_process_gets_the_place_and_not_the_numbers(
    tmp_path: Path, shape: tuple[int, ...], order: Literal["C", "F"]
) -> None:
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    np.save(tmp_path / "a.npy", np.asarray(values, order=order))
    raw = Array(path=str(tmp_path / "a.npy")).load()
    if raw.mapping is None:
        pytest.skip("this order is read")
    sent = pickle.dumps(raw)
    assert len(sent) < 1500
    again = pickle.loads(sent)
    assert again.mapping is not None
    assert torch.equal(again.data, raw.data)
    assert again.data.stride() == raw.data.stride()


def test_more_than_memory_holds_can_be_mapped(tmp_path: Path) -> None:
    lines = Path("/proc/meminfo").read_text().splitlines() if Path("/proc/meminfo").exists() else []
    sizes = [int(line.split()[1]) * 1024 for line in lines if line.startswith(("MemTotal", "Swap"))]
    rows = 2 * sum(sizes) // 4096 or 1000
    file = tmp_path / "a.npy"
    header = io.BytesIO()
    described = {"descr": "|u1", "fortran_order": False, "shape": (rows, 4096)}
    np.lib.format.write_array_header_1_0(header, described)
    file.write_bytes(header.getvalue())
    try:
        os.truncate(file, len(header.getvalue()) + rows * 4096)  # a hole, which takes no room
    except OSError:
        pytest.skip("this file system has no files of that size")
    raw = Array(path=str(file)).load()
    assert len(raw.data) == rows
    assert int(raw.data[rows - 1, -1]) == 0
