"""Values that stand for `auto`: by the data, printed, saved, and kept by a resumed run."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aeframe.config.auto_record import replace_option, settle, unsettle
from aeframe.config.auto_values import choose_batch_size, choose_epochs
from aeframe.config.differences import find_differences
from aeframe.config.node import to_plain
from aeframe.constraints import BatchTopK, TopK
from aeframe.evaluation.baselines import measure_baselines
from aeframe.models import Sparse
from aeframe.models.autoencoder import Setting
from aeframe.models.likelihoods import Gaussian
from aeframe.models.sparse import LEAST
from aeframe.networks import MLP
from aeframe.runs.checkpoint import Saved
from aeframe.training.build import build
from aeframe.training.resume.configuration import keep_choices

Command = Callable[..., tuple[int, str, str]]
SHORT = ("evaluation.images=32", "dashboard.images=0", "trainer.limit_train_batches=2")


@pytest.mark.parametrize(
    ("samples", "size", "epochs"),
    [(1, 16, 4000), (160, 16, 400), (324, 16, 191), (1437, 64, 174), (54_000, 128, 20)],
)
def test_sizes_and_lengths(samples: int, size: int, epochs: int) -> None:
    assert choose_batch_size(samples, 1) == size
    assert choose_epochs(samples, size, 1) == epochs


@given(samples=st.integers(1, 10**8), processes=st.integers(1, 64))
def test_a_batch_suits_the_data_and_the_processes(samples: int, processes: int) -> None:
    size = choose_batch_size(samples, processes)
    assert size % processes == 0
    assert 16 <= size < 128 + processes
    if processes == 1 and size > 16:
        assert samples / size >= 16


@given(samples=st.integers(1, 10**7), size=st.integers(1, 4096), accumulated=st.integers(1, 9))
def test_a_run_has_twenty_epochs_and_four_thousand_steps(
    samples: int, size: int, accumulated: int
) -> None:
    epochs = choose_epochs(samples, size, accumulated)
    steps = math.ceil(math.ceil(samples / size) / accumulated)
    assert epochs >= 20
    assert epochs * steps >= 4000
    assert epochs == 20 or (epochs - 1) * steps < 4000


@pytest.mark.parametrize(
    ("inputs", "samples", "units"),
    [
        (64, 1437, 128),
        (784, 54_000, 1024),
        (30, 455, 60),
        (500, 160, 64),
        (3072, 1600, 128),
        (3072, 323, 64),
        (1, 3, 2),
        (3072, None, 256),
    ],
)
def test_the_units_of_a_sparse_code_follow_inputs_and_samples(
    inputs: int, samples: int | None, units: int
) -> None:
    assert Sparse.choose({}, inputs, samples) == {"latent_dim": units}
    # the same number may be written by hand
    setting = Setting(MLP(widths=[]), Gaussian(), (inputs,))
    assert Sparse(setting, latent_dim=units, allow_undercomplete="auto").problems() == []


@given(inputs=st.integers(1, 10**7), samples=st.integers(1, 10**8))
def test_a_sparse_code_is_never_refused_by_default(inputs: int, samples: int) -> None:
    units = Sparse.choose({}, inputs, samples)["latent_dim"]
    assert units > inputs or units >= LEAST
    least = Sparse.choose({"allow_undercomplete": False}, inputs, samples)["latent_dim"]
    assert least == (units if units > inputs else 2 * inputs)
    for constraint in (TopK(k="auto"), BatchTopK(k="auto")):
        k = constraint.choose(units, inputs)["k"]
        assert 1 <= k <= min(16, max(1, inputs // 4))
        assert k < units
        assert constraint.size_problem(units, inputs, 128) is None


@pytest.mark.parametrize(
    ("shape", "units", "k"),
    [((70, 8), 16, 2), ((40, 3, 32, 32), 64, 16), ((300, 30), 60, 7)],
)
def test_a_sparse_model_takes_any_data_by_default(
    compose: Callable[..., Any], tmp_path: Path, shape: tuple[int, ...], units: int, k: int
) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random(shape, np.float32))
    words = ("model=sparse", "dataset=array", f"dataset.path={tmp_path / 'x.npy'}")
    built = build(compose(*words))
    assert built.node["model"]["latent_dim"] == built.net.model.latent_dim == units
    assert built.node["constraint"]["topk"]["k"] == k
    assert unsettle(built.node)["constraint"]["topk"]["k"] == "auto"
    assert built.node["automatic"]["constraint.topk.k"] == k


def test_a_sparse_code_that_may_not_be_small_is_large_by_default(
    compose: Callable[..., Any], tmp_path: Path
) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((40, 1, 12, 12), np.float32))
    words = ("model=sparse", "dataset=array", f"dataset.path={tmp_path / 'x.npy'}")
    assert build(compose(*words)).node["model"]["latent_dim"] == 64
    strict = build(compose(*words, "model.allow_undercomplete=false"))
    assert strict.node["model"]["latent_dim"] == strict.net.model.latent_dim == 288


def test_a_resumed_run_keeps_the_units_of_earlier_versions(
    compose: Callable[..., Any], tmp_path: Path
) -> None:
    """Their configurations have the numbers, which were the defaults."""
    given = to_plain(compose("model=sparse"))
    node = replace_option(given, "constraint.topk.k", 16)
    node["model"] = {**node["model"], "latent_dim": 1024, "allow_undercomplete": False}
    kept = keep_choices(Saved(tmp_path, tmp_path, node, 0, 1, None, None), given)
    assert kept["model"] == node["model"]
    assert kept["constraint"]["topk"]["k"] == 16


def test_what_is_settled_can_be_written_as_it_was() -> None:
    node: dict[str, Any] = {"trainer": {"max_epochs": "auto", "lr": 1}, "network": {"kind": "auto"}}
    values = {"trainer.max_epochs": 7, "network.kind": "conv", "trainer.lr": 5, "no.key.at": 1}
    settled = settle(node, values)
    assert settled["trainer"] == {"max_epochs": 7, "lr": 1}
    assert settled["automatic"] == {"trainer.max_epochs": 7, "network.kind": "conv"}
    assert unsettle(settled) == node
    changed = {**settled, "trainer": {"max_epochs": 9, "lr": 1}}
    assert unsettle(changed)["trainer"]["max_epochs"] == 9


@pytest.mark.parametrize(
    ("words", "start"),
    [
        ((), "pca"),
        (("model=denoising",), "pca"),
        (("model=variational", "likelihood=gaussian"), "pca"),
        (("model=variational",), "random"),  # Bernoulli
        (("likelihood=bernoulli",), "random"),
        (("model=sparse",), "random"),
        (("constraint=[bottleneck,sigmoid]",), "random"),
        (("constraint=rate",), "random"),
        (("network=mlp", "network.tied=true"), "random"),
    ],
)
def test_a_network_starts_as_pca_where_all_is_linear(
    compose: Callable[..., Any], words: tuple[str, ...], start: str
) -> None:
    built = build(compose(*words))
    assert built.node["network"]["start"] == start
    assert built.node["dataset"]["batch_size"] == 32  # of the digits
    assert built.node["trainer"]["max_epochs"] == 89
    assert built.node["early_stopping"]["patience"] == 23


def test_the_words_of_a_settled_configuration_are_those_that_were_typed(
    compose: Callable[..., Any],
) -> None:
    words = ["trainer.max_epochs=5", "network.activation=gelu"]
    assert find_differences(to_plain(build(compose(*words)).node)) == words
    patience = build(compose(*words)).node["early_stopping"]["patience"]
    assert patience is None  # only a length that is auto brings one


def test_a_resumed_run_keeps_its_own_values(aeframe: Command, tmp_path: Path) -> None:
    words = [*SHORT, "dataset=digits", "hydra.run.dir=run"]
    status, out, err = aeframe(*words, "trainer.max_time=00:00:00:02")
    assert (status, err) == (0, "")
    chosen = "network.start=pca trainer.max_epochs=89 early_stopping.patience=23"
    assert f"Chosen for this data: network.kind=mlp network.widths=[256,128] {chosen}" in out
    state = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert state["hyper_parameters"]["trainer"]["max_epochs"] == 89
    epochs = json.loads((tmp_path / "run" / "evaluation.json").read_text())["epochs"]
    longer = [f"trainer.max_epochs={epochs + 1}", "trainer.max_time=00:00:05:00"]
    status, out, err = aeframe("resume=run", *longer)
    assert (status, err) == (0, "")
    state = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    node = state["hyper_parameters"]
    assert (node["trainer"]["max_epochs"], node["network"]["start"]) == (epochs + 1, "pca")


def test_pca_is_refused_where_the_code_is_not_linear(aeframe: Command) -> None:
    status, _, err = aeframe("network.start=pca", "model=sparse", "network=mlp", *SHORT)
    assert status == 2
    assert err.startswith("aeframe: network.start=pca: the code is not linear")


@pytest.mark.parametrize("k", [4, 16])
def test_a_sparse_code_can_start_no_worse_than_pca(compose: Callable[..., Any], k: int) -> None:
    """The k largest of all components are at least as good as the first k, on any sample."""
    words = ("model=sparse", "network.start=pca", f"constraint.topk.k={k}")
    built = build(compose(*words))
    net, data = built.net.eval(), built.data
    x = data.normalization(data.splits["test"][:].x)
    own = float((net.reconstruct(x) - x).detach().square().mean())
    baselines = measure_baselines(data, k)
    assert own < baselines[1].mse < 0.6 * baselines[0].mse


def test_the_length_follows_the_batches_where_none_are_configured(
    compose: Callable[..., Any],
) -> None:
    built = build(compose("~dataset.batch_size"))
    assert built.data.batch_size == 128
    assert built.node["trainer"]["max_epochs"] == choose_epochs(1437, 128, 1) == 334
