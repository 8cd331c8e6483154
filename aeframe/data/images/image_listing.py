"""Image files of a folder, and of its class subfolders."""

from __future__ import annotations

import os
from pathlib import Path

from aeframe.core.errors import Problem, UserError, describe_error
from aeframe.data.images.image_messages import list_some, note
from aeframe.data.images.image_reader import ENDINGS

RUN = "checkpoints"  # folder that every run has


def find_images(root: Path, where: str) -> tuple[list[Path], list[str]]:
    """Find the images, sorted, and the class names; no classes for a folder without subfolders."""
    if not os.path.isdir(root):
        what = "is a file, not a folder" if os.path.exists(root) else "no such folder"
        raise UserError(where, what, f"Write {where.partition('=')[0]}=FOLDER.")
    try:
        loose = _list_images(root)
        folders = [f for f in _find_folders(root) if not _is_around(f, root)]
        nested = {f.name: _list_images(f) for f in folders}
    except OSError as error:
        what = f"cannot be listed ({describe_error(error)})"
        raise UserError(str(error.filename), what, "Check its permissions.") from error
    nested = {name: files for name, files in nested.items() if files}
    if loose and nested:
        first = next(iter(nested))
        what = f"mixes images ({loose[0].name}) with folders of images ({first})"
        raise UserError(where, what, "Keep all images in the folder, or all in class subfolders.")
    files = loose or [file for group in nested.values() for file in group]
    if not files:
        what = "contains no images, nor do its subfolders"
        raise UserError(where, what, f"Known endings: {' '.join(sorted(ENDINGS))}.")
    return files, list(nested)


def note_deeper_images(root: Path, where: str) -> None:
    """Note images in folders of the subfolders, which find_images ignores, except the pictures of runs."""
    folders = [f for f in _find_folders(root) if not (f / RUN).is_dir()]
    inner = [f for folder in folders for f in _find_folders(folder) if not f.is_symlink()]
    if deeper := [f for f in inner if os.access(f, os.R_OK | os.X_OK) and _list_images(f)]:
        what = f"images two folders down are left out: {list_some(deeper)}"
        note(Problem(where, what, "Move them into the folder or its subfolders."))


def _is_around(folder: Path, root: Path) -> bool:
    """Check whether a link leads back to the root or to a folder above it."""
    return folder.is_symlink() and root.resolve().is_relative_to(folder.resolve())


def _find_folders(folder: Path) -> list[Path]:
    """Find the folders in a folder, except hidden ones, without a look at each of its many files."""
    with os.scandir(folder) as entries:
        shown = [entry for entry in entries if entry.name[0] != "."]
        # only links need a system call; a link may lead in a circle
        named = [e.name for e in shown if (os.path.isdir(e) if e.is_symlink() else e.is_dir())]
    return sorted(folder / name for name in named)


def _list_images(folder: Path) -> list[Path]:
    """List the image files of one folder, except hidden ones such as those of macOS.

    Broken links are included, since an image is missing there.
    """
    named = [f for f in folder.iterdir() if f.suffix.lower() in ENDINGS and f.name[0] != "."]
    return sorted(f for f in named if f.is_file() or not f.exists())
