"""The sources of a trainer's edits: perturbations, rules and the preprocessing defense."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any

from hf_bat.attack.judge import as_validity
from hf_bat.canonicalize import Canonicalizer
from hf_bat.counterfactual.rules import RuleSet, build_rules
from hf_bat.errors import HfBatError
from hf_bat.labels import reconcile_labels
from hf_bat.lexicon.table import TableSource
from hf_bat.objective import KINDS
from hf_bat.perturbations import (
    AntonymPerturbation,
    Perturbation,
    SynonymPerturbation,
    build_fickle,
    build_obstinate,
    build_perturbations,
)
from hf_bat.perturbations.build import (
    DEFAULT_EDITS,
    DEFAULT_FICKLE,
    EDIT_KINDS,
    FICKLE_KINDS,
    filter_edits,
)
from hf_bat.perturbations.splitting import split_words
from hf_bat.perturbations.validity import LabelValidity
from hf_bat.tasks import Task
from hf_bat.text import Splitter


class EditSources:
    """A run's perturbations, rules and defense.

    They are rebuilt when their options change, which happens between the runs of a hyperparameter
    search.

    Args:
        args: `BalancedTrainingArguments`. They are read on each use.
        synonyms: Table of the fickle versions; see `BalancedTrainer`.
        antonyms: Table of the obstinate versions.
        fickle: Custom fickle perturbation. If `None`, it is built from the tables and options.
        obstinate: Custom obstinate perturbation. If `None`, it is built from the tables and
            options.
        splitter: Function that splits texts into words. If `None`, words are split at spaces.

    Raises:
        HfBatError: If an option cannot be used with the splitter.
    """

    def __init__(
        self,
        args: Any,
        synonyms: TableSource | None,
        antonyms: TableSource | None,
        fickle: Perturbation | None,
        obstinate: Perturbation | None,
        splitter: Splitter | None = None,
    ):
        self.args, self.synonyms, self.antonyms = args, synonyms, antonyms
        self.splitter = splitter
        self._check_splitter()
        self.own = dict(zip(KINDS, (fickle, obstinate), strict=True))
        self._defense = self._read_defense()
        self._perturbations: tuple[Any, tuple[Any, Any], tuple[Any, Any]] | None = None
        self._rules: tuple[Any, RuleSet] | None = None
        self._judge: tuple[Any, LabelValidity] | None = None

    @property
    def perturbations(self) -> tuple[Any, Any]:
        """The fickle and obstinate perturbations, either custom or built from the tables and options."""
        return self._build()[0]

    @property
    def words(self) -> tuple[SynonymPerturbation, AntonymPerturbation]:
        """The perturbations based on the synonym and antonym tables, even if others are drawn."""
        return self._build()[1]

    def _build(self) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
        args, own = self.args, self.own
        tables = (
            args.drop_antonyms_from_synonyms,
            args.exclude_stopwords,
            args.casing,
            args.fit_grammar,
        )
        edits = (
            tuple(args.get_entries("obstinate_edits")) or DEFAULT_EDITS,
            args.label_filter or "off",
        )
        fickle_edits = tuple(args.get_entries("fickle_edits")) or DEFAULT_FICKLE
        key = (tables, edits, fickle_edits, args.label_judge)
        if self._perturbations is None or self._perturbations[0] != key:
            # The default synonyms connect most of their words, so the defense would make them all
            # the same.
            use_wordnet = self.synonyms is None and args.canonicalize
            synonyms = "wordnet" if use_wordnet else self.synonyms
            synonym, antonym = build_perturbations(synonyms, self.antonyms, *tables)
            fickle = own["fickle"] or split_words(
                build_fickle(synonym, fickle_edits), self.splitter
            )
            obstinate = own["obstinate"]
            if obstinate is None:
                obstinate = split_words(build_obstinate(antonym, edits[0]), self.splitter)
            if edits[1] != "off":
                obstinate = filter_edits(obstinate, edits[1], self._get_validity())
            self._perturbations = (key, (fickle, obstinate), (synonym, antonym))
        return self._perturbations[1:]

    def _get_validity(self) -> LabelValidity:
        """Return the test of the label filter, which is the rule or a judge that is loaded once."""
        judge = self.args.get_judge()
        if self._judge is None or self._judge[0] != judge:
            validity = as_validity(True if judge is None else judge, self.args.device)
            self._judge = (judge, validity)
        return self._judge[1]

    def _check_splitter(self) -> None:
        """Check that no option requires English, or words separated by spaces."""
        args, method = self.args, self.args.get_method()
        needs_spaces = {
            "canonicalize": args.canonicalize,
            f"method={method.name!r}": method.attack_recipe or "counterfactual" in method.draws,
            "obstinate_edits='sister'": "sister" in (args.obstinate_edits or ()),
        }
        for option, is_given in needs_spaces.items():
            if self.splitter is not None and is_given:
                raise HfBatError(
                    f"{option} is for English, or for words between spaces: omit splitter="
                )

    def make_rules(self, task: Task, config: Any, rows: Iterable[Any]) -> RuleSet:
        """Return the rules for labeled edits, prepared on training rows, with the model's label names."""
        args = self.args
        synonyms, antonyms = self.words
        fickle = None if self.synonyms is None else synonyms
        flip = tuple(args.label_flip or ())
        key = (
            fickle,
            antonyms,
            None if args.rules is None else tuple(args.rules),
            args.held_out_pairs,
            flip,
        )
        if self._rules is None or self._rules[0] != key:
            labels = reconcile_labels(task, config)
            names = [labels.get_data_name(label) for label in range(len(labels.model_names))]
            rules = build_rules(
                task, names, fickle, args.rules, args.held_out_pairs, flip, antonyms
            )
            rules.prepare((tuple(row[c] for c in task.columns), row["label"]) for row in rows)
            self._rules = (key, rules)
        return self._rules[1]

    @cached_property
    def canonicalizer(self) -> Canonicalizer | None:
        """The preprocessing defense with the synonym table, or `None` if it is off."""
        if not self.args.canonicalize:
            return None
        return Canonicalizer(self.words[0].table, self.args.casing)

    def check_defense(self) -> None:
        """Check that the options of the defense have not changed, because evaluation uses the first ones."""
        if self._defense != self._read_defense():
            raise HfBatError(
                "canonicalize, casing and drop_antonyms_from_synonyms cannot change with canonicalize, "
                "because evaluation has the same defense: create another trainer"
            )

    def _read_defense(self) -> tuple[bool, str] | None:
        args = self.args
        return (args.drop_antonyms_from_synonyms, args.casing) if args.canonicalize else None

    def describe_edits(self) -> dict[str, str]:
        """Describe the edits that the run draws, by kind (fickle, obstinate), for the model card."""
        kinds = {"fickle": (FICKLE_KINDS, DEFAULT_FICKLE), "obstinate": (EDIT_KINDS, DEFAULT_EDITS)}
        texts = {}
        for kind, (known, default) in kinds.items():
            own = self.own[kind]
            edits = [own] if own is not None else self.args.get_entries(f"{kind}_edits") or default
            texts[kind] = " or ".join(
                known[edit].summary if isinstance(edit, str) else f"edits of `{edit.name}`"
                for edit in edits
            )
        return texts
