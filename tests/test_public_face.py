"""Check that the public interface matches the record: names, flags, draws, attacks, figures and keys.

The record is `tests/data/public_face.json`. It should remain valid if the package is restructured, so
this file only uses public entry points. After an intended change of behavior, record again:

    python tests/test_public_face.py

and check the difference before you commit it. This needs the real rows (`../shared` or `HF_BAT_SHARED`).
The record only contains hashes of SNLI rows, because they may not be copied.
"""

from __future__ import annotations

import os

# Hugging Face libraries read these when they are imported. pytest sets them in conftest.py, but a
# recording runs this file as a script.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import contextlib
import gc
import gzip
import hashlib
import inspect
import io
import json
import logging
import math
import re
import runpy
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, fields
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from tiny_models import tiny_model, tiny_tokenizer
from transformers import HfArgumentParser, Trainer, TrainingArguments

import hf_bat
import hf_bat.attack
import hf_bat.cli
import hf_bat.lexicon
import hf_bat.losses
import hf_bat.perturbations
import hf_bat.sweep
from hf_bat import (
    Attack,
    BalancedTrainer,
    BalancedTrainingArguments,
    PerturbationCollator,
    RobustnessCallback,
    SmoothedClassifier,
    SubstitutionTable,
    certify,
    get_task,
)
from hf_bat.demo import demo_rows

Row = dict[str, Any]

REPOSITORY = Path(__file__).resolve().parent.parent
RECORD = Path(__file__).resolve().parent / "data" / "public_face.json"
SNLI = ("snli/validation.jsonl.gz", 300)
# Number of digits kept from the hash of each entry, enough to find most changed entries.
MARK = 3

# ---- comparing --------------------------------------------------------------------------------------


