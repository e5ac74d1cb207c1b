"""Bad calls of `hf_bat.attack`: options, models, rows, rows files, recipes and their parts."""

import math
from functools import partial

import torch
from attack_helpers import ANTONYMS, hashed, made_rows
from bad_calls import BadCall
from tiny_models import tiny_model, tiny_tokenizer

from hf_bat.attack import (
    Attack,
    CallableModel,
    CanonicalizedModel,
    EmbeddingDistance,
    MaskedLMPerturbation,
    MaxWords,
    Recipe,
    SentenceEncoder,
    SentenceSimilarity,
    TransformersModel,
    get_recipe,
)
from hf_bat.attack.result import AttackResult
from hf_bat.attack.rows import read_rows
from hf_bat.canonicalize import Canonicalizer
from hf_bat.certificate.smoothing import SmoothedClassifier
from hf_bat.evaluation.contrast import contrast_model
from hf_bat.perturbations import AntonymPerturbation
from hf_bat.tasks import user_task

# The first row is classified correctly, so its search starts.
ROWS = [row for row in made_rows(30) if row["label"] != 1][:2]
ROWS[0]["label"] = int(hashed([(ROWS[0]["premise"], ROWS[0]["hypothesis"])]).argmax())
TEXT = {"text": "A hot day.", "idx": 0, "original_idx": None}
MODEL = TransformersModel(tiny_model("bert"), tiny_tokenizer(), max_length=16)
WRAPPED = SmoothedClassifier(
    CanonicalizedModel(MODEL, Canonicalizer({"auto": ["car"]})), {"hot": ["warm"]}, samples=2
)


def attacked(name, keyword, recipe="antonym", model=hashed, rows=ROWS, **options):
    """Return the bad call of `Attack(recipe, model, **options).run(rows)`."""
    return BadCall(name, lambda _: Attack(recipe, model, **options).run(rows), keyword)


def answered(name, keyword, answer):
    """Return the bad call of an attack on a model that returns `answer` for each input."""
    return attacked(name, keyword, model=lambda pairs: [answer for _ in pairs])


def labeled(label, keyword):
    """Return the bad calls of an attack and of a contrast set with a row that has this label."""
    rows, task = [{**TEXT, "label": label}], user_task(["text"])
    return [
        attacked(f"label {label!r} of an attack", keyword, rows=rows, task=task),
        BadCall(
            f"label {label!r} of a contrast set",
            lambda _: contrast_model(hashed, rows, task),
            keyword,
        ),
    ]


def continued(name, keyword, changed, recipe="antonym", model=hashed, rows=ROWS, **options):
    """Return the bad call that continues a rows file with a different attack."""

    def call(folder):
        Attack(recipe, model, antonyms=ANTONYMS, **options).run(rows, folder / "rows.jsonl")
        options_now = {"antonyms": ANTONYMS, **options, **changed}
        rows_now = options_now.pop("rows", rows)
        attack = Attack(recipe, options_now.pop("model", model), **options_now)
        before = (folder / "rows.jsonl").read_bytes()
        try:
            attack.run(rows_now, folder / "rows.jsonl")
        finally:
            assert (folder / "rows.jsonl").read_bytes() == before

    return BadCall(f"rows file of another {name}", call, keyword)


def read_written(text):
    """Return a call that reads a rows file with this text."""

    def call(folder):
        (folder / "rows.jsonl").write_text(text)
        read_rows(folder / "rows.jsonl")

    return call


def continue_report(folder):
    (folder / "report.json").write_text('{\n"attacks": {}\n}\n')
    Attack("antonym", hashed).run(ROWS, folder / "report.json")


def predict_other_words(folder):
    tiny_model("bert").save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    MaskedLMPerturbation(folder).describe()


def attack_broken_model(_):
    model = tiny_model("bert")
    with torch.no_grad():
        model.classifier.weight.fill_(math.nan)
    Attack("antonym", model, tiny_tokenizer()).run(ROWS)


async def coroutine():
    return []


def remote(name, keyword, answer=None, **options):
    """Return the bad call of an attack on a `CallableModel` with these options."""

    def call(folder):
        (folder / "text.jsonl").write_text("some text\n")
        if "cache" in options:
            options["cache"] = folder / options["cache"]
        function = hashed if answer is None else lambda pairs: [answer for _ in pairs]
        Attack("antonym", CallableModel(function, **options)).run(ROWS)

    return BadCall(name, call, keyword)


