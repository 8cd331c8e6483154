"""The README's commands and examples do what it says."""

from __future__ import annotations

import re
import shlex
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from aeframe import load
from aeframe.config.check import check
from aeframe.config.composition import CONF
from aeframe.core.schedules import Clock
from aeframe.models.autoencoder import Code
from tests.conftest import TINY
from tests.test_data import write_idx

README = (Path(__file__).parent.parent / "README.md").read_text()
COMMANDS = [
    line.removeprefix("python train.py").strip()
    for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line.startswith("python train.py")
]
ELSEWHERE = ("hardware=gpu", "hardware=ddp", "hardware=ddp_cpu")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def own_data(tmp_path: Path) -> None:
    """What the README's reader has: photographs, spectra and MNIST."""
    generator = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for i in range(12):
        pixels = generator.integers(0, 255, size=(40, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{i}.png")
    np.save(tmp_path / "spectra.npy", generator.normal(size=(40, 50)))
    write_idx(tmp_path / "data" / "MNIST" / "raw")


def test_there_are_commands_to_run() -> None:
    assert len(COMMANDS) >= 13


@pytest.mark.usefixtures("own_data")
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_works(
    aeframe: Callable[..., Any], compose: Callable[..., Any], tmp_path: Path, command: str
) -> None:
    words = shlex.split(command, comments=True)
    if words and words[0].startswith("resume="):  # of a run that did not come to its end
        assert aeframe(*TINY, f"hydra.run.dir={words[0].removeprefix('resume=')}")[0] == 0
        (tmp_path / "outputs" / "mine" / "evaluation.json").unlink()
        status, out, err = aeframe(*words)
        assert status == 0, err
        assert "It goes on after 2 steps" in out
        return
    if words and words[0] in ELSEWHERE:  # needs other machines; test_hardware.py runs ddp_cpu
        check(compose(*words))
        return
    status, out, err = aeframe(*words, *TINY)
    assert status == 0, err
    # where a sweep trades the error for a cheaper code, it says that there is no best
    ends = (
        ("Best run:", "No best run:")
        if {"-m"} & set(words) or "sweep" in command
        else ("Run folder:",)
    )
    assert any(end in out for end in ends)


def test_the_shown_mistakes_are_those_that_are_made(aeframe: Callable[..., Any]) -> None:
    shown = next(b for b in blocks("text") if b.startswith("$ "))
    command, *expected = shown.splitlines()
    status, _, err = aeframe(*shlex.split(command)[3:])
    assert status == 2
    assert err.splitlines() == expected


@pytest.fixture
def own_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The README's own classes and files, where it says that they lie; the classes' modules."""
    code = next(block for block in blocks("python") if "class Halving" in block)
    imports, *classes = re.split(r"# (aeframe/\w+/\w+)\.py\n", code)
    names = []
    for path, text in zip(classes[::2], classes[1::2], strict=True):
        module = types.ModuleType(path.replace("/", "."))
        exec(f"{imports}\n{text}", vars(module))
        monkeypatch.setitem(sys.modules, module.__name__, module)
        names.append(module.__name__)
    (files,) = blocks("yaml")
    for text in files.split("--- "):
        place = re.search(r"# conf/(\S+\.yaml)", text)
        first = re.search(r"first line is: (# @package \S+)", text)
        assert place
        file = tmp_path / "own" / place[1]
        file.parent.mkdir(parents=True)
        file.write_text(f"{first[1] if first else ''}\n{text}")
    return names


def test_own_parts_train(aeframe: Callable[..., Any], own_parts: list[str], tmp_path: Path) -> None:
    command = next(c for c in re.findall(r"`python train.py ([^`]*)`", README) if "waves" in c)
    status, out, err = aeframe(*command.split(), "--config-dir", "own", *TINY, "hydra.run.dir=run")
    assert (status, err) == (0, "")
    assert "Bounded autoencoder with bottleneck + halving" in out
    assert "Waves" in out
    node = load(tmp_path / "run").config
    (names,) = [[node[g]["_target_"] for g in ("model", "dataset")]]
    halving = node["constraint"]["halving"]["_target_"]
    assert {name.rpartition(".")[0] for name in (*names, halving)} == set(own_parts)


def test_the_weaker_half_rests(own_parts: list[str]) -> None:
    halving = vars(sys.modules["aeframe.constraints.halving"])["Halving"]()
    value = torch.tensor([[1.0, 2.0, 3.0, 4.0], [-4.0, -3.0, -2.0, -1.0]])
    constrained = halving.constrain(Code(value), Clock(0, 0.0)).value
    assert constrained.tolist() == [[0, 0, 3, 4], [0, 0, -2, -1]]


@pytest.fixture
def pictures(tmp_path: Path) -> np.ndarray:
    """Digits as picture files where the README has them."""
    digits = load_digits().images.astype(np.uint8)[:120] * 15
    for folder in ("my_images", "images"):
        (tmp_path / folder).mkdir()
        for number, digit in enumerate(digits):
            Image.fromarray(digit).save(tmp_path / folder / f"{number:03}.png")
    return digits[:, None]


def verbs(section: str) -> list[list[str]]:
    """The commands of a section."""
    part = README.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    lines = "".join(re.findall(r"```bash\n(.*?)```", part, re.DOTALL)).splitlines()
    found = [shlex.split(line, comments=True) for line in lines if line.startswith("aeframe ")]
    assert len(found) >= 5
    return found


IMAGES = ("dataset=image_folder", "dataset.size=8", "dataset.color=gray", "trainer.max_epochs=1")


def test_a_trained_network_is_put_to_work(
    aeframe: Callable[..., Any], verb: Callable[..., Any], pictures: np.ndarray, tmp_path: Path
) -> None:
    words = (*IMAGES, "dataset.root=my_images", "model=variational", "evaluation.images=32")
    assert aeframe(*words, "hydra.run.dir=outputs/DAY/RUN")[0] == 0
    code = next(block for block in blocks("python") if "import aeframe" in block)
    names: dict[str, Any] = {"images": pictures}
    exec(code, names)
    assert names["codes"].shape == (120, 16)
    assert names["images"].shape == (120, 1, 8, 8)
    assert names["scores"].shape == (120,)
    for command in verbs("Put to work"):
        status, _, err = verb(*command[1:])
        assert status == 0, (command, err)
    assert np.load(tmp_path / "codes.npy").shape == (120, 16)
    assert len(list((tmp_path / "restored").iterdir())) == 120


@pytest.mark.usefixtures("pictures")
def test_compressed_files_are_made_and_read(
    aeframe: Callable[..., Any], verb: Callable[..., Any], tmp_path: Path
) -> None:
    words = (*IMAGES, "dataset.root=images", "constraint=rate", "evaluation.images=32")
    assert aeframe(*words, "hydra.run.dir=outputs/digits")[0] == 0
    for command in verbs("Compress"):
        status, _, err = verb(*(word for word in command[1:] if word != "RUN..."))
        assert status == 0, (command, err)
    assert len(list((tmp_path / "restored").iterdir())) == 120
    assert (tmp_path / "rd" / "rd.json").exists()


def test_the_tables_name_what_there_is() -> None:
    for group in ("model", "network", "likelihood", "dataset", "constraint", "hardware"):
        for file in (CONF / group).glob("*.yaml"):
            assert f"`{file.stem}`" in README, f"{group}={file.stem}"
