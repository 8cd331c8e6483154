"""Published pickles. Unpickling runs code, so the checksum is compared first."""

from __future__ import annotations

import hashlib
import pickle
import warnings
from functools import partial
from pathlib import Path
from typing import Any

from aeframe.core.errors import build_read_error
from aeframe.core.regular_files import open_regular

MD5 = partial(hashlib.md5, usedforsecurity=False)


def load_checked_pickle(file: Path, md5: str) -> Any:
    """Unpickle a file with a known checksum; strings of Python 2 become bytes.

    Raises UserError, and unpickles nothing, if the file has another checksum.
    """
    try:
        with warnings.catch_warnings(), open_regular(file) as stream:
            warnings.simplefilter("ignore")  # NumPy warns about arrays pickled by old versions
            if hashlib.file_digest(stream, MD5).hexdigest() != md5:
                raise ValueError("its checksum is not that of the published file")
            stream.seek(0)
            return pickle.load(stream, encoding="bytes")
    except (OSError, ValueError) as error:
        remedy = "Delete its folder, and train with dataset.download=true to download it again."
        raise build_read_error(str(file), error, remedy) from error
