"""Random configurations, each trained for a step or two and then used in every way.

python -m tests.stress.random_runs 300 0    300 of them from seed 0, with what went wrong
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import shlex
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Literal, get_args, get_origin

import numpy as np

from aeframe import load
from aeframe.cli import main as command
from aeframe.cli import train as training
from aeframe.cli.run_folders import Folders
from aeframe.config.composition import CONF
from aeframe.config.signature import list_parameters
from aeframe.config.targets import resolve
from aeframe.core.bounds import Above, AtLeast, AtMost, Below
from tests.support.pairs import CONSTRAINTS, VARIANTS, choice
from tests.support.runs import TINY

COUNT = 40  # samples
ARRAYS: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "table": lambda g: g.normal(size=(COUNT, 12)) * 10.0 ** g.integers(-3, 4, 12),
    "singles": lambda g: g.normal(size=(COUNT, 20)).astype(np.float32) * 100,
    "shares": lambda g: g.uniform(size=(COUNT, 1, 6, 8)).astype(np.float32),
    "bytes": lambda g: g.integers(0, 256, (COUNT, 3, 9, 8), np.uint8),
    "bits": lambda g: g.integers(0, 2, (COUNT, 16)).astype(bool),
    "counts": lambda g: g.integers(-900, 900, (COUNT, 9)).astype(np.int16),
    "halves": lambda g: g.normal(size=(COUNT, 10)).astype(np.float16),
}
OFTEN = {
    "dataset.normalization": ("unit", "standard", "none"),
    "dataset.batch_size": (1, 7, 32),
    "trainer.precision": ("32-true", "64-true", "bf16-mixed", "high"),
    "trainer.accumulate_grad_batches": (1, 3),
    "trainer.gradient_clip_val": ("null", 0.1),
    "network": ("linear", "mlp", "conv"),
    "likelihood": ("gaussian", "gaussian", "gaussian", "bernoulli"),
    "optimizer._target_": ("torch.optim.Adam", "torch.optim.SGD", "torch.optim.AdamW"),
    "seed": (0, 7),
}
"""Keys of every run, which are drawn half of the time."""


def words(draw: random.Random, folder: Path) -> list[str]:
    """Draw the overrides of one configuration on data in a folder; some may be refused."""
    kind = draw.choice(sorted(ARRAYS))
    np.save(folder / "x.npy", ARRAYS[kind](np.random.default_rng(draw.randrange(2**32))))
    variant = draw.choice(VARIANTS)
    size = 99 if variant == "sparse" else draw.choice((2, 5))
    found = choice(variant, draw.choice(CONSTRAINTS))
    found += ["dataset=array", f"dataset.path={folder / 'x.npy'}", f"model.latent_dim={size}"]
    for key, values in OFTEN.items():
        if draw.random() < 0.5:
            found.append(f"{key}={draw.choice(values)}")
    if "network=linear" not in found:
        found.append("network.widths=[11]")
    for name in _constraints(found):
        found += _options(draw, f"constraint.{name}", CONF / "constraint" / f"{name}.yaml")
    if variant == "variational":
        found += _options(draw, "model", CONF / "model" / "variational.yaml")
    return [*TINY, *found]


def _constraints(found: list[str]) -> list[str]:
    (said,) = (word for word in found if word.startswith("constraint=["))
    return said.partition("[")[2].rstrip("]").split(",")


def _options(draw: random.Random, where: str, file: Path) -> Iterator[str]:
    """Draw values for the arguments of a class."""
    (line,) = (line for line in file.read_text().splitlines() if "_target_:" in line)
    for name, (_, hint) in list_parameters(resolve(line.split()[-1])).items():
        if name not in ("setting", "latent_dim") and draw.random() < 0.4:
            value = _value(draw, hint)
            if value is not None:
                yield f"{where}.{name}={value}"


def _value(draw: random.Random, hint: Any) -> Any:
    """Draw a value that a signature allows, often one of its limits; None if it says too little."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Literal:
        return draw.choice(args)
    if hint is bool:
        return draw.choice(("true", "false"))
    if origin is not Annotated:
        return _value(draw, draw.choice(args)) if args else None
    base, *bounds = args
    low = max((b.limit for b in bounds if isinstance(b, AtLeast | Above)), default=0.0)
    high = min((b.limit for b in bounds if isinstance(b, AtMost | Below)), default=10.0)
    ends = [b.limit for b in bounds if isinstance(b, AtLeast | AtMost)]
    start = max(low, 1e-3 * high)
    inner = start * (high / start) ** draw.uniform(0.01, 0.99)
    value = draw.choice([*ends, inner, inner])
    if base is int:
        return min(int(value), 50)
    if isinstance(base, type) or draw.random() < 0.7:
        return f"{value:.17g}"
    return f"{{schedule: linear, start: {value:.17g}, end: {inner:.17g}, steps: 2}}"


