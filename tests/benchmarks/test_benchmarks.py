"""The benchmarks compare equal work, and detect differences. No time is measured here."""

from __future__ import annotations

import gzip
import inspect
import json
import math
import os
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.benchmarks import contender, gpu
from tests.benchmarks.arms import Alone, Reading
from tests.benchmarks.floor import Floor, needed
from tests.benchmarks.losses import LEAST, MOST, UNKNOWN, disagreement, tolerance
from tests.benchmarks.measure import Goal, Row, measure
from tests.benchmarks.networks import CONV, SMALL, WIDE, Network, TopK
from tests.benchmarks.references import bare, lightning_on_device
from tests.benchmarks.rows import GOALS, rows
from tests.benchmarks.stage import stage
from tests.benchmarks.trainings import Aeframe, reading_of
from tests.benchmarks.work import Work
from tests.benchmarks.workspace import Digits, Workspace, scaled
from tests.support.fake_arms import FakeArm, WhereArm

SPARSE = TopK("sparse", 800, 32)
IMAGES = 50


@pytest.fixture
def space(tmp_path: Path) -> Workspace:
    """Make a workspace with a few random images in place of MNIST."""
    made = Workspace(tmp_path / "absent", tmp_path)
    images = torch.from_numpy(_images()).flatten(1)
    made.digits = Digits(images, images[:20], images, scaled(images).mean(0))
    return made


def _images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (IMAGES, 28, 28), np.uint8)


def _work(network: Network) -> Work:
    return Work(network, batch=10, epochs=2, limit=3, val=10, total=IMAGES)


@pytest.mark.parametrize("network", [SMALL, CONV, SPARSE], ids=lambda n: n.name)
def test_the_references_network_is_aeframes(
    network: Network, space: Workspace, tmp_path: Path
) -> None:
    file = tmp_path / "images.npy"
    np.save(file, _images())
    tested = tmp_path / "tested.npy"
    np.save(tested, _images()[:10])
    words = ("dataset=array", f"dataset.path={file}", f"dataset.test_path={tested}")
    work = replace(_work(network), epochs=1)
    with stage() as screen:
        trained = contender.train(work, words, 0, tmp_path, screen, compared=True)

    assert trained.faults == ()
    assert trained.steps == work.steps == 3
    assert trained.network is not None
    # aeframe measured its test split, with the weights that are now in our network
    report = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    mse = bare.validate(trained.network, space.digits.test[:10], 10)
    assert mse == pytest.approx(report["metrics"]["mse"], rel=1e-4)
    loss = bare.loss_of(trained.network, _batch(space, trained.network.shape))
    assert loss.item() == pytest.approx(report["metrics"]["loss"], rel=1e-5)


def _batch(space: Workspace, shape: tuple[int, ...]) -> torch.Tensor:
    return scaled(space.digits.test[:10]).view(-1, *shape)


def test_a_shorter_run_than_was_asked_for_is_noticed(space: Workspace, tmp_path: Path) -> None:
    file = tmp_path / "images.npy"
    np.save(file, _images())
    asked = _work(SMALL)
    with stage() as screen:
        words = ("dataset=array", f"dataset.path={file}", "trainer.max_epochs=1")
        trained = contender.train(asked, words, 0, tmp_path, screen, compared=False)

    assert trained.faults == (
        "last.ckpt is of step 3, not 6",
        "train/loss has points at [2], not 2",
        "val/mse has points at [3], not 2",
    )
    reading = reading_of(lambda folder, seed: trained, asked, space, 0)
    assert "made 3 steps, not 6" in reading.faults


def test_aeframes_mistake_is_told(space: Workspace, tmp_path: Path) -> None:
    words = ("dataset=array", "dataset.path=nothing.npy")
    with stage() as screen, pytest.raises(RuntimeError, match=r"ended with 2.*nothing\.npy"):
        contender.train(_work(SMALL), words, 0, tmp_path, screen, compared=False)


def test_the_bare_loop_does_the_work(space: Workspace, tmp_path: Path) -> None:
    work = replace(_work(SMALL), epochs=30)
    torch.manual_seed(0)
    begun = SMALL.build()
    begun.start_at(space.digits.mean)
    trained = bare.train(work, space, 0, tmp_path)

    assert trained.steps == work.steps == 90
    assert trained.network is not None
    assert space.digits.mse(trained.network) < space.digits.mse(begun)
    saved = torch.load(tmp_path / "last.pt", weights_only=True)
    assert saved["network"].keys() == begun.state_dict().keys()


def _readings(*errors: float) -> list[Reading]:
    return [Reading(1.0, mse) for mse in errors]


