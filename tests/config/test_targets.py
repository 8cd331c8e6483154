"""Targets: the classes that a configuration names, under present and former names."""

from __future__ import annotations

import pytest
import torch

from aeframe.config.targets import resolve, use_former_names, use_present_names
from aeframe.data import DataSpec
from aeframe.models.likelihoods import Gaussian
from aeframe.runs.description import Description

PRESENT, FORMER = "aeframe.models.likelihoods.Gaussian", "aeframe.likelihoods.Gaussian"
SPEC = DataSpec((2,), 0.0, 1.0, 10, (0.0, 1.0), torch.float32)


def node(target: str) -> dict[str, object]:
    return {"likelihood": {"_target_": target, "variance": "auto"}, "seed": 1}


@pytest.mark.parametrize("target", [PRESENT, FORMER])
def test_a_class_is_found_under_both_names(target: str) -> None:
    assert resolve(target) is Gaussian
    assert use_present_names(node(target)) == node(PRESENT)
    assert use_former_names(node(target)) == node(FORMER)


@pytest.mark.parametrize("odd", [{}, {"likelihood": None}, {"likelihood": {"_target_": ["x"]}}])
def test_nodes_without_a_class_stay(odd: dict[str, object]) -> None:
    assert use_present_names(odd) == use_former_names(odd) == odd


def test_keys_that_are_gone_are_dropped() -> None:
    saved = {"trainer": {"cuda_graph": False, "max_epochs": 2}, "seed": 1}
    assert use_present_names(saved) == {"trainer": {"max_epochs": 2}, "seed": 1}
    assert use_present_names({"trainer": ["cuda_graph"]}) == {"trainer": ["cuda_graph"]}


def test_a_model_keeps_its_identity_when_a_class_moves() -> None:
    weights = {"a": torch.arange(3.0)}
    former, present = (
        Description(node(target), SPEC).add_identity(weights).identity
        for target in (FORMER, PRESENT)
    )
    # what the version before the move wrote for these
    assert former == present == "55d977d6e2f4b46ad8f5a7dd0e24b9de9811fbaa04469524750ea7b64151f5ef"
