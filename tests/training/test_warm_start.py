"""Warm starts, frozen weights, and training on the codes of another run."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import aeframe
from aeframe.runs.model import Model
from aeframe.training.checkpointing import Last
from aeframe.training.module import AutoencoderModule
from tests.support.runs import Killed

SMALL = ("model.latent_dim=3", "network=mlp", "network.widths=[8]", "dashboard.images=0")
SHORT = (*SMALL, "trainer.max_epochs=1")


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    """96 samples of 12 features near a 3-dimensional subspace."""
    generator = np.random.default_rng(0)
    data = generator.normal(size=(96, 3)) @ generator.normal(size=(3, 12)) + 5.0
    return data.astype(np.float32)


@pytest.fixture(scope="module")
def first(x: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> aeframe.Run:
    """A run on all samples; not to be changed."""
    return aeframe.train(SHORT, x, folder=tmp_path_factory.mktemp("first") / "run", verbose=False)


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, torch.Tensor]]:
    """Weights of the network at the first step of each training."""
    found = list[dict[str, torch.Tensor]]()
    loss = AutoencoderModule.compute_loss

    def noted(module: Any, batch: Any, index: int, step: int) -> Any:
        if step == 0:
            found.append({k: v.clone() for k, v in module.net.state_dict().items()})
        return loss(module, batch, index, step)

    monkeypatch.setattr(AutoencoderModule, "compute_loss", noted)
    return found


def get_weights(run: aeframe.Run) -> dict[str, torch.Tensor]:
    return {k: v for k, v in run.model.net.state_dict().items() if k.startswith("model.")}


def start_from(run: aeframe.Run) -> str:
    return f"init_from.run={run.folder}"


def test_the_first_weights_and_the_normalization_are_those_of_the_run(
    x: np.ndarray,
    first: aeframe.Run,
    begun: list[dict[str, torch.Tensor]],
    capfd: pytest.CaptureFixture[str],
) -> None:
    other = 2 * x[:50] + 1
    run = aeframe.train([*SHORT, start_from(first)], other)
    out = capfd.readouterr().out
    weights = get_weights(first)
    assert all(torch.equal(begun[0][name], value) for name, value in weights.items())
    kept, own = run.model.net.normalization, first.model.net.normalization
    assert torch.equal(kept.scale, own.scale)
    assert torch.equal(kept.shift, own.shift)
    count = len(weights)
    assert f"Warm start: {count} of {count} tensors are those of {first.folder}." in out
    assert run.config["init_from"] == {
        "run": str(first.folder), "normalization": "keep", "identity": first.model.identity,
    }  # fmt: skip
    # of this data, under that normalization
    data = run.model.description.data
    assert data.normalization == first.model.description.data.normalization
    inside = kept(torch.from_numpy(other))
    assert data.low >= float(inside.min()) - 1e-4
    assert data.high <= float(inside.max()) + 1e-4
    refit = aeframe.train(
        [*SHORT, start_from(first), "init_from.normalization=refit"], other, verbose=False
    )
    assert not torch.equal(refit.model.net.normalization.scale, own.scale)
    assert all(torch.equal(begun[1][name], value) for name, value in weights.items())


def test_no_step_leaves_the_network_as_it_was(x: np.ndarray, first: aeframe.Run) -> None:
    words = [*SHORT, start_from(first), "freeze=[encoder]", "optimizer.lr=1e-30"]
    run = aeframe.train(words, x, verbose=False)
    assert np.allclose(run.model.reconstruct(x), first.model.reconstruct(x), atol=1e-5)
    assert run.metrics["test/mse"] == pytest.approx(first.metrics["test/mse"], rel=1e-5)


def test_tensors_that_do_not_fit_are_told(
    x: np.ndarray, first: aeframe.Run, capfd: pytest.CaptureFixture[str]
) -> None:
    aeframe.train([*SHORT, "model.latent_dim=2", start_from(first)], x)
    out = capfd.readouterr().out
    assert re.search(r"Warm start: \d+ of \d+ tensors are those of .*; new: .*; not used: ", out)
    words = [*SHORT, "model.latent_dim=2", "network.widths=[5]", start_from(first)]
    with pytest.raises(aeframe.UserError) as caught:
        aeframe.train(
            [*words, "init_from.normalization=refit"], np.c_[x, x], folder="other", verbose=False
        )
    assert "its layers are 12 - 8 - 3, those of this network 24 - 5 - 2" in str(caught.value)
    assert not Path("other").exists()


@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_frozen_weights_stay(
    x: np.ndarray, first: aeframe.Run, begun: list[dict[str, torch.Tensor]], part: str
) -> None:
    words = [*SHORT, start_from(first), f"freeze=[{part}]", "model=denoising"]
    weights = get_weights(aeframe.train(words, x + 1, verbose=False))
    for name, value in weights.items():
        if "likelihood" in name:  # a variance of 1
            continue
        stays = name.startswith(f"model.{part}.")
        assert torch.equal(value, begun[0][name]) == stays, name


def test_names_of_weights_are_frozen(x: np.ndarray, begun: list[dict[str, torch.Tensor]]) -> None:
    words = [*SHORT, "network.start=random", "freeze=['encoder.*.bias']"]
    weights = get_weights(aeframe.train(words, x, verbose=False))
    same = [
        name
        for name, value in weights.items()
        if torch.equal(value, begun[0][name]) and "likelihood" not in name
    ]
    assert same == [n for n in weights if re.fullmatch(r"model\.encoder\..*\.bias", n)]
    assert len(same) == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["freeze=[encodr]"], "freeze=[encodr]: no weights are called encodr. There are encoder,"),
        (["freeze=[encoder,decoder]", "likelihood.variance=1"], "nothing is left to train"),
        (["freeze=encoder"], "freeze=encoder: expected a list of names. Write freeze=[encoder]"),
        (["freeze=[encoder]", "network.norm=batch"], "Write network.norm=layer in both runs"),
        (["init_from.run=nowhere"], "init_from.run=nowhere"),
        (["init_from.normalization=x"], "init_from.normalization=x: expected one of keep, refit"),
        (
            ["freeze=[encoder]", "model=sparse", "constraint=[topk,resampling]", "network=linear"],
            "constraint.resampling changes weights after each step. Leave resampling out",
        ),
    ],
)
def test_mistakes(x: np.ndarray, words: list[str], said: str) -> None:
    words = [w for w in SHORT if "sparse" not in str(words) or "latent" not in w] + words
    if "model=sparse" in words:
        words = [w for w in words if not w.startswith("network.widths")] + ["model.latent_dim=24"]
    with pytest.raises(aeframe.UserError, match=re.escape(said)):
        aeframe.train(words, x, folder="run", verbose=False)
    assert not Path("run").exists()


def test_another_normalization_and_another_network_are_refused(
    x: np.ndarray, first: aeframe.Run
) -> None:
    words = [*SHORT, start_from(first)]
    with pytest.raises(aeframe.UserError, match=r"Leave it out, or write init_from\.normalization"):
        aeframe.train([*words, "dataset.normalization=standard"], x, verbose=False)
    with pytest.raises(aeframe.UserError, match="is another network than init_from"):
        aeframe.train([*words, "init_from.identity=abc"], x, verbose=False)


def test_a_normalization_for_another_shape_is_not_dropped(x: np.ndarray) -> None:
    words = [*SHORT, "dataset.normalization=standard", "network.start=random"]
    first = aeframe.train(words, x, verbose=False)
    pictures = np.c_[x, x, x].reshape(96, 6, 6)
    words = [*SHORT, "dataset.layout=gray", start_from(first)]
    with pytest.raises(aeframe.UserError, match=r"Write init_from\.normalization=refit"):
        aeframe.train(words, pictures, verbose=False)


def test_a_run_on_codes_resumes_from_another_folder(
    first: aeframe.Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copytree(first.folder, "one")
    words = ["dataset=codes", "dataset.run=one", "model.latent_dim=2", *SHORT[1:]]
    aeframe.train(words, folder="two", verbose=False)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    longer = ["resume=../two", "trainer.max_epochs=2"]
    assert aeframe.train(longer, verbose=False).evaluation["epochs"] == 2


def test_a_normalization_by_ranks_with_neutral_values_is_kept_and_resumed(x: np.ndarray) -> None:
    table = pd.DataFrame(x, columns=[f"c{i}" for i in range(x.shape[1])])
    words = [*SHORT, "dataset=table", "dataset.normalization=rank"]
    one = aeframe.train(words, table, folder="one", verbose=False)
    other = 2 * table
    other.loc[::5, "c3"] = None
    warm = [*SHORT, "dataset=table", "init_from.run=one"]
    two = aeframe.train(warm, other, folder="two", verbose=False)
    longer = aeframe.train(["resume=two", "trainer.max_epochs=2"], verbose=False)
    assert longer.evaluation["epochs"] == 2
    kept, baselines = one.model.net.normalization.state_dict(), two.baselines
    assert set(kept) == {"shift", "scale", "neutral", "knots", "levels", "ranked"}
    for name, value in longer.model.net.normalization.state_dict().items():
        assert torch.equal(value, kept[name])
    assert longer.baselines == baselines


def test_codes_of_another_processor_are_the_same_data(
    x: np.ndarray, first: aeframe.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(first.folder, "one")
    words = ["dataset=codes", "dataset.run=one", "model.latent_dim=2", *SHORT[1:]]
    aeframe.train(words, folder="two", verbose=False)
    encode = Model.encode

    def encode_elsewhere(model: Model, x: Any, *rest: Any) -> Any:
        return encode(model, x, *rest) * (1 + 1e-6)  # as other sums of products round

    monkeypatch.setattr(Model, "encode", encode_elsewhere)
    longer = ["resume=two", "trainer.max_epochs=2"]
    assert aeframe.train(longer, verbose=False).evaluation["epochs"] == 2
    other = aeframe.train([*SHORT, "seed=9"], x, verbose=False)
    shutil.rmtree("one")
    shutil.copytree(other.folder, "one")
    with pytest.raises(aeframe.UserError, match="is not the data of the run in"):
        aeframe.train(["resume=two", "trainer.max_epochs=3"], verbose=False)


def test_a_run_that_was_killed_resumes_exactly_also_without_the_first(
    x: np.ndarray, first: aeframe.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = shutil.copytree(first.folder, "copy")
    words = [
        *SMALL,
        "trainer.max_epochs=3",
        f"init_from.run={moved}",
        "freeze=['decoder.*.bias']",
    ]
    whole = aeframe.train(words, x * 3, verbose=False)
    after = Last.after_batch

    def killed(last: Last, trainer: Any) -> None:
        after(last, trainer)
        if trainer.global_step >= 8:
            raise Killed

    often = [*words, "checkpoint.every_minutes=0", "trainer.steps_per_call=1"]
    monkeypatch.setattr(Last, "after_batch", killed)
    with pytest.raises(Killed):
        aeframe.train(often, x * 3, folder="run", verbose=False)
    monkeypatch.setattr(Last, "after_batch", after)
    shutil.rmtree("copy")
    run = aeframe.train([*often, "resume=auto"], x * 3, folder="run", verbose=False)
    one, other = whole.model.net.state_dict(), run.model.net.state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert run.config["init_from"]["identity"] == first.model.identity
    with pytest.raises(aeframe.ConfigError, match="freeze"):
        aeframe.train([*often, "freeze=[]", "resume=auto"], x * 3, folder="run", verbose=False)


def test_a_warm_start_needs_fewer_epochs(x: np.ndarray) -> None:
    long = [*SMALL, "network.start=random", "trainer.max_epochs=80", "optimizer.lr=5e-3"]
    first = aeframe.train(long, x, verbose=False)
    few = [*SMALL, "network.start=random", "trainer.max_epochs=2"]
    other = x @ np.diag(np.linspace(0.9, 1.1, 12).astype(np.float32))
    cold = aeframe.train(few, other, verbose=False)
    warm = aeframe.train([*few, start_from(first)], other, verbose=False)
    cold_psnr, warm_psnr = (run.metrics["val/psnr"] for run in (cold, warm))
    assert warm_psnr > cold_psnr + 3


def test_the_codes_of_a_run_keep_its_splits(
    x: np.ndarray, first: aeframe.Run, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["dataset=codes", f"dataset.run={first.folder}", "model.latent_dim=2", *SHORT[1:]]
    run = aeframe.train([*words, "seed=7"])
    out = capfd.readouterr().out
    assert f"Codes of {first.folder}, {first.model.description.data.samples:,} training" in out
    assert run.model.shape == (3,)
    codes = first.model.encode(x)
    assert run.evaluation["samples"] == first.evaluation["samples"]
    # the error of all samples is the mean over the splits, each sample in one
    low, high = codes.min(0), codes.max(0)
    seen = run.model.description.data.seen
    assert seen is not None
    assert low.min() - 1e-6 <= seen[0] <= seen[1] <= high.max() + 1e-6
    assert run.model.encode(codes).shape == (96, 2)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "dataset.run: no run given. Write dataset.run=outputs/DAY/RUN."),
        (["dataset.run=nowhere"], "Write dataset.run=FOLDER of a run that has finished."),
    ],
)
def test_codes_of_no_run(words: list[str], said: str) -> None:
    with pytest.raises(aeframe.ConfigError, match=re.escape(said)):
        aeframe.train(["dataset=codes", *words])


def test_the_device_is_chosen_where_the_run_is(
    x: np.ndarray, capfd: pytest.CaptureFixture[str]
) -> None:
    run = aeframe.train([*SHORT, "hardware=auto"], x)
    device = "gpu" if torch.cuda.is_available() else "cpu"
    assert f"; {device}, seed 0" in capfd.readouterr().out
    assert run.config["hardware"]["accelerator"] == device


LAYER = ("network=linear", "network.start=random", "dashboard.images=0", "trainer.max_epochs=2")
RECTIFIED = (
    *("constraint=[bottleneck,threshold]", "constraint.threshold.rate=null"),
    "constraint.threshold.theta=0",
)
DEEP = ("network=mlp", "network.widths=[10,8]", "model.latent_dim=4", "dashboard.images=0")


@pytest.fixture(scope="module")
def layers(x: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> list[aeframe.Run]:
    """Three runs of one layer each way: 12 - 10, 10 - 8 on its codes, 8 - 4 on theirs."""
    root = tmp_path_factory.mktemp("layers")
    train = [*LAYER, *RECTIFIED]
    one = aeframe.train([*train, "model.latent_dim=10"], x, folder=root / "1", verbose=False)
    codes = ["dataset=codes", f"dataset.run={one.folder}"]
    two = aeframe.train([*train, *codes, "model.latent_dim=8"], folder=root / "2", verbose=False)
    codes = ["dataset=codes", f"dataset.run={two.folder}"]
    three = aeframe.train([*LAYER, *codes, "model.latent_dim=4"], folder=root / "3", verbose=False)
    return [one, two, three]


def test_a_stack_computes_what_its_runs_do_one_after_another(
    x: np.ndarray, layers: list[aeframe.Run], capfd: pytest.CaptureFixture[str]
) -> None:
    runs = f"init_from.run=[{','.join(str(run.folder) for run in layers)}]"
    still = ["optimizer.lr=1e-30", "trainer.max_epochs=1"]
    deep = aeframe.train([*DEEP, runs, *still], x).model
    assert "Warm start: the layers of " in (out := capfd.readouterr().out)
    assert "differ" not in out
    codes: Any = x
    for run in layers:
        codes = run.model.encode(codes)
    assert np.allclose(deep.encode(x), codes, atol=1e-4)
    for run in (layers[2], layers[1]):
        codes = run.model.module.decoder(torch.from_numpy(codes)).detach().relu().numpy()
    wanted = layers[0].model.module.decoder(torch.from_numpy(codes)).detach()
    assert np.allclose(deep.module(torch.from_numpy(x)).detach(), wanted, atol=1e-3)
    aeframe.train([*DEEP, runs, *still, "network.activation=tanh"], x)
    out = capfd.readouterr().out
    assert re.search(r"Its codes differ by \d+% from those of the runs", out)
    assert "train all runs but the last with experiment=layer, and this one with" in out


def test_runs_that_make_no_stack(x: np.ndarray, layers: list[aeframe.Run]) -> None:
    one, two, three = (str(run.folder) for run in layers)
    short = [*DEEP, "trainer.max_epochs=1"]
    with pytest.raises(aeframe.UserError, match=r"layers of 12 - 10 - 8, not 12 - 10 - 8 - 4"):
        aeframe.train([*short, f"init_from.run=[{one},{two}]"], x, verbose=False)
    with pytest.raises(aeframe.UserError, match=r"Train it with dataset=codes dataset\.run="):
        aeframe.train([*short, f"init_from.run=[{one},{three}]"], x, verbose=False)
    words = [f"init_from.run=[{one},{two},{three}]", "init_from.normalization=refit"]
    with pytest.raises(aeframe.ConfigError, match=r"need init_from\.normalization=keep"):
        aeframe.train([*short, *words], x, verbose=False)
    with pytest.raises(aeframe.ConfigError, match=r"names no run"):
        aeframe.train([*short, "init_from.run=[]"], x, verbose=False)


def test_automatic_sizes_of_the_code_are_those_of_the_run(
    begun: list[dict[str, torch.Tensor]],
) -> None:
    """More samples would give a sparse model more units."""
    x = np.random.default_rng(0).normal(size=(1200, 64)).astype(np.float32)
    words = ("model=sparse", "dashboard.images=0", "trainer.max_epochs=1", "evaluation.images=32")
    first = aeframe.train(words, x[:300], verbose=False)
    assert first.model.latent_dim == 64
    more = aeframe.train([*words, start_from(first)], x, verbose=False)
    assert more.model.latent_dim == 64
    assert all(torch.equal(begun[1][name], w) for name, w in get_weights(first).items())


def test_a_sparse_code_smaller_than_its_inputs_starts_another_one(x: np.ndarray) -> None:
    words = ("model=sparse", "dashboard.images=0", "trainer.max_epochs=1")
    few = ("model.latent_dim=5", "model.allow_undercomplete=true")
    first = aeframe.train([*words, *few], x, verbose=False)
    again = aeframe.train([*words, start_from(first)], x, verbose=False)
    assert again.model.latent_dim == 5
    model = again.model.description.config["model"]
    assert (model["latent_dim"], model["allow_undercomplete"]) == (5, True)
