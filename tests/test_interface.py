"""Training from Python, beside the command line."""

from __future__ import annotations

import logging
import os
import random
import re
import signal
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from torch.utils.data import Dataset, TensorDataset

import aeframe
from aeframe.training.checkpointing import Last

Command = Callable[..., tuple[int, str, str]]
SHORT = ("trainer.max_epochs=2", "model.latent_dim=3", "network.widths=[8]", "dashboard.images=0")


@pytest.fixture
def x() -> np.ndarray:
    """96 samples of 12 features near a 3-dimensional subspace."""
    generator = np.random.default_rng(0)
    return generator.normal(size=(96, 3)) @ generator.normal(size=(3, 12)) + 5.0


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def typed_command(request: pytest.FixtureRequest) -> Command:
    """The command line, which the fixture of the package's name runs."""
    return request.getfixturevalue("aeframe")


def load_weights(folder: Path) -> dict[str, torch.Tensor]:
    state = torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)
    return state["state_dict"]


def assert_same_weights(one: Path, other: Path) -> None:
    weights, others = load_weights(one), load_weights(other)
    assert weights.keys() == others.keys()
    assert all(torch.equal(weights[name], others[name]) for name in weights)


def test_targets_are_given_beside_the_data(
    typed_command: Command, x: np.ndarray, tmp_path: Path
) -> None:
    y = np.tanh(x[:, :4])
    np.save("x.npy", x)
    np.save("y.npy", y)
    data = ("dataset=array", "dataset.path=x.npy", "dataset.target=y.npy")
    assert typed_command(*data, *SHORT, "hydra.run.dir=typed")[0] == 0
    run = aeframe.train(SHORT, data=x, target=y, folder="python", verbose=False)
    assert_same_weights(tmp_path / "typed", run.folder)
    assert run.model.target_shape == (4,)
    again = aeframe.load(run.folder)
    np.testing.assert_array_equal(again.score(x, y), run.model.score(x, y))
    for given, what in [
        ({"target": y}, "target: has no samples"),
        ({"data": (x, x[:9]), "target": y}, "target: has other splits than data"),
        ({"data": x, "target": y[:5]}, "holds 5 targets, but dataset.path="),
    ]:
        with pytest.raises(aeframe.UserError, match=what):
            aeframe.train(SHORT, **given, verbose=False)


def test_the_weights_are_those_of_the_command_line(
    typed_command: Command, x: np.ndarray, tmp_path: Path
) -> None:
    np.save("x.npy", x)
    words = (*SHORT, "model=denoising", "seed=3")
    assert (
        typed_command("dataset=array", "dataset.path=x.npy", *words, "hydra.run.dir=typed")[0] == 0
    )
    run = aeframe.train(words, data=x, folder="python", verbose=False)
    assert_same_weights(tmp_path / "typed", run.folder)
    typed = aeframe.Run("typed")
    assert run.metrics == typed.metrics
    pd.testing.assert_frame_equal(  # but for times
        *(r.curves().filter(regex="step|epoch|train|val/") for r in (run, typed))
    )
    mapped = aeframe.train(
        {
            "trainer.max_epochs": 2, "model.latent_dim": 3, "network.widths": [8],
            "dashboard": {"images": 0}, "model": "denoising", "seed": np.int64(3),
        },
        data=torch.from_numpy(x), verbose=False,
    )  # fmt: skip
    assert_same_weights(tmp_path / "typed", mapped.folder)
    assert re.fullmatch(r"\d{2}-.*_denoising_.*_array", mapped.folder.name)


def test_nothing_else_of_the_process_changes(x: np.ndarray) -> None:
    aeframe.train(SHORT, data=x, verbose=False)  # what imports do once
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    warnings.simplefilter("error")
    torch.set_flush_denormal(True)

    def look() -> tuple[Any, ...]:
        return (
            dict(os.environ), [signal.getsignal(n) for n in (2, 15, 1, 10)],
            random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist(),
            torch.get_num_threads(), torch.get_float32_matmul_precision(), list(warnings.filters),
            logging.getLogger("pytorch_lightning").level, threading.excepthook,
            torch.get_default_dtype(), torch.is_grad_enabled(), os.getcwd(),
            float(torch.tensor([1e-39]) * 1.0),
        )  # fmt: skip

    before = look()
    aeframe.train(SHORT, data=x, verbose=False)
    assert look() == before
    torch.set_flush_denormal(False)
    before = look()
    with pytest.raises(aeframe.ConfigError):
        aeframe.train(["model.latent_dim=0"], data=x, verbose=False)
    assert look() == before


