"""python -m tests.benchmarks.imputation FILE.csv [--share 0.1 0.3] [--seeds 3] [WORD ...]

Imputation: cells are taken out of a table at random, a model is trained on what is left, and `reconstruct`
fills the gaps. Beside it: column means, and scikit-learn's KNNImputer and IterativeImputer on the same
elements, standardised. Numbers: root mean squared error in standard deviations of the column. Booleans and
categories: share of wrong cells.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer

import aeframe
from aeframe.data import Schema

WIDEST = 100  # elements that IterativeImputer takes in acceptable time
WORDS = ("dashboard.images=0", "doctor=false", "logger=[]", "evaluation.images=32")


def take_out(frame: pd.DataFrame, share: float, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Take a share of the cells out; returns the rest, and which were taken. No row loses all."""
    taken = np.random.default_rng(seed).random(frame.shape) < share
    taken &= frame.notna().to_numpy()
    taken[taken.all(1)] = False
    return frame.mask(taken), taken


def judge(schema: Schema, whole: np.ndarray, filled: np.ndarray, taken: pd.DataFrame) -> str:
    """Format the error of numbers, and the share of wrong booleans and categories."""
    errors, wrong = [np.empty(0)], [np.empty(0)]
    for column, place in zip(schema.columns, schema.slices, strict=True):
        rows = taken[column.name].to_numpy()
        found, true = filled[rows, place], whole[rows, place]
        if column.kind == "categorical":
            wrong.append(found.argmax(1) != true.argmax(1))
        elif column.kind == "boolean":
            wrong.append((found >= 0.5).ravel() != (true >= 0.5).ravel())
        else:
            errors.append(((found - true) / np.nanstd(whole[:, place])).ravel())
    numbers, cells = np.concatenate(errors), np.concatenate(wrong)
    parts = [f"{np.sqrt(np.square(numbers).mean()):.3f}"] if len(numbers) else []
    return " / ".join([*parts, *([f"{cells.mean():.1%}"] if len(cells) else [])])


def fill_by_others(x: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the name of each other method, and the elements [N, D] with its values in the gaps."""
    centre, deviation = np.nanmean(x, 0), np.nanstd(x, 0)
    deviation[deviation == 0] = 1
    methods: dict[str, Any] = {"mean": SimpleImputer(keep_empty_features=True)}
    methods["KNNImputer"] = KNNImputer(keep_empty_features=True)
    if x.shape[1] <= WIDEST:
        methods["IterativeImputer"] = IterativeImputer(random_state=0, keep_empty_features=True)
    for name, method in methods.items():
        yield name, method.fit_transform((x - centre) / deviation) * deviation + centre


def measure(frame: pd.DataFrame, share: float, seed: int, words: list[str]) -> dict[str, str]:
    """Measure all methods on one choice of cells."""
    rest, taken = take_out(frame, share, seed)
    with tempfile.TemporaryDirectory() as folder:
        rest.to_csv(Path(folder) / "table.csv", index=False)
        data = ("dataset=table", f"dataset.path={Path(folder) / 'table.csv'}", f"seed={seed}")
        run = aeframe.train([*WORDS, *data, *words], folder=Path(folder) / "run", verbose=False)
        schema = run.model.description.data.columns
        assert schema is not None
        x, whole = schema.encode(rest), schema.encode(frame)
        cells = pd.DataFrame(taken, columns=frame.columns)
        found = {name: judge(schema, whole, y, cells) for name, y in fill_by_others(x)}
        return found | {"aeframe": judge(schema, whole, run.model.reconstruct(x), cells)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("words", nargs="*", help="of the configuration, e.g. model=denoising")
    parser.add_argument("--share", type=float, nargs="+", default=[0.1, 0.3])
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    frame = pd.read_csv(options.file)
    for share in options.share:
        for seed in range(options.seeds):
            found = measure(frame, share, seed, options.words)
            print(f"{share:.0%} seed {seed}:", ", ".join(f"{k} {v}" for k, v in found.items()))


if __name__ == "__main__":
    warnings.simplefilter("ignore", ConvergenceWarning)
    main()
