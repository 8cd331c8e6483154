"""Report of a run in the terminal: at its beginning and at its end."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from aeframe.config.auto_record import RECORD
from aeframe.config.differences import find_differences, list_words
from aeframe.constraints.constrained import ConstrainedAutoencoder
from aeframe.core.process import shorten_path
from aeframe.core.strict_json import format_cell
from aeframe.data.spec import Nouns
from aeframe.evaluation.card import Card
from aeframe.evaluation.card_table import list_measures, list_rows
from aeframe.evaluation.representation import Representation
from aeframe.runs.checkpoint import Saved
from aeframe.training.build import Built
from aeframe.training.next_commands import LONGER, list_next_commands, repeat_with
from aeframe.training.outcome import Outcome

MOST_WORDS = 12
"""Overrides that are printed at most."""


def print_opening(built: Built, folder: Path | None, saved: Saved | None) -> None:
    """Print the model, the data, the device, and all overrides.

    folder: None for a run from Python, which prints neither folder nor overrides. saved: the checkpoint from
    which the run is resumed.
    """
    node, spec = built.node, built.data.spec
    console = Console(soft_wrap=True, highlight=False, markup=False)
    for line in (describe_run(built), *built.data.source.list_findings()):
        console.print(line)
    chosen = {
        key: value for key, value in (node.get(RECORD) or {}).items() if value not in (None, [])
    }
    chosen.pop("init_from.identity", None)
    for key in ("model.latent_dim", "model.allow_undercomplete"):  # the first line says them
        chosen.pop(key, None)
    if built.data.kind == "auto":
        chosen.pop("dataset.normalization", None)  # the next line says why
    if chosen:
        console.print(f"Chosen for this data: {' '.join(list_words(chosen))}")
    if built.begun is not None:
        console.print(built.begun)
    if built.data.kind == "auto":
        console.print(f"Normalization: {spec.normalization}, as {built.data.reason}.")
    for note in built.notes:
        console.print(f"Note: {note}", style="yellow")
    if saved is not None:
        print_resumption(built, saved)
    if folder is None:
        return
    console.print(f"Run folder: {shorten_path(folder)}")
    if words := find_differences(node):
        more = f" and {len(words) - MOST_WORDS} more" if len(words) > MOST_WORDS else ""
        shown = " ".join(map(shlex.quote, words[:MOST_WORDS]))
        console.print(f"Not the defaults: {shown}{more}")


def print_resumption(built: Built, saved: Saved) -> None:
    """Print where a run resumes."""
    last = built.node["trainer"].get("max_epochs")
    epoch = f"{saved.epoch + 1} of {last}" if isinstance(last, int) else f"{saved.epoch + 1}"
    print(f"Resuming at step {saved.steps:,} (epoch {epoch}).")


def describe_run(built: Built) -> str:
    """Describe the model, its sizes, the data, the device and the seed in one line."""
    net = built.net
    weights = sum(p.numel() for p in net.model.parameters() if p.requires_grad)
    device = built.trainer.get("accelerator", "cpu")
    constraints, spec = " + ".join(net.constraints) or "no constraint", built.data.spec
    return (
        f"{type(net.model).__name__} autoencoder with {constraints}: {describe_sizes(net)}; "
        f"{weights:,} weights; "
        f"{net.model.likelihood.describe()}; "
        f"{built.data.source.description()}, {spec.nouns.count_samples(spec.samples, 'training')}; "
        f"{device}, seed {built.node['seed']}"
    )


def describe_sizes(net: ConstrainedAutoencoder) -> str:
    """Describe the shapes of a sample and its code, and the ratio of their sizes."""
    model = net.model
    counts = [part.active_units(model.latent_dim) for _, part in net.parts]
    active = min((number for number in counts if number is not None), default=None)
    used = active or model.latent_dim
    ratio = f"{max(model.inputs / used, used / model.inputs):.1f}"
    rate = f"compression {ratio}:1" if used <= model.inputs else f"expansion 1:{ratio}"
    sizes = (model.shape, model.code_shape, model.written_shape)
    shape, code, target = (" x ".join(map(str, n)) for n in sizes)
    some = f", {active:,.0f} of them active" if active else ""
    some += f" -> target {target}" if net.target_normalization is not None else ""
    return f"{shape} -> {code} units{some}; {rate} ({model.inputs:,} values to {used:,.0f})"


def print_ending(outcome: Outcome, folder: Path, changed: str | None, *, commands: bool) -> None:
    """Print the table of test metrics, the copy check, what happened, and what to type next.

    changed: a sentence about the codec. commands: whether a command began the run. A run from Python prints
    neither its folder, which may be temporary, nor the test, which the caller gets.
    """
    console = Console(soft_wrap=True, highlight=False, markup=False)
    sentences = [*outcome.reasons, *([changed] if changed else [])]
    if not commands:
        for sentence in [*sentences, *map(str, outcome.findings)]:
            console.print(sentence)
        return
    card, onward = outcome.tested.card, list_onward(outcome, folder)
    console.print(_make_table(card, outcome.length))
    if card.representation is not None:
        console.print(_make_second_table(card.representation, card.nouns))
    console.print(card.check_line, style="bold red" if card.copies_input else None)
    for sentence in [*sentences, *list_advice(outcome)]:
        console.print(sentence)
    for what, text in {"Run folder": shorten_path(folder), **onward}.items():
        console.print(f"{f'{what}:':<13} {text}")


def list_onward(outcome: Outcome, folder: Path) -> dict[str, str]:
    """List the commands after a run by their purpose."""
    built = outcome.attempt.built
    found = list_next_commands(
        built.node,
        outcome.result,
        folder,
        compresses=built.net.step is not None,
        is_table=built.data.spec.columns is not None,
    )
    if not outcome.needs_longer:
        found.pop(LONGER, None)  # more of the same is no remedy
    return found


def print_line(outcome: Outcome, folder: Path) -> None:
    """Print the end of a sweep's job in one line: its error, its length, and what is wrong with it."""
    result = outcome.result
    by = result["optimized_metric"]
    value = format_cell(by["value"], ".5g")
    told = [f"{by['name']} {value} after {outcome.length}"]
    if outcome.tested.card.copies_input:
        told.append("it copies its input")
    if rules := list(dict.fromkeys(finding.rule for finding in outcome.findings)):
        told.append(f"doctor: {', '.join(rules).replace('_', ' ')}")
    console = Console(soft_wrap=True, highlight=False, markup=False)
    console.print(f"{folder.name}: {'; '.join(told)}")


def list_advice(outcome: Outcome) -> Iterator[str]:
    """Yield the doctor's findings, and with the chosen one its command, unless it is to train longer."""
    for finding in outcome.findings:
        command = None
        if finding is outcome.chosen and finding.remedy is not None and not finding.longer:
            command = repeat_with(outcome.attempt.built.node, finding.remedy)
        yield finding.format_for_end(command)


def _make_second_table(found: Representation, nouns: Nouns) -> Table:
    columns, rows = list_measures(found)
    seen = nouns.count_samples(found.samples, "test")
    table = Table(title=f"Representation of {seen} (size), ± standard error", title_justify="left")
    table.add_column("")
    for column in columns:
        table.add_column(column, justify="right", style="bold" if column == columns[0] else None)
    for row in rows:
        table.add_row(*row)
    return table


def _make_table(card: Card, length: str) -> Table:
    title = f"Test metrics after {length}"
    table = Table(title=title, title_justify="left")
    table.add_column("")
    table.add_column("model", justify="right", style="bold")
    for baseline in card.baselines:
        table.add_column(baseline.name, justify="right")
    for row in list_rows(card):
        table.add_row(*row)
    return table
