"""The command line as Hydra will read it, and Hydra's complaints in our words."""

from __future__ import annotations

import argparse
import errno
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aeframe.errors import MachineError, UserError, reason
from aeframe.files import DISK
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

FOLDER = (
    *(errno.ENOENT, errno.EEXIST, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP),
    *(errno.EACCES, errno.EPERM),
)
"""What the operating system says of a folder that is none or may not be written to."""

AUTOMATIC = ("auto", "retry")
"""Values of `resume` that are no folder."""
QUOTING = (
    "Write KEY=VALUE; a value with spaces or any of , = ~ [ ] { } ( ) has quotes of its own inside "
    "those for the shell: 'dataset.path=\"my, file.npy\"'."
)


@dataclass(frozen=True)
class Command:
    """A command line. argv: as Hydra gets it. overrides: its GROUP=OPTION and KEY=VALUE words.
    flags: those that say where the configuration lies. resume: auto, retry, a run's folder, or nothing.
    """

    argv: list[str]
    overrides: list[str]
    flags: tuple[str, ...]
    folders: tuple[Path, ...]
    name: str
    multirun: bool
    trains: bool
    resume: str | None

    def names(self, key: str) -> bool:
        """Whether the command line says something of this key."""
        return any(key_of(word) == key for word in self.overrides)

    @property
    def sweep(self) -> Path | None:
        """The folder of the sweep, if the command line names one."""
        said = [w.partition("=")[2] for w in self.overrides if key_of(w) == "hydra.sweep.dir"]
        return Path(unquoted(said[-1])) if said else None

    def going_on(self, folder: Path) -> Command:
        """The same, for a run that goes on in this folder."""
        return self._with(f"hydra.run.dir={quoted(str(folder))}").writing_no_configuration()

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

        extra = [f"hydra.searchpath=[{','.join(f'file://{f}' for f in self.folders[1:])}]"]
        with initialize_config_dir(str(CONF), version_base="1.3"):
            added = extra if len(self.folders) > 1 else []
            cfg = compose(self.name, [*self.overrides, *added], return_hydra_config=True)
        sweeps = cfg.hydra.mode == RunMode.MULTIRUN
        where = cfg.hydra.sweep if sweeps else cfg.hydra.run
        written = OmegaConf.to_container(where)
        assert isinstance(written, dict)
        is_new = "${run_folder:" in str(written["dir"])
        if written["dir"] == "":
            key = f"hydra.{'sweep' if sweeps else 'run'}.dir"
            raise UserError(key, "is empty", f"Write {key}=FOLDER.")
        folder = None if is_new else Path(str(where.dir))
        with open_dict(cfg):
            del cfg["hydra"]
        return cfg, folder, sweeps


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
            remedy = "Write --config-dir FOLDER, which holds GROUP/OPTION.yaml."
            raise UserError(f"--config-dir {options.config_dir}", "no such folder", remedy)
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
            raise _no_option(group, value, folders)  # a name, where Hydra would look for a number
    asks = options.shell_completion  # its words are no overrides
    overrides = words if asks else [_forced(word, folders) for word in words]
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
    )


def key_of(word: str) -> str:
    """The key of a KEY=VALUE word."""
    return word.lstrip("+~").partition("=")[0]


def quoted(text: str) -> str:
    """A text as Hydra takes it for itself, whatever is in it; but OmegaConf would still resolve ${."""
    from hydra.core.override_parser.types import Quote, QuotedString

    return QuotedString(text, Quote.single).with_quotes()


def unquoted(value: str) -> str:
    """What a value says that may have quotes, as Hydra wants them."""
    quote = value[:1]
    if len(value) > 1 and quote in ("'", '"') and value.endswith(quote):
        return value[1:-1].replace(f"\\{quote}", quote)
    return value


def _resume(words: Sequence[str]) -> str | None:
    said = [w.partition("=")[2] for w in words if key_of(w) == "resume" and not w.startswith("~")]
    return None if not said or said[-1] == "null" else unquoted(said[-1])


def _forced(word: str, folders: Sequence[Path]) -> str:
    key = word.partition("=")[0]
    if key.lstrip("+") == "resume" and (run := _resume([word])) is not None:
        # the name of a folder, which seldom is what Hydra takes for a text
        return f"++resume={run if run in AUTOMATIC else quoted(run)}"
    group = key.partition("@")[0]
    if "=" not in word or re.match(r"[+~]|hydra[./]", word) or "@" in key or "/" in key:
        return word
    return word if any((f / group).is_dir() for f in folders) else f"++{word}"


