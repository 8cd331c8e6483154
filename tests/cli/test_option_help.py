"""Help on an option: its keys with defaults, comments and allowed values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

import pytest

from aeframe.cli.help import find_groups
from aeframe.config.allowed_values import describe_values
from aeframe.config.commented_keys import list_keys_of
from aeframe.config.composition import CONF, compose_options
from aeframe.core.bounds import Above, AtMost
from aeframe.core.schedules import Scheduled

Command = Callable[..., tuple[int, str, str]]


def test_help_on_an_option_lists_its_keys(aeframe: Command) -> None:
    status, out, err = aeframe("--help", "dataset=array")
    assert (status, err) == (0, "")
    said = " ".join(out.split())
    for text in (
        "Your own numbers: a .npy or .npz file.",
        "python train.py dataset=array dataset.path=spectra.npy",
        "dataset.path=null the file; .npy files are memory-mapped [text or null]",
        "[auto, gray, cl, lc, chw, hwc, cdhw, dhwc or flat]",
        "Keys of every dataset:",
        "dataset.shuffle=true a new order of the training samples in each epoch [true or false]",
    ):
        assert text in said
    assert "_target_" not in out


def test_help_on_a_constraint_names_the_bounds_of_its_numbers(aeframe: Command) -> None:
    said = " ".join(aeframe("constraint=topk", "--help")[1].split())
    assert (
        "constraint.topk.k=auto a number or a schedule, e.g. {schedule: linear, start: 100" in said
    )
    assert "[a number (at least 1), a schedule or auto]" in said


def test_help_on_a_key_lists_the_keys_below_it(aeframe: Command) -> None:
    _, out, _ = aeframe("--help", "trainer")
    said = " ".join(out.split())
    assert "trainer.deterministic=false [true, false or warn]" in said
    assert "optimizer.lr" not in out
    _, out, _ = aeframe("--help", "scheduler")
    assert out.startswith("  # null, or any class of torch.optim.lr_scheduler and its arguments.")


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("model=nope", "model=nope: no such option. There are denoising, sparse, "),
        ("nope=array", "--help nope=array: no such group. There are model, constraint, "),
        ("nope", "--help nope: no such key. There are callbacks, checkpoint, constraint, "),
    ],
)
def test_help_on_nothing_is_a_mistake(aeframe: Command, word: str, told: str) -> None:
    status, out, err = aeframe("--help", word)
    assert (status, out) == (2, "")
    assert err.startswith(f"aeframe: {told}")


def test_plain_help_says_where_comments_are(aeframe: Command) -> None:
    _, out, _ = aeframe("--help")
    assert "--help dataset=array" in out
    assert "model=sparse --cfg job               shows all keys and values, no comments" in out


@pytest.mark.parametrize("group", find_groups())
def test_every_key_of_an_option_is_listed(group: str) -> None:
    usual = compose_options({})
    for option, file in find_groups()[group].items():
        keys = {key.name for key in list_keys_of(file, group)}
        node = compose_options({group: [option]}).get(group) or {}
        own = {f"{group}.{key}" for key in node if key not in (usual.get(group) or {})}
        own -= {f"{group}._target_", f"{group}.{option}"}
        assert own <= keys | {f"{key}" for key in own if key.count(".") > 1}, file
    assert {key.name for key in list_keys_of(CONF / "config.yaml", "")} >= {"seed", "dataset"}


@pytest.mark.parametrize(
    ("hint", "told"),
    [
        (Annotated[float, Above(0), AtMost(1)] | None, "a number (above 0 and at most 1) or null"),
        (Literal["a", "b"], "a or b"),
        (bool | Literal["auto"], "true, false or auto"),
        (list[int] | None, "a list of (a whole number) or null"),
        (Scheduled, "a number or a schedule"),
        (str, "text"),
    ],
)
def test_values_are_described(hint: object, told: str) -> None:
    assert describe_values(hint) == told
