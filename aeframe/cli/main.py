"""The command `aeframe`, with its verbs."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence

from aeframe.cli.exit import end_with
from aeframe.cli.train import train
from aeframe.core.signals import raise_on
from aeframe.core.version import __version__

DESCRIPTION = """\
Trains autoencoders from configuration, and applies them.

  aeframe train [GROUP=OPTION ...] [KEY=VALUE ...]    same as `python train.py` in a checkout
  aeframe train -m model=sparse,denoising seed=0,1    a sweep
  aeframe train --help                                groups and their options
  aeframe train --cfg job                             all keys and their values
  aeframe VERB --help                                 options of a verb, with an example

verbs:
"""
END = 'Completion in the shell: eval "$(aeframe --completion bash)", or zsh.'


def main() -> None:
    """Run the `aeframe` command."""
    if sys.argv[1:2] == ["train"]:
        sys.argv = [sys.argv[0], *sys.argv[2:]]
        train()
    end_with(lambda: _run_with_plugins(sys.argv[1:]))


def _run_with_plugins(argv: Sequence[str]) -> int:
    from aeframe.config.plugins import take_flags, use_plugins

    plugins, words = take_flags(argv)
    with use_plugins(plugins):
        return _run_verb(words)


def _run_verb(argv: Sequence[str]) -> int:
    """Run a verb other than train. Returns the exit status."""
    from aeframe.cli.shell_completion import SHELLS, write_script
    from aeframe.cli.verbs import VERBS
    from aeframe.cli.verbs.verb import Parser, add_plugin
    from aeframe.core.local_paths import refuse_addresses

    if argv and argv[0] in VERBS:
        verb = VERBS[argv[0]]
        raw = argparse.RawDescriptionHelpFormatter
        parser = Parser(
            f"aeframe {verb.name}",
            description=f"{verb.summary[0].upper()}{verb.summary[1:]}.",
            epilog=f"example:\n  {verb.example}",
            formatter_class=raw,
        )
        verb.arguments(parser)
        add_plugin(parser)
        options = parser.parse_args(argv[1:])
        refuse_addresses(vars(options).values())
        with raise_on([signal.SIGTERM]):  # deletes incomplete files
            verb.run(options)
        return 0
    summaries = {"train": "train an autoencoder", **{v.name: v.summary for v in VERBS.values()}}
    verbs = "\n".join(f"  {name:<12} {summary}" for name, summary in summaries.items())
    parser = Parser(
        "aeframe",
        usage="aeframe VERB ...",
        description=f"{DESCRIPTION}{verbs}",
        epilog=END,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"aeframe {__version__}")
    parser.add_argument(
        "--completion", choices=SHELLS, help="print a script for the shell to evaluate"
    )
    parser.add_argument("verb", nargs="?", choices=list(summaries), help=argparse.SUPPRESS)
    options = parser.parse_args(argv[:2] if argv[:1] == ["--completion"] else argv[:1])
    if options.completion:
        print(write_script(options.completion), end="")
    else:
        parser.print_help()
    return 0
