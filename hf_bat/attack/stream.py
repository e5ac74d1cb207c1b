"""Rows done one batch after the other: shared out over ranks, streamed to a file, resumed from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from hf_bat.attack.ranks import gather, wait
from hf_bat.attack.report import DISCLOSED
from hf_bat.attack.rows import Example, RowsFile

Results = list[dict[str, Any]]
# What lines of a rows file say of the run that they are of; it is no result.
_OF_THE_RUN = frozenset(
    {"recipe", "setting", "model", "data", "seed", "label_filter", "label_reading", *DISCLOSED}
)


def run_rows(
    examples: Sequence[Example],
    work: Callable[[Sequence[Example], int], Iterator[Results]],
    file: RowsFile | None,
    rank: int,
    world: int,
) -> Results:
    """Do what the file does not hold yet of this rank's share, and bring all ranks' results together.

    Args:
        examples: all rows, on every rank.
        work: takes rows and the number of those already done, yields their results in any order; each
            has the `idx` of its row.
        file: where results stream to as they come; None for nowhere.
        rank: this process's number.
        world: how many there are.

    Returns:
        The results of all rows, in their order, on every rank.

    Raises:
        BaseException: what `work` raised, after all other ranks were told.
    """
    found: Results = []
    error: Exception | None = None
    try:
        done = file.done() if file else {}
        mine = examples[rank::world]
        found = [done[e.idx] for e in mine if e.idx in done]
        for results in work([e for e in mine if e.idx not in done], len(found)):
            found += results
            if file:
                file.write(results)
    except Exception as problem:  # every rank must come to the gathering
        error = problem
    finally:
        if file:
            file.close()
    everything = {row["idx"]: row for row in gather(found, error, world)}
    ordered = [
        {name: value for name, value in everything[e.idx].items() if name not in _OF_THE_RUN}
        for e in examples
    ]
    if file and rank == 0:
        file.finish(ordered)
    wait(world)  # whoever runs next must find the file whole
    return ordered
