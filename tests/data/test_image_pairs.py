"""Folders of images with folders of targets: matched by name, and every mistake in one line."""
# ruff: noqa: E501 (the table keeps each message on one line)

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aeframe.core.errors import UserError
from aeframe.data import DataModule, ImageFolder

COUNT, SIDE = 12, 16


def write(folder: str, change: Callable[[np.ndarray], np.ndarray], ending: str = "png") -> None:
    """Write images in two class folders: a level of gray for each file, changed."""
    for i in range(COUNT):
        file = Path(folder, "ab"[i % 2], f"{i:02d}.{ending}")
        file.parent.mkdir(parents=True, exist_ok=True)
        level = np.full((SIDE, SIDE, 3), 10 * i, np.uint8)
        level[:, : SIDE // 2] += 5
        Image.fromarray(change(level)).save(file)


@pytest.fixture(autouse=True)
def _folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write("noisy", lambda level: level + 3)
    write("clean", lambda level: level, "bmp")


def set_up(**options: object) -> DataModule:
    given = {"root": "noisy", "target": "clean", "size": SIDE, "cache": None, **options}
    own = {k: given.pop(k) for k in ("augment",) if k in given}
    data = DataModule(source=ImageFolder(**given), seed=0, batch_size=4, **own)  # type: ignore[arg-type]
    data.setup()
    return data


@pytest.mark.parametrize("cache", [None, "cache"])
def test_images_are_matched_by_name_whatever_their_format(cache: str | None) -> None:
    Image.new("RGB", (4, 4)).save("clean/a/extra.png")  # no image beside it
    data, seen = set_up(cache=cache, augment="auto"), 0
    for split in ("train", "val", "test"):
        for batch in data.make_loader(split, training=split == "train"):
            assert batch.target is not None
            assert batch.x.shape == batch.target.shape == (len(batch.x), 3, SIDE, SIDE)
            np.testing.assert_array_equal(batch.x.numpy(), batch.target.numpy() + 3)
            seen += len(batch.x)
    assert seen == COUNT
    assert data.spec.classes == ("a", "b")
    assert data.augmentation.changes == ("flip", "crop")


def test_one_folder_gives_gray_images_and_colors_of_twice_the_size() -> None:
    data = set_up(
        root="clean", color="gray", target_color="rgb", target_size=2 * SIDE, augment="auto"
    )
    batch = data.splits["train"][0:3]
    assert batch.target is not None
    assert batch.x.shape == (3, 1, SIDE, SIDE)
    assert batch.target.shape == (3, 3, 2 * SIDE, 2 * SIDE)
    assert abs(int(batch.x[1, 0, 0, 0]) - int(batch.target[1, 0, 0, 0])) <= 1
    assert data.augmentation.changes == ()
    assert data.spec.target is not None
    assert data.spec.target.shape == (3, 2 * SIDE, 2 * SIDE)


def test_a_test_folder_has_targets_of_its_own() -> None:
    write("late", lambda level: level + 1)
    write("goal", lambda level: level * 2)
    batch = set_up(test_root="late", test_target="goal").splits["test"][0:COUNT]
    assert batch.target is not None
    np.testing.assert_array_equal(batch.target.numpy(), (batch.x.numpy() - 1) * 2)


def lack() -> None:
    Path("clean/a/04.bmp").unlink()
    Path("clean/b/05.bmp").unlink()


def double() -> None:
    Image.new("RGB", (4, 4)).save("clean/a/00.png")


def break_one() -> None:
    Path("clean/a/04.bmp").write_text("no image")


def empty() -> None:
    Path("none").mkdir()


BROKEN: dict[str, tuple[Callable[[], None], dict[str, object], str]] = {
    "missing": (
        lack,
        {},
        "dataset.target=clean: has no image for 2 of 12: a/04, b/05. Give each image in noisy a target of the same name, or take it out.",
    ),
    "two of one name": (
        double,
        {},
        "dataset.target=clean: has two images of one name: clean/a/00.bmp, clean/a/00.png. Keep one of them.",
    ),
    "no image": (break_one, {}, "dataset.target: 1 unreadable image(s): clean/a/04.bmp"),
    "no such folder": (
        empty,
        {"target": "gone"},
        "dataset.target=gone: no such folder. Write dataset.target=FOLDER.",
    ),
    "a file": (
        empty,
        {"target": "clean/a/00.bmp"},
        "dataset.target=clean/a/00.bmp: is a file, not a folder. Write dataset.target=FOLDER.",
    ),
    "empty": (
        empty,
        {"target": "none"},
        "dataset.target=none: contains no images, nor do its subfolders.",
    ),
    "other folders": (
        empty,
        {"target": "clean/a"},
        "dataset.target=clean/a: has no image for 12 of 12: a/00, a/02, a/04 and 9 more.",
    ),
    "no test target": (
        empty,
        {"test_root": "noisy"},
        "dataset.test_target: is missing: the targets of dataset.test_root=noisy. Write dataset.test_target=PATH.",
    ),
    "no test": (
        empty,
        {"test_target": "clean"},
        "dataset.test_target=clean: has targets without samples. Write dataset.test_root=PATH.",
    ),
    "no target": (
        empty,
        {"target": None, "target_size": 8},
        "dataset.target_size=8: has no effect without targets. Write dataset.target=FOLDER.",
    ),
    "skipped": (
        empty,
        {"on_bad_sample": "skip"},
        "dataset.on_bad_sample=skip: would leave out samples without their targets. Write dataset.on_bad_sample=error.",
    ),
    "moved": (
        empty,
        {"target_size": 8, "augment": ["crop"]},
        "dataset.augment=[crop]: moves images, but not their targets, which have another size.",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_folders_of_targets_are_refused_in_one_line(case: str) -> None:
    prepare, options, expected = BROKEN[case]
    prepare()
    source = {"root": "noisy", "target": "clean", **options}
    source.pop("augment", None)
    problems = list(map(str, ImageFolder(**source).problems()))  # type: ignore[arg-type]
    if not problems:
        with pytest.raises(UserError) as caught:
            set_up(**options)
        problems = [str(problem) for problem in caught.value.problems]
    (text,) = problems
    assert text.startswith(expected)
    assert len(text.splitlines()) == 1
