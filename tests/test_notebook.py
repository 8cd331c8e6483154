"""Training in a notebook, run by Jupyter's own client."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

CELLS = (
    "import aeframe\nfrom sklearn.datasets import load_digits\nx = load_digits().images[:300]",
    'words = {"trainer.max_epochs": 2, "network.widths": "auto", "evaluation.images": 32}\n'
    "run = aeframe.train(words, data=x)",
    "run",
    "run.plot()",
    "run.pictures()",
    'runs = aeframe.sweep({**words, "model.latent_dim": [2, 4], "dashboard.images": 2}, data=x)\nruns',
    "run.model.encode(x).shape, runs.runs[0].metrics['test/mse'] < 0.1",
    'aeframe.train(["tralala=1"], data=x)',
)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_a_notebook_trains_plots_compares_and_encodes(tmp_path: Path) -> None:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in CELLS])
    client = nbclient.NotebookClient(
        notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}, allow_errors=True
    )
    client.execute()
    _, trained, shown, plotted, drawn, swept, encoded, mistaken = (
        c.outputs for c in notebook.cells
    )
    text = "".join(output.get("text", "") for output in trained)
    assert text.count("epoch 2/2") == 1  # progress once
    assert "Run folder:" in text
    assert not [output for output in trained if output.output_type == "error"], trained
    html = find(shown, "text/html")
    assert "<table>" in html
    assert 'src="data:image/png;base64,' in html
    assert find(plotted, "image/png")
    pictures = find(drawn, "text/html")
    assert pictures.startswith('<p>reconstructions<br><img alt="reconstructions" src="data:image/')
    assert pictures.count("<img") == pictures.count("<p>") > 3
    table = find(swept, "text/html")
    assert "model.latent_dim" in table
    assert 'src="data:image/png;base64,' in table
    assert find(encoded, "text/plain") == "((300, 16), True)"
    (error,) = mistaken
    assert (error.ename, error.evalue.partition(":")[0]) == ("ConfigError", "tralala")


def find(outputs: list[Any], kind: str) -> str:
    """Return the output of a cell in a format."""
    (data,) = [o.data for o in outputs if o.output_type in ("execute_result", "display_data")][-1:]
    return str(data[kind])
