"""Samples cut from photographs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
from PIL import Image

from aeframe.bounds import AtLeast
from aeframe.data.folder import Folder, OnBadSample, Side
from aeframe.data.images import Color, pixels_of
from aeframe.noise import mix


class PhotoCrops(Folder):
    """Square pieces of every image of a folder, at their own resolution.

    size: height and width of a piece. crops_per_image: pieces of each image, at random places that follow
    from the file's name and do not change with the seed. Training, validation and test data are of different
    images: val_fraction and test_fraction are shares of the images, chosen by the seed; the images of
    test_root are for the test alone. The other options and what becomes of the images: see Folder.
    """

    def __init__(
        self,
        *,
        root: str | None = None,
        test_root: str | None = None,
        size: Side = 64,
        crops_per_image: Annotated[int, AtLeast(1)] = 100,
        color: Color = "rgb",
        cache: str | None = "auto",
        on_bad_sample: OnBadSample = "error",
    ) -> None:
        super().__init__(
            root=root,
            test_root=test_root,
            size=size,
            color=color,
            cache=cache,
            on_bad_sample=on_bad_sample,
            per_image=crops_per_image,
        )

    @property
    def recipe(self) -> str:
        return f"{self.per_image} crops of {self.size} {self.color}"

    def samples(self, image: Image.Image, file: Path) -> np.ndarray:
        width, height = image.size
        if min(width, height) < self.size:
            raise ValueError(
                f"of {width} x {height} pixels, it has no room for crops of {self.size}"
            )
        pixels, size = pixels_of(image, self.color), self.size
        random = np.random.default_rng(mix("crops", file.name))
        corners = random.integers((height - size + 1, width - size + 1), size=(self.per_image, 2))
        return np.stack([pixels[:, y : y + size, x : x + size] for y, x in corners])
