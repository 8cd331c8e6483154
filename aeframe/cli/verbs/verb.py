"""What every verb of the command has: a name, help, arguments, and what it does."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from aeframe.config.datasets import dataset_names
from aeframe.core.errors import UserError

SPLITS = ("test", "val")
"""What `rd` takes for the run's own data."""


@dataclass(frozen=True)
class Verb:
    """One verb. example: what to type. arguments: adds its own to a parser. run: does it.

    Modules of verbs import what is heavy when they run: the command's help and completion need all of
    them.
    """

    name: str
    summary: str
    example: str
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], None]


class Parser(argparse.ArgumentParser):
    """Says what is wrong with the words in one line."""

    def error(self, message: str) -> NoReturn:
        raise UserError(self.prog.partition(" ")[2] or "VERB", message, f"Try {self.prog} --help.")


def add_run(parser: argparse.ArgumentParser) -> None:
    """The trained network."""
    parser.add_argument(
        "run", metavar="RUN", help="folder of a run or an export, model.safetensors, or checkpoint"
    )
    add_compute(parser)


def add_compute(parser: argparse.ArgumentParser, batch_size: int = 256) -> None:
    """Where the network computes, and how much at once."""
    parser.add_argument("--device", default="cpu", help="where to compute, e.g. cuda (cpu)")
    parser.add_argument(
        "--batch-size",
        type=int,
        default=batch_size,
        metavar="N",
        help=f"samples at a time ({batch_size})",
    )


def add_input(parser: argparse.ArgumentParser, count: str | None = "+") -> None:
    """Samples. count: how many words there may be."""
    parser.add_argument(
        "input",
        nargs=count,
        metavar="INPUT",
        help="folder of images, image files, .npy or .npz files, or one of "
        + ", ".join(dataset_names()),
    )
    add_source(parser)


def add_source(parser: argparse.ArgumentParser) -> None:
    """What tells which samples of an input."""
    parser.add_argument("--key", metavar="NAME", help="the array in an .npz of several")
    parser.add_argument("--root", default="data", help="folder that a dataset lies in (data)")
    parser.add_argument(
        "--split",
        choices=["train", "test"],
        help="of a dataset (test, where it has one, else all of it)",
    )
    add_on_bad_sample(parser)
    add_max_megapixels(parser)


def add_max_megapixels(parser: argparse.ArgumentParser) -> None:
    """Add the option for the largest image; the key of a dataset has the same name."""
    parser.add_argument(
        "--max-megapixels",
        type=float,
        metavar="N",
        help="larger images are refused (what the run took, 89.5 by default)",
    )


def add_on_bad_sample(parser: argparse.ArgumentParser) -> None:
    """What becomes of images that cannot be decoded; the key of a dataset has the same name."""
    parser.add_argument(
        "--on-bad-sample",
        choices=["error", "skip"],
        default="error",
        help="skip leaves out images that cannot be read, and names them (error)",
    )


def add_out(parser: argparse.ArgumentParser, what: str) -> None:
    """Where the result goes."""
    parser.add_argument("-o", "--out", required=True, metavar="PATH", help=what)
    parser.add_argument("--force", action="store_true", help="replace what is there")


def loaded(options: argparse.Namespace) -> Any:
    """The network that a command names."""
    from aeframe.runs.model_file import load

    return load(options.run, options.device, options.batch_size)
