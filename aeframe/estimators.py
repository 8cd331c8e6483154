"""Autoencoders as scikit-learn transformers, for pipelines and parameter searches."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from aeframe.config.node import to_plain
from aeframe.config.override_words import write_words
from aeframe.config.plugins import Names, use_plugins
from aeframe.config.targets import resolve
from aeframe.core.errors import ConfigError, UserError
from aeframe.core.local_paths import expand_path
from aeframe.interface import compose, parse_words, train_in_folder
from aeframe.runs.containers import widen_bfloat16
from aeframe.runs.given_data import ARRAY
from aeframe.runs.run_results import Run
from aeframe.training.process_state import restore_process

FEWEST = 3  # samples: one each for training, validation and test
GAUSSIAN = ("likelihood=gaussian",)
ROUNDING = 1e-6  # tolerance of values
NAMED = 8  # columns in a message
SIZE = "model.latent_dim="


class AutoencoderTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """An autoencoder whose codes are the transformed samples.

    model, constraint, network, normalization, max_epochs: as on the command line; None: the default of the
    variant, else that of the configuration. constraint: one name or several. latent_dim: None: the default of
    the variant or, if that does not fit the number of features, half or twice that number. The likelihood is
    that of the variant, or Gaussian for a table with values outside its range.
    shape: that of one sample, e.g. (1, 28, 28), if features are the pixels of an image. overrides: other
    words of the command line, e.g. ["constraint.topk.k=5", "optimizer.lr=3e-3"]. plugins: see
    `aeframe.train`. folder: keeps the run with its curves and checkpoints, for one fit (a second one raises
    ValueError); None: keeps nothing. verbose: prints the progress of the run.

    A tenth of the samples selects the best epoch. All methods after `fit` compute in double precision, so
    that a result does not depend on the other samples of the call. model_: the trained `aeframe.Model`.
    """

    def __init__(
        self,
        model: str = "undercomplete",
        *,
        latent_dim: int | None = None,
        constraint: str | Sequence[str] | None = None,
        network: str | None = None,
        normalization: str | None = None,
        shape: tuple[int, ...] | None = None,
        max_epochs: int | None = None,
        overrides: Sequence[str] = (),
        plugins: Names = (),
        folder: str | Path | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool = False,
    ) -> None:
        self.model, self.latent_dim, self.constraint = model, latent_dim, constraint
        self.network, self.normalization, self.shape = network, normalization, shape
        self.max_epochs, self.overrides, self.folder = max_epochs, overrides, folder
        self.plugins, self.random_state, self.verbose = plugins, random_state, verbose

    def fit(self, X: Any, y: Any = None) -> AutoencoderTransformer:  # noqa: N803
        """Train on samples [N, D], at least 3 x 2 numbers; y is ignored.

        Raises ValueError for unusable samples or parameters, and TrainingError if the loss becomes NaN.
        """
        from aeframe.runs.folder import find_result, has_run

        if isinstance(self.overrides, str):
            raise ValueError(f"overrides={self.overrides!r}: give a list, [{self.overrides!r}]")
        given = widen_bfloat16(X)
        _require_numbers(given)
        x = validate_data(
            self, given, dtype=np.float64, ensure_min_samples=FEWEST, ensure_min_features=2
        )
        try:
            folder = (
                None if self.folder is None else expand_path(self.folder, f"folder={self.folder}")
            )
        except UserError as error:
            raise ValueError(str(error)) from error
        if folder is not None and (name := "a run" if has_run(folder) else find_result(folder)):
            raise ValueError(f"folder={folder}: holds {name} already; give another, or None")
        with TemporaryDirectory() as scratch, restore_process(verbose=self.verbose):
            try:
                with use_plugins(self.plugins):
                    run = self._train(self._reshape(x), folder or Path(scratch) / "run")
                    self.model_ = run.model
            except UserError as error:
                raise ValueError(str(error)) from error
            except KeyboardInterrupt:
                if folder is not None:
                    raise
                raise KeyboardInterrupt("stopped by Ctrl-C; nothing was kept") from None
        self.model_.net.double()
        self._n_features_out = self.model_.latent_dim
        return self

    def transform(self, X: Any) -> np.ndarray:  # noqa: N803
        """Encode samples [N, D] to codes [N, latent_dim], float64: the means if the model is variational.

        Raises NotFittedError before `fit`, and ValueError for samples of another D or with NaN.
        """
        x = self._check(X)
        return self.model_.encode(x)

    def inverse_transform(self, X: Any) -> np.ndarray:  # noqa: N803
        """Decode codes [N, latent_dim] to samples [N, D], in the units of the training samples.

        Raises as `transform` does.
        """
        check_is_fitted(self)
        codes = check_array(X, dtype=np.float64, input_name="X")
        try:
            return self.model_.decode(codes).reshape(len(codes), -1)
        except UserError as error:
            raise ValueError(str(error)) from error

    def score(self, X: Any, y: Any = None) -> float:  # noqa: N803
        """Compute minus the mean squared error of the reconstructions, per feature in normalized units.

        A larger score is better, as scikit-learn's searches expect.
        """
        x = self._check(X)
        return -float(self.model_.score(x).mean())

    def _check(self, given: Any) -> np.ndarray:
        check_is_fitted(self)
        x = widen_bfloat16(given)
        _require_numbers(x)
        return self._reshape(validate_data(self, x, dtype=np.float64, reset=False))

    def _reshape(self, x: np.ndarray) -> np.ndarray:
        if self.shape is None:
            return x
        if math.prod(self.shape) != x.shape[1]:
            raise ValueError(f"shape={tuple(self.shape)}: X has {x.shape[1]} features.")
        return x.reshape(-1, *self.shape)

    def _train(self, x: np.ndarray, folder: Path) -> Run:
        """Train with the first code size that suits the data."""
        words = self._list_words()
        if self.shape is None and self._is_outside_support(x, words):
            words = [*GAUSSIAN, *words]
        *sizes, last = self._list_sizes()
        for size in sizes:
            with contextlib.suppress(ConfigError):
                return train_in_folder([*words, *size], x, folder)
        return train_in_folder([*words, *last], x, folder)

    def _list_words(self) -> list[str]:
        """List the words of the command line."""
        values = {
            "model": self.model,
            "constraint": [self.constraint]
            if isinstance(self.constraint, str)
            else self.constraint,
            "network": self.network,
            "dataset.layout": "flat" if self.shape is None else "chw",
            "dataset.normalization": self.normalization,
            "dataset.test_fraction": 1e-9,  # one sample: the caller has other test data
            "model.latent_dim": self.latent_dim,
            "trainer.max_epochs": self.max_epochs,
            "seed": int(check_random_state(self.random_state).randint(2**31)),
            "evaluation.images": 32,
            # pictures would be deleted unseen
            "dashboard.images": 0 if self.folder is None else None,
        }
        given = {key: value for key, value in values.items() if value is not None}
        return [*write_words(given), *self.overrides]

    def _is_outside_support(self, x: np.ndarray, words: Sequence[str]) -> bool:
        """Check whether values lie outside the range of the likelihood, unless the user chose it."""
        if any(word.startswith("likelihood") for word in self.overrides):
            return False
        node = to_plain(compose(parse_words(words, ARRAY)).cfg)
        low, high = resolve(node["likelihood"]["_target_"]).support
        return bool(x.min() < low - ROUNDING or x.max() > high + ROUNDING)

    def _list_sizes(self) -> list[list[str]]:
        """List the code sizes to try: the default, then half and twice the number of features."""
        if self.latent_dim is not None or any(w.startswith(SIZE) for w in self.overrides):
            return [[]]
        count = self.n_features_in_
        return [[], [f"{SIZE}{max(1, count // 2)}"], [f"{SIZE}{2 * count}"], []]


def _require_numbers(given: Any) -> None:
    """Raise ValueError for a DataFrame of pandas with columns that are not numbers, or have gaps."""
    if not hasattr(given, "iloc"):
        return
    others, gaps = list[str](), list[str]()
    for name, column in given.items():
        try:
            values = None if column.dtype.kind in "mM" else column.to_numpy(np.float64)
        except (TypeError, ValueError):  # gaps in a column of integers are errors, too
            values = np.full(1, np.nan) if column.dtype.kind in "iub" else None
        if values is None:
            others.append(str(name))
        elif np.isnan(values).any():
            gaps.append(str(name))
    found = {"columns that are not numbers": others, "columns with gaps": gaps}
    if told := [f"{what} ({', '.join(names[:NAMED])})" for what, names in found.items() if names]:
        raise ValueError(
            f"X has {' and '.join(told)}. Put an OrdinalEncoder or a SimpleImputer before, or write run = "
            "aeframe.train(data=X) and run.model.encode(X), which take text, dates and gaps."
        )
