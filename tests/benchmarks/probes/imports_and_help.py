"""Import everything, as a training script usually does before it prints its help."""

import argparse

import hydra  # noqa: F401
import pytorch_lightning  # noqa: F401
import torchvision  # noqa: F401

if __name__ == "__main__":
    argparse.ArgumentParser().parse_args(["--help"])
