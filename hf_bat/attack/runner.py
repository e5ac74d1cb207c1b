"""`Attack`: a recipe and a model, ready to run over rows."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from hf_bat.attack.engine import Counter, Engine
from hf_bat.attack.goals import kept
from hf_bat.attack.models import CallableModel, Classifier
from hf_bat.attack.ranks import rank_and_world
from hf_bat.attack.recipes import Recipe, get_recipe
from hf_bat.attack.report import AttackReport, marks_of, summarize
from hf_bat.attack.requests import Embed, Request, Score
from hf_bat.attack.result import AttackResult, TriedEdit, count_changed_words
from hf_bat.attack.rows import Example, RowsFile, fingerprint, read_examples, run_rows
from hf_bat.attack.search import SEARCHES, Problem
from hf_bat.attack.similarity import SentenceEncoder, SentenceSimilarity
from hf_bat.console import open_bar
from hf_bat.data import find_labels
from hf_bat.errors import HfBatError
from hf_bat.labels import reconcile_labels
from hf_bat.lexicon.table import TableSource
from hf_bat.perturbations.validity import LabelValidity, get_inference_names
from hf_bat.tasks import Task, get_task


class Attack:
    """An attack on a classifier: a recipe searched by batched queries.

    Args:
        recipe: a name that `get_recipe` knows, such as "antonym" or "paper-synonym", or a `Recipe`.
        model: a transformers sequence classifier, the folder or Hub id of one, or a function from a
            list of inputs (tuples of two sentences; strings where the task has one) to (n, labels)
            probabilities; or one that is set up already, such as a `TransformersModel`.
        tokenizer: the model's tokenizer; loaded with a model given by path, not needed for a function.
        task: the rows' task, or its name: columns, labels, labels that obstinate attacks leave alone.
        synonyms: a table or the path of one; the bundled lexicon's where None.
        antonyms: likewise.
        batch_size: the most inputs in a forward pass; 32 on a processor, 256 on a GPU where None.
        device: where a transformers model runs; where it is, or the first GPU for a path, where None.
        dtype: "float32", or "bfloat16" or "float16" by autocast.
        seed: of the random ranking.
        progress: show a bar; only on a terminal where None.
        label_filter: note of each edit of an obstinate attack whether it likely changes the label, and
            report those edits apart too (`label_valid`, `label_invalid`); a `LabelValidity`, or True for
            the bundled lexicon's. It changes neither the edits that are tried nor the other figures.
        **options: what else `get_recipe` takes: `encoder`, `part_of_speech`, `budget`, `skip_columns`,
            `skip_labels`, `max_length`, ...

    Raises:
        HfBatError: an unknown name, a model or table that cannot be loaded, options that do not fit.

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
        label_filter: bool | LabelValidity = False,
        **options: Any,
    ):
        self.task = get_task(task)
        self.recipe = get_recipe(recipe, synonyms=synonyms, antonyms=antonyms, **options)
        self.model = as_classifier(model, tokenizer, self.recipe.max_length, device, dtype)
        self.batch_size, self.seed, self.progress = batch_size, seed, progress
        self.name = self.recipe.key
        self._validity = _choose_filter(label_filter, self.recipe)
        unknown = [c for c in self.recipe.skip_columns if c not in self.task.columns]
        if unknown:
            raise HfBatError(
                f"skip_columns: task {self.task.name!r} has no column {unknown[0]!r}; "
                f"it has: {', '.join(self.task.columns)}"
            )
        # An empty input has no edit; a perturbation that is not for so many sentences says so.
        self.recipe.perturbation.candidates(("",) * len(self.task.columns))
        self._labels = reconcile_labels(self.task, self.model.config)
        self._skipped = self._skipped_labels()
        self._encoder: SentenceEncoder | None = next(
            (r.encoder for r in self.recipe.constraints if isinstance(r, SentenceSimilarity)), None
        )

    def _skipped_labels(self) -> frozenset[int]:
        names = self.recipe.skip_labels
        if names is None:
            names = self.task.skipped_labels if self.recipe.goal.kind == "obstinate" else ()
        found = {name: self._labels.find_label(name, "skip_labels") for name in names}
        for name, label in found.items():
            if label is None:
                raise HfBatError(
                    f"skip_labels: no label {name!r}; labels: {', '.join(self._labels.data_names)}"
                )
        return frozenset(label for label in found.values() if label is not None)

    def run(
        self,
        rows: Iterable[Mapping[str, Any]],
        rows_file: str | Path | None = None,
        max_samples: int | None = None,
        replace: bool = False,
        known: dict[Hashable, Any] | None = None,
    ) -> AttackReport:
        """Attack rows.

        In a distributed run every rank calls this with all rows, attacks its share and gets the whole
        report.

        Args:
            rows: a `datasets.Dataset` or dicts with the task's columns, its label and, where they have
                one, a unique `idx`.
            rows_file: stream results to this JSON-lines file; rows that it already holds of the same
                recipe, model, data and reading of labels are not attacked again.
            max_samples: only the first so many rows, right or wrong.
            replace: write over a rows file of another recipe, model, data or reading of labels instead of
                refusing it.
            known: a dict that the attacks of one model, its weights unchanged, pass from one to the
                next: what it answers to the unedited rows is then asked once for all of them.

        Returns:
            The report, with every row.

        Raises:
            HfBatError: bad rows, a rows file of another run, a model whose answers are no
                probabilities.
        """
        if max_samples is not None and max_samples < 1:
            raise HfBatError(f"max_samples must be at least 1; got {max_samples}")
        examples = read_examples(rows, self.task, self.model.config, max_samples)
        if not examples:
            raise HfBatError("there are no rows to attack")
        _, self._labels = find_labels(rows, self.task, self.model.config)
        self._skipped = self._skipped_labels()
        rank, world = rank_and_world()
        engine = Engine(self.model, self.batch_size, known=known)
        file = self._rows_file(rows_file, examples, rank, world, replace)

        def work(mine: Sequence[Example], already: int) -> Iterator[list[AttackResult]]:
            return self._attack(mine, engine, rank, already)

        results = run_rows(examples, work, AttackResult.from_dict, file, rank, world)
        return self._report(results, engine.meter.of_all_ranks(world))

    def attack_texts(self, *texts: str, label: int | str | None = None) -> AttackResult:
        """Attack one input.

        Args:
            texts: its sentences.
            label: its gold label (a name, or the data's number); the model's prediction where None.

        Returns:
            The result.
        """
        if len(texts) != len(self.task.columns):
            raise HfBatError(
                f"task {self.task.name!r} has {len(self.task.columns)} texts "
                f"({', '.join(self.task.columns)}); got {len(texts)}"
            )
        gold = None if label is None else self._labels.read_label(label, "the text")
        reason = None if all(text.strip() for text in texts) else "empty text"
        search = partial(self._search, Example(0, texts, gold, reason), trust=gold is None)
        return next(
            row
            for rows in Engine(self.model, self.batch_size).run([(search, self.recipe.budget)])
            for row in rows
        )

    def _rows_file(
        self,
        path: str | Path | None,
        examples: Sequence[Example],
        rank: int,
        world: int,
        replace: bool,
    ) -> RowsFile | None:
        if path is None:
            return None
        setting: dict[str, str | None] = {
            "recipe": self.recipe.hash[:16],
            "model": self.model.identity[:16],
            "data": fingerprint(examples)[:16],
            # None too: rows with flags are not continued by a run that makes none.
            "label_filter": _hash(self._validity.describe())[:16] if self._validity else None,
            "label_reading": self._label_reading(),
        }
        if self.recipe.ranking == "random":
            setting["seed"] = str(self.seed)
        marks = marks_of(self.model.disclosed())
        return RowsFile(path, self.name, setting, rank, world, replace, marks)

    def _label_reading(self) -> str:
        """A hash of what outcomes depend on of the task: the labels left alone, and what the filter reads."""
        labels = range(len(self._labels.model_names))
        read = [self._inference_label(label) for label in labels] if self._validity else None
        text = json.dumps([sorted(self._skipped), read])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _attack(
        self, examples: Sequence[Example], engine: Engine, rank: int, already: int
    ) -> Iterator[list[AttackResult]]:
        searches = ((partial(self._search, e), self.recipe.budget) for e in examples)
        total = len(examples) + already
        show = False if rank else self.progress
        with open_bar(total, self.name, "row", show=show, initial=already) as bar:
            succeeded = attempted = 0
            for results in engine.run(searches):
                yield results
                attempted += sum(result.outcome != "skipped" for result in results)
                succeeded += sum(result.outcome == "succeeded" for result in results)
                if attempted:
                    bar.set_postfix(asr=f"{succeeded / attempted:.3f}", refresh=False)
                bar.update(len(results))

    def _search(
        self, example: Example, counter: Counter, trust: bool = False
    ) -> Generator[Request, Any, AttackResult]:
        """Attack one row: the generator that the engine runs; `trust` takes the prediction for gold."""
        result = AttackResult(
            idx=example.idx,
            attack=self.name,
            outcome="skipped",
            outcome_confident="skipped" if self.recipe.goal.kind == "obstinate" else None,
            reason=example.reason,
            original=list(example.texts),
            label=example.label,
            label_name=self._label_name(example.label),
            words=sum(len(text.split()) for text in example.texts),
        )
        if example.reason is not None and not (trust and example.reason == "no label"):
            return result
        answers = yield Score([example.texts], keep=True)
        result.queries = counter.queries
        if not len(answers):
            result.reason = "no query budget"
            return result
        result.predicted = int(answers[0].argmax())
        label = result.predicted if trust else example.label
        assert label is not None
        if not 0 <= label < answers.shape[1]:
            raise HfBatError(
                f"row {example.idx} has label {label}, and the model gives {answers.shape[1]} "
                "probabilities (labels from 0)"
            )
        result.label, result.label_name = label, self._label_name(label)
        result.gold_before = float(answers[0, label])
        if not kept(answers, label)[0]:
            result.reason = "misclassified"
        elif label in self._skipped:
            result.reason = "label skipped"
        else:
            result.reason = None
            yield from self._solve(example, label, result.gold_before, result)
        result.queries = counter.queries
        return result

    def _solve(
        self, example: Example, label: int, before: float, result: AttackResult
    ) -> Generator[Request, Any, None]:
        problem = Problem(
            example.texts,
            label,
            before,
            self.recipe,
            tuple(c not in self.recipe.skip_columns for c in self.task.columns),
            self.model.visible([example.texts])[0],
            random.Random(f"{self.seed}:{example.idx}"),
            self.model.unk,
        )
        yield from SEARCHES[self.recipe.search](problem)
        problem.settle()
        result.outcome = "succeeded" if problem.succeeded else "failed"
        if self.recipe.goal.kind == "obstinate":
            result.outcome_confident = "succeeded" if problem.confident else "failed"
        result.candidates, result.kept, result.raised = (
            problem.candidates, problem.kept, problem.raised
        )  # fmt: skip
        result.beyond_cut, result.exhausted = problem.beyond_cut, problem.exhausted
        if self.recipe.search == "exhaustive":
            result.tried = self._list_tried(problem, label)
            if self._validity is not None:
                valid = result.restrict(True)
                result.outcome_valid = valid.outcome
                result.outcome_valid_confident = valid.outcome_confident
        if problem.found is None:
            return
        texts = problem.found.texts
        result.perturbed = list(texts)
        result.edits = [_edit_dict(edit) for edit in problem.found.edits]
        result.gold_after, result.predicted_after = problem.gold_after, problem.predicted_after
        result.words_changed = count_changed_words(example.texts, texts)
        if self._encoder is not None:
            pair = ["\n".join(example.texts), "\n".join(texts)]
            one, other = yield Embed(self._encoder, pair)
            result.similarity = float(one @ other)

    def _list_tried(self, problem: Problem, label: int) -> list[TriedEdit]:
        valid: Sequence[int | None] = [None] * len(problem.tried)
        if self._validity is not None:
            edits = [edit for edit, _, _ in problem.tried]
            passing = self._validity.passing(problem.texts, edits, self._inference_label(label))
            valid = list(map(int, passing))
        return [
            TriedEdit(edit.original, edit.replacement, int(kept), int(raised), passes)
            for (edit, kept, raised), passes in zip(problem.tried, valid, strict=True)
        ]

    def _inference_label(self, label: int) -> str | None:
        names = get_inference_names(self._labels.data_names)
        return self._labels.get_data_name(label) if names else None

    def _label_name(self, label: int | None) -> str | None:
        names = self._labels.model_names
        if label is None:
            return None
        return names[label] if 0 <= label < len(names) else str(label)

    def _report(self, rows: list[AttackResult], cost: Mapping[str, float]) -> AttackReport:
        from hf_bat.version import __version__

        recipe = {**self.recipe.describe(), "hash": self.recipe.hash}
        # By the data's names: those of two models may differ in case.
        names = (
            self._labels.get_data_name(label) or self._label_name(label) for label in self._skipped
        )
        recipe["skipped_labels"] = sorted(filter(None, names))
        summary = summarize(rows, self.recipe.goal.kind, recipe, self._validity)
        about = {
            "model": self.model.name,
            **self.model.about(),
            **self.model.disclosed(),
            "task": self.task.name,
            "hf_bat_version": __version__,
            "cost": {self.name: dict(cost)},
        }
        return AttackReport({self.name: summary}, {self.name: rows}, about)


