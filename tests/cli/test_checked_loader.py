"""Hydra composes what it would compose without the check."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from aeframe.cli.checked_loader import CheckedLoader, check_composition
from aeframe.config.composition import CONF
from tests.support.runs import TINY

Command = Callable[..., tuple[int, str, str]]


def test_hydra_is_as_it_was_when_a_command_has_ended(aeframe: Command) -> None:
    """A program may use Hydra itself as well."""
    before = GlobalHydra.instance()
    assert aeframe(*TINY, "model=denoising", "hydra.run.dir=run")[0] == 0
    assert GlobalHydra.instance() is before
    assert type(before) is GlobalHydra
    with initialize_config_dir(str(CONF), version_base="1.3"):
        assert not isinstance(GlobalHydra.instance().config_loader(), CheckedLoader)


def test_every_composition_is_checked_meanwhile() -> None:
    for _ in range(2):
        with check_composition(), initialize_config_dir(str(CONF), version_base="1.3"):
            assert isinstance(GlobalHydra.instance().config_loader(), CheckedLoader)
            assert compose("config", ["model=sparse", "seed=3"]).seed == 3


def test_the_checked_configuration_is_the_one_that_trains(
    aeframe: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files of a run in .hydra/ are the same without it."""
    words = (*TINY, "model=sparse", "constraint=[topk,masking]", "+optimizer.eps=1e-7")
    assert aeframe(*words, "hydra.run.dir=run")[0] == 0
    with monkeypatch.context() as patch:
        patch.setattr("aeframe.cli.checked_loader.check_composition", nullcontext)
        assert aeframe(*words, "hydra.run.dir=plain")[0] == 0
    for name in ("config", "overrides"):
        files = (tmp_path / run / ".hydra" / f"{name}.yaml" for run in ("run", "plain"))
        checked, plain = (yaml.safe_load(file.read_text()) for file in files)
        assert checked == plain


def test_jobs_of_a_sweep_are_composed_each_for_itself(aeframe: Command, tmp_path: Path) -> None:
    assert aeframe("-m", "seed=1,2", *TINY, "hydra.sweep.dir=sweep")[0] == 0
    jobs = sorted((tmp_path / "sweep").glob("*_*"))
    assert [job.name[0] for job in jobs] == ["0", "1"]
    for job in jobs:
        seed = yaml.safe_load((job / ".hydra" / "config.yaml").read_text())["seed"]
        assert seed == int(job.name[0]) + 1
