"""Parts of the dashboard, drawn for an untrained network."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from aeframe.monitoring.dashboard import sheet
from aeframe.monitoring.dashboard.dashboard import LAST, OFTEN, SELDOM
from aeframe.monitoring.dashboard.page import FOLDER, Page
from aeframe.monitoring.dashboard.sheet import Row, draw_sheet
from aeframe.monitoring.dashboard.view import Samples, View
from aeframe.training.build import build

EPOCH = 7
EVERY = [name for name, _ in [*OFTEN, *SELDOM, *LAST]]


class Drawn(NamedTuple):
    """Drawings of a run, with their sources."""

    view: View
    page: Page
    sheets: dict[str, list[Row]]
    """Rows of each sheet by its name."""

    @classmethod
    def of(cls, view: View, writer: SummaryWriter, parts: Iterable[str], step: int = 0) -> Drawn:
        """Draw the parts of these names after this many steps."""
        page, wanted, drawn = Page(writer, step, EPOCH), set(parts), []

        def draw(
            title: str, note: str, rows: Sequence[Row], *, legend: Image.Image | None = None
        ) -> Image.Image:
            assert title.endswith(f", epoch {EPOCH}")
            picture = draw_sheet(title, note, rows, legend=legend)
            drawn.append((picture, list(rows)))
            return picture

        sheets: dict[str, list[Row]] = {}

        def picture(name: str, made: Image.Image, said: str) -> None:
            for one, rows in drawn:
                if one is made:
                    sheets[name] = rows
            Page.add_picture(page, name, made, said)

        with torch.no_grad(), pytest.MonkeyPatch.context() as patch:
            patch.setattr(sheet, "draw_sheet", draw)
            patch.setattr(page, "add_picture", picture)
            for name, part in [*OFTEN, *SELDOM, *LAST]:
                if name in wanted:
                    part(view, page)
        return cls(view, page, sheets)

    @property
    def pictures(self) -> dict[str, np.ndarray]:
        """Map names to pictures, [H, W, 3]."""
        values = [v for v in self.page.summary.value if v.HasField("image")]
        return {name_of(v.tag): decoded(v.image.encoded_image_string) for v in values}

    @property
    def said(self) -> dict[str, str]:
        """Return the caption of each picture and histogram."""
        return {name_of(v.tag): v.metadata.summary_description for v in self.page.summary.value}

    @property
    def histograms(self) -> dict[str, Any]:
        """Map tags to histograms."""
        return {v.tag: v.histo for v in self.page.summary.value if v.HasField("histo")}


def name_of(tag: str) -> str:
    """Return the name of a picture by its tag; other tags are returned as they are."""
    return tag.split("_", 1)[1] if tag.startswith(FOLDER) else tag


def decoded(png: bytes) -> np.ndarray:
    """Decode a picture's file, [H, W, 3]."""
    with Image.open(io.BytesIO(png)) as image:
        assert image.format == "PNG"
        return np.array(image.convert("RGB"))


@pytest.fixture
def drawn(compose: Callable[..., Any], tmp_path: Path) -> Iterator[Callable[..., Drawn]]:
    """Draw the parts of these names, or all, for these overrides."""
    writer = SummaryWriter(str(tmp_path / "drawn"))

    def draw(
        *overrides: str, columns: int = 8, parts: Iterable[str] = EVERY, step: int = 0
    ) -> Drawn:
        built = build(compose(*overrides))
        net, spec = built.net.eval(), built.data.spec
        if built.trainer.get("precision") == "64-true":
            net.double()
        samples = Samples.take(built.data, net, columns)
        return Drawn.of(View(net, samples, spec), writer, parts, step)

    yield draw
    writer.close()
