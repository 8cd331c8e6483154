"""Words for samples and their values."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from aeframe.data.spec import Nouns

Command = Callable[..., tuple[int, str, str]]
SHORT = (
    *("model.latent_dim=2", "network.widths=[]", "trainer.max_epochs=1", "dashboard.images=0"),
    *("dataset.batch_size=16", "evaluation.images=8"),
)


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((30,), ("sample", "value")),
        ((1, 1, 500), ("sample", "value")),
        ((3, 500, 1), ("sample", "value")),
        ((1, 8, 8), ("image", "pixel")),
        ((3, 32, 32), ("image", "pixel")),
    ],
)
def test_words_suit_the_shape_of_a_sample(shape: tuple[int, ...], words: tuple[str, str]) -> None:
    assert Nouns.suit(shape) == words


def test_a_table_has_no_pixels_and_no_images(aeframe: Command, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(60, 6)).astype(np.float32))
    status, out, err = aeframe("dataset=array", "dataset.path=x.npy", *SHORT, "hydra.run.dir=run")
    assert (status, err) == (0, "")
    assert "MSE per value" in out
    assert "mean sample" in out
    assert " samples/s" in out
    assert "pixel" not in out
    assert "image" not in out.replace("dashboard.images=0 evaluation.images=8", "")


def test_images_have_pixels(aeframe: Command) -> None:
    status, out, _ = aeframe("dataset=digits", "trainer.limit_train_batches=2", *SHORT)
    assert status == 0
    assert "MSE per pixel" in out
    assert "mean image" in out
    assert " images/s" in out
