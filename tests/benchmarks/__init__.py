"""The speed of aeframe, measured against references that do the same work: python -m tests.benchmarks."""
