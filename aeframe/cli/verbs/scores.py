"""The verbs score and evaluate: the score of each sample, and metrics of all."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from aeframe.cli.verbs.verb import Verb, add_input, add_out, add_run, load_model
from aeframe.core.errors import UserError
from aeframe.core.strict_json import format_cell, format_json

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from aeframe.cli.verbs.score_truth import Truth
    from aeframe.data import Nouns
    from aeframe.runs.known_errors import KnownErrors
    from aeframe.runs.model import Model

LISTED = 5  # samples to print


def _add_score_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    add_input(parser)
    parser.add_argument(
        "--percentile",
        type=float,
        default=99.0,
        metavar="P",
        help="mark scores that P %% of new samples like the training data do not exceed, judged by the "
        "scores of the validation samples (default: 99)",
    )
    parser.add_argument(
        "--against",
        metavar="FILE",
        help="the truth, to measure the scores by: 1 for an outlier, 0 for a usual sample, in the order of "
        "INPUT; a .npy file, or a .csv file with the column is_outlier or one column alone",
    )
    parser.add_argument(
        "--curves", metavar="PATH", help="with --against: the ROC and precision curves, in .png"
    )
    parser.description = (
        f"{parser.description}\n\nRows of a table keep their order, and their score is the "
        "novelty: how unusual error\nand distance from the mean are (0: usual, 3: rare). Beside it "
        "stand its percentile\namong known scores and the three columns with the largest shares of "
        "it, with the\nexpected and the seen values."
    )
    add_out(
        parser, "the table, in .csv; for tables also .parquet; for series also a picture, in .png"
    )


def _score(options: argparse.Namespace) -> None:
    from aeframe.cli.verbs.outputs import check_output_path
    from aeframe.cli.verbs.score_truth import Truth
    from aeframe.cli.verbs.series_inputs import is_of_series
    from aeframe.cli.verbs.series_results import score_series
    from aeframe.cli.verbs.table_inputs import are_tables, open_tables
    from aeframe.cli.verbs.table_results import write_scores
    from aeframe.core.table_names import is_table

    is_parquet = all(map(is_table, options.input)) and options.out.lower().endswith(".parquet")
    is_png = options.out.lower().endswith(".png")
    ending = ".parquet" if is_parquet else ".png" if is_png else ".csv"
    out, truth = check_output_path(options, (ending,)), Truth.read(options)
    model = load_model(options)
    if is_png and not is_of_series(model):
        what = "is a picture, which only scores of series have"
        raise UserError(f"--out {options.out}", what, "Write --out FILE.csv.")
    if model.target_shape is not None:
        what = "this model was trained with targets, by which it scores samples"
        raise UserError("score", what, "Score pairs in Python: aeframe.load(RUN).score(x, target).")
    if is_of_series(model):
        truth.refuse("is not for series, whose steps may have no score")
        score_series(options, model, out)
        return
    limit = model.threshold(options.percentile)
    if are_tables(options.input, model):
        table = open_tables(options.input, model)
        truth.require(table.count)
        scores, worst = write_scores(out, table, limit)
        order = "in the order of the rows"
    else:
        scores, worst = _score_samples(options, model, out, limit, truth)
        order = "worst first"
    _report(options, model, scores, limit, worst)
    truth.report(scores)
    print(f"Scores, {order}: {out}")


def _score_samples(
    options: argparse.Namespace, model: Model, out: Path, limit: float, truth: Truth
) -> tuple[np.ndarray, list[str]]:
    """Write the scores of samples, worst first. Returns them in order, and lines on the worst."""
    import csv
    import io

    import numpy as np

    from aeframe.cli.verbs.given import explain_samples
    from aeframe.cli.verbs.inputs import open_input
    from aeframe.cli.verbs.outputs import replace_file, show_progress

    given = open_input(options.input, model, options)
    truth.require(given.count)
    with explain_samples(given):
        blocks = show_progress(given.blocks(model.batch_size), given.count, "Scoring")
        scores = np.concatenate(list(model.score(blocks)))
    order = np.argsort(-scores, kind="stable")
    with replace_file(out) as file:
        text = io.TextIOWrapper(file, "utf-8", "surrogateescape", newline="")
        writer = csv.writer(text)
        writer.writerow([*given.heads, "score", "is_outlier"])
        for i in order.tolist():
            writer.writerow([*given.name_row(i), f"{scores[i]:.9g}", scores[i] > limit])
        text.flush()
        text.detach()
    return scores, [
        f"{scores[i]:.5g}  {' '.join(map(str, given.name_row(i)))}{'  outlier' if scores[i] > limit else ''}"
        for i in order[:LISTED].tolist()
    ]


def _report(
    options: argparse.Namespace, model: Model, scores: Any, limit: float, worst: list[str]
) -> None:
    """Print the worst samples, and how many exceed the limit."""
    for line in worst:
        print(line)
    above, nouns = int((scores > limit).sum()), model.description.data.nouns
    print(
        f"{above:,} of {nouns.count_samples(len(scores))} ({above / len(scores):.1%}) exceed {limit:.5g}, "
        f"{_explain_limit(model.description.errors, options.percentile, nouns)}"
    )


def _explain_limit(errors: KnownErrors, percentile: float, nouns: Nouns) -> str:
    """Explain how many samples like the training data exceed the limit."""
    noun = nouns.sample
    if errors.count is None:
        return (
            f"percentile {percentile:.5g} of the training {noun}s; new {noun}s exceed it more often"
        )
    validation = nouns.count_samples(errors.count, "validation")
    share, least = 1 - percentile / 100, errors.find_least_share()
    if share >= least:
        known = f"percentile {percentile:.5g} of {validation}"
        return f"{known}: expect {100 * share:.4g}% of new {noun}s like them"
    known = f"the largest score of {validation}"
    return (
        f"{known}: expect up to {100 * least:.2g}% of new {noun}s like them, not {100 * share:.4g}%"
    )


def _add_evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        f"{parser.description}\n\nFor the run's own test split, batch size and noise are "
        "those of training (on a\ndevice of the same kind); --batch-size applies only to INPUT."
    )
    add_run(parser)
    add_input(parser, count="*")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _evaluate(options: argparse.Namespace) -> None:
    from aeframe.cli.verbs.measuring import evaluate_input, evaluate_test_split

    model = load_model(options)
    found = (
        evaluate_input(model, options) if options.input else evaluate_test_split(model, options.run)
    )
    if options.json:
        print(format_json(found))
    else:
        _print(found, model.metrics)


def _print(result: dict[str, Any], before: dict[str, float]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table()
    table.add_column("")
    table.add_column("now", justify="right", style="bold")
    table.add_column("at the end of training", justify="right")
    for name, value in result["metrics"].items():
        earlier = format_cell(before[name], ".5g") if name in before else ""
        table.add_row(name, format_cell(value, ".5g"), earlier)
    console = Console(soft_wrap=True, highlight=False, markup=False)
    console.print(table)
    for name, baseline in result.get("baselines", {}).items():
        measured = (f"{key} {format_cell(value, '.5g')}" for key, value in baseline.items())
        console.print(f"{name}: {', '.join(measured)}")
    if check := result.get("copy_check"):
        ratio = f"noise is reconstructed {check['ratio']:.1f} times worse than data"
        console.print(f"Copy check: {ratio}. {check['sentence']}")


VERBS = (
    Verb(
        "score",
        "list the reconstruction error of each sample, worst first",
        "aeframe score outputs/DAY/RUN my_images/ --out scores.csv",
        _add_score_arguments,
        _score,
    ),
    Verb(
        "evaluate",
        "measure the metrics on the run's own test split, or on other samples",
        "aeframe evaluate outputs/DAY/RUN",
        _add_evaluate_arguments,
        _evaluate,
    ),
)
