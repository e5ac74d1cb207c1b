"""Register rules, draw labeled pairs by their shares, and hold out word pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

from hf_bat.counterfactual.base import NOT_ENTAILMENT, Counterfactual, Rule, take_weighted
from hf_bat.counterfactual.inference import (
    Detail,
    Drop,
    Generalize,
    Opposite,
    SelfPair,
    Swap,
    Unsupported,
)
from hf_bat.counterfactual.paraphrase import DuplicateEdit, EditedSelf, Exchange, Flip, SameSelf
from hf_bat.errors import HfBatError
from hf_bat.lexicon import default_antonyms
from hf_bat.perturbations import build_perturbations
from hf_bat.perturbations.base import Perturbation, RandomSource, Texts
from hf_bat.perturbations.validity import LabelValidity
from hf_bat.tasks import Task


@dataclass(frozen=True)
class Resources:
    """The objects that rules are built from.

    Args:
        fickle: The synonym perturbation for fickle selves.
        antonyms: The antonym perturbation.
        label_flip: For single sentences, a mapping from each label to the label after an antonym edit.
        mentions: Function that returns whether the text mentions the word or a synonym of it.
    """

    fickle: Perturbation
    antonyms: Perturbation
    label_flip: Mapping[str, str] = field(default_factory=dict)
    mentions: LabelValidity = field(default_factory=LabelValidity)

    @property
    def own_antonyms(self) -> Perturbation | None:
        """The antonym perturbation, or `None` if its table is the bundled one."""
        is_bundled = getattr(self.antonyms, "table", None) is default_antonyms()
        return None if is_bundled else self.antonyms


# Maps the name of a rule to a function that builds it. `register_rule` adds your own rules.
RULES: dict[str, Callable[[Resources], Rule]] = {
    "swap": lambda use: Swap(use.mentions),
    "self_pair": lambda use: SelfPair(use.fickle),
    "drop": lambda use: Drop(),
    "detail": lambda use: Detail(use.mentions),
    "unsupported": lambda use: Unsupported(use.mentions),
    "generalize": lambda use: Generalize(),
    "same_self": lambda use: SameSelf(use.fickle),
    "aligned_edit": lambda use: DuplicateEdit(is_aligned=True),
    "exchange": lambda use: Exchange(),
    "flip": lambda use: Flip(use.label_flip, use.own_antonyms),
    # Add rules at the end, because the draws of a suite depend on the positions of the rules.
    "opposite": lambda use: Opposite(use.antonyms, use.mentions),
    "duplicate_edit": lambda use: DuplicateEdit(is_aligned=False),
    "edited_self": lambda use: EditedSelf(),
}


def register_rule(name: str, build: Callable[[Resources], Rule]) -> None:
    """Register your own rule under a name, for `BalancedTrainingArguments(rules=[name])`.

    Args:
        name: The rule's `name`.
        build: Function that builds the rule from `Resources`.

    Raises:
        HfBatError: If the name is already used by another rule.

    Example:
        >>> class Echo(Rule):
        ...     name, family = "echo", "inference"
        ...     def list_pairs(self, texts, label):
        ...         yield self.make((texts[0], texts[0]), "entailment", "echo")
        >>> register_rule("echo", lambda resources: Echo())
        >>> "echo" in RULES
        True
        >>> del RULES["echo"]
    """
    if name in RULES:
        raise HfBatError(f"rule name {name!r} is taken; give it another name")
    RULES[name] = build


class RuleSet:
    """A run's rules, which draw one labeled pair for each row.

    A draw tries the rules in random order and returns the pair of the first rule that has one. Rules with a
    larger share come earlier on average.

    Args:
        shares: Mapping from each rule to its positive weight in the draw.
        labels: Mapping from the label names of the rules to the label numbers in the rows. The number for
            "not" a label is -1 minus its number. Pairs with other labels are skipped.
        names: The rules' name of each label, by number. A name is `None` if the rules do not know the
            label.
        held_out: Share of word pairs, chosen by hash, that are never drawn. Defaults to 0.

    Example:
        >>> import random
        >>> from hf_bat.counterfactual.inference import Drop
        >>> names = ("entailment", "neutral")
        >>> rules = RuleSet({Drop(): 1.0}, {name: i for i, name in enumerate(names)}, names)
        >>> pair = rules.draw(("A big dog.", "It runs."), 1, random.Random(0))
        >>> sorted(pair.texts), pair.rule
        (['A big dog.', 'A dog.'], 'drop')
    """

    # Name of the entry in `perturbations.json`, as for perturbations.
    kind = "counterfactual"

    def __init__(
        self,
        shares: Mapping[Rule, float],
        labels: Mapping[str, int],
        names: Sequence[str | None],
        held_out: float = 0.0,
    ):
        self.rules = tuple(shares)
        self.shares = {rule.name: share for rule, share in shares.items()}
        self.labels, self.names, self.held_out = dict(labels), tuple(names), held_out

    def prepare(self, rows: Iterable[tuple[Texts, int]]) -> None:
        """Prepare all rules with the rows of a data set; see `Rule.prepare`."""
        named = [(texts, self.names[label] or "") for texts, label in rows]
        for rule in self.rules:
            rule.prepare(named)

    def draw(self, texts: Texts, label: int, rng: RandomSource) -> Counterfactual | None:
        """Draw one pair for the row. Return `None` if no rule has one.

        Args:
            texts: The sentences of the row.
            label: The number of the row's label.
            rng: Source of randomness.
        """
        waiting = list(self.rules)
        while waiting:
            rule = take_weighted(waiting, lambda rule: self.shares[rule.name], rng)
            pair = rule.draw(texts, self.names[label] or "", rng)
            if pair is not None and pair.label in self.labels and not self.is_held_out(pair):
                return pair
        return None

    def list_pairs(self, texts: Texts, label: int) -> Iterator[Counterfactual]:
        """Yield every pair of the row, including pairs with held-out words."""
        for rule in self.rules:
            for pair in rule.list_pairs(texts, self.names[label] or ""):
                if pair.label in self.labels:
                    yield pair

    def keep_labeled(self) -> RuleSet:
        """Return a rule set without the rules that only exclude labels; see `Rule.gives_label`."""
        shares = {rule: self.shares[rule.name] for rule in self.rules if rule.gives_label}
        return RuleSet(shares, self.labels, self.names, self.held_out)

    def is_held_out(self, pair: Counterfactual) -> bool:
        """Return whether the words of the pair are held out of training."""
        return is_held_out(pair.words, self.held_out)

    def describe(self) -> dict[str, object]:
        """Return all settings that affect the draws, in a JSON-serializable form."""
        return {
            "shares": self.shares,
            "held_out_pairs": self.held_out,
            "rules": [rule.describe() for rule in self.rules],
        }


def is_held_out(words: Sequence[str], share: float) -> bool:
    """Return whether the word pair is held out. The order of the words does not matter.

    Args:
        words: The old and the new word. An empty sequence is never held out.
        share: Share of all word pairs that are held out, from 0 to 1.

    Example:
        >>> is_held_out(("red", "blue"), 0.2) == is_held_out(("blue", "red"), 0.2)
        True
        >>> is_held_out(("red", "blue"), 1.0), is_held_out((), 1.0)
        (True, False)
    """
    digest = blake2b("\n".join(sorted(words)).encode(), digest_size=8).digest()
    return bool(words) and int.from_bytes(digest, "big") < share * 2**64


def build_rules(
    task: Task,
    label_names: Sequence[str | None],
    fickle: Perturbation | None = None,
    rules: Sequence[str] | None = None,
    held_out: float = 0.0,
    label_flip: Mapping[str, str] | Sequence[str] = (),
    antonyms: Perturbation | None = None,
) -> RuleSet:
    """Build the run's rules.

    Args:
        task: The task.
        label_names: The task's name of each label, by the number in the rows.
        fickle: The synonym perturbation for fickle selves. If `None`, use WordNet's synonyms, which are
            right more often than the default table of attacks.
        rules: Rules in the form `"name"` or `"name=share"`. If `None`, use the default rules for the task.
        held_out: Share of word pairs that are not drawn. Defaults to 0.
        label_flip: For single sentences, a mapping from each label to the label after an antonym edit. A list
            of `"label=label"` strings is also accepted.
        antonyms: The antonym perturbation. If `None`, use the bundled table. The rule "flip" uses WordNet
            instead of the bundled table.

    Returns:
        The rules, not yet prepared on a data set.

    Raises:
        HfBatError: If the task has no rules, or if a rule, share or label is invalid.

    Example:
        >>> from hf_bat import get_task
        >>> snli = get_task("snli")
        >>> chosen = build_rules(snli, snli.label_names, rules=["swap=2", "drop"])
        >>> chosen.shares
        {'swap': 2.0, 'drop': 1.0}
    """
    family, labels, names = read_labels(task, label_names)
    flip = (
        dict(label_flip)
        if isinstance(label_flip, Mapping)
        else {old: new for old, _, new in (entry.partition("=") for entry in label_flip)}
    )
    for label in (*flip, *flip.values()):
        if label not in label_names:
            raise HfBatError(
                f"--label_flip names {label!r}, which is not a label of task {task.name!r}; labels: "
                f"{', '.join(map(str, label_names))}"
            )
    if family == "sentence" and not flip:
        raise HfBatError(
            f"task {task.name!r} has single sentences: say which label an antonym gives, e.g. "
            "--label_flip positive=negative negative=positive (label_flip=[...] in Python)"
        )
    if family != "sentence" and flip:
        raise HfBatError(f"--label_flip is for single sentences; task {task.name!r} has pairs")
    if fickle is None:
        fickle, _ = build_perturbations("wordnet")
    if antonyms is None:
        _, antonyms = build_perturbations()
    resources = Resources(fickle, antonyms, flip)
    shares: dict[Rule, float] = {}
    for entry in RULES if rules is None else rules:
        name, has_share, text = entry.partition("=")
        if name not in RULES:
            raise HfBatError(f"unknown rule {name!r}; known: {', '.join(RULES)}")
        rule = RULES[name](resources)
        if rules is None and not (rule.family == family and rule.is_default):
            continue
        if rule.family != family:
            raise HfBatError(
                f"rule {name!r} is for {rule.family} tasks; task {task.name!r} is of kind {family}"
            )
        try:
            share = float(text) if has_share else rule.share
        except ValueError:
            share = 0.0
        if not 0 < share < float("inf"):
            raise HfBatError(f"rule {entry!r}: the share must be a number above 0, as in swap=2")
        if any(rule.name == other.name for other in shares):
            raise HfBatError(f"rule {name!r} is named twice")
        shares[rule] = share
    return RuleSet(shares, labels, names, held_out)


def read_labels(
    task: Task, label_names: Sequence[str | None]
) -> tuple[str, dict[str, int], list[str | None]]:
    """Match a task's labels with the label names of the rules.

    Returns:
        The task's family, a mapping from the rules' label names to numbers, and a list with the rules'
        name of each number.

    Raises:
        HfBatError: If no rules support these labels.
    """
    known = {str(name).lower(): number for number, name in enumerate(label_names)}
    if not task.is_pair:
        labels = {str(name): number for number, name in enumerate(label_names)}
        return "sentence", labels, list(label_names)
    if "entailment" in known and "contradiction" in known:
        labels = known | {NOT_ENTAILMENT: -1 - known["entailment"]}
        return "inference", labels, [None if name is None else name.lower() for name in label_names]
    negative = {name.lower() for name in task.skipped_labels}
    if len(known) == 2 and "entailment" in known and task.columns != ("question", "sentence"):
        # Neutral and contradicted hypotheses have the same label.
        other = 1 - known["entailment"]
        labels = {"entailment": 1 - other, "neutral": other, "contradiction": other}
        labels[NOT_ENTAILMENT] = other
        names: list[str | None] = [None, None]
        names[1 - other] = "entailment"
        return "inference", labels, names
    # A question is not a paraphrase of the sentence that answers it.
    is_paraphrase = len(known) == 2 and "entailment" not in known
    if is_paraphrase and len(negative & known.keys()) == 1:
        different = known[next(iter(negative & known.keys()))]
        names = ["same", "same"]
        names[different] = "different"
        return "paraphrase", {"same": 1 - different, "different": different}, names
    raise HfBatError(
        f"no rules for task {task.name!r} with the labels {', '.join(map(str, label_names))}: inference "
        "needs 'entailment' and 'contradiction', paraphrases need two labels of which skipped_labels "
        "names the negative one"
    )
