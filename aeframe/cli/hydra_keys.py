"""Check of the keys below `hydra`: a file may name only the classes, files and commands listed here."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aeframe.core.errors import UserError, shorten
from aeframe.core.local_paths import expand_path

CALLBACKS = {"table": {"_target_": "aeframe.cli.sweep.SweepTable"}}
LAUNCHERS = {
    "basic": "hydra._internal.core_plugins.basic_launcher.BasicLauncher",
    "joblib": "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher",
    "submitit_local": "hydra_plugins.hydra_submitit_launcher.submitit_launcher.LocalLauncher",
    "submitit_slurm": "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher",
}
SWEEPERS = {
    "basic": "hydra._internal.core_plugins.basic_sweeper.BasicSweeper",
    "optuna": "hydra_plugins.hydra_optuna_sweeper.optuna_sweeper.OptunaSweeper",
}
SAMPLERS = {
    name.lower(): f"optuna.samplers.{name}Sampler"
    for name in ("TPE", "Random", "CmaEs", "NSGAII", "MOTPE", "Grid", "QMC", "BruteForce")
}
TYPED = (
    # commands in the script of a job
    *("hydra.launcher.setup", "hydra.launcher.additional_parameters"),
    # their content is unpickled
    *("hydra.launcher.submitit_folder", "hydra.sweeper.storage"),
)
"""Keys that only the command line may set."""

OWN_JOB = "${hydra.job.num}_${run_name:${hydra.runtime.choices},${constraint}}"
"""The folder of a sweep's job, as conf/config.yaml has it."""
QUEUE = {
    "hydra.launcher.submitit_folder": ["${hydra.sweep.dir}/.submitit/%j"],
    "hydra.launcher.name": ["${hydra.job.name}"],
}
"""Values of submitit's keys with an interpolation that are allowed."""

BELOW = re.compile(r"(?!/|(.*/)?\.\.(/|$))([\w./=+-]|\$\{hydra\.job\.(num|id)\})+")
"""Pattern of a folder inside that of the sweep."""
TEXT = re.compile(r"(?!.*(://|\$\{))[^\x00-\x1f\x7f]*")
"""Pattern of a text that logging does not interpret: ext:// would import a module."""
PLAIN = re.compile(r"[^\x00-\x1f\x7f'\"`$\\]*")
"""Pattern of a text that a shell does not interpret: no line break, quote or interpolation."""
LOGGING = {
    r"version|disable_existing_loggers": TEXT,
    r"formatters/\w+/(format|datefmt)": TEXT,
    r"handlers/\w+/(level|formatter|delay)": TEXT,
    r"handlers/\w+/class": re.compile(r"logging\.(Stream|File)Handler"),
    r"handlers/\w+/stream": re.compile(r"ext://sys\.std(out|err)"),
    r"handlers/\w+/filename": re.compile(r"\$\{hydra\.runtime\.output_dir\}/\$\{hydra\.job\.name\}\.log"),
    r"(root|loggers/[\w.]+)(/(level|handlers|propagate))?": TEXT,
}  # fmt: skip
"""Allowed keys of a logging configuration, with patterns of their values."""
OUT = "Remove this key."

Typed = dict[str, list[Any]]
"""Keys below `hydra` on the command line, with their values."""


def check_hydra(hydra: Any, words: Sequence[str]) -> None:
    """Raise UserError for the first key below `hydra` that could import, call or overwrite something.

    hydra: the node, without interpolations resolved. words: the overrides that it was composed with.
    A configuration may come from a stranger, and Hydra calls what it names.
    """
    hydra = _require_mapping(hydra, "hydra")
    overrides = _require_mapping(hydra.get("overrides"), "hydra.overrides")
    if sum(len(overrides.get(kind) or ()) for kind in ("hydra", "task")) != len(words):
        raise UserError("hydra.overrides", "only the command line has overrides", OUT)
    if hydra.get("output_subdir") not in (None, ".hydra"):
        raise UserError("hydra.output_subdir", "may be .hydra or null", OUT)
    if _require_mapping(hydra.get("runtime"), "hydra.runtime").get("output_dir", "???") != "???":
        raise UserError("hydra.runtime.output_dir", "is set by Hydra", "Write hydra.run.dir.")
    for kind in ("run", "sweep"):
        folder = _require_mapping(hydra.get(kind), f"hydra.{kind}").get("dir")
        _check_folder(f"hydra.{kind}.dir", folder)
    typed = _read_typed(words)
    _check_job(_require_mapping(hydra.get("job"), "hydra.job"), typed)
    _check_callbacks(_require_mapping(hydra.get("callbacks"), "hydra.callbacks"))
    for kind in ("hydra_logging", "job_logging"):
        _check_logging(_require_mapping(hydra.get(kind), f"hydra.{kind}"), f"hydra.{kind}")
    _check_launcher(_require_mapping(hydra.get("launcher"), "hydra.launcher"), typed)
    _check_sweeper(_require_mapping(hydra.get("sweeper"), "hydra.sweeper"), typed)


