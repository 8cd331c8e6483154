"""The wheel: it holds all that is needed, and trains where no checkout is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from aeframe import __version__

ROOT = Path(__file__).parent.parent
LIMIT = 120  # seconds, several times what a command takes


def run(*argv: str | Path, cwd: Path, **environment: str) -> str:
    """Return the output of this command, which must end well. No index, no user settings: no network."""
    offline = {"PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", **environment}
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "HYDRA_FULL_ERROR")}
    done = subprocess.run(
        [str(word) for word in argv],
        cwd=cwd,
        env={**kept, **offline},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the checkout: what a build leaves behind stays out of it."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in ("pyproject.toml", "README.md", "LICENSE", "train.py"):
        shutil.copy(ROOT / name, copy)
    for name in ("aeframe", "conf"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", cwd=copy)
    (built,) = (copy / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the wheel is installed in, beside nothing else."""
    folder = tmp_path_factory.mktemp("installed")
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index")
    run(*pip, "--target", folder, wheel, cwd=folder)
    return folder


def test_every_package_is_listed() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = (file.parent.relative_to(ROOT) for file in ROOT.glob("aeframe/**/__init__.py"))
    found = {".".join(folder.parts) for folder in folders}
    assert {"aeframe", "aeframe.models"} <= found
    assert set(listed) == found | {"aeframe.conf"}
    assert len(listed) == len(set(listed))


def test_no_module_lies_outside_of_a_package() -> None:
    # such a file imports well in a checkout and is missing in the wheel
    for file in ROOT.glob("aeframe/**/*.py"):
        assert (file.parent / "__init__.py").is_file(), file


def test_the_wheel_holds_every_module_and_every_yaml_and_nothing_else(wheel: Path) -> None:
    expected = {
        file.relative_to(ROOT).as_posix(): file.read_bytes()
        for file in ROOT.glob("aeframe/**/*.py")
    }
    configuration = {
        f"aeframe/{file.relative_to(ROOT).as_posix()}": file.read_bytes()
        for file in ROOT.glob("conf/**/*.yaml")
    }
    assert "aeframe/conf/config.yaml" in configuration
    expected |= configuration
    with zipfile.ZipFile(wheel) as opened:
        names = {name for name in opened.namelist() if ".dist-info/" not in name}
        assert names == {*expected, "aeframe/py.typed"}
        assert all(opened.read(name) == content for name, content in expected.items())


def test_the_wheel_says_its_version_license_and_command(wheel: Path) -> None:
    assert wheel.name == f"aeframe-{__version__}-py3-none-any.whl"
    info = f"aeframe-{__version__}.dist-info"
    with zipfile.ZipFile(wheel) as opened:
        metadata = opened.read(f"{info}/METADATA").decode()
        commands = opened.read(f"{info}/entry_points.txt").decode()
        assert f"{info}/licenses/LICENSE" in opened.namelist()
    assert "License-Expression: MIT" in metadata
    assert "aeframe = aeframe.cli.main:main" in commands


USE = """\
import aeframe

model = aeframe.load("run")
reveal_type(model.shape)
model.latent_dim + "units"
"""


def test_the_type_checker_of_a_user_sees_our_hints(installed: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    (site,) = (tmp_path / "venv" / "lib").glob("*/site-packages")
    (site / "installed.pth").write_text(f"{installed}\n")
    (tmp_path / "use.py").write_text(USE)
    command = [sys.executable, "-m", "mypy", "--python-executable", python, "use.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    said = done.stdout.splitlines()
    assert said[0] == 'use.py:4: note: Revealed type is "tuple[int, ...]"'
    assert said[1].startswith("use.py:5: error: Unsupported operand types")
    assert len(said) == 3


def test_the_installed_command_trains_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    # the checkout that this environment may have installed must not be what answers
    command, path = installed / "bin" / "aeframe", {"PYTHONPATH": str(installed)}
    where = "import aeframe.config.composition as l; print(l.__file__); print(l.CONF)"
    lines = run(sys.executable, "-P", "-c", where, cwd=tmp_path, **path).splitlines()
    assert lines == [
        str(installed / "aeframe" / "config" / "composition.py"),
        str(installed / "aeframe" / "conf"),
    ]

    version = run(sys.executable, command, "--version", cwd=tmp_path, **path)
    assert version == f"aeframe {__version__}\n"
    out = run(sys.executable, command, "train", "debug=fast", cwd=tmp_path, **path)
    assert out.startswith("Undercomplete autoencoder with bottleneck")
    assert [file.name for file in tmp_path.iterdir()] == ["outputs"]
    (folder,) = (tmp_path / "outputs").glob("*/*")
    shown = folder.relative_to(tmp_path)
    assert f"TensorBoard:  tensorboard --logdir {shown}" in out.splitlines()
    assert (
        out.splitlines()[-1] == f"Train longer: aeframe train resume={shown} trainer.max_epochs=2"
    )
    assert (folder / "evaluation.json").is_file()
    assert (folder / "checkpoints" / "best.ckpt").is_file()
    # what Hydra read was the installed configuration
    sources = OmegaConf.load(folder / ".hydra" / "hydra.yaml").hydra.runtime.config_sources
    paths = [source.path for source in sources if source.provider == "main"]
    assert paths == [str(installed / "aeframe" / "conf")]
