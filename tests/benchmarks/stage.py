"""The same conditions for every arm: no output, one thread, torch as it is after import."""

from __future__ import annotations

import contextlib
import gc
import io
import logging
import warnings
from collections.abc import Iterator

import torch


class Screen(io.StringIO):
    """A terminal that nobody sees: both arms draw their progress bars.

    said: the end of the output.
    """

    said = ""

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.said = (self.said + text)[-4000:]
        return len(text)


@contextlib.contextmanager
def stage() -> Iterator[Screen]:
    """Run one arm. What it turned on in torch, such as a lower precision, must not reach the next."""
    _as_imported()
    gc.collect()
    screen = Screen()
    with (
        contextlib.redirect_stdout(screen),
        contextlib.redirect_stderr(screen),
        warnings.catch_warnings(action="ignore"),
    ):
        logging.disable(logging.WARNING)
        try:
            yield screen
        finally:
            logging.disable(logging.NOTSET)
            _as_imported()


def _as_imported() -> None:
    torch.set_num_threads(1)
    torch.set_float32_matmul_precision("highest")
    torch.set_flush_denormal(False)
    torch.use_deterministic_algorithms(False)
