"""Classes: which samples are used, and the labels of array files."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from aeframe.core.errors import UserError
from aeframe.data import Array, DataModule, Digits, ImageFolder, PhotoCrops, Source
from aeframe.data.classes import name_labels
from aeframe.data.source import Raw

Command = Callable[..., tuple[int, str, str]]


def make(source: Source, **options: object) -> DataModule:
    data = DataModule(source=source, seed=0, **options)  # type: ignore[arg-type]
    data.setup()
    return data


def used(data: DataModule) -> set[str]:
    """The names of the classes in all splits."""
    found = set[str]()
    for samples in data.splits.values():
        names = name_labels(samples.raw)
        assert names is not None
        found |= {names[row] for row in samples.index.tolist()}
    return found


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of 30 images in the classes ant, bee and cat."""
    random = np.random.default_rng(0)
    for i in range(30):
        file = tmp_path / "photos" / ("ant", "bee", "cat")[i % 3] / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (20, 20, 3)).astype(np.uint8)).save(file)
    return tmp_path / "photos"


def test_chosen_classes_alone_are_used(photos: Path) -> None:
    source = ImageFolder(root=str(photos), size=8)
    assert used(make(source)) == {"ant", "bee", "cat"}
    data = make(source, only=["cat", "bee"])
    assert used(data) == {"bee", "cat"}
    assert {name: len(rows) for name, rows in data.splits.items()} == {
        "train": 16,
        "val": 2,
        "test": 2,
    }
    assert used(make(source, exclude=["ant"])) == {"bee", "cat"}
    assert used(make(source, only=["ant", "bee"], exclude=["ant"])) == {"bee"}
    assert data.spec.classes == ("ant", "bee", "cat")


def test_crops_of_an_image_stay_together(photos: Path) -> None:
    data = make(PhotoCrops(root=str(photos), size=8, crops_per_image=5), only=["ant"])
    assert used(data) == {"ant"}
    images = {name: {row // 5 for row in rows.index.tolist()} for name, rows in data.splits.items()}
    assert sum(map(len, images.values())) == len(set.union(*images.values())) == 10


def test_classes_without_names_are_numbers() -> None:
    data = make(Digits(), only=[3, "7"])
    assert used(data) == {"3", "7"}
    assert sum(map(len, data.splits.values())) == 362


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            {"only": ["bea"]},
            "dataset.only=[bea]: no class is called bea. Did you mean bee? The classes are ant, bee, cat.",
        ),
        (
            {"exclude": ["x", "ant"]},
            "dataset.exclude=[x,ant]: no class is called x. The classes are ant, bee, cat.",
        ),
        (
            {"exclude": ["ant", "bee", "cat"]},
            "dataset.exclude: leaves no samples. The classes are ant, bee, cat.",
        ),
        ({"only": []}, "dataset.only: leaves no samples. The classes are ant, bee, cat."),
    ],
)
def test_mistakes_name_the_classes(photos: Path, options: dict[str, object], told: str) -> None:
    with pytest.raises(UserError) as raised:
        make(ImageFolder(root=str(photos), size=8), **options)
    assert str(raised.value) == told


def test_classes_need_labels(aeframe: Command, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(40, 9)).astype(np.float32))
    words = ("dataset=array", "dataset.path=x.npy", "model.latent_dim=2", "dataset.only=[a]")
    told = (
        "dataset.only=[a]: needs labels, which this data does not have. Put images into one subfolder "
        "for each class, or name labels by dataset.labels."
    )
    assert aeframe(*words) == (2, "", f"aeframe: {told}\n")


def test_classes_of_a_table_need_a_column(aeframe: Command, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(
        "a,b,c\n" + "".join(f"{n},{n % 7},{n % 11}\n" for n in range(60))
    )
    told = (
        "dataset.only=[1]: needs labels, which this data does not have. Name the column of classes: "
        "dataset.label=COLUMN."
    )
    words = ("dataset=table", "dataset.path=x.csv", "dataset.only=[1]")
    assert aeframe(*words) == (2, "", f"aeframe: {told}\n")


def test_a_test_folder_has_the_class_numbers_of_training(tmp_path: Path, photos: Path) -> None:
    for i, name in enumerate(("cat", "dog")):
        file = tmp_path / "held" / name / "0.png"
        file.parent.mkdir(parents=True)
        Image.new("RGB", (8, 8), (i, 0, 0)).save(file)
    source = ImageFolder(root=str(photos), test_root=str(tmp_path / "held"), size=8)
    data = make(source)
    assert data.spec.classes == ("ant", "bee", "cat", "dog")
    test = data.splits["test"].raw
    assert test.labels is not None
    assert test.labels.tolist() == [2, 3]
    assert len(make(source, only=["ant", "cat"]).splits["test"]) == 1


X = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)


def labelled(folder: Path, labels: np.ndarray, **options: object) -> Raw:
    np.savez(folder / "x.npz", x=X, y=labels)
    source = Array(path=str(folder / "x.npz"), key="x", labels="y", **options)  # type: ignore[arg-type]
    assert source.problems() == []
    return source.load()


