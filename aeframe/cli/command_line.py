"""The command line: flags, overrides, and the words that Hydra gets."""

from __future__ import annotations

import argparse
import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from aeframe.cli.hydra_keys import is_new_folder
from aeframe.cli.mistakes import Mistakes, build_option_error, find_mistakes
from aeframe.config.composition import CONF, SEVERAL, list_folders
from aeframe.config.override_words import AUTOMATIC, quote, read_key
from aeframe.config.plugins import FLAG, NAMED
from aeframe.core.errors import ConfigError, UserError, build_read_error
from aeframe.core.local_paths import expand_path

FLAGS: dict[tuple[str, ...], bool | str] = {  # of Hydra; the value says if an argument follows
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
    "Write KEY=VALUE. Put a value with spaces or any of , = ~ [ ] { } ( ) in quotes inside the "
    "quotes of the shell: 'dataset.path=\"my, file.npy\"'."
)


class Composed(NamedTuple):
    """A composed configuration.

    hydra: Hydra's own part of it. folder: of the run or the sweep; None for a new one. sweeps: an experiment
    makes it a sweep.
    """

    cfg: Any
    hydra: Any
    folder: Path | None
    sweeps: bool


@dataclass(frozen=True)
class Command:
    """A command line.

    argv: the words for Hydra. overrides: the GROUP=OPTION and KEY=VALUE words among them. flags: those that
    locate the configuration. folders: the folders of the configuration. own_folder: that of --config-dir.
    plugins: the folders of the plug-ins that the user named. name: of the primary file. multirun: a sweep
    by -m. trains: the command trains. resume: auto, retry, the folder of a run, or None. asks: the
    command asks for help. mistakes: everyday names and unknown options, which the overrides do not have.
    """

    argv: list[str]
    overrides: list[str]
    flags: tuple[str, ...]
    folders: tuple[Path, ...]
    own_folder: Path | None
    plugins: tuple[str, ...]
    name: str
    multirun: bool
    trains: bool
    resume: str | None
    asks: bool
    mistakes: Mistakes | None = None

    def has_override(self, key: str) -> bool:
        """Check whether an override sets this key."""
        return any(read_key(word) == key for word in self.overrides)

    @property
    def sweep(self) -> Path | None:
        """Folder of the sweep, if the command line names one."""
        key = "hydra.sweep.dir"
        values = [unquote(w.partition("=")[2]) for w in self.overrides if read_key(w) == key]
        return expand_path(values[-1], f"{key}={values[-1]}") if values else None

    def resume_in(self, folder: Path) -> Command:
        """Return the command that resumes the run in this folder."""
        where = str(folder)
        # a folder named ~x would mean the home of user x
        where = f"./{where}" if where.startswith("~") else where
        return self._add_override(f"hydra.run.dir={quote(where)}").keep_configuration()

    def keep_configuration(self) -> Command:
        """Return the command that leaves the .hydra/ of a resumed run unchanged."""
        return self._add_override("hydra.output_subdir=null")

    def _add_override(self, word: str) -> Command:
        return replace(self, argv=[*self.argv, word], overrides=[*self.overrides, word])

    def compose(self) -> Composed:
        """Compose the configuration of a single run.

        Raises UserError for everyday names and unknown options, which the overrides do not have.
        """
        if self.mistakes is not None:
            raise ConfigError(self.mistakes.problems)
        from hydra import compose, initialize_config_dir
        from hydra.types import RunMode
        from omegaconf import OmegaConf, open_dict

        from aeframe.cli.checked_loader import prepare_sweep
        from aeframe.cli.plugin_folders import add_plugin_folders

        add_plugin_folders()
        with initialize_config_dir(str(CONF), version_base="1.3"):
            own = self.own_folder
            added = [] if own is None else [f"hydra.searchpath=[file://{own}]"]
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
        hydra = cfg.hydra
        with open_dict(cfg):
            del cfg["hydra"]
        return Composed(cfg, hydra, folder, sweeps)


class Flags(argparse.ArgumentParser):
    """A parser of Hydra's flags that raises UserError."""

    def error(self, message: str) -> NoReturn:
        """Raise UserError from a message such as `argument --name/-n: expected one argument`."""
        where, _, what = message.removeprefix("argument ").partition(": ")
        raise UserError(where, what, "See python train.py --help.")


