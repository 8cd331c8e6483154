"""Samples from a folder of image files."""

from __future__ import annotations

from dataclasses import dataclass, replace

from aeframe.core.errors import Problem
from aeframe.data.augmentation import Change
from aeframe.data.images.image_reader import Color, Fit, ImageReader
from aeframe.data.images.image_source import SKIP, Folder, Side
from aeframe.data.pairs import list_lone_splits, pair
from aeframe.data.source import Raw, Shape


@dataclass(kw_only=True, eq=False)
class ImageFolder(Folder):
    """The images of a folder, each as one sample.

    fit: `crop` scales the short side and takes the middle, `resize` scales both sides. target: a folder with
    what the network is to write for each image, if not the image itself: images of the same names below it,
    in any format. test_target: that of test_root. target_size, target_color: of the targets; None: as of the
    images. Other options: see Folder.
    """

    fit: Fit = "crop"
    target: str | None = None
    test_target: str | None = None
    target_size: Side | None = None
    target_color: Color | None = None

    def description(self) -> str:
        return "Image folder"

    @property
    def has_target(self) -> bool:
        return self.target is not None

    def target_shape(self) -> Shape | None:
        return None if self.target is None else self._make_target().shape()

    def _make_target(self) -> ImageFolder:
        """Make the source of the targets."""
        own = replace(self, root=self.target, test_root=self.test_target)
        own.size, own.color = self.target_size or self.size, self.target_color or self.color
        own.target = own.test_target = own.target_size = own.target_color = None
        own.named, own.beside = {"root": "target", "test_root": "test_target"}, self
        return own

    def load(self) -> Raw:
        raw = super().load()
        return raw if self.target is None else pair(raw, self._make_target().load())

    def problems(self) -> list[Problem]:
        found = super().problems()
        if self.target is None:
            what, remedy = "has no effect without targets", "Write dataset.target=FOLDER."
            for key in ("test_target", "target_size", "target_color"):
                if (value := getattr(self, key)) is not None:
                    found.append(Problem(f"dataset.{key}={value}", what, remedy))
            return found
        if self.on_bad_sample == "skip":
            what = "would leave out samples without their targets"
            found.append(Problem(SKIP, what, "Write dataset.on_bad_sample=error."))
        if found:
            return found
        own = self._make_target()
        return [*own.problems(), *list_lone_splits(self.roots, own.roots, own.named)]

    @property
    def reader(self) -> ImageReader:
        return ImageReader((self.size, self.size), self.fit, self.color)

    @property
    def recipe(self) -> str:
        return f"{self.size} {self.fit} {self.color}"

    @property
    def suited_changes(self) -> tuple[Change, ...]:
        # gray images are often digits, text or scans, which a flip would falsify; on photographs "color"
        # changed the error by -3 to +1 %, flips and crops by -15 to -3 %
        return ("flip", "crop") if self.color == "rgb" else ()
