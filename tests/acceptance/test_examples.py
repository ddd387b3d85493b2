"""The notebook of `examples/`, run against a real server that trains."""

from __future__ import annotations

import warnings
from pathlib import Path

import nbformat
import pytest

from tests.acceptance.conftest import Service

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_is_committed_without_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert [cell.outputs for cell in notebook.cells if cell.cell_type == "code" and cell.outputs] == []
    assert [cell.id for cell in notebook.cells if cell.get("execution_count") is not None] == []


@pytest.mark.long("starts a server and a kernel, and trains two networks")
def test_the_notebook_submits_watches_compares_and_plots(
    embedded: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of Jupyter's own packages
        from nbclient import NotebookClient

        monkeypatch.setenv("ADDER_URL", embedded.url)
        notebook = nbformat.read(ROOT / "examples" / "compare.ipynb", as_version=4)
        NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    shown = [output.data for output in outputs if "data" in output]
    html = "".join(data.get("text/html", "") for data in shown)
    assert "multiplications" in html
    assert "/model/method" in html, "the difference between the two"
    assert sum("image/png" in data for data in shown) == 1
    assert any("succeeded" in output.get("text", "") for output in outputs), "the line of progress"
    assert (tmp_path / "model" / "model.safetensors").stat().st_size > 200_000