def test_many_trainings_leave_no_files_or_threads_open(x: np.ndarray) -> None:
    counts = []
    for _ in range(3):
        aeframe.train(SHORT, data=x, verbose=False)
        counts.append((len(os.listdir("/proc/self/fd")), threading.active_count()))
    assert counts[0] == counts[1] == counts[2]


def test_mistakes_are_told_as_on_the_command_line(typed_command: Command, x: np.ndarray) -> None:
    np.save("x.npy", x)
    words = ("model=sparse", "constraint.topk.k=a", "network.depth=3")
    status, _, err = typed_command("dataset=array", "dataset.path=x.npy", *words)
    assert status == 2
    with pytest.raises(aeframe.ConfigError) as caught:
        aeframe.train(words, data=x)
    lines = [line.strip() for line in err.splitlines()[1:]]
    assert str(caught.value).splitlines() == lines
    assert len(lines) == 2
    assert not Path("outputs").exists() or not list(Path("outputs").glob("*/*"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-m"], "-m: is an option of the command line"),
        (["hydra.run.dir=x"], "hydra.run.dir=x: has no effect from Python. Name the folder"),
        (["dataset=mnist"], "dataset=mnist: contradicts data=. Leave one of them out."),
        (
            ["hardware=ddp_cpu", "model.latent_dim=3"],
            "training from Python uses one process. Write hardware=cpu",
        ),
        (["experiment=sweep_sparsity"], "this experiment is a sweep of its own"),
        ("model=sparse", "expected a list of texts or a mapping"),
    ],
)
def test_words_that_have_no_place_here(x: np.ndarray, words: Any, said: str) -> None:
    with pytest.raises(aeframe.UserError, match=re.escape(said)):
        aeframe.train(words, data=x)


class Pairs(Dataset):
    """Samples with labels, one at a time."""

    def __init__(self, x: np.ndarray) -> None:
        self.x = torch.from_numpy(x)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        return self.x[i], i % 2


