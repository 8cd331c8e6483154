"""Errors of test samples in a run's folder, and what they say of differences between runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

import aeframe
from aeframe.runs.test_errors import FILE, LARGEST, TestErrors, read_test_errors
from tests.support.runs import TINY

Verb = Callable[..., tuple[int, str, str]]


def make(errors: np.ndarray, first: int = 0) -> TestErrors:
    n = len(errors)
    rows = np.arange(first, first + n)
    return TestErrors(errors.astype(np.float32), rows, rows.astype(np.uint32))


def test_the_interval_is_that_of_the_normal_distribution() -> None:
    rng = np.random.default_rng(1)
    hard = rng.exponential(size=2000)  # what is hard for one is hard for the other
    ours, theirs = make(hard + 0.1 + rng.normal(0, 0.2, 2000)), make(hard)
    found = ours.compare(theirs)
    differences = ours.errors.astype(np.float64) - theirs.errors
    half = 1.96 * differences.std() / 2000**0.5
    assert found.difference == pytest.approx(differences.mean())
    assert found.low == pytest.approx(found.difference - half, abs=0.1 * half)
    assert found.high == pytest.approx(found.difference + half, abs=0.1 * half)
    assert found.is_clear
    assert half < 0.3 * 1.96 * ours.standard_error  # unpaired it would be far wider
    assert not ours.compare(ours).is_clear


def test_intervals_hold_the_truth_as_often_as_they_should() -> None:
    rng, held = np.random.default_rng(2), 0
    for _ in range(200):
        hard = rng.exponential(size=100)
        found = make(hard + rng.normal(0.05, 0.1, 100)).compare(make(hard))
        held += found.low < 0.05 < found.high
    assert 0.9 <= held / 200 <= 0.99


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs `a` and `b` of 2 and 3 units, tested on the same 40 samples, and `c` on others."""
    root = tmp_path_factory.mktemp("compared")
    x = np.random.default_rng(0).normal(size=(400, 5)).astype(np.float32)
    np.save(root / "x.npy", x)
    words = (
        "dataset=array",
        f"dataset.path={root / 'x.npy'}",
        "network=linear",
        "network.start=pca",
    )
    for name, units, seed in (("a", 2, 1), ("b", 3, 1), ("c", 3, 2)):
        more = (f"model.latent_dim={units}", f"seed={seed}")
        aeframe.train([*TINY, *words, *more], folder=root / name, verbose=False)
    return root


def test_a_run_keeps_the_errors_of_its_test_samples(runs: Path) -> None:
    found = read_test_errors(runs / "a")
    assert found is not None
    x = np.load(runs / "x.npy")[found.rows]
    assert found.errors == pytest.approx(aeframe.load(runs / "a").score(x), rel=1e-5)
    metrics = json.loads((runs / "a" / "evaluation.json").read_text())["metrics"]
    assert found.errors.mean() == pytest.approx(metrics["mse"], rel=1e-5)
    assert metrics["mse_standard_error"] == pytest.approx(found.standard_error)
    text = (runs / "a" / "README.md").read_text()
    assert f"| MSE per value | {metrics['mse']:.5f} ± {found.standard_error:.2g} |" in text


def test_compare_says_which_differences_are_clear(verb: Verb, runs: Path, tmp_path: Path) -> None:
    words = ("compare", runs / "a", runs / "b", "--out", "differences.png")
    status, out, err = verb(*words)
    assert (status, err) == (0, "")
    assert f"b: its test MSE is clearly smaller than that of {runs / 'a'}: -" in out
    assert out.splitlines()[-1] == "Differences between errors: differences.png"
    with Image.open(tmp_path / "differences.png") as picture:
        assert picture.size == (700, 560)
        red, _, blue = np.moveaxis(np.asarray(picture.convert("RGB")).astype(int), 2, 0)
        assert (blue - red > 100).sum() > 20  # the interval, which is clear
    (found,) = json.loads(verb("compare", runs / "a", runs / "b", "--json")[1])[
        "mse_less_that_of_the_first"
    ]
    first, second = (read_test_errors(runs / name) for name in "ab")
    assert first is not None
    assert second is not None
    assert found == second.compare(first).as_dict()
    status, out, err = verb("compare", runs / "a", runs / "c")
    assert "clearly" not in out
    status, _, err = verb("compare", runs / "a", runs / "c", "--out", "none.png")
    assert status == 2
    assert err.startswith("aeframe: --out: the runs have no errors of the same test samples")
    assert not (tmp_path / "none.png").exists()


def test_a_strangers_file_is_not_trusted(runs: Path, tmp_path: Path) -> None:
    good = load_file(runs / "a" / FILE)
    assert read_test_errors(tmp_path) is None
    wrong = (
        {"errors": good["errors"]},
        good | {"more": good["rows"]},
        good | {"rows": good["rows"][:-1]},
        good | {"errors": good["errors"].astype(np.float64)},
        good | {"errors": np.full_like(good["errors"], np.nan)},
        {name: part[:0] for name, part in good.items()},
        {name: part[None] for name, part in good.items()},
    )
    for given in wrong:
        save_file({name: part.copy() for name, part in given.items()}, tmp_path / FILE)
        assert read_test_errors(tmp_path) is None
    for content in (b"", b"\0" * 100, b"\xff" * (LARGEST + 10)):
        (tmp_path / FILE).write_bytes(content)
        assert read_test_errors(tmp_path) is None
