"""Augmentation of training images by random flips, shifts, brightness and contrast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from aeframe.core.errors import Problem
from aeframe.core.noise import Noise

Change = Literal["flip", "crop", "color"]
CHANGES: tuple[Change, ...] = ("flip", "crop", "color")

FARTHEST = 8  # a crop is shifted by at most this part of a side
BRIGHTNESS = 0.1  # largest change of brightness, as a share of the range of values
CONTRAST = 0.2  # largest change of the contrast's factor of 1
# training images, below which a folder of photographs is augmented by `auto`; in 3,000 steps of 32 images the
# error changed by -6 % with 1,000 images, 0 % with 3,200 and 2 % with 9,600
SMALL = 5_000


@dataclass(frozen=True)
class Augmentation:
    """Random changes of training images as they are stored, [B, C, H, W].

    changes: `flip` mirrors left and right, `crop` shifts by up to 1/8 of a side and reflects at the edges,
    `color` changes brightness and contrast. low, high: the range of stored values, which is kept. Targets are
    moved as their samples are.
    """

    changes: tuple[Change, ...] = ()
    low: float = 0.0
    high: float = 1.0

    def __call__(self, x: Tensor, noise: Noise) -> Tensor:
        """Return changed images: of the same dtype, or float32 where colors of integers change."""
        x = self.move(x, noise)
        return self._recolor(x, noise.derive_stream("color")) if "color" in self.changes else x

    def move(self, x: Tensor, noise: Noise) -> Tensor:
        """Shift and mirror each image by one lookup of its pixels; equal noise moves others equally."""
        if "flip" not in self.changes and "crop" not in self.changes:
            return x
        if x.dtype in (torch.uint16, torch.uint32, torch.uint64):  # torch cannot index by them
            x = x.float()
        count, channels, height, width = x.shape
        rows, columns = (
            torch.arange(side, device=x.device).expand(count, side) for side in (height, width)
        )
        if "crop" in self.changes:
            drawn = noise.derive_stream("crop").uniform((count, 2), x.device)
            rows = _shift(rows, drawn[:, :1])
            columns = _shift(columns, drawn[:, 1:])
        if "flip" in self.changes:
            is_flipped = noise.derive_stream("flip").uniform((count, 1), x.device) < 0.5
            columns = torch.where(is_flipped, columns.flip(1), columns)
        places = (rows[:, :, None] * width + columns[:, None]).view(count, 1, -1)
        return x.flatten(2).gather(2, places.expand(-1, channels, -1)).view_as(x)

    def _recolor(self, x: Tensor, noise: Noise) -> Tensor:
        x = x if x.is_floating_point() else x.float()
        drawn = noise.uniform((len(x), 2, 1, 1), x.device).to(x.dtype) * 2 - 1
        contrast = 1 + CONTRAST * drawn[:, :1]
        brightness = BRIGHTNESS * (self.high - self.low) * drawn[:, 1:]
        mean = x.mean((1, 2, 3), keepdim=True)
        return torch.addcmul(mean * (1 - contrast) + brightness, x, contrast).clamp_(
            self.low, self.high
        )


def _shift(places: Tensor, drawn: Tensor) -> Tensor:
    """Shift the places of a side's pixels, [B, side], by numbers drawn from [0, 1), [B, 1]."""
    side = places.shape[1]
    farthest = side // FARTHEST
    moved = places + (drawn * (2 * farthest + 1)).long() - farthest
    return side - 1 - (side - 1 - moved.abs()).abs()


def choose_changes(
    wanted: Sequence[Change] | Literal["auto"], suited: Sequence[Change], samples: int
) -> tuple[Change, ...]:
    """Choose the changes; `auto`: those that suit the source, if it has few training samples."""
    if wanted == "auto":
        return tuple(suited) if samples < SMALL else ()
    return tuple(change for change in CHANGES if change in wanted)


def check_changes(
    wanted: Sequence[Change] | Literal["auto"],
    shape: tuple[int, ...],
    target: tuple[int, ...] | None = None,
) -> Problem | None:
    """Return the problem of augmenting samples of this shape, or None. target: the shape of their targets."""
    if wanted == "auto" or not wanted:
        return None
    where = f"dataset.augment=[{','.join(wanted)}]"
    if len(shape) != 3:
        kind = {1: "vectors", 2: "signals"}.get(len(shape), "volumes")
        return Problem(where, f"needs images, and these are {kind}", "Write dataset.augment=[].")
    if not can_move(shape, target):
        what = "moves images, but not their targets, which have another size"
        return Problem(where, what, "Write dataset.augment=[].")
    if target is not None and "color" in wanted:
        what = "changes the colors of images, but not of their targets"
        return Problem(where, what, "Write dataset.augment=[flip,crop].")
    return None


def can_move(shape: tuple[int, ...], target: tuple[int, ...] | None) -> bool:
    """Check whether the pixels of samples and of targets, with these shapes, can be moved alike."""
    return target is None or (len(shape) == len(target) == 3 and shape[1:] == target[1:])
