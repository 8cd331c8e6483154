"""MLflow: a run of an experiment in a database, in a folder or on a server."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from aeframe.monitoring.loggers.record import Record, RunLogger, read_values
from aeframe.monitoring.metrics_file import Row

METRICS, PARAMS = 1000, 100
"""Values that MLflow takes at once."""
TAG = "aeframe.token"
"""Tag of a run, by which it is found again after a kill."""
LONGEST = 500
"""Characters of a parameter that every version of MLflow takes."""


class MLflow(RunLogger):
    """MLflow. tracking_uri: a database, a folder or a server; null: mlflow.db in the run's folder.

    experiment: its name.
    """

    package = "mlflow"

    def __init__(self, *, tracking_uri: str | None = None, experiment: str = "aeframe") -> None:
        self.tracking_uri, self.experiment = tracking_uri, experiment
        self.client: Any = None  # and the name of the run, after the first part
        self.run = ""

    def send(self, record: Record, rows: list[Row], identity: str | None) -> str | None:
        from mlflow.entities import Metric

        begins = self.client is None
        uri = self.tracking_uri or f"sqlite:///{record.folder.resolve() / 'mlflow.db'}"
        if begins:
            identity = identity or self._find_run(uri)
            self._open(record, uri, identity)
        now = int(1000 * time.time())
        points = [
            Metric(tag, value, now, int(row["step"]))
            for row in rows
            for tag, value in read_values(row).items()
        ]
        if begins and identity is not None:
            points = self._subtract_known(points)
        if record.has_ended:
            step = int(record.rows[-1]["step"]) if record.rows else 0
            points += [Metric(tag, value, now, step) for tag, value in record.results.items()]
        for i in range(0, len(points), METRICS):
            self.client.log_batch(self.run, metrics=points[i : i + METRICS])
        if record.has_ended:
            self.client.log_dict(self.run, dict(record.result), "evaluation.json")
            for picture in record.pictures:
                self.client.log_artifact(self.run, str(picture), "pictures")
            self.client.set_terminated(self.run)
        return self.run

    def pause(self) -> None:
        if self.client is not None:
            self.client.set_terminated(self.run, "KILLED")

    def recover(self, folder: Path, identity: str) -> bool:
        return True

    def _open(self, record: Record, uri: str, identity: str | None) -> None:
        """Begin or continue the run at the receiver, with the configuration."""
        from mlflow.entities import Param
        from pytorch_lightning.loggers import MLFlowLogger

        folder = record.folder.resolve()
        logger = MLFlowLogger(
            self.experiment,
            run_name=folder.name,
            tracking_uri=uri,
            artifact_location=None if self.tracking_uri else (folder / "mlflow").as_uri(),
            run_id=identity,
            tags={TAG: self.token},
        )
        client, self.run = logger.experiment, str(logger.run_id)
        known = client.get_run(self.run).data.params  # which never change
        settings = record.settings.items()
        params = [Param(key, text[:LONGEST]) for key, text in settings if key not in known]
        for i in range(0, len(params), PARAMS):
            client.log_batch(self.run, params=params[i : i + PARAMS])
        client.log_dict(self.run, dict(record.node), "config.yaml")
        client.update_run(self.run, "RUNNING")
        self.client = client

    def _find_run(self, uri: str) -> str | None:
        """Find the run that a process began and was killed before it noted its name."""
        from mlflow import MlflowClient

        client = MlflowClient(uri)
        experiment = client.get_experiment_by_name(self.experiment)
        if experiment is None:
            return None
        found = client.search_runs([experiment.experiment_id], f"tags.`{TAG}` = '{self.token}'")
        return found[0].info.run_id if found else None

    def _subtract_known(self, points: list[Any]) -> list[Any]:
        """Leave out the points that the receiver has, perhaps from a process that was killed."""
        tags = {point.key for point in points}
        known = {(p.key, p.step) for t in tags for p in self.client.get_metric_history(self.run, t)}
        return [point for point in points if (point.key, point.step) not in known]
