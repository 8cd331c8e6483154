"""Autoencoders in scikit-learn's hands."""

from __future__ import annotations

import pickle
import random
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import DictConfig
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import aeframe
from aeframe.config.node import to_plain
from aeframe.config.targets import resolve
from aeframe.estimators import AutoencoderTransformer
from tests.support.pairs import VARIANTS


@pytest.fixture
def x() -> np.ndarray:
    """96 samples of 12 features near a 3-dimensional subspace."""
    generator = np.random.default_rng(0)
    return generator.normal(size=(96, 3)) @ generator.normal(size=(3, 12)) + 5.0


def linear(**options: Any) -> AutoencoderTransformer:
    """Three linear units, trained until they are about as good as they can be."""
    chosen = {"network": "linear", "latent_dim": 3, "max_epochs": 60, "random_state": 0}
    chosen |= {"normalization": "standard"} | options
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
    scale = network.model_.net.normalization.scale.numpy()
    assert network.score(x) == pytest.approx(-((back - x) ** 2 / scale**2).mean(), rel=0.05)
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
    search = GridSearchCV(linear(max_epochs=10), {"latent_dim": [1, 3]}, cv=2).fit(x)
    assert search.best_params_ == {"latent_dim": 3}


def test_images_and_any_other_word_of_the_command_line() -> None:
    digits = load_digits().data[:200]
    network = AutoencoderTransformer(
        "sparse",
        latent_dim=128,
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


def test_its_output_has_no_commands_and_no_verdict_of_one_row(
    x: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    linear(max_epochs=10, verbose=True).fit(x)  # enough for the doctor to compare it with PCA
    out = capsys.readouterr().out
    assert "Undercomplete autoencoder with bottleneck: 12 -> 3 units" in out
    assert "epoch 10/10" in out
    for word in ("/tmp", "x.npy", "aeframe ", "Run folder", "Copy check", "MSE", "PCA", "Doctor"):
        assert word not in out


WORDS: list[tuple[str, Any, list[str]]] = [
    *((variant, None, []) for variant in VARIANTS),
    *(("sparse", c, []) for c in ("l1", ["batch_topk", "auxk"], ["masking", "jump_relu"])),
    ("sparse", "topk", ["constraint.topk.k=5", "network=mlp", "network.widths=[9]"]),
    ("denoising", "gaussian_noise", ["constraint.gaussian_noise.sigma=0.5"]),
    ("variational", [], ["likelihood=gaussian", "model.beta=2", "dataset.normalization=none"]),
    ("undercomplete", "rate", ["optimizer.lr=0.1", "trainer.precision=64-true"]),
]


class BegunError(Exception):
    """Training would begin now."""


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Return the configuration with which an estimator would train on samples."""
    nodes = list[dict[str, Any]]()

    def begin(node: dict[str, Any], *_: Any, **__: Any) -> None:
        nodes.append(node)
        raise BegunError

    def configured(estimator: AutoencoderTransformer, x: np.ndarray) -> dict[str, Any]:
        monkeypatch.setattr("aeframe.interface.train_run", begin)
        with pytest.raises(BegunError):
            estimator.fit(x)
        return nodes[-1]

    return configured


@pytest.mark.parametrize(("model", "constraint", "words"), WORDS)
def test_the_same_words_make_the_same_model_as_on_the_command_line(
    compose: Callable[..., DictConfig],
    configure: Callable[..., dict[str, Any]],
    model: str,
    constraint: Any,
    words: list[str],
) -> None:
    estimator = AutoencoderTransformer(model, constraint=constraint, overrides=words)
    made = configure(estimator, np.random.default_rng(0).uniform(size=(8, 40)))
    names = [constraint] if isinstance(constraint, str) else constraint
    chosen = [] if constraint is None else [f"constraint=[{','.join(names)}]"]
    typed = to_plain(compose(f"model={model}", "dataset=array", *chosen, *words))
    for key in typed:
        if key not in ("seed", "evaluation", "dataset", "dashboard"):
            assert made[key] == typed[key], key
    own = {"test_fraction", "path", "layout"}
    assert {k: v for k, v in made["dataset"].items() if k not in own} == {
        k: v for k, v in typed["dataset"].items() if k not in own
    }


def test_the_size_of_the_code_is_the_variants_where_that_suits_the_features(
    configure: Callable[..., dict[str, Any]],
) -> None:
    sizes = {
        ("undercomplete", 17): 16, ("undercomplete", 16): 8, ("undercomplete", 2): 1,
        ("variational", 17): 16, ("variational", 9): 4, ("denoising", 12): 64,
        ("sparse", 384): 768, ("sparse", 1024): 1024, ("sparse", 12): 24, ("sparse", 3072): 256,
    }  # fmt: skip
    for (model, features), units in sizes.items():
        node = configure(AutoencoderTransformer(model), np.eye(3, features))
        given, variant = node["model"]["latent_dim"], resolve(node["model"]["_target_"])
        chosen = variant.choose({}, features)["latent_dim"]
        assert units == (chosen if given == "auto" else given), (
            model,
            features,
        )


def test_the_example_of_the_readme_is_a_linear_sparse_model(x: np.ndarray) -> None:
    network = AutoencoderTransformer(
        model="sparse", constraint="topk", overrides=["constraint.topk.k=5"], max_epochs=1
    ).fit(x)
    model = network.model_.net.model
    assert (type(model).__name__, model.layer_sizes, model.latent_dim) == ("Sparse", [], 24)
    assert int((network.transform(x) != 0).sum(1).max()) == 5


def test_a_variational_one_takes_any_table_by_default() -> None:
    generator = np.random.default_rng(0)
    table = generator.normal(size=(40, 6)) * 10.0 ** np.arange(-3, 3) - 7
    network = AutoencoderTransformer("variational", max_epochs=2, random_state=0).fit(table)
    likelihood = network.model_.net.model.likelihood
    assert type(likelihood).__name__ == "Gaussian"
    assert likelihood.variance == "optimal"
    assert network.transform(table).shape == (40, 3)
    assert np.isfinite(network.score(table))


def test_a_likelihood_that_suits_the_values_or_was_asked_for_stays(
    configure: Callable[..., dict[str, Any]],
) -> None:
    table = np.random.default_rng(0).uniform(size=(40, 6))

    def choose(x: np.ndarray, *overrides: str) -> str:
        estimator = AutoencoderTransformer("variational", overrides=overrides)
        return configure(estimator, x)["likelihood"]["_target_"].rpartition(".")[2]

    assert choose(table) == "Bernoulli"
    scaled = (table - table.min(0)) / np.ptp(table, 0)  # as MinMaxScaler does, up to rounding
    assert choose(scaled * (1 + 1e-15) - 1.6e-22) == "Bernoulli"
    assert choose(table - 1) == "Gaussian"
    assert choose(table - 1, "likelihood=bernoulli") == "Bernoulli"


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_fitted_one_is_pickled(x: np.ndarray, variant: str) -> None:
    fitted = AutoencoderTransformer(variant, max_epochs=1, random_state=0).fit(x)
    again = pickle.loads(pickle.dumps(fitted))
    assert np.array_equal(again.transform(x), fitted.transform(x))


def test_before_it_is_fitted_there_is_nothing_to_transform_with(x: np.ndarray) -> None:
    for use in (AutoencoderTransformer().transform, AutoencoderTransformer().score):
        with pytest.raises(NotFittedError):
            use(x)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"overrides": "seed=1"}, "overrides='seed=1': give a list, ['seed=1']"),
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
    with pytest.raises(ValueError, match=r"hardware.strategy=ddp: training from Python uses one"):
        AutoencoderTransformer(overrides=["hardware=ddp_cpu"]).fit(x)


def test_codes_of_another_size_are_refused(x: np.ndarray) -> None:
    network = linear(max_epochs=1).fit(x)
    with pytest.raises(ValueError, match=r"z: has shape \[96, 12\]"):
        network.inverse_transform(x)


def test_an_interruption_is_pythons_own(x: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt = lambda *_: signal.raise_signal(signal.SIGINT)  # noqa: E731
    monkeypatch.setattr("aeframe.monitoring.progress_bar.Bar.on_train_batch_end", interrupt)
    with pytest.raises(KeyboardInterrupt, match="stopped by Ctrl-C"):
        linear().fit(x)


def test_columns_that_are_not_numbers_are_named(x: np.ndarray, tmp_path: Path) -> None:
    """As in `fit` so in `transform`; booleans and numbers of any type are taken."""
    pd = pytest.importorskip("pandas")
    numbers = pd.DataFrame(x[:60, :3], columns=["a", "b", "c"])
    taken = numbers.assign(b=numbers.b > 0, c=numbers.c.astype(object))
    fitted = AutoencoderTransformer(latent_dim=2, max_epochs=1).fit(taken)
    assert np.array_equal(fitted.transform(taken), fitted.transform(taken.astype(float)))
    dates = pd.date_range("2024-01-01", periods=60)
    others = numbers.assign(
        a=pd.array([None, *range(59)], dtype="Int64"), b=dates, c=pd.Categorical(["x", "y"] * 30)
    )
    said = (
        "X has columns that are not numbers (b, c) and columns with gaps (a). Put an OrdinalEncoder or a "
        "SimpleImputer before, or write run = aeframe.train(data=X) and run.model.encode(X), which take "
        "text, dates and gaps."
    )
    for use in (AutoencoderTransformer(latent_dim=2).fit, fitted.transform, fitted.score):
        with pytest.raises(ValueError, match=re.escape(said)):
            use(others)
    run = aeframe.train(
        ["trainer.max_epochs=1"], data=others, folder=tmp_path / "run", verbose=False
    )
    assert run.model.encode(others).shape[0] == 60  # as the message says


def test_bfloat16_is_fitted_and_transformed(x: np.ndarray) -> None:
    given = torch.from_numpy(x[:60]).bfloat16()
    fitted = AutoencoderTransformer(latent_dim=2, max_epochs=1, random_state=0).fit(given)
    assert np.array_equal(fitted.transform(given), fitted.transform(given.double().numpy()))
