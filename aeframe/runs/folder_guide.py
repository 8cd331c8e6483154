"""Guide to a run's folder: its README.md, which explains each file."""

from __future__ import annotations

from pathlib import Path

GUIDE = "README.md"
MEANINGS = {
    "evaluation.json": "the result: test metrics, baselines, the copy check, the doctor's findings. "
    "It is written last, so it marks a finished run",
    "test_errors.safetensors": "the error of each test sample, by which `aeframe compare` tells which "
    "differences are real",
    "model.safetensors": "the trained network; this file alone is enough for every `aeframe` command",
    "model.json": "a readable copy of what `model.safetensors` holds beside the weights: "
    "configuration, data, metrics",
    "codec.safetensors": "tables for `aeframe compress` and `decompress` (with `constraint=rate`)",
    "checkpoints/": "`last.ckpt`, from which training resumes (`aeframe train resume=FOLDER "
    "trainer.max_epochs=N`); `best.ckpt`, which was tested; `previous.ckpt`, to go back to after a "
    "divergence",
    "events.out.tfevents.*": "curves, pictures and texts (`tensorboard --logdir FOLDER`), one file for each "
    "process that trained",
    "metrics.csv": "all curves as a table: a row for each step that was logged, a column for each curve",
    "sent.json": "what the loggers of `logger=mlflow` and `logger=wandb` have got",
    "mlflow.db, mlflow/": "the run as `mlflow ui` shows it, with `logger=mlflow`",
    "wandb/": "the run for `wandb sync`, with `logger=wandb`",
    "pictures/": "the latest of each picture in TensorBoard: `01_reconstructions.png` and others",
    "projector/": "codes of validation samples, for TensorBoard's projector",
    "projector_config.pbtxt": "the place of these files, for TensorBoard",
    "given_data/": "the data that was given from Python",
    ".hydra/": "the configuration: `overrides.yaml` as it was typed, `config.yaml` as a whole, "
    "`hydra.yaml` of Hydra itself",
    "train.log": "warnings of packages, if there were any",
    "diverged.json": "where the loss became NaN or exploded, if it did",
    "failed.txt": "why a job of a sweep failed, if it did",
    "*profile*": "times, with `trainer.profiler`",
    ".lock": "empty; keeps two processes from training in one folder",
}
"""Each file of a run's folder by its name or pattern; a folder ends with a slash."""


TITLE = "# A run of aeframe"


def write_guide(folder: Path, summary: str = "") -> None:
    """Write the guide, unless the folder has a README.md of another origin.

    summary: Markdown that comes before the list of files. A guide without one replaces none.
    """
    guide = folder / GUIDE
    if guide.exists() and not (summary and guide.read_text("utf-8", "replace").startswith(TITLE)):
        return
    rows = [f"| `{name}` | {meaning} |" for name, meaning in MEANINGS.items()]
    lines = [TITLE, "", *([summary, ""] if summary else []), "| file | what it is |", "|---|---|"]
    guide.write_text("\n".join([*lines, *rows]) + "\n", "utf-8")
