"""Description of a saved network, read without trust in its contents."""

from __future__ import annotations

import hashlib
import json
import math
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from aeframe.config.targets import use_former_names, use_present_names
from aeframe.core.plain import as_mapping, explain_not_plain, is_count
from aeframe.core.strict_json import format_json
from aeframe.core.version import __version__
from aeframe.data import DataSpec
from aeframe.data.normalization.spread import Kind
from aeframe.data.normalization.usual_ranges import UsualRange, count_columns
from aeframe.data.table_schema import Schema
from aeframe.runs.known_errors import KnownErrors
from aeframe.runs.novelty import Novelty
from aeframe.runs.saved_network import MADE

FORMAT = 1
LARGEST = 2**22  # bytes of the text
AXES = 5
FARTHEST = torch.finfo(torch.float32).max
"""Largest magnitude of samples, which are converted to float32."""
DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        *(torch.uint8, torch.uint16, torch.uint32, torch.uint64),
        *(torch.int8, torch.int16, torch.int32, torch.int64),
        *(torch.float16, torch.float32, torch.float64),
    )
}
"""Types in which samples can be stored."""

Part = Literal["autoencoder", "encoder"]


class ForeignError(Exception):
    """Reason why a file is not a model of aeframe."""


@dataclass(frozen=True)
class Description:
    """Description of a saved network.

    config: the run's configuration. data: the training data. part: which part of the network is
    saved. metrics: of the test split. errors: of known samples. step_errors: of single steps, for windows
    of a series. novelty: the score of a table's rows, and then that of `errors`. versions: of the packages
    that trained it.
    identity: SHA-256 of the weights and of the configuration that gives them meaning, in hexadecimal.
    """

    config: dict[str, Any]
    data: DataSpec
    part: Part = "autoencoder"
    metrics: dict[str, float] = field(default_factory=dict)
    errors: KnownErrors = field(default_factory=KnownErrors)
    step_errors: KnownErrors | None = None
    novelty: Novelty | None = None
    versions: dict[str, str] = field(default_factory=dict)
    identity: str = ""

    def add_identity(self, weights: Mapping[str, Tensor]) -> Description:
        """Return a copy with `identity`, a digest of these weights and of all that gives them meaning."""
        config = use_former_names(self.config)
        function = {key: config.get(key) for key in MADE}
        written = as_mapping(self.config.get("dataset")).get("normalization")
        normalization = self.data.normalization or written
        meaning = ("shape", "dtype", "stored", "columns")
        whole = self.data.as_dict()
        data = {k: v for k, v in whole.items() if k in meaning}
        if self.data.seen is not None:  # decoded values are clipped to it
            data["seen"] = list(self.data.seen)
        if self.data.target is not None:
            own = (*meaning, "normalization", "seen")
            data["target"] = {key: whole["target"].get(key) for key in own}
        content = [FORMAT, self.part, function, normalization, data]
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
        for name, value in sorted(weights.items()):
            value = value.detach().cpu().contiguous()
            digest.update(f"\n{name} {value.dtype} {list(value.shape)}\n".encode())
            digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
        return replace(self, identity=digest.hexdigest())

    @property
    def is_flat(self) -> bool:
        """Check whether the run read arrays of any shape as vectors."""
        return as_mapping(self.config.get("dataset")).get("layout") == "flat"

    def to_json(self) -> str:
        """Format the description as JSON."""
        steps = {} if self.step_errors is None else {"steps": self.step_errors.as_dict()}
        novelty = {} if self.novelty is None else {"novelty": self.novelty.as_dict()}
        return format_json(
            {
                "format": FORMAT,
                "identity": self.identity,
                "part": self.part,
                "data": self.data.as_dict(),
                "metrics": {k: v for k, v in self.metrics.items() if math.isfinite(v)},
                "versions": self.versions,
                "config": self.config,
                **self.errors.as_dict(),
                **steps,
                **novelty,
            },
            indent=1,
        )


