"""Declarations of parts: their words are checked when the class is made."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor

from aeframe.constraints import Constraint, Pass, TopK
from aeframe.constraints.constrained import ConstrainedAutoencoder
from aeframe.core.part import FORMER, WORDS, Part, Word
from aeframe.data import Normalization
from aeframe.models import Autoencoder, Setting, Undercomplete, Variational
from aeframe.models.likelihoods import Gaussian, Likelihood
from aeframe.networks import MLP, FullyConv, Network


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


# the flags of the former base class of constraints, with each value but the default, and what they mean now
FLAGS: dict[tuple[str, object], tuple[set[str], set[str]]] = {
    ("kind", "size"): (set(), {"small code"}),
    ("kind", "corruption"): (set(), {"corrupted input"}),
    ("kind", "activation"): (set(), {"dormant units"}),
    ("kind", "revival"): (set(), {"revived units"}),
    ("sparse", True): (set(), {"sparsity"}),
    ("deterministic", True): ({"deterministic code"}, set()),
    ("unit_interval", "gives"): (set(), {"units in (0, 1)"}),
    ("unit_interval", "needs"): ({"units in (0, 1)"}, {"bounded means"}),
    ("linear_mean", True): ({"linear mean"}, set()),
    ("edits_weights", True): ({"whole weights"}, set()),
    ("linear_decoder", True): ({"linear decoder"}, set()),
    ("own_weights", True): ({"own weights"}, set()),
    ("penalises", True): (set(), {"penalty"}),
    ("is_aim", True): (set(), {"objective"}),
    ("weighs", True): (set(), {"weighted elements"}),
    ("single_layer", True): ({"linear encoder"}, set()),
    ("differentiates", "deep"): ({"derivatives of hidden layers"}, set()),
    ("differentiates", "always"): ({"derivatives"}, set()),
    ("blurs", True): (set(), {"noisy code"}),
    ("codes_as_trained", False): (set(), {"dense inference"}),
    ("fixes_norms", True): (set(), {"fixed norms"}),
}
OTHERS = {"requires", "stochastic", "linear", "shares_weights"}  # of models, likelihoods, networks


def test_every_former_declaration_has_a_present_word() -> None:
    for flag, value, _, _ in FORMER:
        made = type("Mine", (Part,), {flag: value})
        assert len(made.needs | made.gives) == 1 + ((flag, value) == ("unit_interval", "needs"))
    for (flag, value), words in FLAGS.items():
        made = type("Mine", (Part,), {flag: value})
        assert (made.needs, made.gives) == words
    assert {(flag, value) for flag, value, _, _ in FORMER if flag not in OTHERS} == set(FLAGS)


def make_network(part: Constraint) -> ConstrainedAutoencoder:
    model = Undercomplete(Setting(MLP(widths=[]), Gaussian(), (4,)), latent_dim=2)
    return ConstrainedAutoencoder(
        model, {"mine": part}, Normalization(torch.zeros(1), torch.ones(1))
    )


def make_part(flag: str, value: object, **words: list[Word]) -> Constraint:
    class Mine(Constraint):
        gives = frozenset({"small code"})

        def __init__(self) -> None:
            super().__init__()
            setattr(self, flag, value)
            self.declare(**words)

    return Mine()


@pytest.mark.parametrize(
    ("flag", "value", "words"),
    [
        ("linear_decoder", True, "needs=['linear decoder']"),
        ("differentiates", "always", "needs=['derivatives']"),
        ("differentiates", "deep", "needs=['derivatives of hidden layers']"),
        ("codes_as_trained", False, "gives=['dense inference']"),
        ("single_layer", True, "needs=['linear encoder']"),
        ("edits_weights", True, "needs=['whole weights']"),
        ("own_weights", True, "needs=['own weights']"),
        ("fixes_norms", True, "gives=['fixed norms']"),
        ("weighs", True, "gives=['weighted elements']"),
    ],
)
def test_a_former_flag_that_a_constructor_sets_is_an_error(
    flag: str, value: object, words: str
) -> None:
    message = f"Mine.{flag}: {value!r} has no effect if the constructor sets it. "
    with pytest.raises(
        TypeError, match=re.escape(f"{message}Write self.declare({words}) instead.")
    ):
        make_network(make_part(flag, value))


def test_a_former_flag_that_changes_nothing_is_no_error() -> None:
    make_network(make_part("linear_decoder", False))
    make_network(make_part("linear_decoder", True, needs=["linear decoder"]))
    make_network(make_part("weighs", torch.ones(3)))