def test_equal_errors_agree_and_others_do_not() -> None:
    reference = _readings(0.0100, 0.0101, 0.0099)
    assert disagreement(reference, _readings(0.0101, 0.0099, 0.0100))[1] is None
    assert disagreement(reference, _readings(0.0200, 0.0201, 0.0199))[1] is not None
    assert disagreement(reference, _readings(0.0100, float("nan"), 0.0100))[1] is not None
    assert disagreement([Reading(1.0)], [Reading(2.0)]) == (None, None)


def test_the_tolerance_follows_the_scatter_within_limits() -> None:
    assert tolerance([(0.01,), (0.02,)]) == UNKNOWN
    assert tolerance([(1.0, 1.0), (1.0, 1.0)]) == LEAST
    assert tolerance([(1.0, 2.0), (1.0, 2.0)]) == MOST
    by_hand = 4 * np.sqrt(0.0002 * 2 / 2)  # two seeds 0.02 apart: a variance of 0.0002
    assert tolerance([(0.99, 1.01), (0.99, 1.01)]) == pytest.approx(by_hand)


def test_an_arm_alone_stays_in_one_process_of_its_own() -> None:
    inner = WhereArm("where", Reading(0.0), why="not here")
    with closing(Alone(inner)) as one, closing(Alone(inner)) as other:
        readings = [[arm.run(0) for arm in (one, other)] for _ in range(2)]
        with pytest.raises(RuntimeError, match="the third time"):
            one.run(0)
        assert (one.name, one.missing()) == ("where", "not here")
    places = [{pair[i].value for pair in readings} for i in range(2)]
    assert [len(place) for place in places] == [1, 1]
    assert len({os.getpid(), *places[0], *places[1]}) == 3
    assert readings[1][0].faults == ("run", "run")  # what it holds, it holds between its runs


def test_a_fault_in_an_arms_own_process_is_told_with_its_place() -> None:
    arm = Alone(WhereArm("where", Reading(0.0)))
    result = measure(Row("row", None, arm), repeats=3, warm_up=False)
    line = inspect.getsourcelines(WhereArm.run)[1] + 3
    assert result.faults[-1:] == [
        f"RuntimeError: the third time ({inspect.getfile(WhereArm)}:{line})"
    ]


