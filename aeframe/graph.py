"""An optimizer step as a CUDA graph: the device repeats it without waiting for Python."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from aeframe.config.training import FUSED
from aeframe.constrained import ConstrainedAutoencoder
from aeframe.data import Batch
from aeframe.noise import Noise, mix
from aeframe.schedules import Clock

if TYPE_CHECKING:
    from aeframe.module import AutoencoderModule

WARM_UP = 3  # steps on the side stream before the capture, as torch's notes on CUDA graphs advise


class _WasRead(Exception):  # noqa: N818
    pass


class _Unreadable(Clock):
    """Says when somebody wants to know how far training is."""

    @property
    def step(self) -> int:
        raise _WasRead

    @property
    def epoch(self) -> float:
        raise _WasRead


class Streams(Noise):
    """A step's random numbers from generators that stay, as a graph needs them: seeded anew for each step.

    The numbers are those of Noise(*key). generators: by the names that lead to the stream.
    """

    def __init__(self, path: tuple[str, ...] = (), root: Streams | None = None) -> None:
        super().__init__()
        self.path, self.root = path, root or self
        self.generators: dict[tuple[str, ...], torch.Generator] = {}

    def seed(self, *key: int | str) -> None:
        """Begin the step of this key."""
        self.key = key
        for path, generator in self.generators.items():
            generator.manual_seed(mix(*key, *path))

    def stream(self, name: str) -> Streams:
        return Streams((*self.path, name), self.root)

    def generator(self, device: torch.device | str) -> torch.Generator:
        root = self.root
        if self.path not in root.generators:
            seed = mix(*root.key, *self.path)
            root.generators[self.path] = torch.Generator(device).manual_seed(seed)
        return root.generators[self.path]


def graph_for(module: AutoencoderModule, is_ahead: bool) -> Graph | None:
    """What takes a module's steps as a graph; None, and one line that says why, where that cannot be.

    is_ahead: whether steps are taken between Lightning's at all.
    """
    why = None if is_ahead else "all steps are Lightning's own"
    why = why or _obstacle(module.net, module.trainer)
    if why is None:
        return Graph(module)
    _say(why)
    return None


def _obstacle(net: ConstrainedAutoencoder, trainer: pl.Trainer) -> str | None:
    """Why a step cannot be repeated as it is: mostly, what Python does in between."""
    if not _is_cuda(trainer.strategy.root_device):
        return "there is no GPU"
    if any(isinstance(layer, nn.Dropout) for layer in net.modules()):
        return "dropout draws from the global stream"
    if any(c.interval == "step" for c in trainer.lr_scheduler_configs):
        return "the learning rate changes at each step"
    optimizer = trainer.optimizers[0]
    if type(optimizer) not in FUSED or not all(g["fused"] for g in optimizer.param_groups):
        return f"{type(optimizer).__name__} counts its steps in Python"
    return None


def _held(part: nn.Module) -> dict[str, Any]:
    """What a module holds, its buffers included."""
    return {k: v for k, v in vars(part).items() if k != "clock"} | dict(part._buffers)


def _is_cuda(device: torch.device) -> bool:
    return device.type == "cuda"


class Graph:
    """Takes steps, after some in the usual way by repeating one that was captured.

    Batches of another size, steps whose values are logged, and all after a failure are left to the usual
    way. A new learning rate means a new capture.
    """

    def __init__(self, module: AutoencoderModule) -> None:
        self.module, self.optimizer = module, module.trainer.optimizers[0]
        self.x: Tensor | None = None
        self.noise = Streams()
        self.side = torch.cuda.Stream(module.device)
        self.captured: torch.cuda.CUDAGraph | None = None
        self.taken = 0
        self.options = self._options()
        self.broken = False

    def suits(self, batch: Batch, step: int) -> bool:
        """Whether a step on this batch, after `step` steps, can be taken so."""
        if self.broken or self.module.logs(step):
            return False
        return self.x is None or batch.x.shape == self.x.shape

    def step(self, batch: Batch, *key: int | str) -> bool:
        """Take one, or say why not: then False. key: of its random numbers."""
        if self.x is None:
            self.x = torch.empty_like(batch.x)
        self.x.copy_(batch.x)
        self.noise.seed(*key)
        if self.taken == 0 and (why := self._changing()):
            return self._give_up(why)
        if self.options != (options := self._options()):
            self.captured, self.options = None, options
        if self.captured is None and self.taken < WARM_UP:
            with self._aside():
                self._take()
            self.taken += 1
            return True
        self.captured = self.captured or self._capture()
        if self.captured is None:
            return False
        self.noise.seed(*key)
        self.captured.replay()
        return True

    def _changing(self) -> str | None:
        """What Python would change in each step, and a graph would make a constant."""
        net = self.module.net
        clock, buffers = net.clock, [(b, b.clone()) for b in net.buffers()]
        held = {part: _held(part) for part in net.modules()}
        try:
            net.set_clock(_Unreadable())
            self._observed()
        except _WasRead:
            return "a schedule changes the loss at each step"
        finally:
            net.set_clock(clock)
            for buffer, value in buffers:  # what was observed
                buffer.copy_(value)
            self.noise.seed(*self.noise.key)
        for part, before in held.items():
            now = _held(part)
            if now.keys() != before.keys() or any(now[key] is not before[key] for key in now):
                return f"{type(part).__name__} keeps something new in each step"
        return None

    def _take(self) -> None:
        module = self.module
        with module.trainer.precision_plugin.train_step_context():
            loss = self._observed()
        module.descend(loss, self.optimizer)

    def _observed(self) -> Tensor:
        net = self.module.net
        output = net(net.normalization(self.x), noise=self.noise)
        net.observe(output)
        return output.loss

    def _capture(self) -> torch.cuda.CUDAGraph | None:
        """Capture a step, which changes nothing. None, and one line, where it cannot be."""
        graph = torch.cuda.CUDAGraph()
        try:
            for generator in self.noise.generators.values():
                graph.register_generator_state(generator)
            with self._capturable(), torch.cuda.graph(graph, stream=self.side):
                self._take()
        except (
            Exception
        ) as error:  # of any kind: what can be captured is up to torch and the driver
            reason = str(error).strip().partition("\n")[0]
            self._give_up(f"a step could not be captured ({reason})")
            return None
        return graph

    def _give_up(self, reason: str) -> bool:
        """Leave all to the usual way, and say so."""
        self.broken = True
        _say(reason)
        return False

    def _options(self) -> list[dict[str, Any]]:
        """The numbers that a capture makes constants."""
        return [
            {k: v for k, v in group.items() if k != "params"}
            for group in self.optimizer.param_groups
        ]

    @contextmanager
    def _capturable(self) -> Iterator[None]:
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

    @contextmanager
    def _aside(self) -> Iterator[None]:
        """On the stream that will be captured, in turn with all others."""
        self.side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.side):
            yield
        torch.cuda.current_stream().wait_stream(self.side)


def _say(reason: str) -> None:
    """That steps are taken in the usual way, and why: one line."""
    print(f"trainer.cuda_graph: {reason}; steps are taken one by one", file=sys.stderr)
