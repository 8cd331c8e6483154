"""Augmentation: random changes of training images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from aeframe.core.errors import UserError
from aeframe.core.noise import Noise
from aeframe.data import Array, DataModule, Digits, ImageFolder
from aeframe.data.augmentation import CHANGES, SMALL, Augmentation, choose_changes
from tests.support.resumed import unlike

Command = Callable[..., tuple[int, str, str]]
FOLDER = (
    *("dataset=image_folder", "dataset.root=photos", "dataset.size=16", "dataset.batch_size=8"),
    *("network.widths=[]", "trainer.max_epochs=2", "dashboard.images=0", "evaluation.images=8"),
)


@pytest.fixture
def images() -> Tensor:
    return torch.randint(0, 256, (64, 3, 16, 24), generator=torch.Generator().manual_seed(0)).byte()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of 24 images in two classes."""
    random = np.random.default_rng(0)
    for i in range(24):
        file = tmp_path / "photos" / "ab"[i % 2] / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (16, 16, 3)).astype(np.uint8)).save(file)
    return tmp_path / "photos"


def change(x: Tensor, *changes: str, **where: int) -> Tensor:
    augment = Augmentation(changes, 0, 255)  # type: ignore[arg-type]
    return augment(x, Noise(0, "train", 3, 5, **where))


def test_no_change_returns_the_images_themselves(images: Tensor) -> None:
    assert change(images) is images


def test_half_of_the_images_are_flipped(images: Tensor) -> None:
    found = change(images, "flip")
    assert found.dtype == torch.uint8
    flipped = (found == images.flip(3)).flatten(1).all(1)
    assert torch.equal(found[~flipped], images[~flipped])
    assert 20 < int(flipped.sum()) < 44


def test_a_crop_is_shifted_by_up_to_an_eighth_and_reflected_at_the_edges(images: Tensor) -> None:
    found, shifts = change(images, "crop").numpy(), set()
    padded = np.pad(images.numpy(), ((0, 0), (0, 0), (2, 2), (3, 3)), mode="reflect")
    for i, image in enumerate(found):
        (place,) = (
            (dy, dx)
            for dy in range(5)
            for dx in range(7)
            if (padded[i, :, dy : dy + 16, dx : dx + 24] == image).all()
        )
        shifts.add(place)
    assert {dy for dy, _ in shifts} == set(range(5))
    assert {dx for _, dx in shifts} == set(range(7))


def test_colors_stay_in_the_range_of_the_data(images: Tensor) -> None:
    found = change(images, "color")
    assert found.dtype == torch.float32
    assert (found.min(), found.max()) == (0, 255)
    plain = torch.full((500, 1, 2, 2), 100.0)
    level = change(plain, "color")  # without contrast, brightness alone is left
    assert torch.equal(level, level[:, :, :1, :1].expand_as(level))
    assert 74.5 <= level.min() < 76
    assert 124 < level.max() <= 125.5
    edges = torch.tensor([100.0, 150.0]).view(1, 1, 1, 2).expand(500, 1, 1, 2)
    contrast = change(edges, "color").diff(dim=3) / 50
    assert 0.8 <= contrast.min() < 0.81
    assert 1.19 < contrast.max() <= 1.2001


def test_one_change_does_not_alter_the_numbers_of_another(images: Tensor) -> None:
    both = change(change(images, "crop"), "flip")
    assert torch.equal(change(images, "crop", "flip"), both)
    assert torch.equal(change(images, *CHANGES), change(both, "color"))


@pytest.mark.parametrize("dtype", [torch.uint16, torch.int32, torch.float32, torch.float64])
def test_any_type_of_pixels_can_be_changed(images: Tensor, dtype: torch.dtype) -> None:
    expected = change(images, *CHANGES)
    assert torch.allclose(change(images.to(dtype), *CHANGES).float(), expected, atol=1e-3)


def test_two_processes_see_the_changes_of_one(images: Tensor) -> None:
    whole = change(images[:63], *CHANGES, rows=63)
    for rank in range(2):
        own = change(images[:63][rank::2], *CHANGES, rank=rank, world=2, rows=63)
        assert torch.equal(own, whole[rank::2])


