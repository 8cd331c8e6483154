"""Sweeps that trade the error for a cheaper code have no single best job."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from aeframe.cli.sweep import SweepTable
from aeframe.evaluation.tradeoffs import Trade, list_trading_keys, mark_unbeaten
from aeframe.training.build import build

Compose = Callable[..., DictConfig]
ERRORS = {"mse": 0.5, "denoised_mse": 0.6, "l0": 7.0, "kl": 3.0, "rate": 40.0, "contractive": 2.0}


def trade(error: float, price: float, *keys: str, name: str = "l0") -> Trade:
    return Trade(keys, "mse", name, (error, price))


@pytest.mark.parametrize(
    ("words", "keys", "price"),
    [
        ([], ["model.latent_dim", "constraint.bottleneck.size", "constraint.bottleneck.ratio"],
         ("latent_dim", 16)),
        (["model=sparse"], ["model.latent_dim", "constraint.topk.k"], ("l0", 7.0)),
        (["model=sparse", "constraint=[l1,resampling]"],
         ["model.latent_dim", "constraint.l1.weight"], ("l0", 7.0)),
        (["constraint=rate"],
         ["model.latent_dim", "constraint.rate.weight", "constraint.rate.step"], ("rate", 40.0)),
        (["model=variational", "constraint=[]"], ["model.beta", "model.free_bits"], ("kl", 3.0)),
        (["constraint=contractive"], ["model.latent_dim", "constraint.contractive.weight"],
         ("contractive", 2.0)),
    ],
)  # fmt: skip
def test_the_trade_of_a_run_is_asked_of_its_parts(
    compose: Compose, words: list[str], keys: list[str], price: tuple[str, float]
) -> None:
    net = build(compose(*words)).net
    metrics = {k: v for k, v in ERRORS.items() if k != "denoised_mse"}
    found = Trade.read_from(net, metrics)
    assert found == Trade(tuple(keys), "mse", price[0], (0.5, price[1]))
    assert Trade.read(json.loads(json.dumps(found.as_dict()))) == found
    assert Trade.read_from(net, ERRORS).values[0] == 0.6


def test_a_trade_without_numbers_is_none() -> None:
    assert Trade.read(None) is None
    assert Trade.read({**trade(1, 1).as_dict(), "values": [None, 1.0]}) is None
    for wrong in ({}, [], {"values": [1]}, {"values": ["x", 1]}, {"values": 3}):
        with pytest.raises((KeyError, TypeError, ValueError)):
            Trade.read(wrong)


def test_unbeaten_trades_are_marked() -> None:
    points = [(1.0, 5.0), (2.0, 3.0), (2.0, 4.0), (3.0, 3.0), (4.0, 1.0), (1.0, 5.0), (5.0, 0.5)]
    front = mark_unbeaten([trade(*point) for point in points])
    brute = [not any(a <= x and b <= y and (a, b) != (x, y) for a, b in points) for x, y in points]
    assert front == brute == [True, True, False, False, True, True, True]
    assert mark_unbeaten([trade(1, 1), trade(2, 2, name="kl")]) == [True, True]  # other units


def test_which_swept_keys_trade() -> None:
    jobs = [
        trade(1, 1, "model.latent_dim", "constraint.l1.weight"),
        trade(1, 1, "constraint.topk.k"),
    ]
    for key in (
        "constraint.topk.k",
        "constraint.l1.weight",
        "constraint",
        "model",
        "model.latent_dim",
    ):
        assert list_trading_keys([key, "seed"], jobs) == [key]
    assert list_trading_keys(["seed", "optimizer.lr", "constraint.l1.form", "mod"], jobs) == []


def sweep(root: Path, key: str, jobs: list[tuple[str, Trade | None]], metric: str) -> str:
    for number, (value, traded) in enumerate(jobs):
        (root / f"{number}_run" / ".hydra").mkdir(parents=True)
        (root / f"{number}_run" / ".hydra" / "overrides.yaml").write_text(f"- {key}={value}\n")
        by = traded.values[0] if traded and metric == "val/mse" else 100.0 - number
        card: dict[str, Any] = {
            "metrics": {"mse": 1.0},
            "validation": {"mse": 1.0},
            "copy_check": {"copied": 0.25, "passed": True},
            "optimized_metric": {"name": metric, "value": by, "direction": "min"},
            "trade": traded and traded.as_dict(),
        }
        (root / f"{number}_run" / "evaluation.json").write_text(json.dumps(card))
    SweepTable().on_multirun_end(OmegaConf.create({"hydra": {"sweep": {"dir": str(root)}}}))
    return str(root)


@pytest.mark.parametrize("metric", ["val/mse", "val/loss"])
def test_a_sweep_over_what_trades_has_no_best_run(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], metric: str
) -> None:
    key = "constraint.l1.weight"
    sides = [(0.9, 2.0), (0.1, 30.0), (0.5, 8.0), (0.6, 9.0)]
    jobs = [(str(n), trade(*side, key)) for n, side in enumerate(sides)]
    sweep(tmp_path, key, jobs, metric)
    out = capfd.readouterr().out
    assert "4 jobs by val/mse" in out  # losses of other weights are no order
    assert "Best run" not in out
    assert (
        f"No best run: with {key}, a smaller val/mse costs a larger l0 (active units). Choose among the jobs "
        "marked *: no other job is as good or better in both."
    ) in out.splitlines()
    copied = "share of pure noise that the network reconstructs; above 0.67 it copies any input"
    assert f"copied: {copied}." in out.splitlines()
    with (tmp_path / "sweep.csv").open(newline="") as opened:
        rows = list(csv.DictReader(opened))
    found = [(row[key], row["val/mse"], row["price"], row["unbeaten"]) for row in rows]
    assert found == [
        ("1", "0.1", "30.0", "yes"),
        ("2", "0.5", "8.0", "yes"),
        ("3", "0.6", "9.0", "no"),
        ("0", "0.9", "2.0", "yes"),
    ]


def test_jobs_that_pay_in_other_units_are_ranked_and_that_is_said(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    jobs = [
        ("undercomplete", trade(0.2, 16, "model.latent_dim", name="latent_dim")),
        ("variational", trade(0.4, 0.02, "model.latent_dim", name="kl")),
    ]
    sweep(tmp_path, "model", jobs, "val/mse")
    out = capfd.readouterr().out
    assert f"Best run: {tmp_path / '0_run'}" in out.splitlines()
    assert "the codes of the jobs cost latent_dim and kl, which cannot be compared" in out
    assert "*" not in out


@pytest.mark.parametrize(
    ("key", "sides"),
    [("optimizer.lr", [(0.9, 2.0), (0.1, 30.0)]), ("constraint.l1.weight", [(0.9, 40.0), (0.1, 30.0)])],
    ids=["no trade", "one beats all"],
)  # fmt: skip
def test_where_nothing_is_traded_there_is_a_best_run(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    key: str,
    sides: list[tuple[float, float]],
) -> None:
    jobs = [(str(n), trade(*side, "constraint.l1.weight")) for n, side in enumerate(sides)]
    sweep(tmp_path, key, [*jobs, ("old", None)], "val/negative_elbo")
    out = capfd.readouterr().out
    assert f"Best run: {tmp_path / '2_run'}" in out.splitlines()  # by its value
    assert "No best run" not in out
