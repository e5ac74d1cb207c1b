"""What a training run leaves beside the model: the tables that it drew from, and what it did with them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_bat.errors import HfBatError
from hf_bat.files import write_atomically
from hf_bat.lexicon import SubstitutionTable, as_table

if TYPE_CHECKING:
    from hf_bat.attack import Recipe
    from hf_bat.canonicalize import Canonicalizer
    from hf_bat.perturbations import Perturbation

DESCRIPTION = "perturbations.json"
CANONICAL = "canonical"
# Perturbation -> what its table is called on disk.
_TABLES = {"synonym": "synonyms", "antonym": "antonyms", "sister": "sisters"}


def save_perturbations(
    folder: str | Path,
    method: str,
    perturbations: Iterable[Perturbation],
    canonicalizer: Canonicalizer | None = None,
    attack: Recipe | None = None,
) -> dict[str, str]:
    """Write the tables of perturbations, and a description of them with the tables' hashes.

    Args:
        folder: where the tables (`synonyms.json.gz`, `antonyms.json.gz`, `sisters.json.gz`,
            `canonical.json.gz`) and `perturbations.json` go.
        method: the training method.
        perturbations: those that it drew from.
        canonicalizer: the preprocessing defence, None where there was none.
        attack: the attack in the loop, None where there was none.

    Returns:
        The fingerprint of each table written, by its name.

    Raises:
        HfBatError: a file cannot be written.
    """
    folder = Path(folder)
    perturbations = list(perturbations)
    tables = tables_of(perturbations, canonicalizer)
    described: dict[str, Any] = {"method": method}
    described |= {one.kind: one.describe() for one in perturbations}
    if attack is not None:
        described["attack"] = {**attack.describe(), "hash": attack.hash}
    if canonicalizer is not None:
        described["preprocessing_defence"] = canonicalizer.describe()
    for name, table in tables.items():
        table.save(folder / f"{name}.json.gz")
    write_atomically(folder / DESCRIPTION, json.dumps(described, indent=2) + "\n")
    return {name: table.fingerprint for name, table in tables.items()}


def tables_of(
    perturbations: Iterable[Perturbation], canonicalizer: Canonicalizer | None = None
) -> dict[str, SubstitutionTable]:
    """The tables that perturbations draw from, by the names that they have on disk.

    Args:
        perturbations: filters and mixtures are looked into.
        canonicalizer: the preprocessing defence, None where there was none.
    """
    tables: dict[str, SubstitutionTable] = {}
    for perturbation in perturbations:
        for one in _innermost(perturbation):
            table = getattr(one, "table", None)
            # Numbers follow rules: their table is empty, and no part of what describes them.
            if isinstance(table, SubstitutionTable) and "table" in one.describe():
                tables[_TABLES.get(one.name, f"{one.name}s")] = table
    if canonicalizer is not None:
        tables[CANONICAL] = as_table(canonicalizer.table)
    return tables


def saved_defence(model: str | Path) -> dict[str, Any] | None:
    """The preprocessing defence that a model was trained with; None where none is recorded.

    Args:
        model: its folder; or its id on the Hub, whose record is fetched, or taken from the cache where the
            Hub cannot be reached. One that cannot be had either way counts as none.

    Raises:
        HfBatError: the record is damaged.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     saved_defence(folder) is None
        True
    """
    path = _file_of(model, DESCRIPTION)
    if path is None:
        return None
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
        defence = described.get("preprocessing_defence")
    except (OSError, ValueError, AttributeError) as error:
        raise HfBatError(f"cannot read {path}: {error}") from error
    if defence is not None and not isinstance(defence, dict):
        raise HfBatError(f"{path}: 'preprocessing_defence' is no object")
    return defence


def saved_canonicalizer(model: str | Path) -> Canonicalizer:
    """The canonicalizer that a model was trained with.

    Args:
        model: its folder or its id on the Hub, which records one (see `saved_defence`).

    Raises:
        HfBatError: its table is missing, or gives another mapping than the record says.
    """
    record = saved_defence(model) or {}
    path = _file_of(model, f"{CANONICAL}.json.gz")
    if path is None:
        raise HfBatError(
            f"table not found: {CANONICAL}.json.gz of {model}, with which it was trained; name the table"
        )
    canonicalizer = canonicalizer_as_recorded(SubstitutionTable.load(path), record)
    if canonicalizer is None:
        raise HfBatError(
            f"{path} gives another mapping than {DESCRIPTION} records "
            f"({str(record.get('fingerprint'))[:12]}); save the model's tables again, or name the table"
        )
    return canonicalizer


def canonicalizer_as_recorded(
    table: SubstitutionTable | None, record: Mapping[str, Any]
) -> Canonicalizer | None:
    """The canonicalizer of a table that a record tells of; None where the table gives no such mapping.

    Args:
        table: None for the bundled one.
        record: what `saved_defence` gives.
    """
    from hf_bat.canonicalize import Canonicalizer, early_canonicalizer
    from hf_bat.lexicon import default_synonyms

    table = default_synonyms() if table is None else table
    mappings = (
        lambda: Canonicalizer(table, record.get("casing", "keep")),
        lambda: early_canonicalizer(table),
    )
    recorded = record.get("fingerprint")
    found = (make() for make in mappings)
    return next((one for one in found if one.fingerprint == recorded), None)


def _file_of(model: str | Path, name: str) -> Path | None:
    """A file beside a model, of its folder or its repository on the Hub; None where it cannot be had."""
    if Path(model).is_dir():
        path = Path(model) / name
        return path if path.is_file() else None
    from huggingface_hub import hf_hub_download

    # No id, no such file, no network: whose errors are of the HTTP library that the Hub's library chose.
    with suppress(Exception):
        return Path(hf_hub_download(str(model), name))
    return None


def _innermost(perturbation: Any) -> Iterator[Any]:
    """The perturbations inside filters and mixtures."""
    if hasattr(perturbation, "perturbation"):
        yield from _innermost(perturbation.perturbation)
    elif hasattr(perturbation, "perturbations"):
        for one in perturbation.perturbations:
            yield from _innermost(one)
    else:
        yield perturbation