def list_versions() -> dict[str, str]:
    """Return the versions of aeframe, torch and Python."""
    return {
        "aeframe": __version__,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
    }


def parse_description(text: str) -> Description:
    """Parse a description. Raises ForeignError for text that aeframe did not write."""
    if len(text) > LARGEST:
        raise ForeignError("it is far too large")
    try:
        given = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ForeignError("it is not JSON") from error
    if not isinstance(given, dict):
        raise ForeignError("it is not a mapping")
    if given.get("format") != FORMAT:
        version = given.get("format")
        newer = is_count(version) and version > FORMAT
        raise ForeignError("a newer aeframe wrote it" if newer else "its format is unknown")
    config, part = given.get("config"), given.get("part")
    if part not in ("autoencoder", "encoder"):
        raise ForeignError("part is neither autoencoder nor encoder")
    identity = given.get("identity")
    if not isinstance(identity, str):
        raise ForeignError("identity is not text")
    data = parse_data(given.get("data"))
    return Description(
        parse_configuration(config),
        data,
        part,
        {name: float(v) for name, v in _parse_table(given.get("metrics"), "metrics", int | float)},
        _parse_errors(given),
        _parse_errors(as_mapping(given["steps"])) if "steps" in given else None,
        _parse_novelty(as_mapping(given["novelty"]), data) if "novelty" in given else None,
        dict(_parse_table(given.get("versions"), "versions", str)),
        identity,
    )


def _parse_errors(given: Mapping[str, Any]) -> KnownErrors:
    """Parse the errors of known samples: of validation, or of training in older files."""
    train = _parse_scores(given.get("train_scores"), "train_scores", 2)
    val = _parse_scores(given.get("val_scores", []), "val_scores", 1)
    if not val:
        return KnownErrors("train", train)
    count = given.get("val_samples")
    if not is_count(count) or count < len(val):
        raise ForeignError("val_samples is not the number of validation samples")
    return KnownErrors("val", val, count)


def _parse_novelty(given: Mapping[str, Any], data: DataSpec) -> Novelty:
    """Parse the means and standard deviations of a novelty, which only rows of a table have."""
    if data.columns is None or data.target is not None:
        raise ForeignError("novelty is not of a table")
    pairs = [_parse_scores(given.get(name), f"novelty.{name}", 2) for name in ("error", "distance")]
    if not all(len(pair) == 2 and 0 <= pair[0] < 1e30 and 0 < pair[1] < 1e30 for pair in pairs):
        raise ForeignError("novelty is not means and standard deviations")
    return Novelty(*((mean, spread) for mean, spread in pairs))


def _parse_scores(given: Any, where: str, least: int) -> tuple[float, ...]:
    """Parse no numbers or at least `least`."""
    if not isinstance(given, list) or not all(map(_is_number, given)) or 0 < len(given) < least:
        raise ForeignError(f"{where} are not numbers")
    return tuple(map(float, given))


def parse_configuration(given: Any) -> dict[str, Any]:
    """Check a saved configuration, which must be plain data. Raises ForeignError."""
    if not isinstance(given, dict):
        raise ForeignError("the configuration is not a mapping")
    if (what := explain_not_plain(given)) is not None:
        raise ForeignError(f"the configuration {what}")
    return use_present_names(given)


