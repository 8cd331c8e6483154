"""The command line as Hydra will read it, and Hydra's complaints in our words."""

from __future__ import annotations

import argparse
import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from aeframe.cli.hydra_keys import is_new_folder
from aeframe.config.composition import CONF
from aeframe.config.override_words import AUTOMATIC, key_of, quoted
from aeframe.core.errors import UserError, build_read_error, find_closest
from aeframe.core.local_paths import expand_path

FLAGS: dict[tuple[str, ...], bool | str] = {  # Hydra's, and whether a value follows
    ("--config-name", "-cn"): True,
    ("--config-dir", "-cd"): True,
    ("--config-path", "-cp"): True,
    ("--cfg", "-c"): True,
    ("--package", "-p"): True,
    ("--info", "-i"): "?",
    ("--multirun", "-m"): False,
    ("--run", "-r"): False,
    ("--resolve",): False,
    ("--help", "-h"): False,
    ("--hydra-help",): False,
    ("--version",): False,
    ("--shell-completion", "-sc"): False,
}

QUOTING = (
    "Write KEY=VALUE; a value with spaces or any of , = ~ [ ] { } ( ) has quotes of its own inside "
    "those for the shell: 'dataset.path=\"my, file.npy\"'."
)


@dataclass(frozen=True)
class Command:
    """A command line. argv: as Hydra gets it. overrides: its GROUP=OPTION and KEY=VALUE words.
    flags: those that say where the configuration lies. resume: auto, retry, a run's folder, or nothing.
    asks: whether it is for help.
    """

    argv: list[str]
    overrides: list[str]
    flags: tuple[str, ...]
    folders: tuple[Path, ...]
    name: str
    multirun: bool
    trains: bool
    resume: str | None
    asks: bool

    def names(self, key: str) -> bool:
        """Whether the command line says something of this key."""
        return any(key_of(word) == key for word in self.overrides)

    @property
    def sweep(self) -> Path | None:
        """The folder of the sweep, if the command line names one."""
        said = [w.partition("=")[2] for w in self.overrides if key_of(w) == "hydra.sweep.dir"]
        return (
            expand_path(unquoted(said[-1]), f"hydra.sweep.dir={unquoted(said[-1])}")
            if said
            else None
        )

    def going_on(self, folder: Path) -> Command:
        """The same, for a run that goes on in this folder."""
        where = str(folder)
        # a folder that is called ~name would be taken for the home of a user
        where = f"./{where}" if where.startswith("~") else where
        return self._with(f"hydra.run.dir={quoted(where)}").writing_no_configuration()

    def writing_no_configuration(self) -> Command:
        """The same, where what .hydra/ says of a run that goes on stays as it is."""
        return self._with("hydra.output_subdir=null")

    def _with(self, word: str) -> Command:
        return replace(self, argv=[*self.argv, word], overrides=[*self.overrides, word])

    def compose(self) -> tuple[Any, Path | None, bool]:
        """The configuration of a single run, its folder unless that is to be a new one, and whether it is
        that of a sweep's jobs, as an experiment may say.
        """
        from hydra import compose, initialize_config_dir
        from hydra.types import RunMode
        from omegaconf import OmegaConf, open_dict

        from aeframe.cli.checked_loader import prepare_sweep

        extra = [f"hydra.searchpath=[{','.join(f'file://{f}' for f in self.folders[1:])}]"]
        with initialize_config_dir(str(CONF), version_base="1.3"):
            added = extra if len(self.folders) > 1 else []
            cfg = compose(self.name, [*self.overrides, *added], return_hydra_config=True)
        sweeps = cfg.hydra.mode == RunMode.MULTIRUN
        if sweeps:
            prepare_sweep(cfg, self.overrides)
        where = cfg.hydra.sweep if sweeps else cfg.hydra.run
        written = OmegaConf.to_container(where)
        assert isinstance(written, dict)
        is_new = is_new_folder(written["dir"])
        key = f"hydra.{'sweep' if sweeps else 'run'}.dir"
        if written["dir"] == "":
            raise UserError(key, "is empty", f"Write {key}=FOLDER.")
        folder = None if is_new else expand_path(str(where.dir), f"{key}={where.dir}")
        with open_dict(cfg):
            del cfg["hydra"]
        return cfg, folder, sweeps


class Flags(argparse.ArgumentParser):
    """Hydra's flags, whose mistakes are told like all others."""

    def error(self, message: str) -> NoReturn:
        """Of a flag without its value: `argument --name/-n: expected one argument`."""
        where, _, what = message.removeprefix("argument ").partition(": ")
        raise UserError(where, what, "See python train.py --help.")


