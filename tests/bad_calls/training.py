"""Bad calls of `BalancedTrainingArguments` and `BalancedTrainer`."""

import json
import pickle

from bad_calls import BadCall
from tiny_models import tiny_model, tiny_tokenizer
from training_helpers import (
    ANTONYMS,
    SYNONYMS,
    made_rows,
    make_arguments,
    make_trainer,
    tokenizer_for_made_rows,
)
from transformers import TrainingArguments
from transformers.integrations import is_deepspeed_available

from hf_bat import BalancedTrainer, BalancedTrainingArguments, PerturbationCollator
from hf_bat.methods import Method, register_method
from hf_bat.objective import Term
from hf_bat.perturbations import AntonymPerturbation, SynonymPerturbation

INF, NAN = float("inf"), float("nan")
FICKLE, OBSTINATE = SynonymPerturbation(SYNONYMS), AntonymPerturbation(ANTONYMS)
BOTH = {"fickle": FICKLE, "obstinate": OBSTINATE}
NO_TASK = {"task": None, "synonyms": None, "antonyms": None}
TOKENIZED = [{"input_ids": [2, 9, 3], "attention_mask": [1, 1, 1], "label": 0}]
ROW = made_rows(1)[0]


class Boom:
    """An object that prints if a pickle constructs it."""

    def __reduce__(self):
        return (print, ("ran",))


def with_arguments(**options):
    """Return a call that creates arguments."""
    return lambda folder: BalancedTrainingArguments(
        str(folder / "out"), report_to="none", **options
    )


def with_trainer(rows=None, model=None, tokenizer=None, own=None, **options):
    """Return a call that creates a trainer; `own` are arguments that only `BalancedTrainer` has."""
    return lambda folder: make_trainer(
        folder / "out",
        made_rows(4) if rows is None else rows,
        model=model() if model else None,
        tokenizer=tokenizer() if tokenizer else None,
        trainer_options=own,
        **options,
    )


def with_collator(drawn, **options):
    """Return a call that creates a trainer with a custom collator."""

    def call(folder):
        collator = PerturbationCollator(
            tokenizer_for_made_rows(), ("premise", "hypothesis"), **drawn
        )
        make_trainer(folder, made_rows(4), trainer_options={"data_collator": collator}, **options)

    return call


def with_table(content):
    """Return a call that creates a trainer with antonyms from a file with this content."""

    def call(folder):
        (folder / "table.json").write_bytes(content)
        own = {"antonyms": str(folder / "table.json")}
        make_trainer(folder, made_rows(4), method="triplet", trainer_options=own)

    return call


def make_model(**changes):
    """Return a function that creates a tiny BERT with a modified configuration."""

    def call():
        model = tiny_model("bert", num_labels=changes.get("num_labels", 3))
        for name, value in changes.items():
            setattr(model.config, name, value)
        return model

    return call


def make_tokenizer_without_padding():
    """Return a tokenizer without a padding token."""
    tokenizer = tiny_tokenizer()
    tokenizer.pad_token = None
    return tokenizer


def train_with_label(label):
    """Return a call that trains on tokenized rows, including one with this label."""

    def call(folder):
        rows = [{"input_ids": [1, 2], "label": 0}, {"input_ids": [1], "label": label}]
        args = make_arguments(folder, max_steps=1, remove_unused_columns=False)
        BalancedTrainer(
            tiny_model("bert"), args, None, rows, None, tokenizer_for_made_rows()
        ).train()

    return call


def train_after(**changes):
    """Return a call that changes arguments after the trainer was created, and then trains."""

    def call(folder):
        trainer = make_trainer(folder, made_rows(4), method="pairwise")
        for name, value in changes.items():
            setattr(trainer.args, name, value)
        trainer.train()

    return call


def train_with_term(name, over):
    """Return a call that trains with a custom method that has this term."""

    class Mine(Method):
        def terms(self, forward, settings):
            return {name: Term(forward.logits.sum(), over, 1.0)}

    return lambda folder: make_trainer(
        folder, made_rows(4), trainer_options={"method": Mine("mine")}
    ).train()


