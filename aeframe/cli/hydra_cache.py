"""Hydra's composition of a command: done once where Hydra would do so three times, and checked."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, ClassVar

from hydra._internal import hydra as hydras
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from aeframe.cli.hydra_keys import check_hydra, check_search_path, check_sweep
from aeframe.cli.sweep_direction import follow_metric
from aeframe.config.composition import CONF

NO_SWEEP = "hydra.mode=RUN"
"""What Hydra adds to a command line that says nothing of it."""


class Loader(ConfigLoaderImpl):
    """Hydra's loader of configurations, which raises UserError for one that Hydra must not act on.

    It lets the same words of one command line give the same configuration without another look at the files.
    To compose takes longer than all else that a command does before it trains. What Hydra composes to find
    out whether a command is a sweep, and then once more to run it, is what was checked before. Launchers
    take the loader along to other processes, in which jobs are composed and so checked as well.
    """

    known: ClassVar[dict[tuple[str, ...], bytes]] = {}
    """Configurations of the command that runs; to copy from bytes takes a quarter of the time."""

    def load_configuration(
        self,
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        from_shell: bool = True,
        validate_sweep_overrides: bool = True,
    ) -> Any:
        """Compose as Hydra does, and refuse keys that could import or call something."""
        words = [word for word in overrides if word != NO_SWEEP]
        key = (str(self.config_search_path), str(config_name), *words)
        if key in self.known:
            return pickle.loads(self.known[key])
        if config_name is not None and not self._is_own(config_name):
            found = self.repository.load_config(config_name)
            check_search_path(found and found.config)
        cfg = super().load_configuration(
            config_name, overrides, run_mode, from_shell, validate_sweep_overrides
        )
        hydra = _hydra(cfg)
        if config_name is None:  # for --hydra-help, which runs no job; Hydra names it
            hydra["job"].pop("name")
        check_hydra(hydra, overrides)
        if run_mode == RunMode.MULTIRUN:  # also to find out whether a command is a sweep
            if cfg.hydra.mode == RunMode.MULTIRUN:
                prepare_sweep(cfg, overrides)
        else:  # in a sweep less is looked at
            with suppress(pickle.PicklingError):  # Hydra loads some plug-ins' classes twice
                self.known[key] = pickle.dumps(cfg)
                return pickle.loads(self.known[key])
        return cfg

    def load_sweep_config(
        self, master_config: DictConfig, sweep_overrides: list[str]
    ) -> DictConfig:
        """The configuration of a sweep's job, which may have another experiment than the sweep's own."""
        cfg = super().load_sweep_config(master_config, sweep_overrides)
        hydra = _hydra(cfg)
        check_sweep(hydra, hydra["overrides"]["hydra"])
        return cfg

    def _is_own(self, config_name: str) -> bool:
        """Check whether the primary configuration is aeframe's own."""
        places = self.config_search_path.get_path()
        main = [str(p.path).removeprefix("file://") for p in places if p.provider == "main"]
        return config_name == "config" and main == [str(CONF)]


def prepare_sweep(cfg: DictConfig, words: Sequence[str]) -> None:
    """Let a sweep follow its metric. Raises UserError for one that cannot, or may not have its folders.

    words: the overrides that it was composed with. Of an experiment that is a sweep, this has to be called
    first: Hydra itself would take what is raised for a word that it is none.
    """
    check_sweep(_hydra(cfg), words)
    follow_metric(cfg, list(words))


def _hydra(cfg: DictConfig) -> Any:
    """The keys of Hydra's, without interpolations resolved."""
    plain = OmegaConf.to_container(cfg, resolve=False, enum_to_str=True)
    assert isinstance(plain, dict)
    return plain["hydra"]


@contextmanager
def composed_once() -> Iterator[None]:
    """Let Hydra compose with `Loader`."""
    hydras.ConfigLoaderImpl = Loader  # type: ignore[attr-defined]
    try:
        yield
    finally:
        hydras.ConfigLoaderImpl = ConfigLoaderImpl  # type: ignore[attr-defined]
        Loader.known.clear()
