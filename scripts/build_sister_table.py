"""Write the table of sister terms that ships in the package.

    python scripts/build_sister_table.py

This script reads the bundled WordNet and writes `hf_bat/lexicon/data/default_sisters.json.gz` with words
of a class that exclude each other, nearest first. The classes and their everyday members are listed
here, because WordNet does not state which co-hyponyms exclude each other (for example, a pet is a sister
of a dog) and which of them are common. WordNet decides whether words belong to their class, whether two
words are not a pair because one contains the other, and how close two words are. The output is
deterministic for a WordNet version.
"""

import argparse
import sys
from itertools import combinations
from pathlib import Path

from hf_bat.lexicon import SubstitutionTable, WordNet, load_wordnet
from hf_bat.lexicon.bundled import DEFAULT_SISTERS
from hf_bat.lexicon.wordnet_tables import list_inflections

MOST = 8  # replacements per word
# Minimum share of each word's tagged uses in its class.
LEAST_SHARE = 0.5
# Class -> (roots in WordNet, whether its nouns have plurals, members with the most common first). A
# word in two classes belongs to the first one. The names are in the metadata of the bundled table.
CLASSES = {
    "colours": (
        ("color", "visible_property", "coloring_material"),
        False,
        "white black red blue green yellow brown pink gray orange purple tan beige violet maroon "
        "turquoise lavender grey",
    ),
    "animals": (
        ("animal",),
        True,
        "dog cat horse bird cow fish sheep pig goat rabbit chicken elephant monkey lion tiger bear "
        "wolf fox deer mouse rat snake frog turtle duck goose eagle owl parrot pigeon penguin whale "
        "dolphin shark camel donkey giraffe zebra squirrel butterfly bee spider ant turkey rooster "
        "swan crab seal kangaroo leopard cheetah buffalo bull hen lamb lobster octopus lizard "
        "crocodile alligator tortoise hamster poodle beagle bulldog dalmatian dachshund greyhound",
    ),
    "fruit and vegetables": (
        ("fruit", "edible_fruit", "vegetable", "plant", "food"),
        True,
        "apple banana orange strawberry grape lemon peach pear cherry pineapple mango watermelon melon "
        "blueberry raspberry plum lime tomato potato carrot onion cabbage lettuce cucumber broccoli "
        "corn pumpkin spinach pea celery garlic mushroom",
    ),
    "dishes": (
        ("food",),
        True,
        "pizza sandwich hamburger salad soup pasta spaghetti rice bread cake pie cookie steak cheese "
        "chocolate taco sushi omelet pancake waffle pretzel bagel doughnut muffin",
    ),
    "drinks": (
        ("beverage", "food"),
        False,
        "coffee tea beer wine milk juice lemonade whiskey vodka soda champagne cider rum gin",
    ),
    "materials": (
        ("material", "substance", "fabric", "metallic_element", "alloy"),
        False,
        "wood metal plastic glass leather cotton wool silk stone brick paper rubber concrete steel "
        "iron gold silver copper bronze denim linen velvet nylon polyester marble cardboard aluminum "
        "tin brass clay bamboo wooden",
    ),
    "vehicles": (
        ("vehicle", "craft", "conveyance"),
        True,
        "car truck bus train bicycle bike motorcycle boat ship airplane plane helicopter van taxi "
        "tractor ambulance scooter canoe kayak yacht ferry submarine tram tricycle wagon jeep "
        "limousine sled raft sailboat skateboard",
    ),
    "musical instruments": (
        ("musical_instrument",),
        True,
        "guitar piano drum violin trumpet flute saxophone cello harp accordion harmonica banjo "
        "clarinet trombone tuba keyboard ukulele fiddle",
    ),
    "sports": (
        ("sport", "game", "diversion", "athletic_game"),
        False,
        "soccer basketball baseball tennis hockey volleyball golf rugby cricket badminton lacrosse "
        "softball polo wrestling boxing skiing snowboarding surfing swimming skating gymnastics archery "
        "rowing fencing football",
    ),
    "furniture": (
        ("furniture", "furnishing"),
        True,
        "chair table bed sofa couch desk bench stool dresser bookcase wardrobe armchair cabinet crib "
        "recliner hammock",
    ),
    "clothing": (
        ("clothing", "footwear"),
        True,
        "shirt dress jacket coat skirt sweater hat cap helmet scarf suit vest hoodie sweatshirt tie "
        "glove sock shoe boot sandal sneaker belt robe apron bikini tuxedo kimono blouse jeans shorts "
        "pants trousers",
    ),
    "body parts": (
        ("body_part", "external_body_part"),
        True,
        "hand head arm leg foot face eye ear nose mouth finger knee shoulder neck elbow ankle wrist toe "
        "thumb stomach chest chin cheek forehead hip thigh",
    ),
    "nationalities": (
        ("inhabitant", "person", "nation", "language", "people"),
        False,
        "american british french german italian spanish chinese japanese indian russian mexican "
        "canadian brazilian australian korean greek turkish irish polish swedish dutch egyptian "
        "vietnamese portuguese norwegian danish thai pakistani iranian israeli",
    ),
    "countries": (
        ("country", "state", "district", "location"),
        False,
        "america china india france germany italy spain japan russia mexico canada brazil australia "
        "england korea greece ireland poland sweden egypt vietnam portugal norway denmark pakistan iran "
        "israel switzerland austria",
    ),
    "days": (
        ("weekday", "day_of_the_week", "day"),
        True,
        "monday tuesday wednesday thursday friday saturday sunday",
    ),
    "months": (
        ("calendar_month", "gregorian_calendar_month"),
        False,
        "january february april june july august september october november december",
    ),
    "seasons": (("season", "time_of_year"), True, "summer winter spring autumn"),
    "times of day": (("time_period", "day"), True, "morning afternoon evening noon midnight"),
    "meals": (("meal",), False, "breakfast lunch dinner brunch supper"),
    "rooms": (("room", "area"), True, "kitchen bedroom bathroom classroom"),
    "buildings": (
        ("building", "structure", "establishment"),
        True,
        "hospital hotel restaurant church school theater garage barn castle supermarket bakery stadium "
        "gymnasium lighthouse greenhouse",
    ),
    "tools": (
        ("tool", "implement", "cutlery"),
        True,
        "hammer saw drill screwdriver shovel rake axe knife fork spoon wrench scissors",
    ),
    "weapons": (("weapon",), True, "gun rifle sword bow pistol spear dagger shotgun"),
}
# Plurals that WordNet lists but nobody writes. Their words have no plural.
UNUSED_PLURALS = ("fishes", "gymnasia", "pease", "stadia", "tubae")
# A color word in a sentence is a color, regardless of WordNet's few counts.
ANY_SHARE = ("colours", "nationalities", "months", "seasons")


