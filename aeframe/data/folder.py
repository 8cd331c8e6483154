"""Samples from a folder of image files."""

from __future__ import annotations

import hashlib
import os
import sys
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import PIL
import torch
from PIL import Image, ImageOps

from aeframe.bounds import AtLeast, AtMost
from aeframe.data.cache import CachedImages, user_cache
from aeframe.data.mapped import Mapped, tensor
from aeframe.data.samples import Raw, Shape, Source
from aeframe.distributed import rank
from aeframe.errors import Problem, UserError

DECODER = 1  # counts up whenever the same file gives other pixels

ENDINGS = frozenset(
    f".{e}"
    for e in "png jpg jpeg jpe jfif bmp gif webp tif tiff ppm pgm pbm pnm tga avif jp2".split()  # noqa: SIM905
)


class ImageFolder(Source):
    """Every image of a folder, or of its class subfolders, as bytes of C x size x size.

    root: the folder. size: the images' height and width after `fit`: `crop` scales the short side and
    cuts the middle out, `resize` scales both sides. color: `rgb` or `gray`. test_root: another folder
    for the test split. cache: the folder that keeps the decoded images, which are then memory-mapped;
    `auto` is $XDG_CACHE_HOME/aeframe or ~/.cache/aeframe, and None decodes into memory each time.
    Images are turned upright (EXIF), laid over white where they are transparent, and of an animation
    the first frame is taken.
    """

    def __init__(
        self,
        *,
        root: str | None = None,
        test_root: str | None = None,
        size: Annotated[int, AtLeast(1), AtMost(2**14)] = 64,
        fit: Literal["crop", "resize"] = "crop",
        color: Literal["rgb", "gray"] = "rgb",
        cache: str | None = "auto",
    ) -> None:
        self.root, self.test_root, self.cache = root, test_root, cache
        self.size, self.fit, self.color = size, fit, color

    def shape(self) -> Shape:
        return (3 if self.color == "rgb" else 1, self.size, self.size)

    def problems(self) -> list[Problem]:
        if self.root is None:
            return [Problem("dataset.root", "no folder given", "Write dataset.root=FOLDER.")]
        found: list[Problem] = []
        for option, root in (("root", self.root), ("test_root", self.test_root)):
            try:
                if root is not None:
                    _find(Path(root).expanduser(), f"dataset.{option}={root}")
            except UserError as error:
                found.extend(error.problems)
        if self.cache not in (None, "auto") and Path(self.cache).expanduser().is_file():
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
        files, classes = _find(Path(root).expanduser(), f"dataset.{option}={root}")
        pixels, mapping = self._pixels(Path(root).expanduser(), files)
        names = [file.parent.name for file in files]
        labels = torch.tensor([classes.index(name) for name in names]) if classes else None
        data = tensor(pixels)
        return Raw(data, labels, low=0, high=255, classes=tuple(classes), mapping=mapping)

    def _pixels(self, root: Path, files: list[Path]) -> Mapped:
        """All images, from the cache where there is one, else decoded into memory."""
        if self.cache is not None:
            try:
                return self._cached(self.cache, root, files).get(lambda: self._decoded(files))
            except (OSError, RuntimeError) as error:  # RuntimeError: a user without a home
                if rank() == 0:
                    reason = getattr(error, "strerror", None) or error
                    print(
                        f"aeframe: dataset.cache={self.cache}: cannot be used ({reason}); "
                        "the images are decoded into memory.",
                        file=sys.stderr,
                    )
                self.cache = None  # said once
        pixels = np.empty((len(files), *self.shape()), np.uint8)
        for place, image in zip(pixels, self._decoded(files), strict=True):
            place[:] = image
        return Mapped(pixels, None)

    def _cached(self, cache: str, root: Path, files: list[Path]) -> CachedImages:
        folder = user_cache() if cache == "auto" else Path(cache).expanduser()
        key = f"{str(root.resolve())!r} {self.size} {self.fit} {self.color}"
        listed = hashlib.sha256(key.encode())
        for file in files:
            seen = file.stat()
            name = str(file.relative_to(root))
            listed.update(f"{name!r} {seen.st_size} {seen.st_mtime_ns}\n".encode())
        shape = (len(files), *self.shape())
        made = f"aeframe decoder {DECODER}, Pillow {PIL.__version__}"
        content = f"{made}, shape {shape}, sha256 of the list of files {listed.hexdigest()}"
        return CachedImages(folder, key, content, shape)

    def _decoded(self, files: list[Path]) -> Iterator[np.ndarray]:
        """The images in the order of the files, with a progress bar.

        Raises UserError after the last one where some cannot be read; these are left out.
        """
        bad: list[Problem] = []
        with warnings.catch_warnings():  # around all threads, which share the filters
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            warnings.filterwarnings("ignore", category=UserWarning)  # oddities in metadata
            for image in _shown(self._read_all(files), len(files)):
                if isinstance(image, Problem):
                    bad.append(image)
                else:
                    yield image
        if bad:
            raise _unreadable(bad)

    def _read_all(self, files: list[Path]) -> Iterator[np.ndarray | Problem]:
        workers = os.cpu_count() or 1
        # threads: Pillow decodes without the interpreter's lock
        with ThreadPoolExecutor(workers) as pool:
            ahead: deque[Future[np.ndarray | Problem]] = deque()
            for file in files:
                ahead.append(pool.submit(self._try, file))
                if len(ahead) > 2 * workers:  # so many wait in memory for their turn
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()

    def _try(self, file: Path) -> np.ndarray | Problem:
        try:
            return self._read(file)
        except Exception as error:  # broken files raise nearly anything in Pillow
            reason = (str(error) or type(error).__name__).splitlines()[0]
            return Problem(str(file), f"cannot be read as an image ({reason})")

    def _read(self, file: Path) -> np.ndarray:
        """One image, uint8 [C, size, size]."""
        with Image.open(file) as opened:
            image = _eight_bits(ImageOps.exif_transpose(opened))
        target = (self.size, self.size)
        if self.fit == "crop":
            image = ImageOps.fit(image, target, Image.Resampling.BICUBIC)
        elif image.size != target:
            image = image.resize(target, Image.Resampling.BICUBIC)
        pixels = np.array(image.convert("L" if self.color == "gray" else "RGB"))
        return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Deeper images scaled to bytes rather than clipped; transparent ones laid over white."""
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image, dtype=np.float64)
        high = 65535.0 if image.mode.startswith("I") else max(1.0, float(values.max()))
        return Image.fromarray((np.clip(values / high, 0, 1) * 255).round().astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image if image.mode == "L" else image.convert("RGB")


def _find(root: Path, where: str) -> tuple[list[Path], list[str]]:
    """The images, sorted, and the class names; none for a folder without subfolders."""
    if not root.is_dir():
        what = "is a file, not a folder" if root.exists() else "no such folder"
        raise UserError(where, what, f"Write {where.partition('=')[0]}=FOLDER.")
    loose = _images(root)
    nested = {folder.name: _images(folder) for folder in sorted(root.iterdir()) if folder.is_dir()}
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


def _images(folder: Path) -> list[Path]:
    """The image files of one folder, but for hidden ones such as macOS leaves behind."""
    try:
        files = [f for f in folder.iterdir() if f.suffix.lower() in ENDINGS and f.is_file()]
    except OSError as error:
        raise UserError(str(folder), f"cannot be listed ({error.strerror})") from error
    return sorted(f for f in files if not f.name.startswith("."))


def _unreadable(bad: list[Problem]) -> UserError:
    shown = "; ".join(f"{p.where} {p.what}" for p in bad[:5])
    more = f"; and {len(bad) - 5} more" if len(bad) > 5 else ""
    what = f"{len(bad)} unreadable image(s): {shown}{more}"
    return UserError("dataset.root", what, "Remove or replace them.")


def _shown(images: Iterable[np.ndarray | Problem], total: int) -> Iterable[np.ndarray | Problem]:
    """With a progress bar, where there are enough images to wait for."""
    if total < 500:
        return images
    from rich.progress import track

    return track(images, "Reading images", total=total)
