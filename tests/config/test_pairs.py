"""Every variant with every constraint: two steps with a finite loss, or refused with what to write."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig

from aeframe.config.check import check
from aeframe.constraints import AuxK, Constraint, Resampling
from aeframe.core.errors import ConfigError
from aeframe.training.build import build
from tests.support.fitting import fit
from tests.support.pairs import (
    CONSTRAINTS,
    CORRUPTIONS,
    ILLEGAL,
    SPARSE,
    VARIANTS,
    choice,
)

Compose = Callable[..., DictConfig]


LEGAL = [(v, c) for v in VARIANTS for c in CONSTRAINTS if (v, c) not in ILLEGAL]


def test_all_variants_and_constraints_are_looked_at() -> None:
    assert {variant for variant, _ in ILLEGAL} == set(VARIANTS)
    assert {name for _, name in ILLEGAL} | SPARSE | CORRUPTIONS <= set(CONSTRAINTS)
    assert len(LEGAL) + len(ILLEGAL) == len(VARIANTS) * len(CONSTRAINTS)


@pytest.mark.parametrize(("variant", "constraint"), LEGAL)
def test_a_legal_pair_takes_two_steps(
    compose: Compose, tmp_path: Path, variant: str, constraint: str
) -> None:
    built = build(compose(*choice(variant, constraint)))
    before = [p.detach().clone() for p in built.net.model.parameters() if p.requires_grad]
    trainer, losses = fit(built, tmp_path, max_epochs=1, limit_train_batches=2, limit_val_batches=1)
    assert len(losses) == 2
    assert all(torch.isfinite(torch.tensor(losses)))
    after = [p for p in built.net.model.parameters() if p.requires_grad]
    assert all((b != a).any() for b, a in zip(before, after, strict=True))  # all is trained
    part = built.net.constraints[constraint]
    if type(part).penalty is not Constraint.penalty:
        assert f"val/{constraint}" in trainer.callback_metrics


@pytest.mark.parametrize("pair", sorted(ILLEGAL), ids=" ".join)
def test_an_illegal_pair_is_refused_with_what_to_write(
    compose: Compose, pair: tuple[str, str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        check(compose(*choice(*pair)))
    first, *more = caught.value.problems
    assert ILLEGAL[pair] in first.what
    assert pair[1] in first.where
    assert first.remedy
    # auxk wants the network changed as well, but for a posterior, where nothing else matters
    assert len(more) == (pair[1] == "auxk" and pair[0] != "variational")


@pytest.mark.parametrize("constraint", sorted(SPARSE))
@pytest.mark.parametrize("reviver", ["auxk", "resampling"])
def test_dead_units_are_revived_beside_every_sparse_constraint(
    compose: Compose, tmp_path: Path, constraint: str, reviver: str
) -> None:
    soon = [f"constraint.{reviver}.after=0.05"]
    soon += ["constraint.resampling.every=0.2"] if reviver == "resampling" else []
    built = build(compose("model=sparse", f"constraint=[{constraint},{reviver}]", *soon))
    part = built.net.constraints[reviver]
    assert isinstance(part, AuxK | Resampling)
    dead: list[int] = []
    observe = part.observe

    def noted(*args: Any) -> None:
        observe(*args)
        dead.append(int(part.dead.sum()))

    part.observe = noted  # type: ignore[method-assign]
    _, losses = fit(built, tmp_path, max_epochs=1)
    assert max(losses) < 1.5 * losses[0]  # what starts anew does not wreck what has been learned
    assert losses[-1] < losses[0]
    if reviver == "resampling" and max(dead) > 50:
        assert min(now - before for before, now in pairwise(dead)) <= -8  # a quarter of the batch


@pytest.mark.parametrize(
    "stack",
    [
        "[masking,gaussian_noise,salt_and_pepper,bottleneck,l1,l2,contractive,orthogonal]",
        "[sigmoid,kl_sparsity,bottleneck]",
        "[masking,bottleneck,l1,l2,contractive,orthogonal,rate]",
        "[masking,batch_topk,resampling,orthogonal]",
    ],
)
@pytest.mark.parametrize("network", ["mlp", "conv", "linear"])
def test_constraints_stack_on_every_network(
    compose: Compose, tmp_path: Path, stack: str, network: str
) -> None:
    wide = "network.widths=[8]" if network == "conv" else "network.activation=tanh"
    more = ["constraint.batch_topk.k=4"] if "batch_topk" in stack else []
    cfg = compose("model.latent_dim=12", f"constraint={stack}", f"network={network}", wide, *more)
    _, losses = fit(build(cfg), tmp_path, max_epochs=1, limit_train_batches=2, limit_val_batches=1)
    assert all(torch.isfinite(torch.tensor(losses)))


@pytest.mark.parametrize("precision", ["bf16-mixed", "64-true"])
@pytest.mark.parametrize("constraint", [c for c in CONSTRAINTS if c != "bottleneck"])
def test_every_constraint_in_other_precisions(
    compose: Compose, tmp_path: Path, constraint: str, precision: str
) -> None:
    cfg = compose(*choice("sparse", constraint), f"trainer.precision={precision}")
    _, losses = fit(build(cfg), tmp_path, max_epochs=1, limit_train_batches=2, limit_val_batches=1)
    assert all(torch.isfinite(torch.tensor(losses)))


@pytest.mark.parametrize(
    ("overrides", "note"),
    [
        (["constraint=[masking,contractive]"], "masking already makes the code insensitive"),
        (
            ["model=sparse", "constraint=[topk,l1]"],
            "topk already says which units are active; l1 only shrinks them as well",
        ),
        (
            ["model=sparse", "constraint=[kl_sparsity,l2]"],
            "a batch of 32 is too small to estimate a mean of 0.05; use 100 or more",
        ),
        (
            ["model=sparse", "constraint=kl_sparsity", "dataset.batch_size=128"],
            "small changes around rho can carry everything to a decoder with large weights",
        ),
    ],
)
def test_legal_choices_that_work_badly_are_noted(
    compose: Compose, overrides: list[str], note: str
) -> None:
    (found,) = build(compose(*overrides)).notes
    assert note in found.what


def test_healthy_defaults_have_no_notes(compose: Compose) -> None:
    for variant in VARIANTS:
        assert build(compose(f"model={variant}")).notes == []


def test_l1_of_a_linear_decoder_differentiates_nothing(compose: Compose) -> None:
    check(compose("model=sparse", "constraint=l1", "hardware=fsdp"))
