"""Saved model of a run, loaded and put to work."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import aeframe as package
from aeframe.config.node import to_plain
from aeframe.data import DataSpec, Normalization
from aeframe.runs.layout import MODEL, NOTE
from aeframe.runs.model_file import save
from aeframe.runs.sample_arrays import convert_to_stored, normalize_samples
from aeframe.training.build import build
from tests.support.digits import DIGITS, refused
from tests.support.pairs import CONSTRAINTS, ILLEGAL, VARIANTS, choice
from tests.support.runs import ROOT


@pytest.fixture(scope="session")
def model(trained: Path) -> package.Model:
    """Load the model of the session's run, which no test may change."""
    return package.load(trained)


# what it computes

KINDS = [
    ("model=undercomplete",),
    ("model=undercomplete", "network.widths=[40]", "network.norm=batch", "network.tied=true"),
    ("model=undercomplete", "network=conv", "network.widths=[4,8]"),
    ("model=denoising", "constraint=salt_and_pepper", "network.dropout=0.5"),
    ("model=sparse", "dataset.normalization=standard"),
    ("model=sparse", "constraint=[threshold,auxk]", "trainer.precision=64-true"),
    ("model=sparse", "constraint=jump_relu", "dataset.normalization=none"),
    ("model=sparse", "constraint=[sigmoid,kl_sparsity]"),
    ("model=undercomplete", "constraint=[bottleneck,contractive]", "constraint.bottleneck.ratio=0.1"),
    ("model=variational", "likelihood=gaussian", "likelihood.variance=learned", "network.widths=[9]"),
]  # fmt: skip


@pytest.mark.parametrize("overrides", KINDS, ids=" ".join)
def test_a_loaded_model_computes_the_same_as_the_saved_one(
    compose: Callable[..., Any], tmp_path: Path, overrides: tuple[str, ...]
) -> None:
    node = to_plain(compose(*overrides))
    built = build(node)
    if node["trainer"]["precision"] == "64-true":
        built.net.double()
    with torch.no_grad():  # away from where it begins
        for weight in built.net.model.parameters():
            weight += 0.01 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1))
    save(tmp_path, built.net, built.node, built.data, {"mse": 0.5})
    before = torch.get_rng_state()
    loaded = package.load(tmp_path)
    assert torch.equal(torch.get_rng_state(), before)
    raw = built.data.splits["test"][0:50].x
    with torch.no_grad():
        net = built.net.eval()
        x = net.normalization(raw)
        code, output = net.encode(x).value, net.reconstruct(x)
    assert torch.equal(loaded.encode(raw), code)
    scores = (output - x).square().flatten(1).mean(1)
    assert torch.equal(loaded.score(raw), scores)
    restored = (output * net.normalization.scale + net.normalization.shift).round().clamp(0, 16)
    assert torch.equal(loaded.reconstruct(raw), restored.to(torch.uint8))
    # active units alone are summed in another order
    other = loaded.decode(code).int() - restored.int()
    assert int(other.abs().max()) <= 1
    assert float(other.abs().float().mean()) < 1e-3
    strides = [value.stride() for value in built.net.state_dict().values()]
    assert [value.stride() for value in loaded.net.state_dict().values()] == strides


def test_a_finished_run_is_loaded_with_all_that_is_known(trained: Path) -> None:
    loaded = package.load(str(trained))
    card = json.loads((trained / "evaluation.json").read_text())
    assert (loaded.shape, loaded.latent_dim) == ((1, 8, 8), 8)
    assert loaded.metrics == pytest.approx(card["metrics"])
    assert loaded.config["model"]["latent_dim"] == 8
    loaded.config["model"]["latent_dim"] = 9
    assert loaded.config["model"]["latent_dim"] == 8
    note = json.loads((trained / NOTE).read_text())
    assert note["identity"] == loaded.identity
    assert note["versions"]["aeframe"] == package.__version__
    assert note["data"]["stored"] == [0.0, 16.0]


def test_the_score_is_that_of_the_evaluation(trained: Path, compose: Callable[..., Any]) -> None:
    loaded = package.load(trained)
    data = build(loaded.config).data
    test = data.splits["test"][0 : len(data.splits["test"])].x
    assert float(loaded.score(test).mean()) == pytest.approx(loaded.metrics["mse"], rel=1e-5)
    val = np.sort(loaded.score(data.splits["val"][0 : len(data.splits["val"])].x.numpy()))
    for percentile in (0, 12.34, 50, 99, 100):
        rank = min(len(val), max(1, math.ceil((len(val) + 1) * percentile / 100)))
        assert loaded.threshold(percentile) == pytest.approx(val[rank - 1], rel=1e-4)


