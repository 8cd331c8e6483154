"""The text of `--help`: groups and their options, without importing Hydra."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from aeframe.config.composition import choose_options, find_options, list_folders
from aeframe.config.plugins import name_owner_of
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
  --config-dir DIR, --plugin PACKAGE   add your own options and classes
  aeframe --help                       shows the verbs for trained networks
  aeframe --completion bash            completes aeframe train in your shell
"""


def find_groups(folders: Sequence[Path] | None = None) -> dict[str, dict[str, Path]]:
    """Find the files of the options of each group, in the order in which a user chooses.

    folders: by default ours and those of plug-ins.
    """
    folders = folders or list_folders()
    names = {file.parent.name for folder in folders for file in folder.glob("*/*.yaml")}
    place = {name: number for number, name in enumerate(ORDER)}
    ordered = sorted(names, key=lambda name: (place.get(name, len(ORDER)), name))
    return {name: options for name in ordered if (options := find_options(name, folders))}


def read_summary(file: Path) -> str:
    """Read the first line of comment in the file of an option."""
    comments = (line[2:] for line in file.read_text("utf-8").splitlines() if line[:2] == "# ")
    return next((line for line in comments if not line.startswith("@package")), "")


def write_help(folders: Sequence[Path] | None = None) -> str:
    """Write the text of --help, with one line for each option. folders: see `find_groups`."""
    default, lines = choose_options({}), list[str]()
    for group, options in find_groups(folders).items():
        name = group
        for option, file in options.items():
            mark = "*" if option in default.get(group, ()) else " "
            line = f"{name:<10} {mark}{option:<15} {read_summary(file)}".rstrip()
            owner = name_owner_of(file)
            lines.append(f"{line} (from {owner})" if owner else line)
            name = ""
    return HELP.format(called=get_command(), options="\n".join(lines))
