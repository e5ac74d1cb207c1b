"""Write the sentence pairs of the demo to `hf_bat/demo/data`. The output is deterministic.

    python scripts/build_demo_data.py [--output_dir DIR]

The hypothesis is drawn before the label, so its words do not reveal the label, and the premise is made to fit
both. At most one word of a hypothesis, the *pivot*, has an antonym in WordNet, and words added by a premise
have none. Swapping the pivot for its antonym therefore turns entailment into contradiction and, if the pivot
is decisive, contradiction into entailment.
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

# Every third opposition is only decisive in the validation split.
HELD_OUT_EVERY = 3

# Optional slots of a sentence and their senses, which have no antonyms.
ACTOR_EXTRAS: dict[str, Sequence[Sense]] = {
    "number": words.NUMBERS,
    "origin": words.ORIGINS,
    "place": words.PLACES,
    "time": words.TIMES,
    "company": words.COMPANY,
}
EXTRAS: dict[str, dict[str, Sequence[Sense]]] = {
    "deed": {**ACTOR_EXTRAS, "color": words.COLORS},
    "move": ACTOR_EXTRAS,
    "state": {"color": words.COLORS, "place": words.PLACES, "time": words.TIMES},
    "trade": {"color": words.COLORS, "time": words.TIMES, "place": words.PLACES},
}
# Slots with senses that exclude each other, so another sense is a contradiction.
EXCLUSIVE = ("number", "origin", "color", "place")
PIVOT_SLOTS = {
    "deed": ("verb", "verb", "quality", "thing_quality", "agent", "manner", "place"),
    "move": ("verb", "verb", "quality", "agent", "manner", "place"),
    "state": ("predicate",),
}
TEMPLATES = ("deed", "deed", "deed", "deed", "move", "move", "state", "state", "trade")
PERSON: Sense = ("person",)


@dataclass(frozen=True)
class Clause:
    """A sentence's meaning, which consists of slots with their senses.

    Args:
        template: Kind of sentence: deed, move, state or trade.
        slots: Dict of slot -> sense.
        frame: Auxiliary of a deed or move. If `None`, the verb is in the present plural.
        negated: Whether the sentence is negated.
        plural: Whether the agent is plural without a number ("some men").
    """

    template: str
    slots: dict[str, Sense]
    frame: tuple[tuple[str, str], ...] | None = None
    negated: bool = False
    plural: bool = False

    def set_slots(self, **senses: Sense) -> Clause:
        return replace(self, slots={**self.slots, **senses})

    def drop_slot(self, slot: str) -> Clause:
        plural = self.plural or slot == "number"
        slots = {name: sense for name, sense in self.slots.items() if name != slot}
        return replace(self, slots=slots, plural=plural)


@dataclass(frozen=True)
class Hypothesis:
    """A hypothesis and the facts that its premises depend on.

    Args:
        clause: Meaning of the hypothesis.
        decisive: Slot that differs in a contradiction.
        opposite: Sense of that slot in a contradiction.
        removable: Slots that a premise needs to entail the hypothesis.
        reserved: Slots that a premise must not add.
    """

    clause: Clause
    decisive: str
    opposite: Sense
    removable: list[str] = field(default_factory=list)
    reserved: frozenset[str] = frozenset()


def add_article(phrase: str) -> str:
    return ("an " if phrase[0] in "aeiou" else "a ") + phrase


def form_plural(noun: str) -> str:
    if noun in words.PLURALS:
        return words.PLURALS[noun]
    return noun + ("es" if noun.endswith(("s", "x", "ch", "sh")) else "s")


class Writer:
    """Writes clauses as sentences, with a random word for each sense.

    Args:
        rng: Random number generator.
        definite: Whether the pair's sentences use "the" instead of "a".
    """

    def __init__(self, rng: random.Random, definite: bool) -> None:
        self.rng = rng
        self.definite = definite

    def choose_word(self, clause: Clause, slot: str) -> str:
        return self.rng.choice(clause.slots[slot]) if slot in clause.slots else ""

    def join_words(self, *parts: str) -> str:
        return " ".join(part for part in parts if part)

    def write_actor(self, clause: Clause) -> tuple[str, bool]:
        """Return the subject, and whether it is plural."""
        noun = self.choose_word(clause, "agent")
        qualities = self.join_words(
            self.choose_word(clause, "quality"), self.choose_word(clause, "origin")
        )
        if "number" in clause.slots or clause.plural:
            number = self.choose_word(clause, "number") or "some"
            return self.join_words(number, qualities, form_plural(noun)), True
        phrase = self.join_words(qualities, noun)
        return (f"the {phrase}" if self.definite else add_article(phrase)), False

    def write_thing(self, clause: Clause) -> str:
        noun = self.choose_word(clause, "object")
        parts = self.choose_word(clause, "thing_quality"), self.choose_word(clause, "color"), noun
        phrase = self.join_words(*parts)
        return f"the {phrase}" if self.definite else add_article(phrase)

    def write_sentence(self, clause: Clause) -> str:
        text = getattr(self, f"write_{clause.template}")(clause)
        circumstances = [self.choose_word(clause, slot) for slot in ("company", "place", "time")]
        if (
            clause.template == "state"
        ):  # the place belongs to the thing: "The chair in the kitchen is heavy."
            circumstances = [self.choose_word(clause, "time")]
        text = self.join_words(text, *circumstances)
        return text[0].upper() + text[1:] + "."

    def write_deed(self, clause: Clause) -> str:
        subject, plural = self.write_actor(clause)
        thing = self.write_thing(clause) if "object" in clause.slots else ""
        verb = self.choose_word(clause, "verb")
        manner = self.choose_word(clause, "manner")
        if clause.frame is None:
            return self.join_words(subject, verb, thing, manner)
        frame = self.rng.choice(clause.frame)[plural]
        denial = "not" if clause.negated else ""
        return self.join_words(subject, frame, denial, verb, thing, manner)

    write_move = write_deed

    def write_state(self, clause: Clause) -> str:
        noun = self.choose_word(clause, "object")
        subject = self.join_words(
            "the", self.choose_word(clause, "color"), noun, self.choose_word(clause, "place")
        )
        denial = "not" if clause.negated else ""
        also = f"and {self.choose_word(clause, 'also')}" if "also" in clause.slots else ""
        return self.join_words(subject, "is", denial, self.choose_word(clause, "predicate"), also)

    def write_trade(self, clause: Clause) -> str:
        giver, taker = (f"the {self.choose_word(clause, slot)}" for slot in ("giver", "taker"))
        thing = self.write_thing(clause)
        if "gives" in clause.slots:
            return f"{giver} will {self.choose_word(clause, 'gives')} {thing} to {taker}"
        return f"{taker} will {self.choose_word(clause, 'takes')} {thing} from {giver}"


class Grammar:
    """Draws labeled pairs of sentences.

    Args:
        rng: Random number generator.
        hold_out: Whether the held-out oppositions are never decisive.
    """

    def __init__(self, rng: random.Random, hold_out: bool) -> None:
        self.rng = rng
        self.hold_out = hold_out

    def make_pair(self, label: int) -> tuple[str, str]:
        """Return a premise and a hypothesis.

        Args:
            label: 0 entailment, 1 neutral, 2 contradiction. The hypothesis does not depend on it.
        """
        hypothesis = self.make_hypothesis()
        premise = self.make_premise(hypothesis, label)
        writer = Writer(self.rng, definite=self.rng.random() < 0.6)
        second = writer.write_sentence(hypothesis.clause)
        return writer.write_sentence(premise), second

    # -- hypotheses ------------------------------------------------------------------------------

    def make_hypothesis(self) -> Hypothesis:
        template = self.rng.choice(TEMPLATES)
        if template == "trade":
            return self.make_trade()
        pivot = self.rng.choice(PIVOT_SLOTS[template])
        clause, opposite, trainable = self.with_pivot(template, pivot)
        decisive = pivot
        if self.hold_out and not trainable:
            slot = self.rng.choice([s for s in EXCLUSIVE if s in EXTRAS[template] and s != pivot])
            clause = clause.set_slots(**{slot: self.rng.choice(EXTRAS[template][slot])})
            decisive, opposite = slot, self.choose_another(template, slot, clause)
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
        """Return a bare clause, the opposite of its pivot, and whether the pivot may be decisive."""
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

    def make_trade(self) -> Hypothesis:
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
            clause = clause.set_slots(**{slot: self.rng.choice(pool[slot])})
        return clause

    def is_complementary(self, clause: Clause) -> bool:
        return any(
            clause.slots["verb"] in (first, second) and first[0] in words.COMPLEMENTARY
            for first, second, _ in words.DEEDS_OPPOSED
        )

    def choose_another(self, template: str, slot: str, clause: Clause) -> Sense:
        return self.rng.choice([s for s in EXTRAS[template][slot] if s != clause.slots[slot]])

    # -- premises --------------------------------------------------------------------------------

    def make_premise(self, hypothesis: Hypothesis, label: int) -> Clause:
        clause = hypothesis.clause
        removed = None
        if label == NEUTRAL:
            removed = self.rng.choice(hypothesis.removable)
            clause = self.open_slot(clause, removed)
        elif hypothesis.decisive == "roles":
            clause = self.change_voice(clause)
            if label == CONTRADICTION:
                giver, taker = clause.slots["giver"], clause.slots["taker"]
                clause = clause.set_slots(giver=taker, taker=giver)
        # A negated hypothesis is contradicted by the same word and entailed by the opposite.
        elif (label == CONTRADICTION) != clause.negated:
            clause = clause.set_slots(**{hypothesis.decisive: hypothesis.opposite})
        clause = replace(clause, negated=False)
        if clause.slots.get("agent") == PERSON and self.rng.random() < 0.5:
            clause = clause.set_slots(agent=self.rng.choice(words.PEOPLE))
        if hypothesis.clause.plural and self.rng.random() < 0.5:  # "three" entails "some"
            clause = clause.set_slots(number=self.rng.choice(words.NUMBERS))
        if clause.template == "state" and removed != "predicate" and self.rng.random() < 0.5:
            clause = clause.set_slots(also=self.rng.choice(words.STATES))
        # A number only in the premise would turn one person into several.
        avoid = {*hypothesis.reserved, "number", *([removed] if removed else [])}
        # A neutral premise gets another slot for the removed one, so its length reveals little.
        count = self.rng.randint(0, 1) + (removed is not None and removed not in clause.slots)
        return self.with_extras(clause, avoid, count)

    def open_slot(self, clause: Clause, slot: str) -> Clause:
        """Return a clause without the information of a slot."""
        if slot == "agent":
            return clause.set_slots(agent=PERSON)
        if slot == "verb":
            others = words.DEEDS if clause.template == "deed" else words.PASTIMES
            return clause.set_slots(verb=self.rng.choice(others))
        if slot == "predicate":
            return clause.set_slots(predicate=self.rng.choice(words.STATES))
        return clause.drop_slot(slot)

    def change_voice(self, clause: Clause) -> Clause:
        """Return the same trade, seen from the other side half of the time."""
        if self.rng.random() < 0.5:
            return clause
        for gives, takes in words.TRADES:
            if clause.slots.get("gives") == gives:
                return clause.drop_slot("gives").set_slots(takes=takes)
            if clause.slots.get("takes") == takes:
                return clause.drop_slot("takes").set_slots(gives=gives)
        return clause


def build_split(name: str, taken: set[tuple[str, str]]) -> list[dict[str, object]]:
    """Build the rows of a split with balanced labels. All pairs are new and are added to `taken`."""
    rng = random.Random(f"hf_bat demo {name}")
    grammar = Grammar(rng, hold_out=name == "train")
    labels = [number % 3 for number in range(SPLITS[name])]
    rng.shuffle(labels)
    rows: list[dict[str, object]] = []
    for number, label in enumerate(labels):
        pair = grammar.make_pair(label)
        while pair in taken or pair[0] == pair[1]:
            pair = grammar.make_pair(label)
        taken.add(pair)
        rows.append({"premise": pair[0], "hypothesis": pair[1], "label": label, "idx": number})
    return rows


def build(folder: Path) -> None:
    """Write `train.jsonl.gz` and `validation.jsonl.gz`."""
    folder.mkdir(parents=True, exist_ok=True)
    taken: set[tuple[str, str]] = set()
    for name in SPLITS:
        text = "".join(json.dumps(row) + "\n" for row in build_split(name, taken))
        # Without name and time in the header, the bytes only depend on the rows.
        (folder / f"{name}.jsonl.gz").write_bytes(gzip.compress(text.encode(), mtime=0))


def main() -> None:
    """Write the demo data."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output_dir", type=Path, default=FOLDER)
    build(parser.parse_args().output_dir)


if __name__ == "__main__":
    main()