def test_a_checkpoint_is_loaded_too_and_is_the_same_network(trained: Path) -> None:
    best = package.load(trained / "checkpoints" / "best.ckpt")
    whole = package.load(trained / MODEL)
    assert best.identity == whole.identity
    assert np.array_equal(best.encode(DIGITS), whole.encode(DIGITS))
    assert best.metrics == {}
    assert "no scores of known samples" in refused(lambda: best.threshold(99))


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_a_run_with_any_constraint_can_be_loaded(
    aeframe: Callable[..., Any], tmp_path: Path, constraint: str
) -> None:
    """Some constraints have buffers of another precision than the weights."""
    variant = next(v for v in VARIANTS[1:] if (v, constraint) not in ILLEGAL)
    length = ("trainer.max_epochs=1", "trainer.limit_train_batches=3", "evaluation.images=32")
    quick = (
        *length,
        "dashboard.images=0",
        "doctor=false",
        "hydra.run.dir=run",
        "network.widths=[]",
        *(("model.latent_dim=80",) if variant == "sparse" else ()),
    )
    status, _, said = aeframe(*choice(variant, constraint), *quick)
    assert status == 0, said
    run, best = package.load(tmp_path / "run"), tmp_path / "run" / "checkpoints" / "best.ckpt"
    codes = run.encode(DIGITS[:20])
    assert np.isfinite(codes).all()
    assert np.array_equal(codes, package.load(best).encode(DIGITS[:20]))


def test_a_run_that_has_not_finished_gives_its_best_checkpoint(finished: Path) -> None:
    wanted = package.load(finished).identity
    (finished / MODEL).unlink()
    assert package.load(finished).identity == wanted


def test_a_longer_run_replaces_what_a_shorter_one_left(
    aeframe: Callable[..., Any], finished: Path
) -> None:
    before = package.load(finished).identity
    assert aeframe("resume=run", "trainer.max_epochs=3")[0] == 0
    after = package.load(finished)
    assert after.identity != before
    assert after.config["trainer"]["max_epochs"] == 3
    assert json.loads((finished / NOTE).read_text())["identity"] == after.identity


def test_the_data_need_not_be_there(
    aeframe: Callable[..., Any], tmp_path: Path, vectors: Path
) -> None:
    data = np.load(vectors)
    argv = (f"dataset.path={vectors}", "dataset=array", "model.latent_dim=3", "network.widths=[]")
    assert aeframe(*argv, "trainer.max_epochs=1", "hydra.run.dir=run")[0] == 0
    vectors.unlink()
    loaded = package.load(tmp_path / "run")
    assert loaded.reconstruct(data).dtype == np.float32
    assert loaded.encode(data.astype(">f8")[:, ::-1][:, ::-1]).shape == (64, 3)


# what it takes and gives


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(size=st.integers(1, 70), begin=st.integers(0, 60), count=st.integers(1, 60))
def test_batches_change_nothing(model: package.Model, size: int, begin: int, count: int) -> None:
    small = package.Model(model.net, model.description, size)
    x = DIGITS[begin : begin + count]
    assert np.allclose(small.encode(x), model.encode(DIGITS)[begin : begin + count], atol=1e-5)
    assert np.allclose(small.score(x), model.score(DIGITS)[begin : begin + count], atol=1e-5)


def test_arrays_give_arrays_and_tensors_tensors(model: package.Model) -> None:
    for function in (model.encode, model.reconstruct, model.score):
        array, tensor = function(DIGITS), function(torch.from_numpy(DIGITS))
        assert type(array) is np.ndarray
        assert type(tensor) is torch.Tensor
        assert not tensor.requires_grad
        assert np.array_equal(array, tensor.numpy())
    assert model.encode(DIGITS).dtype == np.float32
    assert model.reconstruct(DIGITS).dtype == np.uint8
    assert model.reconstruct(DIGITS).shape == DIGITS.shape
    assert model.decode(model.encode(torch.from_numpy(DIGITS))).dtype == torch.uint8


