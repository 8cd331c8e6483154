"""Samples from folders of image files: the base of their sources."""

from __future__ import annotations

import hashlib
import os
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import compress
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import PIL
import torch

from aeframe.core.bounds import Above, AtLeast, AtMost
from aeframe.core.errors import Problem, UserError, describe_error
from aeframe.data.classes import is_chosen
from aeframe.data.images.brightness import Levels, measure_range
from aeframe.data.images.image_cache import CachedImages, Decoded, Images
from aeframe.data.images.image_listing import find_images, note_deeper_images
from aeframe.data.images.image_messages import (
    build_images_error,
    describe_skipped,
    note,
    note_levels,
    note_noticed,
)
from aeframe.data.images.image_pairs import match_images
from aeframe.data.images.image_reader import DECODER, Color, ImageReader, read_strictly
from aeframe.data.memory_map import Mapped, allocate, as_tensor
from aeframe.data.normalization.value_range import check_range
from aeframe.data.pairs import Names
from aeframe.data.source import ClassNames, Raw, Shape, Source
from aeframe.data.user_cache import find_user_cache

OnBadSample = Literal["error", "skip"]
SKIP = "dataset.on_bad_sample=skip"
OWN: Names = {"root": "root", "test_root": "test_root"}
Side = Annotated[int, AtLeast(1), AtMost(2**14)]
LARGEST = 2**16  # of max_megapixels
Megapixels = Annotated[float, Above(0), AtMost(LARGEST)]


