"""python -m tests.benchmarks.outliers FILE.csv --label COLUMN --normal VALUE [--seeds 5] [WORD ...]

Outliers: models are trained on 60 % of the normal rows of a table, and score the others and all rows that are
not normal. Numbers: area under the ROC curve and average precision, mean and standard deviation over seeds,
which choose the rows. Beside it: the distance from the mean, and PyOD's AutoEncoder and PCA with their own
defaults where PyOD is installed (`pip install pyod`), on the same rows.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

import aeframe

WORDS = ("dashboard.images=0", "doctor=false", "logger=[]", "evaluation.images=32")


def score_by_aeframe(train: pd.DataFrame, test: pd.DataFrame, words: list[str]) -> np.ndarray:
    """Train on a table, and score another one."""
    with tempfile.TemporaryDirectory() as folder:
        train.to_csv(Path(folder) / "train.csv", index=False)
        data = ("dataset=table", f"dataset.path={Path(folder) / 'train.csv'}")
        run = aeframe.train([*WORDS, *data, *words], folder=Path(folder) / "run", verbose=False)
        return np.asarray(run.model.score(test))


def score_by_others(
    train: np.ndarray, test: np.ndarray, seed: int
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the name of each other method and its scores of numeric rows."""
    scaler = StandardScaler().fit(train)
    yield "distance from the mean", np.square(scaler.transform(test)).mean(1)
    try:
        from pyod.models.auto_encoder import AutoEncoder
        from pyod.models.pca import PCA
    except ImportError:
        return
    for name, method in (
        ("PyOD AutoEncoder", AutoEncoder(random_state=seed, verbose=0)),
        ("PyOD PCA", PCA(random_state=seed)),
    ):
        yield name, method.fit(train).decision_function(test)


def measure(
    table: pd.DataFrame, strange: np.ndarray, seed: int, words: list[str]
) -> dict[str, np.ndarray]:
    """Measure all methods on the rows that this seed chooses: (AUROC, average precision) by name."""
    usual, others = train_test_split(np.flatnonzero(~strange), test_size=0.4, random_state=seed)
    tested = np.concatenate([others, np.flatnonzero(strange)])
    train, test = table.iloc[usual], table.iloc[tested]
    found = {"aeframe": score_by_aeframe(train, test, [f"seed={seed}", *words])}
    numbers = table.select_dtypes("number").dropna(axis=1).to_numpy(float)
    found |= score_by_others(numbers[usual], numbers[tested], seed)
    truth = strange[tested]
    return {
        name: np.array([roc_auc_score(truth, scores), average_precision_score(truth, scores)])
        for name, scores in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("--label", required=True, metavar="COLUMN")
    parser.add_argument("--normal", required=True, metavar="VALUE")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument(
        "words", nargs="*", metavar="WORD", help="of the configuration, such as model=sparse"
    )
    options = parser.parse_args()
    table = pd.read_csv(options.file)
    strange = (table.pop(options.label).astype(str) != options.normal).to_numpy()
    table = table.loc[:, table.nunique() > 1]
    results = defaultdict[str, list[np.ndarray]](list)
    warnings.filterwarnings("ignore")  # of other packages
    for seed in range(options.seeds):
        for name, numbers in measure(table, strange, seed, options.words).items():
            results[name].append(numbers)
    print(f"{options.file.name}: {(~strange).sum():,} normal rows, {strange.sum():,} others")
    for name, rows in results.items():
        (area, precision), (spread, _) = np.mean(rows, 0), np.std(rows, 0)
        print(f"{name:24s} AUROC {area:.3f} ± {spread:.3f}   average precision {precision:.3f}")


if __name__ == "__main__":
    main()
