"""Mistakes outside of the configuration's values: in files of one's own, flags, plugins and data."""
# ruff: noqa: E501 (the tables keep each mistake and its message on one line)

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.runs import TINY, is_installed

Command = Callable[..., tuple[int, str, str]]
GLOBAL = "# @package _global_\n"

FILES: list[tuple[str, str | bytes, str]] = [
    # an experiment's file, and how its message goes on behind "aeframe: "
    ("brackets", f"{GLOBAL}model: {{latent_dim: 5\n", "experiment/own.yaml, line 3: expected ',' or '}'"),
    ("tab", f"{GLOBAL}model:\n\tlatent_dim: 5\n", "experiment/own.yaml, line 3: found character '\\t' that cannot start any token. Correct the file."),
    ("colon", f"{GLOBAL}seed: 1: 2\n", "experiment/own.yaml, line 2: mapping values are not allowed here"),
    ("indent", f"{GLOBAL}model:\n  latent_dim: 5\n seed: 1\n", "experiment/own.yaml, line 4: "),
    ("twice", f"{GLOBAL}seed: 1\nseed: 2\n", "experiment/own.yaml, line 3: found duplicate key seed. Correct the file."),
    ("python", f'{GLOBAL}model: !!python/object/apply:os.system ["touch owned"]\n', "experiment/own.yaml, line 2: could not determine a constructor for the tag"),
    ("binary", b"\xff\xfe\x00", "experiment/own.yaml: is not UTF-8 text. Correct the file."),
    ("latin", "# @package _global_\n# gr\u00f6\u00dfe\nseed: 1\n".encode("latin-1"), "experiment/own.yaml: is not UTF-8 text. Correct the file."),
    ("no package", "model: {latent_dim: 5}\n", "experiment: the first line of its file is missing. Write `# @package _global_` at its top."),
    ("empty", "", "experiment: the first line of its file is missing."),
    ("list", f"{GLOBAL}- a\n", "experiment/own.yaml: cannot be used. It must hold lines of KEY: VALUE."),
    ("text", f"{GLOBAL}model\n", "model=null: expected keys and values."),
    ("typo in a key", f"{GLOBAL}model: {{latent_dimm: 5}}\n", "model.latent_dimm: unknown key. Did you mean latent_dim?"),
    ("typo in a root", f"{GLOBAL}trianer: {{max_epochs: 5}}\n", "trianer: unknown key. Did you mean trainer?"),
    ("typo in a group", f"{GLOBAL}defaults: [override /modle: sparse]\n", "modle: no such group. Did you mean model?"),
    ("typo in an option", f"{GLOBAL}defaults: [override /model: spars]\n", "model=spars: no such option. Did you mean model=sparse?"),
    ("no override", f"{GLOBAL}defaults: [/model: sparse]\n", "model: a file chooses a second option of this group. Write `override /model: OPTION`"),
    ("type", f"{GLOBAL}trainer: {{max_epochs: many}}\n", "trainer.max_epochs=many: expected a whole number or auto."),
    ("null", f"{GLOBAL}trainer: null\n", "trainer=null: expected keys and values."),
    ("pair", f"{GLOBAL}defaults: [override /model: sparse, override /constraint: []]\n", "constraint=[]: model=sparse needs few active units"),
    ("variable", f"{GLOBAL}seed: ${{oc.env:NOT_SET_AT_ALL}}\n", "seed: the environment variable NOT_SET_AT_ALL is not set. Set NOT_SET_AT_ALL."),
    ("nowhere", f"{GLOBAL}seed: ${{nowhere}}\n", "seed: Interpolation key 'nowhere' not found."),
    ("class", f"{GLOBAL}model: {{_target_: os.system}}\n", "model._target_=os.system: only classes of"),
    ("another package", "# @package model\nlatent_dimm: 5\n", "model.latent_dimm: unknown key. Did you mean latent_dim?"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), [f[1:] for f in FILES], ids=[f[0] for f in FILES])
