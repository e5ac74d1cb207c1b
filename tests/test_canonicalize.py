"""The preprocessing defense: components, representatives, and exchanges that change no canonical text."""

import itertools
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_bat.attack import Attack, CallableModel, CanonicalizedModel
from hf_bat.canonicalize import Canonicalizer
from hf_bat.lexicon import SubstitutionTable, wordnet_synonyms
from hf_bat.perturbations import SynonymPerturbation

TABLE = SubstitutionTable(
    {
        "auto": ("car",),
        "automobile": ("auto",),
        "kid": ("child", "youngster"),
        "glad": ("happy",),
        "happy": ("cheerful",),
    }
)
CANONICAL = Canonicalizer(TABLE)
WORDS = [
    "auto",
    "car",
    "automobile",
    "kid",
    "child",
    "youngster",
    "glad",
    "happy",
    "cheerful",
    "the",
    "x",
]
CASES = st.sampled_from([str.lower, str.upper, str.capitalize, lambda w: w[:1] + w[1:].upper()])
TOKENS = st.builds(
    lambda word, case, mark: case(word) + mark,
    st.sampled_from(WORDS), CASES, st.sampled_from(["", ".", ",", "!?", "'s"]),
)  # fmt: skip
TEXTS = st.lists(TOKENS, max_size=6).flatmap(
    lambda tokens: st.lists(
        st.sampled_from([" ", "  ", "\n"]), min_size=len(tokens), max_size=len(tokens)
    ).map(lambda gaps: "".join(itertools.chain(*zip(tokens, gaps, strict=True))))
)


def every_substitution(perturbation, text):
    """Return all of S_x, in which any number of words are replaced by words in their sets."""
    tokens = text.split(" ")
    options = [[token, *perturbation._options[token]] for token in tokens]
    return {" ".join(choice) for choice in itertools.product(*options)}


def closed(table):
    """Return a table that maps each word to all other words in its component."""
    canonical = Canonicalizer(table)
    words = {*table, *itertools.chain(*table.values())}
    groups = {}
    for word in words:
        groups.setdefault(canonical(word), []).append(word)
    return {word: [o for o in sorted(g) if o != word] for g in groups.values() for word in g}


@pytest.mark.parametrize("table", [TABLE, closed(TABLE)], ids=["as-given", "components"])
@pytest.mark.parametrize(
    "text", ["The Kid drives an AUTO.", "a happy child, glad car", "x Glad youngster!"]
)
def test_all_sentences_of_the_synonym_set_have_one_canonical_text(table, text):
    canonical, fickle = Canonicalizer(table), SynonymPerturbation(table)
    sentences = every_substitution(fickle, text)
    assert len(sentences) > 1
    assert {canonical(sentence) for sentence in sentences} == {canonical(text)}


@settings(max_examples=300, deadline=None)
@given(TEXTS)
def test_it_is_idempotent_and_changes_only_words(text):
    once = CANONICAL(text)
    assert CANONICAL(once) == once
    assert len(once.split()) == len(text.split())
    assert [c for c in once if c.isspace()] == [c for c in text if c.isspace()]


@settings(max_examples=300, deadline=None)
@given(TEXTS)
def test_a_single_edit_keeps_the_canonical_text(text):
    for edit in SynonymPerturbation(TABLE).candidates((text,)):
        assert CANONICAL(edit.texts[0]) == CANONICAL(text)


def test_the_most_frequent_word_represents_its_component_in_any_order():
    assert [CANONICAL(w) for w in ("auto", "automobile", "car")] == ["car"] * 3
    assert [CANONICAL(w) for w in ("kid", "youngster")] == ["child"] * 2
    backwards = {w: o[::-1] for w, o in reversed(list(TABLE.items()))}
    assert Canonicalizer(backwards).fingerprint == CANONICAL.fingerprint
    assert Canonicalizer({"zzb": ["zza", "zzzz"]}).representatives == dict.fromkeys(
        ("zza", "zzb", "zzzz"), "zza"
    )


def test_entries_that_are_not_plain_words_are_ignored():
    odd = {
        "USA": ["america"], "ice cream": ["sorbet"], "mr.": ["mister"], "3d": ["solid"],
        "\u00df\u00df": ["ess"], "-ab": ["cd"],
    }  # fmt: skip
    canonical = Canonicalizer(odd)
    assert canonical.representatives == {}
    assert canonical.describe()["largest"] == 0
    assert canonical("We USA 3d mr.") == "We USA 3d mr."


