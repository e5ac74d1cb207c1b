"""Write the WordNet relations and the default tables that ship in the package.

    python scripts/build_wordnet_table.py --wordnet $NLTK_DATA/corpora/wordnet.zip

Reads WordNet 3.0's database files (a folder or a zip file, as NLTK downloads it) and writes, into
`hf_bat/lexicon/data`: the relations, WordNet's licence as the files state it, and the default antonym
and synonym tables. The same input gives the same content.
"""

import argparse
import gzip
import json
import sys
from pathlib import Path

from hf_bat.errors import HfBatError
from hf_bat.lexicon.wordnet import BUNDLED, WordNet
from hf_bat.lexicon.wordnet_files import read_licence, read_relations


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--wordnet", type=Path, required=True, help="WordNet's dict folder, or a zip"
    )
    parser.add_argument("--output_dir", type=Path, default=BUNDLED.parent)
    args = parser.parse_args()
    try:
        relations = read_relations(args.wordnet)
        licence = read_licence(args.wordnet)
    except HfBatError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    text = json.dumps(relations, separators=(",", ":"), sort_keys=True)
    target = args.output_dir / BUNDLED.name
    target.write_bytes(gzip.compress(text.encode("utf-8"), 9, mtime=0))
    (args.output_dir / "WORDNET-LICENSE.txt").write_text(licence, encoding="utf-8")
    write_default_tables(WordNet(relations, "bundled"), args.output_dir)
    for path in sorted(args.output_dir.iterdir()):
        print(f"{path.stat().st_size:>10,}  {path.name}")
    return 0


def write_default_tables(wordnet: WordNet, folder: Path) -> None:
    from hf_bat.lexicon.wordnet_tables import (
        DEFAULT_ANTONYMS,
        DEFAULT_SYNONYMS,
        build_default_tables,
    )

    antonyms, synonyms = build_default_tables(wordnet)
    antonyms.save(folder / DEFAULT_ANTONYMS.name)
    synonyms.save(folder / DEFAULT_SYNONYMS.name)


if __name__ == "__main__":
    sys.exit(main())
