"""Commands and examples of the pages for users: README.md, conf/README.md, aeframe/README.md."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from sklearn.datasets import load_digits

from aeframe import load
from aeframe.cli.command_line import parse
from aeframe.config.check import check
from aeframe.config.composition import CONF
from aeframe.config.plugins import use_plugins
from aeframe.config.targets import resolve
from aeframe.core.schedules import Clock
from aeframe.models import Code
from tests.support.idx_files import write_idx
from tests.support.pages import COMMANDS, PAGES, ROOT, blocks, commands, jobs, overrides, sections
from tests.support.runs import TINY

FRONT, CONFIGURATION, PACKAGE = "README.md", "conf/README.md", "aeframe/README.md"
OWN_DATA, WORK = "Your own data in ten minutes", "Put it to work"
TRAINED = {(FRONT, heading) for heading in sections(FRONT) if heading != OWN_DATA}
TRAINED |= {(PACKAGE, "Compress"), (CONFIGURATION, "Resume"), (CONFIGURATION, "Targets")}
"""Sections whose commands train; those of other sections differ from them in options alone."""
ANSWERED = {"--help", "--cfg"}
OWN_PARTS = "halving"


def words_of(command: tuple[str, ...]) -> str:
    return shlex.join(command) or "nothing"


TRAINING: list[tuple[str, ...]] = []
COMPOSED: list[tuple[str, ...]] = []
for each in COMMANDS:
    found = overrides(each)
    if found is None or OWN_PARTS in each.written or found in (*TRAINING, *COMPOSED):
        continue
    (TRAINING if (each.page, each.section) in TRAINED else COMPOSED).append(found)


@pytest.fixture
def own_data(tmp_path: Path) -> None:
    """Make what the reader has: photographs, spectra, pairs and MNIST."""
    generator = np.random.default_rng(0)
    for folder, pixels in {"photos": 40, "noisy": 32, "clean": 32}.items():
        (tmp_path / folder).mkdir()
        for i in range(12):
            image = generator.integers(0, 255, size=(pixels, 30, 3), dtype=np.uint8)
            Image.fromarray(image).save(tmp_path / folder / f"{i}.png")
    for name in ("spectra", "noisy", "clean", "layer_in", "layer_out"):
        np.save(tmp_path / f"{name}.npy", generator.normal(size=(40, 50)))
    (tmp_path / "acts").mkdir()
    np.save(tmp_path / "acts" / "0.npy", generator.normal(size=(40, 50)))
    for name in ("in", "out"):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "0.npy", generator.normal(size=(40, 50)))
    rows = "".join(f"{i / 8},{i * i},{'ab'[i % 2]}\n" for i in range(40))
    (tmp_path / "people.csv").write_text(f"age,height,species\n{rows}")
    steps = "".join(f"{i},{i % 7},{i % 5}\n" for i in range(400))
    (tmp_path / "sensors.csv").write_text(f"timestamp,temperature,pressure\n{steps}")
    write_idx(tmp_path / "data" / "MNIST" / "raw")


def test_there_are_commands_to_run() -> None:
    assert len(TRAINING) >= 13
    assert len(COMPOSED) >= 25


@pytest.mark.usefixtures("own_data")
@pytest.mark.parametrize("words", TRAINING, ids=words_of)
def test_a_command_works(
    aeframe: Callable[..., Any], tmp_path: Path, words: tuple[str, ...]
) -> None:
    if words and words[0].startswith("resume="):  # of a run that did not come to its end
        run = words[0].removeprefix("resume=")
        assert aeframe(*TINY, f"hydra.run.dir={run}")[0] == 0
        (tmp_path / run / "evaluation.json").unlink()
        status, out, err = aeframe(*words)
        assert status == 0, err
        assert "Resuming at step 2 (epoch " in out
        return
    if ANSWERED & set(words):
        status, out, err = aeframe(*words)
        assert (status, err) == (0, "")
        assert out
        return
    status, out, err = aeframe(*words, *TINY)
    assert status == 0, err
    # where a sweep trades the error for a cheaper code, it says that there is no best
    ends = ("Best run:", "No best run:") if "-m" in words else ("Run folder:",)
    assert any(end in out for end in ends)


@pytest.mark.usefixtures("own_data")
@pytest.mark.parametrize("words", COMPOSED, ids=words_of)
def test_a_command_is_a_configuration_without_mistakes(
    aeframe: Callable[..., Any],
    compose: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    words: tuple[str, ...],
) -> None:
    monkeypatch.chdir(tmp_path)
    for word in words:
        if word.startswith("dataset.run="):
            run = tmp_path / word.removeprefix("dataset.run=")
            shutil.copytree(request.getfixturevalue("trained"), run)
    if ANSWERED & set(words):
        status, out, err = aeframe(*words)
        assert (status, err) == (0, "")
        assert out
        return
    for job in jobs(words):
        check(compose(*parse(job).overrides))


def test_the_shown_mistakes_are_those_that_are_made(aeframe: Callable[..., Any]) -> None:
    shown = next(b for b in blocks(CONFIGURATION, "text") if b.startswith("$ "))
    command, *expected = shown.splitlines()
    status, _, err = aeframe(*shlex.split(command)[3:])
    assert status == 2
    assert err.splitlines() == expected


def test_the_shown_result_is_what_a_run_ends_with(aeframe: Callable[..., Any]) -> None:
    def letters(text: str) -> list[str]:
        return [re.sub(r"[^A-Za-z]", "", line) for line in text.splitlines()]

    (shown,) = blocks(FRONT, "text")
    status, out, _ = aeframe(*(word.replace("epochs=1", "epochs=2") for word in TINY))
    assert status == 0
    assert set(letters(shown)) <= set(letters(out))


@pytest.fixture
def own_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Put the page's classes and files where it says that they lie; the classes' modules."""
    code = next(block for block in blocks(PACKAGE, "python") if "class Halving" in block)
    imports, *classes = re.split(r"# (my_package/\w+)\.py\n", code)
    names = []
    for path, text in zip(classes[::2], classes[1::2], strict=True):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / f"{path}.py").write_text(f"{imports}\n{text}")
        names.append(path.replace("/", "."))
    (tmp_path / "my_package" / "__init__.py").touch()
    (files,) = blocks(PACKAGE, "yaml")
    for text in files.split("--- "):
        place = re.search(r"# (my_package/conf/\S+\.yaml)", text)
        first = re.search(r"first line is: (# @package \S+)", text)
        assert place
        file = tmp_path / place[1]
        file.parent.mkdir(parents=True)
        file.write_text(f"{first[1] if first else ''}\n{text}")
    monkeypatch.chdir(tmp_path)
    yield names
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_package"]:
        del sys.modules[name]


