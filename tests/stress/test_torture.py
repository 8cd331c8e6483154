"""A few of the runs of `python -m tests.stress.torture`, which ends some hundreds."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stress import random_ends, torture
from tests.stress.random_ends import Full, Kills, Ranks, Terms, Torture
from tests.stress.torture import CONFIGURATIONS, RANKS, Plan
from tests.support.forks import Server

TIMES = int(os.environ.get("AEFRAME_TORTURE", "1"))  # as many runs
SHORT = "trainer.max_epochs=6"


@pytest.fixture(autouse=True)
def _all_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random_ends, "REAL", 0.0)


def ended(tortured: Torture, kind: str, ends: int) -> None:
    """Let so many runs end, and look for faults."""
    while (left := ends * TIMES - tortured.tally.counts[kind]) > 0:
        tortured.until_its_end(min(left, 3), kind)
    assert tortured.tally.faults == []
    assert tortured.tally.counts["resumed"]


@pytest.mark.parametrize(
    ("name", "kills"),
    [
        ("sparse, kl_sparsity, resampling", 4),
        ("undercomplete, dropout, batch norm, workers", 3),
        ("variational, beta", 3),
    ],
)
def test_a_run_that_is_killed_goes_on_as_if_nothing_had_been(
    server: Server, tmp_path: Path, name: str, kills: int
) -> None:
    words = (*CONFIGURATIONS[name], SHORT)
    ended(Kills(server, tmp_path / "run", words, random.Random(name)), "SIGKILL", kills)


def test_a_signal_leaves_a_checkpoint_of_its_step(server: Server, tmp_path: Path) -> None:
    words = (*CONFIGURATIONS["denoising, accumulation"], SHORT)
    ended(Terms(server, tmp_path / "run", words, random.Random(0)), "SIGTERM", 3)


def test_no_rank_stays_behind(server: Server, tmp_path: Path) -> None:
    words = (*RANKS["two ranks, variational, patience"], SHORT)
    ended(Ranks(server, tmp_path / "run", words, random.Random(1)), "SIGKILL", 2)


@pytest.mark.parametrize("where", ["file system", "file"])
def test_no_room_is_one_line_and_loses_nothing(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    chance = random.Random(where)
    monkeypatch.setattr(random_ends, "WIDE", (*random_ends.WIDE, SHORT))
    with random_ends.small_disk(tmp_path / "disk") as mounted:
        if where == "file system" and not mounted:
            pytest.skip("mounting one is not allowed")
        full = Full(server, tmp_path / "disk", chance, mounted=where == "file system")
        for share in (0.0, 0.1, 0.4, 0.7)[: None if mounted else 3]:
            full.starts_with(int(share * full.most))
    assert full.tally.faults == []
    assert full.tally.counts["full"] >= 2


def test_the_command_tells_what_it_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(plan: Plan, *_: object) -> Iterator[torture.Row]:
        tally = random_ends.Tally()
        tally.counts["SIGKILL"] = plan.kills
        if plan.seed:
            tally.fault("different", "1: last/state_dict/net.code")
        yield "topk", tally

    monkeypatch.setattr(torture, "torment", told)
    assert torture.main(["--kills", "7"]) == 0
    assert torture.main(["--kills", "7", "--seed", "1"]) == 1
    out = capsys.readouterr().out
    assert "topk: different: 1: last/state_dict/net.code" in out
