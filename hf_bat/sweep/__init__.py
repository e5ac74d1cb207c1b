"""Grids of trainings that are never run twice: plan, run side by side, sum up.

A run's folder is named by a hash of all that its result depends on, so that an interrupted sweep goes on
where it was, and two sweeps into one folder share what they have in common.
"""

from hf_bat.sweep.flags import parse_flags, read_grid
from hf_bat.sweep.plan import Run, make_grid, make_run
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
