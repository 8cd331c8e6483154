"""Templates of parts that watch training, by kind, that `aeframe new` writes."""

from __future__ import annotations

from aeframe.cli.verbs.part_templates import Kind

CALLBACK = Kind(
    '''\
"""$part: a callback."""

from pytorch_lightning import Callback


class $part(Callback):
    """Writes the norm of all weights after each epoch, as the curve `label` in TensorBoard."""

    def __init__(self, *, label: str) -> None:
        self.label, self.norms = label, []

    def on_train_epoch_end(self, trainer, pl_module):
        squares = sum(weight.detach().square().sum().item() for weight in pl_module.parameters())
        self.norms.append(squares**0.5)
        if trainer.logger is not None:
            trainer.logger.log_metrics({self.label: self.norms[-1]}, trainer.global_step)

    def state_dict(self):
        return {"norms": self.norms}

    def load_state_dict(self, state_dict):
        self.norms = state_dict["norms"]
''',
    """\
# @package callbacks.$name
# Writes the norm of the weights after each epoch.
# Use it as a beginning of your own.
# aeframe train --plugin $package callbacks=$name
_target_: $package.$name.$part
label: weights/norm  # name of the curve
""",
    '''\
"""Tests of $name."""

from types import SimpleNamespace

import aeframe
import torch

from $package.$name import $part


def test_norms_are_kept():
    weights = torch.nn.Linear(1, 1)
    torch.nn.init.constant_(weights.weight, 3)
    torch.nn.init.constant_(weights.bias, 4)
    callback, resumed = $part(label="norm"), $part(label="norm")
    callback.on_train_epoch_end(SimpleNamespace(logger=None), weights)
    resumed.load_state_dict(callback.state_dict())
    assert resumed.norms == [5.0]
''',
)
METRIC = Kind(
    '''\
"""$part: a metric."""

from typing import Annotated

import torch
from aeframe.core.bounds import Above
from torchmetrics import Metric


class $part(Metric):
    """The share of samples whose mean squared error is above a limit."""

    def __init__(self, *, limit: Annotated[float, Above(0)]) -> None:
        super().__init__()
        self.limit = limit
        for name in ("above", "samples"):  # sums, which several processes add up
            self.add_state(name, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, output):
        error = (output.reconstruction - output.x).flatten(1).square().mean(1)
        self.above += (error > self.limit).sum()
        self.samples += len(error)

    def compute(self):
        return self.above / self.samples
''',
    """\
# @package metrics.$name
# The share of samples with a large error.
# Use it as a beginning of your own.
# aeframe train --plugin $package metrics=$name metrics.$name.limit=0.02
_target_: $package.$name.$part
limit: 0.01  # mean squared error of a sample, normalized
""",
    '''\
"""Tests of $name."""

from types import SimpleNamespace

import aeframe
import torch

from $package.$name import $part


def test_it_is_a_share_of_all_batches():
    metric = $part(limit=0.5)
    for restored in ([[0.0, 1.0], [0.0, 0.0]], [[1.0, 1.0], [1.0, 1.0]]):
        output = SimpleNamespace(x=torch.zeros(2, 2), reconstruction=torch.tensor(restored))
        metric.update(output)
    assert metric.compute() == 0.5
''',
)
PICTURE = Kind(
    '''\
"""$part: a picture."""

from typing import Annotated

from aeframe.core.bounds import AtLeast
from aeframe.monitoring.dashboard import Chart, Picture


class $part(Picture):
    """How many validation samples have which error."""

    often = True  # in each drawing; else after many steps and at the end

    def __init__(self, *, bins: Annotated[int, AtLeast(1)]) -> None:
        self.bins = bins

    def draw(self, view):
        error = view.passed.error.double().cpu()
        chart = Chart("Errors", "Validation samples", "mean squared error", "samples")
        chart.axes.hist(error.numpy(), bins=self.bins)
        return chart.render()
''',
    """\
# @package pictures.$name
# A histogram of the errors of the validation samples.
# Use it as a beginning of your own.
# aeframe train --plugin $package pictures=$name pictures.$name.bins=50
_target_: $package.$name.$part
bins: 20  # bars
""",
    '''\
"""Tests of $name."""

from types import SimpleNamespace

import aeframe
import torch

from $package.$name import $part


def test_it_draws():
    view = SimpleNamespace(passed=SimpleNamespace(error=torch.tensor([0.0, 0.5, 1.0])))
    assert min($part(bins=2).draw(view).size) > 100
''',
)
RULE = Kind(
    '''\
"""$part: a rule of the doctor."""

from typing import Annotated

from aeframe.core.bounds import Above
from aeframe.monitoring.doctor import Override, Patient, Rule


class $part(Rule):
    """Reports gradients that stay small."""

    patience = 2  # validations in a row

    def __init__(self, patient: Patient, *, least: Annotated[float, Above(0)]) -> None:
        super().__init__(patient)
        self.least, self.norm = least, 0.0

    def has_symptom(self, vitals):
        if vitals.gradient_norm is None:
            return False
        self.norm = vitals.gradient_norm
        return self.norm < self.least

    def describe_symptom(self):
        return f"the norm of the gradients is {self.norm:.2g}{self.begun}"

    def suggest_remedy(self):
        return self.patient.choose_remedy(Override("optimizer.lr", 0.003))
''',
    """\
# @package rules.$name
# Reports gradients that stay small.
# Use it as a beginning of your own.
# aeframe train --plugin $package rules=$name rules.$name.least=0.1
_target_: $package.$name.$part
least: 0.01  # norm of the gradients
""",
    '''\
"""Tests of $name."""

import aeframe
from aeframe.monitoring.doctor import Vitals

from $package.$name import $part


def test_it_reports_after_two_validations():
    rule = $part(None, least=0.1)
    found = [
        rule.judge_validation(Vitals(epoch, epoch, {}, gradient_norm=norm))
        for epoch, norm in enumerate([1.0, 0.05, 0.04], 1)
    ]
    assert found == [False, False, True]
    assert rule.describe_symptom() == "the norm of the gradients is 0.04, since epoch 2"
''',
)
LOGGER = Kind(
    '''\
"""$part: a logger."""

import json

from aeframe.monitoring.loggers import RunLogger, read_values


class $part(RunLogger):
    """Writes each point of the curves as a line of JSON into a file in the run's folder."""

    def __init__(self, *, file: str) -> None:
        self.file = file

    def send(self, record, rows, identity):
        with (record.folder / self.file).open("a") as file:
            for row in rows:
                line = {"step": int(row["step"]), **read_values(row)}
                file.write(json.dumps(line) + "\\n")
        return self.token  # the name of the run at the receiver
''',
    """\
# @package logger.$name
# Writes the curves as lines of JSON.
# Use it as a beginning of your own.
# aeframe train --plugin $package logger=[tensorboard,$name]
_target_: $package.$name.$part
file: $name.jsonl  # in the run's folder
""",
    '''\
"""Tests of $name."""

import json

import aeframe
from aeframe.monitoring.loggers import Record

from $package.$name import $part


def test_each_point_is_a_line(tmp_path):
    (tmp_path / "metrics.csv").write_text("step,epoch,a\\n0,0,1\\n5,1,2\\n")
    for _ in range(2):  # the second time there is nothing new
        $part(file="lines").deliver("$name", Record(tmp_path, {}, {}))
    lines = (tmp_path / "lines").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [{"step": 0, "a": 1}, {"step": 5, "a": 2}]
''',
)
KINDS = {"callback": CALLBACK, "metric": METRIC, "picture": PICTURE, "rule": RULE, "logger": LOGGER}