def parse_data(given: Any) -> DataSpec:
    """Parse the description of the data. Raises ForeignError."""
    data = as_mapping(given)
    shape, samples, classes = data.get("shape"), data.get("samples"), data.get("classes")
    if not isinstance(shape, list) or not 1 <= len(shape) < AXES:
        raise ForeignError("data.shape is not a shape")
    if not all(is_count(n) and n > 0 for n in shape) or math.prod(shape) >= 2**40:
        raise ForeignError("data.shape is not a shape")
    if data.get("dtype") not in DTYPES:
        raise ForeignError("data.dtype is not a type of numbers")
    if not is_count(samples) or samples == 0:
        raise ForeignError("data.samples is not a positive whole number")
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise ForeignError("data.classes are not names")
    low, high = _parse_range([data.get("low"), data.get("high")], "data.low and data.high")
    extent = data.get("extent")
    stored, seen, levels = (data.get(key) for key in ("stored", "seen", "levels"))
    normalization = data.get("normalization")
    if normalization not in (None, *get_args(Kind)):
        raise ForeignError("data.normalization is unknown")
    axes = data.get("axes", [])
    if not isinstance(axes, list) or not all(is_count(n) for n in axes):
        raise ForeignError("data.axes is not a shape")
    if axes and (len(shape) != 1 or math.prod(axes) != shape[0]):
        raise ForeignError("data.axes is another shape")
    usual, axes = _parse_usual(data.get("usual", [])), tuple(axes)
    if usual and len(usual) != count_columns(tuple(shape), axes):
        raise ForeignError("data.usual are not as many as in data.shape")
    return DataSpec(
        shape=tuple(shape),
        low=low,
        high=high,
        samples=samples,
        extent=(-math.inf, math.inf) if extent is None else _parse_range(extent, "data.extent"),
        dtype=DTYPES[data["dtype"]],
        stored=None if stored is None else _parse_range(stored, "data.stored"),
        classes=tuple(classes),
        normalization=normalization,
        seen=None if seen is None else _parse_range(seen, "data.seen", apart=True),
        levels=None if levels is None else _parse_range(levels, "data.levels", apart=True),
        columns=None if data.get("columns") is None else _parse_columns(data["columns"], shape),
        gaps=data.get("gaps") is True,
        usual=usual,
        axes=axes,
        target=None if data.get("target") is None else _parse_target(data["target"]),
    )


def _parse_target(given: Any) -> DataSpec:
    """Parse the description of targets, which have no others."""
    if "target" in as_mapping(given):
        raise ForeignError("data.target has a target")
    try:
        return parse_data(given)
    except ForeignError as error:
        raise ForeignError(f"data.target: {error}") from error


def _parse_columns(given: Any, shape: list[int]) -> Schema:
    """Parse the columns of a table whose samples have this shape."""
    try:
        schema = Schema.from_dict(given)
    except ValueError as error:
        raise ForeignError(f"data.columns: {error}") from error
    if shape != [schema.width]:
        raise ForeignError("data.columns do not suit data.shape")
    return schema


def _parse_usual(given: Any) -> tuple[UsualRange, ...]:
    """Parse the ranges of columns or channels."""
    if not isinstance(given, list) or not all(
        isinstance(one, list) and len(one) == 3 and isinstance(one[0], str) for one in given
    ):
        raise ForeignError("data.usual are not names and ranges")
    return tuple(UsualRange(name, *_parse_range(ends, "data.usual")) for name, *ends in given)


def _parse_range(given: Any, where: str, *, apart: bool = False) -> tuple[float, float]:
    """Parse two numbers. apart: the second must be larger."""
    if not isinstance(given, list) or len(given) != 2 or not all(map(_is_number, given)):
        raise ForeignError(f"{where} are not two numbers")
    if max(map(abs, given)) > FARTHEST:
        raise ForeignError(f"{where} exceed float32")
    if apart and not given[0] < given[1]:
        raise ForeignError(f"{where} is not a range")
    return float(given[0]), float(given[1])


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < 2**1000  # also of integers, which have any length in JSON


def _parse_table(given: Any, where: str, kind: Any) -> list[tuple[str, Any]]:
    if not isinstance(given, dict) or not all(isinstance(v, kind) for v in given.values()):
        raise ForeignError(f"{where} have values of a wrong type")
    if kind is not str and not all(map(_is_number, given.values())):
        raise ForeignError(f"{where} are not numbers")
    return list(given.items())