def round_floats(value: Any, digits: int = 6) -> Any:
    """Return a JSON value with rounded floats, so the last bits do not matter."""
    if isinstance(value, float):
        return round(value, digits)
    if isinstance(value, Mapping):
        return {name: round_floats(item, digits) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [round_floats(item, digits) for item in value]
    return value


def hash_json(value: Any) -> str:
    """Return the SHA-256 of a value's canonical JSON."""
    text = json.dumps(round_floats(value, 10), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def fold_entries(entries: Sequence[Any], samples: int = 0) -> dict[str, Any]:
    """Return a short record of many values.

    Args:
        entries: JSON values, one per row.
        samples: Number of entries to keep in readable form.

    Returns:
        Their number, a hash of all entries, a few digits of each entry's hash (to find changes), and
        samples spread evenly.
    """
    record: dict[str, Any] = {
        "count": len(entries),
        "sha256": hash_json(list(entries)),
        "marks": "".join(hash_json(entry)[:MARK] for entry in entries),
    }
    if samples:
        step = max(1, len(entries) // samples)
        record["samples"] = round_floats(list(entries)[::step][:samples])
    return record


def list_changes(recorded: Any, current: Any, where: str = "", more: bool = False) -> list[str]:
    """List the differences between a value and the record in readable lines.

    Args:
        recorded: Recorded JSON value.
        current: Current value.
        where: Position in the record.
        more: Whether to accept names that are not in the record.
    """
    if isinstance(recorded, dict) and isinstance(current, dict):
        if "marks" in recorded and recorded.get("sha256") != current.get("sha256"):
            return [f"{where}: {describe_marks(recorded, current)}"]
        added = [] if more else sorted(current.keys() - recorded.keys())
        changes = [f"{where}: {name!r} is not in the record" for name in added]
        for name, value in recorded.items():
            if name in current:
                changes += list_changes(value, current[name], f"{where}/{name}", more)
            else:
                changes.append(f"{where}: {name!r} is missing")
        return changes
    if is_names(recorded) and is_names(current) and set(recorded) != set(current):
        gone, new = sorted({*recorded} - {*current}), sorted({*current} - {*recorded})
        return [f"{where}: without {gone}, with {new}"]
    # The order of summation depends on the processor, which can change the last recorded digit.
    if isinstance(recorded, float) and isinstance(current, (int, float)):
        same = math.isclose(recorded, current, rel_tol=1e-4, abs_tol=2e-5)
    elif isinstance(recorded, list) and isinstance(current, list) and len(recorded) == len(current):
        pairs = zip(recorded, current, strict=True)
        return [
            change
            for place, (one, other) in enumerate(pairs)
            for change in list_changes(one, other, f"{where}/{place}", more)
        ]
    else:
        same = recorded == current
    return [] if same else [f"{where}: {current!r}, recorded {recorded!r}"]


def is_names(value: Any) -> bool:
    """Return whether a value is a list of strings."""
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def describe_marks(recorded: dict[str, Any], current: dict[str, Any]) -> str:
    """Return which entries of two records of `fold_entries` differ."""
    if recorded["count"] != current["count"]:
        return f"{current['count']} entries, recorded {recorded['count']}"
    places = [
        place
        for place in range(recorded["count"])
        if recorded["marks"][MARK * place : MARK * (place + 1)]
        != current["marks"][MARK * place : MARK * (place + 1)]
    ]
    samples = list_changes(recorded.get("samples"), current.get("samples"), "samples")
    return f"{len(places)} entries changed, at {places[:10]} ...; {'; '.join(samples[:3])}"


def check_same(recorded: Any, current: Any, more: bool = False) -> None:
    """Fail with a list of differences from the record."""
    # Convert through JSON, because the record has lists instead of tuples.
    changes = list_changes(recorded, json.loads(json.dumps(current)), more=more)
    assert not changes, "\n".join(["the public face changed:", *changes[:30]])


@pytest.fixture(scope="module")
def recorded() -> dict[str, Any]:
    """Return the record."""
    return json.loads(RECORD.read_text(encoding="utf-8"))


# ---- signatures -------------------------------------------------------------------------------------

# Public functions and classes by their names in `hf_bat`.
SIGNATURES = (
    "AntonymPerturbation", "Attack", "NegationPerturbation", "PerturbationCollator",
    "RobustnessCallback", "SmoothedClassifier", "SubstitutionTable", "SubstitutionTable.load",
    "SubstitutionTable.minus", "SubstitutionTable.push_to_hub", "SubstitutionTable.save",
    "SubstitutionTable.without", "SynonymPerturbation", "Task", "certify", "get_task",
    "lexicon.antonyms_from_wordnet", "lexicon.as_table", "lexicon.count_words",
    "lexicon.default_antonyms", "lexicon.default_sisters", "lexicon.default_synonyms",
    "lexicon.leakage_report", "lexicon.load_wordnet", "lexicon.stopwords",
    "lexicon.synonyms_from_vectors", "lexicon.synonyms_from_wordnet",
    "lexicon.vocabulary_from_splits",
    "perturbations.NumberPerturbation", "perturbations.PerturbationSampler",
    "perturbations.SisterPerturbation", "perturbations.SwapPerturbation",
    "perturbations.ToxicityPerturbation", "perturbations.build_obstinate",
    "perturbations.build_perturbations",
    "attack.CallableModel", "attack.EmbeddingDistance", "attack.MaskedLMPerturbation",
    "attack.MaxWords", "attack.NoRepeat", "attack.PartOfSpeech", "attack.Recipe",
    "attack.SentenceEncoder", "attack.SentenceSimilarity", "attack.StopWords",
    "attack.TransformersModel", "attack.get_recipe",
    "losses.pair_distance", "losses.pairwise_loss", "losses.triplet_loss",
    "sweep.make_grid", "sweep.make_run", "sweep.parse_flags", "sweep.read_grid",
)  # fmt: skip

_RECIPE_OPTIONS = (
    "encoder", "part_of_speech", "casing", "fit_grammar", "toxic_words", "mlm_model", "goal", "search",
    "ranking", "constraints", "budget", "skip_labels", "skip_columns", "max_length", "beam_width",
)  # fmt: skip
# Keywords that callers can pass although they are currently part of `**options`.
ACCEPTED: dict[Callable[..., Any], tuple[str, ...]] = {
    Attack: ("synonyms", "antonyms", *_RECIPE_OPTIONS),
    hf_bat.attack.get_recipe: ("synonyms", "antonyms", *_RECIPE_OPTIONS),
    SubstitutionTable.push_to_hub: ("private", "token", "revision", "commit_message"),
    RobustnessCallback: (
        "rows", "task", "attacks", "tokenizer", "max_samples", "batch_size", "dtype", "max_length",
        "label_filter", "canonicalizer", "synonyms", "antonyms", "encoder",
    ),
    BalancedTrainer: (
        "task", "synonyms", "antonyms", "model", "args", "data_collator", "train_dataset",
        "eval_dataset", "processing_class", "model_init", "compute_loss_func", "compute_metrics",
        "callbacks", "optimizers", "optimizer_cls_and_kwargs", "preprocess_logits_for_metrics",
    ),
}  # fmt: skip


def is_plain(value: Any) -> bool:
    """Return whether a default can be written as JSON."""
    if isinstance(value, (list, tuple)):
        return all(map(is_plain, value))
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, (bool, int, str))


def record_signature(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the parameters of a function in order, and the defaults that are plain values."""
    parameters = inspect.signature(function).parameters
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    named = {name: one for name, one in parameters.items() if one.kind not in variable}
    positional = [
        name for name, one in named.items() if one.kind is not inspect.Parameter.KEYWORD_ONLY
    ]
    described = {}
    for name, one in named.items():
        if one.default is inspect.Parameter.empty:
            described[name] = "required"
        else:
            described[name] = {"default": one.default} if is_plain(one.default) else "optional"
    return {"positional": positional, "parameters": described}


def list_signature_changes(
    name: str, recorded: dict[str, Any], current: dict[str, Any]
) -> list[str]:
    """List the calls allowed by the recorded signature that could have a different meaning now."""
    changes = []
    positional = recorded["positional"]
    if current["positional"][: len(positional)] != positional:
        changes.append(f"{name}: positional {current['positional']}, recorded {positional}")
    for parameter, was in recorded["parameters"].items():
        now = current["parameters"].get(parameter)
        if now is None:
            changes.append(f"{name}: no parameter {parameter}")
        elif was != now and was != "required" and not (was == "optional" and now != "required"):
            changes.append(f"{name}: {parameter} is {now}, recorded {was}")
    for parameter in current["parameters"].keys() - recorded["parameters"].keys():
        if current["parameters"][parameter] == "required":
            changes.append(f"{name}: the new parameter {parameter} has no default")
    return changes


def record_own_fields() -> dict[str, Any]:
    """Return the default of each field that `BalancedTrainingArguments` adds."""
    known = {field.name for field in fields(TrainingArguments)}
    return {
        field.name: field.default if field.default is not MISSING else field.default_factory()
        for field in fields(BalancedTrainingArguments)
        if field.name not in known
    }


def record_names() -> dict[str, Any]:
    """Return the public names and their signatures."""
    return {
        "hf_bat": {name: True for name in sorted(hf_bat.__all__)},
        "lexicon": {name: True for name in sorted(hf_bat.lexicon.__all__)},
        "fields": record_own_fields(),
        "signatures": {name: record_signature(attrgetter(name)(hf_bat)) for name in SIGNATURES},
    }


def test_public_names_can_be_imported(recorded: dict[str, Any]) -> None:
    """Check that all recorded names are listed and can be loaded."""
    current = record_names()
    for module in ("hf_bat", "lexicon"):
        check_same(recorded["names"][module], current[module], more=True)
    assert all(getattr(hf_bat, name) is not None for name in recorded["names"]["hf_bat"])
    assert all(getattr(hf_bat.lexicon, name) for name in recorded["names"]["lexicon"])


def test_constructors_take_what_they_took(recorded: dict[str, Any]) -> None:
    """Check parameters and defaults; new parameters need a default."""
    current = json.loads(json.dumps(record_names()))
    check_same(recorded["names"]["fields"], current["fields"], more=True)
    changes = [
        change
        for name, was in recorded["names"]["signatures"].items()
        for change in list_signature_changes(name, was, current["signatures"][name])
    ]
    assert not changes, "\n".join(changes)


def test_options_that_are_passed_on_are_accepted() -> None:
    """Check keywords that are not in the signatures, and the Trainer's positional arguments."""
    for function, names in ACCEPTED.items():
        inspect.signature(function).bind_partial(**dict.fromkeys(names))
    inspect.signature(BalancedTrainer).bind(*range(6))


# ---- command line -----------------------------------------------------------------------------------

COMMANDS = (
    "demo", "lexicon", "lexicon build", "lexicon convert", "lexicon info", "lexicon push", "perturb",
    "attack", "certify", "contrast", "compare", "sweep", "report",
)  # fmt: skip


def run_command(*words: str) -> tuple[int, str, str]:
    """Run `hf-bat` in this process.

    Returns:
        The exit status, standard output and standard error.
    """
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = hf_bat.cli.main(list(words))
        except SystemExit as stop:
            status = int(stop.code or 0)
    return status, out.getvalue(), err.getvalue()


def read_options(text: str) -> dict[str, bool]:
    """Return the spellings of all options in a help text."""
    found = set()
    for line in text.splitlines():
        # The text after two spaces is help and may mention other options.
        listed = re.match(r" {2}(-.*?)(?: {2,}|$)", line)
        if listed:
            found |= set(re.findall(r"(?<![\w-])--?[A-Za-z][\w-]*", listed[1]))
    return dict.fromkeys(sorted(found), True)


def record_script_options() -> dict[str, bool]:
    """Return the options of `examples/run_glue_bat.py` that `TrainingArguments` does not have."""
    out = io.StringIO()
    path = str(REPOSITORY / "examples" / "run_glue_bat.py")
    # A program may change the logging of its process, which must not affect later tests.
    make_log_record = logging.getLogRecordFactory()
    # Run it in this process, because loading torch again would take most of the time.
    with (
        mock.patch.object(sys, "argv", [path, "--help"]),
        contextlib.redirect_stdout(out),
        contextlib.suppress(SystemExit),
    ):
        runpy.run_path(path, run_name="__main__")
    logging.setLogRecordFactory(make_log_record)
    known = read_options(HfArgumentParser(TrainingArguments).format_help())
    return {name: True for name in read_options(out.getvalue()) if name not in known}


def record_commands() -> dict[str, Any]:
    """Return the options of each command and the output of `--list`."""
    # In a narrow terminal, long options would be wrapped.
    with mock.patch.dict(os.environ, {"COLUMNS": "400"}):
        options = {
            command: read_options(run_command(*command.split(), "--help")[1])
            for command in COMMANDS
        }
        script = record_script_options()
    listed: dict[str, dict[str, bool]] = {}
    for line in run_command("--list")[1].splitlines():
        kind, name = line.split()[:2]
        listed.setdefault(kind, {})[name] = True
    return {"options": options, "run_glue_bat.py": script, "listed": listed}


def test_commands_have_all_their_options(recorded: dict[str, Any]) -> None:
    """Check all spellings of the options of each command; new options may be added."""
    check_same(recorded["commands"], record_commands(), more=True)


@pytest.mark.parametrize("command", COMMANDS)
def test_bad_input_ends_with_status_2_and_one_line(command: str) -> None:
    """Check how a command rejects an option that does not exist."""
    status, out, err = run_command(*command.split(), "--no-such-option")
    assert (status, out, len(err.splitlines())) == (2, "", 1)


# ---- methods, tasks, tables, recipes ----------------------------------------------------------------

METHODS = ("normal", "safer", "a2t", "pairwise", "triplet", "likelihood")
TASKS = ("ag-news", "anli", "cola", "hans", "imdb", "mnli", "mrpc", "paws", "qnli", "qqp", "rte", "sick",
         "snli", "sst2", "wiki-toxic")  # fmt: skip
# The recipe that needs a download has no hash without the download.
NEEDS_MODEL = ("a2t-mlm",)


def make_arguments(folder: Path, **options: Any) -> BalancedTrainingArguments:
    """Return the arguments for a short run on the CPU."""
    defaults = {"report_to": "none", "use_cpu": True, "disable_tqdm": True, "save_strategy": "no"}
    return BalancedTrainingArguments(str(folder), **{**defaults, **options})


def record_methods(folder: Path) -> dict[str, Any]:
    """Return the values of our own arguments by method."""
    names = record_own_fields()
    return {
        method: {name: getattr(arguments, name) for name in names}
        for method in METHODS
        for arguments in [make_arguments(folder, method=method)]
    }


def record_tasks() -> dict[str, Any]:
    """Return the definition of each task."""
    names = ("columns", "label_names", "skipped_labels", "label_column", "metrics", "hub", "splits")
    return {
        task: {name: getattr(get_task(task), name) for name in (*names, "renames")}
        for task in TASKS
    }


def record_recipes() -> dict[str, Any]:
    """Return the names and hashes of the recipes."""
    get_recipe, names = hf_bat.attack.get_recipe, [*hf_bat.attack.RECIPES, *hf_bat.attack.ALIASES]
    table = {"hot": ["cold"]}
    changed = {
        "antonym of a table": get_recipe("antonym", antonyms=table),
        "synonym of a table": get_recipe("synonym", synonyms=table),
        "antonym, authors' casing": get_recipe("antonym", casing="authors"),
        "antonym, not fitted": get_recipe("antonym", fit_grammar=False),
        "sister, not fitted": get_recipe("sister", fit_grammar=False),
        "number, not fitted": get_recipe("number", fit_grammar=False),
        "antonym, confident": get_recipe(
            "antonym", goal="keep-confident", skip_labels=("neutral",)
        ),
        "antonym, beam": get_recipe("antonym", search="beam", beam_width=3, budget=100),
        "synonym, at random": get_recipe("synonym", ranking="random", max_length=64),
        "toxicity of words": get_recipe("toxicity", toxic_words=("rude", "vile")),
    }
    return {
        "names": dict.fromkeys(names, True),
        "aliases": dict(hf_bat.attack.ALIASES),
        "hashes": {
            name: get_recipe(name).hash for name in hf_bat.attack.RECIPES if name not in NEEDS_MODEL
        },
        "hashes with options": {name: recipe.hash for name, recipe in changed.items()},
    }


def record_tables(folder: Path) -> dict[str, Any]:
    """Return fingerprints of the bundled tables and of generated tables."""
    lexicon = hf_bat.lexicon
    words = ["hot", "happy", "dog", "running", "open", "children", "large", "buy", "inside"]
    vectors = folder / "vectors.txt"
    vectors.write_text("big 1 0 0\nlarge 0.9 0.1 0\nhuge 0.8 0.3 0\nred 0 1 0\ncrimson 0 1 0.2\n")
    near = ["big", "large", "huge", "red", "crimson", "missing"]
    built = {
        "default_synonyms": lexicon.default_synonyms(),
        "wordnet_synonyms": lexicon.wordnet_synonyms(),
        "default_antonyms": lexicon.default_antonyms(),
        "default_sisters": lexicon.default_sisters(),
        "antonyms_from_wordnet": lexicon.antonyms_from_wordnet(words),
        "synonyms_from_wordnet": lexicon.synonyms_from_wordnet(words),
        "topk": lexicon.synonyms_from_vectors(vectors, near, procedure="topk"),
        "components": lexicon.synonyms_from_vectors(vectors, near, components_removed=0),
    }
    table = SubstitutionTable({"b": ["c", "d", "c"], "a": ["A", "a"]}, {"kind": "synonyms"})
    table.save(folder / "table.json")
    return {
        "fingerprints": {name: one.fingerprint for name, one in built.items()},
        "sizes": {name: len(one) for name, one in built.items()},
        "metadata": {name: sorted(one.metadata) for name, one in built.items()},
        "file": (folder / "table.json").read_text(encoding="utf-8"),
        "minus": dict(table.minus({"c": ["b"]})),
        "without": dict(table.without(["A"])),
        "fingerprint": SubstitutionTable.load(folder / "table.json").fingerprint,
    }


def test_methods_have_their_weights(recorded: dict[str, Any], tmp_path: Path) -> None:
    """Check the defaults of each method; new methods and arguments may be added."""
    check_same(recorded["methods"], record_methods(tmp_path), more=True)


def test_tasks_are_what_they_were(recorded: dict[str, Any]) -> None:
    """Check columns, labels and splits of the known tasks."""
    check_same(recorded["tasks"], record_tasks())


def test_recipes_have_their_hashes(recorded: dict[str, Any]) -> None:
    """Check recipe names and hashes, which are used to continue rows files."""
    check_same(recorded["recipes"], record_recipes(), more=True)


def test_tables_have_their_fingerprints(recorded: dict[str, Any], tmp_path: Path) -> None:
    """Check the bundled tables, the builders and the file format."""
    check_same(recorded["tables"], record_tables(tmp_path))


# ---- draws and candidates ---------------------------------------------------------------------------

LABELS = ("entailment", "neutral", "contradiction")
COLUMNS = ("premise", "hypothesis")


def read_demo_rows() -> list[Row]:
    """Return the first 100 validation rows of the demo."""
    return demo_rows("validation", 100)


def make_perturbations() -> dict[str, Any]:
    """Return one perturbation of each kind, with the bundled tables."""
    kinds = hf_bat.perturbations
    synonym, antonym = kinds.build_perturbations()
    return {
        "synonym": synonym,
        "antonym": antonym,
        "negation": kinds.NegationPerturbation(),
        "sister": kinds.SisterPerturbation(),
        "number": kinds.NumberPerturbation(),
    }


def record_draws(rows: Sequence[Row], samples: int) -> dict[str, Any]:
    """Return the training draws for rows in two epochs, with two versions of each kind per row."""
    kinds = hf_bat.perturbations
    made, edits = make_perturbations(), kinds.OBSTINATE_EDITS
    samplers = {
        "synonym": {"fickle": made["synonym"]},
        **{name: {"obstinate": made[name]} for name in ("antonym", "negation", "sister", "number")},
        **{
            f"mixed, label filter {rule}": {
                "obstinate": kinds.build_obstinate(made["antonym"], edits, rule)
            }
            for rule in ("off", "prefer", "only")
        },
        "antonym, label filter only": {
            "obstinate": kinds.build_obstinate(made["antonym"], label_filter="only")
        },
    }
    record = {}
    for name, drawn in samplers.items():
        sampler = kinds.PerturbationSampler(
            COLUMNS, **drawn, num_fickle=2, num_obstinate=2, seed=13, label_names=LABELS
        )
        entries = [
            [row["idx"], [sampler.draw(row, epoch) for epoch in (0, 1)]]
            for row in rows
            if row["label"] in (0, 1, 2)
        ]
        record[name] = fold_entries(entries, samples)
    skipping = kinds.PerturbationSampler(
        COLUMNS, made["synonym"], made["antonym"], skipped_labels={1}, seed=42, label_names=LABELS
    )
    record["both, neutral skipped"] = fold_entries([skipping.draw(row, 3) for row in rows])
    return record


def record_candidates(rows: Sequence[Row], samples: int) -> dict[str, Any]:
    """Return all single edits of rows, by kind."""

    def list_edits(kind: Any, texts: tuple[str, ...]) -> list[Any]:
        names = ("sentence", "position", "original", "replacement", "texts")
        return [[getattr(edit, name) for name in names] for edit in kind.candidates(texts)]

    pairs = [tuple(row[column] for column in COLUMNS) for row in rows]
    record = {
        name: fold_entries([list_edits(kind, texts) for texts in pairs])
        for name, kind in make_perturbations().items()
    }
    toxicity = hf_bat.perturbations.ToxicityPerturbation()
    record["toxicity"] = fold_entries([list_edits(toxicity, texts[:1]) for texts in pairs])
    if samples:
        # Keep only the edits of a few rows in readable form, because a row may have hundreds.
        for name, kind in make_perturbations().items():
            edits = [edit for texts in pairs[:20] for edit in list_edits(kind, texts)]
            record[name]["samples"] = edits[:: max(1, len(edits) // samples)][:samples]
    return record


def record_descriptions() -> dict[str, Any]:
    """Return the descriptions of perturbations, which are hashed in recipes and saved with models."""
    kinds, made = hf_bat.perturbations, make_perturbations()
    for rule in ("off", "prefer", "only"):
        mixed = kinds.build_obstinate(made["antonym"], kinds.OBSTINATE_EDITS, rule)
        made[f"mixed, label filter {rule}"] = mixed
    return {name: [one.name, one.kind, one.describe()] for name, one in made.items()}


def get_rows(name: str, request: pytest.FixtureRequest) -> list[Row]:
    """Return rows of the demo or of SNLI; skip the test if SNLI is missing."""
    if name == "demo":
        return read_demo_rows()
    return request.getfixturevalue("shared_rows")(*SNLI)


@pytest.mark.parametrize("source", ["demo", "snli"])
def test_draws_of_a_seed_are_the_same(
    recorded: dict[str, Any], request: pytest.FixtureRequest, source: str
) -> None:
    """Check draws bit for bit."""
    rows = get_rows(source, request)
    check_same(recorded["draws"][source], record_draws(rows, 4 if source == "demo" else 0))


@pytest.mark.parametrize("source", ["demo", "snli"])
def test_candidates_are_the_same(
    recorded: dict[str, Any], request: pytest.FixtureRequest, source: str
) -> None:
    """Check all edits that an attack may try."""
    rows = get_rows(source, request)
    check_same(
        recorded["candidates"][source], record_candidates(rows, 4 if source == "demo" else 0)
    )


def test_perturbations_describe_themselves_alike(recorded: dict[str, Any]) -> None:
    """Check names, kinds and descriptions."""
    check_same(recorded["descriptions"], record_descriptions())


# ---- attacks ----------------------------------------------------------------------------------------

_OBSTINATE = ("antonym", "negation", "sister", "number")
# Name -> recipe and options, for all rows.
ATTACKS: dict[str, tuple[str, dict[str, Any]]] = {
    "synonym": ("synonym", {}),
    **{name: (name, {}) for name in _OBSTINATE},
    **{f"{name}, label filter": (name, {"label_filter": True}) for name in _OBSTINATE},
}
# Further attacks, only for the demo rows: other searches, rankings, goals and bounds.
MORE_ATTACKS: dict[str, tuple[str, dict[str, Any]]] = {
    "synonym, unk": ("synonym", {"ranking": "unk"}),
    "synonym, random": ("synonym", {"ranking": "random", "seed": 5}),
    "synonym, budget": ("synonym", {"budget": 5}),
    "synonym, beam": (
        "synonym",
        {"search": "beam", "ranking": None, "beam_width": 2, "budget": 80},
    ),
    "synonym, exhaustive": ("synonym", {"search": "exhaustive", "ranking": None}),
    "antonym, greedy": ("antonym", {"search": "greedy", "ranking": "deletion"}),
    "antonym, confident": ("antonym", {"goal": "keep-confident"}),
    "antonym, authors": ("antonym", {"casing": "authors", "skip_columns": ("premise",)}),
    "antonym, no label skipped": ("antonym", {"skip_labels": (), "label_filter": True}),
    "antonym, table": ("antonym", {"antonyms": {"hard": ["soft"], "cold": ["hot", "warm"]}}),
    "a2t, deletion": ("a2t", {"ranking": "deletion"}),
    "textfooler-wordnet": ("textfooler-wordnet", {}),
}


@cache
def weigh_word(word: str, sentence: int) -> tuple[int, int, int]:
    """Return the word's votes for each label, from a hash that is the same on all machines."""
    digest = hashlib.sha256(f"{sentence} {word}".encode()).digest()
    # Few words have many votes and many words have few, so one edit may change the prediction.
    return digest[0] ** 4, digest[1] ** 4, digest[2] ** 4


def judge(pairs: Iterable[tuple[str, ...]], salt: int = 0) -> list[list[float]]:
    """Classify sentence pairs without a model, by the votes of their words.

    The votes are integers, and a single division is rounded in the same way on all machines.
    """
    answers = []
    for pair in pairs:
        votes = [1, 1, 1]
        for sentence, text in enumerate(pair):
            for word in text.split():
                votes = [
                    a + b for a, b in zip(votes, weigh_word(word, sentence + salt), strict=True)
                ]
        answers.append([vote / sum(votes) for vote in votes])
    return answers


def judge_otherwise(pairs: Iterable[tuple[str, ...]]) -> list[list[float]]:
    """Classify like `judge`, but with different votes."""
    return judge(pairs, salt=2)


def label_rows(rows: Sequence[Row]) -> list[Row]:
    """Return rows with the labels that `judge` predicts, except for every seventh, and broken rows."""
    labeled = []
    for row in rows:
        (answer,) = judge([tuple(row[column] for column in COLUMNS)])
        label = row["label"] if row["idx"] % 7 == 0 else answer.index(max(answer))
        labeled.append(
            {**{column: row[column] for column in COLUMNS}, "label": label, "idx": row["idx"]}
        )
    broken = [
        {"premise": " ", "hypothesis": "A man sleeps.", "label": 0, "idx": 100_000},
        {"premise": "A man sleeps.", "hypothesis": "A man rests.", "label": -1, "idx": 100_001},
    ]
    return [*labeled, *broken]


def read_json_lines(path: Path) -> list[Row]:
    """Return the values in a file with one value per line."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def record_report(report: Any, folder: Path, samples: int = 0) -> dict[str, Any]:
    """Return the figures of an attack, its rows and their keys, as written to files.

    Args:
        report: Report of one attack.
        folder: Folder for the files.
        samples: Number of rows to keep in readable form. If it is 0, nested values in the summary are
            also hashed to keep the record small.
    """
    report.save_json(folder / "report.json")
    report.save_rows(folder / "rows.jsonl")
    saved = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    rows = read_json_lines(folder / "rows.jsonl")
    ((name, summary),) = saved["attacks"].items()
    keys: dict[str, set[str]] = {}
    for row in rows:
        keys.setdefault(row["outcome"], set()).update(row)
    record = {
        "name": name,
        "report keys": sorted(saved),
        "row keys": {outcome: sorted(names) for outcome, names in keys.items()},
        "recipe": {"hash": summary["recipe"]["hash"], "keys": sorted(summary["recipe"])},
        "summary": round_floats(
            {
                **{name: value for name, value in summary.items() if name != "recipe"},
                # Record only their number, because the wording may change.
                "warnings": len(summary["warnings"]),
                "per_pair": [hash_json(summary["per_pair"]), summary["per_pair"][:2]],
            }
        ),
        "metrics": round_floats(report.metrics("eval_")),
        "rows": fold_entries(rows, samples),
    }
    if samples:
        return record
    nested = {name: value for name, value in summary.items() if isinstance(value, (dict, list))}
    del nested["recipe"], nested["warnings"]
    return {
        "rows": record["rows"],
        "recipe": summary["recipe"]["hash"],
        "summary": {
            **{name: value for name, value in record["summary"].items() if name not in nested},
            "nested": hash_json(nested),
        },
    }


def record_attacks(
    rows: Sequence[Row],
    attacks: Mapping[str, tuple[str, dict[str, Any]]],
    folder: Path,
    samples: int,
) -> dict[str, Any]:
    """Return the outcomes of attacks on the deterministic classifier."""
    labeled, record = label_rows(rows), {}
    for name, (recipe, options) in attacks.items():
        attack = Attack(recipe, judge, task="snli", progress=False, **options)
        report = attack.run(labeled)
        # One obstinate attack of each kind and one fickle attack have all possible keys.
        shown = samples if name in ("antonym", "synonym", "negation, label filter") else 0
        record[name] = record_report(report, folder, shown)
    return record


def record_other_attacks(rows: Sequence[Row], folder: Path) -> dict[str, Any]:
    """Return an attack on a smoothed classifier, one input, a rows file and an export."""
    labeled = label_rows(rows)[:20]
    table = hf_bat.lexicon.default_synonyms()
    smoothed = SmoothedClassifier(judge, table, samples=15, seed=3)
    attack = Attack("antonym", smoothed, task="snli", progress=False)
    report = attack.run(labeled)
    record = {"smoothed": record_report(report, folder)}
    record["smoothed"]["about"] = report.to_dict()["smoothed"]

    model = hf_bat.attack.CallableModel(judge, name="judge")
    for name, options in {"antonym": {"label_filter": True}, "synonym": {}}.items():
        attack, path = Attack(name, model, progress=False, **options), folder / f"{name}.jsonl"
        report = attack.run(labeled, rows_file=path, max_samples=12, row_choice="first")
        lines = read_json_lines(path)
        marks = ("recipe", "model", "data", "label_filter", "label_reading")
        exported = report.export(folder / f"{name}.export.jsonl", COLUMNS)
        record[name] = {
            "marks": {mark: sorted({str(line.get(mark)) for line in lines}) for mark in marks},
            "keys": sorted({key for line in lines for key in line}),
            "exported": [list(exported), read_json_lines(folder / f"{name}.export.jsonl")[:2]],
            "one input": round_floats(
                attack.attack_texts("A young man sleeps.", "A man is awake.")
            ),
            "named label": attack.attack_texts("Two men run.", "Nobody runs.", label="entailment"),
        }
    return round_floats(record)


@pytest.mark.parametrize("source", ["demo", "snli"])
def test_attacks_have_the_same_outcomes(
    recorded: dict[str, Any], request: pytest.FixtureRequest, tmp_path: Path, source: str
) -> None:
    """Check figures, keys and rows of the attacks."""
    rows, samples = get_rows(source, request), 2 if source == "demo" else 0
    check_same(recorded["attacks"][source], record_attacks(rows, ATTACKS, tmp_path, samples))


def test_searches_and_rankings_have_the_same_outcomes(
    recorded: dict[str, Any], tmp_path: Path
) -> None:
    """Check attacks with other options on the demo rows."""
    current = record_attacks(read_demo_rows(), MORE_ATTACKS, tmp_path, 0)
    check_same(recorded["attacks"]["options"], current)


def test_rows_files_and_smoothed_models_are_the_same(
    recorded: dict[str, Any], tmp_path: Path
) -> None:
    """Check the hashes used to continue a rows file, and what reports disclose."""
    check_same(recorded["attacks"]["others"], record_other_attacks(read_demo_rows(), tmp_path))


# ---- certificates, contrast sets, comparisons -------------------------------------------------------


def record_certificates(rows: Sequence[Row], folder: Path) -> dict[str, Any]:
    """Return certificates of the deterministic classifier with two settings."""
    labeled = [*label_rows(rows)[:24], *label_rows(rows)[-2:]]
    # Words in the demo rows, in sets that are identical, that overlap, and that lead nowhere.
    table = {
        "sofa": ["couch"], "couch": ["sofa"], "pupil": ["student"], "brown": ["tan", "beige"],
        "tan": ["brown"], "tourist": ["visitor", "traveler"], "will": ["shall"],
    }  # fmt: skip
    record = {}
    for name, options in {
        "radius": {"radius": 2, "samples": 300},
        "one look": {"early_stopping": False, "samples": 60, "confidence": 0.9, "seed": 4},
    }.items():
        path = folder / f"{name}.jsonl"
        report = certify(
            judge, labeled, "snli", synonyms=table, rows_file=path, progress=False, **options
        )
        report.save_json(folder / "certificate.json")
        saved = json.loads((folder / "certificate.json").read_text(encoding="utf-8"))
        summary = saved["certificate"]
        # The wording of this sentence may change.
        assert isinstance(summary.pop("certifies"), str)
        # The lines contain the model and the version.
        lines = [{**line, "model": None} for line in read_json_lines(path)]
        keys: dict[str, set[str]] = {}
        for line in lines:
            keys.setdefault("skipped" if line["outcome"] == "skipped" else "tried", set()).update(
                line
            )
        record[name] = {
            "report keys": sorted(saved),
            "row keys": {kind: sorted(names) for kind, names in keys.items()},
            "certificate": round_floats(summary),
            "rows": fold_entries(lines, 2),
        }
    return record


def make_tiny_model() -> Any:
    """Return a tiny classifier with weights that do not depend on the version of torch or transformers."""
    model = tiny_model("bert")
    # NumPy guarantees that this generator never changes.
    draw = np.random.RandomState(0)
    for name, parameter in sorted(model.named_parameters()):
        values = 0.3 * draw.standard_normal(tuple(parameter.shape))
        if name.endswith("LayerNorm.weight"):
            values = 1 + values / 3
        if name.endswith("word_embeddings.weight"):
            values = 5 * values  # so the prediction depends on the words
        parameter.data = torch.tensor(values, dtype=torch.float32)
    tokenizer, rows = make_tokenizer(), read_demo_rows()
    texts = [[row[column] for row in rows] for column in COLUMNS]
    with torch.no_grad():
        logits = model.eval()(**tokenizer(*texts, padding=True, return_tensors="pt")).logits
        model.classifier.bias -= logits.mean(0)
    return model


def make_tokenizer() -> Any:
    """Return a tokenizer with the words in the demo rows."""
    return tiny_tokenizer(row[column] for row in read_demo_rows() for column in COLUMNS)


def write_json_lines(path: Path, rows: Iterable[Row]) -> str:
    """Write one row per line and return the file name."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def call_command(*words: Any) -> None:
    """Run a command that must succeed."""
    status, _, err = run_command(*map(str, words))
    assert status == 0, err


def record_command_files(rows: Sequence[Row], folder: Path) -> dict[str, Any]:
    """Return the JSON output of commands for a tiny model and for attack reports."""
    model, data = folder / "model", folder / "rows.jsonl"
    write_json_lines(data, label_as_model(rows[:30]))
    make_tiny_model().save_pretrained(model)
    make_tokenizer().save_pretrained(model)
    linked = [
        {**row, "original_idx": None if place % 3 == 0 else rows[place - place % 3]["idx"]}
        for place, row in enumerate(rows[:45])
    ]
    linked[4] = {**linked[4], "label": -1}
    edited = write_json_lines(folder / "contrast-rows.jsonl", linked)

    def load(name: str) -> Any:
        return json.loads((folder / name).read_text(encoding="utf-8"))

    call_command("contrast", "--model", model, "--task", "snli", "--data", edited,
                 "--json", folder / "contrast.json", "--rows", folder / "contrast.jsonl")  # fmt: skip
    contrast, scored = load("contrast.json"), read_json_lines(folder / "contrast.jsonl")

    call_command("attack", "--model", model, "--task", "snli", "--data", data, "--canonicalize",
                 "--attacks", "antonym", "a2t", "--max-samples", 20, "--row-choice", "first",
                 "--label-filter",
                 "--json", folder / "attack.json", "--rows", folder / "attack.jsonl")  # fmt: skip
    attack, attacked = load("attack.json"), read_json_lines(folder / "attack.jsonl")

    call_command("perturb", "--task", "snli", "--data", data, "--n", 6, "--num-obstinate", 2,
                 "--obstinate-edits", "antonym", "number", "--json", folder / "perturb.json")  # fmt: skip

    for name, answer in {"a": judge, "b": judge_otherwise}.items():
        reports = [
            Attack(recipe, answer, progress=False, **options).run(label_rows(rows))
            for recipe, options in (
                ("antonym", {"label_filter": True}),
                ("synonym", {"budget": 60}),
            )
        ]
        both = reports[0] | reports[1]
        both.save_json(folder / f"{name}.json")
        both.save_rows(folder / f"{name}.jsonl")
    call_command("compare", folder / "a.json", folder / "b.json", "--resamples", 400, "--seed", 1,
                 "--rows", folder / "a.jsonl", folder / "b.jsonl",
                 "--json", folder / "compare.json")  # fmt: skip
    compared, perturbed = load("compare.json"), load("perturb.json")
    return round_floats(
        {
            "contrast": {
                "report keys": sorted(contrast),
                "contrast": contrast["contrast"],
                "rows": fold_entries(scored, 2),
            },
            "attack": {
                "report keys": sorted(attack),
                "preprocessing_defence": attack["preprocessing_defence"],
                "row keys": sorted({key for row in attacked for key in row}),
                "outcomes": [[row["attack"], row["idx"], row["outcome"]] for row in attacked],
            },
            "perturb": {**perturbed, "rows": fold_entries(perturbed["rows"], 2)},
            "compare": {**compared, "a": None, "b": None},
        }
    )


def test_certificates_are_the_same(recorded: dict[str, Any], tmp_path: Path) -> None:
    """Check figures, keys and rows of certificates."""
    check_same(recorded["certificates"], record_certificates(read_demo_rows(), tmp_path))


def test_commands_write_the_same(recorded: dict[str, Any], tmp_path: Path) -> None:
    """Check the JSON of contrast, attack, perturb and compare."""
    check_same(recorded["files"], record_command_files(read_demo_rows(), tmp_path))


# ---- sweeps -----------------------------------------------------------------------------------------

_BASE = "--model_name_or_path some/model --task snli --attacks antonym synonym"
FLAGS = (
    _BASE,
    f"{_BASE} --method pairwise",
    f"{_BASE} --method pairwise --alpha 0.5 --beta 1.2 --seed 3 --learning_rate 2e-5",
    f"{_BASE} --method triplet --contrastive_weight 0.5 --mask authors --pooling mean",
    f"{_BASE} --method likelihood --label_filter only --obstinate_edits antonym negation number",
    f"{_BASE} --method likelihood --other_margin 0.5 --contrastive_weight 0.25 --distance euclidean",
    f"{_BASE} --method safer --clean_epochs 1 --num_train_epochs 4 --keep_model",
    f"{_BASE} --method a2t --attack_share 0.1 --attack_interval 2 --canonicalize",
    f"{_BASE} --eval_strategy steps --logging_steps 7 --warmup_steps 10 --dataloader_num_workers 2",
    # None of these options affects the results, so the key is the same as for the first run.
    f"{_BASE} --run_name mine --project ours --logging_first_step --logging_steps 3 --save_steps 7 "
    "--dataloader_num_workers 2 --dataloader_pin_memory false --do_train --do_eval --log_level error",
    f"{_BASE} --load_best_model_at_end --eval_strategy epoch --metric_for_best_model eval_antonym_asr",
    "--model_name_or_path m --columns text --label_column intent --class_names a b --weight_decay 0.1",
    "--model_name_or_path m --task_name mnli --method pairwise --max_train_samples 500 "
    "--representations 8 --per_device_train_batch_size 16 --gradient_accumulation_steps 2",
)
GRID = ("method=normal,safer,pairwise,triplet", "lambda=0.5,1", "alpha=0.5,1", "seed=1,2")


def record_sweeps(folder: Path) -> dict[str, Any]:
    """Return the keys of runs, which are the names of their folders."""
    sweep = hf_bat.sweep
    # The old defaults (the first rows of a file, edits that are not fitted) have no entries in keys.
    keys = {
        flags: sweep.make_run(sweep.parse_flags(f"{flags} --row_choice first --no_fit_grammar")).key
        for flags in FLAGS
    }
    runs = sweep.make_grid(
        sweep.parse_flags(f"{_BASE} --row_choice first --no_fit_grammar"), sweep.read_grid(GRID)
    )
    # Keys depend on the content of files, so files may be moved.
    rows = write_json_lines(
        folder / "train.jsonl", [{"premise": "A", "hypothesis": "B", "label": 0}]
    )
    SubstitutionTable({"big": ["large"]}).save(folder / "table.json")
    files = {
        **sweep.parse_flags(f"{_BASE} --row_choice first --no_fit_grammar"),
        "train_file": rows,
        "validation_file": rows,
        "synonyms": str(folder / "table.json"),
    }
    (folder / "model").mkdir(exist_ok=True)
    (folder / "model" / "config.json").write_text("{}", encoding="utf-8")
    local = {
        **sweep.parse_flags(f"{_BASE} --row_choice first --no_fit_grammar"),
        "model_name_or_path": str(folder / "model"),
    }
    return {
        "keys": keys,
        "grid": [
            [run.label(["method", "contrastive_weight", "alpha", "seed"]), run.key] for run in runs
        ],
        "files": sweep.make_run(files).key,
        "local model": sweep.make_run(local).key,
        "launcher": sweep.make_run(local, ["accelerate", "launch"]).key,
    }


def test_sweep_runs_have_their_keys(recorded: dict[str, Any], tmp_path: Path) -> None:
    """Check that finished runs are found again."""
    check_same(recorded["sweeps"], record_sweeps(tmp_path))


# ---- losses, training, metrics ----------------------------------------------------------------------

# Method and options of each short training run.
TRAININGS: dict[str, dict[str, Any]] = {
    "normal": {"method": "normal"},
    "safer": {"method": "safer"},
    "a2t": {"method": "a2t", "clean_epochs": 0, "attack_share": 1.0},
    "pairwise": {"method": "pairwise"},
    "triplet": {"method": "triplet"},
    "likelihood": {"method": "likelihood"},
    "pairwise, options": {
        "method": "pairwise", "distance": "euclidean", "pooling": "mean", "num_fickle": 2,
        "obstinate_edits": ["antonym", "number", "negation", "sister"], "label_filter": "prefer",
        "label_smoothing_factor": 0.1, "class_weights": [1.0, 2.0, 0.5],
    },
    "triplet, options": {
        "method": "triplet", "mask": "authors", "distance": "manhattan", "pooling": "head_input",
        "num_obstinate": 2, "margin": 30.0, "weight_warmup_steps": 2,
    },
    "safer, options": {
        "method": "safer", "canonicalize": True, "exclude_stopwords": False, "casing": "authors",
    },
    "likelihood, options": {
        "method": "likelihood", "contrastive_weight": 0.5, "label_filter": "only", "alpha": 0.5,
        "gradient_accumulation_steps": 2, "per_device_train_batch_size": 8,
    },
}  # fmt: skip
# Entries logged by the Trainer itself, and entries that depend on time.
_NOT_OURS = ("epoch", "learning_rate", "step")
_CLOCKS = ("_runtime", "_per_second", "_preparation_time")


def record_losses() -> dict[str, Any]:
    """Return the losses for fixed vectors."""
    draw = np.random.RandomState(1)
    anchor, fickle, obstinate = (
        torch.tensor(draw.standard_normal((6, 4)), dtype=torch.float32) for _ in range(3)
    )
    masks = (
        torch.tensor([True, True, False, True, False, True]),
        torch.tensor([True, False, False, True, True, True]),
    )
    losses, record = hf_bat.losses, {}
    for distance in ("cosine", "euclidean", "manhattan"):
        record[distance] = {
            "pair_distance": losses.pair_distance(anchor, fickle, distance).tolist(),
            "pairwise": losses.pairwise_loss(
                anchor, fickle, obstinate, *masks, margin=2.0, distance=distance
            ).item(),
            **{
                f"triplet, {mask}": losses.triplet_loss(
                    anchor, fickle, obstinate, *masks, mask=mask, distance=distance
                ).item()
                for mask in ("paper", "authors")
            },
        }
    return round_floats(record, 5)


def compute_accuracy(prediction: Any) -> dict[str, float]:
    """Return the accuracy in an evaluation."""
    right = prediction.predictions.argmax(-1) == prediction.label_ids
    return {"accuracy": float(right.mean())}


def make_trainer(
    folder: Path, rows: list[Row], tables: Mapping[str, Any] | None = None, **options: Any
) -> BalancedTrainer:
    """Return a trainer that trains the tiny model for two steps over all rows.

    Each step uses all rows, so their order does not matter. Plain gradient descent does not amplify the
    last bits of small gradients.

    Args:
        folder: Output folder.
        rows: Rows for training and evaluation.
        tables: `synonyms` and `antonyms`. If `None`, the bundled tables are used.
        **options: Training arguments.
    """
    defaults = {
        "per_device_train_batch_size": len(rows),
        "num_train_epochs": 2,
        "logging_steps": 1,
        "optim": "sgd",
        "learning_rate": 0.01,
        "lr_scheduler_type": "constant",
        "seed": 3,
    }
    return BalancedTrainer(
        model=make_tiny_model(),
        args=make_arguments(folder, **{**defaults, **options}),
        train_dataset=rows,
        eval_dataset=rows,
        processing_class=make_tokenizer(),
        compute_metrics=compute_accuracy,
        task="snli",
        **(tables or {}),
    )


def record_trainings(rows: Sequence[Row], folder: Path) -> dict[str, Any]:
    """Return the logs of each method in two steps, and the tables that it saves."""
    # Mapping the bundled tables to components, or saving them, takes a second.
    small = {
        "synonyms": {"sofa": ["couch"], "couch": ["sofa"], "buy": ["purchase"], "the": ["thy"]},
        "antonyms": {"hard": ["soft"], "smooth": ["rough"], "buy": ["sell"]},
    }
    record = {}
    # Each run collects garbage, which takes half a second while large tables are in memory.
    gc.freeze()
    for name, options in TRAININGS.items():
        tables = small if options.get("canonicalize") else None
        trainer = make_trainer(folder / name, list(rows[:16]), tables, **options)
        trainer.train()
        logs = [
            {key: value for key, value in entry.items() if key not in _NOT_OURS}
            for entry in trainer.state.log_history
            if "train_loss" not in entry
        ]
        saving = make_trainer(folder / name, list(rows[:4]), small, **options)
        fingerprints = saving.save_perturbations(folder / name)
        path = folder / name / "perturbations.json"
        saved = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
        record[name] = {
            "logs": round_floats(logs, 5),
            "saved": {"fingerprints": fingerprints, "perturbations.json": saved},
        }
    gc.unfreeze()
    return record


def record_batch(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the tensors from a collator."""
    made = make_perturbations()
    collator = PerturbationCollator(
        make_tokenizer(), COLUMNS, made["synonym"], made["antonym"], skipped_labels={1},
        num_fickle=2, max_length=48, seed=11, label_names=LABELS,
    )  # fmt: skip
    record = {}
    for epoch in (0, 1):
        collator.set_epoch(epoch)
        batch = collator([dict(row) for row in rows[:8]])
        record[f"epoch {epoch}"] = {
            name: [list(tensor.shape), str(tensor.dtype), hash_json(tensor.tolist())]
            for name, tensor in batch.items()
        }
    record["clean"] = sorted(collator.clean()([dict(row) for row in rows[:8]]))
    return record


def drop_clocks(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return metrics without the epoch and without entries that depend on time."""
    return {
        name: value
        for name, value in metrics.items()
        if name not in _NOT_OURS and not name.endswith(_CLOCKS)
    }


def label_as_model(rows: Sequence[Row]) -> list[Row]:
    """Return rows with the labels that the tiny model predicts, except for every fourth.

    Otherwise the model would classify few rows correctly, and only these rows are attacked.
    """
    texts = [[row[column] for row in rows] for column in COLUMNS]
    with torch.no_grad():
        inputs = make_tokenizer()(*texts, padding=True, return_tensors="pt")
        labels = make_tiny_model()(**inputs).logits.argmax(-1).tolist()
    return [
        row if row["idx"] % 4 == 0 else {**row, "label": label}
        for row, label in zip(rows, labels, strict=True)
    ]


def record_metrics(rows: Sequence[Row], folder: Path) -> dict[str, Any]:
    """Return the metrics from `evaluate` for the trainer and for the callback of a plain Trainer."""
    kept = label_as_model(rows[:24])
    trainer = make_trainer(
        folder, kept, method="normal", attacks=["antonym", "synonym"], max_attack_samples=20,
        row_choice="first", attack_label_filter=True, eval_distances=True,
    )  # fmt: skip
    evaluated = drop_clocks(trainer.evaluate())
    named = drop_clocks(trainer.evaluate({"one": kept[:8], "two": kept[8:]}))
    callback = RobustnessCallback(
        kept, "snli", ["antonym", "synonym", "negation"], max_samples=20, row_choice="first"
    )
    tokenizer = make_tokenizer()
    tokenized = [
        {**tokenizer(row["premise"], row["hypothesis"]), "labels": row["label"]} for row in kept
    ]
    plain = Trainer(
        model=make_tiny_model(),
        args=TrainingArguments(str(folder), report_to="none", use_cpu=True, disable_tqdm=True),
        eval_dataset=tokenized,
        processing_class=tokenizer,
        compute_metrics=compute_accuracy,
        callbacks=[callback],
    )
    added = {name: v for name, v in plain.evaluate().items() if "loss" not in name}
    return round_floats(
        {
            "evaluate": evaluated,
            "evaluate sets": sorted(named),
            "callback": drop_clocks(added),
            "predict": sorted(drop_clocks(trainer.predict(kept).metrics)),
        },
        5,
    )


def test_losses_are_the_same(recorded: dict[str, Any]) -> None:
    """Check the loss functions on fixed vectors."""
    check_same(recorded["losses"], record_losses())


def test_collator_makes_the_same_batches(recorded: dict[str, Any]) -> None:
    """Check the batch's tensors bit for bit."""
    check_same(recorded["batch"], record_batch(read_demo_rows()))


def test_methods_log_the_same_losses(recorded: dict[str, Any], tmp_path: Path) -> None:
    """Check components and losses of two training steps of each method."""
    check_same(recorded["trainings"], record_trainings(read_demo_rows(), tmp_path))


def test_evaluation_has_the_same_metrics(recorded: dict[str, Any], tmp_path: Path) -> None:
    """Check the metric keys, and the figures of a tiny model."""
    check_same(recorded["metrics"], record_metrics(read_demo_rows(), tmp_path))


# ---- recording --------------------------------------------------------------------------------------


def read_shared_rows() -> list[Row]:
    """Return the SNLI rows that tests get from the fixture `shared_rows`."""
    folder = os.environ.get("HF_BAT_SHARED") or REPOSITORY.parent / "shared"
    name, count = SNLI
    with gzip.open(Path(folder) / "data" / name, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line, _ in zip(lines, range(count), strict=False)]


@contextlib.contextmanager
def make_folders() -> Iterator[Callable[[], Path]]:
    """Yield a function that creates a new empty folder on each call."""
    with tempfile.TemporaryDirectory() as root:
        yield lambda: Path(tempfile.mkdtemp(dir=root))


def record_all() -> dict[str, Any]:
    """Return the complete record."""
    demo, snli = read_demo_rows(), read_shared_rows()
    with make_folders() as make_folder:
        return {
            "names": record_names(),
            "commands": record_commands(),
            "methods": record_methods(make_folder()),
            "tasks": record_tasks(),
            "recipes": record_recipes(),
            "tables": record_tables(make_folder()),
            "descriptions": record_descriptions(),
            "draws": {"demo": record_draws(demo, 4), "snli": record_draws(snli, 0)},
            "candidates": {"demo": record_candidates(demo, 4), "snli": record_candidates(snli, 0)},
            "attacks": {
                "demo": record_attacks(demo, ATTACKS, make_folder(), 2),
                "snli": record_attacks(snli, ATTACKS, make_folder(), 0),
                "options": record_attacks(demo, MORE_ATTACKS, make_folder(), 0),
                "others": record_other_attacks(demo, make_folder()),
            },
            "certificates": record_certificates(demo, make_folder()),
            "files": record_command_files(demo, make_folder()),
            "sweeps": record_sweeps(make_folder()),
            "losses": record_losses(),
            "batch": record_batch(demo),
            "trainings": record_trainings(demo, make_folder()),
            "metrics": record_metrics(demo, make_folder()),
        }


def format_json(value: Any, indent: str = "") -> str:
    """Return JSON with short values on one line, so the file is small and changes are readable."""
    text = json.dumps(value)
    if len(text) <= 120 or is_names(value) or not isinstance(value, (dict, list)):
        return text
    inner = indent + " "
    if isinstance(value, list):
        lines, ends = [format_json(item, inner) for item in value], "[]"
    else:
        lines = [f"{json.dumps(name)}: {format_json(item, inner)}" for name, item in value.items()]
        ends = "{}"
    body = ",\n".join(inner + line for line in lines)
    return f"{ends[0]}\n{body}\n{indent}{ends[1]}"


if __name__ == "__main__":
    torch.set_num_threads(1)
    RECORD.parent.mkdir(exist_ok=True)
    RECORD.write_text(format_json(record_all()) + "\n", encoding="utf-8")
    print(f"written: {RECORD} ({RECORD.stat().st_size / 1000:.0f} kB)")
