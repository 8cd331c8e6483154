"""Translation of errors from Hydra, OmegaConf and configuration files to messages for users."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from aeframe.cli.command_line import QUOTING, Command, unquote, write_override
from aeframe.cli.mistakes import build_option_error
from aeframe.core.errors import MachineError, UserError, describe_error, find_closest
from aeframe.core.files import DISK, find_filename, find_os_error

FOLDER = (
    *(errno.ENOENT, errno.EEXIST, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP),
    *(errno.EACCES, errno.EPERM),
)
"""Errors of the operating system for a folder that cannot be made or written into."""

EXTRAS = {
    "joblib": "sweep",
    "optuna": "sweep",
    "submitit_local": "slurm",
    "submitit_slurm": "slurm",
}
"""Launchers and sweepers of Hydra in packages of their own, and the extra that installs them."""


@contextmanager
def translate_errors(command: Command) -> Iterator[None]:
    """Raise UserError, with the nearest name, for an exception from Hydra."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    try:
        yield
    except (HydraException, OmegaConfBaseException, YAMLError) as error:
        if (why := find_os_error(error)) is not None and why.errno in (*FOLDER, *DISK):
            raise _build_folder_error(why, command) from error
        raise _translate(error, command) from error
    except UnicodeDecodeError as error:
        raise UserError(
            _find_undecodable(command), "is not UTF-8 text", "Correct the file."
        ) from error
    except OSError as error:
        if error.errno not in (*FOLDER, *DISK):
            raise
        raise _build_folder_error(error, command) from error


def _build_folder_error(error: OSError, command: Command) -> UserError | MachineError:
    """Build the error for a folder of a run that cannot be made or written into."""
    where = find_filename(error) or _find_folder(command)
    if error.errno in DISK and error.errno != errno.EROFS:
        return MachineError(f"{where} could not be written ({describe_error(error)}).")
    remedy = "Write hydra.run.dir=FOLDER (-m: hydra.sweep.dir) where you may write."
    return UserError(where, describe_error(error), remedy)


def _find_folder(command: Command) -> str:
    """Find the folder that the command writes into, if the command names it."""
    folders = [word.partition("=")[2] for word in command.overrides if word.startswith("hydra.")]
    return folders[-1].strip("\"'") if folders else "outputs"


def _find_undecodable(command: Command) -> str:
    """Find the first configuration file that is not UTF-8 text."""
    for file in (f for folder in command.folders for f in sorted(folder.rglob("*.yaml"))):
        try:
            file.read_text("utf-8")
        except UnicodeDecodeError:
            return str(file)
        except OSError:
            continue
    return "configuration"


def _translate(error: Exception, command: Command) -> UserError:
    from hydra.errors import OverrideParseException
    from yaml import YAMLError

    if isinstance(error, OverrideParseException):
        word = error.override.removeprefix("++")
        key, _, value = word.partition("=")
        if value and re.fullmatch(r"[\w.]+", key) and not value.startswith(("[", "{")):
            written = write_override(key, unquote(value))
            remedy = f"Write {written} for a text or the name of a file."
            return UserError(word, "cannot be read", remedy)
        cut = " A list has no spaces: [A,B]." if word.count("[") > word.count("]") else ""
        return UserError(word, "cannot be read", QUOTING + cut)
    if isinstance(error, YAMLError):
        mark = getattr(error, "problem_mark", None)
        where = f"{mark.name}, line {mark.line + 1}" if mark else "configuration"
        return UserError(
            where, getattr(error, "problem", None) or "is not valid YAML", "Correct the file."
        )
    text = str(error)
    for pattern, explain in EXPLANATIONS.items():
        if (match := re.search(pattern, text)) is not None:
            return explain(match, command)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    kept = [
        line for line in lines if not line.startswith(("See ", "To ", "Set the env", "Available"))
    ]
    first = (kept or lines or [type(error).__name__])[0].rstrip(".")
    return UserError("command line", first)


def _explain_variable(match: re.Match[str], command: Command) -> UserError:
    name = match["name"]
    remedy = f"Set {name}."
    if name.startswith("SLURM_"):
        remedy = "Use hardware=slurm inside a Slurm job only; elsewhere write hardware=ddp."
    return UserError(f"environment variable {name}", "is not set", remedy)


