"""Options have ranges: at both ends the loss is a number, and beyond them nothing is begun."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import pytest
import yaml
from omegaconf import DictConfig

from aeframe.config.check import check
from aeframe.config.composition import CONF
from aeframe.config.signature import list_parameters
from aeframe.config.targets import resolve
from aeframe.core.bounds import Above, AtLeast, AtMost, Below
from aeframe.core.errors import ConfigError
from aeframe.core.noise import Noise
from aeframe.core.schedules import parse_schedule
from aeframe.evaluation.card import Evaluation
from aeframe.training.build import build
from tests.support.pairs import SPARSE, choice

Compose = Callable[..., DictConfig]
ROOMS = ("model", "network", "likelihood", "constraint")
BY_DATA = {"latent_dim", "size", "k", "widths", "seed", "weight"}
"""Options without a largest value: data or weights bound them, and a loss that explodes is told."""


def options() -> Iterator[tuple[str, str, str, tuple[Any, ...]]]:
    """Each number that a part takes: its room, its file, its name and its limits."""
    for file in (file for room in ROOMS for file in sorted((CONF / room).glob("*.yaml"))):
        found = yaml.safe_load(file.read_text())
        target = found.get(file.parent.name, found)["_target_"]
        for name, (_, hint) in list_parameters(resolve(target)).items():
            for kind in (hint, *get_args(hint)):
                if get_origin(kind) is Annotated:
                    yield file.parent.name, file.stem, name, get_args(kind)


def test_each_number_has_a_largest_value() -> None:
    for room, file, name, (kind, *bounds) in options():
        limited = any(isinstance(bound, AtMost | Below) for bound in bounds)
        assert limited or name in BY_DATA, f"{room}/{file}: {name}"
        assert kind is not float or not any(isinstance(bound, Above) for bound in bounds), name
    for _, hint in list_parameters(Evaluation).values():
        assert any(isinstance(bound, AtMost) for bound in get_args(hint))


ENDS = [
    (room, file, name, bound.limit)
    for room, file, name, (kind, *bounds) in options()
    for bound in bounds
    if kind is not int and name not in BY_DATA and isinstance(bound, AtLeast | AtMost)
]


def chosen(room: str, file: str, name: str, value: float) -> list[str]:
    """The words of a run with one option."""
    words = [f"{room}.{name}={value!r}"]
    if room == "constraint":
        words = [f"constraint.{file}.{name}={value!r}"]
        other = {("threshold", "theta"): "rate", ("bottleneck", "ratio"): "size"}.get((file, name))
        words += [f"constraint.{file}.{other}=null"] if other else []
        variant = "sparse" if file in {*SPARSE, "auxk", "resampling"} else "undercomplete"
        return [*choice(variant, file), *words]
    return [f"{room}={file}", *words]


@pytest.mark.parametrize(("room", "file", "name", "value"), ENDS)
def test_the_loss_is_a_number_at_both_ends(
    compose: Compose, tmp_path: Path, room: str, file: str, name: str, value: float
) -> None:
    words = chosen(room, file, name, value)
    if file == "mixed":  # of the columns of a table
        rows = (f"{i % 7},{'abc'[i % 3]},{i % 5 * 0.1:.1f}" for i in range(200))
        (tmp_path / "x.csv").write_text("\n".join(["a,b,c", *rows]))
        words += ["dataset=table", f"dataset.path={tmp_path / 'x.csv'}"]
    try:
        built = build(compose("network.widths=[]", "dataset.batch_size=64", *words))
    except ConfigError as error:  # a share that is no winner of a batch, or all of the inputs
        assert any(said in str(error) for said in ("smaller than", "dataset.batch_size="))  # noqa: PT017
        return
    x = built.data.peek("train", 64, built.net.normalization)
    output = built.net(x, noise=Noise(0))
    output.loss.backward()
    built.net.observe(output)
    built.net.eval()
    assert bool(output.loss.isfinite())
    assert bool(built.net(x, noise=Noise(1)).loss.isfinite())
    for weight in built.net.parameters():
        assert weight.grad is None or bool(weight.grad.isfinite().all())


@pytest.mark.parametrize("end", ENDS, ids=str)
def test_beyond_the_ends_nothing_is_begun(
    compose: Compose, end: tuple[str, str, str, float]
) -> None:
    *where, limit = end
    lowest = limit <= 1e-3
    beyond = (limit / 1e24 if limit else -1e-30) if lowest else limit * 1.01
    with pytest.raises(ConfigError, match="must be at least" if lowest else "must be at most"):
        check(compose(*chosen(*where, beyond)))  # type: ignore[call-arg]


@pytest.mark.parametrize("length", [{"epochs": 1e-320}, {"steps": 0.5}])
def test_a_schedule_has_a_shortest_length(length: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be at least"):
        parse_schedule({"schedule": "cyclic", "value": 1.0, **length})


def test_numbers_that_float32_does_not_hold_are_told_of_a_schedule_too(compose: Compose) -> None:
    steep = "{schedule: linear, start: 0, end: 1e30, steps: 3}"
    with pytest.raises(ConfigError, match="must be at most 1e"):
        check(compose("model=variational", f"model.beta={steep}"))


def test_a_file_cannot_ask_for_work_without_end(compose: Compose) -> None:
    for words, said in {
        ("model=variational", "model.k=10000000"): "model.k=10000000: must be at most 1000",
        ("evaluation.importance_samples=1000000000",): "must be at most 10000",
        ("constraint=contractive", "constraint.contractive.probes=100000000"): "at most 1000",
    }.items():
        with pytest.raises(ConfigError, match=said):
            check(compose(*words))
