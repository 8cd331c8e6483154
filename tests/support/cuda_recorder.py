"""Stand-in on the CPU for the capture of torch.cuda: operations are recorded on the memory that they use,
undone, and repeated without Python.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

WAITING = {"_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal"}


def tensors(value: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]


def drawn_from(kwargs: dict[str, Any]) -> list[Any]:
    return [value for value in kwargs.values() if isinstance(value, torch.Generator)]


class Refusing(TorchDispatchMode):
    """Refuses what would wait for a device."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.partition("::")[2]
        by_mask = name == "index" and any(t.dtype == torch.bool for t in tensors(args[1]))
        if name in WAITING or by_mask:
            raise RuntimeError("called a synchronizing CUDA operation")
        return func(*args, **(kwargs or {}))


class Tape(Refusing):
    """Records operations. generators: all that may be drawn from."""

    def __init__(self) -> None:
        super().__init__()
        self.generators: list[torch.Generator] = []
        self.recorded: list[tuple[Any, Any, dict[str, Any], list[Tensor]]] = []
        self.overwritten: list[tuple[Tensor, Tensor]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        known = {g._cdata for g in self.generators}
        if torch.__version__ < "2.14" and not {g._cdata for g in drawn_from(kwargs)} <= known:
            raise RuntimeError("the generator is not registered with the graph")
        for tensor in self._written(func, args, kwargs):
            self.overwritten.append((tensor.detach(), tensor.detach().clone()))
        made = super().__torch_dispatch__(func, types, args, kwargs)
        returned = [value.alias_info for value in func._schema.returns]
        if not any(alias is not None and not alias.is_write for alias in returned):  # no view
            self.recorded.append((func, args, kwargs, tensors(made)))
        return made

    def _written(self, func: Any, args: Any, kwargs: dict[str, Any]) -> list[Tensor]:
        if func._schema.name == "aten::native_batch_norm":  # whose schema does not say so
            return tensors(args[3:5])
        given = dict(zip((a.name for a in func._schema.arguments), args, strict=False)) | kwargs
        aliases = {a.name: a.alias_info for a in func._schema.arguments}
        return tensors([v for k, v in given.items() if aliases[k] and aliases[k].is_write])

    @torch.no_grad()
    def undo(self) -> None:
        for tensor, value in reversed(self.overwritten):
            tensor.copy_(value)

    @torch.no_grad()
    def play(self) -> None:
        for func, args, kwargs, made in self.recorded:
            for old, new in zip(made, tensors(func(*args, **kwargs)), strict=True):
                if old.data_ptr() != new.data_ptr():
                    old.copy_(new)


class CUDAGraph:
    """Counts its replays."""

    def __init__(self) -> None:
        self.tape, self.replays = Tape(), 0

    def register_generator_state(self, generator: torch.Generator) -> None:
        self.tape.generators.append(generator)

    def replay(self) -> None:
        self.replays += 1
        self.tape.play()


class Stream:
    def wait_stream(self, other: Stream) -> None: ...


class Simulated:
    """The functions of torch.cuda. captures: all graphs, in order."""

    CUDAGraph = CUDAGraph

    def __init__(self) -> None:
        self.captures: list[CUDAGraph] = []
        self.current = self.default = Stream()
        self.mode: int | str = 0
        self._refusing = ExitStack()

    def Stream(self, device: torch.device) -> Stream:  # noqa: N802
        return Stream()

    def current_stream(self) -> Stream:
        return self.current

    def set_stream(self, stream: Stream) -> None:
        self.current = stream

    @contextmanager
    def stream(self, stream: Stream) -> Iterator[None]:
        before, self.current = self.current, stream
        yield
        self.current = before

    @contextmanager
    def graph(self, graph: CUDAGraph, stream: Stream, capture_error_mode: str) -> Iterator[None]:
        with self.stream(stream), graph.tape:
            yield
        graph.tape.undo()
        self.captures.append(graph)

    def get_sync_debug_mode(self) -> int | str:
        return self.mode

    def set_sync_debug_mode(self, mode: int | str) -> None:
        self.mode = mode
        self._refusing.close()
        if mode == "error":
            self._refusing.enter_context(Refusing())

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let torch.cuda be this, as far as a graph needs it."""
        names = ("CUDAGraph", "Stream", "current_stream", "set_stream", "stream", "graph")
        for name in (*names, "get_sync_debug_mode", "set_sync_debug_mode"):
            monkeypatch.setattr(torch.cuda, name, getattr(self, name))
