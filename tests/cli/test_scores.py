"""The verbs score and evaluate."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import aeframe as package
from aeframe.evaluation.detection import Detection
from tests.support.digits import DIGITS
from tests.support.forks import Server
from tests.support.runs import (
    EPOCH,
    trained_in,
)
from tests.support.verbs import Verb, table


def test_scores_are_sorted_and_marked(verb: Verb, trained: Path, tmp_path: Path) -> None:
    strange = np.random.default_rng(0).integers(0, 17, size=(3, 8, 8), dtype=np.uint8)
    np.save(tmp_path / "x.npy", np.concatenate([DIGITS[:50, 0], strange]))
    status, out, _ = verb("score", trained, "x.npy", "--percentile", "99.9", "--out", "scores.csv")
    assert status == 0
    model = package.load(trained)
    header, *lines = table(tmp_path / "scores.csv")
    assert header == ["row", "score", "is_outlier"]
    scores = np.array([float(line[1]) for line in lines])
    assert (np.diff(scores) <= 0).all()
    assert {int(line[0]) for line in lines[:3]} == {50, 51, 52}
    wanted = model.score(np.load(tmp_path / "x.npy")[:, None])
    assert np.allclose(scores, wanted[[int(line[0]) for line in lines]], rtol=1e-4)
    assert [line[2] == "True" for line in lines] == (scores > model.threshold(99.9)).tolist()
    assert "3 of 53 images" in out
    assert "validation images: expect" in out
    marked = [line.endswith("  outlier") for line in out.splitlines()[:5]]
    assert marked == [True, True, True, False, False]
    np.save(tmp_path / "known.npy", DIGITS[:50, 0])
    out = verb("score", trained, "known.npy", "--percentile", "100", "--out", "known.csv")[1]
    best = table(tmp_path / "known.csv")[1]
    assert out.splitlines()[0] == f"{float(best[1]):.5g}  {best[0]}"
    out = verb("score", trained, "known.npy", "x.npy", "--out", "both.csv")[1]
    header, *lines = table(tmp_path / "both.csv")
    assert header == ["file", "row", "score", "is_outlier"]
    assert {(file, int(row)) for file, row, *_ in lines[:3]} == {("x.npy", n) for n in (50, 51, 52)}
    assert out.splitlines()[0] == f"{float(lines[0][2]):.5g}  x.npy {lines[0][1]}  outlier"


def test_scores_are_measured_against_the_truth(verb: Verb, trained: Path, tmp_path: Path) -> None:
    strange = np.random.default_rng(0).integers(0, 17, size=(10, 8, 8), dtype=np.uint8)
    np.save(tmp_path / "x.npy", np.concatenate([DIGITS[:50, 0], strange]))
    np.save(tmp_path / "truth.npy", np.arange(60) >= 50)
    (tmp_path / "truth.csv").write_text(
        "a,is_outlier\n" + "".join(f"x,{n >= 50}\n" for n in range(60))
    )
    (tmp_path / "plain.csv").write_text("".join(f"{int(n >= 50)}\n" for n in range(60)))
    words = ("score", trained, "x.npy", "--out", "scores.csv", "--force")
    said = set()
    for name in ("truth.npy", "truth.csv", "plain.csv"):
        status, out, err = verb(*words, "--against", name, "--curves", "curves.png")
        assert (status, err) == (0, "")
        said.add(out.splitlines()[-3])
    scores = package.load(trained).score(np.load(tmp_path / "x.npy")[:, None])
    wanted = Detection.measure(scores, np.arange(60) >= 50)
    assert 0.9 < wanted.auroc <= 1
    (line,) = said
    assert line.startswith(f"Against 10 outliers among 60: AUROC {wanted.auroc:.3f} ± ")
    assert f"average precision {wanted.average_precision:.3f} (by chance 0.167)" in line
    assert line.endswith(
        f"recall {wanted.recall_at_1:.3f} with 1% of false alarms and {wanted.recall_at_5:.3f} with 5%"
    )
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.size == (1400, 560)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is empty. Write 1"),
        ("1\n0\n", "marks 2 samples, INPUT has 3. Give one mark"),
        ("1\n0\nmaybe\n", "line 3: 'maybe' is neither 0 nor 1. Write 1"),
        ("a,b\n1,0\n", "has 2 columns, none of which is called is_outlier. Write 1"),
        ("0\n0\n0\n", "marks none of 3 samples as outliers. Write 1"),
    ],
)
def test_a_truth_that_does_not_fit_is_refused(
    verb: Verb, trained: Path, tmp_path: Path, text: str, told: str
) -> None:
    np.save(tmp_path / "x.npy", DIGITS[:3, 0])
    (tmp_path / "truth.csv").write_text(text)
    words = ("score", trained, "x.npy", "--out", "scores.csv")
    status, out, err = verb(*words, "--against", "truth.csv")
    assert (status, out) == (2, "")
    assert err.startswith(f"aeframe: --against truth.csv: {told}")
    assert not (tmp_path / "scores.csv").exists()
    assert verb(*words, "--curves", "c.png")[2].startswith("aeframe: --curves: needs the truth.")


def test_held_out_samples_are_marked_at_about_the_stated_rate(
    verb: Verb, made: Callable[..., Path], tmp_path: Path
) -> None:
    """The network, PCA of few samples of noise, is over-fitted: new samples exceed the errors of training."""
    noise = np.random.default_rng(0).normal(size=(1400, 100)).astype(np.float32)
    np.save(tmp_path / "x.npy", noise[:400])
    np.save(tmp_path / "new.npy", noise[400:])
    data = ("dataset=array", f"dataset.path={tmp_path / 'x.npy'}")
    run = made(*data, "network.start=pca", "model.latent_dim=60")
    model = package.load(run)
    fitted, new = model.score(noise[:400]), model.score(noise[400:])
    assert (new > np.percentile(fitted, 90)).mean() > 0.4
    assert 0.02 < (new > model.threshold(90)).mean() < 0.2
    out = verb("score", run, "new.npy", "--percentile", "90", "--out", "x.csv")[1]
    assert "percentile 90 of 40 validation samples: expect 10% of new samples like them" in out
    out = verb("score", run, "new.npy", "--out", "y.csv")[1]
    few = "the largest score of 40 validation samples: expect up to 2.4% of new samples like them, not 1%"
    assert few in out


def test_an_evaluation_is_that_of_the_run(verb: Verb, trained: Path) -> None:
    status, out, err = verb("evaluate", trained, "--json")
    assert (status, err) == (0, "")
    found, card = json.loads(out), json.loads((trained / "evaluation.json").read_text())
    assert found["metrics"] == pytest.approx(card["metrics"], rel=1e-4)
    assert found["copy_check"]["real"] == pytest.approx(card["copy_check"]["real"], rel=1e-4)
    status, out, _ = verb("evaluate", trained, "digits")
    assert status == 0
    assert "at the end of training" in out
    metrics = json.loads(verb("evaluate", trained, "digits", "--json")[1])["metrics"]
    assert metrics["mse"] == pytest.approx(package.load(trained).score(DIGITS).mean(), rel=1e-4)


def test_an_evaluation_draws_the_noise_that_training_drew(
    verb: Verb, server: Server, tmp_path: Path
) -> None:
    words = ("model=variational", "constraint=[masking]", "dataset.batch_size=32")
    run = trained_in(server, tmp_path, *EPOCH, *words, "trainer.max_epochs=1")
    card = json.loads((run / "evaluation.json").read_text())
    status, out, _ = verb("evaluate", run, "--json", "--batch-size", "50")
    assert status == 0
    assert json.loads(out)["metrics"] == pytest.approx(card["metrics"], rel=1e-5)


def test_numbers_that_json_lacks_are_null(
    verb: Verb, made: Callable[..., Path], vectors: Path, tmp_path: Path
) -> None:
    run = made("dataset=array", f"dataset.path={vectors}", "model.latent_dim=3")
    np.save(tmp_path / "x.npy", np.load(vectors)[:5] * np.float32(1e30))
    status, out, _ = verb("evaluate", run, "x.npy", "--json")
    assert status == 0
    found = json.loads(out, parse_constant=lambda word: pytest.fail(word))
    assert None in found["metrics"].values()


def test_the_data_is_found_from_where_training_was_started(
    verb: Verb, aeframe: Verb, server: Server, tmp_path: Path
) -> None:
    (tmp_path / "start").mkdir()
    np.save(tmp_path / "start" / "x.npy", np.random.default_rng(0).random((60, 12), np.float32))
    words = (*EPOCH, "model.latent_dim=3", "dataset=array", "dataset.path=x.npy")
    run = trained_in(server, tmp_path / "start", *words, "trainer.max_epochs=1")
    card = json.loads((run / "evaluation.json").read_text())
    shutil.copy(run / "model.safetensors", tmp_path / "alone.safetensors")
    for loaded in (run, "start/run/model.safetensors", run / "checkpoints" / "best.ckpt"):
        status, out, err = verb("evaluate", loaded, "--json")
        assert (status, err) == (0, "")
        assert json.loads(out)["metrics"] == pytest.approx(card["metrics"], rel=1e-4)
    assert aeframe("resume=start/run", "trainer.max_epochs=2")[0] == 0
    status, _, err = verb("evaluate", "alone.safetensors")
    remedy = "The data of the run must be unchanged and where it was in training; or write:"
    said = f"dataset.path=x.npy: no such file. {remedy} aeframe evaluate RUN INPUT."
    assert (status, err) == (2, f"aeframe: {said}\n")