class Mixed(Dataset):
    """Samples of two types."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, i: int) -> np.ndarray:
        return np.arange(4) if i == 0 else np.arange(4) / 3


@pytest.mark.parametrize(
    "convert",
    [
        torch.from_numpy,
        pd.DataFrame,
        Pairs,
        lambda x: TensorDataset(torch.from_numpy(x)),
        lambda x: TensorDataset(torch.from_numpy(x), torch.from_numpy(x)),
        lambda x: (x,),
    ],
    ids=[
        "tensor",
        "DataFrame",
        "labeled Dataset",
        "TensorDataset",
        "samples twice",
        "tuple of one",
    ],
)
def test_kinds_of_data_are_one(x: np.ndarray, convert: Callable[[Any], Any]) -> None:
    wanted = aeframe.train(SHORT, data=x, verbose=False)
    run = aeframe.train(SHORT, data=convert(x), verbose=False)
    assert_same_weights(wanted.folder, run.folder)
    assert run.model.description.data.classes == (("0", "1") if convert is Pairs else ())


def test_splits_are_those_that_were_given(x: np.ndarray) -> None:
    others = np.random.default_rng(1).normal(size=(2, 30, 12)) + x.mean()
    run = aeframe.train(SHORT, data=(x, *others), verbose=False)
    assert run.evaluation["samples"] == 30
    model = run.model
    assert float(model.score(others[1]).mean()) == pytest.approx(run.metrics["test/mse"], rel=1e-4)
    assert float(model.score(others[0]).mean()) == pytest.approx(run.metrics["val/mse"], rel=1e-4)
    two = aeframe.train(SHORT, data=(x, others[1]), verbose=False)
    assert float(two.model.score(others[1]).mean()) == pytest.approx(
        two.metrics["test/mse"], rel=1e-4
    )
    assert two.metrics["val/mse"] != run.metrics["val/mse"]  # a tenth of the training data


def test_the_names_of_a_dataframe_stay_in_the_run(x: np.ndarray) -> None:
    names = [f"column {n}" for n in range(x.reshape(len(x), -1).shape[1])]
    named = pd.DataFrame(x.reshape(len(x), -1), columns=names)
    run = aeframe.train([*SHORT, "dashboard.images=0"], data=named, folder="run", verbose=False)
    kept = np.load("run/given_data/names.npy")
    assert kept.tolist() == names
    assert [column.name for column in run.model.description.data.usual] == names
    Path("run").rename("moved")  # the names move with the data
    again = aeframe.train(["resume=moved", "trainer.max_epochs=3"], verbose=False)
    assert [column.name for column in again.model.description.data.usual] == names
    plain = aeframe.train(SHORT, data=pd.DataFrame(named.to_numpy()), folder="plain", verbose=False)
    assert plain.config["dataset"]["names"] is None


def test_a_dataframe_with_texts_and_gaps_is_a_table(tmp_path: Path) -> None:
    n = np.arange(60)
    table = pd.DataFrame(
        {"a": n % 7 + n / 9, "b": np.where(n % 3, "x", "y"), "c": n % 5 > 2, "d": n % 4}
    )
    table.loc[3, "a"] = None
    words = [*SHORT, "dataset.label=d"]
    run = aeframe.train(words, data=table, folder="run", verbose=False)
    columns = run.model.description.data.columns
    assert columns is not None
    assert [column.kind for column in columns.columns] == ["numeric", "categorical", "boolean"]
    assert run.model.description.data.classes == ("0", "1", "2", "3")
    assert pd.read_parquet("run/given_data/train.parquet").equals(table)
    table.to_csv("table.csv", index=False)
    typed = aeframe.train([*words, "dataset=table", "dataset.path=table.csv"], verbose=False)
    assert typed.metrics["test/mse"] == run.metrics["test/mse"]
    again = aeframe.train(["resume=run", "trainer.max_epochs=3"], verbose=False)
    assert again.config["trainer"]["max_epochs"] == 3
    with pytest.raises(aeframe.UserError, match="is not the data that the run has"):
        aeframe.train([*words, "resume=auto"], data=table[::-1], folder="run", verbose=False)


def test_a_dataframe_of_numbers_may_be_read_as_a_table(x: np.ndarray) -> None:
    table = pd.DataFrame(x.reshape(len(x), -1)[:, :5], columns=list("abcde"))
    run = aeframe.train([*SHORT, "dataset=table", "dataset.drop=[e]"], data=table, verbose=False)
    assert run.model.description.data.columns is not None
    assert run.model.description.data.columns.names == tuple("abcd")
    # gaps in new data are filled by the means of training, and have no part in the score
    model, gappy = run.model, table.copy()
    gappy.loc[3, "b"] = None
    assert model.net.normalization.neutral is not None
    mean = float(model.net.normalization.inverse(model.net.normalization.neutral)[1])
    filled = gappy.fillna({"b": mean})
    np.testing.assert_allclose(model.encode(gappy), model.encode(filled), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.reconstruct(gappy), model.reconstruct(filled), rtol=1e-4)
    assert model.score_columns(gappy)[3][1] == 0
    novelty, normalize = model.description.novelty, model.net.normalization
    rows, made = (
        frame[list("abcd")].to_numpy(np.float32)[3].copy()
        for frame in (filled, model.reconstruct(filled))
    )
    seen, expected, middle = (
        np.delete(part.detach().numpy(), 1)
        for part in (*map(normalize, map(torch.from_numpy, (rows, made))), normalize.neutral)
    )
    parts = [
        (np.cbrt(np.square(seen - other).mean()) - mean) / deviation
        for other, (mean, deviation) in ((expected, novelty.error), (middle, novelty.distance))
    ]
    assert model.score(gappy)[3] == pytest.approx(np.mean(parts), rel=1e-3)


def test_a_mapped_file_is_not_copied(x: np.ndarray, tmp_path: Path) -> None:
    np.save("x.npy", x)
    run = aeframe.train(SHORT, data=np.load("x.npy", mmap_mode="r"), verbose=False)
    assert run.config["dataset"]["path"] == str(tmp_path / "x.npy")
    assert not (run.folder / "given_data").exists()
    part = aeframe.train(SHORT, data=np.load("x.npy", mmap_mode="r")[:50], verbose=False)
    assert np.array_equal(np.load(part.folder / "given_data" / "train.npy"), x[:50])


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("x.npy", "data: is str, not samples. Give an array"),
        (np.array(["a", "b"]), "data: holds <U1, not numbers"),
        (
            pd.DataFrame({"a": [1.0, 2.0], "b": [(1,), "y"]}),
            "data: has a column of values of several types",
        ),
        (
            pd.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"], "c": [2.0, 3.0]}),
            "no samples are left to train on: of 2",
        ),
        (
            (pd.DataFrame({"a": ["x", "y"]}), np.eye(2)),
            "data (test): is ndarray, but another split is a table",
        ),
        ((np.eye(4),) * 4, "data: is a tuple of 4"),
        (np.full((9, 4), np.nan), "given_data/train.npy"),
        ((np.eye(4), np.eye(4, 5)), "dataset.test_path"),
        (TensorDataset(torch.empty(0, 3)), "data: holds no samples"),
        (np.ma.masked_less(np.eye(9, 4), 0.5), "data: has masked values. Fill them first"),
        (
            pd.DataFrame({"a": [1, None, 1], "b": [2, 2, 2]}, dtype="Int64"),
            "no column can be used (a: always 1",
        ),
        (Mixed(), "data: has samples of int64 of shape (4,) and float64 of shape (4,)"),
    ],
)
def test_data_that_cannot_be_used(data: Any, said: str) -> None:
    with pytest.raises(aeframe.UserError, match=re.escape(said)):
        aeframe.train(SHORT, data=data, folder="run", verbose=False)
    assert not Path("run").exists()  # so that the next try can use the folder


def test_what_was_changed_in_a_map_is_used(x: np.ndarray) -> None:
    np.save("x.npy", x)
    mapped = np.load("x.npy", mmap_mode="c")
    mapped *= 100
    run = aeframe.train(SHORT, data=mapped, verbose=False)
    assert np.array_equal(np.load(run.folder / "given_data" / "train.npy"), 100 * x)


def test_an_unfinished_file_is_told(x: np.ndarray) -> None:
    aeframe.train(SHORT, data=x, folder="run", verbose=False)
    file = Path("run/given_data/train.npy")
    file.write_bytes(file.read_bytes()[:300])
    with pytest.raises(aeframe.UserError, match=r"train\.npy: cannot be read .*Delete it"):
        aeframe.train([*SHORT, "resume=auto"], data=x, folder="run", verbose=False)


def test_samples_of_several_axes_are_taken_as_they_were_given(x: np.ndarray) -> None:
    series = x.reshape(96, 3, 4)
    run = aeframe.train([*SHORT, "dataset.layout=flat"], data=series, verbose=False)
    assert run.model.reconstruct(series).shape == series.shape
    assert np.array_equal(run.model.encode(series), run.model.encode(x))
    with pytest.raises(aeframe.UserError, match="but this model takes"):
        run.model.encode(series[:, :2])


def test_inside_of_another_application_of_hydra(x: np.ndarray, tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "config.yaml").write_text("a: 1\n")
    with initialize_config_dir(str(tmp_path / "conf"), version_base="1.3"):
        run = aeframe.train(SHORT, data=x, verbose=False)
        assert hydra_compose("config").a == 1
    assert run.is_finished


def test_names_of_pictures_are_text_in_a_notebook(finished: Path) -> None:
    (finished / "pictures").mkdir(exist_ok=True)
    (finished / "pictures" / '00_x" onerror="alert(1)" y=".png').write_bytes(b"")
    assert 'onerror="' not in aeframe.Run(finished)._repr_html_()


def test_other_data_replaces_nothing(x: np.ndarray) -> None:
    aeframe.train(SHORT, data=x, folder="run", verbose=False)
    with pytest.raises(aeframe.UserError, match="holds a run already"):
        aeframe.train(SHORT, data=x + 1, folder="run", verbose=False)
    with pytest.raises(aeframe.UserError, match="is not the data that the run has in"):
        aeframe.train([*SHORT, "resume=auto"], data=x + 1, folder="run", verbose=False)
    assert np.array_equal(np.load("run/given_data/train.npy"), x)


def test_a_run_that_ctrl_c_ends_goes_on(
    x: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = aeframe.train(SHORT, data=x, verbose=False)
    after = Last.after_batch

    def interrupted(last: Last, trainer: Any) -> None:
        if trainer.global_step >= 5:
            last.signals.received = signal.SIGINT
        after(last, trainer)

    monkeypatch.setattr(Last, "after_batch", interrupted)
    words = (*SHORT, "trainer.steps_per_call=1")
    with pytest.raises(KeyboardInterrupt) as caught:
        aeframe.train(words, data=x, folder="run", verbose=False)
    assert "stopped by Ctrl-C, saved. Continue: aeframe.train(['resume=" in str(caught.value)
    monkeypatch.setattr(Last, "after_batch", after)
    assert not aeframe.Run("run").is_finished
    assert "not finished" in repr(aeframe.Run("run"))
    with pytest.raises(aeframe.UserError, match=r"has not finished\. Continue it"):
        _ = aeframe.Run("run").metrics
    Path("run").rename("moved")  # its data moves with it
    run = aeframe.train([f"resume={tmp_path / 'moved'}"], verbose=False)
    assert run.folder == tmp_path / "moved"
    assert_same_weights(whole.folder, run.folder)
    with pytest.raises(aeframe.UserError, match="has finished, after 10 steps"):
        aeframe.train(["resume=moved"], verbose=False)
    again = aeframe.train(["resume=moved", "trainer.max_epochs=3"], verbose=False)
    assert again.evaluation["epochs"] == 3


def test_in_a_thread(x: np.ndarray) -> None:
    found = list[aeframe.Run]()
    worker = threading.Thread(
        target=lambda: found.append(aeframe.train(SHORT, data=x, verbose=False))
    )
    worker.start()
    worker.join()
    assert_same_weights(aeframe.train(SHORT, data=x, verbose=False).folder, found[0].folder)


def test_what_is_printed(x: np.ndarray, capfd: pytest.CaptureFixture[str]) -> None:
    run = aeframe.train(SHORT, data=x)
    out, _ = capfd.readouterr()
    first, *_, last = out.splitlines()
    assert first.startswith("Undercomplete autoencoder with bottleneck: 12 -> 3 units")
    assert last == f"Run folder: {run.folder}"
    assert "epoch 2/2" in out
    aeframe.train(SHORT, data=x, verbose=False)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("text", ["{}", "[]", "{", '{"metrics": 1}'])
def test_a_broken_result_is_named(finished: Path, text: str) -> None:
    (finished / "evaluation.json").write_text(text)
    message = (
        r"run/evaluation.json: is not the result of a run \(.*\). Delete it, and write aeframe"
    )
    for look in (lambda run: run.metrics, lambda run: run.baselines, lambda run: run._repr_html_()):
        with pytest.raises(aeframe.UserError, match=message):
            look(aeframe.Run(finished))


def test_what_a_run_shows(finished: Path) -> None:
    """A run of the command line."""
    run = aeframe.Run(finished)
    assert run.metrics["test/mse"] == run.evaluation["metrics"]["mse"]
    assert run.baselines.keys() >= {"mean image"}
    assert run.config["dataset"]["_target_"] == "aeframe.data.Digits"
    curves = run.curves()
    assert curves["step"].is_monotonic_increasing
    figure = run.plot()
    (axes,) = figure.axes
    drawn = {line.get_label(): line.get_ydata().tolist() for line in axes.lines}
    assert drawn["validation"] == curves["val/mse"].dropna().tolist()
    assert drawn["training"] == curves["train/mse"].dropna().tolist()
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("optimizer steps", "mse")
    with pytest.raises(aeframe.UserError, match=r"metric=x: is not a curve of this run. There"):
        run.plot("x")
    pictures = sorted((finished / "pictures").glob("*.png"))
    assert list(run.pictures()) == [file.stem[3:] for file in pictures]
    text = run._repr_html_()
    assert f"{run.metrics['test/mse']:.4g}" in text
    assert ("<img" in text) == bool(pictures)
    with pytest.raises(aeframe.UserError, match="is not the folder of a run"):
        aeframe.Run(finished.parent)


def test_a_sweep_is_a_table(x: np.ndarray, capfd: pytest.CaptureFixture[str]) -> None:
    words = [*SHORT[:1], *SHORT[2:], "model.latent_dim=2,0,4", "seed=range(0,2)"]
    runs = aeframe.sweep(words, data=x, verbose=False)
    assert isinstance(runs, pd.DataFrame)
    assert len(runs) == 6
    done = runs[runs["status"] == "done"]
    assert sorted(zip(done["model.latent_dim"], done["seed"], strict=True)) == [
        (2, 0), (2, 1), (4, 0), (4, 1),
    ]  # fmt: skip
    assert done["val/mse"].is_monotonic_increasing
    assert [run.metrics["val/mse"] for run in runs.runs] == pytest.approx(done["val/mse"].tolist())
    assert runs[runs["model.latent_dim"] == 0]["status"].str.contains("latent_dim=0").all()
    text = runs._repr_html_()
    assert "model.latent_dim" in text
    single = aeframe.train([*SHORT, "model.latent_dim=4", "seed=1"], data=x, verbose=False)
    (same,) = [r for r in runs.runs if r.folder.name.endswith("_latent_dim-4_seed-1")]
    assert_same_weights(single.folder, same.folder)
    capfd.readouterr()
    again = aeframe.sweep([*words, "resume=auto"], data=x, folder=runs.folder, verbose=False)
    assert len(again) == 6
    assert capfd.readouterr().out == ""


def test_a_sweep_locks_its_folder_until_it_ends_or_is_killed(
    x: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The killed sweep is a process of its own, in its first job."""

    def wait(*_: Any) -> None:
        Path("began").touch()
        signal.pause()

    words = [*SHORT, "seed=0"]
    if (child := os.fork()) == 0:
        monkeypatch.setattr(aeframe.interface, "_train_job", wait)
        try:
            aeframe.sweep(words, data=x, folder="sweep", verbose=False)
        finally:
            os._exit(1)
    try:
        while not Path("began").exists():
            assert os.waitpid(child, os.WNOHANG) == (0, 0)
        with pytest.raises(aeframe.UserError, match="another process is training in it"):
            aeframe.sweep(words, data=x + 1, folder="sweep", verbose=False)
    finally:
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with pytest.raises(aeframe.UserError, match="is not the data that the run has"):
        aeframe.sweep(words, data=x + 1, folder="sweep", verbose=False)
    assert np.array_equal(np.load("sweep/given_data/train.npy"), x)
    assert list(aeframe.sweep(words, data=x, folder="sweep", verbose=False)["status"]) == ["done"]


