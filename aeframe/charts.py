"""TensorBoard's custom scalars: curves that belong together in one chart."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pytorch_lightning as pl
from pytorch_lightning.loggers import TensorBoardLogger

from aeframe.constrained import ConstrainedAutoencoder
from aeframe.metric_names import metric_names

Layout = dict[str, dict[str, list[str]]]
"""The tags of each chart, by its category and its title."""


def layout(net: ConstrainedAutoencoder) -> Layout:
    """The charts of a run, of those tags only that it writes."""
    terms = net.term_names
    each = [*terms, *(f"{name}_weighted" for name in terms)]
    measured = ["loss", "gradient_norm", "parameter_norm", "images_per_second", "data_waiting"]
    sparse = ["l0", "dormant"] if net.is_sparse else []
    tags = {f"train/{name}" for name in (*each, *measured, *sparse, "learning_rate")}
    model = net.model
    tags |= set(metric_names(type(model), dict(net.parts), vars(model)))
    found = {
        category: {title: [tag for tag in chart if tag in tags] for title, chart in charts.items()}
        for category, charts in _charts(terms, stochastic=model.stochastic).items()
    }
    filled = {
        c: {title: chart for title, chart in charts.items() if chart} for c, charts in found.items()
    }
    return {category: charts for category, charts in filled.items() if charts}


def _charts(terms: Iterable[str], *, stochastic: bool) -> Layout:
    """All charts that there are. terms: of the loss."""
    bound = ["val/negative_elbo", *_both("reconstruction"), "train/gaussian_kl", "val/kl"]
    return {
        "loss": {
            "training and validation": _both("loss"),
            "terms": [f"train/{name}" for name in terms],
            "terms, weighted": [f"train/{name}_weighted" for name in terms],
            "terms in validation": [f"val/{name}" for name in terms],
        },
        "evidence lower bound": {
            "its parts": bound if stochastic else [],
            "active units": ["val/active_units"],
        },
        "reconstruction": {
            "MSE per pixel": ["val/mse", "val/denoised_mse"],
            "PSNR": ["val/psnr", "val/corrupted_psnr", "val/denoised_psnr"],
        },
        "sparsity": {
            "active units per sample": _both("l0"),
            "dormant and dead": [*_both("dormant"), "val/dead"],
        },
        "norms": {
            "gradient": ["train/gradient_norm"],
            "parameters": ["train/parameter_norm"],
        },
        "speed": {
            "images per second": ["train/images_per_second"],
            "share of time waiting for data": ["train/data_waiting"],
            "learning rate": ["train/learning_rate"],
        },
    }


def _both(name: str) -> list[str]:
    return [f"train/{name}", f"val/{name}"]


class Charts(pl.Callback):
    """Writes the layout once: a run that goes on has it already."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.global_step or not trainer.is_global_zero:
            return
        net = pl_module.net
        assert isinstance(net, ConstrainedAutoencoder)
        # TensorBoard takes tags for regular expressions, which need only match a beginning
        charts = {
            category: {
                title: ["Multiline", [f"{re.escape(tag)}$" for tag in chart]]
                for title, chart in charts.items()
            }
            for category, charts in layout(net).items()
        }
        for logger in trainer.loggers:
            assert isinstance(logger, TensorBoardLogger)
            logger.experiment.add_custom_scalars(charts)
