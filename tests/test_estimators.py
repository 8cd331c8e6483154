"""Autoencoders in scikit-learn's hands."""

from __future__ import annotations

import random
import re
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import aeframe
from aeframe.estimators import AutoencoderTransformer


@pytest.fixture
def x() -> np.ndarray:
    """96 samples of 12 features near a 3-dimensional subspace."""
    generator = np.random.default_rng(0)
    return generator.normal(size=(96, 3)) @ generator.normal(size=(3, 12)) + 5.0


def linear(**options: Any) -> AutoencoderTransformer:
    """Three linear units, trained until they are about as good as they can be."""
    chosen = {"network": "linear", "latent_dim": 3, "max_epochs": 60, "random_state": 0} | options
    return AutoencoderTransformer(**chosen, overrides=["optimizer.lr=0.02"])


def test_scikit_learns_own_checks() -> None:
    found = check_estimator(AutoencoderTransformer(max_epochs=1), on_fail=None, on_skip=None)
    assert [c["check_name"] for c in found if c["status"] == "failed"] == []
    assert [c["check_name"] for c in found if c["status"] == "skipped"] == ["check_array_api_input"]
    assert len(found) > 40


def test_three_linear_units_come_near_three_principal_components(x: np.ndarray) -> None:
    network = linear().fit(x)
    codes = network.transform(x)
    assert codes.shape == (96, 3)
    back = network.inverse_transform(codes)
    error = ((back - x) ** 2).mean()
    scaled = (x - x.mean(0)) / x.std(0)
    best = PCA(3).fit(scaled)
    assert ((best.inverse_transform(best.transform(scaled)) - scaled) ** 2).mean() < 1e-20
    assert error < 0.02 * x.var(0).mean()
    assert network.score(x) == pytest.approx(-((back - x) ** 2 / x.std(0) ** 2).mean(), rel=0.05)
    assert list(network.get_feature_names_out())[:1] == ["autoencodertransformer0"]


def test_the_same_seed_gives_the_same_codes_and_global_random_numbers_stay(x: np.ndarray) -> None:
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    wanted = random.random(), np.random.random(), torch.rand(1)
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    first = linear(max_epochs=2).fit(x)
    assert (random.random(), np.random.random(), torch.rand(1)) == wanted
    again = clone(first).fit(x)
    other = linear(max_epochs=2, random_state=1).fit(x)
    assert np.array_equal(first.transform(x), again.transform(x))
    assert not np.allclose(first.transform(x), other.transform(x))


def test_a_search_in_a_pipeline_over_the_size_of_the_code() -> None:
    digits, labels = load_digits(return_X_y=True)
    chain = make_pipeline(
        StandardScaler(),
        linear(normalization="none", max_epochs=10),
        LogisticRegression(max_iter=500),
    )
    sizes = {"autoencodertransformer__latent_dim": [1, 12]}
    search = GridSearchCV(chain, sizes, cv=2).fit(digits[:600], labels[:600])
    assert search.best_params_ == {"autoencodertransformer__latent_dim": 12}
    assert search.best_score_ > 0.7  # twelve principal components: 0.82


def test_a_search_by_its_own_score(x: np.ndarray) -> None:
    search = GridSearchCV(linear(), {"latent_dim": [1, 3]}, cv=2).fit(x)
    assert search.best_params_ == {"latent_dim": 3}


def test_images_and_any_other_word_of_the_command_line() -> None:
    digits = load_digits().data[:200]
    network = AutoencoderTransformer(
        "sparse",
        constraint=["topk", "masking"],
        network="conv",
        shape=(1, 8, 8),
        normalization="unit",
        max_epochs=1,
        overrides=["constraint.topk.k=5", "network.widths=[4]"],
    ).fit(digits)
    codes = network.transform(digits)
    assert codes.shape[1] >= 128
    assert ((codes != 0).sum(1) <= 5).all()
    assert network.inverse_transform(codes).shape == (200, 64)
    assert network.model_.shape == (1, 8, 8)


def test_the_folder_of_the_run_stays_where_it_is_wanted(
    x: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = linear(max_epochs=1, folder=tmp_path / "run").fit(x)
    assert capsys.readouterr().out == ""
    loaded = aeframe.load(tmp_path / "run")
    assert np.allclose(loaded.encode(x), network.transform(x), atol=1e-5)
    with pytest.raises(ValueError, match=r"folder=.*: holds a run already; give another, or None"):
        network.fit(x)
    (tmp_path / "exported").mkdir()
    (tmp_path / "exported" / "model.json").write_text("")
    with pytest.raises(ValueError, match=r"holds model.json already; give another, or None"):
        linear(max_epochs=1, folder=tmp_path / "exported").fit(x)
    linear(max_epochs=1, verbose=True).fit(x)
    assert "Copy check" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"model": "spares"}, "model=spares: no such option. Did you mean model=sparse?"),
        ({"latent_dim": 12}, "model.latent_dim=12: the code must be smaller than the 12 inputs."),
        ({"latent_dim": 0}, "model.latent_dim=0: must be at least 1."),
        ({"max_epochs": 0}, "trainer.max_epochs=0: must be at least 1."),
        ({"constraint": "l3"}, "constraint=l3: no such option."),
        ({"normalization": "log"}, "dataset.normalization=log: expected one of"),
        ({"shape": (1, 3, 3)}, "shape=(1, 3, 3): X has 12 features."),
    ],
)
def test_mistakes_are_value_errors(x: np.ndarray, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        AutoencoderTransformer(**options).fit(x)


def test_processes_of_its_own_are_refused(x: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"hardware.strategy=ddp: an estimator trains in one"):
        AutoencoderTransformer(overrides=["hardware=ddp_cpu"]).fit(x)


def test_codes_of_another_size_are_refused(x: np.ndarray) -> None:
    network = linear(max_epochs=1).fit(x)
    with pytest.raises(ValueError, match=r"z: has shape \[96, 12\]"):
        network.inverse_transform(x)


def test_an_interruption_is_pythons_own(x: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt = lambda *_: signal.raise_signal(signal.SIGINT)  # noqa: E731
    monkeypatch.setattr("aeframe.callbacks.Bar.on_train_batch_end", interrupt)
    with pytest.raises(KeyboardInterrupt, match="interrupted by SIGINT"):
        linear().fit(x)
