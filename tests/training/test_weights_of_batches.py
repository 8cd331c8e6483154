"""Each row counts alike in a step of the optimizer, however the step's batches cut the epoch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import DictConfig
from torch import Tensor

from aeframe.data.sampler import EpochBatches
from aeframe.training.build import build
from tests.support.fitting import fit

Compose = Callable[..., DictConfig]
Trained = Callable[..., Tensor]


@pytest.fixture
def trained(compose: Compose, tmp_path: Path) -> Trained:
    """The weights after three epochs of plain descent on 128 vectors."""
    x = np.random.default_rng(0).normal(size=(160, 6)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)

    def run(batch_size: int, together: int, *words: str) -> Tensor:
        cfg = compose(
            *("dataset=array", f"dataset.path={tmp_path / 'x.npy'}", "model.latent_dim=2"),
            *("network.widths=[5]", "network.activation=tanh", *words),
            *("optimizer={_target_: torch.optim.SGD, lr: 0.05}", "trainer.max_epochs=3"),
            *(f"dataset.batch_size={batch_size}", f"trainer.accumulate_grad_batches={together}"),
        )
        built = build(cfg)
        assert len(built.data.splits["train"]) == 128
        fit(built, tmp_path)
        return torch.cat([p.detach().flatten() for p in built.net.model.parameters()])

    return run


@pytest.mark.parametrize(
    ("size", "together", "rows"),
    [
        (48, 4, 128),  # three batches of the four: 48, 48, 32
        (40, 2, 80),  # 40 + 40, and 40 + 8
        (24, 3, 72),  # 24 + 24 + 24, and 24 + 24 + 8
        (32, 3, 96),  # and one batch alone
    ],
)
def test_accumulated_batches_are_one_batch(
    trained: Trained, size: int, together: int, rows: int
) -> None:
    torch.testing.assert_close(trained(size, together), trained(rows, 1), rtol=0, atol=1e-6)


def test_weights_and_penalties_count_once(trained: Trained) -> None:
    l2 = ("constraint=[l2]", "constraint.l2.weight=0.5")
    torch.testing.assert_close(trained(48, 4, *l2), trained(128, 1, *l2), rtol=0, atol=1e-6)
    assert not torch.allclose(trained(128, 1, *l2), trained(128, 1), atol=1e-3)


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("together", [1, 4])
def test_the_weights_of_a_step_are_each_rows_share(
    compose: Compose, world: int, together: int
) -> None:
    """DDP averages over ranks, Lightning over the window: what is left of a row is one n-th."""
    n, size = 121, 12  # the last batch has one row
    module = build(compose("network.widths=[]")).module
    module.data.batch_size = size
    module.data.splits["train"] = range(n)  # type: ignore[assignment]
    batches = len(EpochBatches(n, size, training=True))
    counted = torch.zeros(batches // together + 1, dtype=torch.float64)
    for rank in range(world):
        module._trainer = Ranks(rank, world, together, batches)  # type: ignore[assignment]
        for number, share in enumerate(
            EpochBatches(n, size, training=True, rank=rank, world=world)
        ):
            weight = module.weigh(share, number)  # type: ignore[arg-type]
            rows = len(range(rank, share.total, world))
            counted[number // together] += weight / world / together
            assert (weight == 0) == (rows == 0)
    assert torch.allclose(counted[: -(-batches // together)], torch.ones(1, dtype=torch.float64))


class Ranks:
    """Trainer that answers a module's questions about the batches of a step."""

    def __init__(self, rank: int, world: int, together: int, batches: int) -> None:
        self.global_rank, self.world_size = rank, world
        self.accumulate_grad_batches, self.num_training_batches = together, batches
