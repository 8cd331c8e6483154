"""Tape of today's behavior: trains short configurations and prints one line of digests for each.

A change that should alter nothing is checked by two tapes of the same machine, one before and one after it:

python -m tests.tape --out FOLDER > before.txt                       # some minutes on two cores
python -m tests.tape --out OTHER --compare before.txt                # exit status 1 where a part differs
python -m tests.tape --out OTHER --only topk ddp_cpu                 # some configurations
python -m tests.tape --out OTHER --checkout ANOTHER_CLONE            # the code of another clone

A line holds the configuration's name (see `tests.support.configurations`), the digest of each part
(see `tests.support.digests`) and the test MSE. Runs are made by `train.py` and `aeframe encode`, in
processes of their own. Digests depend on the machine and on the versions of torch and numpy: never
compare tapes of two machines.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.support.configurations import CONFIGURATIONS, SHORT, make_data
from tests.support.digests import CODES, digest_run, digest_sweep, hash_value, read_card

CHECKOUT = next(folder for folder in Path(__file__).parents if (folder / "train.py").exists())
AT_ONCE = 2


@dataclass(frozen=True)
class Recorder:
    """Trains configurations of a checkout in a folder, and describes each by a line."""

    checkout: Path
    folder: Path

    def record(self, name: str) -> str:
        """Train, resume where asked, encode, and return the line.

        The line is `NAME failed=STATUS` where a command fails. NAME.log holds its output.
        """
        configuration, folder = CONFIGURATIONS[name], self.folder / name
        train = [str(self.checkout / "train.py")]
        kind = "sweep" if "-m" in configuration.overrides else "run"
        status = self._call(
            name, *train, *SHORT, *configuration.overrides, f"hydra.{kind}.dir={name}"
        )
        if configuration.resumed_with and not status:
            status = self._call(name, *train, f"resume={name}", *configuration.resumed_with)
        runs = sorted(file.parent for file in folder.rglob("evaluation.json"))
        for run in runs:
            place = str(run.relative_to(self.folder))
            encode = ("encode", place, configuration.inputs, "--out", f"{place}/{CODES}")
            status = status or self._call(name, "-m", "aeframe", *encode)
        if status or not runs:
            return f"{name} failed={status or 'no_evaluation'}"
        return describe(name, folder, runs)

    def _call(self, name: str, *arguments: str) -> int:
        """Run Python in the folder, with output to NAME.log, and return the exit status."""
        own = {"PYTHONPATH": self.checkout, "XDG_CACHE_HOME": self.folder / "cache"}
        environment = os.environ | {key: str(path) for key, path in own.items()}
        with (self.folder / f"{name}.log").open("a") as log:
            finished = subprocess.run(
                [sys.executable, *arguments],
                cwd=self.folder,
                env=environment | {"OMP_NUM_THREADS": "1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        return finished.returncode


def describe(name: str, folder: Path, runs: list[Path]) -> str:
    """Return the line of a configuration. Runs of a sweep share the digest of a part."""
    digests = [digest_run(run) for run in runs]
    parts = {part: _join([each[part] for each in digests]) for part in digests[0]}
    if (folder / "sweep.csv").exists():
        parts["sweep"] = digest_sweep(folder / "sweep.csv")
    parts["mse"] = ",".join(repr(read_card(run)["metrics"]["mse"]) for run in runs)
    return " ".join([name, *(f"{part}={value}" for part, value in parts.items())])


def _join(digests: list[str]) -> str:
    return digests[0] if len(set(digests)) == 1 else hash_value(digests)


def find_differences(tape: Iterable[str], other: Iterable[str]) -> list[str]:
    """Name the configurations of both tapes that differ, with their parts, and those that one tape lacks."""
    parts, others = _read_lines(tape), _read_lines(other)
    found = []
    for name in sorted(parts.keys() | others.keys()):
        mine, its = parts.get(name, {}), others.get(name, {})
        differing = [part for part in {**mine, **its} if mine.get(part) != its.get(part)]
        if not mine or not its:
            found.append(f"{name}: only in one of the tapes")
        elif differing:
            found.append(f"{name}: {', '.join(differing)}")
    return found


def _read_lines(tape: Iterable[str]) -> dict[str, dict[str, str]]:
    words = [line.split() for line in tape if line.strip()]
    return {name: dict(part.split("=", 1) for part in parts) for name, *parts in words}


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.tape", description="Print digests of short trainings."
    )
    parser.add_argument("--out", type=Path, required=True, help="new folder for runs and logs")
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", choices=CONFIGURATIONS, default=list(CONFIGURATIONS)
    )
    parser.add_argument("--checkout", type=Path, default=CHECKOUT, help="clone whose code trains")
    parser.add_argument("--compare", type=Path, metavar="FILE", help="an earlier tape")
    options = parser.parse_args(arguments)
    if options.out.exists():
        parser.error(f"--out {options.out} exists. Use another name.")
    return options


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    options.out.mkdir(parents=True)
    make_data(options.out)
    recorder = Recorder(options.checkout.resolve(), options.out.resolve())
    tape = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for line in pool.map(recorder.record, sorted(options.only)):
            print(line, flush=True)
            tape.append(line)
    if options.compare is None:
        return int(any(" failed=" in line for line in tape))
    earlier = options.compare.read_text().splitlines()
    chosen = [line for line in earlier if line.partition(" ")[0] in options.only]
    differences = find_differences(tape, chosen)
    print(*(differences or [f"All equal to {options.compare}."]), sep="\n", file=sys.stderr)
    return int(bool(differences))


if __name__ == "__main__":
    sys.exit(main())
