"""Lightning's loops, so that a run goes on exactly where a checkpoint left it."""

from __future__ import annotations

import time
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loops.fetchers import _DataFetcher, _PrefetchDataFetcher
from pytorch_lightning.loops.fit_loop import _FitLoop
from pytorch_lightning.loops.progress import _BatchProgress
from pytorch_lightning.loops.training_epoch_loop import _TrainingEpochLoop

from aeframe.core.distributed import most_over_ranks
from aeframe.core.signals import Interrupted
from aeframe.training.checkpointing import Last


class EpochLoop(_TrainingEpochLoop):
    """Lets `last` be saved at one kind of moment: a batch is done with all its counts, and what may follow
    it (a validation, schedules that wait for its metrics) has not begun. waited: seconds of this process in
    which training waited for a batch.

    A run that goes on begins with what may follow. Lightning's own restart would leave out some of that, and
    begin the epoch's batches anew.
    """

    def __init__(self, plain: _TrainingEpochLoop, last: Last) -> None:
        super().__init__(plain.trainer, plain.min_steps, plain.max_steps)
        self.last = last
        self.goes_on = False
        self.waited = 0.0

    def state_dict(
        self, destination: dict[str, Any] | None = None, prefix: str = ""
    ) -> dict[str, Any]:
        """Without the counts of a validation, which a signal may have ended: it is done anew."""
        state = super().state_dict(destination, prefix)
        state[f"{prefix}val_loop.batch_progress"] = _BatchProgress().state_dict()
        return state

    def reset(self) -> None:
        if not self.goes_on:  # else all counts are those of the checkpoint
            super().reset()

    def on_run_start(self, data_fetcher: Any) -> None:
        epoch = self.trainer.current_epoch
        if self.goes_on:
            (loader,) = data_fetcher.combined_loader.flattened
            loader.sampler.begun = epoch, self.batch_progress.current.ready
            if epoch == 0:  # for the others Lightning begins anew with the batches
                iter(data_fetcher)
        super().on_run_start(data_fetcher)
        if self.goes_on:
            self.goes_on = False
            super().on_advance_end(data_fetcher)

    def on_advance_end(self, data_fetcher: Any) -> None:
        self.last.after_batch(self.trainer)
        super().on_advance_end(data_fetcher)

    def _on_before_fetch(self) -> None:
        super()._on_before_fetch()
        self._asked = time.perf_counter()

    def _on_after_fetch(self) -> None:
        self.waited += time.perf_counter() - self._asked
        super()._on_after_fetch()


def waited(trainer: pl.Trainer) -> float:
    """Seconds of this process until now in which training waited for a batch."""
    loop = trainer.fit_loop.epoch_loop
    return loop.waited if isinstance(loop, EpochLoop) else 0.0


class Fetcher(_DataFetcher):
    """One loader's batches. Lightning's own layers around it, for several loaders and for those whose end is
    not known, take as long as fetching a small batch from memory.

    begun: Lightning's, whose iterator goes on here.
    """

    def __init__(self, begun: _DataFetcher) -> None:
        super().__init__()
        self.setup(begun.combined_loader)
        self.iterator = begun.iterator
        self.reset()

    def __next__(self) -> tuple[Any, int, int]:
        if self.done:
            raise StopIteration
        iterator: Any = self.iterator
        (batches,) = iterator._iterator.iterators
        self._start_profiler()
        try:
            batch = next(batches)
        except StopIteration:
            self.done = True
            raise
        finally:
            self._stop_profiler()
        self.fetched += 1
        assert self.length is not None
        self.done = self.fetched >= self.length
        return batch, self.fetched - 1, 0


class FitLoop(_FitLoop):
    """Over epochs, of which the first may have begun in an earlier process."""

    def __init__(self, trainer: pl.Trainer, last: Last) -> None:
        plain = trainer.fit_loop
        super().__init__(trainer, plain.min_epochs, plain.max_epochs)
        self.epoch_loop: EpochLoop = EpochLoop(plain.epoch_loop, last)

    def setup_data(self) -> None:
        super().setup_data()
        begun = self._data_fetcher
        if isinstance(begun, _PrefetchDataFetcher) and begun.length is not None:  # made just now
            self._data_fetcher = Fetcher(begun)

    def run(self) -> None:
        signals = self.epoch_loop.last.signals
        with signals.heeded():
            super().run()
        (signal,) = most_over_ranks((signals.received,), self.trainer.strategy.root_device)
        if signal:  # it came behind the last batch
            raise Interrupted(signal, self.epoch_loop.last.folder)

    def load_state_dict(self, state_dict: dict[str, Any], prefix: str = "") -> None:
        super().load_state_dict(state_dict, prefix)
        for counted in (self.epoch_progress.total, self.epoch_progress.current):
            counted.reset_on_restart()
        # not self.restarting, which is always true where max_steps is given
        self._restarting = self.epoch_loop.restarting = False
        for loop in (self, self.epoch_loop, self.epoch_loop.val_loop):
            loop._loaded_from_state_dict = loop._resuming_from_checkpoint = False
        self.epoch_loop.goes_on = True
