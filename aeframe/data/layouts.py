"""Layouts of arrays: vectors, gray images; signals, images and volumes with channels first or last."""

from __future__ import annotations

import math
from typing import Literal

from aeframe.data.source import Shape

Layout = Literal["auto", "gray", "cl", "lc", "chw", "hwc", "cdhw", "dhwc", "flat"]
FIRST: dict[int, Layout] = {3: "cl", 4: "chw", 5: "cdhw"}
"""Layouts with channels first, by the axes of the array: signals, images and volumes."""
LAST: dict[int, Layout] = {3: "lc", 4: "hwc", 5: "dhwc"}
KINDS = {1: "signals", 2: "images", 3: "volumes"}
"""Words for samples, by their axes behind the channels."""
COLORS = (1, 3, 4)
"""Lengths of the last axis that `auto` takes for channels."""

NARROW, LONG = 32, 4
"""Limits of a signal: the most channels, and the smallest ratio of length to channels."""


class LayoutError(Exception):
    """The shape of an array does not fit its layout. what, remedy: for the user."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.what, self.remedy = what, remedy


def resolve_layout(layout: Layout, shape: Shape) -> Layout:
    """Return the layout of an array [N, ...], with `auto` decided by the shape. Raises LayoutError."""
    axes = len(shape)
    if layout == "auto":
        return _choose_layout(shape)
    fits = {
        "flat": axes >= 2,
        "gray": axes == 3 or (axes == 4 and 1 in (shape[1], shape[3])),
    }
    if not fits.get(layout, layout in (FIRST.get(axes), LAST.get(axes))):
        what = f"has shape {shape}, which dataset.layout={layout} cannot be"
        raise LayoutError(what, "Write dataset.layout=flat.")
    return layout


def _choose_layout(shape: Shape) -> Layout:
    if len(shape) == 2:
        return "flat"
    if len(shape) == 3:
        if is_like_signal(shape[1:]):
            what = f"has shape {shape}: signals of several channels, or very narrow gray images"
            first = "cl" if shape[1] < shape[2] else "lc"
            remedy = f"Write dataset.layout={first} or dataset.layout=flat for signals, "
            raise LayoutError(what, f"{remedy}dataset.layout=gray for images.")
        return "gray"
    if len(shape) in FIRST:
        return (LAST if shape[-1] in COLORS else FIRST)[len(shape)]
    what = f"has shape {shape}, which dataset.layout=auto cannot be"
    raise LayoutError(what, "Write dataset.layout=flat.")


def is_like_signal(sides: Shape) -> bool:
    """Check whether two sides are more likely a signal with channels, in either order, than an image."""
    short, long = sorted(sides)
    return short <= NARROW and long >= LONG * short


def is_channels_last(layout: Layout, shape: Shape) -> bool:
    """Check whether the channels of an array come last. layout: not `auto`."""
    return layout in LAST.values() or (layout == "gray" and len(shape) == 4 and shape[1] != 1)


def get_sample_shape(layout: Layout, shape: Shape) -> Shape:
    """Return the shape of one sample: (D,), (C, L), (C, H, W) or (C, D, H, W). layout: not `auto`."""
    if layout == "flat":
        return (math.prod(shape[1:]),)
    if layout == "gray" and len(shape) == 3:
        return (1, *shape[1:])
    return (shape[-1], *shape[1:-1]) if is_channels_last(layout, shape) else shape[1:]


def describe_layout(layout: Layout, shape: Shape) -> str:
    """Describe a layout in a few words. layout: not `auto`."""
    if layout == "flat":
        numbers = math.prod(shape[1:])
        if len(shape) == 2:
            return f"vectors of {numbers:,} numbers"
        return f"vectors of {numbers:,} numbers ({' x '.join(map(str, shape[1:]))} in a row)"
    channels, *sides = get_sample_shape(layout, shape)
    kind, size = KINDS[len(sides)], " x ".join(map(str, sides))
    if channels == 1:
        return f"{'gray ' if len(sides) == 2 else ''}{kind} of {size}"
    order = "last" if is_channels_last(layout, shape) else "first"
    return f"{kind} of {size}, {channels} channels {order}"
