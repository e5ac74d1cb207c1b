"""Count the queries of a synonym attack by purpose, and those saved by another order of the words.

    python benchmarks/count_questions.py --model DIR --data dev.jsonl.gz --synonyms TABLE --rows 200

The search ranks the words of each row (with one query per word), and then queries the replacements of each
word in that order. The order only matters if a replacement was kept. For other rows, the ranking could be
left out, but this is not known in advance.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from typing import Any

from common import add_data_arguments

from hf_bat.attack import Attack, search
from hf_bat.tasks import load_split


def main() -> None:
    """Attack the rows and print the counts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_data_arguments(parser)
    parser.add_argument("--synonyms", help="table (default: the bundled one)")
    parser.add_argument("--rows", type=int, default=200)
    args = parser.parse_args()
    counts: Counter[str] = Counter()
    rank_places, score = search.rank_places, search.Problem.score_candidates
    search_greedily = search.search_greedily

    def count_ranking(problem: Any, places: list[Any]) -> Iterator[Any]:
        problem.questions = len(places) if len(places) > 1 else 0
        counts["ranking"] += problem.questions
        return (yield from rank_places(problem, places))

    def count_replacements(problem: Any, grown: list[Any]) -> Iterator[Any]:
        answers = yield from score(problem, grown)
        counts["replacements"] += len(answers)
        problem.is_kept = getattr(problem, "is_kept", False) or grown[0][0] is not problem.start
        return answers

    def count_row(problem: Any) -> Iterator[Any]:
        yield from search_greedily(problem)
        counts["rows attacked"] += 1
        if problem.state is None and not getattr(problem, "is_kept", False):
            counts["rows where the order cannot matter"] += problem.questions > 0
            counts["their ranking"] += problem.questions

    search.rank_places, search.Problem.score_candidates = count_ranking, count_replacements
    search.SEARCHES["greedy"] = count_row
    attack = Attack("synonym", args.model, task=args.task, synonyms=args.synonyms, progress=False)
    report = attack.run(list(load_split(args.data))[: args.rows])
    counts["unedited"] = len(report.rows[attack.name])
    asked = counts["unedited"] + counts["ranking"] + counts["replacements"]
    for name, count in counts.items():
        print(f"{name}: {count:,}")
    print(
        f"all questions over those without any ranking: {asked / (asked - counts['ranking']):.2f}"
    )
    print(
        f"all questions over those without needless ranking: {asked / (asked - counts['their ranking']):.3f}"
    )


if __name__ == "__main__":
    main()
