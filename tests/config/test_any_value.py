"""Whatever stands behind a key: the check accepts it or names it, and never breaks."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from aeframe.config.check import check
from aeframe.core.errors import ConfigError

Path = tuple[Any, ...]
STEP_LR = "scheduler={_target_: torch.optim.lr_scheduler.StepLR, step_size: 1, interval: epoch}"
BASES = [
    ["model=sparse", "constraint=[masking,jump_relu,resampling]", STEP_LR],
    ["model=variational", "dataset=array"],
    ["model=denoising", "dataset=image_folder", "network=conv"],
    ["model=sparse", "constraint=winner_take_all", "hardware=ddp"],
]
MISSING = object()
VALUES: list[Any] = [
    *(None, -1, 0, 1.5, 10**30, float("inf"), float("nan"), True, "abc", "", "???"),
    *([], [1, 2], ["x"], {}, {"a": 1}, {"_target_": "os.system"}),
    {"schedule": "linear", "start": 1, "end": 0, "epochs": 1},
]


def places(node: dict[Any, Any], path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Every key, with what stands behind it."""
    for key, value in node.items():
        yield (*path, key), repr(value)
        if isinstance(value, dict):
            yield from places(value, (*path, key))


def changed(node: dict[Any, Any], path: Path, value: Any) -> dict[Any, Any]:
    new: dict[Any, Any] = pickle.loads(
        pickle.dumps(node)
    )  # as deepcopy() makes, in a third of its time
    inner = new
    for key in path[:-1]:
        inner = inner[key]
    if value is MISSING:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return new


@pytest.mark.parametrize("number", range(len(BASES)), ids=[" ".join(base) for base in BASES])
def test_any_value_is_accepted_or_named(compose: Callable[..., DictConfig], number: int) -> None:
    plain, *others = (
        OmegaConf.to_container(compose(*base), resolve=True) for base in BASES[number::-1]
    )
    assert isinstance(plain, dict)
    tried = {place for other in others for place in places(other)}  # type: ignore[arg-type]
    left = [path for path, value in places(plain) if (path, value) not in tried]
    assert left
    for path in left:
        for value in [*VALUES, MISSING]:
            cfg = changed(plain, path, value)
            try:
                check(cfg)
            except ConfigError as error:
                assert str(error)  # noqa: PT017
            except Exception as error:
                pytest.fail(
                    f"{'.'.join(map(str, path))}={value!r}: {type(error).__name__}: {error}"
                )
