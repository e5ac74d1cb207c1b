"""The bundled WordNet compared with NLTK's reader and the authors' tables; default tables."""

import gzip
import importlib.util
import json
import pickle
import random
import subprocess
import sys
from pathlib import Path

import pytest

from hf_bat.errors import HfBatError
from hf_bat.lexicon import (
    SubstitutionTable,
    antonyms_from_wordnet,
    default_antonyms,
    load_wordnet,
    stopwords,
    synonyms_from_wordnet,
    wordnet_synonyms,
)
from hf_bat.lexicon.wordnet import BUNDLED, FILES, WordNet
from hf_bat.lexicon.wordnet_tables import list_inflections

SCRIPT = Path(__file__).parents[2] / "scripts" / "build_wordnet_table.py"
TASKS = ("mnli", "qqp", "mrpc", "snli")


@pytest.fixture(scope="module")
def nltk_wordnet(shared):
    """Return NLTK's reader for the real files."""
    nltk_data = pytest.importorskip("nltk.data")
    nltk_data.path.insert(0, str(shared / "nltk_data"))
    from nltk.corpus import wordnet

    yield wordnet
    nltk_data.path.remove(str(shared / "nltk_data"))


@pytest.fixture(scope="module")
def script():
    """Return the module of the script that writes the bundled files."""
    if not SCRIPT.is_file():
        pytest.skip("the scripts are not in an installed package")
    spec = importlib.util.spec_from_file_location("build_wordnet_table", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _task_words(shared):
    return {
        word
        for task in TASKS
        for kind in ("antonym_perturbation_set", "perturbation_constraint_pca0.8_100")
        for word in SubstitutionTable.load(shared / "lexicons" / f"{task}_{kind}.pkl")
    }


def test_look_up_by_inflected_form():
    wordnet = load_wordnet()
    assert wordnet.morphy("children", "n") == ["child"]
    assert wordnet.morphy("hated", "v") == ["hate", "hat"]
    assert wordnet.morphy("stopped", "v") == ["stop"]  # an exception to the rules
    assert wordnet.morphy("better", "a") == ["better", "good", "well"]
    assert wordnet.morphy("xyzzies", "n") == []
    assert wordnet.parts_of_speech("Dogs") == {"n", "v"}
    assert wordnet.parts_of_speech("xyzzy") == frozenset()
    assert [s.lemmas[0] for s in wordnet.synsets("ice_creams")] == ["ice_cream"]
    assert wordnet.antonyms(wordnet.synsets("hire", "v")[0]) == {"hire": ("fire",)}


@pytest.mark.slow
def test_same_synsets_and_antonyms_as_nltks_reader(shared, nltk_wordnet):
    """This covers every word in the authors' eight tables and some other words, including inflected ones."""
    ours = load_wordnet()
    some = random.Random(0)
    words = sorted(_task_words(shared)) + some.sample(ours.lemmas("n") + ours.lemmas("a"), 1000)
    for word in words:
        theirs = nltk_wordnet.synsets(word)
        mine = ours.synsets(word)
        assert [(s.pos, s.lemmas) for s in mine] == [
            (s.pos(), tuple(s.lemma_names())) for s in theirs
        ], word
        assert [ours.antonyms(s) for s in mine] == [
            {
                lemma.name(): tuple(a.name() for a in lemma.antonyms())
                for lemma in synset.lemmas()
                if lemma.antonyms()
            }
            for synset in theirs
        ], word


def test_same_parents_base_forms_and_counts_as_nltks_reader(nltk_wordnet):
    ours = load_wordnet()
    for word in ("dog", "run", "happy", "person", "walked", "mice"):
        for mine, theirs in zip(ours.synsets(word), nltk_wordnet.synsets(word), strict=True):
            above = theirs.hypernyms() + theirs.instance_hypernyms()
            if theirs.pos() == "s":
                above = theirs.similar_tos()
            parents = {ours.synset(number).lemmas for number in ours.parents(mine.number)}
            assert parents == {tuple(synset.lemma_names()) for synset in above}
        for pos in "nvar":
            lemma = ours.morphy(word, pos)[:1]
            assert lemma == ([nltk_wordnet.morphy(word, pos)] if lemma else [])
            if lemma:
                counts = [
                    one.count()
                    for synset in nltk_wordnet.synsets(lemma[0], pos)
                    for one in synset.lemmas()
                    if one.name().lower() == lemma[0]
                ]
                if not ours.exceptions[pos].get(lemma[0]):
                    assert (
                        ours.sense_counts(lemma[0], pos)
                        == counts[: len(ours.senses(lemma[0], pos))]
                    )


def test_bundled_relations_are_up_to_date(shared, script):
    path = shared / "nltk_data/corpora/wordnet.zip"
    assert script.read_relations(path) == json.loads(gzip.decompress(BUNDLED.read_bytes()))
    stated = script.read_license(path)
    assert BUNDLED.with_name("WORDNET-LICENSE.txt").read_text(encoding="utf-8") == stated
    assert "Copyright 2006 by Princeton University" in stated


@pytest.mark.parametrize(
    ("task", "same"), [("mnli", 7803), ("qqp", 6956), ("mrpc", 2585), ("snli", 4399)]
)
def test_agreement_with_the_released_antonyms(shared, task, same):
    """At least 99 % of their words have exactly the same set. Two of their words, one in MNLI and one
    in QQP, only have themselves as antonyms, so they are not in our tables.
    """
    theirs = SubstitutionTable.load(shared / "lexicons" / f"{task}_antonym_perturbation_set.pkl")
    ours = antonyms_from_wordnet(theirs)
    equal = sum(set(theirs[word]) == set(ours.get(word, ())) for word in theirs)
    assert equal == same
    assert equal / len(theirs) >= 0.99


def test_antonym_rule():
    table = antonyms_from_wordnet(["hires", "HIRES", "dog", "bigger", "hot"])
    assert table["hires"] == ("fire",)
    assert set(table["bigger"]) == {"little", "small"}
    assert "dog" not in table and "HIRES" not in table
    assert not any("_" in a for others in default_antonyms().values() for a in others)


def test_default_antonyms_have_every_form_that_a_look_up_reaches():
    """A word that is not in the default table has no antonyms by look-up."""
    wordnet = load_wordnet()
    some = random.Random(1)
    lemmas = [x for pos in "nvar" for x in some.sample(wordnet.lemmas(pos), 1500) if "_" not in x]
    forms = [
        lemma + ending
        for lemma in lemmas
        for ending in ("", "s", "es", "ed", "d", "ing", "er", "est")
    ]
    forms += [form for pos in "nva" for form in wordnet.exceptions[pos] if "_" not in form]
    looked_up = antonyms_from_wordnet(forms)
    expected = {
        word: default_antonyms()[word]
        for word in map(str.lower, forms)
        if word in default_antonyms()
    }
    assert len(looked_up) > 500
    assert dict(looked_up) == expected


@pytest.mark.slow
def test_default_tables_are_up_to_date(script):
    antonyms, synonyms = script.build_default_tables(load_wordnet())
    assert antonyms.fingerprint == default_antonyms().fingerprint
    assert synonyms.fingerprint == wordnet_synonyms().fingerprint
    assert antonyms.metadata == default_antonyms().metadata
    assert synonyms.metadata == wordnet_synonyms().metadata


def test_wordnet_synonyms():
    table = wordnet_synonyms()
    stop = stopwords("nltk") | stopwords("textfooler")
    assert not stop & set(table) and not stop & {x for others in table.values() for x in others}
    assert table["child"] == ("kid", "youngster")  # and not the rare word "nipper"
    assert table["children"] == ("kids", "youngsters")
    assert table["jumps"] == ("leaps", "springs")
    assert "jumped" not in table  # "leapt" or "leaped", "sprang" or "sprung": ambiguous
    assert not any(
        other in default_antonyms().get(word, ()) for word in table for other in table[word]
    )


def test_synonyms_are_mutual_senses():
    everything = synonyms_from_wordnet(["movie", "man"], senses="all", exclude=())
    frequent = synonyms_from_wordnet(["movie", "man"], exclude=())
    for word in frequent:
        assert set(frequent[word]) < set(everything[word])
    assert "piece" in everything["man"] and "piece" not in frequent.get("man", ())


def test_simlex_rates_the_wordnet_synonyms_high(shared):
    lines = (shared / "lexicons/SimLex-999.txt").read_text().splitlines()[1:]
    table = wordnet_synonyms()
    rows = [line.split("\t") for line in lines]
    rated = [
        float(r[3]) for r in rows if r[1] in table.get(r[0], ()) or r[0] in table.get(r[1], ())
    ]
    antonyms = [float(r[3]) for r in rows if r[1] in default_antonyms().get(r[0], ())]
    assert len(rated) >= 20 and sum(rated) / len(rated) > 8
    assert len(antonyms) >= 20 and sum(antonyms) / len(antonyms) < 3


@pytest.mark.parametrize(
    ("lemma", "pos", "kind", "form"),
    [
        ("dog", "n", "plural", "dogs"), ("church", "n", "plural", "churches"),
        ("city", "n", "plural", "cities"), ("child", "n", "plural", "children"),
        ("woman", "n", "plural", "women"), ("human", "n", "plural", None),
        ("photo", "n", "plural", None), ("hire", "v", "past", "hired"),
        ("hire", "v", "ing", "hiring"), ("stop", "v", "ing", "stopping"), ("cry", "v", "past", "cried"),
        ("go", "v", "past", None), ("cut", "v", "past", None), ("cost", "v", "past", None),
        ("open", "v", "past", None), ("die", "v", "ing", "dying"), ("agree", "v", "ing", "agreeing"),
        ("be", "v", "s", None), ("play", "v", "s", "plays"), ("happy", "a", "er", "happier"),
        ("large", "a", "est", "largest"), ("beautiful", "a", "er", None), ("fast", "a", "er", "faster"),
    ],
)  # fmt: skip
def test_inflection(lemma, pos, kind, form):
    assert list_inflections(lemma, pos, load_wordnet()).get(kind) == form


def test_nltks_wordnet_is_the_bundled_one(monkeypatch, shared):
    data = pytest.importorskip("nltk.data")
    monkeypatch.setattr(data, "path", [str(shared / "nltk_data")])
    wordnet = load_wordnet.__wrapped__("nltk")
    assert wordnet.sha256 == load_wordnet().sha256
    built = antonyms_from_wordnet(["hires", "hot"], wordnet)
    assert built == antonyms_from_wordnet(["hires", "hot"])
    assert built.metadata["built"] == "WordNet 3.0 (nltk)"


def test_another_wordnet_of_nltk_is_refused(monkeypatch, tmp_path):
    data = pytest.importorskip("nltk.data")
    monkeypatch.setattr(data, "path", [str(tmp_path)])
    folder = tmp_path / "corpora" / "wordnet"
    folder.mkdir(parents=True)
    for file in FILES:
        (folder / file).write_text("1 2 3\n")
    with pytest.raises(HfBatError, match="is not WordNet 3.0"):
        load_wordnet.__wrapped__("nltk")


def test_nltk_without_its_data(tmp_path):
    """In a process without NLTK data, the message explains what to install."""
    code = "from hf_bat.lexicon import load_wordnet; load_wordnet('nltk')"
    done = subprocess.run(
        [sys.executable, "-c", "import nltk.data; nltk.data.path[:] = []\n" + code],
        capture_output=True, text=True, env={"HOME": str(tmp_path), "PATH": ""},
    )  # fmt: skip
    assert "HfBatError" in done.stderr and "nltk.downloader wordnet" in done.stderr


def test_made_database(script, tmp_path):
    """Write two adjectives that are opposites in WordNet's format."""
    for file in FILES:
        (tmp_path / file).write_text("")
    (tmp_path / "data.adj").write_text(
        "  1 WordNet 9.9 Copyright\n"
        "00000001 00 a 02 hot 0 warm(p) 0 001 ! 00000002 a 0101 | gloss\n"
        "00000002 00 a 01 Cold 0 001 ! 00000001 a 0101 | gloss\n"
    )
    (tmp_path / "index.adj").write_text("hot a 1 1 ! 1 1 00000001\n")
    (tmp_path / "index.sense").write_text("hot%3:00:00:: 00000001 1 7\n")
    (tmp_path / "adj.exc").write_text("hotter hot\n")
    wordnet = WordNet(script.read_relations(tmp_path), "made")
    assert wordnet.version == "9.9"
    assert wordnet.antonyms(0) == {"hot": ("Cold",)}
    assert wordnet.synset(0).lemmas == ("hot", "warm")
    assert wordnet.sense_counts("hot", "a") == [7]
    table = antonyms_from_wordnet(["hotter", "hottest", "cold"], wordnet)
    assert dict(table) == {"hotter": ("Cold",), "cold": ("hot",)}  # no rule for doubled consonants
    (tmp_path / "data.noun").write_text("1 2 3\n")
    with pytest.raises(HfBatError, match="not a WordNet database"):
        script.read_relations(tmp_path)


def test_pickled_wordnet_gives_the_same_synsets():
    wordnet = pickle.loads(pickle.dumps(load_wordnet()))
    assert wordnet.synsets("dogs") == load_wordnet().synsets("dogs")


def test_stop_words():
    assert len(stopwords("nltk")) == 179 and len(stopwords("textfooler")) == 266
    assert {"the", "not", "is", "don't"} <= stopwords("nltk") & stopwords("textfooler")