def test_a_sweep_of_mistakes_alone_is_one(x: np.ndarray) -> None:
    with pytest.raises(aeframe.ConfigError, match=r"model.latent_dim=0"):
        aeframe.sweep({"model.latent_dim": [0, -1]}, data=x, folder="sweep", verbose=False)
    for word in ("seed=[1,", "constraint=glob(l*)"):
        with pytest.raises(aeframe.UserError, match=r"quotes|List the names"):
            aeframe.sweep([word], data=x, folder="sweep", verbose=False)
    assert not Path("sweep").exists()


def test_a_plain_module_computes_the_same_and_can_be_trained(x: np.ndarray) -> None:
    model = aeframe.train(SHORT, data=x.astype(np.float32), verbose=False).model
    module, given = model.module, torch.from_numpy(x.astype(np.float32))
    assert np.allclose(module.encoder(given).detach(), model.encode(given), atol=1e-6)
    inside = module(given).detach().clamp(given.min(), given.max())  # as a run's own results
    assert np.allclose(inside, model.reconstruct(given), atol=1e-4)
    before = model.reconstruct(given)
    optimizer = torch.optim.SGD(module.parameters(), lr=1e-2)
    loss = (module(given) - given).square().mean()
    loss.backward()
    assert all(p.grad is not None for p in module.parameters() if p.requires_grad)
    optimizer.step()
    assert (module(given) - given).square().mean() < loss
    assert np.array_equal(model.reconstruct(given), before)  # the run's own weights stay
    names = {name.partition(".")[0] for name, _ in module.named_parameters()}
    assert names == {"encoder", "decoder"}
    assert not any("decoder" in name for name, _ in module.encoder.named_parameters())
