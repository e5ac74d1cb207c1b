"""Replacements for words: substitution tables, WordNet, word vectors and stop words.

This package does not use models or tensors.
"""

from hf_bat.lexicon.bundled import (
    default_antonyms,
    default_sisters,
    default_synonyms,
    wordnet_synonyms,
)
from hf_bat.lexicon.open_wordnets import tables_from_wn
from hf_bat.lexicon.table import SubstitutionTable, as_table
from hf_bat.lexicon.vectors import synonyms_from_vectors
from hf_bat.lexicon.vocabulary import (
    Vocabulary,
    count_words,
    leakage_report,
    stopwords,
    vocabulary_from_splits,
)
from hf_bat.lexicon.wordnet import Synset, WordNet, load_wordnet
from hf_bat.lexicon.wordnet_tables import antonyms_from_wordnet, synonyms_from_wordnet

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
    "tables_from_wn",
    "vocabulary_from_splits",
    "wordnet_synonyms",
]
