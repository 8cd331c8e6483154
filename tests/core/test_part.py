"""Declarations of parts: their words are checked when the class is made."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor

from aeframe.constraints import Constraint, Pass, TopK
from aeframe.core.part import FORMER, WORDS, Part
from aeframe.models import Autoencoder, Variational
from aeframe.models.likelihoods import Gaussian, Likelihood
from aeframe.networks import FullyConv, Network


@pytest.mark.parametrize("base", [Constraint, Autoencoder, Network, Likelihood])
@pytest.mark.parametrize("name", ["needs", "gives"])
def test_an_unknown_word_is_an_error_that_names_class_and_words(base: type, name: str) -> None:
    with pytest.raises(TypeError) as caught:
        type("Mine", (base,), {name: {"few units"}})
    assert str(caught.value).startswith(f"Mine.{name}: unknown words ['few units']. Known: ")
    assert all(word in str(caught.value) for word in WORDS)


def test_a_constraint_that_gives_nothing_is_an_error() -> None:
    wanted = re.escape("Mine.gives: is missing. Write gives = {...} of: corrupted input, ")
    with pytest.raises(TypeError, match=wanted):
        type("Mine", (Constraint,), {"needs": {"deterministic code"}})


def test_one_text_is_not_taken_for_a_set_of_letters() -> None:
    with pytest.raises(TypeError, match=re.escape("Mine.gives: expected a set, {'sparsity'}.")):
        type("Mine", (Constraint,), {"gives": "sparsity"})


def test_overridden_hooks_are_declarations() -> None:
    class Mine(Constraint):
        def penalty(self, seen: Pass) -> Tensor:
            return torch.zeros(())

    assert (Mine.gives, Mine.needs) == ({"penalty"}, set())


def test_a_class_adds_to_what_its_bases_declare() -> None:
    class Mine(TopK):
        needs = frozenset({"linear decoder"})
        gives = frozenset({"small code"})

    assert Mine.needs == {"deterministic code", "linear decoder"}
    assert Mine.gives == {"sparsity", "dormant units", "small code"}
    assert TopK.needs == {"deterministic code"}


def test_options_add_words_to_one_part_alone() -> None:
    part = TopK(k=3, read="active")
    assert part.needs == {"deterministic code", "own weights"}
    assert TopK.needs == TopK(k=3).needs == {"deterministic code"}
    with pytest.raises(TypeError, match=r"TopK\.gives: unknown words \['nothing'\]"):
        part.declare(gives=["nothing"])  # type: ignore[list-item]


def test_declarations_of_earlier_versions_mean_the_same() -> None:
    flags = {"kind": "activation", "sparse": True, "deterministic": True}
    halving = type("Halving", (Constraint,), flags)
    assert halving.gives == TopK.gives
    assert halving.needs == TopK.needs
    drawn = type("Drawn", (Autoencoder,), {"stochastic": True})
    assert drawn.gives == {"posterior"} < Variational.gives
    assert type("Laplace", (Likelihood,), {"linear": True}).gives == Gaussian.gives
    assert type("Shared", (Network,), {"shares_weights": True}).gives == FullyConv.gives


def test_every_former_declaration_has_a_present_word() -> None:
    for flag, value in FORMER:
        made = type("Mine", (Part,), {flag: value})
        assert len(made.needs | made.gives) == 1
