"""Samples from a folder of image files."""

from __future__ import annotations

import hashlib
import os
import sys
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import compress
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import PIL
import torch

from aeframe.bounds import AtLeast, AtMost
from aeframe.data.cache import CachedImages, Images, user_cache
from aeframe.data.images import DECODER, ENDINGS, Color, Fit, ImageReader, strict_images
from aeframe.data.mapped import Mapped, room, tensor
from aeframe.data.samples import Raw, Shape, Source
from aeframe.distributed import rank
from aeframe.errors import Problem, UserError, reason

OnBadSample = Literal["error", "skip"]
SKIP = "dataset.on_bad_sample=skip"
Side = Annotated[int, AtLeast(1), AtMost(2**14)]


class Folder(Source):
    """Samples from every image of a folder, or of its class subfolders, as bytes of C x size x size.

    root: the folder. test_root: another one for the test split. size: the samples' height and width. color:
    `rgb` or `gray`. per_image: the samples that one image gives; they stay in one split.
    cache: the folder that keeps the samples, which are then memory-mapped; `auto` is
    $XDG_CACHE_HOME/aeframe or ~/.cache/aeframe, and None decodes into memory each time.
    on_bad_sample: with `skip`, files that cannot be decoded are left out; with `error` they end the run.
    Images are turned upright (EXIF), laid over white where they are transparent, and of an animation
    the first frame is taken. Colours come without their profile; 16 bits count as 0..65535, whatever
    the file makes use of, and floats as 0..1, or as 0 to the image's maximum where that is more.
    """

    def __init__(
        self,
        *,
        root: str | None,
        test_root: str | None,
        size: int,
        color: Color,
        cache: str | None,
        on_bad_sample: OnBadSample,
        per_image: int = 1,
    ) -> None:
        self.root, self.test_root, self.cache = root, test_root, cache
        self.size, self.color, self.per_image = size, color, per_image
        self.on_bad_sample = on_bad_sample

    @property
    @abstractmethod
    def reader(self) -> ImageReader:
        """Makes the samples of a file, uint8 [per_image, C, size, size]; of one without the first axis."""

    @property
    @abstractmethod
    def recipe(self) -> str:
        """All of the options that the samples of one image depend on."""

    def shape(self) -> Shape:
        return (3 if self.color == "rgb" else 1, self.size, self.size)

    def problems(self) -> list[Problem]:
        if self.root is None:
            return [Problem("dataset.root", "no folder given", "Write dataset.root=FOLDER.")]
        found: list[Problem] = []
        for option, root in (("root", self.root), ("test_root", self.test_root)):
            try:
                if root == "":
                    raise UserError(
                        f"dataset.{option}", "is empty", f"Write dataset.{option}=FOLDER."
                    )
                if root is not None:
                    find_images(Path(os.path.expanduser(root)), f"dataset.{option}={root}")
            except UserError as error:
                found.extend(error.problems)
        if self.cache in ("none", "no", "off", "false", "None", "False", ""):
            remedy = "Write null for no cache, or ./NAME for a folder of this name."
            found.append(Problem(f"dataset.cache={self.cache}", "is no folder", remedy))
        elif self.cache not in (None, "auto") and os.path.isfile(os.path.expanduser(self.cache)):
            what = "is a file, not a folder"
            found.append(Problem(f"dataset.cache={self.cache}", what, "Write dataset.cache=auto."))
        return found

    def load(self) -> Raw:
        assert self.root is not None, "see problems()"
        raw = self._load(self.root, "root")
        if self.test_root is None:
            return raw
        return replace(raw, test=self._load(self.test_root, "test_root"))

    def _load(self, root: str, option: str) -> Raw:
        folder = Path(os.path.expanduser(root))
        files, classes = find_images(folder, f"dataset.{option}={root}")
        tell_of_deeper(folder, f"dataset.{option}={root}")
        (pixels, mapping), kept = self._images(folder, files)
        if not kept.all():
            bad = [file.relative_to(folder) for file in compress(files, ~kept)]
            note(left_out(bad, root, SKIP))
        names = [file.parent.name for file in compress(files, kept)]
        labels = torch.tensor([classes.index(name) for name in names]) if classes else None
        if labels is not None:
            labels = labels.repeat_interleave(self.per_image)
        return Raw(
            tensor(pixels).flatten(0, 1),
            labels,
            low=0,
            high=255,
            classes=tuple(classes),
            mapping=mapping,
            together=self.per_image,
        )

    def _images(self, root: Path, files: list[Path]) -> Images:
        """Those of all files, from the cache where there is one, else decoded into memory."""
        if self.cache is not None:
            try:
                return self._cached(self.cache, root, files).get(lambda: self._decoded(files))
            except (OSError, RuntimeError) as error:  # RuntimeError: a user without a home
                what = f"cannot be used ({reason(error)}); the images are decoded into memory"
                note(Problem(f"dataset.cache={self.cache}", what))
                self.cache = None  # said once
        return self._in_memory(files)

    def _in_memory(self, files: list[Path]) -> Images:
        try:
            shape = (len(files), self.per_image, *self.shape())
            pixels = room(shape, np.dtype(np.uint8))
        except MemoryError as error:
            what = f"{len(files)} images are {error}"
            remedy = "Write a smaller size, or a dataset.cache with more space."
            raise UserError(f"dataset.size={self.size}", what, remedy) from error
        kept, rows = np.zeros(len(files), np.bool_), 0
        for i, image in enumerate(self._decoded(files)):
            if image is not None:
                kept[i], pixels[rows] = True, image
                rows += 1
        return Images(Mapped(pixels[:rows], None), kept)

    def _cached(self, cache: str, root: Path, files: list[Path]) -> CachedImages:
        folder = user_cache() if cache == "auto" else Path(os.path.expanduser(cache))
        key = f"{str(root.resolve())!r} {self.recipe}"
        listed = hashlib.sha256(key.encode())
        for file in files:
            listed.update(f"{str(file.relative_to(root))!r} {_state(file)}\n".encode())
        shape = (len(files), self.per_image, *self.shape())
        made = f"aeframe decoder {DECODER}, Pillow {PIL.__version__}"
        content = f"{made}, shape {shape}, sha256 of the list of files {listed.hexdigest()}"
        complete = self.on_bad_sample == "error"
        return CachedImages(folder, key, content, shape, complete=complete)

    def _decoded(self, files: list[Path]) -> Iterator[np.ndarray | None]:
        """The images in the order of the files, with a progress bar; None where one cannot be read.

        Raises UserError after the last one where that must not be, or where none can.
        """
        bad: list[Problem] = []
        with strict_images():
            for image in _shown(self.reader.read_all(files), len(files)):
                if isinstance(image, Problem):
                    bad.append(image)
                yield None if isinstance(image, Problem) else image
        if bad and (self.on_bad_sample == "error" or len(bad) == len(files)):
            raise unreadable_images(bad, len(files), "dataset.root", SKIP)