def test_images_may_lack_the_channel_or_have_it_last(model: package.Model) -> None:
    codes, restored, scores = (f(DIGITS) for f in (model.encode, model.reconstruct, model.score))
    for take in (lambda x: x[:, 0], lambda x: np.moveaxis(x, 1, -1)):
        given = take(DIGITS)
        assert np.array_equal(model.encode(given), codes)
        assert np.array_equal(model.score(given), scores)
        again = model.reconstruct(given)
        assert np.array_equal(again, take(restored))
        assert np.array_equal(model.reconstruct(torch.from_numpy(given)).numpy(), again)


def test_an_iterator_is_read_when_it_is_wanted(model: package.Model) -> None:
    read = []

    def batches() -> Iterator[np.ndarray]:
        for start in range(0, 300, 100):
            read.append(start)
            yield DIGITS[start : start + 100]

    codes = model.encode(batches())
    assert read == []
    assert next(codes).shape == (100, 8)
    assert read == [0]
    assert np.allclose(np.concatenate(list(codes)), model.encode(DIGITS[100:300]), atol=1e-5)
    pair = list(model.score(iter([torch.from_numpy(DIGITS[:3]), DIGITS[3:5]])))
    assert (type(pair[0]), type(pair[1])) == (torch.Tensor, np.ndarray)


WRONG = {
    "one sample": (DIGITS[0, 0], "has shape [8, 8]", "[N, 1, 8, 8]"),
    "another size": (DIGITS[..., :7], "takes [N, 1, 8, 8]", "[N, 1, 8, 8]"),
    "more channels": (np.zeros((5, 8, 8, 3), np.uint8), "has shape [5, 8, 8, 3]", "[N, 1, 8, 8]"),
    "none": (DIGITS[:0], "holds no samples", "at least one"),
    "floats": (
        DIGITS / 16,
        "must be whole numbers (uint8), but holds 0.3125 in sample 0 (from 0)",
        "0 to 16",
    ),
    "too large": (DIGITS + 200, "but goes from 200 to 216", "as the training data"),
    "one too large": (
        np.concatenate([DIGITS[:777], DIGITS[:1] + 2]),
        "must lie between 0 and 16, but goes from 0 to 17; the first is in sample 777 (from 0)",
        "as the training data",
    ),
    "negative": (DIGITS.astype(np.int8) - 1, "but goes from -1", "as the training data"),
    "complex": (torch.zeros(2, 1, 8, 8, dtype=torch.complex64), "holds complex64", "0 to 16"),
    "text": (np.array([["a"]]), "holds <U1, not numbers", "integers or floats"),
    "objects": (np.empty((2, 1, 8, 8), object), "holds object, not numbers", "integers or floats"),
    "a word": ("x.npy", "is str", ""),
    "a number": (3, "is int", ""),
}


@pytest.mark.parametrize("kind", WRONG)
def test_samples_that_do_not_fit_are_named(model: package.Model, kind: str) -> None:
    given, what, remedy = WRONG[kind]
    for function in (model.encode, model.score, model.reconstruct):
        said = refused(lambda f=function: f(given))  # type: ignore[misc]
        assert said.startswith("x: ")
        assert what in said
        assert remedy in said


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_numbers_that_are_none_are_named(
    compose: Callable[..., Any], tmp_path: Path, vectors: Path, value: float
) -> None:
    node = to_plain(compose("dataset=array", f"dataset.path={vectors}", "model.latent_dim=3"))
    built = build(node)
    save(tmp_path, built.net, built.node, built.data, {})
    x = np.load(vectors).astype(np.float64)
    x[5, 3] = value
    loaded = package.load(tmp_path, batch_size=2)
    for function in (loaded.encode, loaded.score, loaded.reconstruct):
        said = refused(lambda f=function: f(x))  # type: ignore[misc]
        assert "NaN, infinity or values beyond float32 in sample 5 (from 0)" in said


def test_numbers_that_are_infinite_when_they_are_normalized_are_named() -> None:
    spec = DataSpec((2,), -1, 1, 9, (-1, 1), torch.float32)
    narrow = Normalization(torch.zeros(2), torch.tensor([1.0, 1e-3]))
    x = torch.tensor([[3e38, 0.1], [0.0, 3e35], [0.0, -9e36]])
    normal = normalize_samples(x[:2], spec, narrow, "x")
    assert normal.flatten().tolist() == pytest.approx([3e38, 100, 0, 3e38])
    said = refused(lambda: normalize_samples(x, spec, narrow, "x"))
    assert "x: holds values beyond float32 when they are normalized in sample 2 (from" in said


