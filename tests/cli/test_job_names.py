"""Names of the folders of a sweep's jobs: they show the values that the sweep varies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from aeframe.cli.run_folders import name_job, write_swept_values
from tests.support.runs import TINY

Command = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    ("sweep", "job", "name"),
    [
        (["++seed=0,1", "++a.k=3"], ["++seed=0", "++a.k=3"], "_seed-0"),
        (["++model.latent_dim=4,8"], ["++model.latent_dim=8"], "_latent_dim-8"),
        (["++a.w=1,2", "++b.w=3,4"], ["++a.w=1", "++b.w=4"], "_a.w-1_b.w-4"),
        (["network.widths=[8],[16,4]"], ["network.widths=[16,4]"], "_widths-16-4"),
        (["model=sparse,denoising"], ["model=sparse"], ""),
        (["network=mlp,conv"], ["network=conv"], "_network-conv"),
        ([], ["optimizer.lr=1e-3"], "_lr-1e-3"),  # of an experiment, or a search
        (["++x=choice(a,b)", "++resume=auto"], ["++x=b", "++resume=auto"], "_x-b"),
        (["++p='../a b',c"], ["++p='../a b'"], "_p-..-a-b"),
    ],
)
def test_the_name_shows_what_varies(sweep: list[str], job: list[str], name: str) -> None:
    assert write_swept_values(sweep, job) == name


def test_a_sweep_shows_its_values_and_is_resumed(aeframe: Command, tmp_path: Path) -> None:
    words = ("-m", "model.latent_dim=4,8", "hydra.sweep.dir=sweep", "resume=auto", *TINY)
    assert aeframe(*words)[0] == 0
    jobs = sorted(path.name for path in (tmp_path / "sweep").iterdir() if path.is_dir())
    name = "undercomplete_bottleneck_digits_latent_dim"
    assert jobs == [f"0_{name}-4", f"1_{name}-8"]
    status, out, _ = aeframe(*words)
    assert status == 0
    assert all(f"{tmp_path}/sweep/{job}: has finished" in out for job in jobs)


def test_an_earlier_sweep_is_resumed_in_its_own_folders(aeframe: Command, tmp_path: Path) -> None:
    words = ("-m", "model.latent_dim=4,8", "hydra.sweep.dir=sweep", "resume=auto", *TINY)
    assert aeframe(*words)[0] == 0
    name = "undercomplete_bottleneck_digits"
    for job in (tmp_path / "sweep").glob("[01]_*"):
        job.rename(job.with_name(job.name.partition("_latent_dim")[0]))
    assert name_job(str(tmp_path / "sweep"), 1, name, "_x-1") == f"1_{name}"
    assert name_job(str(tmp_path / "sweep"), 2, name, "_x-1") == f"2_{name}_x-1"
    assert name_job(str(tmp_path / "nowhere"), 1, name, "_x-1") == f"1_{name}_x-1"
    before = sorted(path.name for path in (tmp_path / "sweep").iterdir())
    status, out, _ = aeframe(*words)
    assert status == 0
    assert out.count(": has finished") == 2
    assert sorted(path.name for path in (tmp_path / "sweep").iterdir()) == before
