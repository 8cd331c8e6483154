"""Training with targets beside the samples: the loss, the files, and what is refused."""
# ruff: noqa: E501 (the table keeps each message on one line)

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import DictConfig

from aeframe.cli.verbs.measuring import evaluate_input
from aeframe.codec.calibration import calibrate
from aeframe.config.check import make_parts
from aeframe.config.node import to_plain
from aeframe.constraints.revival import draw_directions
from aeframe.core.errors import ConfigError, UserError
from aeframe.core.noise import Noise
from aeframe.runs.description import ForeignError, parse_data
from aeframe.runs.model_file import load
from aeframe.runs.program_export import list_parts
from aeframe.training.build import build
from aeframe.training.stack import make_stack
from tests.support.fitting import fit
from tests.support.runs import TINY

Compose = Callable[..., DictConfig]
N, IN, OUT = 200, 12, 7


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Words for vectors with targets of another size, and images in gray, in color and of twice the size."""
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    x = generator.normal(size=(N, 4)) @ generator.normal(size=(4, IN))
    np.save("x.npy", x.astype(np.float32))
    np.save("y.npy", np.tanh(x @ generator.normal(size=(IN, OUT))).astype(np.float32) * 5 + 9)
    colors = generator.integers(0, 256, (48, 16, 16, 3), np.uint8)
    np.save("rgb.npy", colors)
    np.save("gray.npy", colors.mean(3).astype(np.uint8))
    np.save("large.npy", colors.mean(3).astype(np.uint8).repeat(2, 1).repeat(2, 2))
    return ["dataset=array", "dataset.path=x.npy", "dataset.target=y.npy", "hardware=cpu"]


TRANSCODER = (
    *("model=sparse", "model.latent_dim=32", "constraint=topk", "constraint.topk.k=4"),
    *("network=linear", "dataset.batch_size=40", "dataset.shuffle=false"),
    *("optimizer.lr=0.01", "trainer.max_epochs=1"),
)


def test_a_transcoder_is_trained_as_by_a_bare_loop(
    compose: Compose, words: list[str], tmp_path: Path
) -> None:
    """Four steps of Adam on the summed squared error, halved: the same weights, bit for bit but rounding."""
    built = build(compose(*words, *TRANSCODER))
    model, data = built.net.model, built.data
    weights = {
        name: value.detach().clone().requires_grad_() for name, value in model.named_parameters()
    }
    centre = model.centre.clone()
    assert centre.shape == (IN,)
    x, y = (torch.from_numpy(np.load(name)) for name in ("x.npy", "y.npy"))
    rows = data.splits["train"].index.long()
    x, y = data.normalization(x[rows]), data.written_normalization(y[rows])
    torch.testing.assert_close(centre, x.mean(0))
    torch.testing.assert_close(weights["decoder.layers.0.bias"].detach(), y.mean(0))
    fit(built, tmp_path)
    trained = [
        weights[f"{part}.{end}"]
        for part in ("encoder.1", "decoder.layers.0")
        for end in ("weight", "bias")
    ]
    adam = torch.optim.Adam(trained, lr=0.01)
    for a, b in zip(x.split(40), y.split(40), strict=True):
        read, read_bias, write, write_bias = trained
        code = ((a - centre) @ read.t() + read_bias).relu()
        top = code.topk(4, 1)
        code = torch.zeros_like(code).scatter(1, top.indices, top.values)
        loss = 0.5 * (code @ write.t() + write_bias - b).square().sum(1).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    for name, value in model.named_parameters():
        torch.testing.assert_close(value.detach(), weights[name].detach(), rtol=1e-4, atol=1e-6)


def test_loss_and_metrics_are_those_of_the_target(compose: Compose, words: list[str]) -> None:
    net = (
        built := build(compose(*words, "network=mlp", "network.widths=[8]", "model.latent_dim=3"))
    ).net
    batch = built.data.splits["test"][0:9]
    x, target = net.normalization(batch.x), net.normalize_target(batch.target)
    output = net(x, noise=Noise(0), target=target)
    assert output.reconstruction.shape == output.x.shape == (9, OUT)
    assert torch.equal(output.corrupted, x)
    squares = (output.reconstruction - target).square()
    expected = 0.5 * squares.sum(1).mean()
    torch.testing.assert_close(output.loss, expected.float(), check_dtype=False)
    metrics = built.module.metrics
    metrics.reset("test")
    metrics.update(output, output)
    found = metrics.compute()
    assert found["mse"] == pytest.approx(squares.mean().item())
    spread = (target - target.mean(0)).square().mean()
    assert found["explained_variance"] == pytest.approx(
        1 - (squares.mean() / spread).item(), rel=1e-4
    )


def test_a_run_with_targets_leaves_a_model_that_writes_them(
    aeframe: Callable[..., Any], compose: Compose, words: list[str], tmp_path: Path
) -> None:
    given_words = ("model=denoising", "constraint=[]", "model.latent_dim=3")
    status, out, err = aeframe(*words, *TINY, *given_words, "hydra.run.dir=run")
    assert status == 0, err
    assert f"{IN} -> 3 units -> target {OUT}" in out
    assert "Copy check: none, because the target is not the input." in out
    card = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert card["copy_check"] is None
    assert list(card["baselines"]) == ["mean target", "linear regression, rank 3"]
    assert card["optimized_metric"]["name"] == "val/mse"
    model = load(tmp_path / "run")
    x, y = np.load("x.npy"), np.load("y.npy")
    assert (model.shape, model.target_shape) == ((IN,), (OUT,))
    made = model.reconstruct(x)
    assert made.shape == y.shape
    normalization = model.net.target_normalization
    assert normalization is not None
    squares = np.square((made - y) / normalization.scale.numpy()).mean(1)
    np.testing.assert_allclose(model.score(x, y), squares, rtol=1e-3)
    assert model.decode(model.encode(x[:2])).shape == (2, OUT)
    np.testing.assert_allclose(
        model.module(torch.from_numpy(x[:3])).detach(), made[:3], rtol=1e-4, atol=1e-5
    )
    for pair, what in [
        (None, "target: is missing, and this model was trained with targets"),
        (y[:3], "target: holds 3 targets for 200 samples"),
        (x, r"target: has shape \[200, 12\], but this model takes \[N, 7\]"),
    ]:
        with pytest.raises(UserError, match=what):
            model.score(x, pair)
    (_, _, given), (_, decoder, codes) = list_parts(model)
    assert (tuple(given.shape), tuple(decoder(codes).shape)) == ((5, IN), (5, OUT))
    built = build(compose(*words, *TINY, *given_words, "init_from.run=run", "seed=1"))
    assert torch.equal(built.net.written_normalization.shift, normalization.shift)
    assert torch.equal(built.net.normalization.shift, model.net.normalization.shift)
    for name, value in model.net.model.state_dict().items():
        assert torch.equal(built.net.model.state_dict()[name], value), name
    for refuse, what in [
        (lambda: calibrate(model, built.data), "codec: this model was trained with targets"),
        (
            lambda: evaluate_input(model, Namespace()),
            "evaluate: this model was trained with targets",
        ),
        (lambda: make_stack([model], ["run"]), "run writes targets, not the samples that it reads"),
    ]:
        with pytest.raises(UserError, match=what):
            refuse()
    nested = built.data.spec.as_dict()
    nested["target"]["target"] = dict(nested["target"])
    with pytest.raises(ForeignError, match=r"data.target has a target"):
        parse_data(nested)


@pytest.mark.parametrize(
    ("given", "shape"),
    [
        (("dataset.target=rgb.npy", "network=conv", "network.widths=[4,8]"), (3, 16, 16)),
        (("dataset.target=large.npy", "network=conv", "network.widths=[4,8]"), (1, 32, 32)),
        (("dataset.target=large.npy", "network=mlp", "network.widths=[32]"), (1, 32, 32)),
        (("dataset.target=rgb.npy",), (3, 16, 16)),
        (("dataset.target=gray.npy", "network=fully_conv", "network.patch=4"), (1, 16, 16)),
    ],
)
def test_images_become_images(
    compose: Compose, words: list[str], given: tuple[str, ...], shape: tuple[int, ...]
) -> None:
    built = build(compose(*words, "dataset.path=gray.npy", "model.latent_dim=16", *given))
    x = built.data.peek("train", 4)
    assert x.shape[1:] == (1, 16, 16)
    assert built.net.reconstruct(x).shape == (4, *shape)
    assert built.node["network"].get("start", "random") == "random"


@pytest.mark.parametrize(
    "constraint",
    [
        *("l1", "kl_sparsity", "jump_relu", "[l1,contractive,orthogonal]", "[topk,auxk]"),
        *("[batch_topk,resampling]", "[masking,gaussian_noise,salt_and_pepper]"),
    ],
)
def test_constraints_take_targets_of_another_shape(
    compose: Compose, words: list[str], tmp_path: Path, constraint: str
) -> None:
    """Dead units are revived after the second step, and each step has a finite loss."""
    given = ("model=sparse", "model.latent_dim=16", "network=linear")
    if "masking" in constraint:
        given = ("model=denoising", "model.latent_dim=4", "network=mlp", "network.widths=[8]")
    also = (
        "topk.k=3",
        "batch_topk.k=3",
        "auxk.after=0.01",
        "resampling.after=0.01",
        "resampling.every=0.4",
    )
    names = constraint.strip("[]").split(",")
    late = [f"constraint.{word}" for word in also if word.partition(".")[0] in names]
    built = build(
        compose(*words, *given, f"constraint={constraint}", *late, "trainer.max_epochs=1")
    )
    trainer, losses = fit(built, tmp_path, limit_train_batches=4)
    assert trainer.global_step == 4
    assert np.isfinite(losses).all()


def test_revived_units_read_the_samples_and_write_the_errors_of_their_targets(
    compose: Compose, words: list[str]
) -> None:
    built = build(compose(*words, *TRANSCODER, "constraint=[topk,resampling]"))
    generator = torch.Generator().manual_seed(0)
    inputs, errors = (torch.randn(20, n, generator=generator) for n in (IN, OUT))
    read, written = draw_directions(built.net.model, 3, errors, Noise(0), inputs)
    worst = errors.square().sum(1).topk(3).indices
    torch.testing.assert_close(written, torch.nn.functional.normalize(errors[worst], dim=1))
    centred = inputs - inputs.mean(0)
    torch.testing.assert_close(read, torch.nn.functional.normalize(centred[worst], dim=1))


TIED = "network: the transposed weights of an encoder of 12 cannot write targets of 7. Write network.tied=false."
REFUSED = {
    "tied": (["network=mlp", "network.tied=true"], TIED),
    "start": (
        ["network=mlp", "network.start=pca"],
        "network.start=pca: the target is not the input. Write network.start=random, or auto.",
    ),
    "emphasis": (
        ["model=denoising", "constraint=masking", "constraint.masking.emphasis_rest=0.5"],
        "constraint.masking: masking weighs the elements that it corrupts, but the target is not the input.",
    ),
    "rate": (
        ["constraint=rate"],
        "constraint=[rate]: rate is for compression, but the network writes",
    ),
    "conv": (
        ["dataset.path=gray.npy", "dataset.target=t.npy", "network=conv"],
        "network: convolutions need signals of C x L, images of C x H x W or volumes of C x D x H x W, but the targets are vectors of 7. Write network=mlp.",
    ),
    "fully conv": (
        ["dataset.path=gray.npy", "dataset.target=rgb.npy", "network=fully_conv"],
        "network: it writes images of the shape that it reads, but targets are 3 x 16 x 16 and samples",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_needs_the_input_as_its_target_is_refused(
    compose: Compose, words: list[str], case: str
) -> None:
    np.save("t.npy", np.load("y.npy")[:48])
    given, expected = REFUSED[case]
    with pytest.raises(ConfigError) as caught:
        make_parts(to_plain(compose(*words, "model.latent_dim=4", *given)))
    assert str(caught.value.problems[0]).startswith(expected)


def test_denoising_needs_pairs_or_a_corruption(compose: Compose, words: list[str]) -> None:
    given = ("model=denoising", "constraint=[]", "model.latent_dim=4")
    make_parts(to_plain(compose(*words, *given)))
    with pytest.raises(ConfigError) as caught:
        make_parts(to_plain(compose(*words, *given, "dataset.target=null")))
    assert str(caught.value.problems[0]).endswith("or give pairs: dataset.target=FILE.")
