"""The package remains readable: plain English, verbs in names, comments, and methods in few modules.

The limits allow for ordinary English that the rough tests of `scripts/measure_code.py` also count. Its
`--list` shows the details of a figure.
"""

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "measure_code.py"


@pytest.fixture(scope="module")
def figures():
    """Return the figures of the package."""
    spec = importlib.util.spec_from_file_location("measure_code", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.measure([])[0]


@pytest.mark.parametrize(
    ("name", "limit"),
    [("archaic turns per 1,000 words", 1), ("docstrings with one, in percent", 1)],
)
def test_english_is_plain(figures, name, limit):
    assert figures[name] <= limit, "see python scripts/measure_code.py --list markers"


def test_function_names_begin_with_verbs(figures):
    percent = figures["function names that begin with a verb, in percent"]
    assert percent >= 78, "see python scripts/measure_code.py --list names"


def test_few_modules_name_a_method(figures):
    assert len(figures["modules that name a method"]) <= 3, figures["modules that name a method"]


def test_surprising_lines_have_comments(figures):
    assert figures["comments per 100 code lines"] >= 5
