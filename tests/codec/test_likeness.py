"""Data unlike the training data: found by single samples, and by many together."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from sklearn.datasets import load_digits

from aeframe import codec
from aeframe.cli.verbs.own_data import load_run_data
from aeframe.codec import Codec, likeness
from aeframe.codec.aez_file import compress, decompress, inspect, verify
from aeframe.codec.codec import compute_identity
from aeframe.codec.codec_file import CODEC
from aeframe.codec.container.file_errors import UnlikeError
from aeframe.codec.likeness import CHANCE, GROUP, Likeness, measure_likeness
from aeframe.codec.packing import Packer
from aeframe.core.errors import UserError
from aeframe.runs import model_file as artifact

DIGITS = load_digits().images.astype(np.uint8)[:, None]
KNOWN = Likeness(10.0, 90.0, 15.0, 60.0, rank=24, held_out=1200)
Verb = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def run(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was made a codec, which no test may change."""
    folder = Path(shutil.copytree(trained, tmp_path_factory.mktemp("like") / "run"))
    model = artifact.load(folder)
    codec.save(folder, codec.calibrate(model, load_run_data(model, str(folder))[1], step=1.0))
    return folder


@pytest.fixture(scope="module")
def made(run: Path) -> Codec:
    return codec.load(run)


def test_the_chance_is_that_of_samples_beyond_an_order_statistic() -> None:
    """20 held-out samples and 6 new ones are drawn together: each order of them is as likely."""
    like, random = replace(KNOWN, rank=2, held_out=20), np.random.default_rng(0)
    orders = random.random((40_000, 26)).argsort(axis=1)
    places = np.sort(np.where(orders < 20)[1].reshape(-1, 20), axis=1)
    below = places[:, 5] - 5  # new ones before the sixth, 3 x 2nd, held-out one
    for count in range(7):
        assert like.compute_chance(count, 6) == pytest.approx((below >= count).mean(), abs=0.012)
    assert like.compute_chance(0, 6) == pytest.approx(1)


def test_the_chance_of_one_and_of_all_is_known_in_closed_form() -> None:
    # 72 of 1200 are expected before, hence 72 of 1201 places for a new one
    assert KNOWN.compute_chance(1, 1) == pytest.approx(72 / 1201)
    all_of_three = math.comb(74, 3) / math.comb(1203, 3)
    assert KNOWN.compute_chance(3, 3) == pytest.approx(all_of_three)
    assert replace(KNOWN, rank=1, held_out=2).compute_chance(4, 4) == pytest.approx(
        1 / 3
    )  # all but two


def test_likeness_holds_statistics_of_held_out_samples() -> None:
    psnr, bits = np.arange(20.0, 70.0), np.arange(50.0) ** 2
    found = measure_likeness(psnr, bits)
    assert found == Likeness(17.0, 1.5 * 49**2 + 32, 20.0, 49.0**2, rank=1, held_out=50)
    more = measure_likeness(np.tile(psnr, 10), np.tile(bits, 10))
    assert (more.low_psnr, more.high_bits, more.rank) == (20.0, 49.0**2, 10)


def test_a_single_sample_beyond_all_others_is_found() -> None:
    psnr, bits = np.array([20.0, 9.0, 20.0, 9.5]), np.array([30.0, 30.0, 91.0, 99.0])
    found = KNOWN.list_findings(psnr, bits)
    assert [f.places.tolist() for f in found] == [[1], [2], [3]]
    assert [f.what.partition(",")[0] for f in found] == [
        "has a PSNR of 9.0 dB",
        "needs 91 bits",
        "has a PSNR of 9.5 dB",
    ]
    assert Likeness(10.0).list_findings(psnr, bits)[-1].places.tolist() == [3]


@pytest.mark.parametrize("worse", [True, False])
def test_a_group_is_unlike_where_too_many_are_beyond(worse: bool) -> None:
    size = GROUP + 100
    psnr, bits = np.full(size, 20.0), np.full(size, 30.0)
    most = next(k for k in range(101) if KNOWN.compute_chance(k, 100) < CHANCE) - 1
    assert 20 < most < 30  # where 2 are expected, and 6 are tolerated
    for count, unlike in ((most, False), (most + 1, True)):
        if worse:
            psnr[GROUP : GROUP + count] = 14.0
        else:
            bits[GROUP : GROUP + count] = 61.0
        found = KNOWN.list_findings(psnr, bits)
        assert bool(found) is unlike
    assert np.array_equal(found[0].places, np.arange(GROUP, size))
    doing = "have a lower PSNR" if worse else "need more bits"
    assert f"{most + 1} of these 100 {doing} than 98% of the held-out samples" in found[0].what
    assert replace(KNOWN, held_out=0).list_findings(psnr, bits) == []


