"""Substitution tables as data sets of the Hub.

Such a data set holds the table as hf_bat writes it (`table.json.gz`), the same words as JSON lines for
`datasets.load_dataset` and the Hub's viewer (`words.jsonl.gz`), and a card that says what it is.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import tempfile
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from hf_bat.errors import HfBatError, first_cause

if TYPE_CHECKING:
    from hf_bat.lexicon.table import SubstitutionTable

TABLE_FILE = "table.json.gz"
WORDS_FILE = "words.jsonl.gz"
# A `Path` made of an address has one slash where there were two.
_ADDRESS = re.compile(
    r"hf:/+datasets/(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^/]+))?(?:/(?P<file>.+))?"
)


def is_hub_address(path: str | os.PathLike[str]) -> bool:
    """Whether a path is an address of the Hub.

    Example:
        >>> is_hub_address("hf://datasets/me/synonyms"), is_hub_address("synonyms.json")
        (True, False)
    """
    return str(path).startswith("hf:/")


def fetch_table(address: str | os.PathLike[str]) -> Path:
    """Download a table, or find it in the cache.

    Args:
        address: `hf://datasets/OWNER/NAME`, with `@REVISION` for a branch, tag or commit, and with
            `/FILE` for another file than `table.json.gz`.

    Returns:
        The file in the Hub library's cache.

    Raises:
        HfBatError: the address is of another form, or the file cannot be had.
    """
    found = _ADDRESS.fullmatch(str(address).rstrip("/"))
    if found is None:
        raise HfBatError(
            f"a table on the Hub is hf://datasets/OWNER/NAME[@REVISION][/FILE], got {str(address)!r}"
        )
    from huggingface_hub import hf_hub_download

    try:
        local = hf_hub_download(
            found["repo"],
            found["file"] or TABLE_FILE,
            repo_type="dataset",
            revision=found["revision"],
        )
    except Exception as error:  # of the HTTP library, which is the Hub library's choice
        raise HfBatError(
            f"cannot fetch the table of {found['repo']} from the Hub: {first_cause(error)}"
        ) from error
    return Path(local)


def push_table(
    table: SubstitutionTable,
    repo_id: str,
    *,
    private: bool | None = None,
    token: str | None = None,
    revision: str | None = None,
    commit_message: str = "Substitution table",
) -> str:
    """Write a table to a data set of the Hub; see `SubstitutionTable.push_to_hub`."""
    from huggingface_hub import HfApi

    if not table:
        raise HfBatError("the table is empty: nothing was pushed")
    api = HfApi(token=token)
    try:
        repo = api.create_repo(repo_id, repo_type="dataset", private=private, exist_ok=True).repo_id
        with tempfile.TemporaryDirectory() as folder:
            _write_files(table, repo, Path(folder))
            commit = api.upload_folder(
                repo_id=repo,
                folder_path=folder,
                repo_type="dataset",
                revision=revision,
                commit_message=commit_message,
            )
    except HfBatError:
        raise
    except Exception as error:
        raise HfBatError(
            f"cannot push the table to {repo_id}: {first_cause(error)}; check the name and `hf auth whoami`, "
            "and push again: what was uploaded is not uploaded twice"
        ) from error
    return f"hf://datasets/{repo}@{commit.oid}"


def _write_files(table: SubstitutionTable, repo: str, folder: Path) -> None:
    table.save(folder / TABLE_FILE)
    lines = [
        json.dumps({"word": word, "replacements": list(table[word])}, ensure_ascii=False) + "\n"
        for word in sorted(table)
    ]
    data = gzip.compress("".join(lines).encode("utf-8"), mtime=0)
    (folder / WORDS_FILE).write_bytes(data)
    template = Path(__file__).parents[1] / "templates" / "table_card.md"
    card = Template(template.read_text(encoding="utf-8")).substitute(
        repo=repo,
        kind=table.metadata.get("kind", "substitutions"),
        words=f"{len(table):,}",
        replacements=f"{sum(map(len, table.values())):,}",
        fingerprint=table.fingerprint,
        provenance=json.dumps(table.metadata, indent=2, sort_keys=True, ensure_ascii=False),
    )
    (folder / "README.md").write_text(card, encoding="utf-8")