class ImageFolder(Folder):
    """Every image of a folder as one sample.

    fit: how it comes to size x size: `crop` scales the short side and cuts the middle out, `resize` scales
    both sides. The other options, and what becomes of the images: see Folder.
    """

    def __init__(
        self,
        *,
        root: str | None = None,
        test_root: str | None = None,
        size: Side = 64,
        fit: Fit = "crop",
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
        )
        self.fit = fit

    @property
    def reader(self) -> ImageReader:
        return ImageReader((self.size, self.size), self.fit, self.color)

    @property
    def recipe(self) -> str:
        return f"{self.size} {self.fit} {self.color}"


def find_images(root: Path, where: str) -> tuple[list[Path], list[str]]:
    """The images, sorted, and the class names; none for a folder without subfolders."""
    if not os.path.isdir(root):
        what = "is a file, not a folder" if os.path.exists(root) else "no such folder"
        raise UserError(where, what, f"Write {where.partition('=')[0]}=FOLDER.")
    try:
        loose = _listed(root)
        folders = [f for f in _folders(root) if not _is_around(f, root)]
        nested = {f.name: _listed(f) for f in folders}
    except OSError as error:
        what = f"cannot be listed ({reason(error)})"
        raise UserError(str(error.filename), what, "See that you may read it.") from error
    nested = {name: files for name, files in nested.items() if files}
    if loose and nested:
        first = next(iter(nested))
        what = f"mixes images ({loose[0].name}) with folders of images ({first})"
        raise UserError(where, what, "Keep all images in the folder, or all in class subfolders.")
    files = loose or [file for group in nested.values() for file in group]
    if not files:
        what = "holds no images, and neither do the folders in it"
        raise UserError(where, what, f"Known endings: {' '.join(sorted(ENDINGS))}.")
    return files, list(nested)


