"""All rows, with their goals."""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from tests.benchmarks.arms import Alone, Arm
from tests.benchmarks.measure import Goal, Row, Unit
from tests.benchmarks.networks import CONV, SMALL, TOPK, WIDE
from tests.benchmarks.probes.peak import measurable
from tests.benchmarks.processes import Process, probe
from tests.benchmarks.trainings import Aeframe, Reference
from tests.benchmarks.work import Work
from tests.benchmarks.workspace import Workspace

GOALS: dict[str, Goal] = {
    "bare small/128": Goal(0.92),
    "bare wide/128": Goal(0.97),
    "bare conv/128": Goal(0.97),
    "lightning small/128": Goal(3.0),
    "lightning wide/128": Goal(1.2),
    "lightning conv/128": Goal(1.2),
    "pythae small/128": Goal(1.25),
    "pythae wide/128": Goal(1.15),
    "pythae conv/128": Goal(1.15),
    "pythae-fastest small/128": Goal(2.0),
    "pythae-fastest wide/128": Goal(2.0),
    "pythae-fastest conv/128": Goal(1.3),
    "sparse-decoder topk/1024": Goal(2.0),
    "start help": Goal(0.15, "at_most"),
    "start first-step": Goal(1.3, "at_most"),
    "memory mnist": Goal(49.5, "at_most", "value"),
    "memory mapped": Goal(1.1, "at_most"),
    "memory sweep": Goal(1.05, "at_most"),
}
"""By row. Of contender / reference, but for `value`, which is in the row's unit."""

DECODERS = {"dense": ("constraint.topk.read=all",), "sparse": ("constraint.topk.read=active",)}
"""The overrides with which aeframe's decoder reads all units, or the active ones alone."""

WORKS = (
    Work(SMALL, epochs=4),
    Work(WIDE),
    Work(CONV),
    Work(SMALL, batch=1024, epochs=2),
    Work(WIDE, batch=1024, limit=25, val=2_400),
    Work(CONV, batch=1024, limit=12, val=1_200),
)
"""At batch 128 whole epochs: shorter runs are noisier than the goals are fine."""

MEASURED: dict[str, Unit] = {"speed": "images/s", "memory": "MiB"}
"""Units of the rows on codecs."""

PEERS = ("disent", "autoencoders")  # on the small network, without a goal
SIZES = (60_000, 240_000, 960_000)  # images
MAPPED = (1, 10)  # GB
SWEPT = 20  # jobs


def rows(space: Workspace, quick: bool) -> list[Row]:
    """quick: with as little work as proves that a row works."""
    works = [_shortened(work) for work in WORKS] if quick else list(WORKS)
    peers = [work for work in works if work.batch == 128]
    every = [
        *(_against("bare", work, space) for work in works),
        *(_against("lightning", work, space) for work in works),
        *(_against("pythae", work, space, "pythae") for work in peers),
        *(_against(peer, peers[0], space, peer) for peer in PEERS),
        *(_fastest(work, space) for work in peers),
        *_topk(space, quick),
        *_start(space),
        *_memory(space, quick),
        *_codec(space),
        *_scaling(space, quick),
    ]
    return [replace(_apart(row), goal=GOALS.get(row.name)) for row in every]


def _apart(row: Row) -> Row:
    """Run each arm in its own process."""
    reference = None if row.reference is None else _alone(row.reference)
    return replace(row, reference=reference, contender=_alone(row.contender))


def _alone(arm: Arm) -> Arm:
    return arm if isinstance(arm, Process) else Alone(arm)


def _shortened(work: Work) -> Work:
    """Shorten training, but at batch 128 leave one point of each scalar."""
    return Work(work.network, work.batch, limit=20 if work.batch == 128 else 4, val=600)


def _against(reference: str, work: Work, space: Workspace, package: str = "torch") -> Row:
    arm = Reference(reference, work, space, package)
    return Row(f"{reference} {work.name}", arm, Aeframe(work, space))


def _fastest(work: Work, space: Workspace) -> Row:
    words = (f"trainer.precision={_fastest_precision(work.network.name)}",)
    contender = Aeframe(work, space, words, name=words[0])
    reference = Reference("pythae", work, space, "pythae")
    return Row(f"pythae-fastest {work.name}", reference, contender)


def _fastest_precision(network: str) -> str:
    """Find the precision that is fastest on this processor and trains to the same error.

    With AMX little beats float32 on the small network: a step of the bare loop takes 1.83 ms, with products
    rounded (medium) 1.77, in bfloat16 2.06, compiled 2.2. Without it, on a processor with avx512_bf16, 2.24
    in float32, 2.02 in bfloat16, and 1.86 where that is only the two wide layers, as in bf16-mixed.
    """
    if torch.cpu._is_amx_tile_supported():
        return {"small": "32-true", "wide": "medium", "conv": "bf16-mixed"}[network]
    return "bf16-mixed" if torch.cpu._is_avx512_bf16_supported() else "32-true"


def _topk(space: Workspace, quick: bool) -> list[Row]:
    large = Work(TOPK, batch=1024, limit=2 if quick else 4, val=600)
    small = Work(TOPK, limit=4 if quick else 20, val=300)
    dense, sparse = (
        Aeframe(large, space, words, name=f"{kind} decoder") for kind, words in DECODERS.items()
    )
    return [
        Row(f"sparse-decoder {large.name}", dense, sparse),
        Row(f"bare {small.name}", Reference("bare", small, space), Aeframe(small, space)),
        Row(f"bare {large.name}", Reference("bare", large, space), Aeframe(large, space)),
    ]