@contextmanager
def explained(command: Command) -> Iterator[None]:
    """Turn Hydra's exceptions into one clear line with the nearest name."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    try:
        yield
    except (HydraException, OmegaConfBaseException, YAMLError) as error:
        raise _translated(error, command) from error
    except OSError as error:
        where = error.filename or _folder(command)
        if error.errno in DISK:
            raise MachineError(f"{where} could not be written ({reason(error)}).") from error
        if error.errno not in FOLDER:
            raise
        remedy = "Write hydra.run.dir=FOLDER (-m: hydra.sweep.dir) where you may write."
        raise UserError(str(where), reason(error), remedy) from error


def _folder(command: Command) -> str:
    """Where it writes, as far as it says so."""
    said = [word.partition("=")[2] for word in command.overrides if word.startswith("hydra.")]
    return said[-1].strip("\"'") if said else "outputs"


def _translated(error: Exception, command: Command) -> UserError:
    from hydra.errors import OverrideParseException
    from yaml import YAMLError

    if isinstance(error, OverrideParseException):
        return UserError(error.override.removeprefix("++"), "cannot be read", QUOTING)
    if isinstance(error, YAMLError):
        mark = getattr(error, "problem_mark", None)
        where = f"{mark.name}, line {mark.line + 1}" if mark else "configuration"
        return UserError(
            where, getattr(error, "problem", None) or "is no YAML", "Correct the file."
        )
    text = str(error)
    for pattern, explain in EXPLANATIONS.items():
        if (found := re.search(pattern, text)) is not None:
            return explain(found, command)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    kept = [
        line for line in lines if not line.startswith(("See ", "To ", "Set the env", "Available"))
    ]
    first = (kept or lines or [type(error).__name__])[0].rstrip(".")
    return UserError("command line", first)


def _no_variable(found: re.Match[str], command: Command) -> UserError:
    name = found["name"]
    remedy = f"Set {name}."
    if name.startswith("SLURM_"):
        remedy = "hardware=slurm belongs inside a job of Slurm's; elsewhere write hardware=ddp."
    return UserError(f"environment variable {name}", "is not set", remedy)


def _no_option(group: str, option: str, folders: Sequence[Path]) -> UserError:
    known = sorted({f.stem for folder in folders for f in (folder / group).glob("*.yaml")})
    close = nearest(option, known)
    hint = f"Did you mean {group}={close}? " if close else ""
    return UserError(f"{group}={option}", "no such option", f"{hint}There are {', '.join(known)}.")


def _no_group(found: re.Match[str], command: Command) -> UserError:
    key = found["key"]
    if key.startswith("hydra."):
        return UserError(key, "unknown key", "See --cfg hydra for all keys.")
    known = sorted({f.name for folder in command.folders for f in folder.iterdir() if f.is_dir()})
    close = nearest(key, known)
    hint = f"Did you mean {close}? " if close else ""
    return UserError(key, "no such group", f"{hint}There are {', '.join(known)}.")


def _no_config(found: re.Match[str], command: Command) -> UserError:
    known = sorted(f.stem for folder in command.folders for f in folder.glob("*.yaml"))
    where = f"--config-name {found['name']}"
    return UserError(where, "no such file", f"There are {', '.join(known)}.")


def _several(found: re.Match[str], command: Command) -> UserError:
    what = "several values, which only a sweep takes"
    return UserError(found["word"], what, "Add -m, or write [A,B] for a list.")


def _twice(found: re.Match[str], command: Command) -> UserError:
    group = found["group"]
    words = [w for w in command.overrides if w.lstrip("+").startswith(f"{group}=")]
    first = words[0] if words else group
    return UserError(first, "this group has a value already", f"Write {first.lstrip('+')} once.")


def _nothing(found: re.Match[str], command: Command) -> UserError:
    return UserError(f"~{found['key']}", "there is nothing to take away", "Leave it out.")


EXPLANATIONS: dict[str, Callable[[re.Match[str], Command], UserError]] = {
    r"Could not (?:find|load) '(?P<group>[^'/]+)/(?P<option>[^']+)'": lambda found, command: (
        _no_option(found["group"], found["option"], command.folders)
    ),
    r"Could not override '(?P<key>[^']+)'": _no_group,
    r"Cannot find primary config '(?P<name>[^']+)'": _no_config,
    r"Environment variable '(?P<name>[^']+)' not found": _no_variable,
    r"Ambiguous value for argument '(?P<word>[^']+)'": _several,
    r"Could not delete from config. '(?P<key>[^']+)'": _nothing,
    r"Multiple values for (?P<group>[^. ]+)\.": _twice,
}
"""What Hydra and OmegaConf say, and who says it better."""
