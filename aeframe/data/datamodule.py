"""Splits and batches of a source."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from aeframe.core.bounds import Above, AtLeast, AtMost, Below
from aeframe.core.errors import ConfigError, Problem, UserError
from aeframe.core.noise import mix_seed
from aeframe.data.augmentation import (
    Augmentation,
    Change,
    can_move,
    check_changes,
    choose_changes,
)
from aeframe.data.classes import share_classes
from aeframe.data.normalization.normalization import Normalization
from aeframe.data.normalization.normalization_fit import ANY, Kept, fit
from aeframe.data.normalization.spread import Choice
from aeframe.data.normalization.value_range import note_narrow_range
from aeframe.data.pairs import fit_targets, require_suited
from aeframe.data.resident import Resident
from aeframe.data.sampler import EpochBatches
from aeframe.data.source import Batch, Raw, Samples, Share, Source
from aeframe.data.spec import DataSpec
from aeframe.data.splits import Splitting
from aeframe.data.streamed import Streamed, StreamedSamples

DIGESTED = 2**23  # bytes of each split in the digest


class DataModule:
    """Splits and batches of a source. Splits depend on the seed; the training split sets the normalization.

    batch_size: of all ranks together; `auto` must be replaced before batches are asked for. val_fraction,
    test_fraction: shares of the data, if the source has no such split; val_fraction=0: no validation.
    normalization: `unit` scales to [0, 1] by the known range or that of the training split; `rms`
    subtracts the medians of features or channels and has one scale for all; `standard` gives each feature
    or channel mean 0 and variance 1 (of a table numbers and dates; counts only variance 1); `rank` gives them
    a normal distribution by their quantiles; `none`; `auto` chooses. Targets have one of the same kind.
    in_memory: whether the samples are read into memory, or for training on a GPU into its memory; `auto`: if
    they take at most memory_limit GiB. Otherwise they stay in their file, and num_workers processes load the
    batches, or threads read the shards; `auto`: none for data in memory. augment: random changes of the
    training images; `auto`: those that suit the source, if it has few images. only, exclude: names of the
    classes to use, or to leave out.
    """

    def __init__(
        self,
        *,
        source: Source,
        seed: int,
        batch_size: Annotated[int, AtLeast(1), AtMost(2**31)] | Literal["auto"] = 128,
        val_fraction: Annotated[float, AtLeast(0), Below(1)] = 0.1,
        test_fraction: Annotated[float, Above(0), Below(1)] = 0.1,
        normalization: Choice = "auto",
        in_memory: bool | Literal["auto"] = "auto",
        memory_limit: Annotated[float, Above(0)] = 4.0,
        num_workers: Annotated[int, AtLeast(0)] | Literal["auto"] = "auto",
        shuffle: bool = True,
        augment: Sequence[Change] | Literal["auto"] = (),
        only: Sequence[str | int] | None = None,
        exclude: Sequence[str | int] | None = None,
    ) -> None:
        self.source, self.seed = source, seed
        self.batch_size = 0 if batch_size == "auto" else batch_size
        self.splitting = Splitting(seed, val_fraction, test_fraction, only, exclude)
        self.in_memory, self.memory_limit = in_memory, memory_limit
        self.kind, self.num_workers, self.shuffle = normalization, num_workers, shuffle
        self.augment, self.augmentation = augment, Augmentation()
        self.splits: dict[str, Samples] = {}
        self._moved: dict[tuple[int, torch.device], Raw] = {}
        self.spec: DataSpec
        self.normalization: Normalization
        self.target_normalization: Normalization | None = None
        self.reason = ""  # for the chosen normalization
        self.notes: list[Problem] = []
        self._digest: str | None = None

    def setup(
        self,
        support: tuple[float, float] = ANY,
        kept: Kept | None = None,
        kept_target: Kept | None = None,
    ) -> None:
        """Read, split and measure the data, once. Raises UserError with the file and what to do.

        support: the range of normalized values that the model can write. kept, kept_target: the normalization
        of a trained network and of its targets, if it suits the shape of the samples.
        """
        if self.splits:
            return
        self.source.skip_classes(self.splitting.only, self.splitting.exclude)
        raw = share_classes(self.source.load())
        if self.is_resident(raw.nbytes):
            raw = raw.copy_to_memory()
        self.splits = self.splitting.split(raw)
        train, target = self.splits["train"], None
        fitted = fit(self.kind, train, support, require_suited(kept, raw))
        self.normalization, self.reason = fitted.normalization, fitted.reason
        self.notes += fitted.notes
        if (targets := train.targets) is not None:
            goal = fit_targets(fitted.kind, targets, support, kept_target)
            self.target_normalization = goal.normalization
            self.notes += goal.notes
            target = DataSpec.describe(targets, goal)
        self.spec = DataSpec.describe(train, fitted, target)
        self.augmentation = self._choose_augmentation()
        for part in (raw, raw.target):
            if part is not None and part.assumed and not train.is_streamed:
                self.notes += note_narrow_range(part)

    @property
    def written_normalization(self) -> Normalization:
        """The normalization of the data that the network writes: of the targets, or of the samples."""
        return self.target_normalization or self.normalization

    def _choose_augmentation(self) -> Augmentation:
        shapes = self.spec.shape, self.spec.target_shape
        if (wrong := check_changes(self.augment, *shapes)) is not None:
            raise ConfigError([wrong])
        suited = self.source.suited_changes if can_move(*shapes) else ()
        changes = choose_changes(self.augment, suited, self.spec.samples)
        return Augmentation(changes, *(self.spec.stored or self.spec.seen or (0.0, 1.0)))

    @property
    def held_out(self) -> str:
        """The split for choices such as thresholds: `val` if there is one, else `train`; never `test`."""
        return "val" if "val" in self.splits else "train"

    @property
    def batches(self) -> dict[str, int]:
        """The number of batches of each split."""
        return {split: -(-len(rows) // self.batch_size) for split, rows in self.splits.items()}

    def as_dict(self) -> dict[str, Any]:
        """Return plain data that identifies the samples: specification, checksum of parts of each split.

        Computed samples also have their source, which identifies them on any processor.
        """
        if self._digest is None:
            digest = 0
            for split, samples in self.splits.items():
                digest = zlib.crc32(f"{split} {len(samples)}".encode(), digest)
                for part in (samples, samples.targets):
                    if part is None:
                        continue
                    n = max(64, DIGESTED // part.raw.rows.sample_bytes)
                    some = _select_spread(part, n).contiguous()
                    digest = zlib.crc32(some.reshape(-1).view(torch.uint8).numpy().data, digest)
            self._digest = f"{digest:08x}"
        known = self.source.identity
        source = {} if known is None else {"source": known}
        return {**self.spec.as_dict(), "digest": self._digest, **source}

    def is_resident(self, size: int) -> bool:
        """Check whether samples of `size` bytes are kept in memory."""
        return self.fits_in_memory(size) if self.in_memory == "auto" else self.in_memory

    def fits_in_memory(self, size: int) -> bool:
        """Check whether samples of `size` bytes keep within memory_limit."""
        return size <= self.memory_limit * 2**30

    def peek(self, split: str, n: int, normalization: Normalization | None = None) -> Tensor:
        """Return n samples spread evenly over a split, normalized, [<= n, *shape].

        The first samples of a source that is sorted by class would be of one class. normalization: of a
        model, which also sets device and precision.
        """
        normalize = normalization or self.normalization
        return normalize(_select_spread(self.splits[split], n).to(normalize.scale.device))

    def peek_targets(
        self, split: str, n: int, normalization: Normalization | None = None
    ) -> Tensor | None:
        """Return the targets of the samples of `peek`, or None. normalization: of a model's targets."""
        if (targets := self.splits[split].targets) is None:
            return None
        normalize = normalization or self.written_normalization
        return normalize(_select_spread(targets, n).to(normalize.scale.device))

    def some(
        self, split: str, n: int, normalization: Normalization, most: int, rank: int, world: int
    ) -> Iterator[Tensor]:
        """Iterate over one rank's share of n samples, spread evenly over a split, in normalized batches.

        normalization: of a model. most: as in `loader`.
        """
        samples = self.splits[split]
        for rows in samples.spread_evenly(n)[rank::world].split(self.count_together(most)):
            yield normalization(samples[Share(rows, len(rows))].x.to(normalization.scale.device))
        samples.raw.release()

    def peek_labels(self, split: str, n: int) -> Tensor | None:
        """Return the labels of the samples of `peek`, int64 [<= n], or None without labels."""
        samples = self.splits[split]
        known = samples.raw.labels
        return None if known is None else known[samples.find_rows(samples.spread_evenly(n)).long()]

    def make_loader(
        self,
        split: str,
        *,
        training: bool = False,
        most: int = 0,
        rank: int = 0,
        world: int = 1,
        device: torch.device | None = None,
    ) -> Resident | Streamed | DataLoader[Batch]:
        """Return one rank's batches of the split `train`, `val` or `test`: samples as stored, [B, *shape].

        training: shuffle (with `shuffle`), give all ranks equally many batches. most: join small batches
        up to `most` rows. device: where they are used. Raises UserError if the ranks cannot share them.
        """
        if (uneven := find_uneven_batch(self.batch_size, world)) is not None:
            raise UserError(*uneven)
        samples = self._place(split, device)
        if len(samples) < world:
            what = f"the {split} split has fewer samples ({len(samples)}) than there are processes ({world})"
            raise UserError("hardware.devices", what, "Write a larger dataset.val_fraction.")
        batches = EpochBatches(
            len(samples),
            self.count_together(most),
            seed=self.seed,
            training=training,
            shuffle=training and self.shuffle,
            rank=rank,
            world=world,
            device=None if samples.is_streamed else samples.index.device,
        )
        workers = self._count_workers(samples, device)
        if isinstance(samples, StreamedSamples):
            return Streamed(samples, batches, max(1, workers))
        if workers == 0:
            return Resident(samples, batches)
        return DataLoader(
            samples,
            sampler=batches,
            batch_size=None,
            num_workers=workers,
            persistent_workers=True,
            prefetch_factor=4,
            pin_memory=device is not None and device.type == "cuda",
            generator=torch.Generator().manual_seed(mix_seed(self.seed, split, rank)),
        )

    def count_together(self, most: int) -> int:
        """Count the rows of several batches joined into one of at most `most` rows, or of one batch."""
        return self.batch_size * max(1, most // self.batch_size)

    def _place(self, split: str, device: torch.device | None) -> Samples:
        """Return the split, moved to the GPU that trains on it if it fits there."""
        samples = self.splits[split]
        if samples.is_streamed or device is None or device.type != "cuda":
            return samples
        if not self.is_resident(samples.raw.nbytes):
            return samples
        key = (id(samples.raw), device)  # splits may share one tensor
        if key not in self._moved:
            free, _ = torch.cuda.mem_get_info(device)
            if samples.raw.nbytes > free / 2:
                return samples
            self._moved[key] = samples.raw.copy_to(device)
        return Samples(self._moved[key], samples.index.to(device))

    def _count_workers(self, samples: Samples, device: torch.device | None) -> int:
        """Count the processes that load batches: none for data in memory that is used there."""
        if not samples.is_streamed and samples.index.is_cuda:
            return 0
        if self.num_workers != "auto":
            return self.num_workers
        in_memory = self.is_resident(samples.raw.nbytes) and not samples.is_streamed
        at_hand = in_memory and (device is None or device.type == "cpu")
        return 0 if at_hand else max(1, min(4, (os.cpu_count() or 1) // 2))


def _select_spread(samples: Samples, n: int) -> Tensor:
    """Return n samples spread evenly over a split, as stored, [<= n, *shape]."""
    rows = samples.spread_evenly(n)
    chosen = samples[Share(rows, len(rows))].x
    samples.raw.release()
    return chosen


def find_uneven_batch(batch_size: int, world: int) -> tuple[str, str, str] | None:
    """Describe the problem of a batch size that the processes cannot share: (where, what, remedy)."""
    if batch_size % world == 0:
        return None
    what = f"is not a multiple of the number of processes, {world}"
    remedy = f"Write dataset.batch_size={max(1, batch_size // world) * world}."
    return f"dataset.batch_size={batch_size}", what, remedy
