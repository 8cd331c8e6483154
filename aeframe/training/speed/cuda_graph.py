"""Optimizer steps as a CUDA graph, which the device repeats without waiting for Python."""

from __future__ import annotations

import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from aeframe.config.optimizer_checks import FUSED
from aeframe.constraints.constrained import ConstrainedAutoencoder
from aeframe.core.errors import TrainingError
from aeframe.core.noise import Generators, KeptNoise
from aeframe.core.process import is_first_process
from aeframe.core.schedules import Clock
from aeframe.data import Batch
from aeframe.training.module import AutoencoderModule

WARM_UP = 3  # steps on the side stream before the capture, as torch's notes on CUDA graphs advise


def make_graph(module: AutoencoderModule, lightnings: str | None) -> Graph | None:
    """Make the graph of a module's steps. Returns None, and prints why, if there can be none.

    lightnings: the reason if Lightning takes all steps itself.
    """
    why = lightnings and f"all steps are Lightning's own ({lightnings})"
    why = why or _find_obstacle(module.net, module.trainer)
    if why is None:
        return Graph(module)
    print_line(f"{why}; steps are taken one by one")
    return None


def print_line(what: str) -> None:
    """Print one line, on the first rank alone."""
    if is_first_process():
        print(f"trainer.cuda_graph: {what}", file=sys.stderr)


def _find_obstacle(net: ConstrainedAutoencoder, trainer: pl.Trainer) -> str | None:
    """Find a reason, known before the first step, why steps cannot be repeated."""
    optimizer = trainer.optimizers[0]
    name = type(optimizer).__name__
    obstacles = {
        "training is on no CUDA device": not _is_cuda(trainer.strategy.root_device),
        "network.dropout draws from the global stream": _has_dropout(net),
        "scheduler.interval=step changes the learning rate at each step": any(
            c.interval == "step" for c in trainer.lr_scheduler_configs
        ),
        "trainer.detect_anomaly=true looks at each gradient": torch.is_anomaly_enabled(),
        f"optimizer {name} is not fused": type(optimizer) not in FUSED
        or not all(group["fused"] for group in optimizer.param_groups),
    }
    return next((why for why, holds in obstacles.items() if holds), None)


def _is_cuda(device: torch.device) -> bool:
    return device.type == "cuda"


def _has_dropout(net: nn.Module) -> bool:
    return any(isinstance(layer, nn.Dropout) for layer in net.modules())


def _refuse_to_wait() -> None:
    """Make torch raise a RuntimeError instead of waiting for the device."""
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # "a prototype feature"
        torch.cuda.set_sync_debug_mode("error")


class _ClockWasRead(Exception):  # noqa: N818
    pass


class _Unreadable(Clock):
    """Clock that raises _ClockWasRead."""

    def _refuse(self, *_: Any) -> NoReturn:
        raise _ClockWasRead

    step = property(_refuse)
    epoch = property(_refuse)
    __getitem__ = __iter__ = _refuse


