"""python -m tests.benchmarks [--data FOLDER] [--gpu] [--rows PATTERN ...] [--repeats N] [--json FILE] ..."""

import os
import sys

if __name__ == "__main__":
    # one thread in both arms: how far two share a busy machine is chance. Read when torch is
    # imported, hence before the import below
    os.environ["OMP_NUM_THREADS"] = "1"
    # Lightning has torch look for devices at each optimizer step, which costs both arms, and the
    # faster one the more, wherever a build for GPUs runs without one
    if "--gpu" not in sys.argv:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    from tests.benchmarks.command import main

    sys.exit(main())
