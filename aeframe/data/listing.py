"""Which files of a folder are images."""

from __future__ import annotations

import os
from pathlib import Path

from aeframe.errors import UserError, reason

ENDINGS = frozenset(
    f".{e}"
    for e in "png jpg jpeg jpe jfif bmp gif webp tif tiff ppm pgm pbm pnm tga avif jp2".split()  # noqa: SIM905
)


def found_images(root: Path, where: str) -> tuple[list[Path], list[str]]:
    """The images, sorted, and the class names; none for a folder without subfolders."""
    if not os.path.isdir(root):
        what = "is a file, not a folder" if os.path.exists(root) else "no such folder"
        raise UserError(where, what, f"Write {where.partition('=')[0]}=FOLDER.")
    try:
        loose = _listed(root)
        nested = {f.name: _listed(f) for f in sorted(root.iterdir()) if f.is_dir()}
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


def _listed(folder: Path) -> list[Path]:
    """The image files of one folder, but for hidden ones such as macOS leaves behind.

    Links that lead nowhere are among them: an image is missing there.
    """
    named = [f for f in folder.iterdir() if f.suffix.lower() in ENDINGS and f.name[0] != "."]
    return sorted(f for f in named if f.is_file() or not f.exists())