class Graph:
    """Graph of a step: the first steps run on a side stream, all others repeat a captured one.

    Batches of another size and steps that are logged are taken without the graph. In a capture the
    optimizer's numbers are constants, so a step is captured again after each change of the learning rate,
    for example in each epoch. A rate in a tensor could change without a new capture, but would be rounded
    differently.
    """

    def __init__(self, module: AutoencoderModule) -> None:
        self.module, self.optimizer = module, module.trainer.optimizers[0]
        self.generators = Generators()
        self.noise = KeptNoise(self.generators)
        self.side = torch.cuda.Stream(module.device)
        self.x: Tensor | None = None  # input of the graph, into which each batch is copied
        self.warmed_up = 0
        self.captured: torch.cuda.CUDAGraph | None = None
        self.constants = self._list_options()

    def is_suited(self, batch: Batch, step: int) -> bool:
        """Check whether the graph can take a step on this batch, after `step` steps."""
        fits = self.x is None or batch.x.shape == self.x.shape
        return fits and not self.module.is_logged(step)

    def step(self, batch: Batch, *key: int | str) -> str | None:
        """Take a step, or change nothing and return the reason. key: of its random numbers."""
        if self.x is None:
            self.x = batch.x.clone()
            if why := self._probe(*key):
                return why
        self.x.copy_(batch.x)
        if self.warmed_up < WARM_UP:
            self._warm_up(*key)
        else:
            self._repeat(*key)
        return None

    def _probe(self, *key: int | str) -> str | None:
        """Find a reason why a repeated step would differ from a normal one. Changes nothing."""
        net = self.module.net
        self.generators.seed(*key)
        buffers = [(buffer, buffer.clone()) for buffer in net.buffers()]
        before = {part: _list_contents(part) for part in net.modules()}
        try:
            return self._find_hindrance() or _find_new_contents(before)
        finally:
            for part, (attributes, named) in before.items():
                vars(part).update(attributes)
                part._buffers.update(named)
            for buffer, value in buffers:
                buffer.copy_(value)

    def _find_hindrance(self) -> str | None:
        """Find an operation of a step that cannot be captured, or that would become a constant."""
        net, mode = self.module.net, torch.cuda.get_sync_debug_mode()
        clock = net.clock
        net.set_clock(_Unreadable())
        try:
            _refuse_to_wait()  # within a capture, a wait would leave torch in an invalid state
            self._differentiate()
        except _ClockWasRead:
            return "a schedule changes the loss at each step"
        except RuntimeError as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            reason = f"{_get_first_line(error)}, {Path(place.filename).name}:{place.lineno}"
            return f"a step cannot be captured ({reason})"
        finally:
            torch.cuda.set_sync_debug_mode(mode)
            net.set_clock(clock)
            self.optimizer.zero_grad()
        return None

    def _warm_up(self, *key: int | str) -> None:
        """Take a step on the side stream, between the others."""
        self.generators.seed(*key)
        self.side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.side):
            self._take()
        torch.cuda.current_stream().wait_stream(self.side)
        self.warmed_up += 1

    def _repeat(self, *key: int | str) -> None:
        numbers = self._list_options()
        if self.captured is None or self.constants != numbers:
            self.captured = None  # frees its memory before the next one takes more
            self.captured, self.constants = self._capture(), numbers
        self.generators.seed(*key)
        self.captured.replay()

    def _list_options(self) -> list[dict[str, Any]]:
        """Return the optimizer's options, which are constants in a capture."""
        return [
            {k: v for k, v in group.items() if k != "params"}
            for group in self.optimizer.param_groups
        ]

    def _capture(self) -> torch.cuda.CUDAGraph:
        """Capture a step, which changes nothing. Raises TrainingError: torch cannot be relied on then."""
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
        if torch.__version__ < "2.14":  # later a capture finds them itself
            for generator in self.generators.by_path.values():
                graph.register_generator_state(generator)
        # a thread that pins memory may call the driver meanwhile
        capture = torch.cuda.graph(graph, stream=self.side, capture_error_mode="thread_local")
        try:
            with self._allow_capture(), capture:
                self._take()
        except Exception as error:  # of any kind: it is up to torch and the driver
            reason = _get_first_line(
                error.__context__ or error
            )  # the end of a failed capture fails, too
            raise TrainingError(
                f"a step could not be captured ({reason}): write trainer.cuda_graph=false."
            ) from error
        finally:
            torch.cuda.set_stream(stream)  # which torch does only after a capture that succeeded
        return graph

    @contextmanager
    def _allow_capture(self) -> Iterator[None]:
        """Torch's optimizers refuse to be captured unless they are told that they will be."""
        groups = [g for g in self.optimizer.param_groups if "capturable" in g]
        before = [group["capturable"] for group in groups]
        try:
            for group in groups:
                group["capturable"] = True
            yield
        finally:
            for group, value in zip(groups, before, strict=True):
                group["capturable"] = value

    def _take(self) -> None:
        self._differentiate()
        self.optimizer.step()

    def _differentiate(self) -> None:
        module = self.module
        assert self.x is not None
        with module.trainer.precision_plugin.train_step_context():
            loss = module.observe(self.x, self.noise).loss
        module.differentiate(loss, self.optimizer)


def _list_contents(part: nn.Module) -> tuple[dict[str, Any], dict[str, Any]]:
    """List the attributes and buffers of a module."""
    # private: named_buffers() leaves out those that are None
    return dict(vars(part)), dict(part._buffers)


def _find_new_contents(
    before: dict[nn.Module, tuple[dict[str, Any], dict[str, Any]]],
) -> str | None:
    """Find a module whose attributes or buffers are other objects than before."""
    for part, held in before.items():
        for old, new in zip(held, _list_contents(part), strict=True):
            if old.keys() != new.keys() or any(new[key] is not old[key] for key in new):
                return f"{type(part).__name__} keeps something new in each step"
    return None


def _get_first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).partition("\n")[0]
