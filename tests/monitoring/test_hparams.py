"""HParams as TensorBoard's own plugin reads them: a sweep's values are ticked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams.backend_context import Context

Command = Callable[..., tuple[int, str, str]]
TICKED = 5
"""Columns that TensorBoard's page ticks: the first of those that differ, sorted by name."""
TINY = (
    *("network.widths=[]", "trainer.max_epochs=1", "trainer.limit_train_batches=2"),
    *("evaluation.images=16", "dashboard.images=0"),
)


def list_columns(folder: Path) -> list[tuple[str, bool]]:
    """List the names of all columns, and whether each differs, as TensorBoard's page gets them."""
    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(folder))
    multiplexer.Reload()
    provider = MultiplexerDataProvider(multiplexer, str(folder))
    context = Context(TBContext(data_provider=provider))
    request = RequestContext()
    experiment = context.experiment_from_metadata(
        request, "", True, context.hparams_metadata(request, ""), None, 1000
    )
    assert {info.name.tag.partition("/")[0] for info in experiment.metric_infos} == {
        *("train", "val", "vitals")
    }
    return [(info.name, info.differs) for info in experiment.hparam_infos]


def test_what_was_swept_is_ticked_first_and_no_constant(aeframe: Command, tmp_path: Path) -> None:
    words = ("model=sparse", "constraint.topk.k=2,3", "seed=0,1", "optimizer.weight_decay=0,0.1")
    assert aeframe("-m", *words, *TINY, "hydra.sweep.dir=sweep")[0] == 0
    columns = list_columns(tmp_path / "sweep")
    assert [name for name, _ in columns[:4]] == [
        *("best val/mse", "constraint.topk.k", "optimizer.weight_decay", "seed")
    ]
    assert all(differs for _, differs in columns[:TICKED])
    names = [name for name, _ in columns]
    assert {"model", "network", "→ test/mse", "→ test/psnr", "→ test/l0"} <= set(names)


def test_runs_of_other_models_have_all_columns(aeframe: Command, tmp_path: Path) -> None:
    """TensorBoard takes the summary of one experiment for that of all runs, where there is one."""
    for model in ("undercomplete", "sparse", "variational"):
        words = (f"model={model}", "network=linear", *TINY[1:])
        assert aeframe(*words, f"hydra.run.dir=runs/{model}")[0] == 0
    listed = list_columns(tmp_path / "runs")
    ticked = [name for name, differs in listed[:TICKED] if differs]
    assert {"best val/mse", "model"} <= set(ticked)  # not three best values of three metrics
    columns = dict(listed)
    assert {"constraint.topk.k", "model.beta", "→ test/l0", "→ test/nll"} <= columns.keys()
    assert columns["model"]
    assert not columns["network"]
