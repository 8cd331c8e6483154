"""Checks of the sizes of the network and its code, before either is made."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch

from aeframe.config.make import compute_code_size, count_batch_rows, make_model
from aeframe.core.errors import Problem
from aeframe.models import Autoencoder

if TYPE_CHECKING:
    from aeframe.config.result import Parts

MEMORY = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")  # bytes
SMALLER = "Write smaller network.widths or model.latent_dim."


def list_size_problems(
    node: dict[str, Any],
    parts: Parts,
    shape: tuple[int, ...],
    target: tuple[int, ...] | None = None,
    *,
    trains: bool = True,
) -> list[Problem]:
    """List what is wrong with the sizes of the network and the code for samples of this shape.

    target: the shape of targets beside the samples. trains: the network is trained, so memory must hold its
    gradients.
    """
    network, inputs = parts.made["network"], torch.Size(shape).numel()
    if (wrong := network.problem(shape)) is not None:
        return [Problem("network", *wrong)]
    if target is not None and (wrong := network.target_problem(shape, target)) is not None:
        return [Problem("network", *wrong)]
    latent_dim = compute_code_size(node, parts, shape)
    if (wrong := network.code_problem(shape, latent_dim)) is not None:
        return [Problem(f"model.latent_dim={latent_dim}", *wrong)]
    try:
        with torch.device("meta"):  # sizes only, no memory
            model = make_model(node, parts, shape, target=target)
    except (RuntimeError, TypeError):  # torch counts bytes in 63 bits
        return [Problem("network", "would have more weights than can be counted", SMALLER)]
    found = [*(_check_memory(model) if trains else ()), *model.problems()]
    batch = count_batch_rows(node)
    if found:
        return found  # a constraint on the size would only repeat it
    for name, part in parts.constraints.items():
        if (wrong := part.size_problem(model.latent_dim, inputs, batch)) is not None:
            found.append(Problem(f"constraint.{name}", *wrong))
    return found


def _check_memory(model: Autoencoder) -> Iterator[Problem]:
    weights = sum(weight.numel() for weight in model.parameters())
    needed, there = (size / 2**30 for size in (8 * weights, MEMORY))  # in float32, with gradients
    if needed > there:
        what = (
            f"{weights:,} weights and their gradients take {needed:,.0f} GiB, but this machine has "
            f"{there:.0f}"
        )
        yield Problem("network", what, SMALLER)
