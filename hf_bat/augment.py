"""Augment rows with edited copies that keep the label or have a new label from a rule."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from hf_bat.console import track
from hf_bat.counterfactual.rules import RuleSet
from hf_bat.data import prepare_dataset
from hf_bat.errors import HfBatError, check_integer
from hf_bat.files import make_folder, push_dataset, write_atomically
from hf_bat.perturbations.base import Perturbation, Texts
from hf_bat.perturbations.sampler import COUNTERFACTUAL, DrawSource
from hf_bat.tasks import Task, get_task
from hf_bat.text import escape_markdown
from hf_bat.version import __version__

if TYPE_CHECKING:
    from datasets import Dataset

ROWS_FILE = "data.jsonl"
ORIGINAL = "original"
_CARD = Path(__file__).parent / "templates" / "augmented_card.md"
# Number of retries if the draw repeats the row or an earlier copy.
_ATTEMPTS = 3


@dataclass(frozen=True)
class AugmentedRows:
    """Rows and their edited copies.

    Args:
        rows: Rows with the text columns of the task, `label`, `idx`, `original_idx` (the `idx` of the
            edited row, or `None` for an original row) and `edit` ("original", the perturbation's name, or
            "rule:" and the rule's name).
        task: The task.
        about: Description of how the rows were made, ready for JSON.

    Example:
        >>> from hf_bat.perturbations import SynonymPerturbation
        >>> data = [{"text": "A big dog.", "label": "good"}, {"text": "A cat.", "label": "bad"}]
        >>> task = Task("mood", ("text",), ("bad", "good"))
        >>> augmented = augment_rows(data, task, [SynonymPerturbation({"dog": ["hound"]})])
        >>> augmented.rows["text"][:], augmented.rows["original_idx"][:]
        (['A big dog.', 'A big hound.', 'A cat.'], [None, 0, None])
    """

    rows: Dataset
    task: Task
    about: dict[str, Any]

    def count(self) -> dict[str, Counter[str]]:
        """Count the rows as a dict of edit -> label name -> number."""
        names = self.rows.features["label"].names
        counts: dict[str, Counter[str]] = {}
        for edit, label in zip(self.rows["edit"][:], self.rows["label"][:], strict=True):
            counts.setdefault(edit, Counter())[names[label]] += 1
        return counts

    def save(self, folder: str | Path, repo: str = "OWNER/NAME") -> list[Path]:
        """Save the rows as JSON Lines, with label names, and a card. Return the paths of the files.

        The file of rows can be used as `--train_file`, and the folder with `datasets.load_dataset`.
        """
        names = self.rows.features["label"].names
        lines = [
            json.dumps({**row, "label": names[row["label"]]}, ensure_ascii=False) + "\n"
            for row in self.rows
        ]
        folder = make_folder(folder)
        return [
            write_atomically(folder / ROWS_FILE, "".join(lines)),
            write_atomically(folder / "README.md", self.write_card(repo)),
        ]

    def write_card(self, repo: str) -> str:
        """Write the card of the data set `repo`."""
        names = self.rows.features["label"].names
        counts = self.count()
        titles = map(escape_markdown, ["edit", *names])
        lines = [f"| {' | '.join(titles)} |", f"|---|{'---:|' * len(names)}"]
        for edit, by_label in counts.items():
            cells = [escape_markdown(edit), *(f"{by_label[name]:,}" for name in names)]
            lines.append(f"| {' | '.join(cells)} |")
        originals = sum(counts.get(ORIGINAL, Counter()).values())
        return Template(_CARD.read_text(encoding="utf-8")).substitute(
            # For the YAML of the card, where other characters have a special meaning.
            name=re.sub(r"[^\w .-]", "?", self.task.name)[:60],
            repo=repo,
            originals=f"{originals:,}",
            edited=f"{len(self.rows) - originals:,}",
            counts="\n".join(lines),
            about=json.dumps(self.about, indent=2, ensure_ascii=False),
        )

    def push_to_hub(
        self, repo_id: str, *, private: bool | None = None, token: str | None = None
    ) -> str:
        """Upload the rows and their card to a data set on the Hub.

        Args:
            repo_id: `OWNER/NAME`. The data set is created if it does not exist.
            private: Whether a new data set is private. If `None`, the owner's default is used.
            token: Access token. If `None`, the token from `hf auth login` is used.

        Returns:
            The address of the uploaded version.

        Raises:
            HfBatError: If the upload fails.
        """
        write = partial(_write, self)
        return push_dataset(
            write, repo_id, "rows", private=private, token=token, commit_message="Augmented rows"
        )


def _write(augmented: AugmentedRows, repo: str, folder: Path) -> None:
    augmented.save(folder, repo)


def is_augmented(folder: Path) -> bool:
    """Return whether `AugmentedRows.save` wrote this folder. The beginning of its card tells."""
    start, _, _ = _CARD.read_text(encoding="utf-8").partition("$")
    try:
        return (folder / "README.md").read_bytes().startswith(start.encode())
    except OSError:
        return False


def augment_rows(
    rows: Any,
    task: str | Task,
    perturbations: Sequence[Perturbation] = (),
    rules: RuleSet | None = None,
    *,
    copies: int = 1,
    keep_originals: bool = True,
    seed: int = 0,
) -> AugmentedRows:
    """Add edited copies to rows. A row and its copies never contain the same text twice.

    Args:
        rows: A `datasets.Dataset` or dicts with the task's columns, labels and optionally `idx`.
        task: The task, or its name.
        perturbations: Fickle perturbations. Each one makes up to `copies` copies of each row with the
            same label.
        rules: Rules for labeled edits, from `hf_bat.counterfactual.build_rules`. Together they make up
            to `copies` copies of each row, with the label given by the rule.
        copies: Maximum number of copies. Defaults to 1.
        keep_originals: Whether to keep the original rows. Defaults to `True`.
        seed: Seed of the draws, which also depend on each row's `idx`. Defaults to 0.

    Returns:
        The rows, each followed by its copies.

    Raises:
        HfBatError: If there is nothing to add, a perturbation is obstinate, or rows are invalid.

    Example:
        >>> from hf_bat.perturbations import CharacterPerturbation
        >>> row = {"premise": "A dog runs.", "hypothesis": "An animal moves quickly.", "label": 0}
        >>> augmented = augment_rows([row], "snli", [CharacterPerturbation()], copies=3)
        >>> augmented.rows["edit"][:]
        ['original', 'typo', 'typo', 'typo']
    """
    from datasets import ClassLabel, Dataset, Features, Value

    task = get_task(task)
    if check_integer("copies", copies) < 1:
        raise HfBatError(f"copies must be at least 1; got {copies}")
    if not perturbations and rules is None:
        raise HfBatError("nothing to add: pass perturbations, rules, or both")
    for perturbation in perturbations:
        if perturbation.kind != "fickle":
            raise HfBatError(
                f"{perturbation.name!r} is obstinate: its edits should change the label, but the new label "
                "is unknown; use rules"
            )
    prepared = prepare_dataset(rows, task, None, "rows")
    names = prepared.features["label"].names
    if rules is not None:
        rules = rules.keep_labeled()
        rules.prepare((tuple(row[c] for c in task.columns), row["label"]) for row in prepared)
    following = count(max(prepared["idx"][:]) + 1)
    made: list[dict[str, Any]] = []
    for row in track(prepared, "augmenting", "row", len(prepared)):
        texts, label, idx = tuple(row[c] for c in task.columns), row["label"], row["idx"]
        if keep_originals:
            made.append(_make_row(task, texts, label, idx, None, ORIGINAL))
        seen = {texts}
        for copy, copy_label, edit in _draw_copies(row, texts, perturbations, rules, copies, seed):
            if copy not in seen:
                seen.add(copy)
                made.append(_make_row(task, copy, copy_label, next(following), idx, edit))
    if not made or all(row["edit"] == ORIGINAL for row in made):
        raise HfBatError("no row has an edit: use other perturbations, rules or tables")
    features = Features(
        {column: Value("string") for column in task.columns}
        | {"label": ClassLabel(names=names), "idx": Value("int64")}
        | {"original_idx": Value("int64"), "edit": Value("string")}
    )
    about: dict[str, Any] = {
        "task": task.name,
        "hf_bat_version": __version__,
        "seed": seed,
        "copies": copies,
        "perturbations": [perturbation.describe() for perturbation in perturbations],
    }
    if rules is not None:
        about |= {"rules": rules.shares, "held_out_pairs": rules.held_out}
    return AugmentedRows(Dataset.from_list(made, features=features), task, about)


def _make_row(
    task: Task, texts: Texts, label: int, idx: int, original_idx: int | None, edit: str
) -> dict[str, Any]:
    row: dict[str, Any] = dict(zip(task.columns, texts, strict=True))
    return row | {"label": label, "idx": idx, "original_idx": original_idx, "edit": edit}


def _draw_copies(
    row: Mapping[str, Any],
    texts: Texts,
    perturbations: Sequence[Perturbation],
    rules: RuleSet | None,
    copies: int,
    seed: int,
) -> Iterator[tuple[Texts, int, str]]:
    """Yield the copies of the row, with their labels and edits."""
    for stream, perturbation in enumerate(perturbations):
        drawn: dict[Texts, None] = {}
        for attempt in range(_ATTEMPTS * copies):
            if len(drawn) == copies:
                break
            # A draw may keep all words even if some can change.
            copy = perturbation.sample(texts, DrawSource(seed, stream, row["idx"], attempt))
            if copy is not None and copy != texts:
                drawn[copy] = None
        yield from ((copy, row["label"], perturbation.name) for copy in drawn)
    pairs: dict[Texts, tuple[Texts, int, str]] = {}
    for attempt in range(_ATTEMPTS * copies if rules is not None else 0):
        assert rules is not None  # for mypy
        source = DrawSource(seed, attempt, row["idx"], COUNTERFACTUAL)
        pair = rules.draw(texts, row["label"], source)
        if len(pairs) == copies:
            break
        if pair is not None and pair.texts != texts:
            made = pair.texts, rules.labels[pair.label], f"rule:{pair.rule}"
            pairs.setdefault(pair.texts, made)
    yield from pairs.values()