def test_a_mistake_in_an_experiments_file_is_one_line(
    aeframe: Command, tmp_path: Path, text: str | bytes, message: str
) -> None:
    folder = tmp_path / "mine" / "experiment"
    folder.mkdir(parents=True)
    (folder / "own.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    status, out, err = aeframe("--config-dir", "mine", "experiment=own")
    assert (status, out) == (2, "")
    lines = [line.strip() for line in err.splitlines()]
    assert any(message in line for line in lines), lines
    assert len(lines) <= 4
    assert "Traceback" not in err
    assert {path.name for path in tmp_path.iterdir()} == {"mine"}


WORDS: list[tuple[list[str], str]] = [
    (["--config-dir"], "--config-dir/-cd: expected one argument. See python train.py --help."),
    (["--config-name"], "--config-name/-cn: expected one argument. See python train.py --help."),
    (["--config-dir", "file"], "--config-dir file: no such folder. Write --config-dir FOLDER"),
    (["--config-path", "nowhere"], "--config-path nowhere: no such folder in aeframe. Write --config-dir FOLDER"),
    (["--cfg", "nope"], "--cfg nope: no such part. There are job, hydra, all."),
    (["--experimental-rerun", "x.pickle"], "--experimental-rerun: unknown option. See python train.py --help."),
    (["--multirunn"], "--multirunn: unknown option."),
    (["hydra/launcher=nope"], "hydra/launcher=nope: no such option. There is basic."),
    (["hydra/sweeper=optna"], "hydra/sweeper=optna: no such option. Did you mean hydra/sweeper=optuna?"),
    (["hydra.run.dir="], "hydra.run.dir: is empty. Write hydra.run.dir=FOLDER."),
    (["hydra.run.dir=${oc.env:NOT_SET_AT_ALL}"], "environment variable NOT_SET_AT_ALL: is not set. Set NOT_SET_AT_ALL."),
    (["hydra.sweep.dir=a", "seed=1,2"], "seed=1,2: several values need a sweep. Add -m"),
    (["network.widths=8,4"], "aeframe: network.widths=8,4: several values need a sweep. Add -m, or write [A,B] for a list."),
    (["dataset.path=a,b.npy"], """Add -m, or write 'dataset.path="a,b.npy"' for a name with a comma."""),
    (["experiment=vae_mnst"], "experiment=vae_mnst: no such option. Did you mean experiment=vae_mnist?"),
    (["debug=fst"], "debug=fst: no such option. Did you mean debug=fast?"),
    (["network=cnv"], "network=cnv: no such option. Did you mean network=conv?"),
    (["likelihood=gauss"], "likelihood=gauss: no such option. Did you mean likelihood=gaussian?"),
    (["dataset=minst"], "dataset=minst: no such option. Did you mean dataset=mnist?"),
    (["hardware=gpus"], "hardware=gpus: no such option. Did you mean hardware=gpu?"),
    (["constraint=top"], "constraint=top: no such option. Did you mean constraint=topk?"),
    (["constraint=[topk"], "constraint=[topk: cannot be read. Write KEY=VALUE"),
    (["~model"], "model: is missing."),
    (["~nothing"], "~nothing: there is nothing to delete. Leave it out."),
]  # fmt: skip


@pytest.mark.parametrize(("words", "message"), WORDS, ids=[" ".join(w) for w, _ in WORDS])
def test_a_mistaken_word_is_one_line(
    aeframe: Command, tmp_path: Path, words: list[str], message: str
) -> None:
    (tmp_path / "file").write_text("")
    status, out, err = aeframe(*words)
    assert (status, out) == (2, "")
    assert f"{message}" in err, err
    assert "Traceback" not in err
    assert {path.name for path in tmp_path.iterdir()} == {"file"}


@pytest.mark.parametrize(
    ("word", "extra"),
    [
        ("hydra/launcher=joblib", "sweep"),
        ("hydra/sweeper=optuna", "sweep"),
        ("hydra/launcher=submitit_local", "slurm"),
        ("hydra/launcher=submitit_slurm", "slurm"),
    ],
)
def test_the_extra_that_brings_a_plugin_is_named(
    aeframe: Command, tmp_path: Path, word: str, extra: str
) -> None:
    kind, _, name = word.removeprefix("hydra/").partition("=")
    if is_installed(f"hydra_{name.partition('_')[0]}_{kind}"):
        pytest.skip(f"{name} is installed")
    status, out, err = aeframe("-m", word, "seed=0,1")
    assert (status, out) == (2, "")
    assert (
        err
        == f'aeframe: {word}: is not installed. Install it: python -m pip install -e ".[{extra}]".\n'
    )
    assert not list(tmp_path.iterdir())


# data


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "kmnist", "cifar10", "svhn"])
def test_data_that_cannot_be_had_leaves_nothing_and_says_why(
    aeframe: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def no_network(*_: Any, **__: Any) -> None:
        raise OSError("<urlopen error no network here>")

    for place in ("torchvision.datasets.utils.urllib.request.urlopen",):
        monkeypatch.setattr(place, no_network)
    status, _, err = aeframe(f"dataset={name}", "dataset.root=new/data", *TINY)
    assert status == 2
    line = err.splitlines()[-1]
    assert line.startswith("aeframe: dataset.root=new/data: ")
    assert "no network here" in line
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("root", ["data/MNIST", "data/MNIST/raw", "data/MNIST/raw/"])
def test_a_root_that_is_too_deep_is_told_the_right_one(
    aeframe: Command, tmp_path: Path, root: str
) -> None:
    (tmp_path / "data" / "MNIST" / "raw").mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    status, out, err = aeframe("dataset=mnist", f"dataset.root={root}")
    assert (status, out) == (2, "")
    assert err == (
        f"aeframe: dataset.root={root.rstrip('/')}: is a folder inside of MNIST, whose root is data. "
        "Write dataset.root=data.\n"
    )
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(("seed", "words"), [(0, []), (7, []), (0, ["dataset.normalization=none"])])
def test_a_sample_beyond_all_others_is_named_and_not_the_learning_rate(
    aeframe: Command, tmp_path: Path, seed: int, words: list[str]
) -> None:
    values = np.random.default_rng(0).normal(size=(200, 12)).astype(np.float32)
    odd = 50 if seed == 0 else 3  # a sample for validation
    values[odd, 3] = 1e30
    np.save(tmp_path / "values.npy", values)
    data = ("dataset=array", "dataset.path=values.npy", "dataset.normalization=standard")
    network = ("model.latent_dim=3", "network.widths=[8]")
    status, _, err = aeframe(*data, *network, f"seed={seed}", *words)
    assert status == 1
    (line,) = err.splitlines()
    assert f"Sample {odd} reaches " in line
    assert "when it is normalized: correct it, or leave it out." in line
    assert "optimizer.lr" not in line


@pytest.mark.parametrize(("epochs", "title"), [(1, "after 1 epoch, "), (2, "after 2 epochs, ")])
def test_epochs_are_counted_in_english(aeframe: Command, epochs: int, title: str) -> None:
    status, out, _ = aeframe(*TINY, f"trainer.max_epochs={epochs}")
    assert status == 0
    assert f"Test metrics {title}" in out
