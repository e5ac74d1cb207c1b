"""A run's key, which is a hash of everything that its result depends on.

Finished runs are found by their keys, so a change in this module would make users repeat all runs.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_bat.canonicalize import MAPPING_VERSION
from hf_bat.errors import HfBatError
from hf_bat.files import hash_file
from hf_bat.lexicon.bundled import SYNONYM_TABLES
from hf_bat.lexicon.table import fetch_table, is_hub_address
from hf_bat.perturbations.build import DEFAULT_EDITS, DEFAULT_FICKLE
from hf_bat.perturbations.characters import CHARACTERS_VERSION
from hf_bat.perturbations.number import NUMBER_VERSION
from hf_bat.run_arguments import RunArguments, describe

if TYPE_CHECKING:
    from hf_bat.methods import Method


@dataclass
class SweepArguments(RunArguments):
    """Arguments of sweep runs that are not hyperparameters."""

    representations: int = describe("Save vectors for the first N rows and their versions.", 0)
    keep_model: bool = describe("Keep the trained model.", False)


# Files and model folders are part of the key by content, so they can be moved.
_FILES = (
    "train_file", "validation_file", "validation_mm_file", "synonyms", "antonyms", "contrast_file",
)  # fmt: skip
_TABLES = ("synonyms", "antonyms")
_MODELS = (
    "model_name_or_path", "config_name", "tokenizer_name", "encoder", "mlm_model", "label_judge",
)  # fmt: skip
# Defaults of a run that differ from the defaults of BalancedTrainingArguments.
DEFAULTS = {
    # One checkpoint is kept to resume from. It is deleted when the run has finished.
    "save_strategy": "epoch",
    "save_total_limit": 1,
    "report_to": "none",
    "disable_tqdm": True,
}
# Arguments that do not change the results, except for the cases in `_list_exceptions`. Two similar
# arguments do not belong here. With dataloader_persistent_workers, dropout once drew other numbers,
# and with save_only_model, a run is resumed without the state of its optimizer.
_IMMATERIAL = (
    "cache_dir", "dataloader_num_workers", "dataloader_pin_memory", "dataloader_prefetch_factor",
    "ddp_timeout", "disable_tqdm", "do_eval", "do_predict", "do_train", "keep_model", "log_level",
    "log_level_replica", "log_on_each_node", "logging_first_step", "logging_steps",
    "logging_strategy", "project", "report_to", "run_name", "save_steps", "save_strategy",
    "save_total_limit",
)  # fmt: skip


def drop_secrets(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments without secrets, because users share configurations and results."""
    return {name: value for name, value in arguments.items() if name != "hub_token"}


