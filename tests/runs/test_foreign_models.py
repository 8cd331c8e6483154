"""Model files from strangers: nothing of them is run, and none of them does more than be refused."""

from __future__ import annotations

import json
import os
import pickle
import random
import resource
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

import aeframe as package
from aeframe.cli.verbs.measuring import evaluate_test_split
from aeframe.core.errors import UserError
from aeframe.runs.layout import MODEL, NOTE
from aeframe.runs.model_file import KEY

Change = Callable[[dict[str, Any], dict[str, torch.Tensor]], Any]
ENCODER = "model.encoder.1.weight"


def put(path: str, value: Any) -> Change:
    """Set the value at a path into the description."""

    def change(description: dict[str, Any], weights: dict[str, torch.Tensor]) -> None:
        *inner, last = path.split("|")
        for key in inner:
            description = description[key]
        description[last] = value

    return change


def weigh(name: str, value: torch.Tensor | None) -> Change:
    """Put a tensor in the place of another, or none."""

    def change(description: dict[str, Any], weights: dict[str, torch.Tensor]) -> None:
        weights.pop(name, None)
        if value is not None:
            weights[name] = value

    return change


def rewritten(file: Path, change: Change) -> None:
    with safetensors.safe_open(file, "pt") as opened:
        description = json.loads(opened.metadata()[KEY])
        weights = {name: opened.get_tensor(name).clone() for name in opened.keys()}  # noqa: SIM118
    change(description, weights)
    file.write_bytes(safetensors.torch.save(weights, {KEY: json.dumps(description)}))


def refused(where: Path) -> str:
    with pytest.raises(UserError) as raised:
        package.load(where)
    assert len(raised.value.problems) < 5
    return str(raised.value)


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch owned",)


