"""Picture: base class of the dashboard's pictures that plug-ins add."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from typing import ClassVar

from PIL import Image

from aeframe.monitoring.dashboard.page import Page
from aeframe.monitoring.dashboard.view import View


class Picture(ABC):
    """Base class of pictures. The class's docstring is the caption in TensorBoard.

    often: drawn each time, because it takes a few milliseconds; else after 5,000 steps and at the end.
    """

    often: ClassVar[bool] = False

    @abstractmethod
    def draw(self, view: View) -> Image.Image | None:
        """Draw the network as it is now, e.g. by a Chart or `draw_sheet`; None where it makes no sense."""

    def add_to(self, page: Page, name: str, view: View) -> None:
        """Add the picture to a page, under this name."""
        if (image := self.draw(view)) is not None:
            caption = " ".join((inspect.getdoc(type(self)) or name).split())
            page.add_picture(name, image, caption, is_added=True)
