"""Templates of parts of a network and of data sets, by kind, that `aeframe new` writes."""

from __future__ import annotations

from typing import NamedTuple


class Kind(NamedTuple):
    """Templates of one kind of part. code: the class. options: its YAML. test: of the class alone."""

    code: str
    options: str
    test: str


CONSTRAINT = Kind(
    '''\
"""$part: a constraint."""

from typing import Annotated

from aeframe.constraints import Constraint
from aeframe.core.bounds import Above, Below


class $part(Constraint):
    """Sets the units of each sample to 0 that are below a quantile of its code."""

    needs = frozenset({"deterministic code"})
    gives = frozenset({"sparsity", "dormant units"})

    def __init__(self, *, quantile: Annotated[float, Above(0), Below(1)]) -> None:
        super().__init__()
        self.quantile = quantile

    def constrain(self, code, clock):
        limit = code.value.float().quantile(self.quantile, 1, keepdim=True)
        return code.with_value(code.value * (code.value > limit))
''',
    """\
# @package constraint.$name
# Dormant units: keeps the largest values of each code.
# Use it as a beginning of your own.
# aeframe train --plugin $package constraint=$name constraint.$name.quantile=0.8
_target_: $package.$name.$part
quantile: 0.5  # share of the units that become 0
""",
    '''\
"""Tests of $name."""

import aeframe
import torch
from aeframe.core.schedules import Clock
from aeframe.models import Code

from $package.$name import $part


def test_half_of_the_units_become_0():
    value = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    code = $part(quantile=0.5).constrain(Code(value), Clock(0, 0.0))
    assert code.value.tolist() == [[0, 0, 3, 4]]
''',
)
MODEL = Kind(
    '''\
"""$part: a model."""

from typing import Annotated

from aeframe.core.bounds import Above
from aeframe.models import Autoencoder
from aeframe.models.autoencoder import Setting, Units


class $part(Autoencoder):
    """An autoencoder whose code is between -limit and limit."""

    def __init__(
        self, setting: Setting, *, latent_dim: Units, limit: Annotated[float, Above(0)]
    ) -> None:
        super().__init__(setting, latent_dim=latent_dim)
        self.limit = limit

    def encode(self, x, noise=None):
        code = self.write_code(x)
        return code.with_value(self.limit * code.pre.tanh())
''',
    """\
# @package _global_
# Bounds every value of the code.
# Use it as a beginning of your own.
# aeframe train --plugin $package model=$name model.limit=2
defaults:
  - override /constraint: bottleneck
  - _self_
model:
  _target_: $package.$name.$part
  latent_dim: 16
  limit: 1.0  # largest absolute value of the code
""",
    '''\
"""Tests of $name."""

import aeframe
import torch
from aeframe.models import Setting
from aeframe.models.likelihoods import Gaussian
from aeframe.networks import MLP

from $package.$name import $part


def test_the_code_is_bounded():
    setting = Setting(MLP(widths=[8]), Gaussian(), (4,))
    code = $part(setting, latent_dim=2, limit=0.5).encode(torch.full((1, 4), 1000.0))
    assert code.value.abs().max() <= 0.5
''',
)
NETWORK = Kind(
    '''\
"""$part: a network."""

from aeframe.networks import MLP


class $part(MLP):
    """Hidden layers of which each is half as wide as the one before."""

    def __init__(self, *, width: int, layers: int) -> None:
        super().__init__(widths=[width // 2**n for n in range(layers)], activation="silu")
''',
    """\
# Hidden layers of which each is half as wide as the one before.
# Use it as a beginning of your own.
# aeframe train --plugin $package network=$name network.layers=3
_target_: $package.$name.$part
width: 128  # units of the first hidden layer
layers: 2  # hidden layers of the encoder
""",
    '''\
"""Tests of $name."""

import aeframe

from $package.$name import $part


def test_each_layer_is_half_as_wide():
    assert $part(width=8, layers=3).layer_sizes((64,)) == [8, 4, 2]
''',
)
LIKELIHOOD = Kind(
    '''\
"""$part: a likelihood."""

import torch
from aeframe.models.likelihoods import Likelihood
from torch.distributions import Laplace


class $part(Likelihood):
    """The absolute error as a log-density."""

    gives = frozenset({"linear mean"})

    def nll(self, parameters, x):
        return -Laplace(parameters, torch.ones(())).log_prob(x)

    def mean(self, parameters):
        return parameters

    def initial_output(self, mean):
        return mean
''',
    """\
# Laplace: the absolute error, which outliers affect less than the squared one.
# Use it as a beginning of your own.
# aeframe train --plugin $package likelihood=$name
_target_: $package.$name.$part
""",
    '''\
"""Tests of $name."""

import aeframe
import pytest
import torch

from $package.$name import $part


def test_it_is_a_density():
    x = torch.linspace(-20, 20, 40001, dtype=torch.float64)
    density = torch.exp(-$part().nll(torch.full_like(x, 0.5), x))
    assert torch.trapezoid(density, x).item() == pytest.approx(1, abs=1e-6)
''',
)
DATASET = Kind(
    '''\
"""$part: a data set."""

import torch
from aeframe.data import Raw, Source


class $part(Source):
    """Sine waves of 64 points, of different frequencies."""

    def __init__(self, *, samples: int) -> None:
        self.samples = samples

    def shape(self):
        return (64,)

    def load(self):
        frequency = torch.linspace(1, 9, self.samples)[:, None]
        return Raw(torch.sin(frequency * torch.linspace(0, 6.28, 64)), low=-1, high=1)
''',
    """\
# Sine waves of 64 points.
# Use it as a beginning of your own.
# aeframe train --plugin $package dataset=$name dataset.samples=5000
_target_: $package.$name.$part
samples: 1000
""",
    '''\
"""Tests of $name."""

import aeframe

from $package.$name import $part


def test_samples_have_the_shape():
    source = $part(samples=10)
    assert source.load().data.shape == (10, *source.shape())
''',
)
KINDS = {
    "model": MODEL,
    "network": NETWORK,
    "likelihood": LIKELIHOOD,
    "constraint": CONSTRAINT,
    "dataset": DATASET,
}
