"""Files that a training run saves next to the model to describe its perturbations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_bat.canonicalize import Canonicalizer
from hf_bat.errors import HfBatError
from hf_bat.files import read_json_object, write_json
from hf_bat.lexicon import SubstitutionTable

if TYPE_CHECKING:
    from hf_bat.attack import Recipe
    from hf_bat.counterfactual.rules import RuleSet
    from hf_bat.perturbations import Perturbation

DESCRIPTION = "perturbations.json"
CANONICAL = "canonical"


def save_perturbations(
    folder: str | Path,
    method: str,
    perturbations: Iterable[Perturbation | RuleSet],
    canonicalizer: Canonicalizer | None = None,
    attack: Recipe | None = None,
) -> dict[str, str]:
    """Save the tables and a description of the perturbations. Return the fingerprints of the tables."""
    folder = Path(folder)
    perturbations = list(perturbations)
    tables = collect_tables(perturbations, canonicalizer)
    description: dict[str, Any] = {"method": method}
    description |= {perturbation.kind: perturbation.describe() for perturbation in perturbations}
    # A2T attacks with its own recipe. The hash shows whether two runs used the same one.
    if attack is not None:
        description["attack"] = {**attack.describe(), "hash": attack.hash}
    if canonicalizer is not None:
        description["preprocessing_defence"] = canonicalizer.describe()
    for name, table in tables.items():
        table.save(folder / f"{name}.json.gz")
    write_json(folder / DESCRIPTION, description)
    return {name: table.fingerprint for name, table in tables.items()}


def collect_tables(
    perturbations: Iterable[Perturbation | RuleSet], canonicalizer: Canonicalizer | None = None
) -> dict[str, SubstitutionTable]:
    """Collect the tables of perturbations, including those in filters and mixtures, by file name."""
    tables: dict[str, SubstitutionTable] = {}
    for perturbation in _unpack(perturbations):
        table = getattr(perturbation, "table", None)
        # Number edits follow rules. Their table is empty and missing in the description.
        if isinstance(table, SubstitutionTable) and "table" in perturbation.describe():
            tables[f"{perturbation.name}s"] = table
    if canonicalizer is not None:
        tables[CANONICAL] = canonicalizer.table
    return tables


def read_defense(model: str | Path) -> dict[str, Any] | None:
    """Read the record of the defense that a model (folder or Hub id) was trained with, if any."""
    # A Hub model without a record online or in the cache is treated as undefended.
    path = _find_file(model, DESCRIPTION)
    if path is None:
        return None
    record = read_json_object(path).get("preprocessing_defence")
    if record is not None and not isinstance(record, dict):
        raise HfBatError(f"{path}: preprocessing_defence is not an object")
    return record


def load_canonicalizer(model: str | Path) -> Canonicalizer:
    """Load the canonicalizer saved with a model that has a record; see `read_defense`."""
    record = read_defense(model) or {}
    path = _find_file(model, f"{CANONICAL}.json.gz")
    if path is None:
        raise HfBatError(
            f"table not found: {CANONICAL}.json.gz of {model}, which it was trained with; name the table"
        )
    canonicalizer = match_record(SubstitutionTable.load(path), record)
    if canonicalizer is None:
        raise HfBatError(
            f"{path} has another mapping than {DESCRIPTION} records "
            f"({str(record.get('fingerprint'))[:12]}); save the model's tables again, or name the table"
        )
    return canonicalizer


def match_record(
    table: SubstitutionTable | None, record: Mapping[str, Any]
) -> Canonicalizer | None:
    """Return the canonicalizer of a table with the recorded casing. Return `None` if its mapping differs."""
    canonicalizer = Canonicalizer(table, record.get("casing", "keep"))
    return canonicalizer if canonicalizer.fingerprint == record.get("fingerprint") else None


def _find_file(model: str | Path, name: str) -> Path | None:
    """Return the path of a file of a model, in its folder or on the Hub; `None` if unavailable."""
    if Path(model).is_dir():
        path = Path(model) / name
        return path if path.is_file() else None
    from huggingface_hub import hf_hub_download

    # The error types for an invalid id, a missing file or no network depend on the HTTP library.
    with suppress(Exception):
        return Path(hf_hub_download(str(model), name))
    return None


def _unpack(perturbations: Iterable[Any]) -> Iterator[Any]:
    """Yield the perturbations. Filters and mixtures are replaced by the perturbations inside them."""
    for perturbation in perturbations:
        if hasattr(perturbation, "perturbation"):
            yield from _unpack([perturbation.perturbation])
        elif hasattr(perturbation, "perturbations"):
            yield from _unpack(perturbation.perturbations)
        else:
            yield perturbation
