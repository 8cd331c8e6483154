"""A run's folder from a stranger makes no package a plug-in."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import aeframe as api
from aeframe.core.errors import UserError
from tests.support.runs import contents

Command = Callable[..., tuple[int, str, str]]
NAME = "undeclared_parts"
TARGET = f"{NAME}.parts.Halving"


def write_package(folder: Path) -> None:
    """A package that says when it is imported."""
    place = folder / NAME
    (place / "conf" / "constraint").mkdir(parents=True)
    owned = f"from pathlib import Path\nPath({str(folder / 'owned')!r}).touch()\n"
    for name in ("__init__", "parts"):
        (place / f"{name}.py").write_text(owned)
    (place / "conf" / "constraint" / "evil.yaml").write_text(f"_target_: {TARGET}\n")


@pytest.fixture
def undeclared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that is installed and is not declared as a plug-in."""
    site = tmp_path / "site"
    write_package(site)
    (site / f"{NAME}-1.0.dist-info").mkdir()
    (site / f"{NAME}-1.0.dist-info" / "entry_points.txt").write_text("[x]\ny = z\n")
    monkeypatch.syspath_prepend(str(site))
    return site


def change(folder: Path, **nodes: Any) -> None:
    """Let the checkpoints of a run have other nodes in their configuration."""
    for file in (folder / "checkpoints").glob("*.ckpt"):
        state = torch.load(file, weights_only=True)
        state["hyper_parameters"].update(nodes)
        torch.save(state, file)


@pytest.mark.parametrize(
    "node",
    [
        {"constraint": {"x": {"_target_": TARGET}}},
        {"model": {"_target_": TARGET, "latent_dim": 8}},
        {"network": {"_target_": TARGET}},
        {"likelihood": {"_target_": TARGET}},
        {"dataset": {"_target_": TARGET}},
        {"optimizer": {"_target_": TARGET, "lr": 0.1}},
        {"scheduler": {"_target_": TARGET}},
    ],
    ids=lambda node: next(iter(node)),
)
def test_an_installed_package_is_not_imported_unless_declared(
    aeframe: Command, begun: Path, undeclared: Path, node: dict[str, Any]
) -> None:
    change(begun, **node)
    status, _, err = aeframe("resume=run")
    assert status == 2
    assert f"needs the plug-in {NAME}, which is neither installed nor named" in err
    if node.keys() <= {"constraint", "model", "network", "likelihood"}:
        (begun / "model.safetensors").unlink(missing_ok=True)
        with pytest.raises(UserError, match=f"needs the plug-in {NAME}.*--plugin {NAME}"):
            api.load(begun)
    assert not (undeclared / "owned").exists()
    assert NAME not in sys.modules


@pytest.mark.parametrize("key", ["plugins", "plugin", "--plugin", "hydra"])
def test_a_configuration_names_no_plugin(
    aeframe: Command, begun: Path, undeclared: Path, key: str
) -> None:
    change(begun, **{key: [NAME]}, constraint={"x": {"_target_": TARGET}})
    for name in ("config", "hydra", "overrides"):
        said = (
            [f"--plugin={NAME}"]
            if name == "overrides"
            else {key: [NAME], "argv": ["--plugin", NAME]}
        )
        (begun / ".hydra" / f"{name}.yaml").write_text(yaml.safe_dump(said))
    status, _, err = aeframe("resume=run")
    assert status == 2
    assert f"needs the plug-in {NAME}" in err
    assert not (undeclared / "owned").exists()


def test_packages_and_options_in_a_run_are_only_files(
    aeframe: Command, begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_package(begun)
    (begun / NAME / "conf").rename(begun / "conf")
    (begun / f"{NAME}.dist-info").mkdir()
    declared = f"[aeframe.plugins]\nevil = {NAME}\n"
    (begun / f"{NAME}.dist-info" / "entry_points.txt").write_text(declared)
    before = contents(begun)
    monkeypatch.setattr(sys, "path", ["", str(begun), *sys.path])  # as python -m has it there
    monkeypatch.setattr("os.path.abspath", lambda path: str(begun))
    from aeframe.config.plugins import list_plugins

    assert list_plugins() == []
    monkeypatch.undo()
    status, out, _ = aeframe("--help")
    assert status == 0
    assert "evil" not in out
    assert "constraint=evil: no such option" in aeframe("constraint=evil")[2]
    change(begun, constraint={"x": {"_target_": TARGET}})
    assert f"needs the plug-in {NAME}" in aeframe("resume=run")[2]
    assert contents(begun).keys() - {"train.log", ".lock"} == before.keys() - {"train.log", ".lock"}
    assert not (begun / "owned").exists()
