"""The notebook of `examples/` and the code of docs/python.md, run against a real server that trains."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import matplotlib
import nbformat
import pytest

from tests.acceptance.conftest import Service

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
PAGE = ROOT / "docs" / "python.md"


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


def examples() -> list[tuple[int, str]]:
    """The blocks of Python in docs/python.md, each with its line."""
    text = PAGE.read_text(encoding="utf-8")
    return [
        (text[: found.start(1)].count("\n"), found[1]) for found in re.finditer(r"```python\n(.*?)```", text, re.DOTALL)
    ]


def test_every_example_of_the_page_is_python() -> None:
    assert len(examples()) >= 8
    for line, code in examples():
        compile(code, f"{PAGE.name}:{line}", "exec")


@pytest.mark.long("starts a server and trains")
def test_the_examples_of_the_page_run_one_after_the_other(
    embedded: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADDER_URL", embedded.url)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.chdir(tmp_path)
    matplotlib.use("agg")
    names: dict[str, object] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's
        for line, code in examples():
            exec(compile("\n" * line + code, str(PAGE), "exec"), names)
    assert (tmp_path / "curves.png").stat().st_size > 0
    assert (tmp_path / "hub" / "README.md").exists()
