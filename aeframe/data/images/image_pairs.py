"""Images with targets beside them, matched by their names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from aeframe.core.errors import UserError
from aeframe.data.images.image_listing import find_images
from aeframe.data.images.image_messages import list_some


def match_images(files: Sequence[Path], root: Path, folder: Path, where: str) -> list[Path]:
    """Find the target of each image: the image of the same name in the folder of targets.

    files: in `root`. Names count below the folders, without their endings. where: the key and the folder of
    the targets, for messages. Raises UserError that names images without a target.
    """
    found: dict[Path, Path] = {}
    for file in find_images(folder, where)[0]:
        name = file.relative_to(folder).with_suffix("")
        if name in found:
            what = f"has two images of one name: {list_some([found[name], file])}"
            raise UserError(where, what, "Keep one of them.")
        found[name] = file
    names = [file.relative_to(root).with_suffix("") for file in files]
    if missing := [name for name in names if name not in found]:
        what = f"has no image for {len(missing):,} of {len(names):,}: {list_some(missing)}"
        remedy = f"Give each image in {root} a target of the same name, or take it out."
        raise UserError(where, what, remedy)
    return [found[name] for name in names]
