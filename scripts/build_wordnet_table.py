"""Write the WordNet relations of the package, and the tables built from them.

    python scripts/build_wordnet_table.py --wordnet $NLTK_DATA/corpora/wordnet.zip

This script reads the database files of WordNet 3.0 (a folder, or a zip file as downloaded by NLTK). It
writes the relations, WordNet's license from the files, and the tables of antonyms and WordNet synonyms
to `hf_bat/lexicon/data`. The output is deterministic.
"""

import argparse
import gzip
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hf_bat.errors import HfBatError
from hf_bat.lexicon import SubstitutionTable, antonyms_from_wordnet, synonyms_from_wordnet
from hf_bat.lexicon.bundled import DEFAULT_ANTONYMS, WORDNET_SYNONYMS
from hf_bat.lexicon.wordnet import BUNDLED, SUFFIXES, WordNet, hash_files, read_files


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
    synonyms.save(args.output_dir / WORDNET_SYNONYMS.name)
    for path in sorted(args.output_dir.iterdir()):
        print(f"{path.stat().st_size:>10,}  {path.name}")
    return 0


def read_relations(path: Path) -> dict[str, Any]:
    """Read the relations that hf_bat uses from WordNet's database files.

    Glosses, frames and the other pointers are left out.

    Returns:
        Plain JSON:

        - `version` of this layout, `wordnet` (version of the database, such as "3.0") and `sha256` of
          the files.
        - `synsets`: strings `"<pos> <lemma> <lemma> ..."` for nouns, verbs, adjectives and adverbs,
          in the order of their data files. The index is the number of the synset.
        - `senses`: pos -> lemma -> synset numbers in sense order (only lemmas with several senses).
        - `counts`: pos -> lemma -> tag counts in sense order, without trailing zeros, if any is not 0.
        - `antonyms`: `[synset, lemma place, synset, lemma place]` in the order of the file.
        - `parents`: hypernyms (nouns and verbs) or heads (satellites) of each synset.
        - `exceptions`: pos -> irregular form -> base forms.

    Raises:
        HfBatError: If a file is missing or not in WordNet's format.
    """
    content = read_files(path)
    try:
        return parse_relations(content)
    except (ValueError, IndexError, KeyError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise HfBatError(f"{path} is not a WordNet database ({reason})") from error


def parse_relations(content: dict[str, bytes]) -> dict[str, Any]:
    """Return the relations in WordNet's files; see `read_relations`."""
    texts = {file: data.decode("utf-8") for file, data in content.items()}
    version = re.search(r"WordNet (\d[\d.]*)", texts["data.adj"])

    def read_lines(file: str) -> Iterator[str]:
        # The license at the top of each file is indented.
        return (line for line in texts[file].split("\n") if line and line[0] != " ")

    synsets: list[str] = []
    numbers: dict[tuple[str, str], int] = {}
    pointers: list[list[str]] = []
    for pos, suffix in SUFFIXES.items():
        for line in read_lines(f"data.{suffix}"):
            fields = line.partition("|")[0].split()
            count = int(fields[3], 16)
            lemmas = [name.partition("(")[0] for name in fields[4 : 4 + 2 * count : 2]]
            numbers[pos, fields[0]] = len(synsets)
            synsets.append(" ".join([fields[2], *lemmas]))
            start = 5 + 2 * count
            pointers.append(fields[start : start + 4 * int(fields[start - 1])])
    antonyms: list[list[int]] = []
    parents: list[list[int]] = []
    for number, fields in enumerate(pointers):
        upward = ("&",) if synsets[number][0] == "s" else ("@", "@i")
        above: list[int] = []
        for place in range(0, len(fields), 4):
            symbol, offset, pos, ends = fields[place : place + 4]
            if symbol == "!":
                target = numbers[pos.replace("s", "a"), offset]
                antonyms.append([number, int(ends[:2], 16) - 1, target, int(ends[2:], 16) - 1])
            elif symbol in upward:
                above.append(numbers[pos.replace("s", "a"), offset])
        parents.append(sorted(above))
    senses: dict[str, dict[str, list[int]]] = {pos: {} for pos in SUFFIXES}
    exceptions: dict[str, dict[str, list[str]]] = {pos: {} for pos in SUFFIXES}
    counts: dict[str, dict[str, list[int]]] = {pos: {} for pos in SUFFIXES}
    for pos, suffix in SUFFIXES.items():
        for line in read_lines(f"index.{suffix}"):
            lemma, _, number_of_senses, *rest = line.split()
            if int(number_of_senses) > 1:
                offsets = rest[-int(number_of_senses) :]
                senses[pos][lemma] = [numbers[pos, offset] for offset in offsets]
        for line in read_lines(f"{suffix}.exc"):
            form, *bases = line.split()
            exceptions[pos][form] = bases
    letters = {"1": "n", "2": "v", "3": "a", "4": "r", "5": "a"}
    for line in read_lines("index.sense"):
        key, _, sense, tagged = line.split()
        if tagged != "0":
            lemma, _, rest_of_key = key.partition("%")
            listed = counts[letters[rest_of_key[0]]].setdefault(lemma, [])
            listed.extend([0] * (int(sense) - len(listed)))
            listed[int(sense) - 1] = int(tagged)
    return {
        "version": 1,
        "wordnet": version[1] if version else "unknown",
        "synsets": synsets,
        "senses": senses,
        "counts": counts,
        "antonyms": antonyms,
        "parents": parents,
        "exceptions": exceptions,
        "sha256": hash_files(content),
    }


def read_license(path: Path) -> str:
    """Return WordNet's license from the top of its files, without line numbers.

    Raises:
        HfBatError: If the database cannot be read or has no license.
    """
    text = read_files(path)["data.noun"].decode("utf-8")
    lines = [line.strip().partition(" ") for line in text.split("\n", 60) if line.startswith("  ")]
    if not lines:
        raise HfBatError(f"{path}: data.noun states no license")
    return "\n".join(line.strip() for _, _, line in lines).strip() + "\n"


def build_default_tables(wordnet: WordNet) -> tuple[SubstitutionTable, SubstitutionTable]:
    """Build the antonyms and synonyms of the package."""
    antonyms = antonyms_from_wordnet(wordnet=wordnet)
    return antonyms, synonyms_from_wordnet(wordnet=wordnet).minus(antonyms)


if __name__ == "__main__":
    sys.exit(main())
