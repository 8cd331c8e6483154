"""Configuration of a resumed run, and the keys that may differ from the original."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from aeframe.config.auto_record import AUTO, RECORD, find_option, replace_option, settle
from aeframe.config.check import LATER
from aeframe.config.override_words import read_key
from aeframe.core.durations import format_duration, is_duration, parse_duration
from aeframe.core.errors import ConfigError, Problem, UserError, shorten
from aeframe.core.plain import as_mapping, flatten
from aeframe.core.process import get_command
from aeframe.data.normalization.spread import Kind
from aeframe.runs.checkpoint import Saved, load_state
from aeframe.runs.layout import LAST
from aeframe.runs.origin import PATHS, find_moved_data, remove_side_effects
from aeframe.training.schedule_lengths import LENGTHS, stretch_lengths

HARMLESS = (
    "resume",
    RECORD,
    "checkpoint",
    "hardware",
    "until",
    "early_stopping",
    "divergence",
    "dashboard",
    "doctor",
    "logger",
    "evaluation",
    *(f"dataset.{key}" for key in (*PATHS, "download", "cache")),
    *(f"dataset.{key}" for key in ("in_memory", "memory_limit", "num_workers")),
    *(
        f"trainer.{key}"
        for key in ("max_epochs", "min_epochs", "max_steps", "min_steps", "max_time")
    ),
    *(f"scheduler.{key}" for key in LENGTHS),
    *(f"trainer.{key}" for key in ("steps_per_call", "profiler", "limit_test_batches")),
)
"""Keys that change where, how long or how fast a run trains, but not its result."""

CHOSEN = (
    *(
        "optimized_metric",
        "init_from.identity",
        "model.latent_dim",
        "model.allow_undercomplete",
        "network.start",
        "trainer.max_epochs",
        "early_stopping.patience",
    ),
    *(f"dataset.{key}" for key in ("augment", "batch_size", "normalization")),
)
"""Keys whose `auto` is replaced by a choice when a run begins."""
BROUGHT = ("network", "likelihood", "constraint", "optimized_metric")
"""Keys that a model sets, too."""
BUNDLES = ("experiment", "debug")
"""Groups whose options set keys of others."""
ANEW = "Remove it, or start a new run."


def apply_overrides(saved: Saved, words: Sequence[str], given: Mapping[str, Any]) -> dict[str, Any]:
    """Apply the command line to the run's own configuration.

    words: of the command line. given: the configuration composed from them. Raises ConfigError for
    keys that would make it another run.
    """
    node, wrong = find_moved_data(remove_side_effects(saved.node), saved.folder), []
    node["logger"] = given["logger"]  # a stranger's run must not choose where to send it
    is_repeated = not find_changes(saved, given)  # the command that started the run
    for word in words:
        key = read_key(word)
        if key.startswith("hydra"):
            continue
        harmless = next((k for k in HARMLESS if key == k or key.startswith(f"{k}.")), None)
        if harmless is not None and not word.startswith("~"):
            _take(node, harmless, given)
        elif word.startswith("~") or not (is_repeated or _is_as_before(key, saved, given)):
            wrong.append(_build_problem(word.lstrip("+"), saved))
    if wrong:
        raise ConfigError(wrong)
    if as_mapping(node.get("scheduler")):
        typed = {read_key(word) for word in words}
        node["scheduler"] = stretch_lengths(
            node["scheduler"], saved, as_mapping(node.get("trainer")), typed
        )
    return node


def keep_choices(saved: Saved, given: Mapping[str, Any]) -> dict[str, Any]:
    """Keep the run's own choices if the given configuration has `auto`.

    Runs of versions without a key trained without it.
    """
    node = settle(given, as_mapping(saved.node.get(RECORD)))
    for key in CHOSEN:
        group, _, name = key.rpartition(".")
        if find_option(node, key) != AUTO:
            continue
        if name in (as_mapping(saved.node.get(group)) if group else saved.node):
            node = replace_option(node, key, find_option(saved.node, key))
        elif group:
            node[group] = {k: v for k, v in node[group].items() if k != name}
    return _keep_constraints(saved, node)


def _keep_constraints(saved: Saved, node: dict[str, Any]) -> dict[str, Any]:
    """Keep the run's own options of constraints if the given ones are `auto`."""
    for name, options in as_mapping(node.get("constraint")).items():
        for option, value in as_mapping(options).items():
            key = f"constraint.{name}.{option}"
            if value == AUTO and (own := find_option(saved.node, key)) is not None:
                node = replace_option(node, key, own)
    return node


def keep_normalization(saved: Saved, node: dict[str, Any]) -> dict[str, Any]:
    """Replace `auto` by the normalization that the run began with: another version may choose another."""
    kind = as_mapping(load_state(saved.checkpoint).get("data")).get("normalization")
    return settle(node, {"dataset.normalization": kind}) if kind in get_args(Kind) else node


