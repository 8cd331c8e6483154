r"""The README's pictures, from a sweep over the variants.

python train.py -m model=undercomplete,denoising,sparse,variational dataset=mnist dataset.root=FOLDER \
    trainer.max_epochs=10 hydra.sweep.dir=outputs/pictures
python -m tests.readme_pictures outputs/pictures
"""

from __future__ import annotations

import argparse
import io
import time
from pathlib import Path

from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.browser import TABS, browser, missing, tensorboard, words

PLACE = Path(__file__).parent.parent / ".github" / "pictures"
SHOWN = {
    "undercomplete": "val/reconstructions",
    "denoising": "val/reconstructions",
    "sparse": "val/units",
    "variational": "val/traversal",
}
"""What of each variant; the last one also as TensorBoard shows it."""
WIDTH = 420  # pixels of a picture in the README's table
PAGE = (1280, 1060)
FILTER = "&tagFilter=val%2F(recon%7Csamples%7Ctrav%7Cinter%7Ckl%7Cpca)"


def last(run: Path, tag: str) -> Image.Image:
    """The last picture of a tag that a run wrote."""
    read = EventAccumulator(str(run), size_guidance={"images": 0})
    read.Reload()
    return Image.open(io.BytesIO(read.Images(tag)[-1].encoded_image_string)).convert("RGB")


def main() -> None:
    parser = argparse.ArgumentParser("python -m tests.readme_pictures", description=__doc__)
    parser.add_argument("sweep", type=Path, help="its folder")
    options = parser.parse_args()
    if (lacks := missing()) is not None:
        parser.exit(2, f"{lacks}.\n")
    PLACE.mkdir(parents=True, exist_ok=True)
    for variant, tag in SHOWN.items():
        (run,) = options.sweep.glob(f"*_{variant}_*")
        picture = last(run, tag)
        height = min(
            picture.height, int(picture.width * 0.5)
        )  # the rows that matter most are first
        picture = picture.crop((0, 0, picture.width, height))
        picture.thumbnail((WIDTH, WIDTH), Image.Resampling.LANCZOS)
        picture.quantize(64).save(PLACE / f"{variant}.png", optimize=True)
    with tensorboard(run) as address, browser() as driver:
        driver.set_window_size(*PAGE)
        words(driver, address, "images")
        driver.get(f"{address}{TABS['images']}{FILTER}")
        driver.refresh()
        time.sleep(4)
        page = Image.open(io.BytesIO(driver.get_screenshot_as_png())).convert("RGB")
    page.quantize(128).save(PLACE / "tensorboard.png", optimize=True)


if __name__ == "__main__":
    main()
