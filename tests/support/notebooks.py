"""Executing the repository's notebooks."""

import copy
import os
from collections.abc import Mapping
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
# A cell with this tag makes what the others look at; it takes longest, and knows no variables.
MAKES_DATA = "makes-data"


def run_notebook(
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    *,
    again: Mapping[str, str] | None = None,
    **environment: str,
) -> str:
    """Execute a notebook in the repository's environment and return all it printed.

    With ``again`` it runs from top to bottom once more with these variables, on the data that it made the first time.
    """
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(NOTEBOOKS.parent))
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    notebook = nbformat.read(NOTEBOOKS / name, as_version=4)
    if again:
        cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
        assert any(MAKES_DATA in cell.metadata.get("tags", ()) for cell in cells)
        notebook.cells.append(nbformat.v4.new_code_cell(f"import os\n\nos.environ.update({dict(again)!r})"))
        notebook.cells += [copy.deepcopy(cell) for cell in cells if MAKES_DATA not in cell.metadata.get("tags", ())]
    client = NotebookClient(notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": NOTEBOOKS}})
    client.execute(env=dict(os.environ))
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    return "".join(output.get("text", "") for output in outputs)
