"""Charts of the code: what they show, and that it can be read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageColor

from aeframe.monitoring.dashboard import chart, code_charts
from aeframe.monitoring.dashboard.chart import COLORS, MARKERS, Chart, style_class
from aeframe.monitoring.dashboard.code_charts import (
    chart_kl,
    chart_rates,
    project_codes,
    scatter,
)
from tests.support.drawing import Drawn, drawn

__all__ = ["drawn"]
Draw = Callable[..., Drawn]
AXES = ("x (cm)", "y (s)")
SPARSE = ("model=sparse", "model.latent_dim=80", "constraint.topk.k=4")


def find(picture: Image.Image | np.ndarray, number: int) -> np.ndarray:
    """The pixels [n, (row, column)] in exactly the color of a class."""
    color = ImageColor.getrgb(style_class(number)[0])
    return np.argwhere((np.array(picture)[:, :, :3] == color).all(2))


def write(made: Chart) -> dict[str, str | list[str]]:
    """Return the words of a chart."""
    axes = made.axes
    legends = made.canvas.figure.legends
    names = [text.get_text() for legend in legends for text in legend.get_texts()]
    title = "\n".join(text.get_text() for text in made.canvas.figure.texts)
    return {"title": title, "x": axes.get_xlabel(), "y": axes.get_ylabel(), "classes": names}


# ----------------------------------------------------------------------------------------------- points


def test_principal_components_are_those_of_the_codes() -> None:
    generator = torch.Generator().manual_seed(0)
    codes = torch.randn(200, 6, generator=generator) * torch.tensor([5.0, 3, 1, 1, 1, 1]) + 7
    points, explained = project_codes(codes)
    variance, axes = torch.linalg.eigh(torch.cov(codes.T))
    largest = variance.flip(0)[:2] / variance.sum()
    assert explained == pytest.approx(largest.tolist(), rel=1e-4)
    wanted = (codes - codes.mean(0)) @ axes[:, [-1, -2]]
    assert torch.allclose(points.abs(), wanted.abs(), atol=1e-3)
    again, _ = project_codes(codes * 1.0001)
    assert torch.allclose(again, points, atol=0.01)  # and not turned round
    alone, explained = project_codes(codes[:, :1])
    assert (alone.shape, explained) == ((200, 2), [pytest.approx(1.0), 0.0])
    assert project_codes(torch.ones(5, 3))[0].abs().max() < 1e-5


def test_points_have_the_colors_of_their_labels() -> None:
    points = torch.tensor([[0.0, 0.0], [2.0, 1.0], [1.0, 0.5]])
    made = scatter(("Points", "of all"), points, AXES, torch.tensor([0, 1, 0]), ("cat", "dog"))
    assert write(made) == {
        "title": "Points\nof all",
        "x": AXES[0],
        "y": AXES[1],
        "classes": ["cat", "dog"],
    }
    picture = np.array(made.render())
    right = round((chart.BESIDE_LEGEND[0] + chart.BESIDE_LEGEND[2]) * picture.shape[1]) + 5
    for number, count in ((0, 2), (1, 1)):  # as many dots as points, and one beside a name
        inside, legend = find(picture[:, :right], number), find(picture[:, right:], number)
        assert len(inside) == pytest.approx(count * len(find(picture[:, :right], 1)), rel=0.2)
        assert len(legend) > 10
    first, second = (find(picture[:, :right], number).mean(0) for number in (0, 1))
    assert second[1] > first[1]  # to the right
    assert second[0] < first[0]  # and above
    assert write(scatter(("Points", "of all"), points, AXES, None, ()))["classes"] == []
    far = scatter(("Points", "of all"), points, AXES, torch.tensor([3, 13, 3]), ())
    assert write(far)["classes"] == ["3", "13"]  # whatever numbers labels are
    assert (
        write(scatter(("Points", "of all"), points[:1], AXES, torch.tensor([3]), ()))["classes"]
        == []
    )


def test_classes_beyond_the_tenth_have_another_shape_and_too_many_no_names() -> None:
    styles = [style_class(number) for number in range(len(COLORS) * len(MARKERS))]
    assert len(set(styles)) == len(styles) == 30
    points = torch.rand(40, 2)
    labels = torch.arange(40)
    names = write(scatter(("Many", ""), points[:30], AXES, labels[:30], ()))["classes"]
    assert names == [str(n) for n in range(30)]
    assert write(scatter(("Too many", ""), points, AXES, labels, ()))["classes"] == []


def test_long_names_of_classes_are_shortened() -> None:
    names = ("a" * 12, "b" * 13)
    made = scatter(("Names", ""), torch.rand(2, 2), AXES, torch.tensor([0, 1]), names)
    assert write(made)["classes"] == ["a" * 12, "b" * 11 + "…"]


@pytest.mark.parametrize(
    ("units", "x", "y"),
    [
        (1, "z0, the only unit", "mean squared error of the image"),
        (2, "z0, the first unit", "z1, the second unit"),
        (5, "component 1: ", "component 2: "),
    ],
)
def test_a_code_of_two_units_is_drawn_as_it_is(
    drawn: Draw, monkeypatch: pytest.MonkeyPatch, units: int, x: str, y: str
) -> None:
    seen = []

    def noting(
        titles: tuple[str, str], points: torch.Tensor, axes: tuple[str, str], *more: object
    ) -> Chart:
        seen.append((points, axes))
        return scatter(titles, points, axes, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(code_charts, "scatter", noting)
    found = drawn("network=linear", f"model.latent_dim={units}", parts=["projection"])
    assert "codes" in found.pictures
    ((points, axes),) = seen
    assert (axes[0][: len(x)], axes[1][: len(y)]) == (x, y)
    codes = found.view.passed.codes
    assert points.shape == (len(codes), 2)
    if units < 3:
        assert torch.equal(points[:, :units], codes)
    else:
        assert axes[0].endswith("% of variance")


def test_samples_without_labels_are_shown_at_their_places(drawn: Draw, tmp_path: Path) -> None:
    values = np.zeros((200, 6, 6), np.uint8)
    values[:, 0] = np.random.default_rng(0).integers(0, 256, (200, 6))
    values[:, 5] = 255
    np.save(tmp_path / "x.npy", values)
    words = ("dataset=array", f"dataset.path={tmp_path / 'x.npy'}", "model.latent_dim=2")
    found = drawn("network=linear", *words, parts=["projection"])
    assert found.view.samples.labels is None
    picture = found.pictures["codes"]
    samples = (picture == 0).all(2)  # black, which no axis is wide enough for
    rows, columns = np.nonzero(samples[:, 80:])
    assert len(rows) > 20 * 6 * 6
    assert columns.max() - columns.min() > 200


def test_only_long_training_has_tsne_which_is_the_same_each_time(drawn: Draw) -> None:
    words = ("network=linear", "dataset.val_fraction=0.04")
    first = drawn(*words, parts=["projection"], step=code_charts.LONG)
    again = Drawn.of(first.view, first.page.writer, ["projection"], code_charts.LONG)
    assert first.pictures["tsne"].shape[1] > 420  # with the labels' names
    assert (first.pictures["tsne"] == again.pictures["tsne"]).all()
    short = Drawn.of(first.view, first.page.writer, ["projection"], code_charts.LONG - 1)
    assert short.pictures.keys() == {"codes"}


# ------------------------------------------------------------------------------------------------ units


def test_bars_are_as_high_as_the_nats_largest_first() -> None:
    picture = chart_kl("KL", torch.tensor([1.0, 4.0, 0.0, 2.0]))
    blue = find(picture, 0)
    heights = np.bincount(blue[:, 1])
    bars = [run.max() for run in np.split(heights, np.nonzero(heights == 0)[0]) if run.any()]
    assert [bar / bars[0] for bar in bars] == pytest.approx([1, 0.5, 0.25], abs=0.02)
    assert picture.size == chart_kl("KL", torch.rand(3000)).size


def test_units_that_never_fire_stand_apart() -> None:
    rates = torch.tensor([0.0] * 30 + [0.001] * 10 + [0.5] * 20, dtype=torch.float64)
    picture = chart_rates("Rates", rates, 1000, "image")
    never, others = find(picture, 2), find(picture, 0)
    assert never[:, 1].max() < others[:, 1].min()  # at the left
    height = np.ptp(never[:, 0])
    seldom = others[others[:, 1] < picture.width / 2]
    assert np.ptp(seldom[:, 0]) / height == pytest.approx(1 / 3, abs=0.02)
    often = others[others[:, 1] > picture.width / 2]
    assert np.ptp(often[:, 0]) / height == pytest.approx(2 / 3, abs=0.02)


def test_firing_rates_are_those_of_the_units(drawn: Draw) -> None:
    found = drawn(*SPARSE, "network=linear", parts=("units",))
    with torch.no_grad():
        codes = found.view.net.encode(found.view.samples.many).value.numpy()
    active = (codes != 0).sum(0)
    histogram = found.histograms["val/activation_frequency"]
    assert histogram.num == 80
    assert histogram.sum == pytest.approx(4, rel=1e-5)  # of 80 units 4 at a time
    assert histogram.max == pytest.approx(active.max() / len(codes))
    assert "firing_rates" in found.pictures
