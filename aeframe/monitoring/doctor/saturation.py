"""Rules on saturation: values at the ends of their range."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from aeframe.monitoring.doctor.rule import FAST, Patient, Rule, Vitals
from aeframe.monitoring.doctor.suggestions import Override

ENDS: dict[type[nn.Module], tuple[float, float]] = {nn.Sigmoid: (0.0, 1.0), nn.Tanh: (-1.0, 1.0)}
NEAR = 0.01  # share of the range that counts as its end
SAMPLES = 64


@torch.no_grad()
def measure_saturation(patient: Patient) -> dict[str, float]:
    """Measure the shares of values at the ends of their range, on some validation samples.

    output, data: of the reconstruction and of the data, for a likelihood with a bounded range.
    units: of hidden layers with a bounded activation.
    """
    net, found = patient.net, dict[str, float]()
    ends = net.model.likelihood.support
    layers = [layer for layer in net.model.modules() if type(layer) in ENDS]
    bounded = all(abs(end) < float("inf") for end in ends)
    if not bounded and not layers:
        return {}
    x = patient.data.peek("val", SAMPLES, net.normalization)
    targets = patient.data.peek_targets("val", SAMPLES, net.target_normalization)
    shares: list[Tensor] = []
    with ExitStack() as stack:
        if layers and patient.node["trainer"].get("compile"):
            # compiled layers ignore hooks
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        for layer in layers:
            handle = layer.register_forward_hook(_make_hook(shares, ENDS[type(layer)]))
            stack.callback(handle.remove)
        restored = net.reconstruct(x)
    if bounded:
        found = {
            "output": float(_measure_share(restored, ends)),
            "data": float(_measure_share(x if targets is None else targets, ends)),
        }
    if shares:
        found["units"] = float(torch.stack(shares).mean())
    return found


def _make_hook(shares: list[Tensor], ends: tuple[float, float]) -> Callable[..., None]:
    def note(layer: nn.Module, arguments: Any, output: Tensor) -> None:
        shares.append(_measure_share(output, ends))

    return note


def _measure_share(values: Tensor, ends: tuple[float, float]) -> Tensor:
    low, high = ends
    near = NEAR * (high - low)
    return ((values < low + near) | (values > high - near)).float().mean()


class SaturatedOutput(Rule):
    """Rule on a reconstruction that is black and white where the data is gray."""

    name = "saturated_output"
    patience = 2
    least, more = 0.9, 0.2  # least share of the output; least excess over the data

    def __init__(self, patient: Patient) -> None:
        super().__init__(patient)
        self.output = self.data = 0.0

    def has_symptom(self, vitals: Vitals) -> bool:
        if "output" not in vitals.saturated:
            return False
        self.output, self.data = vitals.saturated["output"], vitals.saturated["data"]
        shown = self.output > self.least and self.output > self.data + self.more
        return shown and "learning_rate" not in vitals.reported  # one cause, one report

    def describe_symptom(self) -> str:
        return (
            f"the output is saturated: {self.output:.0%} of the reconstruction lies at the ends of its "
            f"range, and {self.data:.0%} of the data, since epoch {self.since}"
        )

    def suggest_remedy(self) -> str | None:
        return self.patient.choose_remedy(
            self.patient.suggest_slower(), Override("trainer.gradient_clip_val", 1.0)
        )


class SaturatedUnits(Rule):
    """Rule on sigmoid or tanh units at their ends, where they have no gradient."""

    name = "saturated_units"
    least = 0.9

    def __init__(self, patient: Patient) -> None:
        super().__init__(patient)
        self.share = 0.0

    def has_symptom(self, vitals: Vitals) -> bool:
        self.share = vitals.saturated.get("units", 0.0)
        return self.share > self.least

    def describe_symptom(self) -> str:
        activation = self.patient.node["network"].get("activation")
        return (
            f"{self.share:.0%} of the {activation} units' values lie at their ends, where no gradient "
            f"passes, since epoch {self.since}"
        )

    def suggest_remedy(self) -> str | None:
        return self.patient.choose_remedy(
            self.patient.suggest_slower() if self.patient.rate > FAST else None,
            Override("network.activation", "silu"),
        )