def _start(space: Workspace) -> list[Row]:
    usual = Process("imports", lambda _: probe("imports_and_help"), space)
    ours = Process("aeframe", lambda _: ("train.py", "--help"), space)

    lacking = space.lacks_mnist
    bare = Process(
        "torch", lambda _: probe("first_step_bare", str(space.unpacked)), space, lacking=lacking
    )

    def first_step(folder: Path) -> tuple[str, ...]:
        data = ("dataset=mnist", f"dataset.root={space.unpacked}", "dataset.batch_size=128")
        said = (*SMALL.overrides, *data, f"hydra.run.dir={folder / 'run'}")
        return probe("first_step_aeframe", *said)

    step = Process("aeframe", first_step, space, lacking=lacking)
    return [
        Row("start help", usual, ours, unit="s"),
        Row("start first-step", bare, step, unit="s"),
    ]


def _memory(space: Workspace, quick: bool) -> list[Row]:
    mnist = Process(
        "aeframe",
        lambda _: probe("memory_of_mnist", str(space.unpacked)),
        space,
        printed=True,
        lacking=lambda: measurable() or space.lacks_mnist(),
    )
    small, large = (_of_gigabytes(size, space) for size in ((1, 2) if quick else MAPPED))
    return [
        Row("memory mnist", None, mnist, unit="MiB"),
        Row("memory mapped", small, large, unit="MiB", most=3),
        Row("memory sweep", *_sweeps(space, quick), unit="MiB", most=3),
    ]


def _sweeps(space: Workspace, quick: bool) -> tuple[Process, Process]:
    """Rows of a sweep of one job and of many: memory that earlier jobs keep shows in the peak."""
    one, many = (
        Process(
            f"{jobs} jobs", partial(_swept, jobs, quick), space, printed=True, lacking=measurable
        )
        for jobs in (1, 2 if quick else SWEPT)
    )
    return one, many


def _swept(jobs: int, quick: bool, folder: Path) -> tuple[str, ...]:
    """Each job has 100 MB of data for itself."""
    x = np.random.default_rng(0).normal(size=(1000 if quick else 25_000, 1000))
    np.save(folder / "x.npy", x.astype(np.float32))
    seeds = ("-m", f"seed={','.join(map(str, range(jobs)))}", f"hydra.sweep.dir={folder / 'sweep'}")
    data = ("dataset=array", f"dataset.path={folder / 'x.npy'}")
    length = ("trainer.max_epochs=1", "trainer.limit_train_batches=20", "evaluation.images=32")
    return probe("memory_of_training", *seeds, *data, *length, "dashboard.images=0")


def _codec(space: Workspace) -> list[Row]:
    """10,000 images each, without anything to compare with."""
    found = []
    for what in ("encode", "compress", "decompress"):
        for of, unit in MEASURED.items():
            arm = Process(
                "aeframe",
                partial(_probed, space, what, of),
                space,
                printed=True,
                lacking=lambda of=of: (
                    space.lacks_mnist() or (measurable() if of == "memory" else None)
                ),  # type: ignore[misc]
            )
            found.append(Row(f"codec {what} {of}", None, arm, unit=unit))
    return found


def _probed(space: Workspace, what: str, of: str, folder: Path) -> tuple[str, ...]:
    return probe("codec", what, of, str(space.codec), str(space.unpacked))


def _of_gigabytes(size: int, space: Workspace) -> Process:
    """A few steps on an array that is mapped into memory, not read."""
    lacking = partial(_no_room, space, size)
    return Process(
        f"{size} GB", partial(_mapped, space, size), space, printed=True, lacking=lacking
    )


def _mapped(space: Workspace, size: int, folder: Path) -> tuple[str, ...]:
    data = ("dataset=array", f"dataset.path={space.hole(size)}", "dataset.batch_size=128")
    mapped = "dataset.in_memory=false"  # the small one would be read
    limits = (f"trainer.limit_{part}_batches=20" for part in ("train", "val", "test"))
    length = ("trainer.max_epochs=1", *limits, "evaluation.images=32")
    said = (*SMALL.overrides, *data, mapped, *length, f"hydra.run.dir={folder / 'run'}")
    return probe("memory_of_training", *said)


def _no_room(space: Workspace, size: int) -> str | None:
    """Files with holes take no room, but not every file system has them."""
    free = shutil.disk_usage(space.folder).free / 1e9
    room = f"{size} GB of disk are needed, {free:.0f} are free" if free < size + 1 else None
    return measurable() or room


def _scaling(space: Workspace, quick: bool) -> list[Row]:
    first, *others = (_of_size(size // (100 if quick else 1), space) for size in SIZES)
    return [
        Row(f"scaling {arm.name} images", first, arm, most=3)  # a minute each
        for arm in others
    ]


def _of_size(images: int, space: Workspace) -> Aeframe:
    """One epoch of random images, of which aeframe holds out two tenths."""
    held = images // 10
    work = Work(SMALL, total=images, val=held, test=held)
    return Aeframe(work, space, images=images, name=f"{images:,}")
