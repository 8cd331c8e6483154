"""Samples cropped from photographs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
from PIL import Image

from aeframe.core.bounds import AtLeast, AtMost
from aeframe.core.noise import mix_seed
from aeframe.data.images.image_reader import ImageReader
from aeframe.data.images.image_source import Folder


@dataclass(kw_only=True, eq=False)
class PhotoCrops(Folder):
    """Square crops of the images of a folder, at full resolution.

    size: height and width of a crop. crops_per_image: crops from each image, at random places that depend on
    the name of the file and not on the seed. Training, validation and test crops come from different images:
    val_fraction and test_fraction are shares of the images, chosen by the seed. The images of test_root are
    used for the test only. Other options: see Folder.
    """

    crops_per_image: Annotated[int, AtLeast(1), AtMost(10**6)] = 100

    def description(self) -> str:
        return "Crops of photographs"

    @property
    def per_image(self) -> int:
        return self.crops_per_image

    @property
    def reader(self) -> ImageReader:
        return CropReader(None, "crop", self.color, side=self.size, count=self.per_image)

    @property
    def recipe(self) -> str:
        return f"{self.per_image} crops of {self.size} {self.color}"


@dataclass(frozen=True)
class CropReader(ImageReader):
    """Reader of square crops of each image, uint8 [count, C, side, side]."""

    side: int = field(kw_only=True)
    count: int = field(kw_only=True)

    def convert(self, image: Image.Image, file: Path) -> np.ndarray:
        width, height = image.size
        if min(width, height) < self.side:
            raise ValueError(f"its {width} x {height} pixels are too few for crops of {self.side}")
        pixels, side = super().convert(image, file), self.side
        random = np.random.default_rng(mix_seed("crops", file.name))
        corners = random.integers((height - side + 1, width - side + 1), size=(self.count, 2))
        return np.stack([pixels[:, y : y + side, x : x + side] for y, x in corners])
