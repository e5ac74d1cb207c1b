"""Tables from wordnets in other languages: a small German wordnet, with and without the package wn."""

import pytest

from hf_bat import HfBatError
from hf_bat.lexicon import tables_from_wn

# Synset -> its words, and pairs of antonyms that are linked in one direction.
SYNSETS = {
    "1-a": ["gut", "prima", "sehr gut"],
    "2-a": ["schlecht", "mies"],
    "3-a": ["warm"],
    "4-a": ["kalt"],
    "5-a": ["prima", "erstklassig"],
}
ANTONYMS = [("1-a", "gut", "2-a", "schlecht"), ("3-a", "warm", "4-a", "kalt")]
EXPECTED_SYNONYMS = {
    "gut": ("prima",),
    "prima": ("gut", "erstklassig"),
    "erstklassig": ("prima",),
    "schlecht": ("mies",),
    "mies": ("schlecht",),
}
EXPECTED_ANTONYMS = {
    "gut": ("schlecht",),
    "schlecht": ("gut",),
    "warm": ("kalt",),
    "kalt": ("warm",),
}


class Node:
    """A word, sense, synset or wordnet with the methods of wn that return these values."""

    def __init__(self, **values):
        for name, value in values.items():
            setattr(self, name, lambda *_, value=value: value)


def make_wordnet():
    synsets = {number: Node(lemmas=words) for number, words in SYNSETS.items()}
    words = {lemma: Node(lemma=lemma) for words in SYNSETS.values() for lemma in words}
    senses = {
        (number, lemma): Node(synset=synsets[number], word=words[lemma], get_related=[])
        for number, lemmas in SYNSETS.items()
        for lemma in lemmas
    }
    for number, lemma, other_number, other in ANTONYMS:
        related = [senses[other_number, other]]
        senses[number, lemma].get_related = lambda *_, related=related: related
    for lemma, word in words.items():
        own = [sense for (_, name), sense in senses.items() if name == lemma]
        word.senses = lambda own=own: own
    lexicon = Node(specifier="test-de:1.0")
    return Node(words=list(words.values()), lexicons=[lexicon])


def test_tables_have_the_words_of_synsets_and_linked_senses():
    synonyms, antonyms = tables_from_wn(make_wordnet())
    assert dict(synonyms) == EXPECTED_SYNONYMS
    assert dict(antonyms) == EXPECTED_ANTONYMS
    assert synonyms.metadata["source"] == "test-de:1.0"


def test_wn_gives_the_same_tables(tmp_path):
    wn = pytest.importorskip("wn")
    entries = []
    for lemma in dict.fromkeys(lemma for words in SYNSETS.values() for lemma in words):
        senses = ""
        for number, words in SYNSETS.items():
            if lemma in words:
                links = "".join(
                    f'<SenseRelation relType="antonym" target="s-{other_number}-{other}"/>'
                    for n, name, other_number, other in ANTONYMS
                    if (n, name) == (number, lemma)
                )
                key = lemma.replace(" ", "_")
                senses += f'<Sense id="s-{number}-{key}" synset="{number}">{links}</Sense>'
        key = lemma.replace(" ", "_")
        entries.append(
            f'<LexicalEntry id="w-{key}"><Lemma writtenForm="{lemma}" partOfSpeech="a"/>{senses}'
            "</LexicalEntry>"
        )
    synsets = "".join(f'<Synset id="{n}" ili="" partOfSpeech="a"/>' for n in SYNSETS)
    path = tmp_path / "de.xml"
    path.write_text(
        '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE LexicalResource SYSTEM '
        '"http://globalwordnet.github.io/schemas/WN-LMF-1.0.dtd">\n<LexicalResource '
        'xmlns:dc="http://purl.org/dc/elements/1.1/"><Lexicon id="test-de" label="test" language="de" '
        f'email="a@b.c" license="none" version="1.0">{"".join(entries)}{synsets}</Lexicon></LexicalResource>',
        encoding="utf-8",
    )
    wn.config.data_directory = tmp_path / "data"
    wn.add(path, progress_handler=None)
    synonyms, antonyms = tables_from_wn(wn.Wordnet("test-de:1.0"))
    assert {word: set(others) for word, others in synonyms.items()} == {
        word: set(others) for word, others in EXPECTED_SYNONYMS.items()
    }
    assert dict(antonyms) == EXPECTED_ANTONYMS


@pytest.mark.parametrize("source", ["odenet:1.4", Node(words=[], lexicons=[])])
def test_other_things_are_refused(source):
    with pytest.raises(HfBatError, match="wordnet"):
        tables_from_wn(source)
