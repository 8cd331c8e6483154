"""Rule on waiting for data."""

from __future__ import annotations

import os

from aeframe.monitoring.doctor.rule import Patient, Rule, Vitals
from aeframe.monitoring.doctor.suggestions import Override


class DataWaiting(Rule):
    """Rule on time lost in waiting for batches that are read from files."""

    name = "data_waiting"
    patience = 2
    share, seconds = 0.3, 10.0  # least share of time, and seconds, lost in waiting

    def __init__(self, patient: Patient) -> None:
        super().__init__(patient)
        self.waiting = 0.0

    def has_symptom(self, vitals: Vitals) -> bool:
        if _is_in_memory(self.patient) or vitals.waiting is None or vitals.epoch < 2:
            return False  # the first epoch starts the data loader's workers
        shown = vitals.waiting > self.share and vitals.waited > self.seconds
        if shown:  # checkpoints of healthy runs hold no times
            self.waiting = vitals.waiting
        return shown

    def describe_symptom(self) -> str:
        return f"{self.waiting:.0%} of the time is spent waiting for data, since epoch {self.since}"

    def suggest_remedy(self) -> str | None:
        workers, cores = self.patient.node["dataset"].get("num_workers"), os.cpu_count() or 1
        more = 0 if workers == "auto" else int(workers or 0)
        data = self.patient.data
        fits = data.fits_in_memory(data.splits["train"].raw.nbytes)
        return self.patient.choose_remedy(
            Override("dataset.in_memory", True) if fits else None,
            Override("dataset.num_workers", cores) if cores > more else None,
        )


def _is_in_memory(patient: Patient) -> bool:
    """Check whether samples are in memory, so that a batch takes no time to read."""
    return patient.data.is_resident(patient.data.splits["train"].raw.nbytes)
