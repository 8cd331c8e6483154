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
    *("hydra.launcher.setup", "hydra.launcher.additional_parameters"),  # commands in a job's script
    *("hydra.launcher.submitit_folder", "hydra.sweeper.storage"),  # what is in there is unpickled
)
"""Keys that count only where the user types them."""

OWN_SWEEP = "${run_folder:outputs/sweeps/${now:%Y-%m-%d},${now:%H-%M-%S-%f},sweep}"
OWN_JOB = "${hydra.job.num}_${run_name:${hydra.runtime.choices},${constraint}}"
"""The folders of a sweep and of its jobs, as conf/config.yaml has them."""
QUEUE = {
    "hydra.launcher.submitit_folder": ["${hydra.sweep.dir}/.submitit/%j"],
    "hydra.launcher.name": ["${hydra.job.name}"],
}
"""Values of submitit's keys that hold an interpolation."""

BELOW = re.compile(r"(?!/|(.*/)?\.\.(/|$))([\w./=+-]|\$\{hydra\.job\.(num|id)\})+")
"""A folder that lies in that of the sweep, whatever it is called."""
TEXT = re.compile(r"(?!.*(://|\$\{))[^\x00-\x1f\x7f]*")
"""A text that logging takes as it is: it imports what stands behind ext://."""
PLAIN = re.compile(r"[^\x00-\x1f\x7f'\"`$\\]*")
"""A text that a shell's script takes as it is: no line break, quote or interpolation."""
LOGGING = {
    r"version|disable_existing_loggers": TEXT,
    r"formatters/\w+/(format|datefmt)": TEXT,
    r"handlers/\w+/(level|formatter|delay)": TEXT,
    r"handlers/\w+/class": re.compile(r"logging\.(Stream|File)Handler"),
    r"handlers/\w+/stream": re.compile(r"ext://sys\.std(out|err)"),
    r"handlers/\w+/filename": re.compile(r"\$\{hydra\.runtime\.output_dir\}/\$\{hydra\.job\.name\}\.log"),
    r"(root|loggers/[\w.]+)(/(level|handlers|propagate))?": TEXT,
}  # fmt: skip
"""Keys of a logging configuration, and what they may say."""
OUT = "Take it out."

Typed = dict[str, list[Any]]
"""Keys of Hydra's on the command line, with their values."""


def check_hydra(hydra: Any, words: Sequence[str]) -> None:
    """Raise UserError for the first key below `hydra` that could import, call or overwrite something.

    hydra: the node, without interpolations resolved. words: the overrides that it was composed with.
    A configuration may come from a stranger's folder, and Hydra calls what stands there.
    """
    hydra = _mapping(hydra, "hydra")
    overrides = _mapping(hydra.get("overrides"), "hydra.overrides")
    if sum(len(overrides.get(kind) or ()) for kind in ("hydra", "task")) != len(words):
        raise UserError("hydra.overrides", "only the command line has overrides", OUT)
    if hydra.get("output_subdir") not in (None, ".hydra"):
        raise UserError("hydra.output_subdir", "may be .hydra or null", OUT)
    if _mapping(hydra.get("runtime"), "hydra.runtime").get("output_dir", "???") != "???":
        raise UserError("hydra.runtime.output_dir", "is set by Hydra", "Write hydra.run.dir.")
    for kind in ("run", "sweep"):
        _check_folder(f"hydra.{kind}.dir", _mapping(hydra.get(kind), f"hydra.{kind}").get("dir"))
    typed = _typed(words)
    _check_job(_mapping(hydra.get("job"), "hydra.job"), typed)
    _check_callbacks(_mapping(hydra.get("callbacks"), "hydra.callbacks"))
    for kind in ("hydra_logging", "job_logging"):
        _check_logging(_mapping(hydra.get(kind), f"hydra.{kind}"), f"hydra.{kind}")
    _check_launcher(_mapping(hydra.get("launcher"), "hydra.launcher"), typed)
    _check_sweeper(_mapping(hydra.get("sweeper"), "hydra.sweeper"), typed)


def check_sweep(hydra: Any, words: Sequence[str]) -> None:
    """Raise UserError where a sweep or one of its jobs would have a folder that somebody else chose.

    hydra, words: see check_hydra, by which both were looked at. What a folder of jobs holds is overwritten,
    and launchers unpickle their jobs' results from there.
    """
    sweep, typed = _mapping(hydra.get("sweep"), "hydra.sweep"), _typed(words)
    folder, job = sweep.get("dir"), sweep.get("subdir")
    if not (is_new_folder(folder) or folder in typed.get("hydra.sweep.dir", ())):
        raise _typed_only("hydra.sweep.dir")
    is_below = isinstance(job, str) and BELOW.fullmatch(job)
    if not (job == OWN_JOB or is_below or job in typed.get("hydra.sweep.subdir", ())):
        raise _typed_only("hydra.sweep.subdir")


