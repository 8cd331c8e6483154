"""The rows that need a GPU: `python -m tests.benchmarks --gpu`."""

from __future__ import annotations

from tests.benchmarks.arms import Alone
from tests.benchmarks.floor import Floor
from tests.benchmarks.measure import Goal, Row
from tests.benchmarks.networks import CONV, SMALL, WIDE
from tests.benchmarks.trainings import Aeframe, Reference
from tests.benchmarks.work import Work
from tests.benchmarks.workspace import Workspace

GOALS: dict[str, Goal] = {
    "gpu-lightning small/128": Goal(10.0),
    "gpu-lightning wide/128": Goal(8.0),
    "gpu-lightning conv/128": Goal(4.0),
    "gpu-floor wide/8192": Goal(0.6),
    "gpu-floor conv/8192": Goal(0.4),
}
"""By row, of contender / reference."""

IMAGES = 960_000
"""Random ones, of which the large batches are made: an epoch of MNIST would have seven."""
WORDS = ("hardware=gpu",)
"""aeframe's overrides."""


def rows(space: Workspace, quick: bool) -> list[Row]:
    """quick: with as little work as proves that a row works."""
    length = {"epochs": 1, "limit": 20, "val": 600} if quick else {"epochs": 10}
    small = [Work(n, device="cuda", **length) for n in (SMALL, WIDE, CONV)]
    total = IMAGES // (40 if quick else 1)
    held = total // 100
    large = [
        Work(network, 8192, 1 if quick else 4, total=total, val=held, test=held, device="cuda")
        for network in (WIDE, CONV)
    ]
    found = [
        Row(
            f"gpu-lightning {work.name}",
            Alone(Reference("lightning_on_device", work, space)),
            Alone(Aeframe(work, space, WORDS)),
            goal=GOALS[f"gpu-lightning {work.name}"],
        )
        for work in small
    ]
    return found + [
        Row(
            f"gpu-floor {work.name}",
            Alone(Floor(work)),
            Alone(Aeframe(work, space, WORDS, images=total)),
            goal=GOALS[f"gpu-floor {work.name}"],
        )
        for work in large
    ]
