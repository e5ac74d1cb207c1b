"""The findings in docs/results/findings.md match the output of the script for the saved runs."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_holds_what_the_script_prints():
    script = ROOT / "examples/reproduce/study_findings.py"
    printed = subprocess.run(
        [sys.executable, script, ROOT / "docs/results/study"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    assert "+22.6" in printed
    assert printed in (ROOT / "docs/results/findings.md").read_text(encoding="utf-8")
