"""View: the network at one moment, and the samples that are drawn with it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from aeframe.constraints.constrained import ConstrainedAutoencoder
from aeframe.core.noise import Noise
from aeframe.data import DataModule, DataSpec, Normalization
from aeframe.data.gaps import average_present
from aeframe.data.normalization.usual_ranges import count_channels, spread_over_elements
from aeframe.models.output import Output
from aeframe.monitoring.dashboard.painting import Painter, Pictures
from aeframe.monitoring.dashboard.signal_plots import Curves
from aeframe.monitoring.dashboard.table_plots import Table

MANY = 1000  # largest number of validation samples
NUMBERS = 2**22  # largest number of their elements or code units
COMPARABLE = 100.0  # largest ratio of the elements' scales in a vector that is drawn as stored
CHUNK = 256  # samples in one pass


@dataclass(frozen=True)
class Samples:
    """Normalized validation samples (training samples, if there is no validation), spread evenly.

    few: those that are drawn each time, [n, *shape]. many: [N, *shape]. labels: of these, int64 [N], or None.
    classes: the labels' names. split: the split in a word. few_targets, many_targets: their targets, if they
    have some.
    """

    few: Tensor
    many: Tensor
    labels: Tensor | None
    classes: tuple[str, ...]
    split: str
    few_targets: Tensor | None = None
    many_targets: Tensor | None = None

    @classmethod
    def take(cls, data: DataModule, net: ConstrainedAutoencoder, columns: int) -> Samples:
        """Take the samples for this many columns."""
        each = max(net.model.inputs, net.model.outputs, net.model.latent_dim)
        count = min(MANY, max(columns, NUMBERS // each))
        split = data.held_out
        few, many = (data.peek(split, n, net.normalization) for n in (columns, count))
        targets = (data.peek_targets(split, n, net.target_normalization) for n in (columns, count))
        words = {"val": "validation", "train": "training"}
        labels, classes = data.peek_labels(split, count), data.spec.classes
        return cls(few, many, labels, classes, words[split], *targets)


class Passed(NamedTuple):
    """Results of the network on many samples, without corruption or sampling.

    codes: [N, m]. active: which units are not dormant, bool [N, m]. error: mean square of each
    sample, [N]. kl: nats of each unit, averaged over the samples, [m], where the code has a
    posterior.
    """

    codes: Tensor
    active: Tensor
    error: Tensor
    kl: Tensor | None


def choose_painter(normalization: Normalization, data: DataSpec) -> Painter:
    """Choose the painter of samples. An image of one line is drawn as a signal, a volume as an image."""
    shift, scale = normalization.shift, normalization.scale
    is_image = len(data.shape) in (3, 4) and min(data.shape[-2:]) > 1
    if data.usual and not is_image:
        return _choose_for_columns(normalization, data)
    if len(data.shape) < 3 and bool(scale.max() > COMPARABLE * scale.min()):
        return Curves(data.low, data.high, [(data.low, data.high)], "normalized value")
    ends = data.get_range(normalization)
    low, high = (normalization(torch.full_like(shift, end)).float().cpu() for end in ends)
    if is_image:
        return Pictures(low, high, max(data.shape[-2:]), of_volumes=len(data.shape) == 4)
    return Curves(low, high, [ends], "value")


def _choose_for_columns(normalization: Normalization, data: DataSpec) -> Painter:
    """Choose the painter of a table, or of a signal of several channels."""
    names, *ends = zip(*data.usual, strict=True)
    low, high = (
        normalization(spread_over_elements(end, data.shape, data.axes).to(normalization.shift))
        for end in ends
    )
    low, high = low.float().cpu(), high.float().cpu()
    is_flat = high <= low
    low, high = low - is_flat.float(), high + is_flat.float()
    if len(data.shape) == 1 and count_channels(data.shape, data.axes) == 1:
        return Table(low, high, names)
    return Curves(low, high, list(zip(*ends, strict=True)), "value", names, data.axes)


class View:
    """View of a network. columns: number of samples that are drawn each time. nouns: words for them.

    Samples are drawn as they are stored; vectors with elements of very different scales are drawn
    normalized. paint: draws what the network writes. paint_input: draws what it reads.
    """

    def __init__(self, net: ConstrainedAutoencoder, samples: Samples, data: DataSpec) -> None:
        self.net, self.samples = net, samples
        self.columns = len(samples.few)
        self.nouns = data.nouns
        self.paint = choose_painter(net.written_normalization, data.written)
        self.paint_input = choose_painter(net.normalization, data)
        self.noise = Noise("dashboard")

    @property
    def paint_beside(self) -> Painter | None:
        """Painter of inputs that are not the targets; None if they are."""
        return None if self.net.target_normalization is None else self.paint_input

    @property
    def over(self) -> str:
        """Sentence about reconstructions that are drawn over what they should be."""
        found = self.paint.over
        return found if self.paint_beside is None else found.replace("clean input", "target")

    def number_samples(self, count: int) -> list[str]:
        """Return captions for samples by their place."""
        return [f"{self.nouns.sample} {i + 1}" for i in range(count)]

    @cached_property
    def output(self) -> Output:
        """Run the network on the few samples, as in training."""
        return self.net(self.samples.few, noise=self.noise, target=self.samples.few_targets)

    @property
    def is_finite(self) -> bool:
        """Check that all values can be drawn: the last step may have broken the network."""
        passed, output = self.passed, self.output
        seen = (passed.codes, passed.error, passed.kl, output.code.value, output.reconstruction)
        return all(bool(one.isfinite().all()) for one in seen if one is not None)

    @cached_property
    def passed(self) -> Passed:
        """Run the network on the many samples."""
        model, samples, normalization = self.net.model, self.samples, self.net.written_normalization
        codes, active, error, nats = (list[Tensor]() for _ in range(4))
        goals = samples.many if samples.many_targets is None else samples.many_targets
        for x, goal in zip(samples.many.split(CHUNK), goals.split(CHUNK), strict=True):
            code = self.net.encode(x)
            restored = model.likelihood.mean(model.decode_code(code))
            codes.append(code.value)
            active.append(code.active)
            present = normalization.find_present(goal)
            error.append(average_present((restored - goal).square(), present))
            if code.posterior is not None:
                nats.append(code.posterior.kl())
        kl = torch.cat(nats).mean(0) if nats else None
        return Passed(torch.cat(codes), torch.cat(active), torch.cat(error), kl)