@pytest.mark.parametrize(
    ("labels", "classes", "numbers"),
    [
        (np.array([7, 3, 7, 3, 10, 3]), ("3", "7", "10"), [1, 0, 1, 0, 2, 0]),
        (np.array(["b", "a", "b", "ü", "a", "a"]), ("a", "b", "ü"), [1, 0, 1, 2, 0, 0]),
        (np.array([b"b", b"a", b"b", b"a", b"a", b"a"]), ("a", "b"), [1, 0, 1, 0, 0, 0]),
        (np.array([[1.0], [0.0], [1.0], [0.0], [0.0], [0.0]]), ("0", "1"), [1, 0, 1, 0, 0, 0]),
        (np.array([True, False] * 3), ("False", "True"), [1, 0, 1, 0, 1, 0]),
    ],
)
def test_labels_of_an_archive(
    tmp_path: Path, labels: np.ndarray, classes: tuple[str, ...], numbers: list[int]
) -> None:
    raw = labelled(tmp_path, labels)
    assert raw.classes == classes
    assert raw.labels is not None
    assert (raw.labels.dtype, raw.labels.tolist()) == (torch.int64, numbers)


def test_labels_of_a_file_of_their_own(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", np.array([0, 1, 1, 0, 1, 0]))
    raw = Array(path=str(tmp_path / "x.npy"), labels=str(tmp_path / "y.npy")).load()
    assert raw.labels is not None
    assert raw.labels.tolist() == [0, 1, 1, 0, 1, 0]


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (np.arange(5), "has shape (5,), and there are 6 samples"),
        (np.linspace(0, 1, 6), "holds fractions, which are not labels"),
        (np.array([1.0, np.nan, 1, 1, 1, 1]), "holds fractions, which are not labels"),
        (np.array([{}] * 6, object), "holds object, which are not labels"),
        (np.zeros(6, complex), "holds complex128, which are not labels"),
    ],
)
def test_wrong_labels_are_refused(tmp_path: Path, labels: np.ndarray, told: str) -> None:
    with pytest.raises(UserError) as raised:
        labelled(tmp_path, labels)
    assert (
        str(raised.value)
        == f"dataset.labels=y: {told}. Save one whole number or text for each sample."
    )


def test_a_name_that_the_archive_lacks_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=X, labels=np.arange(6))
    source = Array(path=str(tmp_path / "x.npz"), key="x", labels="y")
    with pytest.raises(UserError, match=r"is not among the arrays of x\.npz: x, labels\."):
        source.load()
    np.save(tmp_path / "x.npy", X)
    with pytest.raises(
        UserError, match=r"is not an array of x\.npy\. Write dataset.labels=FILE\.npy"
    ):
        Array(path=str(tmp_path / "x.npy"), labels="y").load()


def test_labels_are_written_with_codes(
    aeframe: Command, verb: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    random = np.random.default_rng(0)
    x = (random.normal(size=(60, 2)) @ random.normal(size=(2, 8))).astype(np.float32)
    y = np.array(["left", "right"] * 30)
    np.savez(tmp_path / "x.npz", x=x, y=y)
    words = ("dataset=array", "dataset.path=x.npz", "dataset.key=x", "dataset.labels=y")
    short = (
        "model.latent_dim=2",
        "network.widths=[]",
        "trainer.max_epochs=1",
        "dashboard.images=0",
    )
    assert aeframe(*words, *short, "hydra.run.dir=run")[0] == 0
    for out in ("codes.npz", "codes.csv", "codes.npy"):
        assert verb("encode", "run", "x.npz", "--key", "x", "--out", out)[0] == 0
    codes = np.load("codes.npy")
    with np.load("codes.npz") as archive:
        assert archive["labels"].tolist() == y.tolist()
        assert (archive["z"] == codes).all()
    with open("codes.csv", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["label", "z0", "z1"]
    assert [row[0] for row in rows] == y.tolist()
    for name in ("codes.csv", "codes.npy"):
        assert verb("decode", "run", name, "--out", f"{name}_x.npy")[0] == 0
    assert (np.load("codes.csv_x.npy") == np.load("codes.npy_x.npy")).all()


@pytest.mark.parametrize("cache", [None, "cache"])
@pytest.mark.parametrize("options", [{"only": ["bee", "cat"]}, {"exclude": ["ant"]}])
def test_images_of_other_classes_are_not_decoded(
    photos: Path, tmp_path: Path, cache: str | None, options: dict[str, list[str]]
) -> None:
    """The samples keep their rows, which corruption and augmentation depend on."""
    folder = None if cache is None else str(tmp_path / cache)
    source = ImageFolder(root=str(photos), size=8, cache=folder)
    whole = make(source).splits["train"].raw.rows.select(torch.arange(30))
    before = make(source, **options)
    for file in (photos / "ant").iterdir():
        file.write_bytes(b"no image")
    again = ImageFolder(root=str(photos), size=8, cache=folder)
    data = make(again, **options)
    for name, samples in data.splits.items():
        torch.testing.assert_close(samples.index, before.splits[name].index, rtol=0, atol=0)
        chosen = samples.raw.rows.select(samples.index)
        torch.testing.assert_close(chosen, whole[samples.index.long()], rtol=0, atol=0)
    assert samples.raw.rows.select(torch.arange(10)).count_nonzero() == 0
    with pytest.raises(UserError, match="10 unreadable"):
        make(ImageFolder(root=str(photos), size=8, cache=folder))
