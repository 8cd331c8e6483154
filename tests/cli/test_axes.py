"""Networks on signals and volumes, from training to the verbs and exports."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import aeframe as package
from tests.support.verbs import Verb, good


@pytest.mark.parametrize(
    ("shape", "layout", "sample"),
    [((32, 24, 2), "lc", (2, 24)), ((32, 2, 4, 6, 5), "cdhw", (2, 4, 6, 5))],
)
def test_signals_and_volumes_are_trained_encoded_and_exported(
    verb: Verb,
    made: Callable[..., Path],
    tmp_path: Path,
    shape: tuple[int, ...],
    layout: str,
    sample: tuple[int, ...],
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    x = np.random.default_rng(0).normal(2, 3, shape).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    run = made(
        *(
            "dataset=array",
            f"dataset.path={tmp_path}/x.npy",
            f"dataset.layout={layout}",
            "model.latent_dim=4",
        ),
        *("network=conv", "network.widths=[4]", "network.residual=true", "network.norm=layer"),
        "dataset.normalization=standard",
    )
    model = package.load(run)
    assert model.shape == sample
    names = [one.name for one in model.description.data.usual]
    assert names == (["0", "1"] if layout == "lc" else []), (
        "channels of signals have axes of their own"
    )
    assert model.net.normalization.scale.shape == (2, *[1] * (len(sample) - 1))
    good(verb("reconstruct", run, "x.npy", "--out", "y.npy"))
    restored = np.load(tmp_path / "y.npy")
    assert restored.shape == shape, "the layout of the file"
    assert np.array_equal(restored, model.reconstruct(x))
    first = np.ascontiguousarray(np.moveaxis(x, -1, 1)) if layout == "lc" else x
    codes = model.encode(first)
    assert np.array_equal(model.encode(x), codes)
    good(verb("export", run, "--onnx", "--out", "onnx"))
    session = onnxruntime.InferenceSession(tmp_path / "onnx" / "encoder.onnx")
    assert np.allclose(session.run(None, {"x": first})[0], codes, rtol=1e-3, atol=1e-4)