def test_an_attack_that_inserts_a_stop_word_cannot_succeed():
    # A stop word that is only in NLTK's list, and one in both lists that is only inserted by edits.
    table = {"win": ["won"], "won": ["win"], "till": ["until"]}
    canonical = Canonicalizer(table)
    row = {"premise": "Children win games till noon", "hypothesis": "they won", "label": 0}

    def model(pairs):
        return [
            [0.1, 0.8, 0.1] if {"won", "until"} & {*p.split()} else [0.9, 0.05, 0.05]
            for p, _ in pairs
        ]

    defended = CanonicalizedModel(CallableModel(model), canonical)
    report = Attack("synonym", defended, task="snli", synonyms=table).run([row])
    assert report["synonym"]["candidates"] > 0 and report["synonym"]["asr"] == 0.0
    # Stop words that are not in the table do not change.
    assert (
        canonical("You did not win till 3")
        == f"You did not {canonical('won')} {canonical('until')} 3"
    )


def differing(table, casing="keep"):
    """Return the replacements of a table, in all case patterns, that change the canonical text."""
    canonical = Canonicalizer(table, casing)
    every = SynonymPerturbation(table, exclude_stopwords=False, casing=casing)
    return [
        (form, other)
        for word in table
        for form in dict.fromkeys((word, word.capitalize(), word.upper()))
        for other in every.replacements(form)
        if canonical(form) != canonical(other)
    ]


PLAIN = [
    "v",
    "vs",
    "versus",
    "b",
    "bee",
    "b2",
    "3",
    "three",
    "\u597d",
    "won",
    "win",
    "me",
    "i",
    "it's",
]


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(PLAIN), st.lists(st.sampled_from(PLAIN), min_size=1, max_size=4)
    ),
    st.sampled_from(["keep", "authors"]),
)
def test_exchanges_of_plain_words_keep_the_canonical_text_in_any_case(table, casing):
    table = SubstitutionTable(table)
    assert differing(table, casing) == []
    canonical = Canonicalizer(table, casing)
    for word in PLAIN:
        assert canonical(canonical(word.upper())) == canonical(word.upper())


@pytest.mark.parametrize("casing", ["keep", "authors"])
@pytest.mark.parametrize("task", ["snli", "mnli", "qqp", "mrpc"])
def test_replacements_of_the_authors_tables_keep_the_canonical_text(shared, task, casing):
    path = shared / "lexicons" / f"{task}_perturbation_constraint_pca0.8_100.pkl"
    assert differing(SubstitutionTable.load(path), casing) == []


@pytest.mark.parametrize("casing", ["keep", "authors"])
def test_replacements_of_the_bundled_table_keep_the_canonical_text(casing):
    assert differing(wordnet_synonyms(), casing) == []


def test_the_authors_casing_gives_another_mapping():
    canonical = Canonicalizer(TABLE, "authors")
    assert canonical("An Auto, a CAR.") == canonical("An car, a car.") == "An car, a car."
    assert canonical.fingerprint != CANONICAL.fingerprint
    assert canonical.describe()["casing"] == "authors"


def test_the_description_has_the_fingerprints_and_sizes():
    described = CANONICAL.describe()
    assert described == {
        "name": "canonicalize", "fingerprint": CANONICAL.fingerprint, "table": TABLE.fingerprint,
        "casing": "keep", "words": 9, "components": 3, "largest": 3,
    }  # fmt: skip
    again = pickle.loads(pickle.dumps(CANONICAL))
    assert again("An Auto") == "An Car" and again.fingerprint == CANONICAL.fingerprint


def test_the_bundled_wordnet_synonyms_are_the_default():
    canonical = Canonicalizer()
    assert canonical.describe()["table"] == wordnet_synonyms().fingerprint
    assert canonical.describe()["largest"] < 100
    fickle = SynonymPerturbation(wordnet_synonyms())
    text = "A young child walks his dog near a large automobile on the pavement."
    assert {canonical(edit.texts[0]) for edit in fickle.candidates((text,))} == {canonical(text)}
