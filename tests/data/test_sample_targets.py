"""Targets beside the samples: aligned rows, a normalization of their own, and every mistake in one line."""
# ruff: noqa: E501 (the table keeps each message on one line)

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from aeframe.core.errors import UserError
from aeframe.core.noise import Noise
from aeframe.data import Array, DataModule
from aeframe.data.augmentation import Augmentation

N = 40
X = np.arange(N * 3, dtype=np.float32).reshape(N, 3) % 17
Y = np.stack([X[:, 0] * 2, X[:, 1] - 50], 1)  # follow from their samples


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", X)
    np.save("y.npy", Y)
    np.savez("both.npz", noisy=X, clean=Y)


def set_up(**options: object) -> DataModule:
    given = {"path": "x.npy", "target": "y.npy", **options}
    own = {k: given.pop(k) for k in ("in_memory", "normalization", "augment") if k in given}
    data = DataModule(source=Array(**given), seed=0, batch_size=8, **own)  # type: ignore[arg-type]
    data.setup()
    return data


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"in_memory": False},
        {"path": "both.npz", "key": "noisy", "target": "clean"},
    ],
    ids=["memory", "map", "one archive"],
)
def test_each_sample_keeps_its_target(options: dict[str, object]) -> None:
    data = set_up(**options)
    seen = 0
    for split in ("train", "val", "test"):
        for batch in data.make_loader(split, training=split == "train"):
            assert batch.target is not None
            np.testing.assert_array_equal(batch.x.numpy(), X[batch.row.long()])
            np.testing.assert_array_equal(batch.target.numpy(), Y[batch.row.long()])
            seen += len(batch.x)
    assert seen == N


def test_official_splits_have_targets_of_their_own() -> None:
    np.save("x2.npy", X[:5])
    np.save("y2.npy", Y[:5])
    test = set_up(test_path="x2.npy", test_target="y2.npy").splits["test"][0:9]
    assert test.target is not None
    np.testing.assert_array_equal(test.target.numpy(), Y[:5])


def test_targets_have_a_normalization_of_the_same_kind_of_their_own() -> None:
    data = set_up(normalization="standard")
    assert data.target_normalization is not None
    rows = data.splits["train"].index.long()
    train = Y[rows.numpy()]
    np.testing.assert_allclose(data.target_normalization.shift, train.mean(0), rtol=1e-5)
    np.testing.assert_allclose(data.target_normalization.scale, train.std(0), rtol=1e-5)
    np.testing.assert_allclose(data.normalization.shift, X[rows.numpy()].mean(0), rtol=1e-5)
    assert data.spec.target is not None
    assert data.spec.target.shape == (2,)
    assert data.spec.target.normalization == data.spec.normalization == "standard"
    goals = data.peek_targets("train", 99)
    assert goals is not None
    torch.testing.assert_close(goals.mean(0), torch.zeros(2), atol=1e-5, rtol=0)


def test_data_without_targets_says_nothing_of_them() -> None:
    data = set_up(target=None)
    assert data.splits["train"][0:2].target is None
    assert data.peek_targets("train", 3) is None
    assert "target" not in data.as_dict()


def test_the_digest_tells_other_targets() -> None:
    before = set_up().as_dict()["digest"]
    np.save("y.npy", Y[::-1])
    assert set_up().as_dict()["digest"] != before
    assert set_up(target=None).as_dict()["digest"] != before


def test_images_and_targets_are_moved_alike() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(16, 1, 8, 8, generator=generator)
    augmentation, noise = Augmentation(("flip", "crop")), Noise(0, "augment")
    moved = augmentation(x, noise)
    assert not torch.equal(moved, x)
    assert torch.equal(augmentation.move(torch.cat([x, -x, 2 * x], 1), noise)[:, 1:2], -moved)


@pytest.mark.parametrize(
    ("shape", "augment", "chosen"),
    [
        ((N, 1, 8, 8), "auto", ()),  # an array says nothing of what suits it
        ((N, 1, 8, 8), ["flip"], ("flip",)),
        ((N, 3, 8, 8), ["crop", "flip"], ("flip", "crop")),
    ],
)
def test_moves_suit_targets_of_one_size(
    shape: tuple[int, ...], augment: object, chosen: tuple[str, ...]
) -> None:
    generator = np.random.default_rng(0)
    np.save("x.npy", generator.random((N, 1, 8, 8), np.float32))
    np.save("y.npy", generator.random(shape, np.float32))
    assert set_up(augment=augment).augmentation.changes == chosen


