"""Model files: weights as safetensors, with a description in the header."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from aeframe.config.plugins import Names, use_plugins
from aeframe.config.targets import list_missing_plugins
from aeframe.constraints.constrained import ConstrainedAutoencoder
from aeframe.core.errors import ConfigError, UserError, describe_error, shorten
from aeframe.core.files import write_atomically
from aeframe.core.local_paths import expand_path
from aeframe.core.regular_files import require_regular
from aeframe.data import DataModule
from aeframe.runs.checkpoint import load_state
from aeframe.runs.description import (
    Description,
    ForeignError,
    list_versions,
    parse_configuration,
    parse_data,
    parse_description,
)
from aeframe.runs.known_samples import SCORED, measure_known_samples
from aeframe.runs.layout import BEST, CHECKPOINTS, LAST, MODEL, NOTE
from aeframe.runs.model import Model
from aeframe.runs.saved_network import MADE, build_saved_net, take_weights
from aeframe.runs.steps import measure_known_steps

KEY = "aeframe"
"""Key of the description in the header."""
FOREIGN = "Use a complete file that aeframe wrote."


def load(
    where: str | os.PathLike[str],
    device: str | torch.device = "cpu",
    batch_size: int = 256,
    plugins: Names = (),
) -> Model:
    """Load a trained network.

        model = aeframe.load("outputs/DAY/RUN")
        codes = model.encode(images)                # [N, *model.shape] -> [N, model.latent_dim]

    where: the folder of a run (its best weights) or of an export, a `model.safetensors`, or a checkpoint.
    device: where it computes, such as "cuda". batch_size: samples that are computed at a time.
    plugins: names or folders of packages that are not installed as plug-ins and whose classes it may use.

    Needs neither the data nor Hydra or Lightning; nothing that the file names is imported or called
    outside aeframe's own parts and plug-ins, so that a stranger's file may be loaded. Raises UserError,
    with what to do, if there is no such file, if it is not a complete model of aeframe, or if the device
    or a plug-in is missing.
    """
    path = find_model_file(where)
    target = _parse_device(device)
    if batch_size < 1:
        raise UserError(f"batch_size={batch_size}", "must be at least 1")
    try:
        read = _load_checkpoint if path.suffix == ".ckpt" else _load_artifact
        description, weights = read(path)
        with use_plugins(plugins):
            if missing := list_missing_plugins(description.config, MADE):
                raise UserError(str(path), missing[0].what, missing[0].remedy)
            net = _build_net(description)
        take_weights(net, weights, str(path))
        found = description.add_identity(weights)  # of the weights in the file
        if description.identity not in ("", found.identity):
            raise ForeignError("its weights were changed after it was written")
    except ForeignError as error:
        raise UserError(str(path), f"is not a model of aeframe ({error})", FOREIGN) from error
    return Model(net.to(target), found, batch_size)


def _build_net(description: Description) -> ConstrainedAutoencoder:
    """Build the network without weights."""
    try:
        net = build_saved_net(description.config, description.data)
    except ConfigError as error:
        raise ForeignError(shorten(error.problems[0]).rstrip(".")) from error
    if description.part == "encoder":
        del net.model.decoder
    return net


def save(
    folder: Path,
    net: ConstrainedAutoencoder,
    config: Mapping[str, Any],
    data: DataModule,
    metrics: Mapping[str, float],
) -> None:
    """Write the tested network to the run's folder."""
    errors, novelty = measure_known_samples(net, data)
    description = Description(
        config=dict(config),
        data=data.spec,
        metrics=dict(metrics),
        errors=errors,
        step_errors=measure_known_steps(net, data, SCORED),
        novelty=novelty,
        versions=list_versions(),
    )
    write(folder, net, description)


def write(folder: Path, net: ConstrainedAutoencoder, description: Description) -> None:
    """Write a network and its description. Both files are complete, and the first alone is enough."""
    weights = {name: value.cpu().contiguous() for name, value in net.state_dict().items()}
    text = description.add_identity(weights).to_json()
    with write_atomically(folder / MODEL) as file:
        file.write(safetensors.torch.save(weights, {KEY: text}))
    with write_atomically(folder / NOTE) as file:
        file.write(f"{text}\n".encode())


def find_model_file(run: str | os.PathLike[str]) -> Path:
    """Find the file with the weights: in a run's folder, in an export, or the named file.

    Raises UserError if there is none.
    """
    where = expand_path(run)
    if os.path.isdir(where):  # pathlib raises other errors for odd names
        choices = (MODEL, f"{CHECKPOINTS}/{BEST}", f"{CHECKPOINTS}/{LAST}")
        found = next((where / name for name in choices if (where / name).exists()), None)
        if found is None:
            what = "holds neither a model nor a checkpoint of aeframe"
            raise UserError(str(where), what, "Write the folder of a run.")
        where = found
    if where.name == NOTE:
        where = where.with_name(MODEL)
    if not os.path.exists(where):
        raise UserError(str(where), "no such file or folder")
    if not where.is_file() or where.suffix not in (".ckpt", ".safetensors"):
        what = "is not a model of aeframe"
        raise UserError(str(where), what, f"Write the folder of a run, or its {MODEL}.")
    return where


def _parse_device(device: str | torch.device) -> torch.device:
    try:
        found = torch.zeros(1, device=device)
        found.cpu()  # fails for devices without memory, such as meta
        return found.device
    except (RuntimeError, AssertionError) as error:
        what = f"cannot be used ({describe_error(error).rstrip('.')})"
        raise UserError(f"device={device}", what, "Write cpu.") from error


def _load_artifact(file: Path) -> tuple[Description, dict[str, Tensor]]:
    try:
        require_regular(file)
        with safetensors.safe_open(file, "pt") as opened:
            text = (opened.metadata() or {}).get(KEY, "")
            description = parse_description(text)
            weights = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except ForeignError:
        raise
    except Exception as error:  # a broken file raises many kinds
        raise ForeignError(describe_error(error).rstrip(".")) from error
    if not description.identity:
        raise ForeignError("it has no identity")
    return description, weights


def _load_checkpoint(file: Path) -> tuple[Description, dict[str, Tensor]]:
    state = load_state(file)
    if "data" not in state:
        raise ForeignError("its training data is not described, as in files of older versions")
    saved = state.get("state_dict")
    if not isinstance(saved, Mapping) or not all(isinstance(v, Tensor) for v in saved.values()):
        raise ForeignError("it holds no weights")
    weights = {str(k)[4:]: v for k, v in saved.items() if str(k).startswith("net.")}
    description = Description(
        parse_configuration(state.get("hyper_parameters")), parse_data(state["data"])
    )
    return description, weights
