"""Weights & Biases: a run of a project, in files or on its server."""

from __future__ import annotations

from typing import Literal
from uuid import uuid4

from aeframe.monitoring.loggers.record import Record, RunLogger, read_values
from aeframe.monitoring.metrics_file import Row


class WeightsAndBiases(RunLogger):
    """Weights & Biases. mode: `offline` writes files in the run's folder, which `wandb sync` sends.

    project: its name.
    """

    package = "wandb"

    def __init__(
        self, *, project: str = "aeframe", mode: Literal["offline", "online"] = "offline"
    ) -> None:
        self.project, self.mode = project, mode

    def send(self, record: Record, rows: list[Row], identity: str | None) -> str | None:
        import wandb
        from pytorch_lightning.loggers import WandbLogger

        known = identity or uuid4().hex[:8]
        logger = WandbLogger(
            name=record.folder.resolve().name,
            save_dir=record.folder,
            id=known,
            project=self.project,
            offline=self.mode == "offline",
            config=dict(record.node),
            settings=wandb.Settings(silent=True, console="off"),
        )
        run = logger.experiment
        for row in rows:
            run.log({**read_values(row), "epoch": int(row["epoch"])}, step=int(row["step"]))
        run.log({p.stem: wandb.Image(str(p)) for p in record.pictures})
        run.summary.update(record.results)
        run.finish()
        return known
