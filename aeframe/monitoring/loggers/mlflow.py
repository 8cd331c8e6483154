"""MLflow: a run of an experiment in a database, in a folder or on a server."""

from __future__ import annotations

import time

from aeframe.monitoring.loggers.record import Record, RunLogger, read_values
from aeframe.monitoring.metrics_file import Row

METRICS, PARAMS = 1000, 100
"""Values that MLflow takes at once."""
LONGEST = 500
"""Characters of a parameter that every version of MLflow takes."""


class MLflow(RunLogger):
    """MLflow. tracking_uri: a database, a folder or a server; null: mlflow.db in the run's folder.

    experiment: its name.
    """

    package = "mlflow"

    def __init__(self, *, tracking_uri: str | None = None, experiment: str = "aeframe") -> None:
        self.tracking_uri, self.experiment = tracking_uri, experiment

    def send(self, record: Record, rows: list[Row], identity: str | None) -> str | None:
        from mlflow.entities import Metric, Param
        from pytorch_lightning.loggers import MLFlowLogger

        folder = record.folder.resolve()
        logger = MLFlowLogger(
            self.experiment,
            run_name=folder.name,
            tracking_uri=self.tracking_uri or f"sqlite:///{folder / 'mlflow.db'}",
            artifact_location=None if self.tracking_uri else (folder / "mlflow").as_uri(),
            run_id=identity,
        )
        client, run = logger.experiment, str(logger.run_id)
        now, step = int(1000 * time.time()), int(record.rows[-1]["step"]) if record.rows else 0
        points = [
            Metric(tag, value, now, int(row["step"]))
            for row in rows
            for tag, value in read_values(row).items()
        ]
        points += [Metric(tag, value, now, step) for tag, value in record.results.items()]
        for i in range(0, len(points), METRICS):
            client.log_batch(run, metrics=points[i : i + METRICS])
        if identity is None:  # MLflow's parameters never change
            params = [Param(key, value[:LONGEST]) for key, value in record.settings.items()]
            for i in range(0, len(params), PARAMS):
                client.log_batch(run, params=params[i : i + PARAMS])
        client.log_dict(run, dict(record.node), "config.yaml")
        client.log_dict(run, dict(record.result), "evaluation.json")
        for picture in record.pictures:
            client.log_artifact(run, str(picture), "pictures")
        client.set_terminated(run)
        return run