def parse(argv: Sequence[str]) -> Command:
    """Divide the command line into flags and overrides.

    A plain KEY=VALUE becomes ++KEY=VALUE: Hydra then accepts an unknown key, and aeframe's own check names
    the nearest one together with all other mistakes.
    """
    options, words = _parse_flags(argv)
    own_folder = _find_own_folder(options.config_dir) if options.config_dir else None
    folders = [*list_folders(), *filter(None, [own_folder])]
    for word in words:
        _check_word(word, folders)
    completes = options.shell_completion  # its words are not overrides
    mistakes = None if completes or options.help else find_mistakes(argv, words, folders)
    right = words if mistakes is None else mistakes.words
    overrides = words if completes else [_adapt_word(word, folders) for word in right]
    plugins = tuple(str(plugin.folder) for plugin in NAMED.get())
    idle = ("cfg", "info", "help", "hydra_help", "version", "shell_completion")
    return Command(
        argv=[*(w for w in argv if w not in words), *overrides],
        overrides=overrides,
        flags=_list_flags(options, plugins),
        folders=tuple(folders),
        own_folder=own_folder,
        plugins=plugins,
        name=options.config_name or "config",
        multirun=options.multirun,
        trains=not any(getattr(options, name) for name in idle),
        resume=_read_resume(words),
        asks=options.help,
        mistakes=mistakes,
    )


def _parse_flags(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Parse Hydra's flags. Returns them, and the other words."""
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
    return options, words


def _check_word(word: str, folders: Sequence[Path]) -> None:
    """Raise UserError for a word that Hydra would take for something else."""
    if word.startswith("-"):
        raise UserError(word, "unknown option", "See python train.py --help.")
    if word.startswith("="):
        raise UserError(word, "cannot be read", QUOTING)
    if read_key(word) == "resume" and word.endswith("="):
        raise UserError(word, "is empty", "Write resume=auto, or the folder of a run.")
    group, _, value = word.partition("=")
    is_group = any((f / group).is_dir() for f in folders)
    unnamed = r"[\d.+-]+|true|false" + ("" if group in ("experiment", "debug") else "|null")
    if is_group and re.fullmatch(unnamed, value):  # Hydra would read a number or a constant
        raise build_option_error(group, value, folders)


def _list_flags(options: argparse.Namespace, plugins: Sequence[str]) -> tuple[str, ...]:
    """List the flags that locate the configuration."""
    flags = []
    for name in ("config_name", "config_dir", "config_path"):
        if (value := getattr(options, name)) is not None:
            flags += [f"--{name.replace('_', '-')}", str(value)]
    return (*flags, *(word for folder in plugins for word in (FLAG, folder)))


def _refuse_pairs(options: argparse.Namespace) -> None:
    """Raise UserError for flags that exclude each other."""
    if options.resolve and not (options.cfg or options.help):
        raise UserError("--resolve", "belongs to --cfg", "Write --cfg job --resolve.")
    asked = ("run", "multirun", "cfg", "info", "shell_completion")
    given = [f"--{name.replace('_', '-')}" for name in asked if getattr(options, name)]
    if len(given) > 1 and not (options.help or options.hydra_help):
        raise UserError(" ".join(given), "do not go together", "Write one of them.")


def _find_own_folder(name: str) -> Path:
    """Find the user's own configuration folder. Raises UserError if it cannot be read."""
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


def write_override(key: str, value: str) -> str:
    """Write KEY=VALUE for a text, with quotes for Hydra and for the shell."""
    plain = re.search(r'["\\\\]', value) is None
    inner = f'"{value}"' if plain else quote(value)
    return shlex.quote(f"{key}={inner}")


def _read_resume(words: Sequence[str]) -> str | None:
    values = [
        w.partition("=")[2] for w in words if read_key(w) == "resume" and not w.startswith("~")
    ]
    return None if not values or values[-1] == "null" else unquote(values[-1])


def _adapt_word(word: str, folders: Sequence[Path]) -> str:
    key = word.partition("=")[0]
    if key.lstrip("+") == "resume" and (run := _read_resume([word])) is not None:
        # names of folders often need quotes in Hydra
        return f"++resume={run if run in AUTOMATIC else quote(run)}"
    value = word.partition("=")[2]
    if re.fullmatch(r"\+*hydra\.(run|sweep)\.dir", key) and value.startswith("~"):
        value = os.path.expanduser(value)  # neither the shell nor Hydra expands it
        word = f"{key}={value}"
    if _needs_quotes(value):
        word = f"{key}={quote(value)}"
    group = key.partition("@")[0]
    if "=" not in word or re.match(r"[+~]|hydra[./]", word) or "@" in key or "/" in key:
        return word
    if any((f / group).is_dir() for f in folders):
        return word
    if key in SEVERAL:  # without a plug-in that has some; the check then says so
        return f"++{key}={{}}" if value == "[]" else f"++{key}={quote(value)}"
    return f"++{word}"


def _needs_quotes(value: str) -> bool:
    """Check for a name of a file with characters that Hydra accepts only inside quotes.

    Lists, mappings, choices, interpolations and quoted texts are left to Hydra.
    """
    if re.search(r"[][,=(){}$]", value) or re.fullmatch(r"([\"']).*\1", value):
        return False
    return not value.isascii() or re.search(r"[~#!&;'\"<>^`]", value) is not None


def unquote(value: str) -> str:
    """Remove the quotes that Hydra needs, if a value has any."""
    quote = value[:1]
    if len(value) > 1 and quote in ("'", '"') and value.endswith(quote):
        return value[1:-1].replace(f"\\{quote}", quote)
    return value
