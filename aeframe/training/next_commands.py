"""What to type after a run: each a command that can be pasted."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aeframe.config.datasets import dataset_names, dataset_options
from aeframe.config.differences import find_differences
from aeframe.core.durations import format_duration, parse_duration
from aeframe.core.process import get_command, shorten_path

TRAIN_ON = "Train on"


def again(node: Mapping[str, Any], remedy: str) -> str:
    """The command for a run like this one but for an override, as it is typed."""
    changed = remedy.partition("=")[0]
    kept = (word for word in find_differences(node) if word.partition("=")[0] != changed)
    return " ".join([get_command(), *map(shlex.quote, kept), remedy])


def next_commands(
    node: Mapping[str, Any], result: Mapping[str, Any], folder: Path, compresses: bool
) -> dict[str, str]:
    """The commands, by what they do: to look, to put the network to work, to train on.

    result: as in evaluation.json. compresses: whether the network is a codec.
    """
    run = shlex.quote(shorten_path(folder))
    found = {"TensorBoard": f"tensorboard --logdir {run}"}
    if samples := _samples(node["dataset"]):
        verb, out = ("compress", "samples.aez") if compresses else ("encode", "codes.npy")
        found[verb.capitalize()] = f"aeframe {verb} {run} {samples} --out {out}"
    if longer := _longer(node, result):
        resume = shlex.quote(f"resume={shorten_path(folder)}")
        found[TRAIN_ON] = f"{get_command()} {resume} {' '.join(longer)}"
    return found


def _samples(dataset: Mapping[str, Any]) -> str:
    """What a verb takes as INPUT to mean the data of this run; empty where it cannot be named."""
    words = [dataset.get("path") or dataset.get("root") or ""]
    for name in dataset_names():
        if dataset_options(name)["_target_"] == dataset["_target_"]:
            words = [name, "--root", words[0]] if words[0] else [name]
    words += ["--key", dataset["key"]] if dataset.get("key") else []
    words += ["--on-bad-sample", "skip"] if dataset.get("on_bad_sample") == "skip" else []
    return shlex.join(words) if words[0] else ""


def _longer(node: Mapping[str, Any], result: Mapping[str, Any]) -> list[str]:
    """Overrides with which a finished run trains on: twice as long, and past what ended it early."""
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
