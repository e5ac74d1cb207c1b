"""The words of the demo's sentences; `build_demo_data.py` puts them together.

A *sense* is a tuple of words that may stand for one another (members of one WordNet synset). An
*opposition* is a pair of senses whose first words are antonyms in WordNet 3.0. A *family* is a list
of senses that exclude one another without being antonyms.
"""

from __future__ import annotations

Sense = tuple[str, ...]


def _senses(text: str) -> list[Sense]:
    return [tuple(words.split("/")) for words in text.split()]


def _oppositions(text: str) -> list[tuple[Sense, Sense]]:
    words = _senses(text)
    return list(zip(words[::2], words[1::2], strict=True))


PLURALS = {"man": "men", "woman": "women", "wife": "wives", "child": "children", "person": "people"}

# Who acts.
PEOPLE_OPPOSED = _oppositions(
    "man woman boy girl husband wife father mother brother sister uncle aunt king queen "
    "nephew niece winner loser"
)
PEOPLE = _senses(
    "dentist lawyer/attorney teacher/instructor student/pupil singer/vocalist "
    "writer/author policeman/officer painter farmer soldier waiter tourist sailor baker "
    "tailor dancer musician/player gardener carpenter clerk plumber"
)
PEOPLE_QUALITIES = _oppositions(
    "tall short rich poor thin/slim/slender fat brave/courageous cowardly careful careless "
    "quiet noisy lucky unlucky honest dishonest patient impatient friendly unfriendly "
    "polite impolite strong weak experienced inexperienced happy unhappy kind unkind "
    "generous stingy wise foolish popular unpopular optimistic pessimistic healthy unhealthy"
)

# What is done: an opposed pair of verbs, and the objects of both.
DEEDS_OPPOSED = [
    (first, second, _senses(objects))
    for (first, second), objects in zip(
        _oppositions(
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
# Verb pairs of which one excludes exactly the other, so that "not" turns one into the other.
COMPLEMENTARY = {
    *("open", "lock", "hide", "accept", "remember", "cover", "trust", "love", "tie", "find")
}
DEEDS = _senses("paint carry photograph watch sketch touch describe inspect mention examine/study")

# What things are like.
THING_QUALITIES = _oppositions(
    "big/large small/little heavy light new old clean dirty/soiled expensive cheap/inexpensive "
    "beautiful ugly wet dry useful useless thick thin long short smooth rough "
    "soft hard hot cold"
)
THINGS = _senses(
    "table bench car/automobile sofa/couch chair coat rug/carpet bag boat bicycle/bike "
    "painting/picture door house shirt blanket basket bucket/pail book tent"
)
COLOURS = _senses("blue yellow brown gray/grey purple orange pink")

# How, where and when.
MANNERS_OPPOSED = _oppositions(
    "quickly/rapidly/speedily slowly carefully carelessly quietly noisily "
    "patiently impatiently happily unhappily politely impolitely gracefully gracelessly"
)
PLACES_OPPOSED = _oppositions("indoors/inside outdoors/outside upstairs downstairs")
PLACES = [
    tuple(f"{preposition} the {noun}" for noun in nouns)
    for preposition, text in (
        ("in", "kitchen garage basement/cellar attic/loft hallway/hall hospital/infirmary"),
        ("in", "garden library forest/woods store village museum"),
        ("at", "airport beach station market/marketplace school"),
    )
    for nouns in _senses(text)
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
NUMBERS = _senses("two three four five six")

# Movements and positions, without an object.
MOVES_OPPOSED = _oppositions("stand sit laugh cry/weep win lose arrive leave")
MOVES = _senses("kneel dance jog skate wrestle juggle crawl/creep whistle")
PASTIMES = _senses("read chat wait talk/speak sing eat study")

# Verbs that hand a thing over and those that receive it: the two sides of one event.
TRADES = _oppositions("sell buy/purchase lend/loan borrow")

ORIGINS = _senses("Italian French Spanish Mexican Swedish Japanese Turkish Canadian")

# How a sentence says that something will be done: for one, for several.
FRAMES = [
    (("will", "will"),),
    (("is about to", "are about to"),),
    (("wants to", "want to"),),
    (("has to", "have to"), ("must", "must")),
    (("plans to", "plan to"), ("intends to", "intend to")),
]

# What a thing may be that leaves the qualities above open.
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
