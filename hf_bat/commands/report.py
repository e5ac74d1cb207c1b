"""`hf-bat report`: an output folder as one HTML page."""

from __future__ import annotations

import argparse
from pathlib import Path

from hf_bat.commands.outputs import check_outputs
from hf_bat.files import write_json

HELP = """\
turn an output folder into one self-contained HTML page: accuracy and attack success rates, charts of
the loss and its components, worst word pairs, successful edits marked, contrast sets, comparisons,
sweeps and their runs, reproductions beside the paper's figures, pictures (PNG, SVG)"""
EPILOG = """\
examples:
  hf-bat report out
  hf-bat report out --output triplet.html
  hf-bat report reproduced/table6
Files are known by what is in them: results of the training script, reports of `hf-bat attack`, `contrast`,
`compare`, `certify` and `sweep`, attacked rows, a sweep's run (`runs/KEY`), what examples/reproduce/run.py
wrote. What is not shown is named.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    parser.add_argument("folder", metavar="DIR", help="the output folder of a run")
    parser.add_argument("--output", metavar="FILE", help="the page (default: DIR/report.html)")
    parser.add_argument("--json", metavar="FILE", help="write which files the page shows")


def run(args: argparse.Namespace) -> int:
    """Write the page; return 0."""
    from hf_bat.report.page import group_reasons, write_report

    page = args.output or str(Path(args.folder) / "report.html")
    if Path(args.folder).is_dir():
        args.output = page  # by default too it is none of the other outputs
    check_outputs(args, "output", "json")
    done = write_report(args.folder, page, [args.json] if args.json else ())
    print(f"shown: {', '.join(done['files'])}")
    for names, why in group_reasons(done["others"]):
        print(f"not shown: {names}: {why}")
    print(f"written: {done['output']}")
    if args.json:
        write_json(args.json, done)
    return 0
