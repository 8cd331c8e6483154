"""Print the peak memory of a run's process in MiB. Arguments: those of train.py."""

import contextlib
import io
import runpy

import aeframe.training.run  # noqa: F401
from tests.benchmarks.probes.peak import Peak

if __name__ == "__main__":
    peak = Peak()
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            runpy.run_path("train.py", run_name="__main__")
        except SystemExit as end:
            if end.code:
                raise
    print(peak.most())
