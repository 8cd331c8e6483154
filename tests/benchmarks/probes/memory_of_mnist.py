"""Print the MiB that reading MNIST takes. Argument: its folder."""

import sys

import torch  # noqa: F401

from aeframe.data import MNIST, DataModule, Digits
from tests.benchmarks.probes.peak import Peak

if __name__ == "__main__":
    DataModule(source=Digits(), seed=0).setup()  # the libraries' code counts for none of it
    peak = Peak()
    data = DataModule(source=MNIST(root=sys.argv[1]), seed=0)
    data.setup()
    print(peak.growth())
