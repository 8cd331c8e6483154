"""Configurations, made once: most of a short run is the making of its configuration."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy, deepcopy
from dataclasses import replace
from functools import cache, lru_cache
from typing import Any

import pytest
import yaml
from hydra._internal import config_loader_impl
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository
from hydra._internal.defaults_list import DefaultsList
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from lightning_fabric.utilities import registry
from omegaconf import DictConfig, omegaconf
from omegaconf._utils import OmegaConfDumper
from pytorch_lightning.trainer.connectors.logger_connector.result import _ResultMetric
from sklearn import datasets
from tensorboard.compat.tensorflow_stub import pywrap_tensorflow
from torch import Tensor

from aeframe.config.composition import CONF

OWN = {str(CONF), "pkg://hydra.conf", "hydra.conf", "structured://", ""}
"""Where Hydra finds what no test changes."""
MODE = "hydra.mode=RUN"  # Hydra's own last word for a single run


@contextmanager
def made_once() -> Iterator[None]:
    """Configurations of the project's own files, from the same words; their copies; the digits.

    Also the plug-ins of Lightning, and the checksums of TensorBoard, which computes them byte by byte. YAML
    is written by libyaml, which writes the same.
    """
    loader, repository = ConfigLoaderImpl, ConfigRepository
    fast_dumper = type("FastDumper", (yaml.CDumper,), {})
    fast_dumper.add_representer(str, OmegaConfDumper.str_representer)
    with pytest.MonkeyPatch.context() as patch:
        for kind, name in (
            (repository, "load_config"),
            (loader, "_compose_config_from_defaults_list"),
        ):
            patch.setattr(kind, name, once(getattr(kind, name)))
        load = loader._load_configuration_impl
        patch.setattr(loader, "_load_configuration_impl", composed_once(load))
        patch.setattr(OverridesParser, "parse_rule", parsed_once(OverridesParser.parse_rule))
        lists = config_loader_impl.create_defaults_list
        patch.setattr(config_loader_impl, "create_defaults_list", listed_once(lists))
        patch.setattr(omegaconf, "get_omega_conf_dumper", lambda: fast_dumper)
        patch.setattr(DictConfig, "__deepcopy__", copied_by_bytes(DictConfig.__deepcopy__))
        patch.setattr(datasets, "load_digits", cache(datasets.load_digits))
        patch.setattr(registry, "entry_points", cache(registry.entry_points))
        checksum = lru_cache(maxsize=4096)(pywrap_tensorflow.crc32c)
        patch.setattr(pywrap_tensorflow, "crc32c", checksum)
        patch.setattr(_ResultMetric, "to", moved_where_needed(_ResultMetric.to))
        yield


Copy = Callable[[DictConfig, dict[int, Any]], DictConfig]


def copied_by_bytes(deeply: Copy) -> Copy:
    """The same copy of a configuration that is no part of another, in a fifth of the time."""

    def copied(self: DictConfig, memo: dict[int, Any]) -> DictConfig:
        if self._get_parent() is not None:
            return deeply(self, memo)
        try:
            memo[id(self)] = new = pickle.loads(pickle.dumps(self))
        except pickle.PicklingError:  # see `copies`
            return deeply(self, memo)
        return new

    return copied


def listed_once(make: Callable[..., DefaultsList]) -> Callable[..., DefaultsList]:
    """The same function of Hydra's, which looks for the same options once: values choose no files."""
    known: dict[str, DefaultsList] = {}

    def made(repo: Any, config_name: str, overrides_list: list[Any], **named: Any) -> DefaultsList:
        def chooses(word: Any) -> bool:
            if word.is_sweep_override():
                return True
            return repo.group_exists(word.key_or_group) and not isinstance(word.value(), dict)

        choices = [word for word in overrides_list if chooses(word)]
        values = [word for word in overrides_list if not chooses(word)]
        key = f"{config_name} {[word.input_line for word in choices]} {named}"
        if not {source.path for source in repo.get_sources()} <= OWN:
            return make(repo=repo, config_name=config_name, overrides_list=overrides_list, **named)
        if key not in known:
            known[key] = make(repo=repo, config_name=config_name, overrides_list=choices, **named)
        return replace(known[key], config_overrides=values)

    return made


def copies(original: Any) -> Callable[[], Any]:
    """Return a function that copies the original, as deepcopy() does but in a fifth of its time.

    Hydra loads some plug-ins twice: a class of the first load is in its store, and cannot be pickled.
    """
    try:
        written = pickle.dumps(original)
    except pickle.PicklingError:
        return lambda: deepcopy(original)
    return lambda: pickle.loads(written)


def once(make: Callable[..., Any]) -> Callable[..., Any]:
    """The same method of Hydra's, which gives copies of what the same arguments gave before."""
    known: dict[str, Callable[[], Any]] = {}

    def made(self: Any, *args: Any, **named: Any) -> Any:
        repository = named.get("repo", self)
        key = f"{args} { {k: v for k, v in named.items() if k != 'repo'} }"
        sources = {source.path for source in repository.get_sources()}
        if not sources <= OWN or "searchpath" in key:
            return make(self, *args, **named)
        if key not in known:
            known[key] = copies(make(self, *args, **named))
        return known[key]()

    return made


def composed_once(compose: Callable[..., DictConfig]) -> Callable[..., DictConfig]:
    """The same method of Hydra's, which composes the same words once.

    The command composes three times: to check, to find out if it is a sweep, and to run.
    """
    known: dict[tuple[Any, ...], Callable[[], DictConfig]] = {}

    def composed(self: ConfigLoaderImpl, **named: Any) -> DictConfig:
        places = [(place.provider, place.path) for place in self.config_search_path.get_path()]
        name, words = named["config_name"], tuple(named["overrides"])
        if not {path for _, path in places} <= OWN or "searchpath" in str(words):
            return compose(self, **named)
        # a legal run has no words of a sweep, so that it is the same in any mode
        run = (str(places), name, words, RunMode.RUN, True)
        adds_mode = words[-1:] == (MODE,) and (*run[:2], words[:-1], *run[3:]) in known
        if adds_mode:
            asked = (*run[:2], words[:-1], *run[3:])
        elif run in known:
            asked = run
        else:
            asked = (*run[:3], named["run_mode"], named["validate_sweep_overrides"])
        if asked not in known:
            found = compose(self, **named)
            known[asked] = copies(found)
            return found
        found = known[asked]()
        found.hydra.runtime.cwd = os.getcwd()
        if adds_mode:
            found.hydra.mode = RunMode.RUN
            found.hydra.overrides.hydra.append(MODE)
        return found

    return composed


def parsed_once(parse: Callable[..., Any]) -> Callable[..., Any]:
    """The same method of Hydra's, which parses the same word once."""
    known: dict[tuple[str, str], Any] = {}

    def parsed(self: OverridesParser, s: str, rule_name: str) -> Any:
        if (s, rule_name) not in known:
            known[s, rule_name] = parse(self, s, rule_name)
        return copy(known[s, rule_name])

    return parsed


def moved_where_needed(move: Callable[..., Any]) -> Callable[..., Any]:
    """The same method of Lightning's, which does not search a value for tensors that are there already."""

    def moved(self: _ResultMetric, *args: Any, **named: Any) -> _ResultMetric:
        tensors = (part for part in vars(self).values() if isinstance(part, Tensor))
        if not named and all((tensor.device,) == args for tensor in tensors):
            return self
        return move(self, *args, **named)

    return moved