class UseError(Exception):
    """Error of a run that trained and could not be used, or that ended with a traceback."""


def put_to_use(said: list[str], folder: Path) -> str:
    """Train in `folder`/run and use the network; returns `refused`, `diverged` or `used`.

    Raises UseError.
    """
    run, data = str(folder / "run"), str(folder / "x.npy")
    status, text = _command(training.train, *said, f"hydra.run.dir={run}")
    if status:
        if "Traceback" in text or not text.strip():
            raise UseError(text)
        return "refused" if status == 2 else "diverged"
    code, out = str(folder / "codes.npy"), "--out"
    uses = [
        ("encode", run, data, out, code),
        ("decode", run, code, out, str(folder / "decoded.npy")),
        ("reconstruct", run, data, out, str(folder / "restored.npy")),
        ("score", run, data, out, str(folder / "scores.csv")),
        ("evaluate", run, "--json"),
        ("evaluate", run, data, "--json"),
    ]
    is_codec = any("constraint=[" in word and "rate" in word for word in said)
    if is_codec and np.load(data, mmap_mode="r").dtype.name not in ("float16", "bool"):
        uses.append(("compress", run, data, "--on-unlike", "keep", out, str(folder / "x.aez")))
        uses.append(("verify", run, str(folder / "x.aez")))
    for use in uses:
        status, text = _command(command.main, *use)
        if status:
            raise UseError(f"{shlex.join(use)}\n{text}")
    if not np.isfinite(np.load(code)).all():
        raise UseError("codes are not finite")
    best = load(folder / "run" / "checkpoints" / "best.ckpt")
    if best.identity != load(run).identity:
        raise UseError("the best checkpoint is another network")
    return "used"


def _command(main: Callable[[], Any], *argv: str) -> tuple[int, str]:
    """Return the exit status of a command, and its message."""
    before, said = sys.argv, io.StringIO()
    sys.argv = ["aeframe", *argv]
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            main()
    except SystemExit as end:
        return int(end.code or 0), said.getvalue()
    except BaseException:
        return 1, traceback.format_exc()
    finally:
        sys.argv = before
    return 0, said.getvalue()


def tried(seed: int) -> tuple[list[str], str]:
    """Try one configuration; returns its words and its outcome. Raises UseError."""
    with TemporaryDirectory() as scratch:
        folder, here = Path(scratch), Path.cwd()
        said = words(random.Random(seed), folder)
        os.chdir(folder)
        try:
            return said, put_to_use(said, folder)
        except UseError as failure:
            raise UseError(f"{seed}: {shlex.join(said)}\n{failure}") from None
        finally:
            os.chdir(here)


def main() -> None:
    """Try configurations, and print what went wrong."""
    parser = argparse.ArgumentParser("python -m tests.stress.random_runs", description=__doc__)
    parser.add_argument("count", type=int, help="of configurations")
    parser.add_argument("first", type=int, help="the seed of the first one")
    options = parser.parse_args()
    count, first = options.count, options.first
    Folders(make=False).register()
    found: dict[str, int] = {}
    for seed in range(first, first + count):
        try:
            came = tried(seed)[1]
        except UseError as failure:
            came = "FAILED"
            print(failure, flush=True)
        found[came] = found.get(came, 0) + 1
        if (seed + 1) % 25 == 0:
            print(seed, found, flush=True)
    print(found)


if __name__ == "__main__":
    main()
