"""Data sets that are named instead of a file."""

from __future__ import annotations

import pytest

from aeframe.config.composition import CONF
from aeframe.config.datasets import list_dataset_names, read_dataset_options
from aeframe.config.targets import resolve
from aeframe.data.builtin.builtin import Builtin, Digits, Downloaded

OPTIONS = sorted(file.stem for file in (CONF / "dataset").glob("*.yaml"))


def test_own_files_are_not_among_the_names() -> None:
    assert {"digits", "mnist", "cifar10", "svhn"} <= set(list_dataset_names())
    assert not {"array", "image_folder", "photo_crops"} & set(list_dataset_names())


@pytest.mark.parametrize("name", OPTIONS)
def test_a_name_stands_for_a_class_that_finds_its_files(name: str) -> None:
    cls = resolve(read_dataset_options(name)["_target_"])
    assert issubclass(cls, Builtin) == (name in list_dataset_names())


def test_a_named_data_set_is_read_from_a_folder_and_not_downloaded() -> None:
    assert isinstance(Digits.stored_in("somewhere"), Digits)
    for name in list_dataset_names():
        source = resolve(read_dataset_options(name)["_target_"]).stored_in("somewhere")
        if isinstance(source, Downloaded):
            assert (str(source.root), source.download) == ("somewhere", False)
