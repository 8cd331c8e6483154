"""How well a network knows samples: each by itself, and all together."""

from __future__ import annotations

import argparse
from typing import Any

from aeframe.cli.verbs.verb import Verb, add_input, add_out, add_run, loaded
from aeframe.core.strict_json import format_cell, format_json

LISTED = 5  # samples that are shown


def _score_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    add_input(parser)
    parser.add_argument(
        "--percentile",
        type=float,
        default=99.0,
        metavar="P",
        help="of the training samples' scores: what is above it is marked (99)",
    )
    add_out(parser, "the table, in .csv")


def _score(options: argparse.Namespace) -> None:
    import csv
    import io

    import numpy as np

    from aeframe.cli.verbs.given import reading
    from aeframe.cli.verbs.inputs import opened
    from aeframe.cli.verbs.outputs import free_place, say, shown, whole_file

    out = free_place(options, (".csv",))
    model = loaded(options)
    limit = model.threshold(options.percentile)
    given = opened(options.input, model, options)
    with reading(given):
        blocks = shown(given.blocks(model.batch_size), given.count, "Scoring")
        scores = np.concatenate(list(model.score(blocks)))
    order = np.argsort(-scores, kind="stable")
    names: Any = range(given.count) if given.names is None else given.names
    with whole_file(out) as file:
        text = io.TextIOWrapper(file, "utf-8", "surrogateescape", newline="")
        writer = csv.writer(text)
        writer.writerow(["row" if given.names is None else "name", "score", "above"])
        for i in order:
            writer.writerow([names[i], f"{scores[i]:.9g}", int(scores[i] > limit)])
        text.flush()
        text.detach()
    above = int((scores > limit).sum())
    for i in order[:LISTED]:
        print(f"{scores[i]:.5g}  {names[i]}{'  above' if scores[i] > limit else ''}")
    print(
        f"{above:,} of {given.count:,} samples ({above / given.count:.1%}) are above {limit:.5g}, "
        f"as {100 - options.percentile:.4g}% of the training samples are"
    )
    say(out, "Scores, worst first")


def _evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        f"{parser.description}\n\nIts own test split comes in training's batches, and so with the same noise "
        "(on a device\nof the same kind); --batch-size is for other samples."
    )
    add_run(parser)
    add_input(parser, count="*")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _evaluate(options: argparse.Namespace) -> None:
    from aeframe.cli.verbs.measuring import of_input, of_test_split

    model = loaded(options)
    found = of_input(model, options) if options.input else of_test_split(model, options.run)
    if options.json:
        print(format_json(found))
    else:
        _print(found, model.metrics)


def _print(found: dict[str, Any], before: dict[str, float]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table()
    table.add_column("")
    table.add_column("now", justify="right", style="bold")
    table.add_column("at the end of training", justify="right")
    for name, value in found["metrics"].items():
        known = format_cell(before[name], ".5g") if name in before else ""
        table.add_row(name, format_cell(value, ".5g"), known)
    console = Console(soft_wrap=True, highlight=False, markup=False)
    console.print(table)
    for name, baseline in found.get("baselines", {}).items():
        measured = (f"{key} {format_cell(value, '.5g')}" for key, value in baseline.items())
        console.print(f"{name}: {', '.join(measured)}")
    if "copy_check" in found:
        check = found["copy_check"]
        ratio = f"noise is reconstructed {check['ratio']:.1f} times worse than data"
        console.print(f"Copy check: {ratio}. {check['sentence']}")


VERBS = (
    Verb(
        "score",
        "the reconstruction error of each sample, worst first",
        "aeframe score outputs/DAY/RUN my_images/ --out scores.csv",
        _score_arguments,
        _score,
    ),
    Verb(
        "evaluate",
        "the metrics on the run's own test split, or on other samples",
        "aeframe evaluate outputs/DAY/RUN",
        _evaluate_arguments,
        _evaluate,
    ),
)
