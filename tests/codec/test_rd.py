"""`aeframe rd` and `aeframe codec` on a variational run of small pictures."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from aeframe import codec
from aeframe.codec.aez_file import compress
from aeframe.codec.codec import round_codes
from aeframe.codec.comparison import curves
from aeframe.codec.packing import Packer

DIGITS = load_digits().images.astype(np.uint8)[:120] * 15
Verb = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(aeframe: Callable[..., Any], verb: Verb, tmp_path: Path) -> str:
    """A variational model of pictures, made a codec."""
    (tmp_path / "images").mkdir()
    for number, digit in enumerate(DIGITS):
        Image.fromarray(digit).save(tmp_path / "images" / f"{number:03}.png")
    words = ("dataset=image_folder", "dataset.root=images", "dataset.size=8", "dataset.color=gray")
    words += ("model=variational", "network.widths=[16]", "trainer.max_epochs=1")
    assert aeframe(*words, "evaluation.images=32", "hydra.run.dir=run")[0] == 0
    assert verb("codec", "run")[0] == 0
    return "run"


def test_the_means_of_a_variational_model_are_rounded_and_compared_with_other_formats(
    run: str, verb: Verb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, x = codec.load(tmp_path / run), DIGITS[:, None]
    means = made.model.encode(x)
    assert np.array_equal(means, made.model.encode(x))
    assert np.array_equal(round_codes(made.model, x, made.step), np.rint(means / made.step))
    standards = [curves.Standard("PNG", "PNG", [{}], side=1)]
    monkeypatch.setattr(curves, "list_standards", lambda: standards)
    monkeypatch.setattr(curves.Curve, "interpolate_rate", lambda self, psnr: 7.0)
    status, out, err = verb("rd", f"{run}/model.safetensors", "-o", "rd", "--data", "val")
    assert status == 0, err
    assert "(12 images)" in out
    assert "the PSNR of the mean error" in out
    told = json.loads((tmp_path / "rd" / "rd.json").read_text())
    assert {c["name"]: c["images"] for c in told["curves"]} == dict.fromkeys(
        ("autoencoder", "PNG", "PCA, the same coder"), 12
    )
    assert (tmp_path / "rd" / "rd.png").exists()
    needed = [tmp_path / run / name for name in ("model.safetensors", "codec.safetensors")]
    assert told["runs"][0]["decoder_bytes"] == sum(file.stat().st_size for file in needed)
    status, _, err = verb("rd", run, "--data", "images", "-o", "all", "--most", "100")
    assert status == 0, err
    told = json.loads((tmp_path / "all" / "rd.json").read_text())
    by_name = {c["name"]: c["results"] for c in told["curves"]}
    sizes = [(tmp_path / "images" / f"{i:03}.png").stat().st_size for i in range(100)]
    assert by_name["PNG"]["bytes"] == [np.mean(sizes)]
    with (tmp_path / "x.aez").open("wb") as stream:
        compress(Packer(made, "keep"), [x[:100]], stream)
    assert by_name["autoencoder"]["bytes"] == [(tmp_path / "x.aez").stat().st_size / 100]

    def nothing() -> None:
        raise AssertionError("it computes before it refuses")

    monkeypatch.setattr(curves, "list_standards", nothing)
    (tmp_path / "file").touch()
    for words, what in (
        (("--most", "0"), "--most 0: must be at least 1."),
        (
            ("--data", "no"),
            "--data no: is neither a split nor a folder. Write test, val, or a folder of images.",
        ),
        (("-o", "file"), "--out file: is a file. Write the name of a folder."),
        (
            ("-o", "rd"),
            "--out rd: exists already. Use --force to replace it, or write another name.",
        ),
    ):
        status, _, err = verb("rd", run, *words)
        assert (status, err) == (2, f"aeframe: {what}\n")
    monkeypatch.setattr(os, "access", lambda place, mode: False)  # as of folders of others
    status, _, err = verb("rd", run, "-o", "new")
    what = "--out new: is not writable. Write another place, or change its permissions."
    assert (status, err) == (2, f"aeframe: {what}\n")