def check_sweep(hydra: Any, words: Sequence[str]) -> None:
    """Raise UserError if a configuration file chooses the folder of a sweep or of its jobs.

    hydra, words: see check_hydra, which has checked both. Files in a folder of jobs are overwritten, and
    launchers unpickle the results of jobs from there.
    """
    sweep, typed = _require_mapping(hydra.get("sweep"), "hydra.sweep"), _read_typed(words)
    folder, job = sweep.get("dir"), sweep.get("subdir")
    if not (is_new_folder(folder) or folder in typed.get("hydra.sweep.dir", ())):
        raise _build_typed_only_error("hydra.sweep.dir")
    is_below = isinstance(job, str) and BELOW.fullmatch(job)
    if not (job == OWN_JOB or is_below or job in typed.get("hydra.sweep.subdir", ())):
        raise _build_typed_only_error("hydra.sweep.subdir")


def is_new_folder(text: Any) -> bool:
    """Check whether a folder is left to the resolver `run_folder`, which makes a new one.

    Quotes could hide the end of the braces, and a path after them could lead out of the folder.
    """
    depth = 0
    if not isinstance(text, str) or re.match(r"\$\{run_folder:[^'\"\\]*\}$", text) is None:
        return False
    for place, sign in enumerate(text):
        depth += (sign == "{") - (sign == "}")
        if depth == 0 and sign == "}":
            return place == len(text) - 1
    return False


def check_search_path(primary: Any) -> None:
    """Raise UserError for a primary configuration that adds folders to the search path.

    primary: its content, as OmegaConf loads it. Hydra imports a package (pkg://) to search it.
    """
    from omegaconf import OmegaConf

    if OmegaConf.is_dict(primary) and OmegaConf.select(primary, "hydra.searchpath") is not None:
        raise _build_typed_only_error("hydra.searchpath")


def _check_folder(key: str, folder: Any) -> None:
    """Raise UserError for a folder of another machine, or one with ~, which Hydra does not expand."""
    where = shorten(f"{key}={folder}")
    path = expand_path(str(folder), where)
    if str(folder).startswith("~"):
        there = f"./{path}" if str(path).startswith("~") else path  # no user has that name
        raise UserError(where, "Hydra does not know ~", f"Write {key}={there}.")


def _check_job(job: Mapping[str, Any], typed: Typed) -> None:
    for key in ("env_set", "env_copy"):
        if job.get(key):
            remedy = "Set variables in front of the command: NAME=VALUE aeframe train."
            raise UserError(f"hydra.job.{key}", "must not set environment variables", remedy)
    if job.get("chdir"):
        what = "must be false: a run stays in the folder where it was started"
        raise UserError("hydra.job.chdir", what, "Write hydra.run.dir=FOLDER for its results.")
    name = str(job.get("name", "train"))
    if not re.fullmatch(r"[\w-]+|\?\?\?", name):
        raise UserError("hydra.job.name", "must be one word", "Write hydra.job.name=train.")
    # it names the log file; others are not checked for links out of the folder of the run
    if name not in ("train", "???", *typed.get("hydra.job.name", ())):
        raise _build_typed_only_error("hydra.job.name")


def _check_callbacks(callbacks: Mapping[str, Any]) -> None:
    for name, node in callbacks.items():
        if CALLBACKS.get(name) != node:
            where = f"hydra.callbacks.{shorten(name)}"
            raise UserError(where, "only aeframe's own callback is allowed", OUT)


def _check_logging(node: Mapping[str, Any], where: str) -> None:
    for path, value in _list_leaves(node):
        known = next((LOGGING[key] for key in LOGGING if re.fullmatch(key, path)), None)
        if known is None or (isinstance(value, str) and not known.fullmatch(value)):
            place = shorten(f"{where}.{path.replace('/', '.')}")
            raise UserError(place, "a file may set only levels and formats of logging", OUT)


