"""Samples from a folder of image files."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from PIL import Image, ImageOps

from aeframe.bounds import AtLeast, AtMost
from aeframe.data.samples import Raw, Shape, Source
from aeframe.errors import Problem, UserError

ENDINGS = frozenset(
    f".{e}"
    for e in "png jpg jpeg jpe jfif bmp gif webp tif tiff ppm pgm pbm pnm tga avif jp2".split()  # noqa: SIM905
)


class ImageFolder(Source):
    """Every image of a folder, or of its class subfolders, as bytes of C x size x size.

    root: the folder. size: the images' height and width after `fit`: `crop` scales the short side and
    cuts the middle out, `resize` scales both sides. color: `rgb` or `gray`. test_root: another folder
    for the test split. Images are turned upright (EXIF), laid over white where they are transparent,
    and of an animation the first frame is taken.
    """

    def __init__(
        self,
        *,
        root: str | None = None,
        test_root: str | None = None,
        size: Annotated[int, AtLeast(1), AtMost(2**14)] = 64,
        fit: Literal["crop", "resize"] = "crop",
        color: Literal["rgb", "gray"] = "rgb",
    ) -> None:
        self.root, self.test_root = root, test_root
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
        return found

    def load(self) -> Raw:
        assert self.root is not None
        test = None if self.test_root is None else self._load(self.test_root, "test_root")
        return self._load(self.root, "root", test)

    def _load(self, root: str, option: str, test: Raw | None = None) -> Raw:
        files, classes = _find(Path(root).expanduser(), f"dataset.{option}={root}")
        data = torch.empty((len(files), *self.shape()), dtype=torch.uint8)
        bad: list[Problem] = []
        with warnings.catch_warnings():  # around all threads, which share the filters
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            warnings.filterwarnings("ignore", category=UserWarning)  # oddities in metadata
            for i, image in enumerate(_shown(self._read_all(files), len(files))):
                if isinstance(image, Problem):
                    bad.append(image)
                else:
                    data[i] = torch.from_numpy(image)
        if bad:
            raise _unreadable(bad)
        names = [file.parent.name for file in files]
        labels = torch.tensor([classes.index(name) for name in names]) if classes else None
        return Raw(data, labels, test=test, low=0, high=255, classes=tuple(classes))

    def _read_all(self, files: list[Path]) -> Iterator[np.ndarray | Problem]:
        # threads: Pillow decodes without the interpreter's lock
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            yield from pool.map(self._try, files)

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
