"""Doctor: rules that look at each validation, and report what is wrong with a run."""

from aeframe.monitoring.doctor.rule import Patient, Rule, Vitals
from aeframe.monitoring.doctor.suggestions import Override

__all__ = ["Override", "Patient", "Rule", "Vitals"]
