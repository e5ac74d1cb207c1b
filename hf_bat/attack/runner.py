"""`Attack`, which combines a recipe and a model and runs over rows.

`Attack.run` passes the searches of its rows to the engine. Each row's search, `Attack._attack_row`,
requests the prediction and continues with the recipe's search (`hf_bat.attack.search`). The outcome is an
`AttackResult`.
"""

from __future__ import annotations

import hashlib
import json
import logging
import random
from collections import Counter as Tally
from collections.abc import Generator, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import eq
from pathlib import Path
from typing import Any

from hf_bat.attack.answers import NO_ANSWER, explain_missing
from hf_bat.attack.engine import Counter, Embed, Engine, Request, Score
from hf_bat.attack.goals import select_kept
from hf_bat.attack.judge import JudgedValidity, as_validity
from hf_bat.attack.models import as_classifier
from hf_bat.attack.ranks import gather, rank_and_world
from hf_bat.attack.recipes import Recipe, get_recipe, hash_description
from hf_bat.attack.report import AttackReport, list_warnings, marks_of, summarize
from hf_bat.attack.result import AttackResult, TriedEdit, count_changed_words
from hf_bat.attack.rows import (
    Example,
    RowsFile,
    fingerprint,
    name_label,
    read_examples,
    run_rows,
)
from hf_bat.attack.search import SEARCHES, Problem
from hf_bat.attack.window import Window
from hf_bat.data import find_labels, open_rows
from hf_bat.errors import HfBatError
from hf_bat.labels import LabelMap, reconcile_labels
from hf_bat.lexicon.table import SubstitutionTable, TableSource
from hf_bat.perturbations import SplitPerturbation
from hf_bat.perturbations.base import Texts
from hf_bat.perturbations.validity import LabelValidity, get_inference_names
from hf_bat.tasks import Task, get_task
from hf_bat.text import remove_marks
from hf_bat.version import __version__

logger = logging.getLogger(__name__)


