"""A command's configuration is composed once, and is what Hydra would compose."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra._internal.config_loader_impl import ConfigLoaderImpl

from tests.support.runs import TINY

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def composed(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The words of each configuration that was made from files."""
    words, compose = list[list[str]](), ConfigLoaderImpl._load_configuration_impl

    def noted(self: Any, config_name: Any, overrides: list[str], *rest: Any, **more: Any) -> Any:
        words.append(list(overrides))
        return compose(self, config_name, overrides, *rest, **more)

    monkeypatch.setattr(ConfigLoaderImpl, "_load_configuration_impl", noted)
    return words


def test_a_run_is_composed_once(aeframe: Command, composed: list[list[str]]) -> None:
    before = ConfigLoaderImpl.load_configuration
    assert aeframe(*TINY, "model=denoising", "hydra.run.dir=run")[0] == 0
    assert len(composed) == 1
    assert ConfigLoaderImpl.load_configuration is before  # for whoever uses Hydra beside it


def test_what_it_is_checked_with_is_what_it_trains_with(
    aeframe: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What .hydra/ holds of a run is the same without it."""
    words = (*TINY, "model=sparse", "constraint=[topk,masking]", "+optimizer.eps=1e-7")
    assert aeframe(*words, "hydra.run.dir=run")[0] == 0
    with monkeypatch.context() as patch:
        patch.setattr("aeframe.cli.hydra_cache.composed_once", nullcontext)
        assert aeframe(*words, "hydra.run.dir=plain")[0] == 0
    for name in ("config", "overrides"):
        files = (tmp_path / run / ".hydra" / f"{name}.yaml" for run in ("run", "plain"))
        once, plain = (yaml.safe_load(file.read_text()) for file in files)
        assert once == plain


def test_jobs_of_a_sweep_are_composed_each_for_itself(
    aeframe: Command, tmp_path: Path, composed: list[list[str]]
) -> None:
    assert aeframe("-m", "seed=1,2", *TINY, "hydra.sweep.dir=sweep")[0] == 0
    assert sum("++seed=1" in words for words in composed) == 1
    assert sum("++seed=2" in words for words in composed) == 1
    for job in (tmp_path / "sweep").glob("*_*"):
        seed = yaml.safe_load((job / ".hydra" / "config.yaml").read_text())["seed"]
        assert seed == int(job.name[0]) + 1