def identify(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that differ from their defaults and change the run's result.

    Files, folders and Hub tables are replaced by a hash of their content. Hub data and models are
    identified by name.
    """
    # Imports torch.
    from hf_bat.methods import DEFAULT_METHOD, get_method

    method = get_method(arguments.get("method", DEFAULT_METHOD))
    own_defaults = {
        "obstinate_edits": list(DEFAULT_EDITS),
        "fickle_edits": list(DEFAULT_FICKLE),
        **method.fill_defaults(arguments),
    }
    all_defaults = ({**get_defaults(), **DEFAULTS}, own_defaults)
    exceptions = _list_exceptions(arguments)
    parts = {
        name: value
        for name, value in drop_secrets(arguments).items()
        if (name in exceptions or name not in _IMMATERIAL)
        and not any(name in defaults and value == defaults[name] for defaults in all_defaults)
    }
    for name in exceptions & parts.keys():
        # Steps are parsed as floats, because they may be a share of all steps.
        if isinstance(parts[name], float) and parts[name].is_integer():
            parts[name] = int(parts[name])
    # Keys have always contained the weights of a method, whether or not they were given.
    for name, weight in method.weights.items():
        parts.setdefault(name, weight)
    # Keys of runs without a warm-up have no entry, because this was the default of all methods.
    warmup = arguments.get("weight_warmup_steps")
    warmup = own_defaults.get("weight_warmup_steps") if warmup is None else warmup
    parts.pop("weight_warmup_steps", None)
    if warmup:
        parts["weight_warmup_steps"] = warmup
    if arguments.get("canonicalize"):
        parts["canonicalize"] = MAPPING_VERSION
    if "number" in (*(arguments.get("obstinate_edits") or ()), *(arguments.get("attacks") or ())):
        parts["number"] = NUMBER_VERSION
    letters = {*(arguments.get("fickle_edits") or ()), *(arguments.get("attacks") or ())}
    if not letters.isdisjoint(("typo", "look-alike")):
        parts["characters"] = CHARACTERS_VERSION
    # Keys of runs that use the first rows of a file have no entry, because this was the only way.
    if parts.pop("row_choice", None) is None and _has_limited_rows(arguments):
        parts["row_choice"] = get_defaults()["row_choice"]
    # Keys of runs without fitted edits have no entry, because this was the only way.
    if parts.pop("fit_grammar", None) is None and _uses_swaps(arguments, method):
        parts["fit_grammar"] = get_defaults()["fit_grammar"]
    table = arguments.get("synonyms")
    if table == "wordnet":
        # Keys of runs with WordNet synonyms have no entry, because these were the default.
        del parts["synonyms"]
    elif table is None and _uses_default_synonyms(arguments, method):
        parts["synonyms"] = "default: counterfitted"
    for name in _FILES:
        path = arguments.get(name)
        is_bundled = name == "synonyms" and path in SYNONYM_TABLES
        if path is not None and not is_bundled:
            if name in _TABLES and is_hub_address(path):
                try:
                    path = str(fetch_table(path))
                except HfBatError as error:
                    raise HfBatError(f"--{name} {path}: {error}") from error
            parts[name] = {"sha256": _hash_file(path, name)}
    for name in _MODELS:
        if arguments.get(name) is not None and Path(arguments[name]).is_dir():
            parts[name] = {"sha256": _hash_model(Path(arguments[name]), name)}
    return parts


def check_unchanged(arguments: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    """Check that the files that a run has read are the same as in its key."""
    for name in _FILES:
        recorded, path = identity.get(name), arguments.get(name)
        if path is None or not isinstance(recorded, Mapping) or not Path(path).is_file():
            continue  # no file, or a table in the package or on the Hub
        if hash_file(path) != recorded.get("sha256"):
            raise HfBatError(
                f"--{name} {path} has changed since the sweep was started: start it again"
            )


def _uses_default_synonyms(arguments: Mapping[str, Any], method: Method) -> bool:
    """Return whether a run without a synonym table uses the default one for draws or attacks."""
    from hf_bat.attack.recipes import list_readers

    attacks = {name.removeprefix("paper-") for name in arguments.get("attacks") or ()}
    is_drawn = bool(method.draws) and not arguments.get("canonicalize")
    return is_drawn or not attacks.isdisjoint(list_readers("synonyms"))


def _uses_swaps(arguments: Mapping[str, Any], method: Method) -> bool:
    """Return whether the run uses single-word edits that are fitted to their context."""
    drawn = arguments.get("obstinate_edits") or DEFAULT_EDITS if "obstinate" in method.draws else ()
    attacks = (name.removeprefix("paper-") for name in arguments.get("attacks") or ())
    return not {"antonym", "sister", "number"}.isdisjoint((*drawn, *attacks))


def _has_limited_rows(arguments: Mapping[str, Any]) -> bool:
    """Return whether the run uses only some of its rows, so the choice of rows affects its result."""
    limits = [arguments.get(name) for name in ("max_train_samples", "max_eval_samples")]
    if arguments.get("attacks"):
        default = get_defaults()["max_attack_samples"]
        limits.append(arguments.get("max_attack_samples", default))
    return any(limit is not None for limit in limits)


def _list_exceptions(arguments: Mapping[str, Any]) -> frozenset[str]:
    """Return the arguments in `_IMMATERIAL` that do change the result of this run."""
    names = set()
    if arguments.get("load_best_model_at_end"):
        names.add("save_strategy")
        if arguments.get("save_strategy", DEFAULTS["save_strategy"]) == "steps":
            names.add("save_steps")
    # Without eval_steps, the Trainer evaluates when it logs.
    if arguments.get("eval_strategy") == "steps" and not arguments.get("eval_steps"):
        names.add("logging_steps")
    if arguments.get("dataloader_in_order") is False:
        names.add("dataloader_num_workers")
    return frozenset(names)


@lru_cache(maxsize=1)
def get_defaults() -> dict[str, Any]:
    """Return the default of each argument that has one."""
    # Imports torch.
    from hf_bat.training_args import BalancedTrainingArguments

    arguments = (*fields(SweepArguments), *fields(BalancedTrainingArguments))
    return {field.name: field.default for field in arguments if field.default is not MISSING}


def _hash_file(path: str, name: str) -> str:
    try:
        status = os.stat(path)
        return _hash_content(path, status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise HfBatError(f"--{name} {path}: {error.strerror}") from error


@lru_cache(maxsize=256)
def _hash_content(path: str, size: int, changed: int) -> str:
    """Hash a file. The size and time of change are cache keys, so changed content is read again."""
    return hash_file(path)


def _hash_model(folder: Path, name: str) -> str:
    """Hash the weights, configuration and tokenizer of a model folder, without cards and checkpoints."""
    if not (folder / "config.json").is_file():
        raise HfBatError(f"--{name} {folder} does not contain a model: it has no config.json")
    endings = (".json", ".txt", ".model", ".safetensors", ".bin")
    files = sorted(path for path in folder.iterdir() if path.suffix in endings and path.is_file())
    parts = [f"{path.name} {_hash_file(str(path), name)}" for path in files]
    return hashlib.sha256("\n".join(parts).encode("utf-8")).hexdigest()
