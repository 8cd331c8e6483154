"""Print the images/s of a codec's work on MNIST's test images, or the MiB that it takes at most.

Arguments: encode, compress or decompress; speed or memory; a run with a rate; MNIST's folder.
"""

import io
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from aeframe import codec
from aeframe.codec.aez_file import compress, decompress
from aeframe.codec.codec import Codec, Samples
from aeframe.codec.packing import Packer, count_rows_at_once
from aeframe.data import MNIST
from tests.benchmarks.probes.peak import Peak

WARM = 100  # images of a first time, whose buffers and imports count for nothing


def work_of(what: str, made: Codec, x: Samples, folder: Path) -> Callable[[], object]:
    """Return the work to measure: from samples to codes, to a file's bytes, or from a file to samples."""
    step = count_rows_at_once(made)
    blocks = [x[i : i + step] for i in range(0, len(x), step)]
    if what == "encode":
        return lambda: [made.encode(block) for block in blocks]
    if what == "compress":
        return lambda: compress(Packer(made, "keep"), blocks, io.BytesIO())
    file = folder / f"{len(x)}.aez"
    with file.open("wb") as stream:
        compress(Packer(made, "keep"), blocks, stream)
    return lambda: [len(samples) for samples in decompress(made, file)]


def main(what: str, of: str, run: str, root: str) -> None:
    """Run the work once."""
    made, test = codec.load(run), MNIST(root=root).load().test
    assert test is not None
    x = test.data.numpy()
    with tempfile.TemporaryDirectory() as folder:
        work_of(what, made, x[:WARM], Path(folder))()
        work = work_of(what, made, x, Path(folder))
        peak, started = Peak() if of == "memory" else None, time.perf_counter()
        work()
        seconds = time.perf_counter() - started
        print(len(x) / seconds if peak is None else peak.growth())


if __name__ == "__main__":
    main(*sys.argv[1:])