def tell_of_deeper(root: Path, where: str) -> None:
    """Images in folders of the subfolders, which find_images does not look into."""
    inner = [f for folder in _folders(root) for f in _folders(folder) if not f.is_symlink()]
    if deeper := [f for f in inner if os.access(f, os.R_OK | os.X_OK) and _listed(f)]:
        what = f"images two folders down are left out: {_some(deeper)}"
        note(Problem(where, what, "Move them into the folder or its subfolders."))


def _is_around(folder: Path, root: Path) -> bool:
    """Whether a link leads back to the root or to a folder above it."""
    return folder.is_symlink() and root.resolve().is_relative_to(folder.resolve())


def _folders(folder: Path) -> list[Path]:
    """The folders in a folder, but for hidden ones; of its files, which may be many, none is opened."""
    with os.scandir(folder) as entries:
        shown = [entry for entry in entries if entry.name[0] != "."]
        # asked of the operating system only where it is a link, which may lead in a circle
        named = [e.name for e in shown if (os.path.isdir(e) if e.is_symlink() else e.is_dir())]
    return sorted(folder / name for name in named)


def _listed(folder: Path) -> list[Path]:
    """The image files of one folder, but for hidden ones such as macOS leaves behind.

    Links that lead nowhere are among them: an image is missing there.
    """
    named = [f for f in folder.iterdir() if f.suffix.lower() in ENDINGS and f.name[0] != "."]
    return sorted(f for f in named if f.is_file() or not f.exists())


def _state(file: Path) -> str:
    """What changes when the file can have another image, or can have one at all."""
    try:
        seen = file.stat()
    except OSError as error:
        return reason(error)
    return f"{seen.st_size} {seen.st_mtime_ns} {os.access(file, os.R_OK)}"


def unreadable_images(bad: list[Problem], of: int, where: str, remedy: str) -> UserError:
    """That some of so many files cannot be decoded. remedy: what to write to leave them out."""
    shown = "; ".join(f"{p.where} {p.what}" for p in bad[:5])
    more = f"; and {len(bad) - 5} more" if len(bad) > 5 else ""
    what = f"{len(bad)} unreadable image(s): {shown}{more}"
    skip = f", or write {remedy}" if len(bad) < of else ""
    return UserError(where, what, f"Remove or replace them{skip}.")


def left_out(bad: list[Path], root: str, why: str) -> Problem:
    """That some files cannot be decoded, and need not be. why: what was written for that."""
    what = f"{len(bad)} image(s) of {root} cannot be read and are left out: {_some(bad)}"
    return Problem(why, what)


def _some(paths: list[Path]) -> str:
    """The first of them, and how many more there are."""
    more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    return ", ".join(map(str, paths[:3])) + more


def note(problem: Problem) -> None:
    """What the user ought to know of a run that goes on."""
    if rank() == 0:
        print(f"aeframe: {problem}", file=sys.stderr)


def _shown(images: Iterable[np.ndarray | Problem], total: int) -> Iterable[np.ndarray | Problem]:
    """With a progress bar, where there are enough images to wait for."""
    if total < 500:
        return images
    from rich.progress import track

    return track(images, "Reading images", total=total)