def _check_launcher(node: Mapping[str, Any], typed: Typed) -> None:
    name = _find_plugin(node, "hydra.launcher", LAUNCHERS, "hydra/launcher")
    allowed = {**typed, **QUEUE} if name.startswith("submitit") else typed
    _check_keys(node, "hydra.launcher", allowed)


def _check_sweeper(node: Mapping[str, Any], typed: Typed) -> None:
    name, where = _find_plugin(node, "hydra.sweeper", SWEEPERS, "hydra/sweeper"), "hydra.sweeper"
    special = ("sampler", "params", "search_space")
    _check_keys({k: v for k, v in node.items() if k not in special}, where, typed)
    if node.get("custom_search_space"):
        raise UserError(f"{where}.custom_search_space", "must not name a function", OUT)
    if name == "optuna":
        sampler = _require_mapping(node.get("sampler"), f"{where}.sampler")
        _find_plugin(sampler, f"{where}.sampler", SAMPLERS, "hydra/sweeper/sampler")
        partial = {"_partial_": True} if sampler["_target_"] == SAMPLERS["grid"] else {}
        rest = {k: v for k, v in sampler.items() if partial.get(k) is not v}
        _check_keys(rest, f"{where}.sampler", typed)
    for space in ("params", "search_space"):
        for key, inner in _require_mapping(node.get(space), f"{where}.{space}").items():
            place = shorten(f"{where}.{space}.{key}")
            if not re.fullmatch(r"[+~]*(?!hydra\b)[A-Za-z][\w./@-]*", str(key)):
                raise UserError(place, "is not a key that a sweep can vary", OUT)
            for path, value in _list_leaves({"values": inner}):
                if "/_" in path or "${" in str(value):
                    raise UserError(place, "must list its values", OUT)


def _find_plugin(node: Mapping[str, Any], where: str, known: Mapping[str, str], group: str) -> str:
    """Find the name of the plug-in whose class a node names."""
    target = node.get("_target_")
    for name, path in known.items():
        if path == target:
            return name
    remedy = f"Write {group}=NAME; there are {', '.join(known)}."
    raise UserError(f"{where}._target_={shorten(target)}", "is not known to aeframe", remedy)


def _check_keys(node: Mapping[str, Any], where: str, typed: Typed) -> None:
    """Raise UserError for values that are neither plain nor typed by the user."""
    for path, value in _list_leaves(node):
        key = f"{where}.{path.replace('/', '.')}"
        if path == "_target_" or value is None or value in typed.get(key, ()):
            continue
        if any(f"{key}.".startswith(f"{only}.") for only in TYPED):
            raise _build_typed_only_error(key)
        if not re.fullmatch(r"[A-Za-z]\w*(/[A-Za-z0-9][\w.-]*)*", path):
            raise UserError(shorten(key), "is not a key of Hydra", OUT)
        if isinstance(value, str) and not PLAIN.fullmatch(value):
            what = "must be a plain number or text, without quotes or ${...}"
            raise UserError(f"{key}={shorten(value)}", what, "Write the value itself.")


def _read_typed(words: Sequence[str]) -> Typed:
    """Read the values that the command line gives to keys below `hydra`."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    own = [word for word in words if re.match(r"\+*hydra\.(launcher|sweeper|sweep|job)\.", word)]
    values: Typed = {}
    for one in OverridesParser.create().parse_overrides(own) if own else ():
        for path, value in _list_leaves(one.value()):
            key = f"{one.key_or_group}.{path.replace('/', '.')}".rstrip(".")
            values.setdefault(key, []).append(value)
    return values


def _list_leaves(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """List the leaves of a node, each with its keys joined by /. Items of a list have the key of the list."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _list_leaves(value, f"{path}/{key}" if path else str(key))
    elif isinstance(node, list):
        for value in node:
            yield from _list_leaves(value, path)
    else:
        yield path, node


def _require_mapping(node: Any, where: str) -> dict[str, Any]:
    if node is None:
        return {}
    if not isinstance(node, dict):
        raise UserError(where, "must be a mapping, written out", OUT)
    return node


def _build_typed_only_error(key: str) -> UserError:
    return UserError(key, "may be set only on the command line", f"Write {key}=VALUE there.")
