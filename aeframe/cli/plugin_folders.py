"""Folders of plug-ins in Hydra's search path."""

from __future__ import annotations

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin

from aeframe.config.plugins import list_plugins


class PluginFolders(SearchPathPlugin):
    """The conf/ of each plug-in, behind aeframe's own, whose options win."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for plugin in list_plugins():
            if plugin.conf.is_dir():
                search_path.append(plugin.package, f"file://{plugin.conf}")


def add_plugin_folders() -> None:
    """Let Hydra find the options of plug-ins, from now on."""
    Plugins.instance().register(PluginFolders)
