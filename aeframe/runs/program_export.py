"""Export to ONNX and torch.export, each compared with the original network."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from aeframe.core.errors import UserError, describe_error
from aeframe.runs.model import Model
from aeframe.runs.sample_arrays import convert_to_stored

BATCHES = (1, 2, 5)  # batch sizes to compare
RTOL, ATOL = 1e-4, 1e-5  # relative to a value, and to the largest value
Run = Callable[[Tensor], Tensor]


class Encoder(nn.Module):
    """Network from stored samples [N, *shape] to codes [N, m]."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.net = model.net

    def forward(self, x: Tensor) -> Tensor:
        return self.net.encode(self.net.normalization(x)).value


class Decoder(nn.Module):
    """Network from codes [N, m] to stored samples, or targets, [N, *shape]."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.net, self.data = model.net, model.description.data.written

    def forward(self, z: Tensor) -> Tensor:
        return convert_to_stored(self.decode_raw(z), self.data)

    def decode_raw(self, z: Tensor) -> Tensor:
        """Decode without conversion to the stored type."""
        return self.net.written_normalization.inverse(self.net.model.reconstruct(z))


def require_onnx() -> None:
    """Raise UserError if a package for export to ONNX is missing."""
    lacking = [name for name in ("onnx", "onnxruntime", "onnxscript") if find_spec(name) is None]
    if lacking:
        remedy = 'Install them: python -m pip install "aeframe[onnx]".'
        raise UserError("--onnx", f"needs {', '.join(lacking)}", remedy)


def export_onnx(model: Model, folder: Path) -> None:
    """Write encoder.onnx and decoder.onnx, for any number of samples.

    Their inputs are x (stored samples) and z (codes). Raises UserError if the export fails or
    computes something else.
    """
    import onnxruntime

    for name, part, given in list_parts(model):
        file = folder / f"{name}.onnx"
        with _translate_errors("ONNX", name):
            torch.onnx.export(
                part,
                (given,),
                file,
                input_names=["x" if name == "encoder" else "z"],
                output_names=["z" if name == "encoder" else "x"],
                dynamic_shapes=({0: torch.export.Dim("n")},),
                dynamo=True,
                external_data=False,
                verbose=False,
            )
            session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])

        def run(x: Tensor, session: onnxruntime.InferenceSession = session) -> Tensor:
            return torch.from_numpy(session.run(None, {session.get_inputs()[0].name: x.numpy()})[0])

        _compare("ONNX", name, part, run, given)


def export_torch(model: Model, folder: Path) -> None:
    """Write encoder.pt2 and decoder.pt2 for torch.export.load, for any number of samples."""
    for name, part, given in list_parts(model):
        file = folder / f"{name}.pt2"
        with _translate_errors("torch.export", name):
            shapes = ({0: torch.export.Dim("n")},)
            torch.export.save(torch.export.export(part, (given,), dynamic_shapes=shapes), file)
            program = torch.export.load(file).module()
        _compare("torch.export", name, part, program, given)


def list_parts(model: Model) -> Iterator[tuple[str, nn.Module, Tensor]]:
    """Yield the encoder and the decoder, each with inputs to trace and compare it with."""
    net = deepcopy(model.net).cpu()
    model = Model(net, model.description, model.batch_size)
    data = model.description.data
    generator = torch.Generator().manual_seed(0)
    uniform = torch.rand(max(BATCHES), *data.shape, generator=generator)
    x = uniform * (data.high - data.low) + data.low
    x = convert_to_stored(model.net.normalization.inverse(x), data)
    yield "encoder", Encoder(model).eval(), x
    if model.description.part == "autoencoder":
        yield "decoder", Decoder(model).eval(), torch.clone(model.encode(x))


def _compare(kind: str, name: str, part: nn.Module, run: Run, samples: Tensor) -> None:
    """Raise UserError if an exported program computes something else."""
    for count in BATCHES:
        x = samples[:count].contiguous()
        with torch.inference_mode():
            expected, actual = part(x), run(x)
            exact = part.decode_raw(x) if isinstance(part, Decoder) else expected
        same = actual.shape == expected.shape and actual.dtype == expected.dtype
        if not (same and is_near(actual, expected, exact)):
            what = f"the {name} in the format of {kind} computes other values"
            raise UserError("export", what, "Use aeframe.load instead.")


def is_near(actual: Tensor, expected: Tensor, exact: Tensor) -> bool:
    """Check whether values agree up to rounding.

    Whole numbers may differ by one where `exact`, the value before rounding, is close to halfway.
    """
    room = ATOL * max(1.0, float(exact.abs().max())) + RTOL * exact.double().abs()
    if expected.is_floating_point():
        return bool(((actual.double() - expected.double()).abs() <= room).all())
    apart = (actual.double() - expected.double()).abs()
    middle = (exact.double() - exact.double().floor() - 0.5).abs()
    return bool(((apart == 0) | ((apart == 1) & (middle <= room))).all())


@contextmanager
def _translate_errors(kind: str, name: str) -> Iterator[None]:
    """Translate the exceptions of an exporter into one line."""
    level = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except Exception as error:  # exporters raise many kinds
        first: BaseException = error
        while first.__cause__ is not None:
            first = first.__cause__
        what = f"{kind} cannot translate the {name} ({describe_error(first).rstrip('.')})"
        raise UserError("export", what, "Use aeframe.load instead.") from error
    finally:
        logging.disable(level)
