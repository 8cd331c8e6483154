"""A command's configuration, composed once, where Hydra would do so three times."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

NO_SWEEP = "hydra.mode=RUN"
"""What Hydra adds to a command line that says nothing of it."""


@contextmanager
def composed_once() -> Iterator[None]:
    """Let the same words of one command line give the same configuration without another look at the files.

    It takes longer than all else that a command does before it trains. What Hydra composes to find out
    whether a command is a sweep, and then once more to run it, is what was checked before.
    """
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra.types import RunMode

    compose = ConfigLoaderImpl.load_configuration
    known: dict[tuple[str, ...], bytes] = {}  # to copy from bytes takes a quarter of the time

    def once(
        self: ConfigLoaderImpl,
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        *rest: Any,
        **options: Any,
    ) -> Any:
        words = [word for word in overrides if word != NO_SWEEP]
        key = (str(self.config_search_path), str(config_name), *words)
        if key not in known:
            cfg = compose(self, config_name, overrides, run_mode, *rest, **options)
            if run_mode == RunMode.MULTIRUN:  # in which less is looked at
                return cfg
            known[key] = pickle.dumps(cfg)
        return pickle.loads(known[key])

    ConfigLoaderImpl.load_configuration = once  # type: ignore[method-assign]
    try:
        yield
    finally:
        ConfigLoaderImpl.load_configuration = compose  # type: ignore[method-assign]
