"""Sweeps, which are grids of training runs. They run in parallel, can be resumed, and are compared.

The folder name of a run is a hash of everything that its result depends on. A finished run is therefore
never repeated, and two sweeps in the same folder share their common runs.
"""

from hf_bat.sweep.grid import Run, make_grid, make_run, parse_flags, read_grid
from hf_bat.sweep.schedule import finished, folder_of, run_all
from hf_bat.sweep.summary import Group, group_runs, markdown, write_summary

__all__ = [
    "Group",
    "Run",
    "finished",
    "folder_of",
    "group_runs",
    "make_grid",
    "make_run",
    "markdown",
    "parse_flags",
    "read_grid",
    "run_all",
    "write_summary",
]
