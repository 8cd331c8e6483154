"""The verb export: an encoder alone, ONNX and torch.export."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import aeframe as package
from aeframe.constraints import TopK
from aeframe.runs.program_export import is_near
from aeframe.runs.program_export import list_parts as parts_of
from tests.support.digits import DIGITS
from tests.support.verbs import Verb, encoded, good


def test_an_encoder_alone_encodes(verb: Verb, trained: Path, tmp_path: Path) -> None:
    good(verb("export", trained, "--encoder-only", "--out", "alone"))
    alone = package.load(tmp_path / "alone")
    assert np.array_equal(alone.encode(DIGITS), package.load(trained).encode(DIGITS))
    assert alone.identity != package.load(trained).identity
    both = [(p / "model.safetensors").stat().st_size for p in (tmp_path / "alone", trained)]
    assert both[0] < both[1]
    codes = encoded(verb, tmp_path / "alone")
    for argv in (
        ("decode", "alone", codes, "--out", "x"),
        ("reconstruct", "alone", "digits", "--out", "x"),
        ("score", "alone", "digits", "--out", "x.csv"),
        ("sample", "alone", "--out", "x.png"),
        ("evaluate", "alone"),
    ):
        status, out, err = verb(*argv)
        assert (status, out) == (2, "")
        assert err == (
            f"aeframe: {argv[0]}: this is an encoder alone, which can only encode. Load the whole model.\n"
        )
    good(verb("export", trained, "--out", "whole"))
    assert package.load(tmp_path / "whole").identity == package.load(trained).identity


def test_a_translation_computes_the_same(
    verb: Verb, made: Callable[..., Path], tmp_path: Path
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    run = made("model=sparse", "dataset.normalization=standard")
    good(verb("export", run, "--onnx", "--out", "onnx"))
    model = package.load(run)
    parts = [
        onnxruntime.InferenceSession(tmp_path / "onnx" / f"{n}.onnx")
        for n in ("encoder", "decoder")
    ]
    for count in (1, 3, 100):
        (codes,) = parts[0].run(None, {"x": DIGITS[:count]})
        assert np.allclose(codes, model.encode(DIGITS[:count]), rtol=1e-3, atol=1e-4)
        (restored,) = parts[1].run(None, {"z": codes})
        assert restored.dtype == np.uint8
        wanted = model.decode(codes).astype(int)
        assert np.abs(restored.astype(int) - wanted).max() <= 1


def test_an_export_leaves_the_model_as_it_was(made: Callable[..., Path]) -> None:
    model = package.load(made("model=sparse", "constraint.topk.read=active"))
    selections = [part for _, part in model.net.parts if isinstance(part, TopK)]
    before = [part.reads_active for part in selections]
    assert [name for name, _, _ in parts_of(model)] == ["encoder", "decoder"]
    assert [part.reads_active for part in selections] == before == [True]


def test_whole_numbers_may_be_apart_only_where_rounding_makes_them() -> None:
    exact = torch.tensor([10.2, 99.5, 3.499999, 250.0])
    wanted = exact.round().to(torch.uint8)
    for other, near in (
        ([10, 100, 3, 250], True),
        ([10, 99, 4, 250], True),
        ([11, 100, 3, 250], False),
        ([10, 98, 3, 250], False),
        ([10, 100, 3, 249], False),
    ):
        assert is_near(torch.tensor(other, dtype=torch.uint8), wanted, exact) is near
    assert is_near(exact * (1 + 5e-5), exact, exact)
    assert not is_near(exact + 0.05, exact, exact)
    assert not is_near(exact + torch.nan, exact, exact)


def test_a_program_of_torch_computes_the_same(verb: Verb, trained: Path, tmp_path: Path) -> None:
    good(verb("export", trained, "--torch", "--out", "programs"))
    encode = torch.export.load(tmp_path / "programs" / "encoder.pt2").module()
    codes = encode(torch.from_numpy(DIGITS[:30]))
    wanted = package.load(trained).encode(DIGITS[:30])
    assert np.allclose(codes.detach().numpy(), wanted, atol=1e-5)
