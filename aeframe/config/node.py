"""The configuration as plain data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aeframe.core.errors import ConfigError, Problem

if TYPE_CHECKING:
    from omegaconf import DictConfig


def to_plain(cfg: DictConfig | Mapping[str, Any]) -> dict[str, Any]:
    """Convert the configuration to dicts and lists, with interpolations resolved."""
    from omegaconf import OmegaConf  # late: loading a saved configuration does not need it
    from omegaconf.errors import OmegaConfBaseException

    try:
        container = OmegaConf.to_container(cfg, resolve=True) if OmegaConf.is_config(cfg) else cfg
    except OmegaConfBaseException as error:
        where = getattr(error, "full_key", None) or "configuration"
        what = str(error).splitlines()[0]
        if (missing := re.search(r"Environment variable '([^']+)' not found", what)) is not None:
            what = f"the environment variable {missing[1]} is not set"
            raise ConfigError([Problem(where, what, f"Set {missing[1]}.")]) from error
        raise ConfigError([Problem(where, what)]) from error
    return {str(key): value for key, value in dict(container).items()}  # type: ignore[arg-type]
