"""Searches with Optuna: failed trials are listed, the others go on, and the direction is the metric's."""

from __future__ import annotations

import importlib
import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from aeframe.core.errors import TrainingError, UserError
from aeframe.evaluation.metric_names import find_better
from tests.support.runs import is_installed
from tests.support.sweeps import rows

pytestmark = pytest.mark.skipif(
    not is_installed("hydra_optuna_sweeper"), reason='needs the extra "sweep"'
)
Command = Callable[..., tuple[int, str, str]]
SEARCH = ("-m", "hydra/sweeper=optuna", "hydra.sweeper.n_jobs=1", "hydra.sweep.dir=sweep")
GRID = (*SEARCH, "hydra/sweeper/sampler=grid", "constraint=[]")
DIRECTION = "hydra.sweeper.direction"


@pytest.fixture(autouse=True, scope="module")
def _imported() -> None:
    """Import Optuna first: warnings of other packages are no mistake of ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        importlib.import_module("hydra_plugins.hydra_optuna_sweeper._impl")


@pytest.fixture
def values(monkeypatch: pytest.MonkeyPatch) -> dict[int, float]:
    """The optimized metric of a run of each code size, which is trained in no time; others fail."""
    known: dict[int, float] = {}

    def run(node: Mapping[str, Any], folder: Path, *rest: Any, brief: bool) -> float:
        size, metric = node["model"]["latent_dim"], node["optimized_metric"]
        if size == 64:
            raise UserError("model.latent_dim=64", "is too large")
        if size not in known:
            raise TrainingError("the loss is nan")
        by = {"name": metric, "value": known[size], "direction": find_better(metric)}
        card = {
            "metrics": {"mse": 0.5},
            "validation": {"mse": 0.5},
            "copy_check": {"copied": 0.25, "passed": True},
            "optimized_metric": by,
        }
        (folder / "evaluation.json").write_text(json.dumps(card))
        return known[size]

    monkeypatch.setattr("aeframe.training.run.run", run)
    return known


def best(root: Path) -> str:
    """The value that Optuna took for the best."""
    text = (root / "sweep" / "optimization_results.yaml").read_text()
    return text.rpartition("best_value: ")[2].strip()


def test_failed_and_refused_trials_are_listed_and_the_others_go_on(
    aeframe: Command, tmp_path: Path, values: dict[int, float]
) -> None:
    values |= {8: 0.3, 2: 0.1, 32: float("nan")}
    status, out, err = aeframe(*GRID, "model.latent_dim=64,16,8,2,32")  # refused, fails, done
    assert status == 1, err
    assert "Traceback" not in err + out
    assert "HYDRA" not in out
    assert "5 jobs by val/mse" in out
    found = {row["model.latent_dim"]: row["status"] for row in rows(tmp_path / "sweep")}
    assert found["64"] == "model.latent_dim=64: is too large."
    assert found["16"] == "the loss is nan"
    assert found["8"] == found["2"] == "done"
    assert best(tmp_path) == "0.1"


def test_a_search_of_which_nothing_comes_ends_in_its_table(
    aeframe: Command, values: dict[int, float]
) -> None:
    status, out, err = aeframe(*GRID, "model.latent_dim=16,8")
    assert status == 1, err
    assert "2 jobs by val/mse" in out
    assert "Traceback" not in err
    assert "Best run" not in out


def test_a_failed_trial_is_the_worst_also_of_what_is_maximized(
    aeframe: Command, tmp_path: Path, values: dict[int, float]
) -> None:
    values[8] = -5.0
    words = ("model.latent_dim=16,8", "optimized_metric=val/psnr")
    assert aeframe(*GRID, *words)[0] == 1
    assert best(tmp_path) == "-5.0"


def test_a_sweep_that_breaks_off_shows_its_table(
    aeframe: Command, tmp_path: Path, values: dict[int, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    values |= {8: 0.3, 2: 0.1}

    save = OmegaConf.save

    def broken(config: Any, file: str | Path) -> None:
        if Path(file).name == "optimization_results.yaml":  # the sweeper's own
            raise OSError("no room")
        save(config, file)

    monkeypatch.setattr(OmegaConf, "save", broken)
    with pytest.raises(OSError, match="no room"):
        aeframe(*GRID, "model.latent_dim=8,2")
    assert [row["val/mse"] for row in rows(tmp_path / "sweep")] == ["0.1", "0.3"]


@pytest.mark.parametrize(
    ("metric", "words", "wanted"),
    [
        ("val/psnr", (), "30.0"),
        ("val/psnr", (f"{DIRECTION}=maximize",), "30.0"),
        ("val/mse", (), "10.0"),
        ("val/mse", (f"{DIRECTION}=minimize",), "10.0"),
    ],
)
def test_the_best_is_that_of_the_metric(
    aeframe: Command, tmp_path: Path, values: dict[int, float], metric: str,
    words: tuple[str, ...], wanted: str,
) -> None:  # fmt: skip
    values |= {8: 30.0, 2: 10.0}
    given = (*GRID, "model.latent_dim=8,2", f"optimized_metric={metric}", *words)
    status, _, err = aeframe(*given)
    assert status == 0, err
    assert best(tmp_path) == wanted
    first = rows(tmp_path / "sweep")[0]
    assert float(first[metric]) == float(wanted)


@pytest.mark.parametrize(
    ("metric", "direction", "better"),
    [
        ("val/psnr", "minimize", "larger"),
        ("val/mse", "maximize", "smaller"),
        ("val/mse", "[maximize]", "smaller"),
    ],
)
def test_the_other_direction_is_refused(
    aeframe: Command, tmp_path: Path, metric: str, direction: str, better: str
) -> None:
    given = (*GRID, "model.latent_dim=8,2", f"optimized_metric={metric}")
    status, out, err = aeframe(*given, f"{DIRECTION}={direction}")
    assert (status, out) == (2, "")
    assert err == (
        f"aeframe: {DIRECTION}={direction.strip('[]')}: {metric} is better if it is {better}. "
        f"Leave {DIRECTION} out, or write optimized_metric=METRIC.\n"
    )
    assert not (tmp_path / "sweep").exists()


def test_two_directions_are_refused(aeframe: Command) -> None:
    status, _, err = aeframe(*GRID, "model.latent_dim=8,2", f"{DIRECTION}=[minimize,maximize]")
    assert status == 2
    assert "a run returns one metric" in err


def test_all_trials_optimize_one_metric(
    aeframe: Command, tmp_path: Path, values: dict[int, float]
) -> None:
    values[8] = 0.5  # variational alone would optimize val/negative_elbo
    status, out, err = aeframe(*GRID, "model=denoising,variational", "model.latent_dim=8")
    assert status == 0, err
    assert "2 jobs by val/mse" in out
    other = (*GRID, "model.latent_dim=8", "optimized_metric=val/mse,val/psnr")
    status, out, err = aeframe(*other, "hydra.sweep.dir=other")
    assert status == 1, err
    assert "val/psnr is better if it is larger" in err