class Attack:
    """An attack on a classifier, which runs a recipe with batched queries.

    Args:
        recipe: A name for `get_recipe`, such as "antonym" or "paper-synonym", or a `Recipe`.
        model: A transformers sequence classifier, its folder or Hub id, or a `TransformersModel` or other
            `Classifier`. It can also be a function that takes a list of inputs (tuples of two texts, or
            strings for tasks with one text) and returns (n, labels) probabilities.
        tokenizer: The model's tokenizer. If `None`, it is loaded from the model's path.
        task: The task of the rows, or its name. Defaults to "snli".
        synonyms: A table, its path, or "wordnet". Defaults to the bundled counter-fitted neighbors.
        antonyms: A table or its path. Defaults to the bundled lexicon.
        batch_size: Maximum number of inputs in a forward pass. Defaults to 32 on a CPU and 256 on a GPU.
        device: Device of a transformers model. If `None`, the model is not moved, and a path is loaded on the
            first GPU.
        dtype: "float32" (default), or "bfloat16" or "float16" with autocast.
        seed: Seed of the random ranking. Defaults to 0.
        progress: Whether to show a progress bar. By default, it is only shown on a terminal.
        label_filter: Whether to mark the edits of an obstinate attack that likely change the label, and
            report figures for them and for the other edits separately (`label_valid`, `label_invalid`). It
            can be `True` for a rule with the bundled lexicon, a `LabelValidity`, an inference model (a path,
            a model with its tokenizer in an `InferenceJudge`, or a pipeline), or a function, see
            `JudgedValidity`. It does not change which edits are tried or the other figures.
        **options: Other arguments of `get_recipe`: `encoder`, `part_of_speech`, `budget`, `skip_columns`,
            `skip_labels`, `max_length`, ...

    Raises:
        HfBatError: If a name is unknown, a model or table cannot be loaded, or options are incompatible.

    Example:
        >>> def model(pairs):
        ...     return [[0.9, 0.1] if "hot" in " ".join(pair) else [0.2, 0.8] for pair in pairs]
        >>> attack = Attack("antonym", model, task="qqp", antonyms={"hot": ["cold"]})
        >>> rows = [
        ...     {"question1": "Is it hot?", "question2": "Is it a hot day?", "label": 0},
        ...     {"question1": "Is it warm?", "question2": "Is it cold?", "label": 1},
        ... ]
        >>> report = attack.run(rows)
        >>> report["antonym"]["skipped_reasons"], report["antonym"]["attackable"]
        ({'label skipped': 1}, 0.0)
    """

    def __init__(
        self,
        recipe: str | Recipe,
        model: Any,
        tokenizer: Any = None,
        task: str | Task = "snli",
        *,
        synonyms: TableSource | None = None,
        antonyms: TableSource | None = None,
        batch_size: int | None = None,
        device: Any = None,
        dtype: str = "float32",
        seed: int = 0,
        progress: bool | None = None,
        label_filter: Any = False,
        **options: Any,
    ):
        self.task = get_task(task)
        self.recipe = get_recipe(recipe, synonyms=synonyms, antonyms=antonyms, **options)
        self.model = as_classifier(model, tokenizer, self.recipe.max_length, device, dtype)
        self.batch_size, self.seed, self.progress = batch_size, seed, progress
        self.name = self.recipe.key
        # During the search, the row's texts have marks between the splitter's words.
        edits = self.recipe.perturbation
        self._split = edits if isinstance(edits, SplitPerturbation) else None
        self.validity = _choose_filter(label_filter, self.recipe)
        # Compute the names once, because a description may hash a table.
        self._rule_names = [
            str(rule.describe().get("constraint", type(rule).__name__))
            for rule in self.recipe.constraints
        ]
        unknown = [c for c in self.recipe.skip_columns if c not in self.task.columns]
        if unknown:
            raise HfBatError(
                f"skip_columns: task {self.task.name!r} has no column {unknown[0]!r}; "
                f"it has: {', '.join(self.task.columns)}"
            )
        # This raises an error if the perturbation does not support this number of texts.
        self.recipe.perturbation.candidates(("",) * len(self.task.columns))
        # Raise an error for unknown labels to skip now, before the rows are loaded.
        self._read_labels(reconcile_labels(self.task, self.model.config))

    def run(
        self,
        rows: Iterable[Mapping[str, Any]] | str | Path,
        rows_file: str | Path | None = None,
        max_samples: int | None = None,
        replace: bool = False,
        known: dict[Hashable, Any] | None = None,
        row_choice: str = "even",
    ) -> AttackReport:
        """Attack rows.

        In a distributed run, every rank calls this method with all rows, attacks its share, and returns the
        full report.

        Args:
            rows: A `datasets.Dataset`, a data frame, a dict of columns, a file that `hf_bat.tasks.load_split`
                reads, or dicts with the task's columns, its label and, if available, a unique `idx`.
            rows_file: JSON Lines file to stream the results to. Rows that are already in the file for the
                same recipe, model, data and label mapping are not attacked again.
            max_samples: Maximum number of rows, including rows with a wrong prediction. Defaults to all rows.
            replace: Whether to overwrite a rows file with a different recipe, model, data or label mapping
                instead of raising an error. Defaults to `False`.
            known: A dict that is shared by attacks on the same model with unchanged weights. It caches the
                predictions for the unedited rows, so the model is only queried once for them.
            row_choice: The rows that `max_samples` keeps. "even" (default) spreads them evenly over all rows,
                because the rows of a file are often sorted by class. "first" keeps the first rows.

        Returns:
            The report, including all rows.

        Raises:
            HfBatError: If rows are damaged, the rows file belongs to another run, or the model's answers are
                not probabilities.
        """
        rows = open_rows(rows, self.task)
        examples = read_examples(rows, self.task, self.model.config, max_samples, row_choice)
        labels = self._read_labels(find_labels(rows, self.task, self.model.config)[1])
        self.model.name_labels(labels.map.model_names)
        engine = Engine(self.model, self.batch_size, known=known)
        file = None
        if rows_file is not None:
            identity = self._identify_run(examples, labels)
            marks = marks_of(self.model.disclosed())
            file = RowsFile(rows_file, self.name, identity, replace, marks)
        results = run_rows(
            examples,
            engine,
            partial(self._attack_row, labels),
            AttackResult.from_dict,
            file,
            self.name,
            "succeeded",
            self.recipe.budget,
            self.progress,
        )
        return self._report(results, labels, engine.meter.sum_over_ranks())

    def attack_texts(self, *texts: str, label: int | str | None = None) -> AttackResult:
        """Attack one input.

        Args:
            texts: The texts of the input.
            label: The gold label, as a name or the data's number. Defaults to the model's prediction.
        """
        if len(texts) != len(self.task.columns):
            raise HfBatError(
                f"task {self.task.name!r} has {len(self.task.columns)} texts "
                f"({', '.join(self.task.columns)}); got {len(texts)}"
            )
        labels = self._read_labels(reconcile_labels(self.task, self.model.config))
        self.model.name_labels(labels.map.model_names)
        gold = None if label is None else labels.map.read_label(label, "the text")
        reason = None if all(text.strip() for text in texts) else "empty text"
        search = partial(self._attack_row, labels, Example(0, texts, gold, reason))
        engine = Engine(self.model, self.batch_size)
        [result] = [r for results in engine.run([(search, self.recipe.budget)]) for r in results]
        return result

    def _read_labels(self, labels: LabelMap) -> _Labels:
        names = self.recipe.skip_labels
        if names is None:
            names = self.task.skipped_labels if self.recipe.goal.kind == "obstinate" else ()
        skipped = {name: labels.find_label(name, "skip_labels") for name in names}
        for name, label in skipped.items():
            if label is None:
                known = ", ".join(labels.data_names) or "they have no names (--label-names)"
                raise HfBatError(f"skip_labels: no label {name!r}; labels: {known}")
        return _Labels(labels, frozenset(label for label in skipped.values() if label is not None))

    def _identify_run(self, examples: Sequence[Example], labels: _Labels) -> dict[str, str | None]:
        """Return the hashes that each line of a rows file must match to resume the run."""
        validity = self.validity
        # Outcomes depend on the skipped labels and on the label names that the filter uses.
        indices = range(len(labels.map.model_names))
        names = [labels.find_inference_name(i) for i in indices] if validity else None
        reading = json.dumps([sorted(labels.skipped), names])
        identity = {
            "recipe": self.recipe.hash[:16],
            # A function may use the number of its rank, so take the identity of the first rank.
            "model": gather([self.model.identity])[0][:16],
            "data": fingerprint(examples)[:16],
            # Also include `None`, so runs without a filter do not resume rows from runs with a filter.
            "label_filter": hash_description(validity.describe())[:16] if validity else None,
            "label_reading": hashlib.sha256(reading.encode()).hexdigest()[:16],
        }
        return identity | ({"seed": str(self.seed)} if self.recipe.ranking == "random" else {})

    def _attack_row(
        self, labels: _Labels, example: Example, counter: Counter
    ) -> Generator[Request, Any, AttackResult]:
        """Attack one row. The engine runs this generator.

        If a row has no label and no reason to be skipped, its prediction is used as the gold label.
        """
        texts = example.texts if self._split is None else self._split.mark(example.texts)
        result = AttackResult(
            idx=example.idx,
            attack=self.name,
            outcome="skipped",
            outcome_confident="skipped" if self.recipe.goal.kind == "obstinate" else None,
            reason=example.reason,
            original=list(example.texts),
            label=example.label,
            label_name=name_label(example.label, labels.map.model_names),
            words=sum(len(text.split()) for text in texts),
        )
        if example.reason is not None:
            return result
        # Cache the answers, because all attacks on a model need the predictions for the unedited rows.
        answers = yield Score([example.texts], keep=True)
        result.queries = counter.queries
        if not len(answers):
            result.reason = "no query budget"
            return result
        result.reason = explain_missing(answers[0])
        if result.reason is not None:
            return result
        result.predicted = int(answers[0].argmax())
        label = result.predicted if example.label is None else example.label
        # The labels of a function cannot be checked earlier, because it has no configuration.
        if not 0 <= label < answers.shape[1]:
            raise HfBatError(
                f"row {example.idx} has label {label}, but the model returns {answers.shape[1]} "
                "probabilities (labels from 0)"
            )
        result.label, result.label_name = label, name_label(label, labels.map.model_names)
        result.gold_before = float(answers[0, label])
        if not select_kept(answers, label)[0]:
            result.reason = "misclassified"
        elif label in labels.skipped:
            result.reason = "label skipped"
        else:
            yield from self._search(example, texts, label, labels, result)
        result.queries = counter.queries
        return result

    def _search(
        self, example: Example, texts: Texts, label: int, labels: _Labels, result: AttackResult
    ) -> Generator[Request, Any, None]:
        """Search for an adversarial input and store the outcome in the result.

        `texts` are the texts of the example, with the marks of a splitter.
        """
        recipe = self.recipe
        assert result.gold_before is not None  # for mypy
        window = Window.of(self.model, texts)
        problem = Problem(
            texts=window.texts,
            label=label,
            gold_before=result.gold_before,
            perturbation=recipe.perturbation if self._split is None else self._split.perturbation,
            goal=recipe.goal,
            constraints=recipe.constraints,
            ranking=recipe.ranking,
            beam_width=recipe.beam_width,
            columns=tuple(column not in recipe.skip_columns for column in self.task.columns),
            visible=window.visible,
            # Use the idx as seed, so the ranking does not depend on the order of rows or on resuming.
            rng=random.Random(f"{self.seed}:{example.idx}"),
            unk=self.model.unk,
        )
        yield from SEARCHES[recipe.search](problem)
        problem.settle()
        # If answers are missing, only the success of a fickle attack is certain.
        if problem.failed and not (problem.succeeded and recipe.goal.kind == "fickle"):
            result.reason = NO_ANSWER
            return
        result.outcome = "succeeded" if problem.succeeded else "failed"
        if recipe.goal.kind == "obstinate":
            result.outcome_confident = "succeeded" if problem.confident else "failed"
        result.listed, result.allowed = problem.listed, problem.allowed
        refused: Tally[str] = Tally()
        for number, count in problem.refused.items():
            refused[self._rule_names[number]] += count
        result.refused = {name: refused[name] for name in sorted(refused) if refused[name]}
        result.candidates, result.beyond_cut = problem.candidates, problem.beyond_cut
        result.kept, result.raised = problem.kept, problem.raised
        result.abstained = problem.abstained or None
        result.exhausted = problem.exhausted
        # Other searches edit texts that are already edited, which a list of word pairs cannot describe.
        if recipe.search == "exhaustive":
            result.tried = self._list_tried(problem, labels, result)
            if self.validity is not None:
                valid = result.restrict(True)
                result.outcome_valid = valid.outcome
                result.outcome_valid_confident = valid.outcome_confident
        if problem.state is None or problem.answer is None:
            return
        texts = tuple(map(remove_marks, window.restore(problem.state.texts)))
        result.perturbed = list(texts)
        result.edits = [
            {
                "sentence": edit.sentence,
                "position": edit.position + window.starts[edit.sentence],
                "original": edit.original,
                "replacement": edit.replacement,
            }
            for edit in problem.state.edits
        ]
        result.gold_after = float(problem.answer[label])
        result.predicted_after = int(problem.answer.argmax())
        result.words_changed = count_changed_words(window.texts, problem.state.texts)
        # Compare the entire inputs, not the window of the constraint, so reports are comparable.
        encoder = next((rule.encoder for rule in recipe.constraints if rule.encoder), None)
        if encoder is not None:
            before, after = yield Embed(encoder, ["\n".join(example.texts), "\n".join(texts)])
            result.similarity = float(before @ after)

    def _list_tried(
        self, problem: Problem, labels: _Labels, result: AttackResult
    ) -> list[TriedEdit]:
        """List the tried edits with the marks of the label filter."""
        valid: Sequence[int | None] = [None] * len(problem.tried)
        if self.validity is not None:
            edits = [edit for edit, _, _ in problem.tried]
            name = labels.find_inference_name(problem.label)
            if isinstance(self.validity, JudgedValidity):
                by_rule = self.validity.judge_by_rule(problem.texts, edits, name)
                # A judge may also support the labels of other tasks.
                name = labels.map.get_data_name(problem.label)
            valid = list(map(int, self.validity.passing(problem.texts, edits, name)))
            if isinstance(self.validity, JudgedValidity):
                result.rule_agrees = sum(map(eq, valid, by_rule))
        return [
            TriedEdit(edit.original, edit.replacement, int(kept), int(raised), passes)
            for (edit, kept, raised), passes in zip(problem.tried, valid, strict=True)
        ]

    def _report(
        self, results: list[AttackResult], labels: _Labels, cost: Mapping[str, float]
    ) -> AttackReport:
        # Use the data's label names, because the names of two models may differ in case.
        names = labels.map.model_names
        skipped = (labels.map.get_data_name(i) or name_label(i, names) for i in labels.skipped)
        recipe = {
            **self.recipe.describe(),
            "hash": self.recipe.hash,
            "skipped_labels": sorted(filter(None, skipped)),
        }
        summary = summarize(results, self.recipe.goal.kind, recipe, self.validity)
        table = getattr(self.recipe.perturbation, "table", None)
        if isinstance(table, SubstitutionTable) and table:
            name = table.metadata.get("built", "own table")
            summary["table"] = {"name": name, "fingerprint": table.fingerprint}
        columns = list(self.task.columns)
        summary["warnings"] = list_warnings(summary, self.recipe.goal.kind, self.name, len(columns))
        if rank_and_world()[0] == 0:
            for line in summary["warnings"]:
                logger.warning("%s: %s", self.name, line)
        about = {
            "model": self.model.name,
            **self.model.about(),
            **self.model.disclosed(),
            "task": self.task.name,
            "columns": columns,
            "hf_bat_version": __version__,
            "cost": {self.name: dict(cost)},
        }
        return AttackReport({self.name: summary}, {self.name: results}, about)


@dataclass(frozen=True)
class _Labels:
    """The label mapping for the rows, and the model's labels that are skipped."""

    map: LabelMap
    skipped: frozenset[int]

    def find_inference_name(self, label: int) -> str | None:
        """Return the data's name of the label for the label filter, or `None` if not an inference task."""
        return self.map.get_data_name(label) if get_inference_names(self.map.data_names) else None


def _choose_filter(label_filter: Any, recipe: Recipe) -> LabelValidity | None:
    """Return the label filter of an attack, or `None` for fickle attacks, which should keep the label."""
    if label_filter is False or recipe.goal.kind != "obstinate":
        return None
    if recipe.search != "exhaustive":
        raise HfBatError(
            f"the label filter needs a search that tries every edit, but {recipe.name} uses {recipe.search} "
            "search: use exhaustive search or leave the filter out"
        )
    return as_validity(label_filter)
