"""aeframe's first optimizer step. Arguments: those of train.py."""

import os
import runpy

from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook

TRIAL = 1_000  # parameters: aeframe tries a configured optimizer out on a few numbers first


def leave(optimizer: Optimizer, *_: object) -> None:
    """End the process after the first step of a real network, without the time that ending takes."""
    if sum(p.numel() for group in optimizer.param_groups for p in group["params"]) > TRIAL:
        os._exit(0)


if __name__ == "__main__":
    register_optimizer_step_post_hook(leave)
    runpy.run_path("train.py", run_name="__main__")
    raise SystemExit("aeframe trained, and no optimizer made a step")