class Classes:
    """The synsets below a set of roots, and the distances between their words."""

    def __init__(self, wordnet: WordNet, roots: tuple[str, ...]):
        self.wordnet = wordnet
        self.roots = {number for root in roots for number in wordnet.senses(root, "n")}

    def list_senses(self, word: str) -> list[int]:
        """Return the noun senses of a word that are below a root."""
        senses = self.wordnet.senses(word, "n")
        return [number for number in senses if self.roots & self.measure_steps(number).keys()]

    def measure_steps(self, number: int) -> dict[int, int]:
        """Return the number of steps from a synset up to each of its ancestors, including itself."""
        steps_to, level, steps = {number: 0}, [number], 0
        while level:
            steps += 1
            level = [p for child in level for p in self.wordnet.parents(child) if p not in steps_to]
            steps_to.update(dict.fromkeys(level, steps))
        return steps_to

    def measure_distance(self, word: str, other: str) -> int | None:
        """Return the steps between the senses of two words, or `None` if one contains the other."""
        best = None
        for sense in self.list_senses(word):
            for other_sense in self.list_senses(other):
                first, second = self.measure_steps(sense), self.measure_steps(other_sense)
                if sense in second or other_sense in first:
                    return None
                shared = first.keys() & second.keys()
                steps = min((first[n] + second[n] for n in shared), default=99)
                best = steps if best is None else min(best, steps)
        return best

    def compute_share(self, word: str) -> float:
        """Return the share of the word's tagged uses, of any part of speech, in the class."""
        within, total, senses = 0, 0, set(self.list_senses(word))
        for pos in "nvar":
            counts = self.wordnet.sense_counts(word, pos)
            for number, count in zip(self.wordnet.senses(word, pos), counts, strict=True):
                total += count
                within += count if number in senses else 0
        return within / total if total else 1.0


def build(wordnet: WordNet) -> tuple[SubstitutionTable, dict[str, str]]:
    """Build the table, and return it with the words that are left out -> the reason."""
    table: dict[str, list[str]] = {}
    dropped: dict[str, str] = {}
    for name, (roots, plurals, listed) in CLASSES.items():
        classes = Classes(wordnet, roots)
        words = []
        for word in listed.split():
            if word in table:
                dropped[f"{word} ({name})"] = "in an earlier class"
            elif not classes.list_senses(word):
                dropped[f"{word} ({name})"] = "not in the class"
            elif name not in ANY_SHARE and classes.compute_share(word) < LEAST_SHARE:
                share = classes.compute_share(word)
                dropped[f"{word} ({name})"] = f"in the class in {share:.0%} of its uses"
            else:
                words.append(word)
        near: dict[str, list[tuple[int, int, str]]] = {word: [] for word in words}
        for word, other in combinations(words, 2):
            steps = classes.measure_distance(word, other)
            if steps is not None:
                # If words are equally close, the more common one is first.
                near[word].append((steps, words.index(other), other))
                near[other].append((steps, words.index(word), word))
        for word, others in near.items():
            sisters = [other for _, _, other in sorted(others)]
            table[word] = sisters[:MOST]
            plural = find_plural(word, wordnet) if plurals else None
            if plural and plural not in table:
                plural_sisters = (find_plural(other, wordnet) for other in sisters)
                table[plural] = [other for other in plural_sisters if other][:MOST]
    options = {"classes": list(CLASSES), "most": MOST, "least_share": LEAST_SHARE}
    metadata = {
        "kind": "sister terms",
        "built": f"listed words that WordNet {wordnet.version} (bundled) holds to exclude each other",
        "sources": {"wordnet": wordnet.sha256},
        "options": options,
    }
    return SubstitutionTable(table, metadata), dropped


def find_plural(word: str, wordnet: WordNet) -> str | None:
    """Return the plural of a noun, or `None` if it is unused or the same."""
    form = list_inflections(word, "n", wordnet).get("plural")
    unused = word.endswith("s") or form == word or form in UNUSED_PLURALS
    return None if unused else form


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=DEFAULT_SISTERS)
    args = parser.parse_args()
    table, dropped = build(load_wordnet())
    table.save(args.output)
    for word, reason in dropped.items():
        print(f"left out: {word}: {reason}")
    print(f"{args.output.stat().st_size:,} bytes: {table}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
