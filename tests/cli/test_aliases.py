"""Everyday names of options and keys are answered with aeframe's own, in a whole command."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import DictConfig

from aeframe.cli.aliases import KEYS, OPTIONS, replace_alias
from aeframe.cli.command_line import parse
from aeframe.config.check import check

Command = Callable[..., tuple[int, str, str]]
Compose = Callable[..., DictConfig]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["epochs=3"],
            ["epochs=3: aeframe calls it trainer.max_epochs=3.", "trainer.max_epochs=3"],
        ),
        (
            ["model=vae", "seed=1"],
            ["model=vae: aeframe calls it model=variational.", "model=variational seed=1"],
        ),
        (
            ["-m", "model=vae,sparse"],
            [
                "model=vae,sparse: aeframe calls it model=variational,sparse.",
                "-m model=variational,sparse",
            ],
        ),
        (
            ["model=vae", "--cfg", "job"],
            ["model=vae: aeframe calls it model=variational.", "model=variational --cfg job"],
        ),
        (
            ["optimizer=adamw", "lr=0.1"],
            [
                "optimizer=adamw: aeframe calls it optimizer._target_=torch.optim.AdamW.",
                "lr=0.1: aeframe calls it optimizer.lr=0.1.",
                "optimizer._target_=torch.optim.AdamW optimizer.lr=0.1",
            ],
        ),
        (
            ["dataset=photos"],
            ["dataset=photos: aeframe calls it dataset=image_folder dataset.root=FOLDER.", ""],
        ),
    ],
)
def test_an_everyday_name_is_answered_with_a_whole_command(
    aeframe: Command, words: list[str], told: list[str]
) -> None:
    status, out, err = aeframe(*words)
    assert (status, out) == (2, "")
    *lines, command = told
    lines[-1] += f" Write: python train.py {command}" if command else ""
    if len(lines) == 1:
        assert err == f"aeframe: {lines[0]}\n"
    else:
        head = f"aeframe: {len(lines)} mistakes"
        assert err.splitlines() == [head, *(f"  {line}" for line in lines)]


def test_the_command_in_the_answer_has_no_mistake(aeframe: Command) -> None:
    _, _, err = aeframe("scheduler=cosine", "optimizer=sgd", "batch_size=32", "device=cpu")
    words = shlex.split(err.rpartition("Write: python train.py ")[2])
    assert parse(words).mistakes is None
    status, out, err = aeframe(*words, "--cfg", "job")
    assert (status, err) == (0, "")
    for line in ("CosineAnnealingLR", "_target_: torch.optim.SGD", "batch_size: 32"):
        assert line in out


@pytest.mark.parametrize(
    "word",
    [
        *(f"{key}=1" for key in KEYS),
        *(f"{group}={name}" for group, names in OPTIONS.items() for name in names),
    ],
)
def test_every_everyday_name_leads_to_words_that_are_taken(word: str, compose: Compose) -> None:
    new = replace_alias(word)
    assert new != word
    if "FOLDER" in new or "FILE" in new or "beta" in word:
        word = new.partition(" ")[0]
        assert parse([word]).mistakes is None
        return
    words = [new, "hardware=cpu"] if not new.startswith("hardware") else [new]
    assert parse(words).mistakes is None
    if new in ("optimizer.weight_decay=1", "trainer.precision=1", "hardware=gpu"):
        return
    check(compose(*(f"++{w}" if "." in w.partition("=")[0] else w for w in words)))


def test_an_option_of_ones_own_keeps_its_name(aeframe: Command, tmp_path: Path) -> None:
    folder = tmp_path / "own" / "model"
    folder.mkdir(parents=True)
    (folder / "vae.yaml").write_text(
        "# Mine.\n_target_: aeframe.models.Variational\nlatent_dim: 3\n"
    )
    status, out, err = aeframe("--config-dir", "own", "model=vae", "--cfg", "job")
    assert (status, err) == (0, "")
    assert "latent_dim: 3" in out


def test_a_wrong_option_hides_no_other_mistake(aeframe: Command) -> None:
    words = ("model=sprase", "model.foo=3", "trainer.max_epoch=4", "dataset=minst", "lr=1")
    status, _, err = aeframe(*words)
    assert status == 2
    assert [line.strip().partition(": ")[0] for line in err.splitlines()[1:]] == [
        "model=sprase",
        "dataset=minst",
        "lr=1",
        "trainer.max_epoch",
    ]
    assert "Write: " not in err  # it would not work yet
