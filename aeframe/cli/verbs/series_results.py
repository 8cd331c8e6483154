"""Scores and reconstructions of series: a row for each step."""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aeframe.cli.verbs.outputs import replace_file
from aeframe.cli.verbs.series_inputs import list_series_windows, name_steps, read_series
from aeframe.cli.verbs.series_picture import draw_scores, find_stretches
from aeframe.core.errors import UserError
from aeframe.data.series.recording import Recording
from aeframe.data.windows import choose_stride
from aeframe.runs.model import Model
from aeframe.runs.steps import COVERS, StepResults, convert_steps, measure_steps

LISTED = 5  # stretches to print


def measure_series(words: list[str], model: Model) -> list[tuple[Recording, StepResults]]:
    """Measure each step of the series in files. Raises UserError."""
    found, window = read_series(words, model), model.shape[1]
    stride = choose_stride(sum(one.values.shape[1] for one in found), window, COVERS)
    rows = [list_series_windows(one, window, stride) for one in found]
    return [(one, measure_steps(model, each)) for one, each in zip(found, rows, strict=True)]


def score_series(options: argparse.Namespace, model: Model, out: Path) -> None:
    """Write the score of each step, in time, with its channel of the largest error, and print the worst.

    A picture shows the series with the largest score.
    """
    known = model.description.step_errors
    if known is None or not known.values:
        what = "holds no errors of validation steps"
        raise UserError(options.run, what, "Give a run that has finished.")
    limit = known.find_limit(options.percentile)
    results = measure_series(options.input, model)
    names = [channel.name for channel in model.description.data.usual]
    with replace_file(out) as file:
        if out.suffix.lower() == ".png":
            one, made = max(results, key=lambda result: np.nanmax(result[1].scores))
            draw_scores(one, made, limit, names, model.shape[1]).savefig(file, format="png")
        else:
            text = io.TextIOWrapper(file, "utf-8", "surrogateescape", newline="")
            csv.writer(text).writerows(_list_rows(results, limit, names))
            text.flush()
            text.detach()
    stretches, above, steps = list[tuple[float, str]](), 0, 0
    for one, made in results:
        where = f"{one.where.removeprefix('dataset.path=')} " if len(results) > 1 else ""
        stretches += _list_stretches(made.scores > limit, made, name_steps(one), names, where)
        above += int((made.scores > limit).sum())
        steps += int((~np.isnan(made.scores)).sum())
    for _, told in sorted(stretches, key=lambda stretch: -stretch[0])[:LISTED]:
        print(told)
    print(
        f"{above:,} of {steps:,} steps ({above / max(steps, 1):.1%}) exceed {limit:.5g}, "
        f"percentile {options.percentile:.5g} of {known.count or len(known.values):,} "
        f"{'validation' if known.split == 'val' else 'training'} steps"
    )
    print(f"Scores in time: {out}")


def _list_rows(
    results: Sequence[tuple[Recording, StepResults]], limit: float, names: Sequence[str]
) -> Iterator[list[Any]]:
    """List the rows of the table: a header, and one for each step."""
    several = len(results) > 1
    first = "time" if results[0][0].times is not None else "step"
    head = ["file"] * several + [first, "score", "is_outlier", "window_score"]
    yield [*head, "channel", "seen", "expected", *(f"error_{name}" for name in names)]
    for one, made in results:
        where, worst = (
            one.where.removeprefix("dataset.path="),
            np.nan_to_num(made.squares).argmax(0),
        )
        for step, (at, score) in enumerate(zip(name_steps(one), made.scores.tolist(), strict=True)):
            row = [where] * several + [at]
            if np.isnan(score):  # no window covers it
                yield [*row, *[""] * (6 + len(names))]
                continue
            channel = worst[step]
            pair = one.values[channel, step], made.restored[channel, step]
            row += [
                f"{score:.9g}",
                score > limit,
                f"{made.of_windows[step]:.9g}",
                names[channel],
            ]
            yield [*row, *(f"{value:.9g}" for value in (*pair, *made.squares[:, step]))]


def _list_stretches(
    above: np.ndarray, made: StepResults, at: np.ndarray, names: Sequence[str], where: str
) -> list[tuple[float, str]]:
    """List the stretches of steps above the limit, each with its largest score and a line about it."""
    found = []
    for begin, end in find_stretches(above):
        most = float(made.scores[begin:end].max())
        channel = names[int(made.squares[:, begin:end].mean(1).argmax())]
        length = f"{end - begin:,} step{'' if end - begin == 1 else 's'}"
        place = f"{where}{at[begin]}" + (f" to {at[end - 1]}" if end - begin > 1 else "")
        found.append((most, f"{most:.5g}  {place} ({length}), channel {channel}"))
    return found


def reconstruct_series(options: argparse.Namespace, model: Model, out: Path) -> None:
    """Write the reconstruction of series: .npy [T, C], or .csv with the times. Uncovered steps stay."""
    results = measure_series(options.input, model)
    made = [convert_steps(model, each.restored, one.values) for one, each in results]
    if out.suffix.lower() == ".npy":
        with replace_file(out) as file:
            np.lib.format.write_array(file, np.ascontiguousarray(np.concatenate(made, 1).T))
    else:
        names = [channel.name for channel in model.description.data.usual]
        with replace_file(out) as file:
            text = io.TextIOWrapper(file, "utf-8", "surrogateescape", newline="")
            writer = csv.writer(text)
            writer.writerow(["time" if results[0][0].times is not None else "step", *names])
            for (one, _), values in zip(results, made, strict=True):
                for at, row in zip(name_steps(one), values.T.tolist(), strict=True):
                    writer.writerow([at, *("" if np.isnan(v) else f"{v:.9g}" for v in row)])
            text.flush()
            text.detach()
    print(f"Reconstruction of {sum(v.shape[1] for v in made):,} steps: {out}")
