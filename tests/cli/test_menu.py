"""Options to choose, as --help and each file's header list them, and their effects."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import DictConfig, OmegaConf

from aeframe.cli.command_line import parse
from aeframe.cli.completion import list_completions
from aeframe.cli.help import find_groups, read_summary, write_help
from aeframe.config.composition import CONF, Choice, choose_options, compose_options
from aeframe.config.differences import find_differences
from aeframe.training.next_commands import list_next_commands
from aeframe.training.resume.configuration import remove_side_effects

Command = Callable[..., tuple[int, str, str]]
Compose = Callable[..., DictConfig]

OPTIONS = [(group, option) for group, options in find_groups().items() for option in options]
FILES = [file for options in find_groups().values() for file in options.values()]
SHORT = 51  # characters of a summary, with which a line of --help has at most 80


def plain(cfg: DictConfig) -> dict[str, Any]:
    """The configuration with its interpolations as they are written."""
    found = OmegaConf.to_container(cfg, resolve=False)
    assert isinstance(found, dict)
    return {str(key): value for key, value in found.items()}


def header(file: Path) -> list[str]:
    """The lines of comment that a file opens with, without Hydra's own; continued ones are one."""
    found = re.match(r"(?:# @package .*\n)?((?:#.*\n)+)", file.read_text())
    assert found is not None, file
    return found[1].replace("\\\n#", " ").replace("# ", "").splitlines()


def test_the_groups_are_the_folders_of_the_configuration() -> None:
    found = {f"{group}/{option}.yaml" for group, option in OPTIONS}
    assert found == {f.relative_to(CONF).as_posix() for f in CONF.glob("*/*.yaml")}
    assert next(iter(find_groups())) == "model"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_file_opens_with_what_it_is_when_to_use_it_and_a_command(
    compose: Compose, file: Path
) -> None:
    what, when, *others = header(file)
    assert what == read_summary(file)
    assert re.fullmatch(r"\S.*\.", what)
    assert len(what) <= SHORT
    assert re.match(r"[A-Z0-9x]", when)
    command = next(line for line in others if "python train.py" in line)
    words = shlex.split(command.partition("python train.py ")[2].rstrip('"'))
    if "-m" in words:  # the first of a sweep's jobs
        words = [word.partition(",")[0] for word in words if word != "-m"]
    node = plain(compose(*parse(words).overrides))
    # and what these options bring is what Hydra composes, but for the values
    said = Choice()
    for group, _, value in (word.partition("=") for word in words):
        if group in find_groups():
            said[group] = value.strip("[]").split(",")
    choice = choose_options(said)
    assert file.stem in choice[file.parent.name]
    mine = OmegaConf.create(compose_options(choice))
    for key, _, value in (word.partition("=") for word in words):
        if key not in find_groups() and not key.startswith("hydra."):
            OmegaConf.update(mine, key, yaml.safe_load(re.sub(r"^(\d+)e", r"\1.0e", value)))
    assert {key: value for key, value in plain(mine).items() if key != "hydra"} == node


@pytest.mark.parametrize("group", ["model", "constraint", "dataset", "network", "hardware"])
def test_an_option_alone_is_all_that_differs(group: str) -> None:
    for option in find_groups()[group]:
        node = compose_options(choose_options({group: [option]}))
        is_default = option in choose_options({})[group]
        assert find_differences(node) == ([] if is_default else [f"{group}={option}"])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], []),
        (["resume=auto"], []),
        (["model=sparse", "constraint=topk"], ["model=sparse"]),
        (["model=sparse", "network=mlp", "network.widths=[64]"], ["model=sparse", "network.widths=[64]"]),
        (["constraint=[]"], ["constraint=[]"]),
        (["dataset=array", "dataset.path='a b,c.npy'"], None),
        (["dataset=array", "dataset.path='null'"], None),
        (["dataset=array", "dataset.path=2024-01-01/x"], None),
        (["dataset=array", "dataset.path='1e5'"], None),
        (["trainer.precision=64-true"], None),
        (["constraint=[masking,l2]", "constraint.l2.weight={schedule: warmup, value: 0.1, epochs: 2}"], None),
        (["optimizer={_target_: torch.optim.SGD, lr: 0.1}", "optimizer.momentum=0.9"],
         ["optimizer._target_=torch.optim.SGD", "optimizer.lr=0.1", "optimizer.momentum=0.9"]),
        (["until.metric=val/mse", "until.at_most=1e-3", "trainer.compile=true"],
         ["trainer.compile=true", "until.metric=val/mse", "until.at_most=0.001"]),
        (["experiment=vae_mnist"],
         ["model=variational", "dataset=mnist", "network=mlp", "dataset.batch_size=128",
          "dataset.val_fraction=0.02", "trainer.max_epochs=10", "network.widths=[400]",
          "model.latent_dim=20"]),
    ],
)  # fmt: skip
def test_differences_from_the_defaults_are_words_to_type(
    compose: Compose, words: list[str], told: list[str] | None
) -> None:
    node = plain(compose(*parse(words).overrides))
    found = find_differences(node)
    assert found == (words if told is None else told)
    again = plain(compose(*parse(found).overrides))
    assert again | {"resume": node["resume"]} == node