@dataclass(kw_only=True, eq=False)
class Folder(Source):
    """Samples from the images of a folder or of its class subfolders, as bytes of C x size x size.

    root: the folder. test_root: a folder with the test split. size: height and width of a sample. color:
    `rgb` or `gray`.
    cache: the folder of the decoded samples, which are memory-mapped. `auto` is $XDG_CACHE_HOME/aeframe or
    ~/.cache/aeframe; None decodes into memory in each run.
    on_bad_sample: `skip` leaves out files that cannot be decoded; `error` ends the run.
    range: the values in the files that become 0 and 255. Without it, 16 bits have the range 0..65535. TIFFs
    of floats or 32-bit integers have one common range: from 0, or their lowest value if it is below, to the
    highest value of all. max_megapixels: larger images are refused; None: 89.5.
    Images are rotated by their EXIF entry and laid over white if transparent. The first frame of an animation
    and the first page of a TIFF are used. Color profiles are ignored.
    """

    root: str | None = None
    test_root: str | None = None
    size: Side = 64
    color: Color = "rgb"
    cache: str | None = "auto"
    on_bad_sample: OnBadSample = "error"
    range: list[float] | None = None
    max_megapixels: Megapixels | None = None
    named: Names = field(default_factory=lambda: OWN, init=False, repr=False)
    """The options by which messages call the folders."""
    beside: Folder | None = field(default=None, init=False, repr=False)
    """The source of the samples, if these are their targets."""
    skipped: tuple[ClassNames | None, ClassNames | None] = field(default=(None, None), init=False)
    """The classes that are used, and those that are not; see `skip_classes`."""

    @property
    def per_image(self) -> int:
        """Return the number of samples from each image; they stay in one split."""
        return 1

    @property
    @abstractmethod
    def reader(self) -> ImageReader:
        """Return the reader of a file, uint8 [per_image, C, size, size] or [C, size, size]."""

    @property
    @abstractmethod
    def recipe(self) -> str:
        """Describe all options that the samples of one image depend on."""

    def shape(self) -> Shape:
        return (3 if self.color == "rgb" else 1, self.size, self.size)

    def problems(self) -> list[Problem]:
        if self.root is None:
            return [Problem("dataset.root", "no folder given", "Write dataset.root=FOLDER.")]
        found = [] if (wrong := check_range(self.range)) is None else [wrong]
        for option, root in self.roots.items():
            key = f"dataset.{self.named[option]}"
            try:
                if root == "":
                    raise UserError(key, "is empty", f"Write {key}=FOLDER.")
                self._list_files(root, option)
            except UserError as error:
                found.extend(error.problems)
        if self.cache in ("none", "no", "off", "false", "None", "False", ""):
            remedy = "Write null for no cache, or ./NAME for a folder of this name."
            found.append(Problem(f"dataset.cache={self.cache}", "is not a folder", remedy))
        elif self.cache not in (None, "auto") and os.path.isfile(os.path.expanduser(self.cache)):
            what = "is a file, not a folder"
            found.append(Problem(f"dataset.cache={self.cache}", what, "Write dataset.cache=auto."))
        return found

    def skip_classes(self, only: ClassNames | None, exclude: ClassNames | None) -> None:
        self.skipped = only, exclude

    def load(self) -> Raw:
        assert self.root is not None, "see problems()"
        limits = None if self.range is None else (self.range[0], self.range[1])
        levels = Levels.choose(limits)
        raw = self._load(self.root, "root", levels)
        if self.test_root is None:
            return raw
        if raw.levels is not None:
            levels = levels._replace(other=raw.levels, clips=True)
        return replace(raw, test=self._load(self.test_root, "test_root", levels))

    @property
    def roots(self) -> dict[str, str]:
        """The folders of all splits, by option."""
        given = {"root": self.root, "test_root": self.test_root}
        return {option: root for option, root in given.items() if root is not None}

    def _list_files(self, root: str, option: str) -> tuple[list[Path], list[str]]:
        """List the images of a split and the names of their classes; targets in the order of the samples."""
        folder, where = Path(os.path.expanduser(root)), f"dataset.{self.named[option]}={root}"
        if self.beside is None or option not in self.beside.roots:
            return find_images(folder, where)
        own = self.beside.roots[option]
        files, _ = self.beside._list_files(own, option)
        return match_images(files, Path(os.path.expanduser(own)), folder, where), []

    def _load(self, root: str, option: str, levels: Levels) -> Raw:
        folder, where = Path(os.path.expanduser(root)), f"dataset.{self.named[option]}={root}"
        files, classes = self._list_files(root, option)
        note_deeper_images(folder, where)
        (pixels, mapping), kept, measured = self._read_images(folder, files, levels)
        if not kept.all():
            bad = [file.relative_to(folder) for file in compress(files, ~kept)]
            note(describe_skipped(bad, root, SKIP))
        names = [file.parent.name for file in compress(files, kept)]
        labels = torch.tensor([classes.index(name) for name in names]) if classes else None
        if labels is not None:
            labels = labels.repeat_interleave(self.per_image)
        raw = Raw(
            as_tensor(pixels).flatten(0, 1),
            labels,
            low=0,
            high=255,
            classes=tuple(classes),
            mapping=mapping,
            together=self.per_image,
            levels=measured,
            origin="dataset" if self.beside is None else where,
        )
        if self.range is None:
            note_levels(where, raw, files[0])
        return raw

    def _read_images(self, root: Path, files: list[Path], levels: Levels) -> Images:
        """Return the images of all files, from the cache if there is one, else decoded into memory."""
        if self.cache is not None:
            try:
                cache = self._make_cache(self.cache, root, files, levels)
                return cache.get(lambda: self._decode(files, levels))
            except (OSError, RuntimeError) as error:  # RuntimeError: the user has no home folder
                what = (
                    f"cannot be used ({describe_error(error)}); the images are decoded into memory"
                )
                note(Problem(f"dataset.cache={self.cache}", what))
                self.cache = None  # reported once
        return self._decode_into_memory(files, levels)

    def _decode_into_memory(self, files: list[Path], levels: Levels) -> Images:
        try:
            shape = (len(files), self.per_image, *self.shape())
            pixels = allocate(shape, np.dtype(np.uint8))
        except MemoryError as error:
            what = f"{len(files)} images need {error}"
            remedy = "Write a smaller size, or a dataset.cache with more space."
            raise UserError(f"dataset.size={self.size}", what, remedy) from error
        kept, rows = np.zeros(len(files), np.bool_), 0
        decoded = self._decode(files, levels)
        for i, image in enumerate(decoded.images):
            if image is not None:
                kept[i], pixels[rows] = True, image
                rows += 1
        return Images(Mapped(pixels[:rows], None), kept, decoded.measured)

    def _make_cache(
        self, cache: str, root: Path, files: list[Path], levels: Levels
    ) -> CachedImages:
        folder = find_user_cache() if cache == "auto" else Path(os.path.expanduser(cache))
        key = f"{str(root.resolve())!r} {self.recipe} {tuple(levels)} {self.max_megapixels}"
        if self.skipped != (None, None):
            key += f" classes {self.skipped}"
        listed = hashlib.sha256(key.encode())
        for file in files:
            listed.update(f"{str(file.relative_to(root))!r} {_describe_file(file)}\n".encode())
        shape = (len(files), self.per_image, *self.shape())
        made = f"aeframe decoder {DECODER}, Pillow {PIL.__version__}"
        content = f"{made}, shape {shape}, sha256 of the list of files {listed.hexdigest()}"
        complete = self.on_bad_sample == "error"
        return CachedImages(folder, key, content, shape, complete=complete)

    def _decode(self, files: list[Path], levels: Levels) -> Decoded:
        """Decode the images lazily; their range is measured before."""
        with read_strictly(self.max_megapixels):
            measured = measure_range(files) if levels.other is None else None
        if measured is not None:
            levels = levels._replace(other=measured)
        return Decoded(self._decode_files(files, levels), measured)

    def _decode_files(self, files: list[Path], levels: Levels) -> Iterator[np.ndarray | None]:
        """Decode the images in the order of the files, with a progress bar; None for an unreadable one, zeros
        for one of a class that is not used.

        Raises UserError after the last one if unreadable files are errors, or if all are unreadable.
        """
        bad: list[Problem] = []
        reader = replace(self.reader, levels=levels)
        with read_strictly(self.max_megapixels):
            used = [is_chosen(file.parent.name, *self.skipped) for file in files]
            read = iter(reader.read_all(list(compress(files, used))))
            empty = np.zeros((self.per_image, *self.shape()), np.uint8)
            images = (next(read) if taken else empty for taken in used)
            for image in _show_progress(images, len(files)):
                if isinstance(image, Problem):
                    bad.append(image)
                yield None if isinstance(image, Problem) else image
        note_noticed(reader.noticed, "dataset")
        if bad and (self.on_bad_sample == "error" or len(bad) == sum(used)):
            remedy = SKIP if self.beside is None else ""  # each sample has a target
            raise build_images_error(bad, sum(used), f"dataset.{self.named['root']}", remedy)


def _describe_file(file: Path) -> str:
    """Describe a file: the text changes whenever its image may have changed, or its permissions."""
    try:
        seen = file.stat()
    except OSError as error:
        return describe_error(error)
    return f"{seen.st_size} {seen.st_mtime_ns} {os.access(file, os.R_OK)}"


def _show_progress(
    images: Iterable[np.ndarray | Problem], total: int
) -> Iterable[np.ndarray | Problem]:
    """Show a progress bar if there are many images."""
    if total < 500:
        return images
    from rich.progress import track

    return track(images, "Reading images", total=total)
