"""The rules of a run: the registry, the shares in which they are drawn, and held-out word pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from hf_bat.counterfactual.base import Counterfactual, Rule
from hf_bat.counterfactual.inference import (
    Detail,
    Drop,
    Generalize,
    SelfPair,
    Swap,
    Unsupported,
)
from hf_bat.counterfactual.paraphrase import AlignedEdit, Exchange
from hf_bat.errors import HfBatError
from hf_bat.perturbations.base import Perturbation, RandomSource, Texts
from hf_bat.perturbations.validity import LabelValidity


@dataclass(frozen=True)
class Resources:
    """What rules are built from.

    Args:
        fickle: The run's synonym perturbation.
        mentions: Tells which words a text mentions, also by a synonym.
    """

    fickle: Perturbation
    mentions: LabelValidity


# The only list of rules: a rule is a class and an entry here.
RULES: dict[str, Callable[[Resources], Rule]] = {
    "swap": lambda use: Swap(use.mentions),
    "self_pair": lambda use: SelfPair(use.fickle),
    "drop": lambda use: Drop(),
    "detail": lambda use: Detail(use.mentions),
    "unsupported": lambda use: Unsupported(use.mentions),
    "generalize": lambda use: Generalize(),
    "aligned_edit": lambda use: AlignedEdit(),
    "exchange": lambda use: Exchange(),
}


class RuleSet:
    """Draws one labeled pair for each row.

    A draw takes the rules in random order, a rule with a greater share earlier on average, and returns
    the pair of the first rule that has one.

    Args:
        rules: The rules.
        shares: Rule -> positive weight in the draw; 1 for rules that are left out.
        label_names: Names of the labels, by the numbers in the rows.
        held_out: Share of word pairs, by hash, that are never drawn. Defaults to 0.
    """

    def __init__(
        self,
        rules: Sequence[Rule],
        shares: Mapping[str, float],
        label_names: Sequence[str],
        held_out: float = 0.0,
    ):
        self.rules = tuple(rules)
        self.shares = {rule.name: shares.get(rule.name, 1.0) for rule in rules}
        self.label_names = tuple(label_names)
        self.held_out = held_out
        self._by_name = {rule.name: rule for rule in rules}

    @property
    def names(self) -> tuple[str, ...]:
        """The rules' names, in order."""
        return tuple(self._by_name)

    def prepare(self, rows: Iterable[tuple[Texts, str]]) -> None:
        """Let the rules read a data set; see `Rule.prepare`."""
        rows = list(rows)
        for rule in self.rules:
            rule.prepare(rows)

    def draw(self, texts: Texts, label: int, rng: RandomSource) -> Counterfactual | None:
        """Draw one pair of a row, whose label is a number; `None` if no rule has one."""
        waiting = dict(self.shares)
        while waiting:
            point = rng.random() * sum(waiting.values())
            for name, share in waiting.items():
                point -= share
                if point < 0:
                    break
            del waiting[name]
            pair = self._by_name[name].draw(texts, self.label_names[label], rng)
            if pair is not None and not self.is_held_out(pair):
                return pair
        return None

    def list_pairs(self, texts: Texts, label: int) -> Iterator[Counterfactual]:
        """Yield every pair of a row."""
        for rule in self.rules:
            yield from rule.list_pairs(texts, self.label_names[label])

    def is_held_out(self, pair: Counterfactual) -> bool:
        """Return whether a pair's words are among those that are held out, in either order."""
        return bool(pair.words) and is_held_out(pair.words, self.held_out)

    def number_label(self, pair: Counterfactual) -> int:
        """Return the number of a pair's label."""
        return self.label_names.index(pair.label)

    def describe(self) -> dict[str, object]:
        """Return every choice that changes the draws, ready for JSON."""
        return {"rules": self.shares, "held_out_pairs": self.held_out}


def is_held_out(words: Sequence[str], share: float) -> bool:
    """Return whether a word pair is among a share of all pairs, in either order."""
    digest = blake2b("\n".join(sorted(words)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < share * 2**64


def build_rules(
    fickle: Perturbation,
    label_names: Sequence[str],
    names: Sequence[str] | None = None,
    held_out: float = 0.0,
) -> RuleSet:
    """Build the rules of a run.

    Args:
        fickle: The synonym perturbation.
        label_names: Names of the labels by number.
        names: Rules, each `"name"` or `"name=share"`. If `None`, all.
        held_out: Share of word pairs that are not drawn. Defaults to 0.
    """
    shares: dict[str, float] = {}
    for entry in names or RULES:
        name, _, share = entry.partition("=")
        if name not in RULES:
            raise HfBatError(f"unknown rule {name!r}; known: {', '.join(RULES)}")
        try:
            shares[name] = float(share or 1)
        except ValueError:
            raise HfBatError(f"rule {entry!r}: the share must be a number, as in swap=2") from None
    resources = Resources(fickle, LabelValidity())
    family = "inference" if "entailment" in label_names else "paraphrase"
    rules = [rule for name in shares if (rule := RULES[name](resources)).family in (family, "pair")]
    return RuleSet(rules, shares, label_names, held_out)
