"""TensorBoard's custom scalars: curves that belong together in one chart."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pytorch_lightning as pl
from pytorch_lightning.loggers import TensorBoardLogger

from aeframe.constraints.constrained import ConstrainedAutoencoder
from aeframe.evaluation.metric_names import METRICS, SPARSE, list_metric_names

STEP = ("loss", "mse", "l0", "dormant")
"""Curves of training beside the terms of the loss."""
VITALS = ("learning_rate", "gradient_norm", "parameter_norm", "samples_per_second", "data_waiting")
"""Curves on how a run works, not on what it has learned."""
Layout = dict[str, dict[str, list[str]]]
"""Curves of each chart as regular expressions of tags, by category and title."""


def choose_charts(net: ConstrainedAutoencoder) -> Layout:
    """Choose the charts of a run: those whose first curve the run writes.

    A chart is the same in all runs. TensorBoard merges charts of several runs only where they are
    equal.
    """
    terms, model = net.term_names, net.model
    measured = (name for name in STEP if net.is_sparse or name not in SPARSE)
    tags = [*(f"train/{name}" for name in (*measured, *terms))]
    tags += [f"vitals/{name}" for name in VITALS]
    tags += [f"train/{name}_weighted" for name in terms]
    tags += list_metric_names(
        type(model), dict(net.parts), vars(model), has_target=net.target_normalization is not None
    )
    if net.lone_term is not None:
        tags = [
            tag for tag in tags if tag.rpartition("/")[2].removesuffix("_weighted") != net.lone_term
        ]
    layout = {
        category: {
            title: chart
            for title, chart in charts.items()
            if any(re.match(chart[0], tag) for tag in tags)
        }
        for category, charts in CHARTS.items()
    }
    return {category: charts for category, charts in layout.items() if charts}


def _match_tags(*tags: str) -> list[str]:
    # TensorBoard matches regular expressions at the beginning of tags
    return [f"{re.escape(tag)}$" for tag in tags]


def _match_both(name: str) -> list[str]:
    return _match_tags(f"train/{name}", f"val/{name}")


def _match_terms(split: str, others: Iterable[str]) -> list[str]:
    """Match the terms of the loss in a split: all curves except `others` and weighted ones."""
    return [f"{split}/(?!(?:{'|'.join(others)})$)(?!.*_weighted$)[^/]+$"]


CHARTS: Layout = {
    "reconstruction": {
        "mean squared error": [*_match_both("mse"), *_match_tags("val/denoised_mse")],
        "PSNR (dB)": _match_tags("val/psnr", "val/corrupted_psnr", "val/denoised_psnr"),
    },
    "loss (nats)": {
        "training and validation": _match_both("loss"),
        "terms": _match_terms("train", STEP),
        "terms, weighted": ["train/.*_weighted$"],
        "terms in validation": _match_terms("val", METRICS),
    },
    "evidence lower bound (nats)": {
        "its parts": [
            *_match_tags("val/negative_elbo"),
            *_match_both("reconstruction"),
            *_match_tags("train/gaussian_kl", "val/kl"),
        ],
        "active units": _match_tags("val/active_units"),
    },
    "sparsity": {
        "active units per sample": _match_both("l0"),
        "share of dormant and of dead units": [*_match_both("dormant"), *_match_tags("val/dead")],
    },
    "norms": {
        "gradient": _match_tags("vitals/gradient_norm"),
        "parameters": _match_tags("vitals/parameter_norm"),
    },
    "speed": {
        "samples per second": _match_tags("vitals/samples_per_second"),
        "share of time waiting for data": _match_tags("vitals/data_waiting"),
        "learning rate": _match_tags("vitals/learning_rate"),
    },
}
"""All charts, in their order."""


class CustomScalars(pl.Callback):
    """Callback that writes the layout once; a resumed run has it already."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.global_step or not trainer.is_global_zero:
            return
        net = pl_module.net
        assert isinstance(net, ConstrainedAutoencoder)
        charts = {
            category: {title: ["Multiline", chart] for title, chart in charts.items()}
            for category, charts in choose_charts(net).items()
        }
        for logger in trainer.loggers:
            assert isinstance(logger, TensorBoardLogger)
            logger.experiment.add_custom_scalars(charts)
