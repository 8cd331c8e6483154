"""Names of the files in a run's folder."""

from __future__ import annotations

CHECKPOINTS, LAST, BEST = "checkpoints", "last.ckpt", "best.ckpt"
PREVIOUS, DIVERGED = "previous.ckpt", "diverged.json"
LOCK = ".lock"
RESULTS = (
    *("model.safetensors", "model.json", "codec.safetensors", "evaluation.json"),
    "test_errors.safetensors",
    *("diverged.json", "projector", "projector_config.pbtxt"),
)
"""Results of a run, beside its checkpoints and events."""
MODEL, NOTE = "model.safetensors", "model.json"
"""The whole network in one file; and a copy of its header, for people and other programs."""
