"""Write the WordNet relations and the default tables that ship in the package.

    python scripts/build_wordnet_table.py --wordnet $NLTK_DATA/corpora/wordnet.zip

It reads WordNet 3.0's database files (a folder or a zip file, as NLTK downloads it) and writes, into
`hf_bat/lexicon/data`, the relations, WordNet's license as the files state it, and the default antonym
and synonym tables. The same input gives the same content.
"""

import argparse
import gzip
import json
import sys
from pathlib import Path

from hf_bat.errors import HfBatError
from hf_bat.lexicon import SubstitutionTable, antonyms_from_wordnet, synonyms_from_wordnet
from hf_bat.lexicon.wordnet import BUNDLED, WordNet, read_files, read_relations
from hf_bat.lexicon.wordnet_tables import DEFAULT_ANTONYMS, DEFAULT_SYNONYMS


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--wordnet", type=Path, required=True, help="WordNet's dict folder, or a zip"
    )
    parser.add_argument("--output_dir", type=Path, default=BUNDLED.parent)
    args = parser.parse_args()
    try:
        relations = read_relations(args.wordnet)
        license_text = read_license(args.wordnet)
    except HfBatError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    text = json.dumps(relations, separators=(",", ":"), sort_keys=True)
    target = args.output_dir / BUNDLED.name
    target.write_bytes(gzip.compress(text.encode("utf-8"), 9, mtime=0))
    (args.output_dir / "WORDNET-LICENSE.txt").write_text(license_text, encoding="utf-8")
    antonyms, synonyms = build_default_tables(WordNet(relations, "bundled"))
    antonyms.save(args.output_dir / DEFAULT_ANTONYMS.name)
    synonyms.save(args.output_dir / DEFAULT_SYNONYMS.name)
    for path in sorted(args.output_dir.iterdir()):
        print(f"{path.stat().st_size:>10,}  {path.name}")
    return 0


def read_license(path: Path) -> str:
    """Return WordNet's license, from the top of its files, without the line numbers.

    Raises:
        HfBatError: If there is no such database, or it states no license.
    """
    text = read_files(path)["data.noun"].decode("utf-8")
    lines = [line.strip().partition(" ") for line in text.split("\n", 60) if line.startswith("  ")]
    if not lines:
        raise HfBatError(f"{path}: data.noun states no license")
    return "\n".join(line.strip() for _, _, line in lines).strip() + "\n"


def build_default_tables(wordnet: WordNet) -> tuple[SubstitutionTable, SubstitutionTable]:
    """Build the antonyms and synonyms that ship in the package."""
    antonyms = antonyms_from_wordnet(wordnet=wordnet)
    return antonyms, synonyms_from_wordnet(wordnet=wordnet).minus(antonyms)


if __name__ == "__main__":
    sys.exit(main())
