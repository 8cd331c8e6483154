"""TensorBoard's tabs in a real browser show what runs write."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser import browser, missing, tensorboard, words
from tests.support.forks import Server
from tests.support.runs import trained_in

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # of the driver's connections
]
EXPECTED = {
    "scalars": (
        "train/loss",
        "train/mse",
        "val/kl",
        "val/loss",
    ),  # the groups that are open at first
    "images": (
        "01_reconstructions",
        "03_best",
        "08_interpolation",
        "The same validation images at each epoch",
    ),
    "histograms": ("val/code",),
    "text": ("card", "run/command", "run/configuration"),
    "hparams": ("model.latent_dim", "→ test/psnr"),
    "projector": ("1 tensor found", "Points:", "180"),
}


@pytest.fixture(scope="module")
def shown(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Any]]:
    """The address of a run's TensorBoard, and a browser."""
    root = tmp_path_factory.mktemp("shown")
    run: Path = trained_in(server, root, "model=variational", "trainer.max_epochs=2")
    with tensorboard(run) as address, browser() as driver:
        yield address, driver


@pytest.mark.parametrize("tab", EXPECTED)
def test_a_tab_shows_what_it_is_for(shown: tuple[str, Any], tab: str) -> None:
    said = words(*reversed(shown), tab, EXPECTED[tab])
    for word in EXPECTED[tab]:
        assert word in said
