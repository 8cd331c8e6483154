"""Random numbers that are a function of (seed, step, rank), never of history."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Draw = Callable[..., Tensor]


def mix_seed(*key: int | str) -> int:
    """A 63-bit seed from a key; different keys give unrelated seeds."""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


class Noise:
    """One step's random numbers.

    They are drawn for the rows of the *global* batch and each rank keeps the rows that are its own
    (rank, rank + world, ...), so that two ranks see the numbers that one process would have seen.

    key: what the numbers depend on, e.g. (seed, epoch, batch). rows: of the global batch, where the
    ranks' shares may differ by one.
    """

    def __init__(
        self, *key: int | str, rank: int = 0, world: int = 1, rows: int | None = None
    ) -> None:
        self.key, self.rank, self.world, self.rows = key, rank, world, rows
        self._generator: torch.Generator | None = None

    def stream(self, name: str) -> Noise:
        """An independent stream: what one user draws does not move what another gets."""
        return Noise(*self.key, name, rank=self.rank, world=self.world, rows=self.rows)

    def uniform(self, shape: Sequence[int], device: torch.device | str = "cpu") -> Tensor:
        """Numbers in [0, 1) of shape [rows, ...], float32, where rows are this rank's."""
        return self._draw(torch.rand, shape, device)

    def normal(self, shape: Sequence[int], device: torch.device | str = "cpu") -> Tensor:
        """Standard normal numbers of shape [rows, ...], float32, where rows are this rank's."""
        return self._draw(torch.randn, shape, device)

    def _draw(self, draw: Draw, shape: Sequence[int], device: torch.device | str) -> Tensor:
        rows, *rest = shape
        everyone = rows * self.world
        if self.rows is not None and len(range(self.rank, self.rows, self.world)) == rows:
            everyone = self.rows
        # in one type: a stream of float64 numbers, the default in 64-true, would be another
        drawn = draw(
            everyone,
            *rest,
            generator=self.generator(device),
            device=device,
            dtype=torch.float32,
        )
        return drawn[self.rank :: self.world]

    def generator(self, device: torch.device | str) -> torch.Generator:
        """What the numbers are drawn from, one after the other."""
        if self._generator is None:
            self._generator = torch.Generator(device).manual_seed(mix_seed(*self.key))
        return self._generator


class Generators:
    """What a step's streams are drawn from, kept and seeded anew for each step, as a graph needs them.

    key: of the step, as in Noise. by_path: by the names that lead to the stream.
    """

    def __init__(self) -> None:
        self.key: tuple[int | str, ...] = ()
        self.by_path: dict[tuple[int | str, ...], torch.Generator] = {}

    def seed(self, *key: int | str) -> None:
        """Begin the step of this key."""
        self.key = key
        for path, generator in self.by_path.items():
            generator.manual_seed(mix_seed(*key, *path))

    def at(self, path: tuple[int | str, ...], device: torch.device | str) -> torch.Generator:
        """The generator of a stream."""
        if path not in self.by_path:
            seed = mix_seed(*self.key, *path)
            self.by_path[path] = torch.Generator(device).manual_seed(seed)
        return self.by_path[path]


class KeptNoise(Noise):
    """The numbers of Noise(*key) for whichever key `generators` were seeded with. path: of the stream."""

    def __init__(self, generators: Generators, *path: int | str) -> None:
        super().__init__(*path)
        self.generators = generators

    def stream(self, name: str) -> KeptNoise:
        return KeptNoise(self.generators, *self.key, name)

    def generator(self, device: torch.device | str) -> torch.Generator:
        return self.generators.at(self.key, device)