def test_own_parts_train(aeframe: Callable[..., Any], own_parts: list[str], tmp_path: Path) -> None:
    (command,) = (c for c in commands(PACKAGE) if "model=bounded" in c.written)
    words = command.words[2:]
    status, out, err = aeframe(*words, *TINY, "hydra.run.dir=run")
    assert (status, err) == (0, "")
    assert "Bounded autoencoder with bottleneck + halving" in out
    assert "Waves" in out
    node = load(tmp_path / "run", plugins=["my_package"]).config
    groups = ("model", "network", "likelihood", "dataset")
    names = [*(node[g]["_target_"] for g in groups), node["constraint"]["halving"]["_target_"]]
    assert {name.rpartition(".")[0] for name in names} == set(own_parts)


def test_a_package_is_made_as_shown(
    aeframe: Callable[..., Any],
    verb: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown = [c.words for c in commands(PACKAGE) if c.section == "Add your own part"]
    plugin, enter, part, check, trained = shown[:5]
    assert (enter, check) == (("cd", "my_package"), ("python", "-m", "pytest"))
    assert verb(*plugin[1:])[0] == 0
    with monkeypatch.context() as inside:
        inside.setattr(Path, "cwd", classmethod(lambda cls: tmp_path / "my_package"))
        assert verb(*part[1:])[0] == 0
    assert trained[:2] == ("aeframe", "train")
    status, out, err = aeframe(*trained[2:], *TINY)
    assert (status, err) == (0, "")
    assert "Undercomplete autoencoder with halving" in out
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_package"]:
        del sys.modules[name]


def _make(own_parts: list[str], target: str) -> Any:
    """Make a part of the page."""
    assert target.rpartition(".")[0] in own_parts
    with use_plugins(["my_package"]):
        return resolve(target)()


def test_the_weaker_half_rests(own_parts: list[str]) -> None:
    halving = _make(own_parts, "my_package.halving.Halving")
    value = torch.tensor([[1.0, 2.0, 3.0, 4.0], [-4.0, -3.0, -2.0, -1.0]])
    constrained = halving.constrain(Code(value), Clock(0, 0.0)).value
    assert constrained.tolist() == [[0, 0, 3, 4], [0, 0, -2, -1]]


def test_the_shown_likelihood_is_a_density(own_parts: list[str]) -> None:
    laplace = _make(own_parts, "my_package.laplace.Laplace")
    x = torch.linspace(-20, 20, 40001, dtype=torch.float64)
    density = torch.exp(-laplace.nll(torch.full_like(x, 0.5), x))
    assert torch.trapezoid(density, x).item() == pytest.approx(1, abs=1e-6)


@pytest.fixture
def pictures(tmp_path: Path) -> np.ndarray:
    """Write digits as picture files where the pages have them."""
    digits = load_digits().images.astype(np.uint8)[:120] * 15
    for folder in ("my_images", "images"):
        (tmp_path / folder).mkdir()
        for number, digit in enumerate(digits):
            Image.fromarray(digit).save(tmp_path / folder / f"{number:03}.png")
    return digits[:, None]


def verbs(page: str, section: str) -> list[tuple[str, ...]]:
    """The uses of a trained network that a section shows."""
    found = [c.words for c in commands(page) if c.section == section and c.words[0] == "aeframe"]
    assert len(found) >= 2
    return found


IMAGES = (
    *("dataset=image_folder", "dataset.size=8", "dataset.color=gray"),
    *("trainer.max_epochs=1", "dashboard.images=0"),
)


@pytest.mark.usefixtures("own_data")
def test_own_photographs_are_learned_and_put_to_work(
    aeframe: Callable[..., Any], verb: Callable[..., Any], tmp_path: Path
) -> None:
    # one after the other, as they stand there
    for command in (c for c in commands(FRONT) if c.section == OWN_DATA):
        if (words := overrides(command)) is not None:
            status, out, err = aeframe(*words, *TINY)
            assert "Run folder:" in out
        elif command.words[0] == "aeframe":
            status, _, err = verb(*command.words[1:])
        else:
            continue
        assert status == 0, (command, err)
    assert len(list((tmp_path / "restored").iterdir())) == 12
    assert len((tmp_path / "scores.csv").read_text().splitlines()) == 13


def test_a_trained_network_is_put_to_work(
    aeframe: Callable[..., Any], verb: Callable[..., Any], pictures: np.ndarray, tmp_path: Path
) -> None:
    words = (*IMAGES, "dataset.root=my_images", "model=variational", "evaluation.images=32")
    assert aeframe(*words, "hydra.run.dir=outputs/DAY/RUN")[0] == 0
    for page, section in ((FRONT, WORK), (PACKAGE, "Use a trained network")):
        code = next(block for block in blocks(page, "python") if "aeframe.load(" in block)
        names: dict[str, Any] = {"images": pictures}
        exec(code, names)
        assert names["codes"].shape == (120, 16)
        assert names["images"].shape == (120, 1, 8, 8)
        assert names["scores"].shape == (120,)
        for command in verbs(page, section):
            status, _, err = verb(*command[1:])
            assert status == 0, (command, err)
        assert np.load(tmp_path / "codes.npy").shape == (120, 16)
        for made in ("codes.npy", "decoded", "encoder", "grid.png"):  # by either page
            place = tmp_path / made
            shutil.rmtree(place) if place.is_dir() else place.unlink()
    assert len(list((tmp_path / "restored").iterdir())) == 120


def test_training_from_python(
    pictures: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code = next(block for block in blocks(PACKAGE, "python") if "aeframe.sweep" in block)
    names: dict[str, Any] = {"x": pictures}
    exec(code, names)
    assert names["codes"].shape == (120, 64)
    assert len(names["runs"]) == 4
    assert names["earlier"].metrics == names["run"].metrics
    assert "reconstructions" in names["pictures"]
    assert "train/mse" in names["curves"]


def test_the_transformer_gives_codes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code = next(block for block in blocks(PACKAGE, "python") if "AutoencoderTransformer" in block)
    names: dict[str, Any] = {"table": load_digits().data[:100]}
    exec(code, names)
    assert ((names["codes"] > 0).sum(1) <= 5).all()


@pytest.mark.usefixtures("pictures")
def test_compressed_files_are_made_and_read(
    aeframe: Callable[..., Any], verb: Callable[..., Any], tmp_path: Path
) -> None:
    words = (*IMAGES, "dataset.root=images", "constraint=rate", "evaluation.images=32")
    assert aeframe(*words, "hydra.run.dir=outputs/digits")[0] == 0
    for command in verbs(PACKAGE, "Compress"):
        status, _, err = verb(*(word for word in command[1:] if word != "RUN..."))
        assert status == 0, (command, err)
    assert len(list((tmp_path / "restored").iterdir())) == 120
    assert (tmp_path / "rd" / "rd.json").exists()


@pytest.mark.parametrize("group", [f.name for f in CONF.iterdir() if f.is_dir()])
def test_the_tables_name_what_there_is(group: str) -> None:
    heading = next(name for name in sections(CONFIGURATION) if group in name.split(" "))
    for file in (CONF / group).glob("*.yaml"):
        named = (f"`{file.stem}`", f"`{group}={file.stem}`")
        assert any(name in sections(CONFIGURATION)[heading] for name in named), file


def test_the_table_of_constraints_names_their_keys() -> None:
    rows = re.findall(r"^\|[^|]*\| `(\w+)` \|[^|]*\|(.*)\|$", PAGES[CONFIGURATION], re.MULTILINE)
    named = {option: set(re.findall(r"`(\w+)`", keys)) for option, keys in rows}
    for file in (CONF / "constraint").glob("*.yaml"):
        keys = set(yaml.safe_load(file.read_text())) - {"_target_", "relative"}
        assert named[file.stem] == keys, file


def test_the_first_page_is_short() -> None:
    assert len(PAGES[FRONT].splitlines()) <= 130
    assert len(PAGES[FRONT].split()) <= 1300


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", PAGES[page]):
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.+)$", target.read_text("utf-8"), re.MULTILINE)
            anchors = [re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in headings]
            assert anchor in anchors, link