def test_keys_that_a_resumed_run_may_not_write_are_no_difference(compose: Compose) -> None:
    words = ["dataset=image_folder", "dataset.root=photos", "dataset.on_bad_sample=skip"]
    assert find_differences(remove_side_effects(plain(compose(*parse(words).overrides)))) == words


def test_next_commands_leave_out_the_runs_own_words(compose: Compose) -> None:
    words = ["dataset=image_folder", "dataset.root=my photos", "dataset.on_bad_sample=skip"]
    result = {"steps": 1, "epochs": 1, "ended_by": []}
    found = list_next_commands(plain(compose(*words[::2], f"++{words[1]}")), result, Path("run"))
    assert found["Encode"] == (
        "aeframe encode run 'my photos' --on-bad-sample skip --out codes.npy"
    )


# --help


def test_help_has_a_line_for_every_option(aeframe: Command, tmp_path: Path) -> None:
    status, out, err = aeframe("--help")
    assert (status, err) == (0, "")
    assert list(tmp_path.iterdir()) == []
    lines = out.splitlines()
    assert len(lines) - len(OPTIONS) <= 16  # lines beside those of the options
    assert max(map(len, lines)) <= 80
    group, found = "", {}
    for line in lines:
        if (match := re.fullmatch(r"(\w*) +(\*?)(\w+) +(\S.*)", line)) and not line.startswith(
            "  "
        ):
            group = match[1] or group
        elif not (match := re.fullmatch(r"( {11}) ?(\*?)(\w+) +(\S.*)", line)):
            continue
        found[group, match[3]] = (match[4], bool(match[2]))
    for name, option in OPTIONS:
        told, is_default = found[name, option]
        assert told == read_summary(CONF / name / f"{option}.yaml")
        assert is_default == (option in choose_options({})[name])
    for way in ("--cfg job", "-m model=", "resume=auto", "--config-dir", "aeframe --help"):
        assert way in out


def test_help_names_the_command_that_was_typed(verb: Command, aeframe: Command) -> None:
    assert "\n  aeframe train [GROUP=OPTION" in verb("train", "--help")[1]
    assert "\n  python train.py [GROUP=OPTION" in aeframe("--help")[1]


def test_help_lists_options_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "network").mkdir()
    (tmp_path / "network" / "own.yaml").write_text("# Layers of mine.\nwidths: [3]\n")
    assert "            own             Layers of mine.\n" in write_help((CONF, tmp_path))


# completion of the training command


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("mod", ["model=", "model."]),
        ("model=s", ["model=sparse"]),
        ("-m model=sparse,den", ["model=sparse,denoising"]),
        ("constraint=[l1,top", ["constraint=[l1,topk"]),
        ("constraint=[topk,top", []),  # it is there already
        ("trainer.max_e", ["trainer.max_epochs="]),
        ("dataset.r", []),
        ("dataset=mnist dataset.r", ["dataset.root="]),
        ("constraint.", ["constraint.bottleneck."]),
        ("model=sparse constraint.", ["constraint.topk."]),
        ("constraint=[l1,auxk] constraint.a", ["constraint.auxk."]),
        (
            "constraint=l1,auxk constraint.l1.",
            [f"constraint.l1.{key}=" for key in ("weight", "relative", "form")],
        ),
        ("experiment=vae_mnist dataset.r", ["dataset.root="]),
        ("optimizer._", ["optimizer._target_="]),
        ("constraint=[batch_topk,to", ["constraint=[batch_topk,topk"]),
        ("hydra.run.d", ["hydra.run.dir="]),
        ("resume=", ["resume=auto", "resume=retry"]),
        ("trainer.compile=", ["trainer.compile=true", "trainer.compile=false"]),
        ("trainer.max_epochs=", []),
        ("nothing.like.thi", []),
        ("seed.x", []),
        ("--cf", ["--cfg"]),
        ("--cfg j", ["job"]),
    ],
)
def test_words_are_completed(typed: str, completed: list[str]) -> None:
    line = f"aeframe train {typed}"
    assert list_completions(line, len(line)) == completed
    assert (
        list_completions(f"{line} seed=1", len(line)) == completed
    )  # the cursor may stand in the middle


def test_a_completion_of_nothing_is_a_mistake(aeframe: Command) -> None:
    status, _, err = aeframe("--complete")
    assert (status, err) == (
        2,
        "aeframe: --complete: unknown option. See python train.py --help.\n",
    )


def test_the_help_of_train_keeps_its_promises(
    aeframe: Command, verb: Command, compose: Callable[..., Any]
) -> None:
    promised = verb("--help")[1]
    assert re.search(r"aeframe train --help +groups and their options\n", promised)
    assert re.search(r"aeframe train --cfg job +all keys and their values\n", promised)
    options = aeframe("--help")[1]
    for group, files in find_groups().items():
        assert re.search(rf"^{group} ", options, re.MULTILINE)
        assert all(re.search(rf"[ *]{name} ", options) for name in files)
    shown = yaml.safe_load(aeframe("--cfg", "job")[1])
    assert shown == plain(compose())
