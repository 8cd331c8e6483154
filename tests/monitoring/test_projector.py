"""The projector's files and the texts of real runs, read as TensorBoard reads them."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageColor
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.projector.projector_plugin import ProjectorPlugin
from werkzeug.test import Client

from aeframe import load
from aeframe.evaluation.baselines import Baseline
from aeframe.evaluation.card import Card
from aeframe.evaluation.copy_check import CopyCheck
from aeframe.monitoring.dashboard.chart import style_class
from aeframe.monitoring.dashboard.projector import CONFIG, FRAME, POINTS, UNITS
from aeframe.monitoring.dashboard.text import format_card
from aeframe.training.build import build
from tests.support.drawing import Drawn, drawn
from tests.support.forks import Server
from tests.support.runs import TINY, TWO, trained_in

__all__ = ["drawn"]
Draw = Callable[..., Drawn]
Command = Callable[..., tuple[int, str, str]]


def projector(logdir: Path) -> ProjectorPlugin:
    """TensorBoard's, as `tensorboard --logdir` makes it."""
    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(logdir))
    multiplexer.Reload()
    provider = MultiplexerDataProvider(multiplexer, str(logdir))
    plugin = ProjectorPlugin(TBContext(logdir=str(logdir), data_provider=provider))
    plugin._update_configs()
    return plugin


def texts(folder: Path) -> dict[str, tuple[int, str]]:
    """Step and text by tag."""
    read = EventAccumulator(str(folder), {"tensors": 0})
    read.Reload()
    found = {}
    for tag in read.Tags()["tensors"]:
        if tag == "card" or tag.startswith("run/"):
            (event,) = read.Tensors(tag)
            found[tag.removeprefix("run/")] = event.step, event.tensor_proto.string_val[0].decode()
    return found


# ------------------------------------------------------------------------------------------ the projector


