"""The files around the project say what is so."""

from __future__ import annotations

import datetime
import inspect
import os
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.specifiers import SpecifierSet

import aeframe
from aeframe import codec, estimators
from aeframe.constraints.constraint import Constraint
from aeframe.data import DataModule
from aeframe.models.autoencoder import Autoencoder
from aeframe.models.likelihoods import Likelihood
from aeframe.networks import Network

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def read(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text())


def test_the_citation_is_of_this_version() -> None:
    citation = read("CITATION.cff")
    # what https://citation-file-format.github.io demands of a file
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert (citation["cff-version"], citation["type"]) == ("1.2.0", "software")
    assert all("name" in author or "family-names" in author for author in citation["authors"])
    assert str(citation["version"]) == aeframe.__version__
    assert citation["license"] == PROJECT["license"]


def test_the_changelog_has_this_version_first() -> None:
    heads = re.findall(r"^## \[(.+?)\] - (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert heads[0][0] == aeframe.__version__
    for _, date in heads:
        assert date == "unreleased" or datetime.date.fromisoformat(date)


def test_commits_are_checked_by_the_tools_of_the_development_environment() -> None:
    hooks = [hook for repo in read(".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]]
    tools = {hook["entry"].split()[0] for hook in hooks}
    assert tools == {"ruff", "mypy"}
    assert all(hook["language"] == "system" for hook in hooks)
    needed = {re.split(r"[<>=\[]", name)[0] for name in PROJECT["optional-dependencies"]["dev"]}
    assert tools <= needed


def test_the_workflow_runs_on_each_python_that_is_allowed() -> None:
    (job,) = read(".github/workflows/ci.yml")["jobs"].values()
    allowed = SpecifierSet(PROJECT["requires-python"])
    wanted = [f"3.{minor}" for minor in range(30) if allowed.contains(f"3.{minor}")]
    assert job["strategy"]["matrix"]["python"] == wanted
    script = job["steps"][-1]["run"]
    assert os.access(ROOT / script, os.X_OK)
    assert all(tool in (ROOT / script).read_text() for tool in ("ruff", "mypy", "pytest"))


@pytest.mark.parametrize(
    "part",
    [aeframe.load, aeframe.Model, codec.Codec, codec.calibrate, codec.load, codec.save,
     estimators.AutoencoderTransformer, Autoencoder, Constraint, DataModule, Likelihood, Network],
    ids=lambda part: part.__name__,
)  # fmt: skip
def test_public_names_are_explained(part: Any) -> None:
    assert inspect.getdoc(part)
    for name, value in vars(part).items() if inspect.isclass(part) else ():
        own = callable(value) or isinstance(value, property | classmethod)
        if own and not name.startswith("_"):
            assert inspect.getdoc(getattr(part, name)), f"{part.__name__}.{name}"


def test_docstrings_of_loaded_objects_say_shapes_and_errors() -> None:
    for part, words in (
        (aeframe.load, ("model.shape", "latent_dim", "UserError", "batch_size", "device")),
        (aeframe.Model, ("[N, *shape]", "[N, latent_dim]", "UserError")),
        (aeframe.Model.score, ("[N]", "normalized", "mse")),
        (codec.Codec.encode, ("int32 [N, m]", "[N, *shape]")),
    ):
        text = inspect.getdoc(part)
        assert text is not None
        assert all(word in text for word in words), part


def test_the_tests_run_with_every_extra() -> None:
    """Some break what others need: the suite once failed wherever the extra `sweep` was installed."""
    installed = re.search(r'-e "\.\[(.+)\]"', (ROOT / ".ci" / "run").read_text())
    assert installed is not None
    extras = PROJECT["optional-dependencies"]
    brought = re.findall(r"aeframe\[(.+)\]", extras["dev"][0])[0]
    assert {*installed[1].split(","), *brought.split(",")} == set(extras)
