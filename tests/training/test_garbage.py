"""Jobs of a sweep, and fits of an estimator, leave nothing in memory."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from aeframe.estimators import AutoencoderTransformer
from aeframe.training import attempt
from tests.support.runs import TINY
from tests.support.sweeps import fail_with

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[weakref.ref[Any]]]:
    """The data and the networks of all runs, while Python itself collects nothing."""
    kept, build = list[weakref.ref[Any]](), attempt.build

    def noted(*given: Any) -> Any:
        assert all(one() is None for one in kept)  # before the next job reads its data
        made = build(*given)
        kept.extend(map(weakref.ref, (made.data, made.net, made.module)))
        return made

    monkeypatch.setattr(attempt, "build", noted)
    gc.collect()
    gc.disable()
    yield kept
    gc.enable()


def test_a_sweep_keeps_nothing_of_a_job(
    aeframe: Command, built: list[weakref.ref[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_with(4, monkeypatch)
    status, _, _ = aeframe("-m", "model.latent_dim=2,4,8", *TINY)
    assert status == 1
    assert len(built) == 9
    assert all(one() is None for one in built)


def test_an_estimator_keeps_its_model_alone(built: list[weakref.ref[Any]]) -> None:
    x = np.random.default_rng(0).normal(size=(40, 6))
    estimator = AutoencoderTransformer(latent_dim=2, max_epochs=1)
    for _ in range(2):
        estimator.fit(x)
    assert len(built) == 6
    assert all(one() is None for one in built)