def use_loss_function(**options):
    """Return a call that passes both a loss function and an option of the cross-entropy."""
    return with_trainer(own={"compute_loss_func": lambda *a, **k: 0}, **options)


CALLS = [
    BadCall(
        "unknown kind of edit",
        with_arguments(method="triplet", obstinate_edits=["antonyms"]),
        "antonyms",
    ),
    BadCall(
        "no kind of edit", with_arguments(method="triplet", obstinate_edits=[]), "obstinate_edits"
    ),
    BadCall("edits for safer", with_arguments(method="safer", obstinate_edits=["number"]), "safer"),
    BadCall(
        "filter with fickle attacks",
        with_arguments(attack_label_filter=True, attacks=["synonym"]),
        "attack_label_filter",
    ),
    BadCall(
        "rewriting without a task", with_trainer(own=NO_TASK, canonicalize=True), "canonicalize"
    ),
    *(
        []
        if is_deepspeed_available()
        else [
            BadCall(
                "no deepspeed",
                with_arguments(deepspeed={"train_batch_size": "auto"}),
                "pip install deepspeed",
            )
        ]
    ),
    BadCall("unknown method", with_arguments(method="tripplet"), "tripplet"),
    BadCall("weight of another method", with_arguments(margin=0.5), "margin=0.5"),
    BadCall(
        "triplet's weight for pairwise",
        with_arguments(method="pairwise", contrastive_weight=1.0),
        "contrastive_weight",
    ),
    BadCall(
        "pairwise's weight for triplet", with_arguments(method="triplet", alpha=1.0), "alpha=1.0"
    ),
    BadCall("negative margin", with_arguments(method="triplet", margin=-1.0), "margin"),
    BadCall("weight that is NaN", with_arguments(method="pairwise", alpha=NAN), "alpha"),
    BadCall("unknown distance", with_arguments(method="triplet", distance="l2"), "l2"),
    BadCall("unknown pooling", with_arguments(method="triplet", pooling="first"), "first"),
    BadCall("unknown mask rule", with_arguments(method="triplet", mask="none"), "mask"),
    BadCall("mask for pairwise", with_arguments(method="pairwise", mask="authors"), "mask"),
    BadCall("pooling for normal", with_arguments(pooling="mean"), "pooling"),
    BadCall("draws for safer", with_arguments(method="safer", num_fickle=2), "num_fickle"),
    BadCall("no draw", with_arguments(method="triplet", num_fickle=0), "num_fickle"),
    BadCall("clean epochs for normal", with_arguments(clean_epochs=1), "clean_epochs"),
    BadCall(
        "negative clean epochs", with_arguments(method="safer", clean_epochs=-1), "clean_epochs"
    ),
    BadCall("negative warm-up", with_arguments(method="triplet", weight_warmup_steps=-2), "warmup"),
    BadCall("input of two tokens", with_arguments(max_seq_length=2), "max_seq_length"),
    BadCall("negative seed", with_arguments(seed=-1), "seed must be from 0 to 4294967295; got -1"),
    BadCall("seed above 32 bits", with_arguments(data_seed=2**32), "data_seed must be from 0"),
    BadCall("unknown casing", with_arguments(casing="lower"), "casing"),
    BadCall("negative class weight", with_arguments(class_weights=[1.0, -1.0]), "class_weights"),
    BadCall("no class weight", with_arguments(class_weights=[0.0, 0.0]), "class_weights"),
    BadCall("class weights by name", with_arguments(class_weights="balanced"), "class_weights"),
    BadCall(
        "limit below the margin",
        with_arguments(method="likelihood", other_margin=0.5, other_limit=0.2),
        "other_limit",
    ),
    BadCall(
        "other edits without a filter",
        with_arguments(method="likelihood", label_filter="off", other_margin=0.5),
        "other_margin",
    ),
    BadCall(
        "distance without the triplet term",
        with_arguments(method="likelihood", distance="euclidean"),
        "distance",
    ),
    BadCall(
        "masked LM without a model",
        with_arguments(method="a2t", a2t_candidates="mlm"),
        "mlm_model",
    ),
    BadCall("model without masked LM", with_arguments(method="a2t", mlm_model="x"), "mlm_model"),
    BadCall("share of nothing", with_arguments(method="a2t", attack_share=0.0), "attack_share"),
    BadCall("stop words of a2t", with_arguments(method="a2t", exclude_stopwords=False), "a2t"),
    BadCall("names of labels", with_arguments(label_names=["yes", "no"]), "label_names"),
    BadCall("no row attacked", with_arguments(max_attack_samples=0), "max_attack_samples"),
    BadCall("filter without attacks", with_arguments(attack_label_filter=True), "attack_label"),
    BadCall(
        "best by an attack that is not run",
        with_arguments(metric_for_best_model="antonym_asr"),
        "attacks=",
    ),
    BadCall(
        "edit named twice",
        with_arguments(method="triplet", obstinate_edits=["antonym", "antonym"]),
        "antonym",
    ),
    BadCall(
        "arguments of Trainer",
        lambda folder: BalancedTrainer(tiny_model("bert"), TrainingArguments(str(folder))),
        "TrainingArguments",
    ),
    BadCall(
        "no whole batch",
        lambda folder: make_trainer(
            folder, made_rows(4), dataloader_drop_last=True, per_device_train_batch_size=8
        ).train(),
        "dataloader_drop_last",
    ),
    BadCall("margin changed later", train_after(margin=-0.5), "margin"),
    BadCall("weight of another method later", train_after(contrastive_weight=1.0), "contrastive"),
    BadCall("method without a task", with_trainer(own=NO_TASK, method="triplet"), "task="),
    BadCall("distances without a task", with_trainer(own=NO_TASK, eval_distances=True), "task="),
    BadCall("attacks without a task", with_trainer(own=NO_TASK, attacks=["antonym"]), "task="),
    BadCall("unknown task", with_trainer(own={"task": "snlii"}), "snlii"),
    BadCall(
        "no tokenizer",
        lambda folder: BalancedTrainer(tiny_model("bert"), make_arguments(folder), task="snli"),
        "processing_class",
    ),
    BadCall(
        "function as collator", with_trainer(own={"data_collator": list}), "PerturbationCollator"
    ),
    BadCall(
        "no padding token", with_trainer(tokenizer=make_tokenizer_without_padding), "pad_token"
    ),
    BadCall("head of one output", with_trainer(model=make_model(num_labels=1)), "1-output"),
    BadCall("regression", with_trainer(model=make_model(problem_type="regression")), "regression"),
    BadCall(
        "several labels",
        with_trainer(model=make_model(problem_type="multi_label_classification")),
        "multi_label",
    ),
    BadCall("model of two labels", with_trainer(model=make_model(num_labels=2)), "2 labels"),
    BadCall("two class weights", with_trainer(class_weights=[1.0, 2.0]), "class_weights"),
    BadCall(
        "loss function and class weights",
        use_loss_function(class_weights=[1.0, 1.0, 1.0]),
        "compute_loss_func",
    ),
    BadCall(
        "loss function and smoothing",
        use_loss_function(label_smoothing_factor=0.1),
        "label_smoothing_factor",
    ),
    BadCall("no rows", with_trainer(rows=[]), "training set"),
    BadCall("no usable row", with_trainer(rows=[{**ROW, "label": -1}]), "training set"),
    BadCall("tokenized rows", with_trainer(rows=TOKENIZED), "premise"),
    BadCall("idx twice", with_trainer(rows=[{**row, "idx": 7} for row in made_rows(2)]), "idx 7"),
    BadCall("label out of range", with_trainer(rows=[{**ROW, "label": 3}]), "label 3"),
    BadCall("no hypothesis", with_trainer(rows=[{"premise": "A.", "label": 0}]), "hypothesis"),
    BadCall(
        "tokenized evaluation set", with_trainer(own={"eval_dataset": {"dev": TOKENIZED}}), "'dev'"
    ),
    BadCall(
        "table that is not there",
        with_trainer(own={"synonyms": "/nowhere/table.json"}, method="triplet"),
        "/nowhere/table.json",
    ),
    BadCall(
        "table of a later version",
        with_table(
            json.dumps({"format": "hf_bat.substitution_table", "version": 99, "words": {}}).encode()
        ),
        "99",
    ),
    BadCall("pickle that runs code", with_table(pickle.dumps({"a": Boom()})), "print"),
    BadCall("table that is not JSON", with_table(b"{not json"), "JSON"),
    BadCall("label -1", train_with_label(-1), "label -1"),
    BadCall("label -100", train_with_label(-100), "label -100"),
    BadCall("label 3 of 3", train_with_label(3), "label 3"),
    BadCall(
        "collator without obstinate", with_collator({"fickle": FICKLE}, method="pairwise"), "obst"
    ),
    BadCall("collator without fickle", with_collator({}, method="safer"), "fickle"),
    BadCall(
        "collator keeps the anchor",
        with_collator({"fickle": FICKLE}, method="safer"),
        "perturb_anchor",
    ),
    BadCall(
        "collator replaces the anchor",
        with_collator({**BOTH, "perturb_anchor": True}, method="triplet"),
        "perturb_anchor",
    ),
    BadCall(
        "collator of fewer draws",
        with_collator(BOTH, method="triplet", num_fickle=3),
        "num_fickle=3",
    ),
    BadCall(
        "collator without clean epochs",
        with_collator(BOTH, method="triplet", clean_epochs=1),
        "clean_epochs=1",
    ),
    BadCall(
        "collator without a limit",
        with_collator(BOTH, method="triplet", max_seq_length=16),
        "max_seq_length=16",
    ),
    BadCall(
        "collator of another casing",
        with_collator(BOTH, method="triplet", casing="authors"),
        "casing",
    ),
    BadCall(
        "collator without a filter",
        with_collator(BOTH, method="triplet", label_filter="only"),
        "label_filter",
    ),
    BadCall(
        "likelihood's collator without a filter",
        with_collator(BOTH, method="likelihood"),
        "label_filter",
    ),
    BadCall("collator for a2t", with_collator(BOTH, method="a2t"), "a2t"),
    BadCall(
        "collator without the canonicalizer", with_collator(BOTH, canonicalize=True), "canonicalize"
    ),
    BadCall(
        "two methods",
        with_trainer(own={"method": Method("mine")}, method="triplet"),
        "'mine'",
    ),
    BadCall("name as own method", with_trainer(own={"method": "triplet"}), "'triplet'"),
    BadCall("class as own method", with_trainer(own={"method": Method}), "instance"),
    BadCall("own method without a name", with_trainer(own={"method": Method()}), "name"),
    BadCall(
        "own method with a taken name", with_trainer(own={"method": Method("triplet")}), "taken"
    ),
    BadCall(
        "own method of unknown versions",
        with_trainer(own={"method": Method("mine", draws=("fickel",))}),
        "fickel",
    ),
    BadCall("term over an unknown count", train_with_term("loss_mine", "pairs"), "'pairs'"),
    BadCall("term with a taken name", train_with_term("loss_ce", "rows"), "'loss_ce'"),
    BadCall("method without a name", lambda _: register_method(Method()), "name"),
    BadCall("method with a taken name", lambda _: register_method(Method("triplet")), "triplet"),
    BadCall(
        "preview of a2t",
        lambda folder: make_trainer(folder, made_rows(4), method="a2t").preview(),
        "a2t",
    ),
    BadCall(
        "run of clean epochs",
        lambda folder: make_trainer(
            folder, made_rows(4), method="triplet", clean_epochs=1, num_train_epochs=1
        ).train(),
        "clean_epochs",
    ),
]
