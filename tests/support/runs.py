"""Short runs, and what they leave."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import torch

from tests.support.forks import Server

ROOT = Path(__file__).parents[2]
TRAIN = ROOT / "train.py"

TINY = (
    *("trainer.max_epochs=1", "trainer.limit_train_batches=2", "evaluation.images=32"),
    "dashboard.images=0",
)
"""Overrides for the shortest possible run."""
EPOCH = (
    *("network.widths=[]", "network.start=random", "model.latent_dim=8", "dataset.batch_size=128"),
    *("trainer.limit_train_batches=4", "evaluation.images=32", "dashboard.images=0"),
)
TWO = (*EPOCH, "trainer.max_epochs=2")
"""Two short epochs, of four steps each."""


class Killed(BaseException):
    """Simulated kill, which the code does not catch: only files written before are left."""


def is_installed(plugin: str) -> bool:
    """Check whether a plugin of Hydra is installed."""
    try:
        return find_spec(f"hydra_plugins.{plugin}") is not None
    except ModuleNotFoundError:  # none is
        return False


def contents(root: Path) -> dict[str, tuple[int, bytes]]:
    """Read every file below a folder, with its date."""
    files = (f for f in sorted(root.rglob("*")) if f.is_file())
    return {str(f.relative_to(root)): (f.stat().st_mtime_ns, f.read_bytes()) for f in files}


def trained_in(server: Server, root: Path, *words: str) -> Path:
    """Train in `root`; returns the folder of the run."""
    said = root / "said"
    assert server.start([*words, "hydra.run.dir=run"], root, said).wait(200) == 0, said.read_text()
    return root / "run"


def run_folder(root: Path) -> Path:
    """Find the only run in outputs/."""
    (folder,) = (root / "outputs").glob("*/*")
    return folder


def weights(folder: Path, name: str = "last") -> dict[str, torch.Tensor]:
    """Return the weights in a checkpoint of a run."""
    state = torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True)["state_dict"]
    assert state
    return dict(state)


def no_trace_of_a_run(root: Path) -> bool:
    """Check that no run has written into this folder."""
    # folders of runs and sweeps are named TIME_WHAT, those above them are not
    return not list(root.glob("outputs/**/*_*")) and not list(root.rglob(".hydra"))
