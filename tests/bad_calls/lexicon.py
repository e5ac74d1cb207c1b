"""Bad calls of `hf_bat.lexicon`."""

import gzip

from bad_calls import BadCall

from hf_bat.lexicon import (
    SubstitutionTable,
    load_wordnet,
    stopwords,
    synonyms_from_vectors,
    synonyms_from_wordnet,
    vocabulary_from_splits,
)
from hf_bat.lexicon.wordnet import read_files

ROWS = [{"premise": "One two.", "hypothesis": None}]
COLUMNS = ("premise", "hypothesis")
WRONG_WORDS = [
    {1: ["a"]}, {"": ["a"]}, {"a": "bc"}, {"a": 3}, {"a": [1]}, {"a": [["b"]]}, {"a": [""]},
    {"a": {"b": 1}}, {"a": None},
]  # fmt: skip
# Vector file -> keyword. The vocabulary contains "a" and "b".
VECTORS = {
    b"a 1 2\nb 1\n": "line 2",
    b"a 1 2\nb 1 2 3\n": "line 2",
    b"a 1 2\nb 1 x\n": "not a number",
    b"2 3\na 1 2 3\nb 1 2\n": "line 3",
    b"word\n": "line 1",
    b"": "2 words",
    b"c 1 2\n": "2 words",
    gzip.compress(b"a 1 2\n" * 99, mtime=0)[:-9]: "cannot read",
}


def build_synonyms(folder, content=b"a 1 2\nb 1 2\n", words=("a", "b"), **options):
    (folder / "v.txt").write_bytes(content)
    return synonyms_from_vectors(folder / "v.txt", words, **options)


CALLS = [
    *(
        BadCall(f"words {words}", lambda _, words=words: SubstitutionTable(words), "must be")
        for words in WRONG_WORDS
    ),
    BadCall("metadata", lambda _: SubstitutionTable({}, {"a": object()}), "metadata"),
    BadCall("no table", lambda f: SubstitutionTable.load(f / "none.json"), "none.json"),
    *(
        BadCall(f"address {a}", lambda _, a=a: SubstitutionTable.load(f"hf://{a}"), "OWNER/NAME")
        for a in ("me/words", "datasets/words", "models/me/words")
    ),
    BadCall("empty table pushed", lambda _: SubstitutionTable({}).push_to_hub("me/words"), "empty"),
    BadCall("folder for a table", lambda f: SubstitutionTable.load(f), "directory"),
    *(
        BadCall(
            f"vectors {content[:20]!r}",
            lambda folder, content=content: build_synonyms(folder, content),
            keyword,
        )
        for content, keyword in VECTORS.items()
    ),
    BadCall("no vectors", lambda f: synonyms_from_vectors(f / "none", ["a"]), "none"),
    BadCall("folder for vectors", lambda f: synonyms_from_vectors(f, ["a"]), "directory"),
    BadCall("no words", lambda f: build_synonyms(f, words=()), "empty"),
    BadCall("procedure", lambda f: build_synonyms(f, procedure="knn"), "'knn'"),
    BadCall("components_removed", lambda f: build_synonyms(f, components_removed=-1), "-1"),
    BadCall("max_size", lambda f: build_synonyms(f, max_size=1), "max_size"),
    BadCall("no split", lambda _: vocabulary_from_splits({}, COLUMNS), "at least one"),
    BadCall("no column", lambda _: vocabulary_from_splits({"dev": ROWS}, ()), "at least one"),
    BadCall("column", lambda _: vocabulary_from_splits({"dev": ROWS}, ["text"]), "'text'"),
    BadCall("rare words", lambda _: vocabulary_from_splits({"dev": ROWS}, COLUMNS), "2 times"),
    BadCall("WordNet's source", lambda _: load_wordnet("other"), "'other'"),
    BadCall("no WordNet", lambda f: read_files(f / "none"), "none"),
    BadCall("WordNet without files", lambda f: read_files(f), "data.noun"),
    BadCall("min_share", lambda _: synonyms_from_wordnet(["a"], min_share=2), "min_share"),
    BadCall("senses", lambda _: synonyms_from_wordnet(["a"], senses="some"), "'some'"),
    BadCall("stop words", lambda _: stopwords("spacy"), "'spacy'"),
]
