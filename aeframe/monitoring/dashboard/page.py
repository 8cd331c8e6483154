"""Page: pictures, histograms and texts of one step, written as one event."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image
from tensorboard.compat.proto.summary_pb2 import (
    DATA_CLASS_BLOB_SEQUENCE,
    DATA_CLASS_TENSOR,
    Summary,
)
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import histogram, text

FOLDER = "pictures"
"""Group of the pictures in TensorBoard, and their folder in the run's folder."""
ORDER = (
    *("reconstructions", "worst", "best", "corruptions"),
    *("samples", "manifold", "traversal", "interpolation", "units"),
    *("kl_of_units", "firing_rates", "codes", "tsne", "encoder_filters", "decoder_filters"),
)
"""Names of all pictures, as TensorBoard shows them. It sorts tags by name: each gets a number."""


def number_picture(name: str, *, is_added: bool = False) -> str:
    """Return the tag of a picture, which is also its file in the run's folder, without `.png`.

    is_added: by a plug-in. These come last.
    """
    number = len(ORDER) if is_added else ORDER.index(name)
    return f"{FOLDER}/{number + 1:02}_{name}"


class Page:
    """Collection of pictures, histograms and texts at one step, each with a caption.

    epoch: the number of epochs begun. folder: of the run, for files that are not events.
    """

    def __init__(self, writer: SummaryWriter, step: int, epoch: int) -> None:
        self.writer, self.step, self.epoch = writer, step, epoch
        self.folder = Path(writer.log_dir)
        self.summary = Summary()
        self.files: dict[str, bytes] = {}

    def add_picture(
        self, name: str, picture: Image.Image, caption: str, *, is_added: bool = False
    ) -> None:
        """Add a picture, which is also written as a file. is_added: see `number_picture`."""
        file = io.BytesIO()
        picture.save(
            file, "PNG", compress_level=1
        )  # a third of the time of level 6, a tenth more bytes
        tag, content = number_picture(name, is_added=is_added), file.getvalue()
        image = Summary.Image(
            height=picture.height, width=picture.width, encoded_image_string=content
        )
        self._add(Summary.Value(tag=tag, image=image), caption, "images", DATA_CLASS_BLOB_SEQUENCE)
        self.files[f"{tag}.png"] = content

    def add_histogram(self, tag: str, values: Tensor, caption: str) -> None:
        """Add a histogram of all values."""
        numbers = values.detach().flatten().float().cpu().numpy()
        summary = histogram(tag, numbers, self.writer.default_bins)
        self._add(summary.value[0], caption, "histograms", DATA_CLASS_TENSOR)

    def add_text(self, tag: str, markdown: str) -> None:
        """Add a text in Markdown."""
        (value,) = text(tag, markdown).value
        value.tag = tag  # without the ending that torch adds
        self.summary.value.append(value)

    def _add(self, value: Summary.Value, caption: str, plugin: str, data_class: int) -> None:
        value.metadata.summary_description = caption
        value.metadata.data_class = (
            data_class  # TensorBoard's fast reader drops the caption otherwise
        )
        value.metadata.plugin_data.plugin_name = plugin
        self.summary.value.append(value)

    def write(self) -> None:
        """Write everything to the event file, and the pictures also as files."""
        if self.summary.value:
            assert self.writer.file_writer is not None
            self.writer.file_writer.add_summary(self.summary, self.step)
        if self.files:
            (self.folder / FOLDER).mkdir(exist_ok=True)
        for name, content in self.files.items():
            (self.folder / name).write_bytes(content)