def parse(argv: Sequence[str]) -> Command:
    """Divide the command line into flags and overrides.

    A plain KEY=VALUE is given to Hydra as ++KEY=VALUE: an unknown key then reaches our own check,
    which names the nearest one and finds all other mistakes as well, instead of stopping Hydra.
    """
    parser = Flags(add_help=False, allow_abbrev=False)
    for names, value in FLAGS.items():
        if value == "?":
            parser.add_argument(*names, nargs="?", const="all")
        else:
            parser.add_argument(*names, action="store" if value else "store_true")
    options, words = parser.parse_known_args(list(argv))
    if options.cfg not in (None, "job", "hydra", "all"):
        raise UserError(f"--cfg {options.cfg}", "no such part", "There are job, hydra, all.")
    _refuse_pairs(options)
    folders = [CONF]
    if options.config_dir:
        folders.append(_own_folder(options.config_dir))
    for word in words:
        if word.startswith("-"):
            raise UserError(word, "unknown option", "See python train.py --help.")
        if word.startswith("="):
            raise UserError(word, "cannot be read", QUOTING)
        if key_of(word) == "resume" and word.endswith("="):
            raise UserError(word, "is empty", "Write resume=auto, or the folder of a run.")
        group, _, value = word.partition("=")
        is_group = any((f / group).is_dir() for f in folders)
        unnamed = r"[\d.+-]+|true|false" + ("" if group in ("experiment", "debug") else "|null")
        if is_group and re.fullmatch(unnamed, value):
            raise no_option(group, value, folders)  # a name, where Hydra would look for a number
    completes = options.shell_completion  # its words are no overrides
    overrides = words if completes else [_forced(word, folders) for word in words]
    flags = []
    for name in ("config_name", "config_dir", "config_path"):
        if (value := getattr(options, name)) is not None:
            flags += [f"--{name.replace('_', '-')}", str(value)]
    idle = ("cfg", "info", "help", "hydra_help", "version", "shell_completion")
    return Command(
        argv=[*(w for w in argv if w not in words), *overrides],
        overrides=overrides,
        flags=tuple(flags),
        folders=tuple(folders),
        name=options.config_name or "config",
        multirun=options.multirun,
        trains=not any(getattr(options, name) for name in idle),
        resume=_resume(words),
        asks=options.help,
    )


def _refuse_pairs(options: argparse.Namespace) -> None:
    """Raise UserError for flags that Hydra does not take together."""
    if options.resolve and not (options.cfg or options.help):
        raise UserError("--resolve", "belongs to --cfg", "Write --cfg job --resolve.")
    asked = ("run", "multirun", "cfg", "info", "shell_completion")
    given = [f"--{name.replace('_', '-')}" for name in asked if getattr(options, name)]
    if len(given) > 1 and not (options.help or options.hydra_help):
        raise UserError(" ".join(given), "do not go together", "Write one of them.")


def _own_folder(name: str) -> Path:
    """The user's own configuration. Raises UserError where it cannot be looked into."""
    folder, where = Path(name).resolve(), f"--config-dir {name}"
    try:
        if not folder.is_dir():
            remedy = "Write --config-dir FOLDER, which holds GROUP/OPTION.yaml."
            raise UserError(where, "no such folder", remedy)
        for path in folder.iterdir():
            path.is_dir()
    except OSError as error:
        raise build_read_error(where, error, "") from error
    return folder


def as_typed(key: str, value: str) -> str:
    """A word of the command line that gives a text to a key, with quotes for Hydra and for the shell."""
    plain = re.search(r'["\\\\]', value) is None
    inner = f'"{value}"' if plain else quoted(value)
    return shlex.quote(f"{key}={inner}")


def _resume(words: Sequence[str]) -> str | None:
    said = [w.partition("=")[2] for w in words if key_of(w) == "resume" and not w.startswith("~")]
    return None if not said or said[-1] == "null" else unquoted(said[-1])


def _forced(word: str, folders: Sequence[Path]) -> str:
    key = word.partition("=")[0]
    if key.lstrip("+") == "resume" and (run := _resume([word])) is not None:
        # the name of a folder, which seldom is what Hydra takes for a text
        return f"++resume={run if run in AUTOMATIC else quoted(run)}"
    value = word.partition("=")[2]
    if re.fullmatch(r"\+*hydra\.(run|sweep)\.dir", key) and value.startswith("~"):
        value = os.path.expanduser(value)  # which Hydra leaves to the shell, and that to Hydra
        word = f"{key}={value}"
    if _needs_quotes(value):
        word = f"{key}={quoted(value)}"
    group = key.partition("@")[0]
    if "=" not in word or re.match(r"[+~]|hydra[./]", word) or "@" in key or "/" in key:
        return word
    return word if any((f / group).is_dir() for f in folders) else f"++{word}"


def _needs_quotes(value: str) -> bool:
    """Check for a text with characters that Hydra knows only inside quotes: it is the name of a file.

    Lists, mappings, choices, interpolations and what has quotes are left to Hydra.
    """
    if re.search(r"[][,=(){}$]", value) or re.fullmatch(r"([\"']).*\1", value):
        return False
    return not value.isascii() or re.search(r"[~#!&;'\"<>^`]", value) is not None


def no_option(group: str, option: str, folders: Sequence[Path]) -> UserError:
    """An option that is not among those of its group."""
    files = (f for folder in folders for f in (folder / group).glob("*.yaml"))
    known = sorted({file.stem for file in files if file.is_file()})
    close = find_closest(option, known)
    hint = f"Did you mean {group}={close}? " if close else ""
    return UserError(f"{group}={option}", "no such option", f"{hint}There are {', '.join(known)}.")


def unquoted(value: str) -> str:
    """What a value says that may have quotes, as Hydra wants them."""
    quote = value[:1]
    if len(value) > 1 and quote in ("'", '"') and value.endswith(quote):
        return value[1:-1].replace(f"\\{quote}", quote)
    return value
