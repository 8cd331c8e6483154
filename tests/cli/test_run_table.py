"""The verb runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.support.verbs import Verb


def test_the_table_of_runs(verb: Verb, finished: Path, tmp_path: Path) -> None:
    for name in ("broken", "stopped", "evil"):
        (tmp_path / "day" / name / ".hydra").mkdir(parents=True)
        (tmp_path / "day" / name / "checkpoints").mkdir()
    (tmp_path / "day" / "broken" / "failed.txt").write_text("no")
    text = (finished / ".hydra" / "config.yaml").read_text()
    (tmp_path / "day" / "stopped" / ".hydra" / "config.yaml").write_text(text)
    evil = "!!python/object/apply:os.system ['touch owned']"
    (tmp_path / "day" / "evil" / ".hydra" / "config.yaml").write_text(evil)
    status, out, err = verb("runs", ".", "--json")
    assert (status, err) == (0, "")
    found = {run["folder"]: run for run in json.loads(out)}
    assert {name: run["status"] for name, run in found.items()} == {
        "run": "finished", "day/broken": "failed", "day/stopped": "interrupted", "day/evil": "interrupted",
    }  # fmt: skip
    value = json.loads((finished / "evaluation.json").read_text())["optimized_metric"]["value"]
    for name in ("run", "day/stopped"):
        kinds = (found[name]["model"], found[name]["constraint"], found[name]["dataset"])
        assert kinds == ("Undercomplete", "bottleneck", "Digits")
        assert found[name]["metric"] == "val/mse"
    assert found["run"]["value"] == value
    assert not (tmp_path / "owned").exists()
    status, out, _ = verb("runs", ".")
    assert status == 0
    assert "4 runs below ." in out
    assert f"{value:.5g}" in out
    shutil.copytree(finished, tmp_path / "outputs" / "one")
    out = verb("runs", "outputs")[1]
    assert "1 run below outputs" in out
    assert "outputs/one" in out
