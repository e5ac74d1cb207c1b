#!/usr/bin/env python
"""Write docs/tutorial.ipynb from docs/tutorial.md: Python blocks become cells to run, the rest text.

    python scripts/make_notebook.py

A test compares the two, and runs the notebook.
"""

import json
import re
from pathlib import Path

_BLOCK = re.compile(r"^```python\n(.*?)^```$\n?", re.M | re.S)
_COMMENT = re.compile(r"^<!--.*?-->\n", re.M | re.S)


def make_notebook(page: str) -> str:
    """The notebook of a Markdown page, as the text of its file.

    Args:
        page: Markdown; its blocks marked as Python are the cells to run.
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
    content = {
        "cells": cells,
        "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    """Write the notebook beside the page."""
    page = Path(__file__).resolve().parent.parent / "docs" / "tutorial.md"
    path = page.with_suffix(".ipynb")
    path.write_text(make_notebook(page.read_text("utf-8")), encoding="utf-8")
    print(f"written: {path}")


if __name__ == "__main__":
    main()
