"""Model: a trained autoencoder that encodes, decodes, samples and scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from aeframe.constraints.constrained import ConstrainedAutoencoder
from aeframe.core.errors import UserError
from aeframe.core.noise import Noise
from aeframe.runs.containers import convert_to_array, read_batches
from aeframe.runs.description import Description
from aeframe.runs.frames import decode_frame, encode_frames, require_columns
from aeframe.runs.novelty import Compared, rate, share
from aeframe.runs.pair_scores import score_pairs
from aeframe.runs.plain_module import PlainModule
from aeframe.runs.sample_arrays import (
    Array,
    arrange_rows,
    check_codes,
    convert_to_stored,
    normalize_samples,
    offset_rows,
)


class Model:
    """Trained autoencoder, loaded by `aeframe.load`.

    Samples x are as the training data was stored, [N, *shape]: images as bytes [N, C, H, W], also
    [N, H, W] or [N, H, W, C], or vectors [N, D]; normalization is included. Codes z are
    [N, latent_dim]. Samples and codes can be an array, a tensor, a DataFrame, or a list of them
    (samples or batches). A model of a table takes the columns of a DataFrame by name, in any order,
    ignores others, and refuses a cell that does not fit. The result is an array, or for tensors a tensor on
    their device. An iterator over batches, such as a generator, gives an iterator over results, computed
    when they are read. Everything is computed batch_size samples at a time, without gradients. The result
    does not depend on the batches (up to float rounding). Invalid input raises UserError.
    """

    def __init__(
        self, net: ConstrainedAutoencoder, description: Description, batch_size: int = 256
    ) -> None:
        self.net, self.description, self.batch_size = net.eval(), description, batch_size

    def __repr__(self) -> str:
        """Name the variant, the sample shape, the code size, and the error on the test split."""
        kind, part = type(self.net.model).__name__.lower(), self.description.part
        shape = " x ".join(map(str, self.shape))
        constraints = "+".join(name for name, _ in self.net.parts) or "free"
        error = f", test mse {self.metrics['mse']:.4g}" if "mse" in self.metrics else ""
        alone = ", encoder alone" if part == "encoder" else ""
        return f"<aeframe.Model {kind} ({constraints}): {shape} -> {self.latent_dim} units{error}{alone}>"

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of one sample: (C, H, W) or (D,)."""
        return self.description.data.shape

    @property
    def target_shape(self) -> tuple[int, ...] | None:
        """Return the shape of one target, which `decode` gives; None for a model that gives samples."""
        return self.description.data.target_shape

    @property
    def latent_dim(self) -> int:
        """Return the number of code units."""
        return self.net.model.latent_dim

    @property
    def metrics(self) -> dict[str, float]:
        """Return the metrics of the test split, as in evaluation.json.

        `mse` is per element in normalized units, `psnr` in dB, terms of the loss in nats. Empty for
        a run that has not finished.
        """
        return dict(self.description.metrics)

    @property
    def config(self) -> dict[str, Any]:
        """Return a copy of the run's configuration, as in .hydra/config.yaml, with references resolved."""
        return deepcopy(self.description.config)

    @property
    def identity(self) -> str:
        """Return the SHA-256 of the weights and of the configuration that gives them meaning.

        A model of another identity decodes codes to something else.
        """
        return self.description.identity

    @property
    def module(self) -> PlainModule:
        """Return a copy as a torch module with `encoder` and `decoder`, for training code of your own."""
        self.require_decoder("module")
        return PlainModule(self.net)

    @property
    def device(self) -> torch.device:
        """Return the device of the weights."""
        return self.net.normalization.scale.device

    @overload
    def encode(self, x: Array | Sequence[Array]) -> Array: ...
    @overload
    def encode(self, x: Iterator[Array]) -> Iterator[Array]: ...
    @overload
    def encode(self, x: ArrayLike) -> np.ndarray: ...
    def encode(self, x: Any) -> Any:
        """Encode samples [N, *shape] to codes [N, latent_dim]; to the means in a variational model."""
        return self._map_samples(x, self.shape, self._encode, "x")

    @overload
    def decode(self, z: Array | Sequence[Array]) -> Array: ...
    @overload
    def decode(self, z: Iterator[Array]) -> Iterator[Array]: ...
    @overload
    def decode(self, z: ArrayLike) -> np.ndarray: ...
    def decode(self, z: Any) -> Any:
        """Decode codes [N, latent_dim] to samples [N, *shape], in units and type of the training data.

        Images of bytes are rounded to bytes. `to_frame` makes a DataFrame of samples of a table.
        """
        self.require_decoder("decode")
        return self._map_samples(z, (self.latent_dim,), self._decode, "z")

    @overload
    def reconstruct(self, x: Array | Sequence[Array]) -> Array: ...
    @overload
    def reconstruct(self, x: Iterator[Array]) -> Iterator[Array]: ...
    @overload
    def reconstruct(self, x: ArrayLike) -> np.ndarray: ...
    def reconstruct(self, x: Any) -> Any:
        """Encode and decode samples [N, *shape]; their layout stays, and units are those of `decode`.

        Gaps (NaN) are filled. A denoising model encodes and decodes what it filled in twice more. A DataFrame
        gives a DataFrame, for a model of a table.
        """
        self.require_decoder("reconstruct")
        if isinstance(x, Iterator):
            return map(self.reconstruct, read_batches(x, "x"))
        return decode_frame(
            self._map_samples(x, self.shape, self._reconstruct, "x"), x, self.description.data
        )

    @overload
    def score(self, x: Array | Sequence[Array], target: Any = None) -> Array: ...
    @overload
    def score(self, x: Iterator[Array], target: Any = None) -> Iterator[Array]: ...
    @overload
    def score(self, x: ArrayLike, target: Any = None) -> np.ndarray: ...
    def score(self, x: Any, target: Any = None) -> Any:
        """Return the reconstruction error of each sample, [N]: its mean square per normalized element.

        The mean over the test split is metrics["mse"]. The score of a table's rows is their novelty, which
        joins the error and the distance from the mean; of a checkpoint, which has no known samples, it is the
        error. target: an array [N, *target_shape], only for a model that was trained with targets.
        """
        self.require_decoder("score")
        if self.target_shape is not None or target is not None:
            return score_pairs(self.net, self.description, self.batch_size, x, target)
        return self._map_samples(x, self.shape, self._score, "x")

    def score_columns(self, x: Any) -> Any:
        """Return the share of each column of a table in the score of each sample, [N, columns].

        The shares of a sample add up to 1. Raises UserError for a model of other data.
        """
        self.require_decoder("score_columns")
        return self._map_samples(x, self.shape, self._score_columns, "x")

    def sample(self, n: int, seed: int = 0) -> np.ndarray:
        """Draw n new samples [n, *shape], the means of codes from the prior of a variational model.

        The same seed gives the same samples. Raises UserError for other models.
        """
        self.require_decoder("sample")
        if "prior" not in self.net.model.gives:
            name = type(self.net.model).__name__.lower()
            what = f"a model of kind {name} has no distribution of codes to draw from"
            raise UserError("sample", what, "Train model=variational.")
        if n < 1:
            raise UserError(f"n={n}", "must be at least 1")
        return self.decode(Noise(seed, "sample").normal((n, self.latent_dim)).numpy())

    def to_frame(self, x: ArrayLike) -> Any:
        """Convert samples [N, D] to a DataFrame like the table of training; categories are the likeliest."""
        return require_columns(self.description.data, "to_frame").decode(np.asarray(x))

    def threshold(self, percentile: float) -> float:
        """Return the score that this percentage of new samples, like those of training, does not exceed.

        It follows from the scores of the validation samples; n of them bound at most n / (n + 1) of new
        samples, and for more it is their largest score. For runs without validation, and of older versions,
        it is a percentile of the training samples, which more new samples exceed. percentile: 0 to 100.
        Raises UserError if the run has not finished.
        """
        errors = self.description.errors
        if not errors.values:
            what = "holds no scores of known samples"
            raise UserError("model", what, "Load the folder of a run that has finished.")
        if not 0 <= percentile <= 100:
            raise UserError(f"percentile={percentile:g}", "must be from 0 to 100")
        return errors.find_limit(percentile)

    def _map_samples(
        self, x: Any, shape: tuple[int, ...], function: Callable[[Tensor], Tensor], where: str
    ) -> Any:
        if where == "x":
            x = encode_frames(x, self.description.data, where)
        if (given := convert_to_array(x, shape, where)) is not None:
            return self._map_array(given, shape, function, where)
        parts = read_batches(x, where)
        return (self._map_samples(part, shape, function, where) for part in parts)

    @torch.inference_mode()
    def _map_array(
        self,
        x: np.ndarray | Tensor,
        shape: tuple[int, ...],
        function: Callable[[Tensor], Tensor],
        where: str,
    ) -> np.ndarray | Tensor:
        """Compute the results of one array, batch_size rows at a time."""
        rows, restore_layout = arrange_rows(x, shape, where, is_flat=self.description.is_flat)
        results: Tensor | None = None
        for start in range(0, len(rows), self.batch_size):
            part = rows[start : start + self.batch_size].contiguous()
            with offset_rows(start):
                result = function(part)
            if results is None:  # for all rows at once, to save memory
                results = torch.empty(
                    len(rows), *result.shape[1:], dtype=result.dtype, device=rows.device
                )
            results[start : start + len(part)] = result
        assert results is not None
        if results.shape[1:] == shape:  # the results are samples
            results = restore_layout(results)
        return results.numpy() if isinstance(x, np.ndarray) else results

    def _encode(self, x: Tensor) -> Tensor:
        return self.net.encode(self._normalize(x)).value

    def _decode(self, z: Tensor) -> Tensor:
        check_codes(z, "z")
        z = z.to(self.device, self.net.normalization.scale.dtype)
        return self._convert_to_stored(self.net.model.reconstruct(z))

    def _reconstruct(self, x: Tensor) -> Tensor:
        return self._convert_to_stored(self.net.impute(self._normalize(x)))

    def _score(self, x: Tensor) -> Tensor:
        return rate(self.compare(x), self.description.novelty)

    def _score_columns(self, x: Tensor) -> Tensor:
        schema = require_columns(self.description.data, "score_columns")
        return share(self.compare(x), self.description.novelty, schema)

    def compare(self, x: Tensor) -> Compared:
        """Compare samples with their reconstructions."""
        target = self._normalize(x)
        return Compared.of(self.net, target, target, far=self.description.novelty is not None)

    def _normalize(self, x: Tensor) -> Tensor:
        return normalize_samples(x, self.description.data, self.net.normalization, "x")

    def _convert_to_stored(self, x: Tensor) -> Tensor:
        data = self.description.data.written
        return convert_to_stored(self.net.written_normalization.inverse(x), data)

    def encoder(self) -> Model:
        """Return the encoder alone."""
        net = deepcopy(self.net)
        del net.model.decoder
        description = replace(self.description, part="encoder")
        return Model(net, description.add_identity(net.state_dict()), self.batch_size)

    def require_decoder(self, what: str) -> None:
        """Raise UserError if only the encoder is present. what: the operation that needs the decoder."""
        if self.description.part == "encoder":
            remedy = "Load the whole model."
            raise UserError(what, "this is an encoder alone, which can only encode", remedy)