def test_groups_of_the_same_distribution_pass_whatever_it_is() -> None:
    random, alarms = np.random.default_rng(0), 0
    for _ in range(60):
        psnr, bits = random.gumbel(20, 3, 2200), random.gamma(4, 10, 2200)
        groups = replace(
            measure_likeness(psnr[:200], bits[:200]), limit=-math.inf, most_bits=math.inf
        )
        alarms += len(groups.list_findings(psnr[200:], bits[200:]))
    assert alarms == 0


def packed(made: Codec, x: np.ndarray, file: Path, on_unlike: str) -> None:
    with file.open("wb") as stream:
        compress(Packer(made, on_unlike), [x[:600], x[600:]], stream)  # type: ignore[arg-type]


def test_a_group_that_is_unlike_is_refused_stored_whole_or_kept(
    made: Codec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(likeness, "GROUP", 100)
    like = measure_likeness(
        made.compute_psnr(DIGITS, made.decode(made.encode(DIGITS))), np.full(len(DIGITS), 1e9)
    )
    judge, file = replace(made, likeness=replace(like, limit=0.0)), tmp_path / "x.aez"
    x = DIGITS[:800].copy()
    x[700:] = (
        np.random.default_rng(0).permuted(x[700:].reshape(100, 64), axis=1).reshape(-1, 1, 8, 8)
    )
    packed(judge, x[:700], file, "error")
    with pytest.raises(UnlikeError, match=r"samples 700 to 799: [0-9]+ of these 100 have"):
        packed(judge, x, file, "error")
    packed(judge, x, file, "lossless")
    back = np.concatenate(list(decompress(judge, file)))
    assert np.array_equal(back[700:], x[700:])
    assert np.array_equal(back[:700], made.decode(made.encode(x[:700])))
    assert inspect(file).stored == 100
    samples, errors = verify(judge, file, iter([x]))
    assert (samples, errors[700:].max()) == (800, 0)
    packed(judge, x, file, "keep")
    assert inspect(file).stored == 0
    names = [f"{i}.png" for i in range(800)]
    with pytest.raises(UnlikeError, match=r"^700.png to 799.png: "):
        compress(Packer(judge), [x], BytesIO(), names)


def test_the_limits_lie_in_the_codecs_file_and_old_files_have_one(run: Path, made: Codec) -> None:
    assert made.likeness.held_out > 100
    assert made.likeness.low_psnr >= made.likeness.limit + likeness.MARGIN
    assert made.likeness.high_bits <= (made.likeness.most_bits - 32) / likeness.STRETCH
    file = run / CODEC
    whole = file.read_bytes()
    with safetensors.safe_open(file, "np") as opened:
        said = json.loads(opened.metadata()["aeframe"])
    assert {k: said[k] for k in asdict(made.likeness)} == asdict(made.likeness)
    tables = {n: getattr(made.tables, n) for n in ("low", "units", "clusters")}
    try:
        old = {k: said[k] for k in ("format", "model", "step", "limit")}
        file.write_bytes(safetensors.numpy.save(tables, {"aeframe": json.dumps(old)}))
        assert codec.load(run).likeness == Likeness(made.likeness.limit)
        assert codec.load(run).identity == made.identity
        for wrong in ({"rank": 0}, {"held_out": "9"}, {"most_bits": None}, {"rank": 10**6}):
            text = json.dumps({**said, **wrong})
            file.write_bytes(safetensors.numpy.save(tables, {"aeframe": text}))
            with pytest.raises(UserError, match="is not a codec of this model"):
                codec.load(run)
    finally:
        file.write_bytes(whole)


def test_a_codec_that_replaces_another_says_so(run: Path, made: Codec, tmp_path: Path) -> None:
    assert codec.save(tmp_path, made) is None
    assert codec.save(tmp_path, made) is None  # the same once more
    other = replace(made, step=0.5)
    old, new = (c.identity.hex()[:12] for c in (made, other))
    assert codec.save(tmp_path, other) == (
        f"{CODEC}: {old} -> {new}; files compressed by {old} cannot be decompressed with this codec"
    )
    assert compute_identity(made.model.identity, 0.5, made.tables) == other.identity
