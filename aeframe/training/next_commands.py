"""Commands to type after a run."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aeframe.config.datasets import list_dataset_names, read_dataset_options
from aeframe.config.differences import find_differences
from aeframe.core.durations import format_duration, parse_duration
from aeframe.core.process import get_command, get_flags, shorten_path

LONGER = "Train longer"


def repeat_with(node: Mapping[str, Any], remedy: str) -> str:
    """Return the command that repeats a run with one override changed."""
    changed = remedy.partition("=")[0]
    kept = (word for word in find_differences(node) if word.partition("=")[0] != changed)
    return " ".join([get_command(), *map(shlex.quote, kept), remedy])


def list_next_commands(
    node: Mapping[str, Any],
    result: Mapping[str, Any],
    folder: Path,
    *,
    compresses: bool = False,
    is_table: bool = False,
) -> dict[str, str]:
    """List commands by their purpose: open TensorBoard, use the network, train longer.

    result: as in evaluation.json. compresses: whether the network is a codec. is_table: whether samples are
    rows of a table.
    """
    run = shlex.quote(shorten_path(folder))
    found = {}
    if "tensorboard" in node.get("logger", ("tensorboard",)):
        found["TensorBoard"] = f"tensorboard --logdir {run}"
    if samples := _name_samples(node["dataset"]):
        uses = (
            {"encode": "codes.csv", "score": "scores.csv"} if is_table else {"encode": "codes.npy"}
        )
        for verb, out in ({"compress": "samples.aez"} if compresses else uses).items():
            found[verb.capitalize()] = f"aeframe {verb} {run} {samples} --out {out}{get_flags()}"
    if longer := _list_longer(node, result):
        words = [f"resume={shorten_path(folder)}", *longer, *_list_loggers(node)]
        found[LONGER] = f"{get_command()} {shlex.join(words)}"
    return found


def _list_loggers(node: Mapping[str, Any]) -> list[str]:
    """List the words that choose the loggers, which a resumed run takes from its command line."""
    words = find_differences(node)
    return [word for word in words if word.partition("=")[0].partition(".")[0] == "logger"]


def _name_samples(dataset: Mapping[str, Any]) -> str:
    """Return the INPUT by which a verb reads the data of this run; empty if no words can name it."""
    place = dataset.get("path") or dataset.get("root") or ""
    words = [place] if isinstance(place, str) else list(place)
    for name in list_dataset_names():
        if read_dataset_options(name)["_target_"] == dataset["_target_"]:
            words = [name, "--root", words[0]] if words[0] else [name]
    words += ["--key", dataset["key"]] if dataset.get("key") else []
    words += ["--on-bad-sample", "skip"] if dataset.get("on_bad_sample") == "skip" else []
    return shlex.join(words) if words[0] else ""


def _list_longer(node: Mapping[str, Any], result: Mapping[str, Any]) -> list[str]:
    """List the overrides that train a finished run twice as long, without the limits that ended it early."""
    ended, trainer = result["ended_by"], node["trainer"]
    limits = [key for key in ("max_steps", "max_epochs") if f"trainer.{key}" in ended]
    words = [f"trainer.{key}={2 * trainer[key]}" for key in limits]
    if "trainer.max_time" in ended:
        words.append(f"trainer.max_time={format_duration(2 * parse_duration(trainer['max_time']))}")
    if "until" in ended:
        words += [f"until.{key}=null" for key, value in node["until"].items() if value is not None]
    if "early_stopping" in ended:
        words.append("early_stopping.patience=null")
    return words