def test_codes_that_do_not_fit_are_named(model: package.Model) -> None:
    codes = model.encode(DIGITS)
    assert "z: has shape [1797, 7], but this model takes [N, 8]" in refused(
        lambda: model.decode(codes[:, :7])
    )
    codes[3, 2] = np.nan
    assert "z: holds values that are not finite in sample 3 (from" in refused(
        lambda: model.decode(codes)
    )


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.float16, np.int64, np.int8, np.uint32])
def test_numbers_of_another_type_that_are_those_of_the_models_are_taken(
    model: package.Model, kind: type
) -> None:
    assert np.array_equal(model.encode(DIGITS[:50].astype(kind)), model.encode(DIGITS[:50]))
    assert model.reconstruct(DIGITS[:50].astype(kind)).dtype == np.uint8


def test_bfloat16_is_taken(model: package.Model) -> None:
    wanted = model.encode(DIGITS[:50])
    given = torch.from_numpy(DIGITS[:50]).bfloat16()
    assert np.array_equal(model.encode(given).numpy(), wanted)
    assert np.array_equal(model.encode(list(given)), wanted)
    ml_dtypes = pytest.importorskip("ml_dtypes")
    assert np.array_equal(model.encode(DIGITS[:50].astype(ml_dtypes.bfloat16)), wanted)


def test_only_variational_models_draw(
    model: package.Model, compose: Callable[..., Any], tmp_path: Path
) -> None:
    assert "Train model=variational" in refused(lambda: model.sample(3))
    node = to_plain(compose("model=variational", "network.widths=[9]"))
    built = build(node)
    save(tmp_path, built.net, built.node, built.data, {})
    loaded = package.load(tmp_path)
    drawn = loaded.sample(300, seed=4)
    assert (drawn.shape, drawn.dtype) == ((300, 1, 8, 8), np.uint8)
    assert np.array_equal(loaded.sample(300, seed=4), drawn)
    assert not np.array_equal(loaded.sample(300, seed=5), drawn)
    assert "must be at least 1" in refused(lambda: loaded.sample(0))


@given(
    st.floats(-1e6, 1e6), st.sampled_from([torch.uint8, torch.int16, torch.int64, torch.float64])
)
def test_stored_values_are_rounded_and_held(value: float, dtype: torch.dtype) -> None:
    data = DataSpec((1,), 0, 1, 1, (0, 1), dtype, (0.0, 16.0) if dtype == torch.uint8 else None)
    low, high = {torch.uint8: (0, 16), torch.int16: (-(2**15), 2**15 - 1)}.get(dtype, (-1e9, 1e9))
    made = convert_to_stored(torch.tensor([value], dtype=torch.float64), data)
    assert made.dtype == dtype
    wanted = value if dtype == torch.float64 else round(value)
    assert float(made[0]) == min(max(wanted, low), high)


# where and how


def test_paths_that_cannot_be_loaded_are_named(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"x")
    assert "no such file or folder" in refused(lambda: package.load(tmp_path / "no"))
    assert "holds neither a model nor a checkpoint" in refused(lambda: package.load(tmp_path))
    assert "is not a model of aeframe" in refused(lambda: package.load(tmp_path / "x.onnx"))
    for device in ("nowhere", "meta"):
        assert f"device={device}: cannot be used" in refused(
            lambda device=device: package.load(trained, device=device)  # type: ignore[misc]
        )
    assert "batch_size=0" in refused(lambda: package.load(trained, batch_size=0))


BLOCKED = ("hydra", "omegaconf", "pytorch_lightning", "lightning_fabric", "torchmetrics")

LIGHT = f"""
import sys
import aeframe
assert "torch" not in sys.modules
for name in {BLOCKED}:
    sys.modules[name] = None
import numpy as np
model = aeframe.load(sys.argv[1])
assert model.encode(np.zeros((3, 1, 8, 8), np.uint8)).shape == (3, 8)
assert aeframe.load(sys.argv[2]).identity == model.identity
assert not {{"sklearn", "scipy", "torchvision", "tensorboard"}} & set(sys.modules)
"""


def test_loading_needs_neither_hydra_nor_lightning(trained: Path) -> None:
    best = trained / "checkpoints" / "best.ckpt"
    subprocess.run(
        [sys.executable, "-c", LIGHT, str(trained), str(best)],
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=120,
    )
