"""Operations that make a step wait for a GPU, found without one: on tensors that are on it in name only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from omegaconf import DictConfig
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from aeframe.core.noise import Noise
from aeframe.training.build import build

WAITING = {"_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal"}
# no contractive penalty: autograd would need a true device
KINDS = {
    "undercomplete": ["model.latent_dim=8"],
    "denoising": ["model=denoising", "constraint=[masking,gaussian_noise]"],
    "salt_and_pepper": ["model=denoising", "constraint=salt_and_pepper"],
    "l1": ["model=sparse", "constraint=l1", "constraint.l1.form=unit_norm"],
    "kl_sparsity": ["model=sparse", "constraint=[sigmoid,kl_sparsity]"],
    "jump_relu": ["model=sparse", "constraint=jump_relu"],
    "topk, active": ["model=sparse", "constraint=topk", "constraint.topk.read=active"],
    "batch_topk, auxk": [
        "model=sparse",
        "constraint=[batch_topk,auxk]",
        "constraint.auxk.after=0.1",
    ],
    "winner_take_all": ["model=sparse", "model.latent_dim=80", "constraint=winner_take_all"],
    "orthogonal": ["model.latent_dim=8", "constraint=orthogonal"],
    "rate": ["model.latent_dim=8", "constraint=rate"],
    "variational": ["model=variational", "model.latent_dim=4"],
    "batch norm": ["network.widths=[16]", "model.latent_dim=8", "network.norm=batch"],
    "conv, bf16": ["network=conv", "network.widths=[4]", "trainer.precision=bf16-mixed"],
    "64-true": ["model.latent_dim=8", "trainer.precision=64-true"],
    "tied": ["network=linear", "network.tied=true"],
    "fully_conv": ["network=fully_conv", "network.widths=[4]", "model.latent_dim=32"],
    "bernoulli": ["likelihood=bernoulli"],
}


class Watching(TorchDispatchMode):
    """Notes each operation whose result, or whose tensors of two devices, the host waits for."""

    def __init__(self) -> None:
        super().__init__()
        self.waited: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func._schema.name.partition("::")[2]
        made = func(*args, **kwargs)
        leaves = tree_leaves((args, kwargs, made))
        devices = {leaf.device.type for leaf in leaves if isinstance(leaf, Tensor)}
        if name in WAITING or len(devices) > 1:
            self.waited.append(name)
        return made


def on_a_gpu(net: nn.Module) -> None:
    """Let a module's tensors be on one, in name."""
    for part in net.modules():
        for name, weight in part._parameters.items():
            if weight is not None:
                part._parameters[name] = nn.Parameter(torch.empty_like(weight, device="cuda"))
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = torch.empty_like(buffer, device="cuda")


@pytest.mark.parametrize("kind", KINDS)
def test_a_pass_waits_for_no_gpu(
    kind: str, compose: Callable[..., DictConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    def drawn(self: Noise, draw: Callable[..., Tensor], shape: Any, device: Any) -> Tensor:
        return draw(*shape, device=device)  # a generator would need the GPU

    monkeypatch.setattr(Noise, "_draw", drawn)
    net = build(compose(*KINDS[kind])).net
    watching = Watching()
    with FakeTensorMode(allow_non_fake_inputs=True):
        on_a_gpu(net)
        x = torch.empty(8, *net.model.shape, device="cuda", dtype=net.normalization.scale.dtype)
        with watching:
            net.observe(net(net.normalization(x), noise=Noise(0)))
    assert watching.waited == []
