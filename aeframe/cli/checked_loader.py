"""Check of every configuration that Hydra composes, before Hydra acts on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigSource
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, read_write

from aeframe.cli.hydra_keys import OWN_JOB, check_hydra, check_search_path, check_sweep
from aeframe.cli.run_folders import write_swept_values
from aeframe.cli.sweep_direction import follow_metric
from aeframe.config.composition import CONF


class CheckedLoader(ConfigLoader):
    """Hydra's loader, which raises UserError for a configuration that Hydra must not act on.

    Launchers take the loader along to other processes, so that the jobs of a sweep are checked there too.
    """

    def __init__(self, loader: ConfigLoader) -> None:
        self.loader = loader

    def load_configuration(
        self,
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        from_shell: bool = True,
        validate_sweep_overrides: bool = True,
    ) -> DictConfig:
        """Compose as Hydra does, and refuse keys that could import or call something."""
        if config_name is not None:
            self._check_primary(config_name)
        cfg = self.loader.load_configuration(
            config_name, overrides, run_mode, from_shell, validate_sweep_overrides
        )
        node = _read_hydra_node(cfg)
        if config_name is None:  # --hydra-help runs no job: Hydra chooses the name itself
            node["job"].pop("name")
        check_hydra(node, overrides)
        # Hydra also composes in this mode to find out whether a command is a sweep
        if run_mode == RunMode.MULTIRUN and cfg.hydra.mode == RunMode.MULTIRUN:
            prepare_sweep(cfg, overrides)
        return cfg

    def load_sweep_config(
        self, master_config: DictConfig, sweep_overrides: list[str]
    ) -> DictConfig:
        """Compose one job of a sweep, whose experiment may differ from that of the sweep."""
        name = master_config.hydra.job.config_name
        words = [*_read_hydra_node(master_config)["overrides"]["hydra"], *sweep_overrides]
        cfg = self.load_configuration(name, words, RunMode.RUN)
        node = _read_hydra_node(cfg)
        check_sweep(node, node["overrides"]["hydra"])
        # one time stamp for all jobs
        OmegaConf.copy_cache(from_config=master_config, to_config=cfg)
        _name_job(cfg, list(master_config.hydra.overrides.task), sweep_overrides)
        return cfg

    def get_search_path(self) -> ConfigSearchPath:
        return self.loader.get_search_path()

    def get_sources(self) -> list[ConfigSource]:
        return self.loader.get_sources()

    def list_groups(self, parent_name: str) -> list[str]:
        return self.loader.list_groups(parent_name)

    def get_group_options(
        self,
        group_name: str,
        results_filter: ObjectType | None = ObjectType.CONFIG,
        config_name: str | None = None,
        overrides: list[str] | None = None,
    ) -> list[str]:
        return self.loader.get_group_options(group_name, results_filter, config_name, overrides)

    def compute_defaults_list(
        self, config_name: str | None, overrides: list[str], run_mode: RunMode
    ) -> Any:
        return self.loader.compute_defaults_list(config_name, overrides, run_mode)

    def _check_primary(self, name: str) -> None:
        """Raise UserError if the user's own primary configuration adds folders."""
        source = next((s for s in self.get_sources() if s.is_config(name)), None)
        if source is not None and source.path != str(CONF):
            check_search_path(source.load_config(name).config)


class CheckedHydra(GlobalHydra):
    """Hydra's global state, in which every instance of Hydra gets a `CheckedLoader`."""

    def initialize(self, hydra: Any) -> None:
        hydra.config_loader = CheckedLoader(hydra.config_loader)
        super().initialize(hydra)


@contextmanager
def check_composition() -> Iterator[None]:
    """Check every configuration that Hydra composes within this context."""
    before, checked = GlobalHydra.instance(), CheckedHydra()
    checked.clear()  # it is a singleton as well
    GlobalHydra.set_instance(checked)
    try:
        yield
    finally:
        GlobalHydra.set_instance(before)


def _name_job(cfg: DictConfig, sweep: list[str], job: list[str]) -> None:
    """Add the values that a sweep varies to the name of its job's folder, unless someone has named it."""
    if _read_hydra_node(cfg)["sweep"]["subdir"] == OWN_JOB:
        values = write_swept_values(sweep, job)
        name = "${run_name:${hydra.runtime.choices},${constraint}}"
        where = "${hydra.sweep.dir},${hydra.job.num}"
        with read_write(cfg.hydra):
            cfg.hydra.sweep.subdir = f"${{job_name:{where},{name},'{values}'}}"


def prepare_sweep(cfg: DictConfig, words: Sequence[str]) -> None:
    """Make a sweep search in the direction of its metric. Raises UserError for a wrong direction or folder.

    words: the overrides that it was composed with. Call this before Hydra for an experiment that is a
    sweep: Hydra takes every exception to mean that the command is not a sweep.
    """
    check_sweep(_read_hydra_node(cfg), words)
    follow_metric(cfg, list(words))


def _read_hydra_node(cfg: DictConfig) -> Any:
    """Return the keys below `hydra` as plain data, with interpolations unresolved."""
    node = OmegaConf.to_container(cfg, resolve=False, enum_to_str=True)
    assert isinstance(node, dict)
    return node["hydra"]
