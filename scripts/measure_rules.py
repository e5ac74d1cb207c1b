"""Measure how often the rules of counterfactual training agree with labels by people.

Rows labeled by people are compared with the output of the rules in two ways: pairs of sentences that a
rule makes from one of them (self_pair, drop, generalize, exchange), and two rows with a common sentence
if one is entailed and a rule makes the other (swap, detail, unsupported, aligned_edit). Rules for paraphrases
are also measured on inference rows, where "entailment" counts as "same" and the other labels as "different".
The script prints a Markdown table, and with --show also pairs where people disagree with a rule.

    python scripts/measure_rules.py --data $HF_BAT_DATA
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from hf_bat import get_task
from hf_bat.counterfactual.base import NOT_ENTAILMENT
from hf_bat.counterfactual.inference import ENTAILMENT
from hf_bat.counterfactual.rules import RULES, Resources, RuleSet, build_rules, read_labels
from hf_bat.perturbations import build_perturbations
from hf_bat.perturbations.base import Texts
from hf_bat.stats import Share
from hf_bat.tasks import Task

EDITS_OF_ROWS = ("swap", "opposite", "detail", "unsupported", "aligned_edit", "duplicate_edit")
# Suite -> files and task.
SUITES = {
    "lexical_contrast": (["lexical_contrast/validation"], "snli"),
    "snli_contrast": (["snli_contrast/validation"], "snli"),
    "snli": (["snli/train", "snli/validation"], "snli"),
    "mnli": (["mnli/train", "mnli/validation_matched"], "mnli"),
    "sick": (["sick/train", "sick/validation", "sick/test"], "sick"),
    "qqp": (["qqp/train", "qqp/validation"], "qqp"),
    "mrpc": (["mrpc/train", "mrpc/validation"], "mrpc"),
}
PARAPHRASES = get_task("qqp")
Key = tuple[str, ...]


def read_rows(folder: Path, files: Iterable[str]) -> Iterator[dict[str, object]]:
    for name in files:
        with gzip.open(folder / f"{name}.jsonl.gz", "rt", encoding="utf-8") as file:
            yield from map(json.loads, file)


def list_suites(
    folder: Path, suites: Iterable[str]
) -> Iterator[tuple[str, Task, list[tuple[Texts, int]]]]:
    """Yield the name, the task and the rows of each suite, and of inference suites again as paraphrases."""
    for suite in suites:
        files, name = SUITES[suite]
        task = get_task(name)
        rows = [
            (tuple(str(row[column]) for column in task.columns), int(str(row["label"])))
            for row in read_rows(folder, files)
        ]
        yield suite, task, rows
        if ENTAILMENT in task.label_names:
            entailed = task.label_names.index(ENTAILMENT)
            mapped = [(texts, int(label == entailed)) for texts, label in rows]
            yield f"{suite} as paraphrases", PARAPHRASES, mapped


def normalize(texts: Texts) -> Key:
    return tuple(" ".join(re.sub(r"[^\w' ]", " ", text.lower()).split()) for text in texts)


def may_be_edit(first: str, second: str) -> bool:
    """Return whether few words differ or one sentence contains the other's words, so a rule may apply."""
    one, two = set(first.split()), set(second.split())
    return len(one ^ two) <= 6 or one <= two or two <= one


def compare(
    rules: RuleSet, rows: list[tuple[Texts, int]], names: tuple[str, ...]
) -> dict[tuple[str, str, str], list[tuple[bool, str, Texts]]]:
    """Return (rule, label, kind) -> whether the label agrees, the label by people and the texts per pair."""
    results = defaultdict(list)
    # Rules that edit a row and may produce another row, and rules that only need one sentence.
    of_rows = [rule for rule in rules.rules if rule.name in EDITS_OF_ROWS]
    of_sentences = [rule for rule in rules.rules if rule.name not in EDITS_OF_ROWS]
    siblings: dict[str, list[tuple[Key, Texts, int]]] = defaultdict(list)
    for texts, label in rows:
        key = normalize(texts)
        for sentence in set(key):
            siblings[sentence].append((key, texts, label))
        if may_be_edit(*key):
            hits = {
                (pair.rule, pair.label, pair.kind)
                for rule in of_sentences
                for pair in rule.list_pairs(texts, rules.names[label] or "")
                if normalize(pair.texts) == key
            }
            for name, given, kind in hits:
                agrees = given == rules.names[label]
                results[name, given, kind].append((agrees, names[label], texts))
    for texts, label in rows:
        others = {
            key: (text, gold)
            for sentence in normalize(texts)
            for key, text, gold in siblings[sentence]
            if key != normalize(texts)
        }
        if not others:
            continue
        for rule in of_rows:
            for pair in rule.list_pairs(texts, rules.names[label] or ""):
                made = normalize(pair.texts)
                # The label of a paraphrase does not depend on the order.
                orders = [made, made[::-1]] if rule.family == "paraphrase" else [made]
                match = next((others[order] for order in orders if order in others), None)
                if match is None:
                    continue
                text, gold = match
                gold_name = rules.names[gold]
                agrees = (
                    gold_name != ENTAILMENT
                    if pair.label == NOT_ENTAILMENT
                    else pair.label == gold_name
                )
                results[pair.rule, pair.label, pair.kind].append((agrees, names[gold], text))
    return results


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--suites", nargs="+", default=list(SUITES), choices=list(SUITES))
    parser.add_argument("--synonyms", help="table for fickle self-pairs (default: WordNet's)")
    parser.add_argument(
        "--show", type=int, default=0, metavar="N", help="show N disagreements of each kind"
    )
    options = parser.parse_args()
    fickle = build_perturbations(options.synonyms)[0] if options.synonyms else None
    print("| suite | rule | label | kind | pairs | with the rule's label | 95 % interval |")
    print("|---|---|---|---|---:|---:|---|")
    totals: dict[tuple[str, str, str], list[bool]] = defaultdict(list)
    for suite, task, rows in list_suites(options.data, options.suites):
        family, _, _ = read_labels(task, task.label_names)
        resources = Resources(fickle, build_perturbations()[1])
        # This includes rules that are off by default, because the results justify this choice.
        names = [name for name, make in RULES.items() if make(resources).family == family]
        rules = build_rules(task, task.label_names, fickle, names)
        rules.prepare(rows)
        for (rule, label, kind), outcomes in sorted(compare(rules, rows, task.label_names).items()):
            agreements = [agrees for agrees, _, _ in outcomes]
            print(f"| {suite} | {rule} | {label} | {kind} | {describe(agreements)} |", flush=True)
            # The sentences in SICK may not be about the same scene.
            group = (
                "SICK"
                if suite.startswith("sick")
                else "paraphrases"
                if suite in ("qqp", "mrpc")
                else "one scene"
            )
            totals[group, rule, label] += agreements
            wrong = [(gold, texts) for agrees, gold, texts in outcomes if not agrees]
            for gold, texts in wrong[: options.show]:
                print(f"    {gold}: {' || '.join(texts)}")
    print("\n| suites | rule | label | pairs | with the rule's label | 95 % interval |")
    print("|---|---|---|---:|---:|---|")
    for key, agreements in totals.items():
        print(f"| {' | '.join(key)} | {describe(agreements)} |")


def describe(agreements: list[bool]) -> str:
    share = Share(sum(agreements), len(agreements))
    assert share.rate is not None and share.interval is not None
    low, high = share.interval
    return f"{share.of} | {100 * share.rate:.1f} % | {100 * low:.1f} to {100 * high:.1f}"


if __name__ == "__main__":
    main()
