"""Crops of photographs: their own pixels, the same in every run, no photograph in two splits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import DictConfig
from PIL import Image

from aeframe.config.check import check
from aeframe.core.errors import UserError
from aeframe.data import DataModule, ImageFolder, PhotoCrops, Raw

SIDE = 6


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Six photographs of different sizes; red is the photograph's number, the others say where."""
    root = tmp_path / "photos"
    root.mkdir()
    for i in range(6):
        height, width = 10 + i, 12
        rows, columns = np.mgrid[:height, :width]
        pixels = np.stack([np.full_like(rows, i), rows, columns], 2).astype(np.uint8)
        Image.fromarray(pixels).save(root / f"{i}.png")
    return root


def source(root: Path, **options: object) -> PhotoCrops:
    given = {"size": SIDE, "crops_per_image": 7, **options}
    return PhotoCrops(root=str(root), **given)  # type: ignore[arg-type]


def load(root: Path, **options: object) -> Raw:
    found = source(root, **options)
    assert found.problems() == []
    raw = found.load()
    assert tuple(raw.data.shape[1:]) == found.shape()
    return raw


@pytest.mark.parametrize("cache", ["auto", None])
def test_crops_are_the_photographs_own_pixels(photos: Path, cache: str | None) -> None:
    raw = load(photos, cache=cache)
    assert raw.data.shape == (6 * 7, 3, SIDE, SIDE)
    assert raw.together == 7
    number, row, column = raw.data.unbind(1)
    assert number.flatten(1).unique(dim=1).flatten().tolist() == [
        i for i in range(6) for _ in range(7)
    ]
    corner = torch.stack([row[:, 0, 0], column[:, 0, 0]], 1).int()
    steps = torch.arange(SIDE)
    assert torch.equal(row.int(), (corner[:, :1] + steps)[:, :, None].expand(-1, -1, SIDE).int())
    assert torch.equal(column.int(), (corner[:, 1:] + steps)[:, None].expand(-1, SIDE, -1).int())
    assert len(corner.unique(dim=0)) > 10


def test_they_are_the_same_in_every_run_and_other_ones_with_other_options(photos: Path) -> None:
    first = load(photos).data.clone()
    assert torch.equal(first, load(photos).data)  # from the cache
    assert torch.equal(first, load(photos, cache=None).data)
    assert load(photos, crops_per_image=3).data.shape[0] == 18
    assert load(photos, size=8).data.shape[2:] == (8, 8)
    gray = load(photos, color="gray").data
    assert gray.shape == (42, 1, SIDE, SIDE)


def test_no_photograph_is_in_two_splits(photos: Path) -> None:
    data = DataModule(
        source=source(photos), seed=3, val_fraction=0.2, test_fraction=0.3, shuffle=False
    )
    data.setup()
    seen = {
        name: set(samples[:].x[:, 0].flatten().tolist()) for name, samples in data.splits.items()
    }
    assert [len(numbers) for numbers in seen.values()] == [3, 1, 2]
    assert set.union(*seen.values()) == set(range(6))
    assert {name: len(samples) for name, samples in data.splits.items()} == {
        "train": 21,
        "val": 7,
        "test": 14,
    }


def test_a_folder_of_its_own_for_the_test(photos: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (photos / "5.png").rename(other / "5.png")
    data = DataModule(source=source(photos, test_root=str(other)), seed=0)
    data.setup()
    assert set(data.splits["test"][:].x[:, 0].flatten().tolist()) == {5}
    assert len(data.splits["train"]) == 4 * 7


def test_classes_label_every_crop(photos: Path) -> None:
    for name in ("even", "odd"):
        (photos / name).mkdir()
    for i in range(6):
        (photos / f"{i}.png").rename(photos / ("odd" if i % 2 else "even") / f"{i}.png")
    raw = load(photos)
    assert raw.labels is not None
    assert torch.equal(raw.data[:, 0, 0, 0].long() % 2, raw.labels)


def test_a_photograph_that_is_too_small_is_named_or_left_out(photos: Path) -> None:
    Image.new("RGB", (30, 5)).save(photos / "small.png")
    with pytest.raises(UserError) as caught:
        source(photos).load()
    assert (
        "small.png cannot be read as an image (its 30 x 5 pixels are too few for crops of 6)"
        in str(caught.value)
    )
    assert len(load(photos, on_bad_sample="skip").data) == 42


def test_too_few_photographs_for_three_splits(tmp_path: Path) -> None:
    for i in range(2):
        Image.new("RGB", (9, 9), (i, 0, 0)).save(tmp_path / f"{i}.png")
    with pytest.raises(UserError, match="to train on: of 2, validation takes 1"):
        DataModule(source=source(tmp_path), seed=0).setup()


def test_other_samples_are_split_one_by_one(photos: Path) -> None:
    assert ImageFolder(root=str(photos), size=4).load().together == 1


def test_the_experiment_on_photographs_is_complete(
    photos: Path, compose: Callable[..., DictConfig]
) -> None:
    chosen = [f"dataset.{name}={photos}" for name in ("root", "test_root")]
    check(compose("experiment=compress_photos", *chosen))
