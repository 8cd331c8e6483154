"""Names of the files in a run's folder."""

from __future__ import annotations

CHECKPOINTS, LAST, BEST = "checkpoints", "last.ckpt", "best.ckpt"
PREVIOUS, DIVERGED = "previous.ckpt", "diverged.json"
LOCK = ".lock"
RESULTS = (
    *("model.safetensors", "model.json", "codec.safetensors", "evaluation.json"),
    *("diverged.json", "projector", "projector_config.pbtxt"),
)
"""What a run writes beside its checkpoints and events."""
MODEL, NOTE = "model.safetensors", "model.json"
"""The network, all in one file; and what its header says, for people and other programs."""