def as_classifier(
    model: Any, tokenizer: Any, max_length: int | None, device: Any, dtype: str
) -> Classifier:
    """Wrap a model for the engine; see `Attack` for what may be given.

    Raises:
        HfBatError: what is no model, or options for a model that is already set up: a function, or a
            `Classifier` that does otherwise.
    """
    options = {"device": device, "max_length": max_length}
    options["dtype"] = None if dtype == "float32" else dtype
    given = [what for what, value in options.items() if value is not None]
    if isinstance(model, Classifier):
        if max_length is not None and max_length == model.max_length:
            given.remove("max_length")
        if given:
            raise HfBatError(
                f"{given[0]} is for a model that is not set up yet; this {type(model).__name__} has its own: "
                "give it where that is made"
            )
        return model
    from hf_bat.attack.transformer import TransformersModel

    if isinstance(model, (str, Path)) or hasattr(model, "parameters"):
        return TransformersModel(model, tokenizer, max_length, device, dtype)
    if not isinstance(model, Callable):  # type: ignore[arg-type]
        raise HfBatError(
            f"a model is a transformers classifier or a function, not {type(model).__name__}"
        )
    if given:
        raise HfBatError(f"{given[0]} is for transformers models; the function is called as it is")
    return CallableModel(model)


def _choose_filter(label_filter: bool | LabelValidity, recipe: Recipe) -> LabelValidity | None:
    """Return the filter that an attack reports by; a fickle attack has none, its edits keep the label."""
    if label_filter is False or recipe.goal.kind != "obstinate":
        return None
    if recipe.search != "exhaustive":
        raise HfBatError(
            f"the label filter needs every edit tried; {recipe.name} searches by {recipe.search}: "
            "make its search exhaustive or leave the filter out"
        )
    return LabelValidity() if label_filter is True else label_filter


def _hash(description: Mapping[str, Any]) -> str:
    text = json.dumps(description, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def _edit_dict(edit: Any) -> dict[str, Any]:
    return {
        "sentence": edit.sentence,
        "position": edit.position,
        "original": edit.original,
        "replacement": edit.replacement,
    }