def _take(node: dict[str, Any], key: str, given: Mapping[str, Any]) -> None:
    """Set a key to the given value as a whole."""
    group, _, name = key.partition(".")
    if not name:
        node[group] = given[group]
    elif isinstance(inner := given[group], Mapping):
        node[group] = {**as_mapping(node.get(group)), name: inner[name]}
    else:
        node[group] = inner  # the check refuses it later


def _is_as_before(key: str, saved: Saved, given: Mapping[str, Any]) -> bool:
    try:
        return _get_value(given, key) == _get_value(saved.node, key)
    except (KeyError, TypeError):
        return False


def check_same(saved: Saved, given: Mapping[str, Any], words: Sequence[str]) -> None:
    """Raise ConfigError if the configuration is that of another run, with the words that cause it.

    words: as typed. If none is a cause, the first difference stands for all: the run began with other words,
    or in a version with other defaults.
    """
    if changed := find_changes(saved, given):
        onward = f"{get_command()} {shlex.quote(f'resume={saved.folder}')}"
        own = f"ontinue with the run's own values: {onward}"
        typed, first = [read_key(word) for word in words], next(iter(changed))
        causes = [
            f"{key}={value}"
            for key, value in changed.items()
            if not {key, f"{key}._target_"}.isdisjoint(typed)
        ]
        if len(causes) < len(changed):  # what several keys have in common
            causes += [word for word in words if read_key(word) in BUNDLES]
        remedy = f"Remove it, or c{own}" if causes else f"C{own}"
        if saved.checkpoint.name != LAST:
            remedy = ANEW
        causes = causes or [f"{first}={changed[first]}"]
        raise ConfigError([_build_problem(word, saved, remedy) for word in causes])


def find_changes(saved: Saved, given: Mapping[str, Any]) -> dict[str, Any]:
    """Find the keys that make it another run, with their given values.

    For a group with another option, only the group is returned; for another model, no group that it sets.
    """
    own = {**LATER, **saved.node}
    others = [key for key in own if _list_classes(own[key]) != _list_classes(given.get(key))]
    brought = BROUGHT if "model" in others else ()
    changed = {
        key: _format_value(given.get(key))
        for key in others
        if not is_harmless(key) and key not in brought
    }
    before, now = dict(flatten(own)), dict(flatten({**LATER, **given}))
    return changed | {
        key: now.get(key)
        for key in {**now, **before}
        if before.get(key) != now.get(key)
        and not is_harmless(key)
        and key.partition(".")[0] not in (*changed, *brought)
    }


def _list_classes(node: Any) -> Any:
    """Return the classes that identify a group's option."""
    if not isinstance(node, Mapping):
        return None
    if "_target_" in node:
        return node["_target_"]
    return [(name, _list_classes(part)) for name, part in node.items() if isinstance(part, Mapping)]


def check_length(saved: Saved, node: Mapping[str, Any]) -> None:
    """Raise UserError if an unfinished run has trained longer than the given limit."""
    trainer = node.get("trainer")
    if saved.value is not None or not isinstance(trainer, Mapping):
        return
    for key, done, unit in (
        ("max_epochs", saved.epoch, "epoch"),
        ("max_steps", saved.steps - 1, "step"),
    ):
        wanted = trainer.get(key)
        if isinstance(wanted, int) and 0 < wanted <= done:
            what = f"the run has trained for more than {done:,} {unit}{'' if done == 1 else 's'} already"
            raise UserError(
                f"trainer.{key}={wanted}", what, f"Write trainer.{key}={done + 1} or more."
            )


def check_time(saved: Saved, node: Mapping[str, Any]) -> None:
    """Raise UserError if a finished run would train on, but its time limit is reached."""
    limit = as_mapping(node.get("trainer")).get("max_time")
    if not (isinstance(limit, str) and is_duration(limit)):
        return
    if saved.value is None or saved.is_done(node):
        return
    callbacks = as_mapping(load_state(saved.checkpoint).get("callbacks"))
    elapsed = as_mapping(as_mapping(callbacks.get("Timer")).get("time_elapsed")).get("train")
    if isinstance(elapsed, float) and elapsed >= parse_duration(limit):
        what = "the run has trained for this time already"
        remedy = f"Write trainer.max_time={format_duration(2 * parse_duration(limit))}."
        raise UserError(f"trainer.max_time={limit}", what, remedy)


def is_harmless(key: str) -> bool:
    return any(key == known or key.startswith(f"{known}.") for known in HARMLESS)


def _build_problem(word: str, saved: Saved, remedy: str = ANEW) -> Problem:
    try:
        before = f"with {_format_value(_get_value(saved.node, read_key(word)))}"
    except (KeyError, TypeError):
        before = "without it"
    what = f"{saved.folder} was trained {before}, and a resumed run cannot change it"
    return Problem(word, what, remedy)


def _format_value(value: Any) -> str:
    """Format a value in a word or two."""
    if isinstance(value, Mapping):
        target = value.get("_target_")
        names = f"[{','.join(map(str, value))}]"
        return shorten(str(target).rpartition(".")[2] if target else names, 60)
    return shorten("null" if value is None else value, 60)


def _get_value(node: Mapping[str, Any], key: str) -> Any:
    for name in key.split("."):
        node = node[name]
    return node