def test_a_file_that_is_not_finished_is_not_there(
    space: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = space.data / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part in ("a", "b"):
        (raw / f"{part}-ubyte.gz").write_bytes(gzip.compress(b"1"))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", lambda *_: 1 / 0)
        patch.setattr(np.lib.format, "open_memmap", lambda *_: 1 / 0)
        for make in (lambda: space.unpacked, lambda: space.array(5), lambda: space.hole(0)):
            with pytest.raises(ZeroDivisionError):
                make()
    unpacked = space.unpacked / "MNIST" / "raw"
    assert sorted(file.name for file in unpacked.iterdir()) == ["a-ubyte", "b-ubyte"]
    assert np.load(space.array(5)).shape == (5, 1, 28, 28)
    assert np.load(space.hole(0)).shape == (0, 784)


def _row(reference: Reading, contender: Reading, log: list[str]) -> Row:
    ours, theirs = FakeArm("ours", contender, log), FakeArm("theirs", reference, log)
    return Row("row", theirs, ours, goal=Goal(1.5))


def test_pairs_take_turns_and_the_warm_up_is_discarded() -> None:
    log: list[str] = []
    result = measure(_row(Reading(10.0), Reading(20.0), log), repeats=3, warm_up=True)
    pairs = ["ours0", "theirs0", "theirs0", "ours0", "ours1", "theirs1", "theirs2", "ours2"]
    assert log == [*pairs, "theirs closed", "ours closed"]
    assert result.ratios == [2.0, 2.0, 2.0]
    assert result.verdict == "met"


def test_a_fault_fails_the_row_however_fast_it_was() -> None:
    faulty = Reading(20.0, faults=("left nothing",))
    result = measure(_row(Reading(10.0), faulty, []), repeats=2, warm_up=False)
    assert (result.verdict, result.faults) == ("FAIL", ["ours: left nothing"])
    other_error = measure(_row(Reading(10.0, 0.1), Reading(20.0, 0.2), []), 2, warm_up=False)
    assert other_error.verdict == "FAIL"


def test_an_arm_that_raises_fails_its_row() -> None:
    row = _row(Reading(10.0), Reading(20.0), [])
    row.contender.run = lambda seed: 1 / 0  # type: ignore[method-assign, assignment, return-value]
    result = measure(row, repeats=1, warm_up=False)
    assert result.verdict == "FAIL"
    assert "ZeroDivisionError" in result.faults[0]


def test_rows_that_are_not_installed_are_skipped_with_their_reason() -> None:
    row = _row(Reading(10.0), Reading(20.0), [])
    row.reference.why = "x is not installed"  # type: ignore[union-attr]
    result = measure(row, repeats=1, warm_up=False)
    assert (result.verdict, result.skipped) == ("skipped", "x is not installed")


def test_a_goal_is_of_the_ratio_or_of_the_value() -> None:
    assert Goal(0.92).met(0.95)
    assert not Goal(1.3, "at_most").met(1.4)
    row = replace(_row(Reading(10.0), Reading(20.0), []), goal=Goal(15.0, "at_most", "value"))
    assert measure(row, repeats=1, warm_up=False).verdict == "not met"
    alone = replace(row, reference=None, goal=None)
    assert measure(alone, repeats=1, warm_up=False).verdict == ""


@pytest.mark.parametrize("network", [WIDE, CONV], ids=lambda n: n.name)
def test_the_floor_is_of_what_a_step_cannot_do_without(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    if network is WIDE:
        sizes = (784, 1000, 500, 250, 30, 250, 500, 1000, 784)
        products = [a * b for a, b in pairwise(sizes)]
        units, first = sum(sizes[1:]), products[0]
        weights = sum(products) + units
    else:  # each unit of a 3 x 3 convolution, or each that a transposed one reads, is nine products
        maps = ((1, 16, 14), (16, 32, 7), (32, 64, 4))
        convolved = [9 * a * b * side**2 for a, b, side in maps]
        products = 2 * [*convolved, 1024 * 32]
        units = 16 * 14**2 + 32 * 7**2 + 1024 + 32 + 1024 + 32 * 7**2 + 16 * 14**2 + 784
        first = convolved[0]
        shared = sum(9 * a * b for a, b, _ in maps)
        weights = 2 * (shared + 1024 * 32) + 16 + 32 + 64 + 32 + 1024 + 32 + 16 + 1
    operations = 2 * (3 * sum(products) - first)  # nobody wants the input's gradient
    moved = 8 * 4 * (5 * units + 4 * 784) + 8 * 784 + 4 * 7 * weights
    assert needed(Work(network, 8)) == (8 * operations, moved)

    monkeypatch.setattr(Floor, "_seconds", lambda *_: 0.5)
    for side, copied in ((8, 2**20), (512, 16)):
        slower = max(8 * operations / (4 * side**3), moved / (4 * copied))
        assert Floor(Work(network, 8), side, copied).run(0).value == pytest.approx(8 / slower)


def test_a_floor_is_measured() -> None:
    assert 0 < Floor(Work(SMALL), 64, 2**12).run(0).value < math.inf


def test_a_work_of_random_images_is_split_as_it_says(space: Workspace) -> None:
    work = Work(SMALL, 16, total=2_000, val=20, test=40)
    assert work.steps == 122  # with the usual tenth for the test it would be 112
    reading = Aeframe(work, space, images=2_000).run(0)
    assert reading.faults == ()
    assert reading.value > 0


def test_lightning_trains_where_the_images_are(space: Workspace, tmp_path: Path) -> None:
    work = replace(_work(SMALL), epochs=30)
    with stage():
        trained = lightning_on_device.train(work, space, 0, tmp_path)
    assert trained.steps == work.steps == 90
    assert trained.seconds > 0
    assert trained.network is not None
    begun = SMALL.build()
    begun.start_at(space.digits.mean)
    assert space.digits.mse(trained.network) < space.digits.mse(begun)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_rows_of_a_gpu_say_that_there_is_none(space: Workspace) -> None:
    results = [measure(row, 1, warm_up=False) for row in gpu.rows(space, quick=True)]
    assert [result.row.name for result in results] == list(gpu.GOALS)
    assert {result.skipped for result in results} == {"there is no CUDA device"}


def test_each_goal_is_of_a_row_and_no_name_comes_twice(space: Workspace) -> None:
    names = [row.name for row in rows(space, quick=False)]
    names_on_gpu = [row.name for row in gpu.rows(space, quick=False)]
    assert len({*names, *names_on_gpu}) == len(names) + len(names_on_gpu)
    assert set(GOALS) <= set(names)
    assert list(gpu.GOALS) == names_on_gpu


def test_work_counts_what_is_trained() -> None:
    assert Work(SMALL, epochs=2).steps == 2 * 422  # 54,000 images: the last batch is not full
    assert Work(SMALL, epochs=2).images == 108_000
    limited = Work(WIDE, limit=200, val=2_400)
    assert (limited.steps, limited.images, limited.train) == (200, 25_600, 57_600)
