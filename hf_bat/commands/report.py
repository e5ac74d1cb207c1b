"""`hf-bat report`: turn an output folder into one HTML page."""

from __future__ import annotations

import argparse
from pathlib import Path

from hf_bat.commands import options
from hf_bat.errors import HfBatError
from hf_bat.files import write_json

HELP = """\
turn an output folder into one self-contained HTML page: accuracy and attack success rates, charts of
the loss and its components, worst word pairs, successful edits marked, contrast sets, comparisons,
sweeps and their runs, reproductions next to the paper's figures, pictures (PNG, SVG)"""
EPILOG = """\
examples:
  hf-bat report out
  hf-bat report out --output triplet.html
  hf-bat report runs/normal runs/triplet --output before-after.html
  hf-bat report reproduced/table6
Files are recognized by content: results of the training script, reports of `hf-bat attack`, `contrast`,
`compare`, `certify` and `sweep`, attacked rows, a run of a sweep (`runs/KEY`), results of
examples/reproduce/run.py. Files that are not shown are listed.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "folders",
        metavar="DIR",
        nargs="+",
        help="output folder of a run; with two folders, the first is before and the second after",
    )
    parser.add_argument(
        "--output", metavar="FILE", help="the page (default: report.html in the last folder)"
    )
    options.add_shared(parser, "--json")


def run(args: argparse.Namespace) -> int:
    """Write the page, list its files and return 0."""
    from hf_bat.report.page import group_reasons, write_report

    if len(args.folders) > 2:
        raise HfBatError(f"a page compares two folders; got {len(args.folders)}")
    *before, folder = args.folders
    page = args.output or str(Path(folder) / "report.html")
    if Path(folder).is_dir():
        args.output = page  # the default is also checked against the other outputs
    options.check_outputs(args, "output", "json")
    also_written = [args.json] if args.json else ()
    written = write_report(folder, page, also_written, *before)
    print(f"shown: {', '.join(written['files'])}")
    # Lists the files that the page ignores, so users do not expect them there.
    for names, reason in group_reasons(written["others"]):
        print(f"not shown: {names}: {reason}")
    print(f"written: {written['output']}")
    if args.json:
        write_json(args.json, written)
    return 0
