"""Write the demo's sentence pairs into `hf_bat/demo/data`: the same seed gives the same bytes.

    python scripts/build_demo_data.py [--output_dir DIR]

The hypothesis is drawn first and the label after it, so no word of a hypothesis gives the label
away; the premise is then made to fit. In a hypothesis at most one word, the *pivot*, has an antonym
in WordNet, and what a premise adds has none: so a swap of the pivot for its antonym turns
entailment into contradiction and, where the pivot decides, contradiction into entailment.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import demo_vocabulary as words
from demo_vocabulary import Sense

ENTAILMENT, NEUTRAL, CONTRADICTION = range(3)
SPLITS = {"train": 4500, "validation": 600}
FOLDER = Path(__file__).resolve().parent.parent / "hf_bat/demo/data"

# Every third opposition decides no label in the training split, only in validation.
HELD_OUT_EVERY = 3

# Slots without antonyms that a sentence may have besides its core, and what fills them.
ACTOR_EXTRAS: dict[str, Sequence[Sense]] = {
    "number": words.NUMBERS,
    "origin": words.ORIGINS,
    "place": words.PLACES,
    "time": words.TIMES,
    "company": words.COMPANY,
}
EXTRAS: dict[str, dict[str, Sequence[Sense]]] = {
    "deed": {**ACTOR_EXTRAS, "colour": words.COLOURS},
    "move": ACTOR_EXTRAS,
    "state": {"colour": words.COLOURS, "place": words.PLACES, "time": words.TIMES},
    "trade": {"colour": words.COLOURS, "time": words.TIMES, "place": words.PLACES},
}
# Slots whose fillers exclude one another, so that another filler contradicts.
EXCLUSIVE = ("number", "origin", "colour", "place")
PIVOT_SLOTS = {
    "deed": ("verb", "verb", "quality", "thing_quality", "agent", "manner", "place"),
    "move": ("verb", "verb", "quality", "agent", "manner", "place"),
    "state": ("predicate",),
}
TEMPLATES = ("deed", "deed", "deed", "deed", "move", "move", "state", "state", "trade")
PERSON: Sense = ("person",)


@dataclass(frozen=True)
class Clause:
    """What a sentence says: slots with their senses.

    Args:
        template: how it is put: deed, move, state or trade.
        slots: slot -> sense.
        frame: how a deed or a move is announced; None for a plain plural present.
        negated: whether it is denied.
        plural: whether several act although no number says so ("some men").
    """

    template: str
    slots: dict[str, Sense]
    frame: tuple[tuple[str, str], ...] | None = None
    negated: bool = False
    plural: bool = False

    def having(self, **senses: Sense) -> Clause:
        return replace(self, slots={**self.slots, **senses})

    def without(self, slot: str) -> Clause:
        plural = self.plural or slot == "number"
        slots = {name: sense for name, sense in self.slots.items() if name != slot}
        return replace(self, slots=slots, plural=plural)


@dataclass(frozen=True)
class Hypothesis:
    """A clause and what is needed to make premises for it.

    Args:
        clause: what the hypothesis says.
        decisive: the slot that differs in a contradiction.
        opposite: the sense that contradicts it there.
        removable: slots without which a premise no longer entails the hypothesis.
        reserved: slots that a premise must not fill by itself.
    """

    clause: Clause
    decisive: str
    opposite: Sense
    removable: list[str] = field(default_factory=list)
    reserved: frozenset[str] = frozenset()


def article(phrase: str) -> str:
    return ("an " if phrase[0] in "aeiou" else "a ") + phrase


def plural_of(noun: str) -> str:
    if noun in words.PLURALS:
        return words.PLURALS[noun]
    return noun + ("es" if noun.endswith(("s", "x", "ch", "sh")) else "s")


class Writer:
    """Turns clauses into sentences, choosing among the words of each sense.

    Args:
        rng: the source of chance.
        definite: whether things are "the" or "a" in both sentences of a pair.
    """

    def __init__(self, rng: random.Random, definite: bool) -> None:
        self.rng = rng
        self.definite = definite

    def word(self, clause: Clause, slot: str) -> str:
        return self.rng.choice(clause.slots[slot]) if slot in clause.slots else ""

    def phrase(self, *parts: str) -> str:
        return " ".join(part for part in parts if part)

    def actor(self, clause: Clause) -> tuple[str, bool]:
        """The subject and whether it is plural."""
        noun = self.word(clause, "agent")
        qualities = self.phrase(self.word(clause, "quality"), self.word(clause, "origin"))
        if "number" in clause.slots or clause.plural:
            number = self.word(clause, "number") or "some"
            return self.phrase(number, qualities, plural_of(noun)), True
        phrase = self.phrase(qualities, noun)
        return (f"the {phrase}" if self.definite else article(phrase)), False

    def thing(self, clause: Clause) -> str:
        noun = self.word(clause, "object")
        parts = self.word(clause, "thing_quality"), self.word(clause, "colour"), noun
        phrase = self.phrase(*parts)
        return f"the {phrase}" if self.definite else article(phrase)

    def sentence(self, clause: Clause) -> str:
        text = getattr(self, clause.template)(clause)
        circumstances = [self.word(clause, slot) for slot in ("company", "place", "time")]
        if clause.template == "state":  # "The red chair in the kitchen is heavy."
            circumstances = [self.word(clause, "time")]
        text = self.phrase(text, *circumstances)
        return text[0].upper() + text[1:] + "."

    def deed(self, clause: Clause) -> str:
        subject, plural = self.actor(clause)
        thing = self.thing(clause) if "object" in clause.slots else ""
        verb = self.word(clause, "verb")
        manner = self.word(clause, "manner")
        if clause.frame is None:
            return self.phrase(subject, verb, thing, manner)
        frame = self.rng.choice(clause.frame)[plural]
        denial = "not" if clause.negated else ""
        return self.phrase(subject, frame, denial, verb, thing, manner)

    move = deed

    def state(self, clause: Clause) -> str:
        noun = self.word(clause, "object")
        subject = self.phrase("the", self.word(clause, "colour"), noun, self.word(clause, "place"))
        denial = "not" if clause.negated else ""
        also = f"and {self.word(clause, 'also')}" if "also" in clause.slots else ""
        return self.phrase(subject, "is", denial, self.word(clause, "predicate"), also)

    def trade(self, clause: Clause) -> str:
        giver, taker = (f"the {self.word(clause, slot)}" for slot in ("giver", "taker"))
        thing = self.thing(clause)
        if "gives" in clause.slots:
            return f"{giver} will {self.word(clause, 'gives')} {thing} to {taker}"
        return f"{taker} will {self.word(clause, 'takes')} {thing} from {giver}"


class Grammar:
    """Draws labelled pairs of sentences.

    Args:
        rng: the source of chance.
        hold_out: whether the held-out oppositions decide no label.
    """

    def __init__(self, rng: random.Random, hold_out: bool) -> None:
        self.rng = rng
        self.hold_out = hold_out

    def pair(self, label: int) -> tuple[str, str]:
        """One premise and hypothesis.

        Args:
            label: 0 entailment, 1 neutral, 2 contradiction. The hypothesis does not depend on it.
        """
        hypothesis = self.hypothesis()
        premise = self.premise(hypothesis, label)
        writer = Writer(self.rng, definite=self.rng.random() < 0.6)
        second = writer.sentence(hypothesis.clause)
        return writer.sentence(premise), second

    # -- hypotheses ------------------------------------------------------------------------------

    def hypothesis(self) -> Hypothesis:
        template = self.rng.choice(TEMPLATES)
        if template == "trade":
            return self.trade()
        pivot = self.rng.choice(PIVOT_SLOTS[template])
        clause, opposite, trainable = self.with_pivot(template, pivot)
        decisive = pivot
        if self.hold_out and not trainable:
            slot = self.rng.choice([s for s in EXCLUSIVE if s in EXTRAS[template] and s != pivot])
            clause = clause.having(**{slot: self.rng.choice(EXTRAS[template][slot])})
            decisive, opposite = slot, self.another(template, slot, clause)
        clause = self.with_extras(clause, {pivot}, self.rng.randint(0, 1))
        if template in ("deed", "move") and "number" not in clause.slots:
            clause = replace(clause, plural=self.rng.random() < 0.15)
        negatable = decisive == pivot and (
            template == "state" or (pivot == "verb" and self.is_complementary(clause))
        )
        if negatable and self.rng.random() < 0.25:
            clause = replace(clause, negated=True, frame=words.FRAMES[0])
        elif ("number" in clause.slots or clause.plural) and self.rng.random() < 0.3:
            clause = replace(clause, frame=None)
        removable = [s for s in clause.slots if s in EXTRAS[template] or s == decisive]
        reserved = frozenset({pivot, decisive})
        return Hypothesis(clause, decisive, opposite, removable, reserved)

    def with_pivot(self, template: str, pivot: str) -> tuple[Clause, Sense, bool]:
        """A bare clause, what is opposite to its pivot, and whether the pivot may decide."""
        rng = self.rng
        frame = rng.choice(words.FRAMES)
        slots: dict[str, Sense] = {}
        if template == "state":
            slots["object"] = rng.choice(words.THINGS)
        else:
            slots["agent"] = PERSON if rng.random() < 0.15 else rng.choice(words.PEOPLE)
            verbs = words.DEEDS if template == "deed" else words.MOVES + words.PASTIMES
            slots["verb"] = rng.choice(verbs)
        if template == "deed":
            slots["object"] = rng.choice(words.THINGS)
        if template == "deed" and pivot == "verb":
            number = rng.randrange(len(words.DEEDS_OPPOSED))
            first, second, things = words.DEEDS_OPPOSED[number]
            slots["object"] = rng.choice(things)
        else:
            oppositions = {
                "verb": words.MOVES_OPPOSED,
                "quality": words.PEOPLE_QUALITIES,
                "thing_quality": words.THING_QUALITIES,
                "predicate": words.THING_QUALITIES,
                "agent": words.PEOPLE_OPPOSED,
                "manner": words.MANNERS_OPPOSED,
                "place": words.PLACES_OPPOSED,
            }[pivot]
            number = rng.randrange(len(oppositions))
            first, second = oppositions[number]
        if rng.random() < 0.5:
            first, second = second, first
        slots[pivot] = first
        return Clause(template, slots, frame), second, number % HELD_OUT_EVERY != 1

    def trade(self) -> Hypothesis:
        rng = self.rng
        giver, taker = rng.sample(words.PEOPLE, 2)
        gives, takes = rng.choice(words.TRADES)
        voice = {"gives": gives} if rng.random() < 0.5 else {"takes": takes}
        slots = {"giver": giver, "taker": taker, "object": rng.choice(words.THINGS), **voice}
        clause = self.with_extras(Clause("trade", slots), set(), 1)
        removable = [slot for slot in clause.slots if slot in EXTRAS["trade"]]
        return Hypothesis(clause, "roles", (), removable)

    def with_extras(self, clause: Clause, avoid: set[str], count: int) -> Clause:
        pool = EXTRAS[clause.template]
        free = [slot for slot in pool if slot not in clause.slots and slot not in avoid]
        for slot in self.rng.sample(free, min(count, len(free))):
            clause = clause.having(**{slot: self.rng.choice(pool[slot])})
        return clause

    def is_complementary(self, clause: Clause) -> bool:
        return any(
            clause.slots["verb"] in (first, second) and first[0] in words.COMPLEMENTARY
            for first, second, _ in words.DEEDS_OPPOSED
        )

    def another(self, template: str, slot: str, clause: Clause) -> Sense:
        return self.rng.choice([s for s in EXTRAS[template][slot] if s != clause.slots[slot]])

    # -- premises --------------------------------------------------------------------------------

    def premise(self, hypothesis: Hypothesis, label: int) -> Clause:
        clause = hypothesis.clause
        removed = None
        if label == NEUTRAL:
            removed = self.rng.choice(hypothesis.removable)
            clause = self.less(clause, removed)
        elif hypothesis.decisive == "roles":
            clause = self.other_voice(clause)
            if label == CONTRADICTION:
                giver, taker = clause.slots["giver"], clause.slots["taker"]
                clause = clause.having(giver=taker, taker=giver)
        # A denied hypothesis is contradicted by its own word and entailed by the opposite.
        elif (label == CONTRADICTION) != clause.negated:
            clause = clause.having(**{hypothesis.decisive: hypothesis.opposite})
        clause = replace(clause, negated=False)
        if clause.slots.get("agent") == PERSON and self.rng.random() < 0.5:
            clause = clause.having(agent=self.rng.choice(words.PEOPLE))
        if hypothesis.clause.plural and self.rng.random() < 0.5:  # three entail some
            clause = clause.having(number=self.rng.choice(words.NUMBERS))
        if clause.template == "state" and removed != "predicate" and self.rng.random() < 0.5:
            clause = clause.having(also=self.rng.choice(words.STATES))
        # A number in the premise alone would change who is meant from one to several.
        avoid = {*hypothesis.reserved, "number", *([removed] if removed else [])}
        # What a neutral premise lacks it makes up for, so that its length says little.
        count = self.rng.randint(0, 1) + (removed is not None and removed not in clause.slots)
        return self.with_extras(clause, avoid, count)

    def less(self, clause: Clause, slot: str) -> Clause:
        """A clause that leaves open what `slot` says."""
        if slot == "agent":
            return clause.having(agent=PERSON)
        if slot == "verb":
            others = words.DEEDS if clause.template == "deed" else words.PASTIMES
            return clause.having(verb=self.rng.choice(others))
        if slot == "predicate":
            return clause.having(predicate=self.rng.choice(words.STATES))
        return clause.without(slot)

    def other_voice(self, clause: Clause) -> Clause:
        """The same trade, half of the time told from the other side."""
        if self.rng.random() < 0.5:
            return clause
        for gives, takes in words.TRADES:
            if clause.slots.get("gives") == gives:
                return clause.without("gives").having(takes=takes)
            if clause.slots.get("takes") == takes:
                return clause.without("takes").having(gives=gives)
        return clause


def build_split(name: str, taken: set[tuple[str, str]]) -> list[dict[str, object]]:
    """The rows of one split, labels in equal numbers, no pair twice nor in `taken`."""
    rng = random.Random(f"hf_bat demo {name}")
    grammar = Grammar(rng, hold_out=name == "train")
    labels = [number % 3 for number in range(SPLITS[name])]
    rng.shuffle(labels)
    rows: list[dict[str, object]] = []
    for number, label in enumerate(labels):
        pair = grammar.pair(label)
        while pair in taken or pair[0] == pair[1]:
            pair = grammar.pair(label)
        taken.add(pair)
        rows.append({"premise": pair[0], "hypothesis": pair[1], "label": label, "idx": number})
    return rows


def build(folder: Path) -> None:
    """Write `train.jsonl.gz` and `validation.jsonl.gz`."""
    folder.mkdir(parents=True, exist_ok=True)
    taken: set[tuple[str, str]] = set()
    for name in SPLITS:
        text = "".join(json.dumps(row) + "\n" for row in build_split(name, taken))
        # No name and no time in the header: the bytes depend on the rows alone.
        (folder / f"{name}.jsonl.gz").write_bytes(gzip.compress(text.encode(), mtime=0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output_dir", type=Path, default=FOLDER)
    build(parser.parse_args().output_dir)


if __name__ == "__main__":
    main()