PERTURBATION = AntonymPerturbation(ANTONYMS)
RESULT = {"idx": 0, "attack": "antonym", "outcome": "failed"}

CALLS = [
    # Options
    attacked("misspelled recipe", "did you mean 'antonym'", recipe="antonyms"),
    attacked("ranking of an exhaustive search", "ranking", ranking="best"),
    attacked("unknown option", "option", color=1),
    attacked("unknown column", "premiss", skip_columns=["premiss"]),
    attacked("unknown label to skip", "nay", skip_labels=["nay"]),
    attacked("absent table", "absent.json", antonyms="absent.json"),
    attacked("absent table that is not used", "absent.json", synonyms="absent.json"),
    attacked("no budget", "budget", budget=0),
    attacked("unknown goal", "win", goal="win"),
    attacked("unknown search", "deep", search="deep"),
    attacked("unknown tagger", "spacy", part_of_speech="spacy"),
    attacked("device of a function", "device", device="cpu"),
    attacked("number for a model", "int", model=3),
    attacked("gradient of a function", "gradient", recipe="a2t"),
    attacked("pairs for a perturbation of single texts", "single", recipe="toxicity"),
    attacked("no masked language model", "mlm_model", recipe="a2t-mlm"),
    attacked("batch of nothing", "batch_size", model=MODEL, batch_size=0),
    attacked("filter of a search that stops", "greedy", label_filter=True, search="greedy",
             ranking="random"),
    *(
        attacked(f"{name} of a {type(model).__name__}", name, model=model, **{name: value})
        for model in (MODEL, WRAPPED)
        for name, value in (("max_length", 8), ("device", "cpu"), ("dtype", "bfloat16"))
    ),
    BadCall("unknown dtype", lambda _: TransformersModel(MODEL.model, MODEL.tokenizer, dtype="float8"),
            "float8"),
    BadCall("length over the limit",
            lambda _: TransformersModel(MODEL.model, MODEL.tokenizer, max_length=1000), "max_length"),
    # Rows and answers
    attacked("no rows", "no rows", rows=[]),
    BadCall("no rows at most", lambda _: Attack("antonym", hashed).run(ROWS, max_samples=0),
            "max_samples"),
    attacked("label out of range", "label 3", rows=[ROWS[0], {**ROWS[1], "label": 3}]),
    attacked("unknown label", "maybe", rows=[ROWS[0], {**ROWS[1], "label": "maybe"}]),
    attacked("repeated idx", "idx", rows=[ROWS[0], ROWS[0]]),
    *labeled("yes", "'yes' in row 0"),
    *labeled(0.5, "0.5 in row 0"),
    *labeled(-3, "-3 in row 0"),
    *labeled(math.inf, "inf in row 0"),
    *labeled([0], "[0] in row 0"),
    *labeled("--1", "'--1' in row 0"),
    *labeled("\u00b2", "'\u00b2' in row 0"),
    answered("NaN", "NaN", [math.nan, 0.5, 0.5]),
    answered("logits", "softmax", [2.0, -3.0, 0.5]),
    answered("probabilities that do not sum to 1", "softmax", [0.3, 0.3, 0.3]),
    answered("one number for an input", "shape", 0.5),
    answered("names for probabilities", "function", ["yes", "no", "?"]),
    attacked("answers for other inputs", "shape", model=lambda pairs: [[0.2, 0.3, 0.5]] * 9),
    attacked("label that the model does not have", "2 probabilities",
             model=lambda pairs: [[0.5, 0.5] for _ in pairs], rows=[{**ROWS[0], "label": 2}]),
    remote("no call at once", "concurrency", concurrency=0),
    remote("negative retries", "retries", retries=-1),
    remote("no time", "timeout", timeout=0),
    remote("half a query", "max_queries", max_queries=0.5),
    remote("no input in a call", "inputs_per_call", inputs_per_call=0),
    remote("unknown refusal", "on_refusal", on_refusal="skip"),
    remote("cache of something else", "text.jsonl, line 1", cache="text.jsonl"),
    remote("cache in no folder", "absent", cache="absent/answers.jsonl"),
    remote("score of another label", "'maybe'", answer={"maybe": 0.9, "neutral": 0.1}),
    remote("number of no label", "label 7", answer=7),
    remote("matrix for an input", "for an input", answer=[[0.2, 0.3, 0.5]] * 2, concurrency=2,
           inputs_per_call=3),
    attacked("function that is not async", "async", model=lambda pairs: coroutine()),
    attacked("too few answers", "one for each", model=lambda pairs: ["neutral"] * 9),
    BadCall("label word without names", lambda _: CallableModel(lambda pairs: ["yes"] * len(pairs))
            .probabilities([("a", "b")]), "labels=[...]"),
    BadCall("NaN of a transformers model", attack_broken_model, "NaN"),
    # Rows files
    continued("recipe", "recipe", {"budget": 5}),
    continued("table", "recipe", {"antonyms": {"hot": ["cold"]}}),
    continued("model", "model", {"model": CallableModel(hashed, name="other")}),
    continued("data", "data", {"rows": ROWS[:1]}),
    continued("label filter", "label_filter", {"label_filter": True}),
    continued("label filter, now without", "label_filter", {"label_filter": False}, label_filter=True),
    continued("reading of labels", "label_reading",
              {"task": user_task(("premise", "hypothesis"), ("entailment", "neutral", "contradiction"))}),
    BadCall("report for a rows file", continue_report, "report.json, line 1"),
    BadCall("folder for a rows file", lambda folder: Attack("antonym", hashed).run(ROWS, folder),
            "folder"),
    BadCall("rows file in no folder",
            lambda folder: Attack("antonym", hashed).run(ROWS, folder / "absent" / "rows.jsonl"),
            "absent"),
    BadCall("absent rows file", lambda folder: read_rows(folder / "rows.jsonl"), "rows.jsonl"),
    BadCall("text for a rows file", read_written("A dog.\n"), "rows.jsonl"),
    BadCall("list for a row", read_written("[1]\n"), "line 1"),
    BadCall("row without an outcome", read_written('{"attack": "antonym", "idx": 0}'), "outcome"),
    BadCall("unknown outcome", lambda _: AttackResult.from_dict({**RESULT, "outcome": "won"}), "won"),
    BadCall("list of attacks", lambda _: get_recipe(["antonym", "synonym"]), "one Attack per name"),
    BadCall("damaged edits", lambda _: AttackResult.from_dict({**RESULT, "tried": [3]}), "tried"),
    # Parts of a recipe
    BadCall("greedy search without a ranking", lambda _: Recipe("x", PERTURBATION, "flip", "greedy"),
            "ranking"),
    BadCall("beam of no states", lambda _: Recipe("x", PERTURBATION, "flip", "beam", beam_width=0),
            "beam_width"),
    BadCall("no bound of words", lambda _: MaxWords(), "MaxWords"),
    BadCall("negative number of words", lambda _: MaxWords(count=-1), "-1"),
    BadCall("rate over 1", lambda _: MaxWords(rate=1.5), "1.5"),
    BadCall("no distance", lambda _: EmbeddingDistance({}), "min_cosine"),
    *(
        BadCall(f"similarity with {options}", partial(
            lambda options, _: SentenceSimilarity("encoder", 0.8, **options), options
        ), keyword)
        for options, keyword in (({"metric": "dot"}, "dot"), ({"window": 0}, "window"),
                                 ({"compare": "next"}, "next"))
    ),
    BadCall("absent encoder", lambda _: SentenceEncoder("/absent/encoder").encode(["x"]),
            "/absent/encoder"),
    BadCall("absent masked language model",
            lambda folder: MaskedLMPerturbation(folder / "absent").slots(("A man.",)), "absent"),
    BadCall("classifier for a masked language model", predict_other_words, "weights"),
    BadCall("no candidates at most", lambda _: MaskedLMPerturbation("x", top=0), "top"),
    BadCall("texts of another number", lambda _: Attack("antonym", hashed).attack_texts("A dog."),
            "texts"),
    BadCall("unknown recipe", lambda _: get_recipe("spell"), "spell"),
]  # fmt: skip
