"""Runs that end at random moments, and are resumed.

python -m tests.stress.torture [--kills N] [--terms N] [--ddp N] [--full N] [--seed N]

Each story is a run that ends at random moments of its life, start and evaluation included, and is started
again with the same words until it ends by itself. What it leaves has to be what an uninterrupted run
leaves, bit for bit. It ends by SIGKILL, by SIGTERM (at a checkpoint of that very step), with two ranks of
which one or both end (no process may stay behind), or because the file system is full (one line that names
a file). A few runs are started as a user starts them, the others in processes that have imported before.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from tests.stress.random_ends import Full, Kills, Ranks, Tally, Terms, small_disk
from tests.support.forks import Server

CODE = ("model=sparse", "model.latent_dim=80")
SCHEDULER = "scheduler={_target_: torch.optim.lr_scheduler."
CONFIGURATIONS: dict[str, tuple[str, ...]] = {
    "undercomplete, plateau": (
        *("model.latent_dim=8", SCHEDULER + "ReduceLROnPlateau, patience: 0, threshold: 0.1}"),
        "trainer.steps_per_call=3",
    ),
    "undercomplete, dropout, batch norm, workers": (
        *("model.latent_dim=8", "network.widths=[16]", "network.dropout=0.2", "network.norm=batch"),
        *("dataset.num_workers=2", "trainer.max_epochs=8"),
    ),
    "denoising, accumulation": (
        *("model=denoising", "constraint=[masking,gaussian_noise]"),
        "trainer.accumulate_grad_batches=5",
    ),
    "denoising, conv, momentum": (
        *("model=denoising", "network=conv", "network.widths=[4,8]", "trainer.max_epochs=8"),
        "optimizer={_target_: torch.optim.SGD, lr: 0.001, momentum: 0.9}",
    ),
    "sparse, topk, auxk": (*CODE, "constraint=[topk,auxk]", "constraint.auxk.after=1.0"),
    "sparse, kl_sparsity, resampling": (
        *(*CODE, "constraint=[sigmoid,kl_sparsity,resampling]", "constraint.kl_sparsity.rho=0.01"),
        *(
            "constraint.sigmoid.rate=0.5",
            "constraint.sigmoid.gain=1.0",
            "constraint.sigmoid.adapt=0",
        ),
        *("constraint.resampling.every=0.4", "constraint.resampling.after=0.1"),
        "trainer.steps_per_call=1",
    ),
    "sparse, threshold": (*CODE, "constraint=threshold", "++trainer.val_check_interval=5"),
    "sparse, winner_take_all, patience": (
        *(*CODE, "constraint=winner_take_all", "early_stopping.patience=14"),
    ),
    "variational, beta": (
        *("model=variational", "model.latent_dim=4", "trainer.steps_per_call=7"),
        "model.beta={schedule: warmup, value: 2.0, epochs: 10}",
    ),
    "variational, cyclic beta, cosine": (
        *("model=variational", "model.latent_dim=4", "trainer.check_val_every_n_epoch=2"),
        "model.beta={schedule: cyclic, value: 1.0, epochs: 4, ratio: 0.5}",
        SCHEDULER + "CosineAnnealingLR, T_max: 180, interval: step}",
    ),
}
RANKS: dict[str, tuple[str, ...]] = {
    "two ranks, kl_sparsity, resampling": (
        *CONFIGURATIONS["sparse, kl_sparsity, resampling"],
        *("hardware=ddp_cpu", "trainer.max_epochs=8"),
    ),
    "two ranks, variational, patience": (
        *CONFIGURATIONS["variational, beta"],
        *("hardware=ddp_cpu", "trainer.max_epochs=8", "early_stopping.patience=7"),
    ),
}
COLUMNS = ("SIGKILL", "SIGTERM", "full", "resumed", "lost", "different", "faults")


@dataclass
class Plan:
    """Numbers of each end, and the most configurations."""

    kills: int = 200
    terms: int = 50
    ddp: int = 20
    full: int = 20
    seed: int = 0


Row = tuple[str, Tally]


def torment(plan: Plan, folder: Path, advance: Callable[[int], None]) -> Iterator[Row]:
    """Run all configurations: (configuration, counts)."""
    with Server() as server:
        for kind, ends, names, most in (
            (Kills, plan.kills, CONFIGURATIONS, 4),
            (Terms, plan.terms, CONFIGURATIONS, 3),
            (Ranks, plan.ddp, RANKS, 3),
        ):
            for n, (name, words) in enumerate(names.items()):
                wanted = (ends * (n + 1)) // len(names) - (ends * n) // len(names)
                if not wanted:
                    continue
                chance = random.Random(f"{plan.seed} {kind.__name__} {name}")
                torture = kind(server, folder / kind.__name__ / name, words, chance)
                counted = "SIGTERM" if kind is Terms else "SIGKILL"
                while (done := torture.tally.counts[counted]) < wanted:
                    torture.until_its_end(min(chance.randint(1, most), wanted - done), counted)
                    advance(torture.tally.counts[counted] - done)
                yield name, torture.tally
        if plan.full:
            with small_disk(folder / "disk") as mounted:
                chance = random.Random(f"{plan.seed} full")
                full = Full(server, folder / "disk", chance, mounted=mounted)
                while (done := full.tally.counts["full"]) < plan.full:
                    most = chance.choice((full.most, 2**16))  # curves are small beside checkpoints
                    full.starts_with(chance.randrange(most) if done else 0)
                    advance(full.tally.counts["full"] - done)
                yield f"a {'disk' if mounted else 'file'} of some KiB", full.tally


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status is 1 if there are differences, lost checkpoints or faults."""
    parser = argparse.ArgumentParser(prog="python -m tests.stress.torture", description=__doc__)
    for name, meaning in {
        "kills": "SIGKILLs, over all variants",
        "terms": "SIGTERMs",
        "ddp": "ends of one or of all processes with hardware=ddp_cpu",
        "full": "runs that find little room in the file system",
        "seed": "other moments for each",
    }.items():
        default = getattr(Plan, name)
        parser.add_argument(f"--{name}", type=int, default=default, help=f"{meaning} ({default})")
    plan = Plan(**vars(parser.parse_args(argv)))
    total = plan.kills + plan.terms + plan.ddp + plan.full
    bar = Progress(console=Console(stderr=True))
    with tempfile.TemporaryDirectory() as folder, bar as progress:
        task = progress.add_task("Ending runs", total=total)
        rows = list(torment(plan, Path(folder), lambda n: progress.advance(task, n)))
    return report(rows)


def report(rows: Sequence[Row]) -> int:
    """Print the table. Returns how the command ends."""
    table = Table("", *COLUMNS)
    for name in dict.fromkeys(name for name, _ in rows):
        counts = sum((tally.counts for other, tally in rows if other == name), Counter[str]())
        table.add_row(name, *(str(counts[column]) for column in COLUMNS))
    table.add_section()
    counts = sum((tally.counts for _, tally in rows), Counter[str]())
    table.add_row("all", *(str(counts[column]) for column in COLUMNS))
    Console(width=120).print(table)
    slowest = max((tally.slowest for _, tally in rows), default=0.0)
    print(f"{slowest:.2f} s from a signal to the end, at most")
    faults = [f"{name}: {what}" for name, tally in rows for what in tally.faults]
    print(*faults, sep="\n")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