@pytest.fixture(scope="module")
def with_files(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that wrote the projector's files."""
    return trained_in(server, tmp_path_factory.mktemp("files"), *TWO, "dashboard.images=2")


@pytest.mark.parametrize("parent", [False, True], ids=["run", "parent folder"])
def test_tensorboard_finds_the_codes_also_where_the_run_was_moved(
    with_files: Path, tmp_path: Path, parent: bool
) -> None:
    """A copy, in another folder than it was trained in."""
    moved = Path(shutil.copytree(with_files, tmp_path / "outputs" / "day" / "run"))
    plugin = projector(tmp_path / "outputs" if parent else moved)
    name = "day/run" if parent else "."
    (info,) = plugin._configs[name].embeddings
    assert info.tensor_name == "code, 8 of 8 units"
    assert list(info.tensor_shape) == [180, 8]
    client = Client(plugin.get_plugin_apps()["/tensor"])
    answer = client.get("/", query_string={"run": name, "name": info.tensor_name})
    codes = np.frombuffer(answer.data, np.float32).reshape(180, 8)
    assert codes.std(0).min() > 0
    where = {"run": name, "name": info.tensor_name}
    lines = Client(plugin.get_plugin_apps()["/metadata"]).get("/", query_string=where).text
    assert len(lines.splitlines()) == 1 + 180
    sprite = Client(plugin.get_plugin_apps()["/sprite_image"]).get("/", query_string=where)
    assert sprite.data.startswith(b"\x89PNG")


def test_each_line_and_each_small_picture_is_of_one_code(drawn: Draw) -> None:
    found = drawn("network=linear", parts=["projector"])
    view, folder = found.view, found.page.folder / "projector"
    codes = np.loadtxt(folder / "code.tsv", delimiter="\t")
    assert np.allclose(codes, view.passed.codes, rtol=1e-3, atol=1e-4)
    header, *lines = (folder / "samples.tsv").read_text().splitlines()
    assert header.split("\t") == ["label", "sample", "error"]
    rows = [line.split("\t") for line in lines]
    labels = view.samples.labels
    assert labels is not None
    assert [int(row[0]) for row in rows] == labels.tolist()
    assert np.allclose([float(row[2]) for row in rows], view.passed.error, rtol=1e-3)
    with Image.open(folder / "sprite.png") as sprite:
        pixels = np.array(sprite)
    side = 24 + 2 * FRAME  # 8 x 8, enlarged three times, in the color of its class
    assert pixels.shape == (14 * side, 14 * side, 3)
    for i in (0, 13, 14, 179):
        y, x = (side * n for n in divmod(i, 14))
        small = pixels[y : y + side, x : x + side]
        inside = small[FRAME:-FRAME:3, FRAME:-FRAME:3, 0] / 255
        assert np.abs(inside - view.samples.many[i, 0].numpy()).max() < 0.01
        frame = ImageColor.getrgb(style_class(int(labels[i]))[0])
        assert (small[:FRAME] == frame).all()
        assert (small[:, -FRAME:] == frame).all()


@pytest.mark.parametrize("units", [1, 2, 3])
def test_codes_of_few_units_have_three_columns(drawn: Draw, units: int) -> None:
    """The page draws three principal components."""
    found = drawn("network=linear", f"model.latent_dim={units}", parts=["projector"])
    codes = np.loadtxt(found.page.folder / "projector" / "code.tsv", delimiter="\t")
    assert codes.shape == (180, 3)
    assert np.allclose(codes[:, :units], found.view.passed.codes, rtol=1e-3, atol=1e-4)
    assert not codes[:, units:].any()
    assert f"code, {units} of {units} units" in (found.page.folder / CONFIG).read_text()


def test_the_labels_are_those_of_the_samples(compose: Callable[..., Any]) -> None:
    data = build(compose()).data
    x, labels = data.peek("val", 50), data.peek_labels("val", 50)
    raw = data.splits["val"].raw
    assert raw.labels is not None
    assert labels is not None
    for one, label in zip(x, labels, strict=True):
        rows = (data.normalization(raw.data) == one).flatten(1).all(1).nonzero().flatten()
        assert int(label) in raw.labels[rows].tolist()


def test_wide_codes_and_odd_names_fit_into_the_files(drawn: Draw, tmp_path: Path) -> None:
    for name in ("a b", "two\tparts", os.fsdecode(b"\xff")):  # the last is no UTF-8
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(20):
            pixels = np.random.default_rng(i).integers(0, 256, (9, 9, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{i}.png")
    words = ("dataset=image_folder", f"dataset.root={tmp_path / 'images'}", "dataset.size=8")
    found = drawn(
        *words, "dataset.cache=null", "model=sparse", "model.latent_dim=256", parts=["projector"]
    )
    assert found.view.net.model.latent_dim > UNITS
    assert len(found.view.samples.many) <= POINTS
    folder = found.page.folder / "projector"
    codes = np.loadtxt(folder / "code.tsv", delimiter="\t", ndmin=2)
    assert codes.shape == (len(found.view.samples.many), UNITS)
    all_codes = found.view.passed.codes.numpy()
    most = np.sort(all_codes.var(0))[::-1][:UNITS]
    assert codes.var(0).sum() == pytest.approx(most.sum(), rel=1e-3)
    lines = (folder / "samples.tsv").read_text().splitlines()
    assert {line.split("\t")[0] for line in lines[1:]} == {"a b", "two parts", "?"}


# ----------------------------------------------------------------------------------------------- the text


def test_command_configuration_and_card_are_there_as_text(finished: Path) -> None:
    found = texts(finished)
    assert {name: step for name, (step, _) in found.items()} == {
        **{"command": 0, "configuration": 0, "card": 8}
    }
    command = r"```bash\npython \S*train\.py 'network\.widths=\[\]' "  # as it was called
    assert re.match(command, found["command"][1])
    written = (finished / ".hydra" / "config.yaml").read_text().strip()
    assert found["configuration"][1] == f"```yaml\n{written}\n```"
    card = json.loads((finished / "evaluation.json").read_text())
    text = found["card"][1]
    mse, error = (card["metrics"][name] for name in ("mse", "mse_standard_error"))
    assert f"| MSE per pixel | {mse:.5f} ± {error:.2g} | " in text
    assert text.rstrip().endswith(card["copy_check"]["sentence"])
    assert load(finished).description.metrics["mse"] == card["metrics"]["mse"]


def test_no_variable_of_the_environment_is_shown(
    aeframe: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMBER", "90210")
    seed = "${oc.decode:${oc.env:NUMBER}}"
    (tmp_path / "own").mkdir()
    flags = ("--config-dir", "own")
    status, _, err = aeframe(*flags, *TINY, "network=linear", f"seed='{seed}'", "hydra.run.dir=run")
    assert status == 0, err
    found = texts(tmp_path / "run")
    assert f"seed: {seed}" in found["configuration"][1]
    assert all("90210" not in text for _, text in found.values())
    assert found["command"][1].startswith("```bash\npython train.py --config-dir=own ")


def test_what_is_turned_off_is_not_there(aeframe: Command, tmp_path: Path) -> None:
    off = ("text", "projector", "filters", "projection", "extremes", "code", "reconstructions")
    words = (*TINY, "network=linear", *(f"dashboard.{name}=false" for name in off))
    assert aeframe(*words, "hydra.run.dir=run")[0] == 0
    read = EventAccumulator(str(tmp_path / "run"))
    read.Reload()
    assert read.Tags()["images"] == read.Tags()["histograms"] == []
    assert texts(tmp_path / "run") == {}
    assert not (tmp_path / "run" / "projector").exists()


def test_a_part_that_there_is_not_is_refused(aeframe: Command) -> None:
    status, _, err = aeframe("++dashboard.filter=false")
    assert status == 2
    assert "dashboard.filter: unknown key. Did you mean filters?" in err


def test_the_card_is_a_table() -> None:
    check = CopyCheck(0.01, 0.05, 0.05, 0.07, 0.06, 100)
    card = Card(
        {"mse": 0.01, "psnr": 20.0, "kl": 3.25}, [Baseline("mean", 0.06, 12.2)], check, 4, 100, 100
    )
    assert format_card(card).splitlines()[:5] == [
        "| test metric | model | mean |",
        "| --- | ---: | ---: |",
        "| MSE per pixel | 0.01000 | 0.06000 |",
        "| PSNR (dB) | 20.00 | 12.20 |",
        "| KL (nats) | 3.25 |  |",
    ]
