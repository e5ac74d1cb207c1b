#!/usr/bin/env python
"""Write docs/tutorial.ipynb from docs/tutorial.md. Python blocks become code cells, the rest text cells.

    python scripts/make_notebook.py         # keeps the outputs of cells whose code is the same
    python scripts/make_notebook.py --run   # runs all cells, which takes minutes

Tests compare both files, check that the notebook has outputs, and run it.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import tempfile
from pathlib import Path
from typing import Any

_BLOCK = re.compile(r"^```python\n(.*?)^```$\n?", re.M | re.S)
_COMMENT = re.compile(r"^<!--.*?-->\n", re.M | re.S)


def make_notebook(page: str) -> dict[str, Any]:
    """Return the notebook of a Markdown page, without outputs.

    Args:
        page: Markdown text. Its Python blocks become code cells.
    """
    parts = _BLOCK.split(_COMMENT.sub("", page))
    cells = []
    for number, part in enumerate(parts):
        source = part.strip("\n")
        if not source:
            continue
        lines = source.splitlines(keepends=True)
        cell = {"id": f"cell-{number}", "metadata": {}, "source": lines}
        if number % 2:
            cells.append({"cell_type": "code", **cell, "execution_count": None, "outputs": []})
        else:
            cells.append({"cell_type": "markdown", **cell})
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {
        "cells": cells,
        "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def list_code_cells(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the code cells of a notebook."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def keep_outputs(notebook: dict[str, Any], old: dict[str, Any]) -> None:
    """Copy outputs from an older notebook for cells with the same code, ignoring its formatting."""
    known = {_parse(cell): cell for cell in list_code_cells(old)}
    for cell in list_code_cells(notebook):
        if match := known.get(_parse(cell)):
            cell |= {name: match[name] for name in ("execution_count", "outputs")}


def _parse(cell: dict[str, Any]) -> str:
    return ast.dump(ast.parse("".join(cell["source"])))


def run_cells(notebook: dict[str, Any]) -> None:
    """Run the cells in an empty folder and add their outputs to the notebook."""
    import nbformat
    from nbclient import NotebookClient

    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        node = nbformat.reads(json.dumps(notebook), as_version=4)
        NotebookClient(node, timeout=3600, kernel_name="python3", resources=resources).execute()
    run = json.loads(nbformat.writes(node))
    for cell, done in zip(list_code_cells(notebook), list_code_cells(run), strict=True):
        # Standard error has progress bars and warnings, which readers do not need.
        shown = [out for out in done["outputs"] if out.get("name") != "stderr"]
        cell["execution_count"], cell["outputs"] = done["execution_count"], shown


def write_notebook(notebook: dict[str, Any], path: Path) -> None:
    """Write a notebook as JSON, in Jupyter's format."""
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def main() -> None:
    """Write the notebook next to the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--run", action="store_true", help="run all cells")
    args = parser.parse_args()
    page = Path(__file__).resolve().parent.parent / "docs" / "tutorial.md"
    path = page.with_suffix(".ipynb")
    notebook = make_notebook(page.read_text("utf-8"))
    if args.run:
        run_cells(notebook)
    elif path.is_file():
        keep_outputs(notebook, json.loads(path.read_text("utf-8")))
    write_notebook(notebook, path)
    print(f"written: {path}")


if __name__ == "__main__":
    main()
