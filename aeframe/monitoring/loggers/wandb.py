"""Weights & Biases: a run of a project, in files or on its server."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Literal

from aeframe.monitoring.loggers.record import Record, RunLogger, read_values
from aeframe.monitoring.metrics_file import Row


class WeightsAndBiases(RunLogger):
    """Weights & Biases. mode: `offline` writes files in the run's folder, which `wandb sync` sends.

    project: its name.
    """

    package = "wandb"
    splits_steps = False  # its steps only grow

    def __init__(
        self, *, project: str = "aeframe", mode: Literal["offline", "online"] = "offline"
    ) -> None:
        self.project, self.mode = project, mode
        self.run: Any = None  # while it is open

    def send(self, record: Record, rows: list[Row], identity: str | None) -> str | None:
        import wandb

        if self.run is None:
            self.run = self._open(record, identity or self.token)
            rows = [row for row in rows if int(row["step"]) >= self.run.starting_step]  # online
        run, known = self.run, str(self.run.id)
        for row in rows:
            values = {**read_values(row), "epoch": int(row["epoch"])}
            run.log(values, step=int(row["step"]), commit=True)
        if record.has_ended:
            run.log({p.stem: wandb.Image(str(p)) for p in record.pictures})
            run.summary.update(record.results)
            run.finish()
            self.run = None
        return known

    def pause(self) -> None:
        if self.run is not None:
            self.run.finish(exit_code=1)
            self.run = None

    def recover(self, folder: Path, identity: str) -> bool:
        """Delete the files of this run: their ends were in the memory of the killed process."""
        if self.mode == "offline" and identity.isalnum():
            for written in (folder / "wandb").glob(f"offline-run-*-{identity}"):
                shutil.rmtree(written)
        return True

    def _open(self, record: Record, identity: str) -> Any:
        """Begin or continue the run."""
        import wandb
        from pytorch_lightning.loggers import WandbLogger

        logger = WandbLogger(
            name=record.folder.resolve().name,
            save_dir=record.folder,
            id=identity,
            project=self.project,
            offline=self.mode == "offline",
            config=dict(record.node),
            settings=wandb.Settings(silent=True, console="off"),
        )
        return logger.experiment
