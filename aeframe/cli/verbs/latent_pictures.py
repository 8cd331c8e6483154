"""The verbs traverse and map: pictures of what each code unit, and two of them together, mean."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from aeframe.cli.verbs.verb import Verb, add_input, add_out, add_run, load_model
from aeframe.core.errors import UserError
from aeframe.core.plain import as_mapping

if TYPE_CHECKING:
    import numpy as np

    from aeframe.runs.model import Model

MANY = 2000  # samples whose codes give the range of each unit
SHARE = 2.0  # percent of the codes that lie beyond each end of the range
UNITS = 8  # units that are traversed by default
TRIED = 512  # units whose effect is measured


def _add_traverse_arguments(parser: argparse.ArgumentParser) -> None:
    _add_arguments(parser, "code units to change (default: the 8 that change the output most)")
    parser.add_argument(
        "--row", type=int, default=0, help="row number of the sample to change (default: 0)"
    )
    parser.add_argument("--steps", type=int, default=9, help="values of each unit (default: 9)")


def _add_map_arguments(parser: argparse.ArgumentParser) -> None:
    _add_arguments(parser, "the two code units (default: those that change the output most)")
    parser.add_argument("--steps", type=int, default=9, help="values of each unit (default: 9)")


def _add_arguments(parser: argparse.ArgumentParser, units: str) -> None:
    add_run(parser)
    add_input(parser)
    parser.add_argument("--units", metavar="A,B,...", help=units)
    add_out(parser, "the picture, in .png")


def _traverse(options: argparse.Namespace) -> None:
    import numpy as np

    from aeframe.cli.verbs.outputs import check_output_path
    from aeframe.cli.verbs.sheets import Line, Sheet

    out = check_output_path(options, (".png",))
    model, x, codes, usual = _read_codes(options, "traverse")
    if not 0 <= options.row < len(x):
        raise UserError(f"--row {options.row}", f"is not a row from 0 to {len(x) - 1}")
    units = _choose_units(options, model, usual, UNITS)
    sheet = Sheet(model)
    base = codes[options.row]
    restored = model.decode(base[None])
    sheet.add_row(np.concatenate([x[options.row][None], restored]), "", ["input", "restored"])
    lines = list[Line]()
    for unit in units:
        values = _spread(usual[:, unit], options.steps)
        changed = np.repeat(base[None], len(values), 0)
        changed[:, unit] = values
        lines.append(Line(unit, values, model.decode(changed)))
    told = sheet.add_traversal(lines)
    note = (
        f"The code of {sheet.noun} {options.row} with one unit at another value, from the {SHARE:g}nd to the "
        f"{100 - SHARE:g}th percentile of the codes of {len(usual):,} {sheet.noun}s.{sheet.about}{told}"
    )
    sheet.write(out, "Effect of each unit", note)
    print(f"{len(units)} units of {sheet.noun} {options.row} at {options.steps} values: {out}")


def _map(options: argparse.Namespace) -> None:
    import numpy as np

    from aeframe.cli.verbs.outputs import check_output_path
    from aeframe.cli.verbs.sheets import Sheet
    from aeframe.monitoring.dashboard.maps import Axis

    out = check_output_path(options, (".png",))
    model, _, _, codes = _read_codes(options, "map")
    if model.latent_dim < 2:
        what = "a map needs two code units, and this model has one"
        raise UserError(options.run, what, "Write aeframe traverse.")
    units = _choose_units(options, model, codes, 2)
    if len(units) != 2:
        raise UserError(f"--units {options.units}", "must be two units, such as 0,1")
    across, up = (_spread(codes[:, unit], options.steps) for unit in units)
    grid = np.repeat(codes.mean(0, keepdims=True), len(across) * len(up), 0)
    grid[:, units[0]] = np.tile(across, len(up))
    grid[:, units[1]] = np.repeat(up[::-1], len(across))
    first, second = (
        Axis(unit, [f"{v:.3g}" for v in values])
        for unit, values in zip(units, (across, up), strict=True)
    )
    sheet = Sheet(model)
    told = sheet.add_map(model.decode(grid), first, second)
    others = " All other units are at their mean." if model.latent_dim > 2 else ""
    note = (
        f"{told}{others} Both units go from the {SHARE:g}nd to the {100 - SHARE:g}th percentile of the "
        f"codes of {len(codes):,} {sheet.noun}s."
    )
    sheet.write(out, f"Map of units {units[0]} and {units[1]}", note)
    print(f"{options.steps} x {options.steps} codes of units {units[0]} and {units[1]}: {out}")


def _read_codes(
    options: argparse.Namespace, verb: str
) -> tuple[Model, np.ndarray, np.ndarray, np.ndarray]:
    """Read samples and encode them; the last array has the codes of the classes that were trained on.

    Raises UserError for a single sample, whose code has no range.
    """
    import numpy as np

    from aeframe.cli.verbs.given import explain_samples
    from aeframe.cli.verbs.inputs import open_input

    if not 2 <= options.steps <= 100:
        raise UserError(f"--steps {options.steps}", "must be from 2 to 100")
    model: Any = load_model(options)
    model.require_decoder(verb)
    given = open_input(options.input, model, options)
    with explain_samples(given):
        x = next(given.blocks(max(MANY, getattr(options, "row", 0) + 1)))
        codes = np.asarray(model.encode(x))
    if len(x) < 2:
        what = "holds one sample, and the range of each unit is that of many"
        raise UserError(given.where, what, "Give at least two samples.")
    return model, x, codes, codes[_find_trained(model, given.labels, len(codes))]


def _find_trained(model: Model, labels: list[str] | None, count: int) -> np.ndarray:
    """Find the samples whose classes were trained on, bool [count]; all if there are no labels."""
    import numpy as np

    dataset = as_mapping(model.description.config.get("dataset"))
    only, exclude = ([str(n) for n in dataset.get(key) or ()] for key in ("only", "exclude"))
    known = [(not only or name in only) and name not in exclude for name in (labels or [])[:count]]
    return np.array(known) if sum(known) > 1 else np.ones(count, bool)


def _choose_units(
    options: argparse.Namespace, model: Model, codes: np.ndarray, count: int
) -> list[int]:
    """Return the units that the command names, else those that change the output most."""
    import numpy as np

    size = codes.shape[1]
    if options.units is None:
        effects = _measure_effects(model, codes)
        return sorted(np.argsort(-effects, kind="stable")[:count].tolist())
    words = options.units.split(",")
    if not all(word.isdecimal() and int(word) < size for word in words):
        what = f"must be numbers of code units, from 0 to {size - 1}"
        raise UserError(f"--units {options.units}", what, "Write --units 0,1.")
    return [int(word) for word in words]


def _measure_effects(model: Model, codes: np.ndarray) -> np.ndarray:
    """Measure how much the output changes between one deviation below and above the mean of each unit, [m].

    Of many units, those with the smallest deviations are not tried: their effect is 0.
    """
    import numpy as np

    mean, deviation = codes.mean(0), codes.std(0)
    tried = np.argsort(-deviation, kind="stable")[:TRIED]
    steps = np.zeros((len(tried), codes.shape[1]), codes.dtype)
    steps[np.arange(len(tried)), tried] = deviation[tried]
    above, below = (np.asarray(model.decode(mean + s), np.float64) for s in (steps, -steps))
    effects = np.zeros(codes.shape[1])
    effects[tried] = np.square(above - below).reshape(len(tried), -1).mean(1)
    return effects


def _spread(values: np.ndarray, steps: int) -> np.ndarray:
    """Spread steps evenly over the usual range of a unit."""
    import numpy as np

    low, high = np.percentile(values, [SHARE, 100 - SHARE])
    return np.linspace(low, high, steps).astype(values.dtype)


VERBS = (
    Verb(
        "traverse",
        "draw one sample with each code unit at other values",
        "aeframe traverse outputs/DAY/RUN my_images/ --row 3 --out units.png",
        _add_traverse_arguments,
        _traverse,
    ),
    Verb(
        "map",
        "draw codes on a grid over two code units",
        "aeframe map outputs/DAY/RUN my_images/ --out map.png",
        _add_map_arguments,
        _map,
    ),
)
