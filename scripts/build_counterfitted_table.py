"""Write the default synonyms that ship in the package: neighbors of words in counter-fitted vectors.

    python scripts/build_counterfitted_table.py --neighbors counterfitted_neighbors.json

It reads the file of Jia et al. (2019), word -> its nearest neighbors in the vectors of Mrkšić et al. (2016),
and writes `hf_bat/lexicon/data/counterfitted_synonyms.json.gz`: single words of letters a-z that have a
neighbor, without the antonyms and the sister terms of a word, and without pairs of which one word negates
("someone" and "nobody"). The same file gives the same bytes.
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path

from hf_bat.lexicon import SubstitutionTable, default_antonyms, default_sisters
from hf_bat.lexicon.bundled import COUNTERFITTED_SYNONYMS

# In vectors a negated word is near the word that it negates, and WordNet lists no antonyms of these.
NEGATIVES = frozenset((
    "nobody", "nothing", "nowhere", "none", "neither", "nor", "never", "without", "cannot", "hardly",
    "barely", "scarcely",
))  # fmt: skip


def build(data: bytes) -> SubstitutionTable:
    """Build the table from the content of the file of neighbors."""
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
    # Words of one class are near in vectors, but exclude each other ("breakfast" and "lunch").
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
