"""Splits and batches of a source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from aeframe.bounds import Above, AtLeast, AtMost, Below
from aeframe.data.normalization import Normalization, fit
from aeframe.data.sampler import EpochBatches
from aeframe.data.samples import Batch, Raw, Samples, Shape, Source
from aeframe.errors import UserError
from aeframe.noise import mix


@dataclass(frozen=True)
class DataSpec:
    """What the rest of a run knows of its data.

    shape: of one sample. low, high: the range of normalised values. samples: in the training split.
    extent: the range of all normalised values, where they are not standardised.
    """

    shape: Shape
    low: float
    high: float
    samples: int
    extent: tuple[float, float]

    @property
    def peak(self) -> float:
        """The width of the range, for PSNR."""
        return self.high - self.low


class DataModule(pl.LightningDataModule):
    """A source, split by seed, normalised by its training split, in batches.

    batch_size: of all ranks together. val_fraction, test_fraction: cut from the training data where the
    source has no such split. normalization: `unit` to [0, 1], by the known range or the training
    split's; `standard` to mean 0 and variance 1 for each feature or channel; `none`.
    """

    def __init__(
        self,
        *,
        source: Source,
        seed: int,
        batch_size: Annotated[int, AtLeast(1), AtMost(2**31)] = 128,
        val_fraction: Annotated[float, Above(0), Below(1)] = 0.1,
        test_fraction: Annotated[float, Above(0), Below(1)] = 0.1,
        normalization: Literal["unit", "standard", "none"] = "unit",
        num_workers: Annotated[int, AtLeast(0)] = 0,
        shuffle: bool = True,
    ) -> None:
        super().__init__()
        self.source, self.seed, self.batch_size = source, seed, batch_size
        self.val_fraction, self.test_fraction = val_fraction, test_fraction
        self.kind, self.num_workers, self.shuffle = normalization, num_workers, shuffle
        self.splits: dict[str, Samples] = {}
        self.spec: DataSpec
        self.normalization: Normalization

    def setup(self, stage: str | None = None) -> None:
        """Read, split and measure the data, once."""
        if self.splits:
            return
        raw = self.source.load()
        self.splits = self._split(raw)
        self.normalization, low, high, extent = fit(self.kind, self.splits["train"])
        shape = tuple(raw.data.shape[1:])
        self.spec = DataSpec(shape, low, high, len(self.splits["train"]), extent)

    def _split(self, raw: Raw) -> dict[str, Samples]:
        n = len(raw.data)
        generator = torch.Generator().manual_seed(mix(self.seed, "split"))
        order = torch.randperm(n, generator=generator)
        held = 0 if raw.test is not None else max(1, round(self.test_fraction * n))
        val = max(1, round(self.val_fraction * n))
        if n - held - val < 1:
            raise UserError(
                "dataset.val_fraction",
                f"{n} samples leave none to train on beside {val} for validation and {held} for the test",
                "Write smaller fractions." if n > 2 else "Give at least 3 samples.",
            )
        # each split in the source's order: reads of memory-mapped data then move forwards
        test = Samples(raw, order[:held].sort().values)
        if raw.test is not None:
            test = Samples(raw.test, torch.arange(len(raw.test.data)))
        validation = Samples(raw, order[held : held + val].sort().values)
        train = Samples(raw, order[held + val :].sort().values)
        return {"train": train, "val": validation, "test": test}

    def peek(self, split: str, n: int, normalization: Normalization | None = None) -> Tensor:
        """N samples spread evenly over a split, normalised, [<= n, *shape]: a source that is sorted by
        class would begin with one.

        normalization: a model's, on whose device and in whose precision they then are.
        """
        normalize = normalization or self.normalization
        samples = self.splits[split]
        spread = torch.linspace(0, len(samples) - 1, min(n, len(samples))).round().long()
        return normalize(samples[spread.tolist()].x.to(normalize.scale.device))

    def rows_of_batch(self, split: str, index: int) -> int:
        """The samples of all ranks in one batch of an evaluation."""
        return min(self.batch_size, len(self.splits[split]) - index * self.batch_size)

    def train_dataloader(self) -> DataLoader[Batch]:
        return self._loader("train", training=True)

    def val_dataloader(self) -> DataLoader[Batch]:
        return self._loader("val", training=False)

    def test_dataloader(self) -> DataLoader[Batch]:
        return self._loader("test", training=False)

    def _loader(self, split: str, *, training: bool) -> DataLoader[Batch]:
        trainer = self.trainer
        rank, world = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        if (uneven := uneven_batch(self.batch_size, world)) is not None:
            raise UserError(*uneven)
        samples = self.splits[split]
        if len(samples) < world:
            what = f"the {split} split has {len(samples)} samples for {world} processes"
            raise UserError("hardware.devices", what, "Write a larger dataset.val_fraction.")
        batches = EpochBatches(
            len(samples),
            self.batch_size,
            seed=self.seed,
            training=training,
            shuffle=training and self.shuffle,
            rank=rank,
            world=world,
        )
        return DataLoader(
            samples,
            sampler=batches,
            batch_size=None,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            generator=torch.Generator().manual_seed(mix(self.seed, split, rank)),
        )


def uneven_batch(batch_size: int, world: int) -> tuple[str, str, str] | None:
    """What is wrong with a batch that the processes cannot share: (where, what, remedy)."""
    if batch_size % world == 0:
        return None
    what = f"cannot be shared out evenly among {world} processes"
    remedy = f"Write dataset.batch_size={max(1, batch_size // world) * world}."
    return f"dataset.batch_size={batch_size}", what, remedy