MOVED = "dataset.augment=[flip]: moves images, but not their targets, which have another size. Write dataset.augment=[]."
COLORED = "dataset.augment=[flip,color]: changes the colors of images, but not of their targets. Write dataset.augment=[flip,crop]."
ALIKE = "Give one target for each sample, in the same order."
BROKEN: dict[str, tuple[dict[str, object], str]] = {
    "shorter": (
        {"target": Y[:7]},
        f"dataset.target=t.npy: holds 7 targets, but dataset.path=x.npy holds 40 samples. {ALIKE}",
    ),
    "no such file": (
        {"target": "none.npy"},
        "dataset.target=none.npy: no such file. Write dataset.target=FILE.npy.",
    ),
    "a folder": (
        {"target": "f.npy"},
        "dataset.target=f.npy: is a folder. Write dataset.target=FILE.npy.",
    ),
    "text": (
        {"target": np.array(["a"] * N)},
        "dataset.target=t.npy: holds <U1, not numbers. Save it with a dtype of integers or floats.",
    ),
    "one number": (
        {"target": np.zeros(N)},
        "dataset.target=t.npy: has shape (40,). Give at least one sample, samples first: [N, D] or images.",
    ),
    "gaps": (
        {"target": np.where(Y[3] == Y, np.nan, Y)},
        "dataset.target=t.npy: sample 3 (from 0) holds NaN, infinity or values beyond float32 in column 0",
    ),
    "constant": (
        {"target": np.ones((N, 2), np.float32)},
        "dataset.target=t.npy: every value of the training data is 1 in float32. Use data that varies.",
    ),
    "cut": (
        {"target": "cut.npy"},
        "dataset.target=cut.npy: cannot be read (it has 200 bytes instead of the 448 of its header). Save the array again.",
    ),
    "a table": (
        {"target": "t.csv.npz"},
        "dataset.target=t.csv.npz: cannot be read (File is not a zip file). Save plain numbers with numpy.save.",
    ),
    "several arrays": (
        {"target": "both.npz"},
        "dataset.target=both.npz: holds 2 arrays: noisy, clean. Write dataset.key=NAME.",
    ),
    "another name": (
        {"path": "both.npz", "key": "noisy", "target": "dirty"},
        "dataset.target=dirty: is not among the arrays of both.npz: noisy, clean. Write one of these.",
    ),
    "no archive": (
        {"target": "clean"},
        "dataset.target=clean: no such file. Write dataset.target=FILE.npy.",
    ),
    "a CSV file": ({"target": "clean.csv"}, "dataset.target=clean.csv: is neither .npy nor .npz."),
    "a split without": (
        {"val_path": "x.npy"},
        "dataset.val_target: is missing: the targets of dataset.val_path=x.npy. Write dataset.val_target=PATH.",
    ),
    "a split too many": (
        {"test_target": "y.npy"},
        "dataset.test_target=y.npy: has targets without samples. Write dataset.test_path=PATH.",
    ),
    "splits alone": (
        {"target": None, "test_target": "y.npy"},
        "dataset.test_target=y.npy: has no effect without targets of the training data. Write dataset.target=FILE.npy.",
    ),
    "another split": (
        {"val_path": "x.npy", "val_target": "x.npy"},
        "dataset.val_target=x.npy: holds floats of shape (3,), dataset.target holds floats of shape (2,). Give each split the shape and the scale of the training data.",
    ),
    "a short split": (
        {"val_path": "x.npy", "val_target": Y[:9]},
        f"dataset.val_target=t.npy: holds 9 targets, but dataset.val_path=x.npy holds 40 samples. {ALIKE}",
    ),
    "larger images": (
        {
            "path": "image.npy",
            "target": np.random.default_rng(0).random((N, 16, 16)),
            "augment": ["flip"],
        },
        MOVED,
    ),
    "colors": ({"path": "image.npy", "target": "image.npy", "augment": ["flip", "color"]}, COLORED),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_targets_are_refused_in_one_line(case: str) -> None:
    options, expected = BROKEN[case]
    np.save("image.npy", np.random.default_rng(1).random((N, 8, 8), np.float32))
    Path("f.npy").mkdir()
    Path("cut.npy").write_bytes(Path("y.npy").read_bytes()[:200])
    Path("t.csv.npz").write_text("a,b\n1,2\n")
    Path("clean.csv").write_text("a,b\n1,2\n")
    given = {}
    for key, value in options.items():
        if isinstance(value, np.ndarray):
            np.save("t.npy", value)
        given[key] = "t.npy" if isinstance(value, np.ndarray) else value
    source = {
        k: v for k, v in {"path": "x.npy", "target": "y.npy", **given}.items() if k != "augment"
    }
    problems = list(map(str, Array(**source).problems()))  # type: ignore[arg-type]
    if not problems:
        with pytest.raises(UserError) as caught:
            set_up(**given)
        problems = [str(problem) for problem in caught.value.problems]
    (text,) = problems
    assert text.startswith(expected)
    assert len(text.splitlines()) == 1