FOREIGN: dict[str, tuple[Change, str]] = {
    # of the description
    "another format": (put("format", 2), "a newer aeframe wrote it"),
    "no format": (put("format", "x"), "its format is unknown"),
    "no configuration": (put("config", None), "the configuration is not a mapping"),
    "a configuration of text": (put("config", "x"), "the configuration is not a mapping"),
    "an interpolation": (put("config|seed", "${oc.env:HOME}"), "which no run saves"),
    "a deep configuration": (put("config|seed", [[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]), "far too large"),
    "a wide configuration": (put("config|seed", [0] * 20_000), "far too large"),
    "a huge number": (put("config|model|latent_dim", 10**40), "is not plain data"),
    "no shape": (put("data|shape", None), "data.shape is not a shape"),
    "a shape of text": (put("data|shape", ["8"]), "data.shape is not a shape"),
    "an empty shape": (put("data|shape", []), "data.shape is not a shape"),
    "a shape with nothing": (put("data|shape", [0, 8, 8]), "data.shape is not a shape"),
    "a huge shape": (put("data|shape", [2**20, 2**20, 2**20]), "data.shape is not a shape"),
    "another shape": (put("data|shape", [3, 8, 8]), "does not hold the weights"),
    "a large shape": (put("data|shape", [3, 2**13, 2**13]), "does not hold the weights"),
    "another type": (put("data|dtype", "object"), "data.dtype is not a type of numbers"),
    "no range": (put("data|low", "x"), "are not two numbers"),
    "classes of numbers": (put("data|classes", [1]), "data.classes are not names"),
    "an odd part": (put("part", "decoder"), "part is neither"),
    "the encoder only": (put("part", "encoder"), "is not one of its weights"),
    "metrics of text": (put("metrics", {"mse": "x"}), "metrics have values of a wrong type"),
    "scores of text": (put("train_scores", ["x"]), "train_scores are not numbers"),
    "a score of no number": (put("train_scores", [0.0, float("nan")]), "train_scores are not numbers"),
    "validation scores of text": (put("val_scores", ["x"]), "val_scores are not numbers"),
    "more scores than samples": (put("val_samples", 2), "val_samples is not the number"),
    "another identity": (put("identity", "0" * 64), "its weights were changed after it was written"),
    "no identity": (put("identity", ""), "it has no identity"),
    # of the configuration
    "a command": (put("config|model|_target_", "os.system"), "only classes of torch.optim, of aeframe"),
    "a module of ours": (put("config|model|_target_", "aeframe.cli.main.main"), "only classes"),
    "another room": (put("config|model|_target_", "aeframe.data.Array"), "is not a subclass of Autoencoder"),
    "a class of torch": (
        put("config|constraint|x", {"_target_": "torch.optim.SGD"}),
        "is not a subclass of Constraint",
    ),
    "an import": (put("config|network|_target_", "aeframe.networks.nothing.Here"), "no such class exists"),
    "a huge code": (put("config|model|latent_dim", 2**23), "model.latent_dim"),
    "a huge layer": (put("config|network|widths", [10**12]), ""),
    "many layers": (put("config|network|widths", [9] * 2000), ""),
    "text for a size": (put("config|model|latent_dim", "x"), "model.latent_dim=x"),
    "text for a batch": (put("config|dataset|batch_size", "x"), "dataset.batch_size=x"),
    "no model": (put("config|model", None), "expected keys and values"),
    "another normalization": (put("data|normalization", "rms"), "does not hold the weights"),
    "no normalization": (put("data|normalization", "auto"), "data.normalization is unknown"),
    "a range beyond float32": (put("data|low", -1e300), "exceed float32"),
    "a stored one": (put("data|stored", [0.0, 1e300]), "data.stored"),
    "a range of nothing": (put("data|seen", [3.0, 3.0]), "data.seen"),
    "columns without ranges": (put("data|usual", ["a"]), "data.usual are not names and ranges"),
    "numbers for names": (put("data|usual", [[1, 0.0, 1.0]]), "data.usual are not names and ranges"),
    "columns of an image": (put("data|usual", [["a", 0.0, 1.0]]), "not as many as in data.shape"),
    "axes of an image": (put("data|axes", [8, 8]), "data.axes is another shape"),
    "axes that are no numbers": (put("data|axes", ["a"]), "data.axes is not a shape"),
    "an odd activation": (put("config|network|activation", "eval"), "network.activation=eval"),
    # of the weights
    "a weight is missing": (weigh(ENCODER, None), f"{ENCODER} is missing"),
    "an unknown weight": (weigh("x", torch.zeros(2)), "x is not one of its weights"),
    "a weight of another shape": (weigh(ENCODER, torch.zeros(2)), "is float32 [2], not float32 [8, 64]"),
    "a weight of another type": (weigh(ENCODER, torch.zeros(8, 64).half()), "is float16"),
    "a weight that is no number": (weigh(ENCODER, torch.full((8, 64), torch.nan)), "is not finite"),
    "other weights": (weigh(ENCODER, torch.zeros(8, 64)), "its weights were changed"),
    "no time": (weigh("_extra_state", torch.tensor([-1.0, 0.0]).double()), "is negative"),
}  # fmt: skip


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_foreign_description_is_refused(
    finished: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.chdir(finished)
    change, what = FOREIGN[kind]
    rewritten(finished / MODEL, change)
    said = refused(finished)
    assert what in said, said
    assert len(said) < 800, said


HUGE: dict[str, tuple[list[int], dict[str, Any], int]] = {
    "features": ([2**29], {"_target_": "aeframe.networks.MLP", "widths": []}, 8),
    "features beyond all memory": ([2**39], {"_target_": "aeframe.networks.MLP", "widths": []}, 8),
    "channels": ([2_000_000, 1, 1], {"_target_": "aeframe.networks.FullyConv", "widths": []}, 8),
}  # fmt: skip


@pytest.mark.parametrize("kind", HUGE)
def test_claims_of_a_file_take_no_memory(finished: Path, kind: str) -> None:
    shape, network, size = HUGE[kind]

    def change(description: dict[str, Any], weights: dict[str, torch.Tensor]) -> None:
        description["data"]["shape"] = shape
        config = description["config"]
        config["network"], config["model"]["latent_dim"] = network, size
        description["data"]["normalization"] = "standard"

    rewritten(finished / MODEL, change)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "does not hold the weights" in refused(finished)
    taken = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert taken < 200_000  # KiB


def test_a_dataset_is_neither_made_nor_looked_for(finished: Path, tmp_path: Path) -> None:
    for target in ("aeframe.data.ImageFolder", "os.system", None):
        dataset = {"_target_": target, "root": str(tmp_path / "made"), "batch_size": 128}
        rewritten(finished / MODEL, put("config|dataset", dataset))
        assert package.load(finished).latent_dim == 8
    assert not (tmp_path / "made").exists()


def test_a_pickle_is_not_loaded(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(finished)
    (finished / MODEL).write_bytes(pickle.dumps(Evil()))
    assert "is not a model of aeframe" in refused(finished)
    torch.save({"state_dict": Evil(), "data": Evil()}, finished / "evil.ckpt")
    assert "is not a checkpoint" in refused(finished / "evil.ckpt")
    (finished / NOTE).write_bytes(pickle.dumps(Evil()))  # which is never read
    assert not (finished / "owned").exists()


CHECKPOINTS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "no data": (lambda s: s.pop("data"), "its training data is not described"),
    "data of text": (lambda s: s.update(data="x"), "data.shape is not a shape"),
    "no weights": (lambda s: s.pop("state_dict"), "it holds no weights"),
    "text for weights": (lambda s: s["state_dict"].update({f"net.{ENCODER}": "x"}), "no weights"),
    "a weight of one number": (
        lambda s: s["state_dict"].update({f"net.{ENCODER}": torch.zeros(1, 1).expand(8, 64)}),
        "has fewer values than its shape",
    ),
    "a weight without memory": (
        lambda s: s["state_dict"].update({f"net.{ENCODER}": torch.zeros(8, 64, device="meta")}),
        "is not a tensor of numbers",
    ),
    "a sparse weight": (
        lambda s: s["state_dict"].update({f"net.{ENCODER}": torch.zeros(8, 64).to_sparse()}),
        "is not a checkpoint",
    ),
    "no configuration": (lambda s: s.pop("hyper_parameters"), "the configuration is not a mapping"),
}


@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_a_foreign_checkpoint_is_refused(finished: Path, kind: str) -> None:
    change, what = CHECKPOINTS[kind]
    file = finished / "checkpoints" / "best.ckpt"
    state = torch.load(file, weights_only=True)
    change(state)
    torch.save(state, file)
    assert what in refused(file)


def test_a_damaged_file_is_refused_or_all_that_it_was(finished: Path) -> None:
    file = finished / MODEL
    whole, before = file.read_bytes(), package.load(finished)
    drawn = random.Random(0)
    for length in (0, 1, 7, 8, 9, 100, *(drawn.randrange(len(whole)) for _ in range(20))):
        file.write_bytes(whole[:length])
        assert "is not a model of aeframe" in refused(file)
    for _ in range(150):
        at = drawn.randrange(len(whole))
        file.write_bytes(
            whole[:at] + bytes([whole[at] ^ 1 << drawn.randrange(8)]) + whole[at + 1 :]
        )
        with suppress(UserError):
            assert package.load(file).identity == before.identity


def test_a_batch_that_exceeds_the_memory_is_told(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = package.load(finished)
    monkeypatch.setattr(
        "aeframe.data.memory_map._measure_free_memory", lambda: 4 * 180 * (2 * 64 + 8) - 1
    )
    with pytest.raises(UserError, match=r"batches of 180 samples, each decoded 1 times, need"):
        evaluate_test_split(model, str(finished))


def test_a_place_that_is_no_file_is_refused(finished: Path) -> None:
    (finished / MODEL).unlink()
    os.mkfifo(finished / MODEL)
    assert "is not a model of aeframe" in refused(finished)
