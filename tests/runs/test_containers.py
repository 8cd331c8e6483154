"""Arrays, tables, lists and iterators of samples: each gives what one expects of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

import aeframe as package
from aeframe.core.errors import UserError
from aeframe.runs.containers import convert_to_array
from tests.support.digits import refused

DIGITS = load_digits().images.astype(np.uint8)[:6, None]
TABLE = np.arange(12.0).reshape(4, 3)


@pytest.fixture(scope="module")
def model(trained: Path) -> package.Model:
    """A model of gray images, [1, 8, 8], and 8 code units."""
    return package.load(trained)


class Frame:
    """Interface that DataFrames of all packages have in common."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.values


FORMS: dict[str, Callable[[np.ndarray], Any]] = {
    "a list of samples": list,
    "a tuple of images without a channel": lambda x: tuple(x[:, 0]),
    "a list with the channel last": lambda x: list(np.moveaxis(x, 1, -1)),
    "a list of batches": lambda x: [x[:1], x[1:2], x[2:]],
    "a list of batches without a channel": lambda x: [x[:2, 0], x[2:, 0]],
    "lists of numbers": lambda x: x.tolist(),
    "a deque": deque,
    "a frame": Frame,
    "a list of frames": lambda x: [Frame(x[:3]), Frame(x[3:])],
    "tensors among arrays": lambda x: [torch.from_numpy(x[0]), *x[1:]],
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("verb", ["encode", "reconstruct", "score"])
def test_containers_that_are_no_iterators_give_one_array(
    model: package.Model, verb: str, form: str
) -> None:
    function = getattr(model, verb)
    found = function(FORMS[form](DIGITS))
    assert isinstance(found, np.ndarray)
    wanted = function(DIGITS)
    assert np.array_equal(found.reshape(wanted.shape), wanted)


def test_codes_too(model: package.Model) -> None:
    codes = model.encode(DIGITS)
    for given in (list(codes), [codes[:2], codes[2:]], codes.tolist(), Frame(codes)):
        assert np.array_equal(model.decode(given), model.decode(codes))
    assert np.array_equal(next(model.decode(iter([codes]))), model.decode(codes))


def test_lists_of_tensors_give_a_tensor(model: package.Model) -> None:
    tensor = torch.from_numpy(DIGITS)
    for given in (list(tensor), [tensor[:2], tensor[2:]], tuple(tensor[:, 0])):
        found = model.encode(given)
        assert isinstance(found, torch.Tensor)
        assert torch.equal(found, model.encode(tensor))


def test_an_iterator_gives_each_items_result(model: package.Model) -> None:
    def batches() -> Iterator[Any]:
        yield DIGITS[:2]
        yield list(DIGITS[2:4])
        yield torch.from_numpy(DIGITS[4:])

    found = model.encode(batches())
    assert isinstance(found, Iterator)
    parts = list(found)
    assert [type(part) for part in parts] == [np.ndarray, np.ndarray, torch.Tensor]
    assert np.allclose(np.concatenate(parts), model.encode(DIGITS), atol=1e-6)


def test_columns_of_several_types_are_floats() -> None:
    """Columns come from pandas as one array of objects."""
    mixed = np.array([[1, True, 2.5], [2, False, 3.5]], object)
    found = convert_to_array(Frame(mixed), (3,), "x")
    assert isinstance(found, np.ndarray)
    assert found.dtype == np.float64
    assert found.tolist() == [[1, 1, 2.5], [2, 0, 3.5]]
    mixed[0, 1] = "name"
    with pytest.raises(
        UserError, match=r"holds values that are not numbers .* Leave out columns of text"
    ):
        convert_to_array(Frame(mixed), (3,), "x")


REFUSED = {
    "nothing": (None, "is NoneType, not samples. Give an array, a tensor, a DataFrame"),
    "a name": ("x.npy", "is str, not samples. Load the file first"),
    "a mapping": ({"x": TABLE}, "is dict, not samples. Give one of its entries."),
    "an iterable": ({1, 2}, "is set, not samples. Write iter(x) to go through its batches."),
    "an empty list": ([], "holds no samples"),
    "rows of other lengths": ([[1, 2], [1]], "holds values that are not numbers (setting an array element"),
    "arrays of other lengths": ([TABLE[0], TABLE[0, :2]], "holds samples of different shapes or devices"),
    "tensors of other lengths": ([torch.zeros(3), torch.zeros(2)], "different shapes or devices"),
    "another size": ([TABLE[0, :2]] * 2, "has shape [2, 2], but this model takes [N, 3]"),
    "names in a list": (["x.npy"], "holds <U5, not numbers"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_containers_that_are_refused_are_named(model: package.Model, kind: str) -> None:
    given, said = REFUSED[kind]
    assert said in refused(lambda: model._map_samples(given, (3,), lambda x: x, "x"))


def test_sparse_matrices_and_iterators_over_iterators_are_told(model: package.Model) -> None:
    from scipy.sparse import csr_matrix

    assert "Write x.toarray()." in refused(lambda: model.encode(csr_matrix(TABLE)))
    assert "an iterator over iterators" in refused(lambda: list(model.encode(iter([iter([])]))))


def test_public_names_are_listed(model: package.Model) -> None:
    assert {"load", "Model", "__version__"} <= set(dir(package))
    assert not {"Any", "TYPE_CHECKING", "annotations"} & set(dir(package))


def test_a_model_says_what_it_is(model: package.Model) -> None:
    mse = model.metrics["mse"]
    said = "<aeframe.Model undercomplete (bottleneck): 1 x 8 x 8 -> 8 units"
    assert repr(model) == f"{said}, test mse {mse:.4g}>"
    assert repr(model.encoder()) == f"{said}, test mse {mse:.4g}, encoder alone>"
