"""The words in the demo sentences written by `build_demo_data.py`.

A *sense* is a tuple of interchangeable words (members of a WordNet synset). An *opposition* is a pair of
senses with first words that are antonyms in WordNet 3.0. The senses of a *family* exclude each other but
are not antonyms.
"""

from __future__ import annotations

Sense = tuple[str, ...]


def _parse_senses(text: str) -> list[Sense]:
    return [tuple(words.split("/")) for words in text.split()]


def _parse_oppositions(text: str) -> list[tuple[Sense, Sense]]:
    words = _parse_senses(text)
    return list(zip(words[::2], words[1::2], strict=True))


PLURALS = {"man": "men", "woman": "women", "wife": "wives", "child": "children", "person": "people"}

# Agents.
PEOPLE_OPPOSED = _parse_oppositions(
    "man woman boy girl husband wife father mother brother sister uncle aunt king queen "
    "nephew niece winner loser"
)
PEOPLE = _parse_senses(
    "dentist lawyer/attorney teacher/instructor student/pupil singer/vocalist "
    "writer/author policeman/officer painter farmer soldier waiter tourist sailor baker "
    "tailor dancer musician/player gardener carpenter clerk plumber"
)
PEOPLE_QUALITIES = _parse_oppositions(
    "tall short rich poor thin/slim/slender fat brave/courageous cowardly careful careless "
    "quiet noisy lucky unlucky honest dishonest patient impatient friendly unfriendly "
    "polite impolite strong weak experienced inexperienced happy unhappy kind unkind "
    "generous stingy wise foolish popular unpopular optimistic pessimistic healthy unhealthy"
)

# Deeds: an opposed pair of verbs, and the objects of both.
DEEDS_OPPOSED = [
    (first, second, _parse_senses(objects))
    for (first, second), objects in zip(
        _parse_oppositions(
            "open close/shut lock unlock push pull/draw raise lower fill empty pack unpack "
            "buy/purchase sell wrap unwrap hide/conceal show find/discover lose "
            "break repair/fix/mend fold unfold tie untie cover uncover love hate/detest "
            "accept reject/refuse remember forget clean dirty/soil hire fire trust distrust "
            "connect disconnect assemble disassemble"
        ),
        [
            "door gate window drawer suitcase",
            "door gate drawer car/automobile garage",
            "cart wagon bicycle/bike sled",
            "flag curtain bucket/pail ladder rope",
            "bucket/pail glass basket bag bottle",
            "suitcase bag trunk",
            "car/automobile house boat horse bicycle/bike painting/picture sofa/couch coat",
            "gift parcel sandwich vase",
            "letter photograph/photo ring gift wallet",
            "ring wallet letter watch hat",
            "chair window radio bicycle/bike toy fence watch",
            "map blanket newspaper/paper shirt",
            "rope ribbon boat horse",
            "pot boat bicycle/bike pool chair",
            "movie/film song book painting/picture house",
            "gift letter ring book coat",
            "song movie/film book letter",
            "rug/carpet sofa/couch shirt coat floor",
            "dentist lawyer/attorney waiter baker gardener teacher/instructor",
            "dentist lawyer/attorney baker teacher/instructor soldier",
            "radio lamp computer telephone/phone",
            "bicycle/bike radio lamp computer tent",
        ],
        strict=True,
    )
]
# Verbs with a negation that means their opposite.
COMPLEMENTARY = {
    *("open", "lock", "hide", "accept", "remember", "cover", "trust", "love", "tie", "find")
}
DEEDS = _parse_senses(
    "paint carry photograph watch sketch touch describe inspect mention examine/study"
)

# Things and their properties.
THING_QUALITIES = _parse_oppositions(
    "big/large small/little heavy light new old clean dirty/soiled expensive cheap/inexpensive "
    "beautiful ugly wet dry useful useless thick thin long short smooth rough "
    "soft hard hot cold"
)
THINGS = _parse_senses(
    "table bench car/automobile sofa/couch chair coat rug/carpet bag boat bicycle/bike "
    "painting/picture door house shirt blanket basket bucket/pail book tent"
)
COLORS = _parse_senses("blue yellow brown gray/grey purple orange pink")

# Manner, place and time.
MANNERS_OPPOSED = _parse_oppositions(
    "quickly/rapidly/speedily slowly carefully carelessly quietly noisily "
    "patiently impatiently happily unhappily politely impolitely gracefully gracelessly"
)
PLACES_OPPOSED = _parse_oppositions("indoors/inside outdoors/outside upstairs downstairs")
PLACES = [
    tuple(f"{preposition} the {noun}" for noun in nouns)
    for preposition, text in (
        ("in", "kitchen garage basement/cellar attic/loft hallway/hall hospital/infirmary"),
        ("in", "garden library forest/woods store village museum"),
        ("at", "airport beach station market/marketplace school"),
    )
    for nouns in _parse_senses(text)
]
TIMES = [
    ("in autumn",),
    ("in spring", "in springtime"),
    ("this Monday",),
    ("this Friday",),
    ("this Sunday",),
    ("at noon", "at midday"),
    ("at midnight",),
    ("at dusk", "at twilight"),
]
COMPANY = [
    *(
        ("with a colleague",),
        ("with a cousin",),
        ("with a dog",),
        ("for a client", "for a customer"),
    ),
    *(("for a neighbor",), ("because of the weather",), ("beside a camera",)),
]
NUMBERS = _parse_senses("two three four five six")

# Verbs without an object.
MOVES_OPPOSED = _parse_oppositions("stand sit laugh cry/weep win lose arrive leave")
MOVES = _parse_senses("kneel dance jog skate wrestle juggle crawl/creep whistle")
PASTIMES = _parse_senses("read chat wait talk/speak sing eat study")

# Verbs for the two sides of an event: handing over a thing and receiving it.
TRADES = _parse_oppositions("sell buy/purchase lend/loan borrow")

ORIGINS = _parse_senses("Italian French Spanish Mexican Swedish Japanese Turkish Canadian")

# Auxiliaries in the singular and plural.
FRAMES = [
    (("will", "will"),),
    (("is about to", "are about to"),),
    (("wants to", "want to"),),
    (("has to", "have to"), ("must", "must")),
    (("plans to", "plan to"), ("intends to", "intend to")),
]

# States of a thing that are independent of the properties above.
STATES = [
    ("Swedish",),
    ("Italian",),
    ("Turkish",),
    ("wooden",),
    ("painted",),
    ("on sale",),
    ("a gift",),
    ("in use",),
]
