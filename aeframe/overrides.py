"""The command line as Hydra will read it, and Hydra's complaints in our words."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aeframe.errors import UserError
from aeframe.launch import CONF
from aeframe.nearest import nearest

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


QUOTING = "Write KEY=VALUE, and put it in quotes if it has spaces or brackets."


@dataclass(frozen=True)
class Command:
    """A command line. argv: as Hydra gets it. overrides: its GROUP=OPTION and KEY=VALUE words.
    flags: those that say where the configuration lies.
    """

    argv: list[str]
    overrides: list[str]
    flags: tuple[str, ...]
    folders: tuple[Path, ...]
    name: str
    multirun: bool
    trains: bool

    def compose(self) -> Any:
        """The configuration of a single run."""
        from hydra import compose, initialize_config_dir

        extra = [f"hydra.searchpath=[{','.join(f'file://{f}' for f in self.folders[1:])}]"]
        with initialize_config_dir(str(CONF), version_base="1.3"):
            added = extra if len(self.folders) > 1 else []
            return compose(self.name, [*self.overrides, *added])


def parse(argv: Sequence[str]) -> Command:
    """Divide the command line into flags and overrides.

    A plain KEY=VALUE is given to Hydra as ++KEY=VALUE: an unknown key then reaches our own check,
    which names the nearest one and finds all other mistakes as well, instead of stopping Hydra.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for names, value in FLAGS.items():
        if value == "?":
            parser.add_argument(*names, nargs="?", const="all")
        else:
            parser.add_argument(*names, action="store" if value else "store_true")
    options, words = parser.parse_known_args(list(argv))
    folders = [CONF]
    if options.config_dir:
        folders.append(Path(options.config_dir).resolve())
        if not folders[-1].is_dir():
            raise UserError(f"--config-dir {options.config_dir}", "no such folder")
    for word in words:
        if word.startswith("-"):
            raise UserError(word, "unknown option", "See python train.py --help.")
    overrides = [_forced(word, folders) for word in words]
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
    )


def _forced(word: str, folders: Sequence[Path]) -> str:
    key = word.partition("=")[0]
    group = key.partition("@")[0]
    if "=" not in word or re.match(r"[+~]|hydra[./]", word) or "@" in key or "/" in key:
        return word
    return word if any((f / group).is_dir() for f in folders) else f"++{word}"


@contextmanager
def explained(command: Command) -> Iterator[None]:
    """Turn Hydra's exceptions into one clear line with the nearest name."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise _translated(error, command) from error


def _translated(error: Exception, command: Command) -> UserError:
    from hydra.errors import OverrideParseException

    text = str(error)
    if isinstance(error, OverrideParseException):
        return UserError(error.override, "cannot be read", QUOTING)
    if option := re.search(r"Could not find '(?P<group>[^']+)/(?P<option>[^'/]+)'", text):
        return _no_option(option["group"], option["option"], command)
    if group := re.search(r"Could not override '(?P<key>[^']+)'\.\s*No match", text):
        return _no_group(group["key"], command)
    if missing := re.search(r"Cannot find primary config '(?P<name>[^']+)'", text):
        known = [f.stem for folder in command.folders for f in folder.glob("*.yaml")]
        return UserError(f"--config-name {missing['name']}", "no such file", f"There are {known}.")
    if variable := re.search(r"Environment variable '(?P<name>[^']+)' not found", text):
        return _no_variable(variable["name"])
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    kept = [
        line for line in lines if not line.startswith(("See ", "To ", "Set the env", "Available"))
    ]
    first = (kept or lines or [type(error).__name__])[0].rstrip(".")
    return UserError("command line", first)


def _no_variable(name: str) -> UserError:
    remedy = f"Set {name}."
    if name.startswith("SLURM_"):
        remedy = "hardware=slurm belongs inside a job of Slurm's; elsewhere write hardware=ddp."
    return UserError(f"environment variable {name}", "is not set", remedy)


def _no_option(group: str, option: str, command: Command) -> UserError:
    known = sorted({f.stem for folder in command.folders for f in (folder / group).glob("*.yaml")})
    close = nearest(option, known)
    hint = f"Did you mean {group}={close}? " if close else ""
    return UserError(f"{group}={option}", "no such option", f"{hint}There are {', '.join(known)}.")


def _no_group(key: str, command: Command) -> UserError:
    known = sorted({f.name for folder in command.folders for f in folder.iterdir() if f.is_dir()})
    close = nearest(key, known)
    hint = f"Did you mean {close}? " if close else ""
    return UserError(key, "no such group", f"{hint}There are {', '.join(known)}.")
