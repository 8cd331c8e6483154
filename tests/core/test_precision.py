"""Every precision has the random numbers of float32, and adds up its loss in float32 or wider."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig

from aeframe.core.noise import Noise
from aeframe.core.precision import widen
from aeframe.models import Posterior
from aeframe.training.build import build
from tests.support.runs import TINY

Compose = Callable[..., DictConfig]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_numbers_are_the_same_in_every_default_dtype(dtype: torch.dtype) -> None:
    expected = Noise(0, "x").normal((64, 3)), Noise(0, "x").uniform((64, 3))
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        found = Noise(0, "x").normal((64, 3)), Noise(0, "x").uniform((64, 3))
    finally:
        torch.set_default_dtype(before)
    for one, other in zip(expected, found, strict=True):
        assert other.dtype == torch.float32
        assert torch.equal(one, other)


def test_a_run_in_double_precision_is_evaluated_with_its_own_noise(
    aeframe: Callable[..., Any], verb: Callable[..., Any], tmp_path: Path
) -> None:
    words = ("model=denoising", "network.widths=[]", "trainer.precision=64-true", *TINY)
    assert aeframe(*words, "hydra.run.dir=run")[0] == 0
    card = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    found = json.loads(verb("evaluate", tmp_path / "run", "--json")[1])
    assert found["metrics"] == pytest.approx(card["metrics"], rel=1e-6)


def test_widen_leaves_double_precision() -> None:
    kinds = {torch.bfloat16: torch.float32, torch.float16: torch.float32}
    kinds |= {torch.float32: torch.float32, torch.float64: torch.float64}
    assert {kind: widen(torch.ones(1, dtype=kind)).dtype for kind in kinds} == kinds


TERMS = {
    "the KL": (
        ["model=variational", "likelihood=gaussian", "likelihood.variance=1.0"],
        "gaussian_kl",
    ),
    "the bound": (
        ["model=variational", "model.objective=importance_weighted", "model.k=3"],
        "negative_importance_weighted_bound",
    ),
    "l1 of a deep decoder": (["model=sparse", "constraint=l1", "network=mlp"], "l1"),
    "contractive": (["constraint=contractive", "network.activation=tanh"], "contractive"),
    "the rate": (["constraint=rate"], "rate"),
}


@pytest.mark.parametrize("kind", TERMS)
def test_under_autocast_each_term_is_that_of_float32(compose: Compose, kind: str) -> None:
    """The layers round to 8 bits, and the sums of what they give must not."""
    words, name = TERMS[kind]
    net = build(compose(*words)).net
    x = torch.rand(128, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    exact = net(x, noise=Noise(0)).terms
    with torch.autocast("cpu", torch.bfloat16):
        rounded = net(x, noise=Noise(0)).terms
    for term in (name, "reconstruction") if "reconstruction" in exact else (name,):
        assert rounded[term].value.dtype == torch.float32
        found = pytest.approx(exact[term].value.item(), rel=2e-3)
        assert rounded[term].value.item() == found, term


def test_near_the_prior_the_kl_is_no_rounding_error() -> None:
    small = torch.tensor([[1e-4, -1e-4, 3e-5]])
    found = Posterior(torch.zeros(1, 3), small).kl()
    assert torch.allclose(found, small.square() / 4, rtol=1e-2, atol=0)


def test_noise_of_one_step_is_not_lost_on_large_numbers_in_bfloat16(compose: Compose) -> None:
    net = build(compose("constraint=rate", "constraint.rate.step=1.0")).net
    code = net.model.encode(torch.rand(64, 1, 8, 8))
    large = code._replace(pre=torch.full_like(code.pre, 100.0).bfloat16())
    spread = net.constraints["rate"].perturb(large, Noise(0), net.clock).value - 100
    assert spread.var().item() == pytest.approx(1 / 12, rel=0.1)
    assert len(spread.unique()) > 500
