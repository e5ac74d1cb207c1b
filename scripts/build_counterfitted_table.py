"""Write the default synonyms of the package, which are neighbors of words in counter-fitted vectors.

    python scripts/build_counterfitted_table.py --neighbors counterfitted_neighbors.json

This script reads the file of Jia et al. (2019), which maps words to their nearest neighbors in the vectors of
Mrkšić et al. (2016). It writes `hf_bat/lexicon/data/counterfitted_synonyms.json.gz` with single words of
letters a-z that have a neighbor. Antonyms and sister terms of the word are left out, and so are pairs with
one negating word ("someone" and "nobody"). The output is deterministic.
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path

from hf_bat.lexicon import SubstitutionTable, default_antonyms, default_sisters
from hf_bat.lexicon.bundled import COUNTERFITTED_SYNONYMS

# In vectors, a negated word is close to the word it negates, and WordNet lists no antonyms for
# these.
NEGATIVES = frozenset((
    "nobody", "nothing", "nowhere", "none", "neither", "nor", "never", "without", "cannot", "hardly",
    "barely", "scarcely",
))  # fmt: skip


def build(data: bytes) -> SubstitutionTable:
    """Build the table from the content of the neighbors file."""
    neighbors = json.loads(data)
    table = {
        word: [
            other
            for other in filter(is_plain, others)
            if (word in NEGATIVES) == (other in NEGATIVES)
        ]
        for word, others in neighbors.items()
        if is_plain(word)
    }
    sisters, antonyms = default_sisters(), default_antonyms()
    metadata = {
        "kind": "synonyms",
        "built": "counter-fitted neighbors (Jia et al. 2019)",
        "sources": {"neighbors": hashlib.sha256(data).hexdigest()},
        "options": {
            "words": "single words in letters a-z",
            "sisters_removed": sisters.fingerprint,
            "negatives_removed": sorted(NEGATIVES),
        },
        "vectors": "counter-fitted (Mrkšić et al. 2016)",
        "license": "MIT, copyright (c) 2019 Robin Jia; see COUNTERFITTED-LICENSE.txt",
    }
    # Words of a class are close in vectors but exclude each other ("breakfast" and "lunch").
    return SubstitutionTable(table, metadata).minus(sisters).minus(antonyms)


def is_plain(word: str) -> bool:
    return word.isascii() and word.isalpha() and word.islower()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--neighbors", type=Path, required=True, help="JSON file: word -> neighbors"
    )
    parser.add_argument("--output", type=Path, default=COUNTERFITTED_SYNONYMS)
    args = parser.parse_args()
    table = build(args.neighbors.read_bytes())
    table.save(args.output)
    print(f"{args.output.stat().st_size:,} bytes: {table}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
