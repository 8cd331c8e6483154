"""A verb of the command: its name, help, arguments and action."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from aeframe.config.datasets import list_dataset_names
from aeframe.config.plugins import FLAG
from aeframe.core.errors import UserError

SPLITS = ("test", "val")
"""Words by which `rd` names the run's own data."""


@dataclass(frozen=True)
class Verb:
    """One verb of the command.

    example: a command to try. arguments: adds its options to a parser. run: executes it.
    Modules of verbs import heavy libraries only when they run, since help and completion import all verbs.
    """

    name: str
    summary: str
    example: str
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], None]


class Parser(argparse.ArgumentParser):
    """A parser that raises UserError for a wrong option."""

    def error(self, message: str) -> NoReturn:
        raise UserError(self.prog.partition(" ")[2] or "VERB", message, f"Try {self.prog} --help.")


def add_run(parser: argparse.ArgumentParser) -> None:
    """Add the argument for the trained network."""
    parser.add_argument(
        "run",
        metavar="RUN",
        help="folder of a run or an export, model.safetensors, or a checkpoint",
    )
    add_compute(parser)


def add_compute(parser: argparse.ArgumentParser, batch_size: int = 256) -> None:
    """Add the options for the device and the batch size."""
    parser.add_argument("--device", default="cpu", help="device, e.g. cuda (default: cpu)")
    parser.add_argument(
        "--batch-size",
        type=int,
        default=batch_size,
        metavar="N",
        help=f"samples at a time (default: {batch_size})",
    )


def add_input(parser: argparse.ArgumentParser, count: str | None = "+") -> None:
    """Add the argument for samples. count: the number of words, as in argparse."""
    parser.add_argument(
        "input",
        nargs=count,
        metavar="INPUT",
        help="folder of images, image files, .npy or .npz files, tables (.csv, .tsv, .parquet) for a model "
        "of a table or of series, shards such as 'acts/*.npy', or one of "
        + ", ".join(list_dataset_names()),
    )
    add_source(parser)


def add_source(parser: argparse.ArgumentParser) -> None:
    """Add the options that select samples of an input."""
    parser.add_argument(
        "--key", metavar="NAME", help="name of the array in an .npz file with several"
    )
    parser.add_argument("--root", default="data", help="folder of the dataset (default: data)")
    parser.add_argument(
        "--split",
        choices=["train", "test"],
        help="split of a dataset (default: test if it has one, else all samples)",
    )
    add_on_bad_sample(parser)
    add_max_megapixels(parser)


def add_max_megapixels(parser: argparse.ArgumentParser) -> None:
    """Add the option for the largest image. A dataset has a key of the same name."""
    parser.add_argument(
        "--max-megapixels",
        type=float,
        metavar="N",
        help="refuse larger images (default: the limit of the run, usually 89.5)",
    )


def add_on_bad_sample(parser: argparse.ArgumentParser) -> None:
    """Add the option for undecodable images. A dataset has a key of the same name."""
    parser.add_argument(
        "--on-bad-sample",
        choices=["error", "skip"],
        default="error",
        help="error (default): stop at an unreadable image; skip: leave it out, and print its name",
    )


def add_out(parser: argparse.ArgumentParser, what: str) -> None:
    """Add the options for the result."""
    parser.add_argument("-o", "--out", required=True, metavar="PATH", help=what)
    parser.add_argument("--force", action="store_true", help="replace an existing result")


def add_plugin(parser: argparse.ArgumentParser) -> None:
    """Add the option for plug-ins, which every verb has. It is taken from the words before."""
    what = "name or folder of a package whose classes the network may use; may be repeated"
    parser.add_argument(FLAG, metavar="PACKAGE", help=what)


def load_model(options: argparse.Namespace) -> Any:
    """Load the network that the command names."""
    from aeframe.runs.model_file import load

    return load(options.run, options.device, options.batch_size)
