"""The first optimizer step with torch and torchvision alone. Argument: MNIST's folder, unpacked."""

import os
import sys

import torch
from torchvision.datasets import MNIST

from tests.benchmarks.networks import SMALL

if __name__ == "__main__":
    images = MNIST(sys.argv[1], train=True).data
    network = SMALL.build()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)
    rows = torch.randperm(len(images))[:128]
    x = images.index_select(0, rows).flatten(1).float().div_(255)
    loss = (network(x) - x).square().sum() / (2 * len(x))
    loss.backward()
    optimizer.step()
    os._exit(0)  # as the other probe does: what comes after the first step is not measured
