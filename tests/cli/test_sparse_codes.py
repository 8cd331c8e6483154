"""Sparse codes as a sparse matrix, and shards as the input of verbs."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

import aeframe as package
from aeframe.core.errors import UserError
from aeframe.data import Array
from tests.support.digits import DIGITS
from tests.support.shards import ROWS, write_shards
from tests.support.verbs import Verb, good

TOPK = ("model=sparse", "model.latent_dim=96", "constraint.topk.k=5")
SMALL = ("model.latent_dim=3", "network.widths=[8]", "network.start=random")


@pytest.fixture
def topk(made: Callable[..., Path]) -> Path:
    return made(*TOPK)


def test_sparse_codes_hold_the_active_units_alone(verb: Verb, topk: Path, tmp_path: Path) -> None:
    codes = package.load(topk).encode(DIGITS)
    last = good(verb("encode", topk, "digits", "--out", "codes.npz"))
    assert last.startswith("Codes of 1,797 images, 96 units each (5 of them active, in a sparse")
    found = sparse.load_npz(tmp_path / "codes.npz")
    assert found.format == "csr"
    assert found.nnz == 5 * 1797
    assert np.array_equal(found.toarray(), codes)
    with np.load(tmp_path / "codes.npz") as stored:
        assert stored["labels"].tolist()[:12] == [*"012345678901"]
    good(verb("encode", topk, "digits", "--out", "codes.npy"))
    assert np.array_equal(np.load(tmp_path / "codes.npy"), codes)
    for ending in ("npz", "npy"):
        good(verb("decode", topk, f"codes.{ending}", "--out", f"x_{ending}.npy"))
    assert np.array_equal(np.load(tmp_path / "x_npz.npy"), np.load(tmp_path / "x_npy.npy"))
    with pytest.raises(UserError, match="holds a sparse matrix of SciPy, not an array"):
        Array(path=str(tmp_path / "codes.npz")).load()


def test_broken_sparse_codes_are_named(verb: Verb, topk: Path, tmp_path: Path) -> None:
    whole = sparse.random(9, 96, 0.1, "csr", np.float32)
    other = {"wide": sparse.random(9, 95, 0.1, "csr"), "odd": whole.copy(), "nan": whole.copy()}
    other["odd"].indices[0], other["nan"].data[7] = 500, np.nan
    for name, matrix in other.items():
        sparse.save_npz(tmp_path / f"{name}.npz", matrix)
    sparse.save_npz(tmp_path / "cut.npz", whole)
    with zipfile.ZipFile(tmp_path / "cut.npz") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "cut.npz", "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content[:-8] if name == "data.npy" else content)
    row = int(np.searchsorted(whole.indptr, 7, side="right")) - 1
    for name, what in {
        "wide": "has shape [9, 95], but this model takes [N, 96]",
        "odd": "cannot be read (",
        "cut": "cannot be read (",
        "nan": f"holds values that are not finite in sample {row} (from 0)",
    }.items():
        status, _, err = verb("decode", topk, f"{name}.npz", "--out", "x.npy")
        assert status == 2
        assert f"{name}.npz: {what}" in err
        assert not (tmp_path / "x.npy").exists()


def test_verbs_read_shards_one_block_after_another(
    verb: Verb, made: Callable[..., Path], tmp_path: Path
) -> None:
    write_shards(tmp_path / "acts")
    run = made("dataset=shards", f"dataset.path={tmp_path}/acts/*.npy", *SMALL)
    write_shards(tmp_path / "vectors", kind="parquet, lists")
    codes = package.load(run).encode(ROWS)
    for word in ("acts", "acts/*.npy", "vectors"):
        last = good(verb("encode", run, word, "--out", "codes.npy", "--force"))
        assert last == "Codes of 700 samples, 3 units each: codes.npy"
        assert np.load(tmp_path / "codes.npy") == pytest.approx(codes, rel=1e-5, abs=1e-6)
    broken = ROWS.copy()
    broken[600, 0] = np.nan
    write_shards(tmp_path / "broken", broken)
    write_shards(tmp_path / "narrow", ROWS[:, :4])
    for word, what in {
        "broken": "broken/part15.npy: row 100 (from 0) holds NaN",
        "narrow": "narrow: has shape [700, 4], but this model takes [N, 6]",
        "acts/*.npz": "acts/*.npz: matches no files. Correct the pattern; quote it in the shell.",
    }.items():
        status, _, err = verb("encode", run, word, "--out", "none.npy")
        assert status == 2
        assert err.startswith(f"aeframe: {what}"), err
        assert not (tmp_path / "none.npy").exists()


def test_shards_of_a_run_are_found_from_another_folder(
    aeframe: Verb, verb: Verb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_shards(tmp_path / "acts")
    paths = "dataset.path=[acts/part0.npy,acts/part1*.npy]"
    words = ("dataset=shards", paths, *SMALL, "trainer.max_epochs=1", "dashboard.images=0")
    assert aeframe(*words, "hydra.run.dir=run")[0] == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert verb("evaluate", tmp_path / "run")[0] == 0
