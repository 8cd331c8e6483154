"""The text of `--help`: groups and their options, without importing Hydra."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from aeframe.config.composition import CONF, choose_options
from aeframe.core.process import get_command

ORDER = ("model", "constraint", "dataset", "network", "likelihood", "hardware", "experiment")
HELP = """\
aeframe trains autoencoders from configuration.

  {called} [GROUP=OPTION ...] [KEY=VALUE ...]
  {called} model=sparse constraint=[topk,masking] trainer.max_epochs=50

{options}

* is the default. Each file in conf/ says when to use it, with a command to try.
  --help dataset=array, --help trainer show keys: comments, allowed values
  model=sparse --cfg job               shows all keys and values, no comments
  -m model=sparse,denoising seed=0,1   a sweep: every pair, ending in a table
  hydra.run.dir=FOLDER resume=auto     starts the run, or resumes it
  resume=FOLDER trainer.max_epochs=40  trains a finished run further
  --config-dir FOLDER                  adds your own FOLDER/GROUP/OPTION.yaml
  aeframe --help                       shows the verbs for trained networks
  aeframe --completion bash            completes aeframe train in your shell
"""


def find_groups(folders: Sequence[Path] = (CONF,)) -> dict[str, dict[str, Path]]:
    """Find the files of the options of each group, in the order in which a user chooses."""
    found = dict[str, dict[str, Path]]()
    for file in sorted(f for folder in folders for f in folder.glob("*/*.yaml") if f.is_file()):
        found.setdefault(file.parent.name, {})[file.stem] = file
    place = {name: number for number, name in enumerate(ORDER)}
    return {
        name: dict(sorted(found[name].items()))
        for name in sorted(found, key=lambda name: (place.get(name, len(ORDER)), name))
    }


def read_summary(file: Path) -> str:
    """Read the first line of comment in the file of an option."""
    comments = (line[2:] for line in file.read_text("utf-8").splitlines() if line[:2] == "# ")
    return next((line for line in comments if not line.startswith("@package")), "")


def write_help(folders: Sequence[Path] = (CONF,)) -> str:
    """Write the text of --help, with one line for each option."""
    default, lines = choose_options({}), list[str]()
    for group, options in find_groups(folders).items():
        name = group
        for option, file in options.items():
            mark = "*" if option in default.get(group, ()) else " "
            lines.append(f"{name:<10} {mark}{option:<15} {read_summary(file)}".rstrip())
            name = ""
    return HELP.format(called=get_command(), options="\n".join(lines))
