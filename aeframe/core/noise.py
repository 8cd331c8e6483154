"""Random numbers that depend on (seed, step, rank), never on history."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Draw = Callable[..., Tensor]


def mix_seed(*key: int | str) -> int:
    """Compute a 63-bit seed from a key; different keys give unrelated seeds."""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


class Noise:
    """The random numbers of one step.

    They are drawn for the rows of the *global* batch. Each rank keeps its own rows (rank, rank + world,
    ...), so that two ranks get the same numbers as one process.

    key: identifies the numbers, e.g. (seed, epoch, batch). rows: size of the global batch; some ranks may
    have one row less than others.
    """

    def __init__(
        self, *key: int | str, rank: int = 0, world: int = 1, rows: int | None = None
    ) -> None:
        self.key, self.rank, self.world, self.rows = key, rank, world, rows
        self._generator: torch.Generator | None = None

    def derive_stream(self, name: str) -> Noise:
        """Return an independent stream: draws from one do not change another."""
        return Noise(*self.key, name, rank=self.rank, world=self.world, rows=self.rows)

    def uniform(self, shape: Sequence[int], device: torch.device | str = "cpu") -> Tensor:
        """Draw numbers in [0, 1), float32 [rows, ...]; rows: those of this rank."""
        return self._draw(torch.rand, shape, device)

    def normal(self, shape: Sequence[int], device: torch.device | str = "cpu") -> Tensor:
        """Draw standard normal numbers, float32 [rows, ...]; rows: those of this rank."""
        return self._draw(torch.randn, shape, device)

    def _draw(self, draw: Draw, shape: Sequence[int], device: torch.device | str) -> Tensor:
        rows, *rest = shape
        everyone = rows * self.world
        if self.rows is not None and len(range(self.rank, self.rows, self.world)) == rows:
            everyone = self.rows
        # always float32: a float64 stream, the default in 64-true, has other numbers
        drawn = draw(
            everyone,
            *rest,
            generator=self.make_generator(device),
            device=device,
            dtype=torch.float32,
        )
        return drawn[self.rank :: self.world]

    def make_generator(self, device: torch.device | str) -> torch.Generator:
        """Return the generator of this stream."""
        if self._generator is None:
            self._generator = torch.Generator(device).manual_seed(mix_seed(*self.key))
        return self._generator
