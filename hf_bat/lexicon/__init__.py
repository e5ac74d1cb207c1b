"""Which words may stand in for a word: substitution tables, WordNet, word vectors, stop words.

Nothing here knows a model or a tensor. NumPy is imported when word vectors are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hf_bat.lexicon.embeddings import synonyms_from_vectors
    from hf_bat.lexicon.stoplists import stopwords
    from hf_bat.lexicon.table import SubstitutionTable, as_table
    from hf_bat.lexicon.vocabulary import (
        Vocabulary,
        count_words,
        leakage_report,
        vocabulary_from_splits,
    )
    from hf_bat.lexicon.wordnet import Synset, WordNet, load_wordnet
    from hf_bat.lexicon.wordnet_tables import (
        antonyms_from_wordnet,
        default_antonyms,
        default_sisters,
        default_synonyms,
        synonyms_from_wordnet,
    )

# Public name -> the module of this package that defines it.
_HOMES = {
    "SubstitutionTable": "table",
    "Synset": "wordnet",
    "Vocabulary": "vocabulary",
    "WordNet": "wordnet",
    "antonyms_from_wordnet": "wordnet_tables",
    "as_table": "table",
    "count_words": "vocabulary",
    "default_antonyms": "wordnet_tables",
    "default_sisters": "wordnet_tables",
    "default_synonyms": "wordnet_tables",
    "leakage_report": "vocabulary",
    "load_wordnet": "wordnet",
    "stopwords": "stoplists",
    "synonyms_from_vectors": "embeddings",
    "synonyms_from_wordnet": "wordnet_tables",
    "vocabulary_from_splits": "vocabulary",
}

__all__ = [
    "SubstitutionTable",
    "Synset",
    "Vocabulary",
    "WordNet",
    "antonyms_from_wordnet",
    "as_table",
    "count_words",
    "default_antonyms",
    "default_sisters",
    "default_synonyms",
    "leakage_report",
    "load_wordnet",
    "stopwords",
    "synonyms_from_vectors",
    "synonyms_from_wordnet",
    "vocabulary_from_splits",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
