"""Loggers: where the curves of a run go besides its own folder."""

from aeframe.monitoring.loggers.mlflow import MLflow
from aeframe.monitoring.loggers.record import (
    Csv,
    Record,
    RunLogger,
    TensorBoard,
    forget_sent,
    read_values,
)
from aeframe.monitoring.loggers.wandb import WeightsAndBiases

__all__ = [
    "Csv",
    "MLflow",
    "Record",
    "RunLogger",
    "TensorBoard",
    "WeightsAndBiases",
    "forget_sent",
    "read_values",
]
