"""Published pickles. Unpickling runs code, so the checksum is compared first."""

from __future__ import annotations

import hashlib
import pickle
import warnings
from pathlib import Path
from typing import Any

from aeframe.core.errors import build_read_error
from aeframe.core.regular_files import open_regular


def load_checked_pickle(file: Path, md5: str) -> Any:
    """Unpickle a file with a known checksum; strings of Python 2 become bytes.

    Raises UserError, and unpickles nothing, if the file has another checksum.
    """
    try:
        with warnings.catch_warnings(), open_regular(file) as stream:
            warnings.simplefilter("ignore")  # NumPy warns about arrays pickled by old versions
            content = stream.read()  # once: the file may change between two reads
            if hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
                raise ValueError("its checksum is not that of the published file")
            return pickle.loads(content, encoding="bytes")
    except (OSError, ValueError) as error:
        remedy = (
            "To download it again, delete its folder, or write dataset.root=ANOTHER_FOLDER, and train with "
            "dataset.download=true. To train on images of your own, save them in a .npy file, and write "
            "dataset=array dataset.path=FILE."
        )
        raise build_read_error(str(file), error, remedy) from error
