r"""Pictures of the README, from a sweep over the four models on MNIST.

python train.py -m model=undercomplete,denoising,sparse,variational dataset=mnist dataset.root=FOLDER \
    trainer.max_epochs=10 hydra.sweep.dir=outputs/pictures
python -m tests.readme_pictures outputs/pictures
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import aeframe
from aeframe.data import MNIST
from tests.browser import TABS, browser, missing, tensorboard, words
from tests.support.runs import TRAIN

PLACE = TRAIN.parent / ".github" / "pictures"
PAGE = {"width": 1100, "height": 720, "deviceScaleFactor": 2, "mobile": False}
FILTER = "&tagFilter=recon%7Ctrav%7Cinter%7Ckl"

COLUMNS, TILE, GAP, LABEL, HEADING, MARGIN = 8, 58, 4, 132, 44, 24  # all but the first in pixels
TITLE = "Four autoencoders on MNIST, after ten epochs on a CPU"
INK, GREY = (30, 30, 30), (95, 95, 95)

Rows = Iterator[tuple[str, np.ndarray]]
"""A label, and COLUMNS pictures [COLUMNS, 1, H, W] between 0 and 255."""


def undercomplete(model: aeframe.Model, digits: np.ndarray) -> Rows:
    """Show digits and what comes out of their code."""
    shown = digits[:COLUMNS]
    yield "input", shown
    yield "output", model.reconstruct(shown)


def denoising(model: aeframe.Model, digits: np.ndarray) -> Rows:
    """Show digits that lost a quarter of their pixels, and what the network makes of them."""
    shown = digits[COLUMNS : 2 * COLUMNS]
    lost = np.random.default_rng(0).random(shown.shape) < 0.25
    corrupted = np.where(lost, 0, shown).astype(shown.dtype)
    yield "corrupted", corrupted
    yield "restored", model.reconstruct(corrupted)


def sparse(model: aeframe.Model, digits: np.ndarray) -> Rows:
    """Show what the strongest units of a digit draw, alone and added up."""
    (code,) = model.encode(digits[1:2])
    strongest = np.argsort(-code)[:COLUMNS]
    alone = np.zeros((COLUMNS, len(code)), np.float32)
    alone[np.arange(COLUMNS), strongest] = code[strongest]
    strokes = model.decode(alone).astype(float) - model.decode(0 * alone)
    strokes = strokes.clip(min=0) / strokes.max((1, 2, 3), keepdims=True)
    yield "single units", 255 * strokes**0.7
    yield "added up", model.decode(alone.cumsum(0))


def variational(model: aeframe.Model, digits: np.ndarray) -> Rows:
    """Show new digits, and those between two."""
    yield "new digits", model.sample(COLUMNS, seed=1)
    first, last = model.encode(digits[[1, 3]])
    between = np.linspace(0, 1, COLUMNS, dtype=np.float32)[:, None]
    yield "from 2 to 0", model.decode(first + (last - first) * between)


PANELS: dict[str, tuple[str, Callable[[aeframe.Model, np.ndarray], Rows]]] = {
    "undercomplete": ("16 numbers for each digit", undercomplete),
    "denoising": ("a quarter of the pixels is missing", denoising),
    "sparse": ("1024 units, 16 of them active", sparse),
    "variational": ("digits that nobody wrote", variational),
}
"""The heading of each model's panel, and its rows."""


def variants(sweep: Path) -> Image.Image:
    """Draw a panel for each model of a sweep."""
    width, height = LABEL + COLUMNS * (TILE + GAP), HEADING + 2 * (TILE + GAP)
    size = 2 * width + 4 * MARGIN, 2 * height + 3 * MARGIN + HEADING
    picture = Image.new("RGB", size, "white")
    ImageDraw.Draw(picture).text((MARGIN, MARGIN), TITLE, INK, ImageFont.load_default(26))
    for number, (name, (said, rows)) in enumerate(PANELS.items()):
        model = aeframe.load(run_of(sweep, name))
        test = MNIST(root=model.config["dataset"]["root"]).load().test
        assert test is not None
        x = MARGIN + number % 2 * (width + 2 * MARGIN)
        y = 2 * MARGIN + HEADING + number // 2 * (height + MARGIN // 2)
        draw_panel(picture, x, y, f"model={name}", said, rows(model, test.data.numpy()))
    return picture


def draw_panel(picture: Image.Image, x: int, y: int, heading: str, said: str, rows: Rows) -> None:
    """Draw the heading and the rows of a model at a place."""
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(21)
    draw.text((x, y), heading, INK, font)
    draw.text((x + font.getlength(heading) + 16, y + 3), said, GREY, ImageFont.load_default(17))
    y += HEADING - 8
    for label, pictures in rows:
        draw.text((x, y + TILE // 2), label, INK, ImageFont.load_default(18), anchor="lm")
        for column, pixels in enumerate(pictures[:, 0]):
            tile = Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8))
            place = x + LABEL + column * (TILE + GAP), y
            picture.paste(tile.resize((TILE, TILE), Image.Resampling.LANCZOS), place)
        y += TILE + GAP


def run_of(sweep: Path, model: str) -> Path:
    """Find the run of a model in a sweep."""
    (run,) = sweep.glob(f"*_{model}_*")
    return run


def screenshot(run: Path) -> Image.Image:
    """Take a picture of TensorBoard's tab of images."""
    with tensorboard(run) as address, browser() as driver:
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PAGE)
        words(driver, address, "images")
        driver.get(f"{address}{TABS['images']}{FILTER}")
        driver.refresh()
        time.sleep(4)
        return Image.open(io.BytesIO(driver.get_screenshot_as_png())).convert("RGB")


def main() -> None:
    parser = argparse.ArgumentParser("python -m tests.readme_pictures", description=__doc__)
    parser.add_argument("sweep", type=Path, help="its folder")
    options = parser.parse_args()
    if (lacks := missing()) is not None:
        parser.exit(2, f"{lacks}.\n")
    PLACE.mkdir(parents=True, exist_ok=True)
    variants(options.sweep).quantize(64).save(PLACE / "variants.png", optimize=True)
    page = screenshot(run_of(options.sweep, "variational"))
    page.quantize(128).save(PLACE / "tensorboard.png", optimize=True)


if __name__ == "__main__":
    main()
