"""Normalization: from stored values to the network's units and back."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch
from torch import Tensor

import aeframe as package
from aeframe.cli.verbs.own_data import load_run_data
from aeframe.cli.verbs.pictures import convert_to_bytes
from aeframe.config.node import to_plain
from aeframe.constraints import Masking
from aeframe.constraints.constrained import ConstrainedAutoencoder
from aeframe.core.errors import ConfigError, UserError
from aeframe.data import Array, DataModule, DataSpec, Normalization
from aeframe.evaluation.baselines import measure_baselines
from aeframe.evaluation.metrics import Metrics
from aeframe.models import Output, Undercomplete
from aeframe.models.autoencoder import Setting
from aeframe.models.likelihoods import Bernoulli, Gaussian
from aeframe.monitoring.dashboard.view import Samples, View
from aeframe.networks import MLP
from aeframe.runs.layout import MODEL
from aeframe.runs.model_file import save
from aeframe.runs.sample_arrays import convert_to_stored
from aeframe.training.build import build
from tests.support.passes import computed, passed

Values = Callable[[np.random.Generator], np.ndarray]
KINDS = ("unit", "rms", "standard", "none")


def made(folder: Path, values: np.ndarray, seed: int = 0, **options: Any) -> DataModule:
    np.save(folder / "x.npy", values)
    support = options.pop("support", (-math.inf, math.inf))
    data = DataModule(source=Array(path=str(folder / "x.npy")), seed=seed, **options)
    data.setup(support)
    return data


def ordinary(rng: np.random.Generator, n: int = 3000) -> np.ndarray:
    return rng.normal(size=(n, 8)) @ rng.normal(size=(8, 24)) + 5


def massive(rng: np.random.Generator, size: float = 300) -> np.ndarray:
    """Rows like activations of language models: one row in 126 with two large values."""
    x = ordinary(rng)
    x[::126, 3], x[::126, 20] = size, -size / 2
    return x


def scaled(rng: np.random.Generator, column: int, factor: float, offset: float = 0) -> np.ndarray:
    x = ordinary(rng)
    x[:, column] = x[:, column] * factor + offset
    return x


def pixels(rng: np.random.Generator) -> np.ndarray:
    """Gray levels as floats, of which those at the border are nearly always 0."""
    x = rng.integers(0, 17, (500, 64)).astype(np.float32)
    x[:, :16] *= rng.random((500, 16)) < 0.004
    return x


def activations(rng: np.random.Generator) -> np.ndarray:
    return np.maximum(rng.standard_t(3, (2000, 24)) - 1.5, 0)


def spectra(rng: np.random.Generator) -> np.ndarray:
    """Bands at fixed places of a nearly flat line, of which few places have a large spread."""
    places = np.linspace(0, 1, 300)
    bands = [
        np.outer(rng.gamma(2, size=200), np.exp(-(((places - center) / 0.02) ** 2)))
        for center in (0.3, 0.5, 0.55)
    ]
    return sum(bands) + rng.normal(0, 0.01, (200, 300))


def two_kinds(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(300, 80)) * np.repeat([1, 1000], 40)


CHOICES: dict[str, tuple[Values, str]] = {
    "embeddings": (ordinary, "rms"),
    "a few massive activations": (massive, "rms"),
    "even larger ones": (lambda rng: massive(rng, 1e5), "rms"),
    "one column of thirty times the spread": (lambda rng: scaled(rng, 3, 10), "rms"),
    "one large column": (lambda rng: scaled(rng, 7, 1e6), "standard"),
    "one small column": (lambda rng: scaled(rng, 7, 1e-3), "standard"),
    "a time stamp": (lambda rng: scaled(rng, 7, 1e5, 1.7e9), "standard"),
    "a constant column": (lambda rng: scaled(rng, 7, 0), "rms"),
    "rectified activations": (activations, "rms"),
    "spectra": (spectra, "rms"),
    "spectra in another order": (lambda rng: rng.permutation(spectra(rng), axis=1), "standard"),
    "40 sensors of each kind": (two_kinds, "standard"),
    "pixels": (pixels, "unit"),
    "numbers in [0, 1]": (lambda rng: rng.random((500, 9)), "unit"),
    "rare ones": (lambda rng: (rng.random((500, 90)) < 0.005).astype(np.float32), "unit"),
    "bytes": (lambda rng: rng.integers(0, 256, (99, 5)).astype(np.uint8), "unit"),
    "images": (lambda rng: rng.normal(size=(99, 3, 5, 5)) * 7, "unit"),
}


@pytest.mark.parametrize("case", CHOICES)
def test_the_normalization_is_chosen_from_the_data(tmp_path: Path, case: str) -> None:
    make, wanted = CHOICES[case]
    values = make(np.random.default_rng(5))
    data = made(tmp_path, values)
    assert (data.spec.normalization, data.notes) == (wanted, [])
    assert data.reason
    explicit = made(tmp_path, values, normalization=wanted)
    x = torch.from_numpy(values[:9])
    assert torch.equal(data.normalization(x), explicit.normalization(x))


def test_bounded_likelihoods_get_values_in_their_bounds(tmp_path: Path) -> None:
    values = ordinary(np.random.default_rng(0), 200)
    for seed in range(5):
        data = made(tmp_path, values, seed, support=Bernoulli.support)
        assert data.spec.normalization == "unit"
        assert data.spec.extent == (0, 1)
        everything = data.normalization(torch.from_numpy(values))
        assert (float(everything.min()), float(everything.max())) == pytest.approx((0, 1), abs=1e-6)


def test_rms_is_about_the_medians_and_by_a_typical_sample(tmp_path: Path) -> None:
    values = massive(np.random.default_rng(1))
    data = made(tmp_path, values, normalization="rms")
    train = values[data.splits["train"].index]
    median = np.median(train, axis=0)
    scale = np.median(np.sqrt(np.square(train - median).mean(1)))
    assert np.allclose(data.normalization.shift, median, rtol=1e-6)
    assert float(data.normalization.scale) == pytest.approx(scale, rel=1e-6)
    usual = np.delete(values, np.arange(0, len(values), 126), 0)
    assert float(data.normalization(torch.from_numpy(usual)).std()) == pytest.approx(1, abs=0.1)
    back = data.normalization.inverse(data.normalization(torch.from_numpy(values)))
    assert np.allclose(back, values, rtol=1e-5, atol=1e-3)
    assert data.spec.seen == (train.min(), train.max())


def test_rms_of_images_and_of_mostly_equal_samples(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    images = rng.normal(size=(50, 2, 6, 5)) * [[[1.0]], [[3.0]]] + [[[0.0]], [[9.0]]]
    data = made(tmp_path, images, normalization="rms")
    train = images[data.splits["train"].index]
    median = np.median(train, axis=(0, 2, 3))
    assert data.normalization.shift.shape == (2, 1, 1)
    assert np.allclose(data.normalization.shift.flatten(), median, rtol=1e-6)
    errors = np.square(train - median[:, None, None]).mean((1, 2, 3))
    assert float(data.normalization.scale) == pytest.approx(np.sqrt(np.median(errors)), rel=1e-6)
    rare = np.zeros((100, 4))
    rare[::5, 1] = 3  # the median sample is 0
    found = made(tmp_path, rare, normalization="rms").normalization.scale
    assert float(found) == pytest.approx(math.sqrt(np.square(rare).mean()), rel=0.2)


NOTES = {
    ("unit", "massive"): ("a few values set the scale: 98 % of all lie within 0.0", "=rms."),
    ("unit", "one large"): ("23 of 24 columns spread so little", "=standard."),
    ("none", "one large"): ("23 of 24 columns spread so little", "=standard."),
    ("rms", "one large"): ("23 of 24 columns spread so little", "=standard."),
}


@pytest.mark.parametrize("case", NOTES, ids=" ".join)
def test_a_scale_that_few_values_set_is_told(tmp_path: Path, case: tuple[str, str]) -> None:
    rng = np.random.default_rng(0)
    values = massive(rng) if case[1] == "massive" else scaled(rng, 7, 1e6)
    (note,) = made(tmp_path, values, normalization=case[0]).notes
    what, remedy = NOTES[case]
    assert what in note.what
    assert note.remedy == f"Write dataset.normalization{remedy}"
    assert made(tmp_path, values, normalization=remedy[1:-1]).notes == []


def test_far_outliers_of_a_column_are_told(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(300, 3))
    values[:, 2] = np.exp(values[:, 2])  # a long tail is none
    assert made(tmp_path, values, normalization="standard").notes == []
    values[::60, 1] = 1000.0
    (note,) = made(tmp_path, values, normalization="standard").notes
    assert note.where == "dataset.normalization=standard"
    assert note.what == (
        "far outliers set the scale of 1 column: a value of column 1 lies 976 usual deviations from "
        "the median"
    )
    assert note.remedy == "Write dataset.normalization=rank, or correct the values."
    assert made(tmp_path, values, normalization="rank").notes == []


# ------------------------------------------------------------------------------------- the likelihood

VARIATIONAL = ("model=variational", "dataset=array", "network.widths=[]", "model.latent_dim=2")


@pytest.mark.parametrize("normalization", ["auto", "unit", "none"])
def test_data_inside_of_the_support_is_taken_with_every_seed(
    compose: Callable[..., Any], tmp_path: Path, normalization: str
) -> None:
    values = np.random.default_rng(0).random((200, 5)) * 0.98
    values[100, 3], values[50, 2] = 1.0000000000000002, -1.6e-22  # as MinMaxScaler leaves them
    np.save(tmp_path / "x.npy", values)
    for seed in range(8):
        words = (f"dataset.path={tmp_path}/x.npy", f"dataset.normalization={normalization}")
        data = build(compose(*VARIATIONAL, *words, f"seed={seed}")).data
        assert data.spec.normalization == ("unit" if normalization == "auto" else normalization)


def test_suggested_overrides_are_accepted(compose: Callable[..., Any], tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(99, 5)))
    words = (*VARIATIONAL, f"dataset.path={tmp_path}/x.npy", "likelihood=bernoulli")
    for kind in ("rms", "standard"):
        with pytest.raises(ConfigError, match=r"outside \[0, 1\].* Write dataset.normalization=un"):
            build(compose(*words, f"dataset.normalization={kind}"))
    with pytest.raises(ConfigError, match=r"Write dataset.normalization=unit, or likelihood=gau"):
        build(compose(*words, "dataset.normalization=none"))
    build(compose(*words, "dataset.normalization=unit"))


# ------------------------------------------------------------------------------------------- the PSNR


def unequal(n: int = 120) -> np.ndarray:
    """Images whose first channel is 250 times darker than the others, but for a few pixels."""
    x = np.random.default_rng(5).random((n, 3, 5, 5)).astype(np.float32)
    x[:, 0] *= 0.004
    x[::20, 0, 0, 0] = 1
    return x


def in_stored_units(x: np.ndarray, restored: np.ndarray, peak: float) -> float:
    return float(10 * np.log10(peak**2 / np.square(x - restored).mean()))


@pytest.mark.parametrize("kind", KINDS)
def test_the_psnr_of_the_mean_does_not_depend_on_the_normalization(
    tmp_path: Path, kind: str
) -> None:
    values = unequal()
    data = made(tmp_path, values, normalization=kind)
    train, test = (values[data.splits[name].index] for name in ("train", "test"))
    wanted = in_stored_units(test, train.mean(0), np.ptp(train))
    assert measure_baselines(data, 3)[0].psnr == pytest.approx(wanted, abs=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_the_psnr_of_a_model_is_that_of_its_pictures(tmp_path: Path, kind: str) -> None:
    values = unequal()
    data = made(tmp_path, values, normalization=kind)
    noise = torch.randn(values.shape, generator=torch.Generator().manual_seed(0)) / 20
    x = torch.from_numpy(values)
    restored, corrupted, denoised = x + noise, x + 2 * noise, x - noise / 2
    setting = Setting(MLP(widths=[]), Gaussian(), (3, 5, 5))
    parts = {"masking": Masking(fraction=0.5)}
    net = ConstrainedAutoencoder(Undercomplete(setting, latent_dim=9), parts, data.normalization)
    low, high = data.spec.get_range(data.normalization)

    def output(*seen: Tensor) -> Output:
        made, corrupted = map(data.normalization, seen)
        return passed(data.normalization(x), made, corrupted=corrupted)

    batch = output(restored, x), output(denoised, corrupted)
    found = computed(Metrics(net, high - low), [batch])
    for name, of in (
        ("psnr", restored),
        ("corrupted_psnr", corrupted),
        ("denoised_psnr", denoised),
    ):
        wanted = in_stored_units(values, of.numpy(), high - low)
        assert found[name] == pytest.approx(wanted, abs=1e-3)


def test_nothing_is_as_good_as_no_error(tmp_path: Path) -> None:
    values = np.repeat(np.random.default_rng(0).random((30, 1)), 4, axis=1)
    train, test = values.copy(), np.tile(values.mean(0), (3, 1))
    np.save(tmp_path / "t.npy", test)
    np.save(tmp_path / "x.npy", train)
    source = Array(path=str(tmp_path / "x.npy"), test_path=str(tmp_path / "t.npy"))
    data = DataModule(source=source, seed=0, normalization="none")
    data.setup()
    data.splits["test"] = data.splits["train"]
    assert (
        measure_baselines(data, 1)[-1].psnr > 130
    )  # PCA of one dimension loses nothing but rounding


# ------------------------------------------------------------------------------------------- pictures


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_have_the_brightness_of_the_stored_values(
    compose: Callable[..., Any], tmp_path: Path, kind: str
) -> None:
    values = unequal()
    np.save(tmp_path / "x.npy", values)
    words = ("dataset=array", f"dataset.path={tmp_path}/x.npy", f"dataset.normalization={kind}")
    node = to_plain(compose(*words, "network.widths=[]", "model.latent_dim=3"))
    built = build(node)
    train = values[built.data.splits["train"].index]
    low, high = train.min(), train.max()
    brightness = (values - low) / (high - low)
    view = View(built.net.eval(), Samples.take(built.data, built.net, 4), built.data.spec)
    x = built.net.normalization(torch.from_numpy(values))
    assert np.allclose(view.paint.scale(x), brightness, atol=1e-5)
    save(tmp_path, built.net, built.node, built.data, {})
    written = convert_to_bytes(values, package.load(tmp_path))
    assert np.abs(written - brightness * 255).max() <= 0.5 + 1e-3


# ----------------------------------------------------------------------------------- what is given back


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint16, torch.float32, torch.float64])
@pytest.mark.parametrize("known", [True, False])
def test_results_are_clipped_to_the_range_of_the_data(dtype: torch.dtype, known: bool) -> None:
    range_ = {"stored" if known else "seen": (0.0, 255.0)}
    data = DataSpec((1,), 0, 1, 9, (0, 1), dtype, **range_)  # type: ignore[arg-type]
    found = convert_to_stored(torch.tensor([-85.3, 12.6, 340.0]), data)
    assert found.dtype == dtype
    middle = 12.6 if dtype.is_floating_point else 13
    assert found.tolist() == pytest.approx([0, middle, 255])


def test_samples_beyond_the_range_that_was_seen_are_taken(
    compose: Callable[..., Any], tmp_path: Path
) -> None:
    values = np.random.default_rng(0).integers(10, 99, (60, 4))
    np.save(tmp_path / "x.npy", values)
    words = ("dataset=array", f"dataset.path={tmp_path}/x.npy", "network.widths=[]")
    node = to_plain(compose(*words, "model.latent_dim=3"))
    built = build(node)
    save(tmp_path, built.net, built.node, built.data, {})
    loaded = package.load(tmp_path)
    train = values[built.data.splits["train"].index]
    given = np.concatenate([values * 50, -values])
    assert np.isfinite(loaded.score(given)).all()
    back = loaded.reconstruct(given)
    assert (back.dtype, back.min(), back.max()) == (np.int64, train.min(), train.max())


# ------------------------------------------------------------------------------------------ equal samples


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_equal_samples_are_refused(tmp_path: Path, dtype: type) -> None:
    values = np.resize(np.arange(20, dtype=dtype), (40, 5, 4))
    with pytest.raises(UserError, match=r"x.npy: all 32 training samples are equal. Use samples"):
        made(tmp_path, values)
    values[made_train_row(tmp_path, values.shape), 2, 3] += 1
    assert len(made(tmp_path, values).splits["train"]) == 32


def made_train_row(folder: Path, shape: tuple[int, ...]) -> int:
    """A row of the training split, whatever is in it."""
    return int(made(folder, np.random.default_rng(0).random(shape)).splits["train"].index[-1])


# ------------------------------------------------------------------------------------- saved and loaded


def test_the_chosen_normalization_is_kept(
    verb: Callable[..., tuple[int, str, str]], tmp_path: Path, vectors: Path
) -> None:
    words = ("dataset=array", f"dataset.path={vectors}", "model.latent_dim=3", "network.widths=[]")
    quick = ("trainer.max_epochs=1", "dashboard.images=0", "hydra.run.dir=run")
    status, said, wrong = verb("train", *words, *quick)
    assert status == 0, wrong
    assert "Normalization: rms, as one scale suits all columns." in said
    run = tmp_path / "run"
    card = json.loads((run / "evaluation.json").read_text())
    assert card["normalization"] == "rms"
    loaded = package.load(run)
    assert loaded.description.data.normalization == "rms"
    assert package.load(run / "checkpoints" / "best.ckpt").identity == loaded.identity
    status, said, wrong = verb("evaluate", "run", "--json")
    assert status == 0, wrong
    again = json.loads(said)
    assert again["metrics"] == pytest.approx(card["metrics"], rel=1e-5)
    for name, baseline in card["baselines"].items():
        assert again["baselines"][name] == pytest.approx(baseline, rel=1e-5)
    known = loaded.description.data
    loaded.description = replace(loaded.description, data=replace(known, seen=None))
    assert load_run_data(loaded, str(run))[1].spec == known  # what an older run lacks is measured
    assert verb("train", "resume=run", "trainer.max_epochs=2")[0] == 0


def test_models_of_older_versions_are_the_same(compose: Callable[..., Any], tmp_path: Path) -> None:
    """Older models lack the chosen kind and the seen range."""
    node = to_plain(
        compose("dataset.normalization=unit", "network.widths=[]", "model.latent_dim=3")
    )
    built = build(node)
    save(tmp_path, built.net, built.node, built.data, {})
    file = tmp_path / MODEL
    with safetensors.safe_open(file, "pt") as opened:
        header = json.loads(opened.metadata()["aeframe"])
    identity = header["identity"]
    for key in ("normalization", "seen"):
        del header["data"][key]
    weights = safetensors.torch.load_file(file)
    safetensors.torch.save_file(weights, file, {"aeframe": json.dumps(header)})
    assert package.load(tmp_path).identity == identity


def test_the_range_of_older_runs_is_that_of_their_normalization() -> None:
    spec = DataSpec((2,), 0.0, 1.0, 9, (0, 1), torch.float32)
    assert spec.get_range(Normalization(torch.tensor(-2.0), torch.tensor(5.0))) == (-2, 3)


def test_runs_of_older_versions_go_on(aeframe: Callable[..., Any], begun: Path) -> None:
    """Older checkpoints lack facts about the data, and have another extent."""
    for file in (begun / "checkpoints").glob("*.ckpt"):
        state = torch.load(file, weights_only=True)
        del state["data"]["normalization"], state["data"]["seen"]
        state["data"]["extent"] = [-1.0, 2.0]
        torch.save(state, file)
    status, _, said = aeframe("resume=run", "trainer.max_epochs=3")
    assert status == 0, said
    assert package.load(begun).description.data.normalization == "unit"