def is_new_folder(text: Any) -> bool:
    """Check for a folder, not resolved, that is made when it is resolved (launch.Folders), and no other.

    Quotes could hide where the braces end, behind which a way may lead out of the folder.
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
    """Raise UserError where a primary configuration has other folders searched.

    primary: what OmegaConf loads from its file. Hydra imports a package (pkg://) to look into it.
    """
    from omegaconf import OmegaConf

    if OmegaConf.is_dict(primary) and OmegaConf.select(primary, "hydra.searchpath") is not None:
        raise _typed_only("hydra.searchpath")


def _check_folder(key: str, folder: Any) -> None:
    """A folder of this machine, as Hydra makes it: it does not know what ~ means."""
    where = shorten(f"{key}={folder}")
    path = expand_path(str(folder), where)
    if str(folder).startswith("~"):
        there = f"./{path}" if str(path).startswith("~") else path  # no user has that name
        raise UserError(where, "Hydra does not know ~", f"Write {key}={there}.")


def _check_job(job: Mapping[str, Any], typed: Typed) -> None:
    for key in ("env_set", "env_copy"):
        if job.get(key):
            remedy = "Set variables in front of the command: NAME=VALUE aeframe train."
            raise UserError(f"hydra.job.{key}", "may set no environment variables", remedy)
    if job.get("chdir"):
        what = "a run stays in the folder where it was started"
        raise UserError("hydra.job.chdir", what, "Write hydra.run.dir=FOLDER for its results.")
    name = str(job.get("name", "train"))
    if not re.fullmatch(r"[\w-]+|\?\?\?", name):
        raise UserError("hydra.job.name", "must be one word", "Write hydra.job.name=train.")
    # the log's name: of others nobody looks whether they are links out of the run's folder
    if name not in ("train", "???", *typed.get("hydra.job.name", ())):
        raise _typed_only("hydra.job.name")


def _check_callbacks(callbacks: Mapping[str, Any]) -> None:
    for name, node in callbacks.items():
        if CALLBACKS.get(name) != node:
            where = f"hydra.callbacks.{shorten(name)}"
            raise UserError(where, "Hydra may have no callback but aeframe's own", OUT)


def _check_logging(node: Mapping[str, Any], where: str) -> None:
    for path, value in _leaves(node):
        known = next((LOGGING[key] for key in LOGGING if re.fullmatch(key, path)), None)
        if known is None or (isinstance(value, str) and not known.fullmatch(value)):
            place = shorten(f"{where}.{path.replace('/', '.')}")
            raise UserError(place, "of logging, a file may set levels and formats", OUT)


def _check_launcher(node: Mapping[str, Any], typed: Typed) -> None:
    is_queue = _plugin(node, "hydra.launcher", LAUNCHERS, "hydra/launcher").startswith("submitit")
    _check_keys(node, "hydra.launcher", {**typed, **QUEUE} if is_queue else typed)


def _check_sweeper(node: Mapping[str, Any], typed: Typed) -> None:
    name, where = _plugin(node, "hydra.sweeper", SWEEPERS, "hydra/sweeper"), "hydra.sweeper"
    special = ("sampler", "params", "search_space")
    _check_keys({k: v for k, v in node.items() if k not in special}, where, typed)
    if node.get("custom_search_space"):
        raise UserError(f"{where}.custom_search_space", "names a function", OUT)
    if name == "optuna":
        sampler = _mapping(node.get("sampler"), f"{where}.sampler")
        _plugin(sampler, f"{where}.sampler", SAMPLERS, "hydra/sweeper/sampler")
        partial = {"_partial_": True} if sampler["_target_"] == SAMPLERS["grid"] else {}
        rest = {k: v for k, v in sampler.items() if partial.get(k) is not v}
        _check_keys(rest, f"{where}.sampler", typed)
    for space in ("params", "search_space"):
        for key, inner in _mapping(node.get(space), f"{where}.{space}").items():
            place = shorten(f"{where}.{space}.{key}")
            if not re.fullmatch(r"[+~]*(?!hydra\b)[A-Za-z][\w./@-]*", str(key)):
                raise UserError(place, "cannot be swept over", OUT)
            for path, value in _leaves({"values": inner}):
                if "/_" in path or "${" in str(value):
                    raise UserError(place, "must list its values themselves", OUT)


def _plugin(node: Mapping[str, Any], where: str, known: Mapping[str, str], group: str) -> str:
    """The name of the plug-in whose class a node names."""
    target = node.get("_target_")
    for name, path in known.items():
        if path == target:
            return name
    remedy = f"Write {group}=NAME; there are {', '.join(known)}."
    raise UserError(f"{where}._target_={shorten(target)}", "is not known to aeframe", remedy)


def _check_keys(node: Mapping[str, Any], where: str, typed: Typed) -> None:
    """Raise UserError but for plain values, and for what the user typed."""
    for path, value in _leaves(node):
        key = f"{where}.{path.replace('/', '.')}"
        if path == "_target_" or value is None or value in typed.get(key, ()):
            continue
        if any(f"{key}.".startswith(f"{only}.") for only in TYPED):
            raise _typed_only(key)
        if not re.fullmatch(r"[A-Za-z]\w*(/[A-Za-z0-9][\w.-]*)*", path):
            raise UserError(shorten(key), "is no key of Hydra's", OUT)
        if isinstance(value, str) and not PLAIN.fullmatch(value):
            what = "must be a plain number or text, without quotes or ${...}"
            raise UserError(f"{key}={shorten(value)}", what, "Write the value itself.")


def _typed(words: Sequence[str]) -> Typed:
    """The values that the command line gives to keys of Hydra's."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    own = [word for word in words if re.match(r"\+*hydra\.(launcher|sweeper|sweep|job)\.", word)]
    said: Typed = {}
    for one in OverridesParser.create().parse_overrides(own) if own else ():
        for path, value in _leaves(one.value()):
            key = f"{one.key_or_group}.{path.replace('/', '.')}".rstrip(".")
            said.setdefault(key, []).append(value)
    return said


def _leaves(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The values at the ends of a node, each with its keys, joined by /; a list's have that of the list."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _leaves(value, f"{path}/{key}" if path else str(key))
    elif isinstance(node, list):
        for value in node:
            yield from _leaves(value, path)
    else:
        yield path, node


def _mapping(node: Any, where: str) -> dict[str, Any]:
    if node is None:
        return {}
    if not isinstance(node, dict):
        raise UserError(where, "must be a mapping, written out", OUT)
    return node


def _typed_only(key: str) -> UserError:
    return UserError(key, "counts only on the command line", f"Write {key}=VALUE there.")
