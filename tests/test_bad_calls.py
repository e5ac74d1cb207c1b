"""Each bad call in `tests/bad_calls/` raises an error with a one-line message that names the problem.

Each room of the package has one table: `tests/bad_calls/<room>.py` with a list `CALLS`. To cover
another invalid input, add an entry to the list.
"""

import importlib.util
from pathlib import Path

import pytest
from bad_calls import BadCall

TABLES = sorted((Path(__file__).parent / "bad_calls").glob("*.py"))


def load_calls(path: Path) -> list[BadCall]:
    """Return the calls in one table."""
    spec = importlib.util.spec_from_file_location(f"bad_calls_of_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.CALLS


CASES = [
    pytest.param(call, id=f"{path.stem}: {call.name}")
    for path in TABLES
    for call in load_calls(path)
]


@pytest.mark.parametrize("case", CASES)
def test_bad_call_is_refused_in_one_line(case, tmp_path):
    with pytest.raises(case.error) as caught:
        case.call(tmp_path)
    message = str(caught.value)
    assert case.keyword in message
    assert "\n" not in message.strip()