def _explain_group(match: re.Match[str], command: Command) -> UserError:
    key = match["key"]
    if key.startswith("hydra."):
        return UserError(key, "unknown key", "See --cfg hydra for all keys.")
    known = sorted({f.name for folder in command.folders for f in folder.iterdir() if f.is_dir()})
    close = find_closest(key, known)
    hint = f"Did you mean {close}? " if close else ""
    return UserError(key, "no such group", f"{hint}There are {', '.join(known)}.")


def _explain_config(match: re.Match[str], command: Command) -> UserError:
    known = sorted(f.stem for folder in command.folders for f in folder.glob("*.yaml"))
    where = f"--config-name {match['name']}"
    return UserError(where, "no such file", f"There are {', '.join(known)}.")


def _explain_plugin(match: re.Match[str], command: Command) -> UserError:
    kind, name = match["kind"], match["name"]
    if name in EXTRAS:
        remedy = f'Install it: python -m pip install -e ".[{EXTRAS[name]}]".'
        return UserError(f"hydra/{kind}={name}", "is not installed", remedy)
    known = ["basic", *EXTRAS]
    close = find_closest(name, known)
    hint = f"Did you mean hydra/{kind}={close}? " if close else ""
    return UserError(f"hydra/{kind}={name}", "no such option", f"{hint}There is basic.")


def _explain_mapping(match: re.Match[str], command: Command) -> UserError:
    where = f"{match['file']}.yaml"
    if (
        key := re.search(r":\n(?P<what>.+)\n +full_key: (?P<key>\S+)", match["reason"])
    ) is not None:
        what = f"{key['key']} cannot be set this way ({key['what'].rstrip('.')})"
        return UserError(where, what, "See --cfg hydra for all keys.")
    return UserError(where, "cannot be used", "It must hold lines of KEY: VALUE.")


def _explain_path(match: re.Match[str], command: Command) -> UserError:
    remedy = "Write --config-dir FOLDER, which holds GROUP/OPTION.yaml."
    return UserError(f"--config-path {match['name']}", "no such folder in aeframe", remedy)


def _explain_several_values(match: re.Match[str], command: Command) -> UserError:
    word = match["word"].removeprefix("++")
    key, _, value = word.partition("=")
    remedy = "Add -m, or write [A,B] for a list."
    if key.endswith(("path", "root", "dir", "cache")):
        remedy = f"Add -m, or write {write_override(key, value)} for a name with a comma."
    return UserError(word, "several values need a sweep", remedy)


def _explain_second_value(match: re.Match[str], command: Command) -> UserError:
    group = match["group"]
    words = [w for w in command.overrides if w.lstrip("+").startswith(f"{group}=")]
    if not words:
        what = "a file chooses a second option of this group"
        return UserError(group, what, f"Write `override /{group}: OPTION` in the file's defaults.")
    first = words[0]
    return UserError(first, "this group is chosen twice", f"Write {first.lstrip('+')} once.")


def _explain_deletion(match: re.Match[str], command: Command) -> UserError:
    return UserError(f"~{match['key']}", "there is nothing to delete", "Leave it out.")


EXPLANATIONS: dict[str, Callable[[re.Match[str], Command], UserError]] = {
    r"Could not (?:find|load) 'hydra/(?P<kind>[^'/]+)/(?P<name>[^']+)'": _explain_plugin,
    r"In '(?P<file>[^']+)': \w+ raised while composing config(?P<reason>(.|\n)*)": _explain_mapping,
    r"Primary config module 'aeframe\.(?:cli\.)?(?P<name>[^']+)' not found": _explain_path,
    r"Could not (?:find|load) '(?P<group>[^'/]+)/(?P<option>[^']+)'": lambda match, command: (
        build_option_error(match["group"], match["option"], command.folders)
    ),
    r"Could not override '(?P<key>[^']+)'": _explain_group,
    r"Cannot find primary config '(?P<name>[^']+)'": _explain_config,
    r"Environment variable '(?P<name>[^']+)' not found": _explain_variable,
    r"Ambiguous value for argument '(?P<word>[^']+)'": _explain_several_values,
    r"Could not delete from config. '(?P<key>[^']+)'": _explain_deletion,
    r"Multiple values for (?P<group>[^. ]+)\.": _explain_second_value,
}
"""Patterns of messages from Hydra and OmegaConf, and the functions that translate them."""
