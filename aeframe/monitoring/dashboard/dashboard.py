"""Dashboard: pictures, histograms, texts and projector files for TensorBoard."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import TensorBoardLogger

from aeframe.config.options import DashboardOptions
from aeframe.constraints.constrained import ConstrainedAutoencoder
from aeframe.data import DataModule
from aeframe.evaluation.card import Card
from aeframe.monitoring.dashboard import code_charts, filters, grids, latent, projector, text
from aeframe.monitoring.dashboard import unit_plots as units
from aeframe.monitoring.dashboard.page import Page
from aeframe.monitoring.dashboard.picture import Picture
from aeframe.monitoring.dashboard.view import Samples, View
from aeframe.monitoring.sharding import is_sharded

Part = Callable[[View, Page], None]
OFTEN: list[tuple[str, Part]] = [
    ("reconstructions", grids.draw_reconstructions),
    ("samples", latent.draw_samples),
    ("code", code_charts.add_code_histogram),
]
"""Parts of each drawing, with the options that turn them off."""
SELDOM: list[tuple[str, Part]] = [
    ("extremes", grids.draw_extremes),
    ("corruptions", grids.draw_corruptions),
    ("traversal", latent.draw_traversal),
    ("interpolation", latent.draw_interpolation),
    ("units", units.draw_units),
    ("units", code_charts.draw_firing_rates),
    ("kl", code_charts.draw_kl),
    ("projection", code_charts.draw_codes),
    ("filters", filters.draw_filters),
]
"""Parts that together take a third of a second: drawn after many steps, and at the end."""
LAST: list[tuple[str, Part]] = [
    ("projection", code_charts.draw_tsne),
    ("projector", projector.write_projector),
]
"""Parts that are drawn only at the end of training, because they take longer."""
MANY = 5_000  # steps


class Dashboard(pl.Callback):
    """Callback that draws the network every few epochs and at the end.

    TensorBoard keeps ten pictures of a tag. The first are drawn every few epochs, later ones
    whenever the number of epochs has doubled; some parts wait for many steps. That depends on no
    clock, so that a resumed run shows the same pictures. Nothing is drawn with sharded weights: one
    rank alone cannot run the network. added: pictures of plug-ins, by name.
    """

    def __init__(
        self, options: DashboardOptions, added: Mapping[str, Picture] | None = None
    ) -> None:
        self.images, self.every = options.images, options.every_n_epochs
        self.wanted = {f.name for f in fields(options) if getattr(options, f.name) is True}
        self.added = added or {}
        self.samples: Samples | None = None
        self.epoch: int | None = None  # epoch and step of the last drawing
        self.step: int | None = None
        self.whole = 0  # step of the last drawing with the parts that are drawn seldom
        self._view: View | None = None  # view of the last drawing

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "step": self.step, "whole": self.whole}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.epoch, self.step = state_dict["epoch"], state_dict["step"]
        self.whole = state_dict.get("whole", 0)  # older checkpoints lack it

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        begins = trainer.is_global_zero and not trainer.global_step
        if begins and "text" in self.wanted and isinstance(trainer.logger, TensorBoardLogger):
            page = _page(trainer)
            text.write_beginning(page)
            page.write()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._view = None  # the weights change

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.sanity_checking and self._is_due(trainer.current_epoch):
            self._draw(trainer, pl_module, self._choose_parts(trainer.global_step))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.enable_validation and self._is_due(trainer.current_epoch):
            pl_module.eval()
            self._draw(trainer, pl_module, self._choose_parts(trainer.global_step))
            pl_module.train()

    def _is_due(self, epoch: int) -> bool:
        return self.epoch is None or epoch - self.epoch >= max(self.every, self.epoch)

    def _choose_parts(self, step: int, *, ends: bool = False) -> list[tuple[str, Part]]:
        """Choose the parts to draw at this step, without those that were drawn at it."""
        parts = [*OFTEN, *self._list_added(often=True)] if self.step != step else []
        if step - self.whole >= MANY or (ends and self.whole != step):
            parts, self.whole = [*parts, *SELDOM, *self._list_added(often=False)], step
        return [*parts, *LAST] if ends else parts

    def _list_added(self, *, often: bool) -> list[tuple[str, Part]]:
        """List the pictures of plug-ins as parts. None of the dashboard's options turns them off."""
        chosen = ((name, one) for name, one in self.added.items() if one.often == often)
        return [("", partial(_draw_added, name, picture)) for name, picture in chosen]

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        pl_module.eval()
        self._draw(trainer, pl_module, self._choose_parts(trainer.global_step, ends=True))
        pl_module.train()

    @torch.no_grad()
    def _draw(
        self, trainer: pl.Trainer, module: pl.LightningModule, parts: Iterable[tuple[str, Part]]
    ) -> None:
        if is_sharded(trainer) or not self.images or not trainer.is_global_zero:
            return
        net, data = module.net, module.data
        assert isinstance(net, ConstrainedAutoencoder)
        assert isinstance(data, DataModule)
        if self.samples is None:
            self.samples = Samples.take(data, net, self.images)
        if self._view is None or self.step != trainer.global_step:
            self._view = View(net, self.samples, data.spec)
        self.epoch, self.step = trainer.current_epoch, trainer.global_step
        view, page = self._view, _page(trainer)
        wanted = [(name, part) for name, part in parts if name in (*self.wanted, "")]
        if not wanted or not view.is_finite:
            return
        for _, part in wanted:
            part(view, page)
        page.write()

    def write_card(self, trainer: pl.Trainer, card: Card) -> None:
        """Write the evaluation card as text."""
        if "text" in self.wanted:
            page = _page(trainer)
            text.write_card(page, card)
            page.write()


def _draw_added(name: str, picture: Picture, view: View, page: Page) -> None:
    picture.add_to(page, name, view)


def _page(trainer: pl.Trainer) -> Page:
    assert isinstance(trainer.logger, TensorBoardLogger)
    begun = trainer.fit_loop.epoch_progress.current.ready
    return Page(trainer.logger.experiment, trainer.global_step, begun)
