"""Paper: the size of pictures, and text on them in a font that comes with Pillow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache, lru_cache

from PIL import Image, ImageDraw, ImageFont

WIDTH = 350  # pixels of a picture: TensorBoard shows so many, and neither blurs nor drops any
EDGE, GAP = 2, 3  # pixels around tiles, and between them
INSET = 4  # pixels left of text
INK, PALE = "#202020", "#d0d0d0"  # of text, and of frames
LARGE, NORMAL, FINE = 17, 13, 11  # sizes of titles, text and axes
KEPT = 500  # lines of text that are kept


def fit_tiles(columns: int, left: int = 0) -> int:
    """Return the width of tiles if this many are in a row, right of `left` pixels."""
    return (WIDTH - 2 * EDGE - left + GAP) // columns - GAP


def count_columns(width: int) -> int:
    """Return the number of tiles of this width that fit into a row."""
    return (WIDTH - 2 * EDGE + GAP) // (width + GAP)


@cache
def load_font(size: int = NORMAL) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Load Pillow's scalable font."""
    return ImageFont.load_default(size)


@lru_cache(KEPT)
def measure_text(text: str, size: int = NORMAL) -> int:
    """Return the width of one line of text, in pixels."""
    return round(load_font(size).getlength(text))


def write_text(
    picture: Image.Image, place: tuple[int, int], text: str, size: int = NORMAL, anchor: str = "la"
) -> None:
    """Write one line of text. anchor: its point at `place`: l or r, and a (above) or d (below)."""
    drawn = _draw_text(text, size)
    x, y = place
    x -= drawn.width if anchor[0] == "r" else 0
    y -= drawn.height if anchor[1] == "d" else 0
    picture.paste(INK, (x, y), drawn)


@lru_cache(KEPT)
def _draw_text(text: str, size: int) -> Image.Image:
    """Draw a line of text once: the same lines stand on many pictures."""
    font = load_font(size)
    right, below = font.getbbox(text)[2:]
    mask = Image.new("L", (math.ceil(right), math.ceil(below)))
    ImageDraw.Draw(mask).text((0, 0), text, 255, font)
    return mask


def shorten_text(text: str, width: int, size: int = NORMAL) -> str:
    """Shorten one line of text to a width."""
    line = " ".join(text.split())
    if measure_text(line, size) <= width:
        return line
    while line and measure_text(f"{line}…", size) > width:
        line = line[:-1]
    return f"{line.rstrip()}…"


def shorten_names(names: Sequence[str], width: int, size: int = NORMAL) -> list[str]:
    """Shorten names to a width: at their ends, and in their middle where the ends tell them apart."""
    short = [shorten_text(name, width, size) for name in names]
    return [
        _shorten_middle(name, width, size) if short.count(one) > 1 else one
        for name, one in zip(names, short, strict=True)
    ]


def _shorten_middle(text: str, width: int, size: int) -> str:
    line, made = " ".join(text.split()), text
    for kept in range(len(line), 1, -1):
        made = f"{line[: kept - kept // 2].rstrip()}…{line[-(kept // 2) :].lstrip()}"
        if measure_text(made, size) <= width:
            break
    return made


def wrap_text(text: str, width: int, size: int = NORMAL) -> list[str]:
    """Split text into lines that fit a width; a longer word has a line of its own."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else ""
        if longer and measure_text(longer, size) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