def test_auto_changes_few_images_of_a_source_that_suits() -> None:
    assert choose_changes("auto", CHANGES, SMALL - 1) == CHANGES
    assert choose_changes("auto", CHANGES, SMALL) == ()
    assert choose_changes("auto", (), 10) == ()
    assert choose_changes(["color", "flip", "flip"], (), 10**6) == ("flip", "color")
    assert ImageFolder(root="photos").suited_changes == ("flip", "crop")
    assert ImageFolder(root="photos", color="gray").suited_changes == ()
    assert Digits().suited_changes == ()


def test_vectors_cannot_be_augmented(aeframe: Command, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(20, 5)))
    source = Array(path=str(tmp_path / "x.npy"))
    with pytest.raises(UserError) as raised:
        DataModule(source=source, seed=0, augment=["flip"]).setup()
    told = "dataset.augment=[flip]: needs images, and these are vectors. Write dataset.augment=[]."
    assert str(raised.value) == told
    words = ("dataset=array", "dataset.path=x.npy", "model.latent_dim=2", "dataset.augment=[flip]")
    assert aeframe(*words) == (2, "", f"aeframe: {told}\n")


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("['turn']", "entry 1: expected one of flip, crop, color."),
        ("flip", "expected a list or auto. Write [A,B,...]."),
        ("null", "expected a list or auto. Write [A,B,...]."),
    ],
)
def test_other_words_are_refused(aeframe: Command, photos: Path, word: str, told: str) -> None:
    status, _, err = aeframe(*FOLDER, f"dataset.augment={word}")
    assert (status, err) == (2, f"aeframe: dataset.augment={word}: {told}\n")


def test_auto_is_printed_saved_and_the_same_in_every_way_of_training(
    aeframe: Command, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, out, err = aeframe(*FOLDER, "hydra.run.dir=run")
    assert (status, err) == (0, "")
    (chosen,) = (line for line in out.splitlines() if line.startswith("Chosen for this data: "))
    assert "dataset.augment=[flip,crop]" in chosen
    assert out.count("dataset.augment") == 1
    last = torch.load(Path("run/checkpoints/last.ckpt"), weights_only=True)
    assert last["hyper_parameters"]["dataset"]["augment"] == ["flip", "crop"]
    # the steps of one epoch, then those of the other
    begun = ("hydra.run.dir=parts", "resume=auto", *FOLDER)
    assert aeframe(*begun, "trainer.max_epochs=1")[0] == 0
    status, out, _ = aeframe(*begun)
    assert (status, "Resuming at step 3 (epoch 1 of 2)." in out.splitlines()) == (0, True)
    assert unlike(Path("run"), Path("parts")) == []
    other = ("dataset.in_memory=false", "dataset.num_workers=1", "trainer.steps_per_call=1")
    assert aeframe(*FOLDER, *other, "hydra.run.dir=other")[0] == 0
    weights = torch.load(Path("other/checkpoints/last.ckpt"), weights_only=True)["state_dict"]
    assert all(torch.equal(value, last["state_dict"][key]) for key, value in weights.items())


def test_a_run_of_a_version_without_augmentation_resumes_without(
    aeframe: Command, photos: Path
) -> None:
    begun = (*FOLDER, "hydra.run.dir=run", "resume=auto", "dataset.augment=[]")
    assert aeframe(*begun, "trainer.max_epochs=1")[0] == 0
    for file in Path("run/checkpoints").glob("*.ckpt"):
        state = torch.load(file, weights_only=True)
        del state["hyper_parameters"]["dataset"]["augment"]
        torch.save(state, file)
    status, out, err = aeframe(*begun[:-1])
    assert (status, err) == (0, "")
    assert "flip" not in out
    assert aeframe(*FOLDER, "dataset.augment=[]", "hydra.run.dir=whole")[0] == 0
    found = [
        torch.load(Path(run, "checkpoints/last.ckpt"), weights_only=True)["state_dict"]
        for run in ("run", "whole")
    ]
    assert all(torch.equal(value, found[1][key]) for key, value in found[0].items())


def test_only_training_samples_are_changed(
    aeframe: Command, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def count(self: Augmentation, x: Tensor, noise: Noise) -> Tensor:
        seen.append(len(x))
        return x

    monkeypatch.setattr(Augmentation, "__call__", count)
    assert aeframe(*FOLDER, "hydra.run.dir=run")[0] == 0
    assert seen == [8, 8, 4] * 2  # of 24 images 2 are for validation and 2 for the test
