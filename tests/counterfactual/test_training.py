"""Training on labeled pairs: the batch, the hand-computed loss, logs, truncation and options."""

import shlex

import pytest
import torch
import torch.nn.functional as F
from tiny_models import tiny_model
from training_helpers import SYNONYMS, logged, made_rows, make_trainer, tokenizer_for_made_rows

from hf_bat import PerturbationCollator, get_task
from hf_bat.commands.train import EPILOG
from hf_bat.counterfactual.rules import RULES, build_rules
from hf_bat.finetune import make_parser
from hf_bat.objective import select_anchor_inputs
from hf_bat.perturbations import SynonymPerturbation
from hf_bat.tasks import user_task

SNLI = get_task("snli")


def make_rules(rows, **options):
    rules = build_rules(SNLI, SNLI.label_names, SynonymPerturbation(SYNONYMS), **options)
    rules.prepare(((row["premise"], row["hypothesis"]), row["label"]) for row in rows)
    return rules


def make_collator(rows, **options):
    return PerturbationCollator(
        tokenizer_for_made_rows(), SNLI.columns, counterfactual=make_rules(rows), **options
    )


def test_a_batch_holds_the_pairs_that_the_rules_draw():
    rows = made_rows(12)
    collator = make_collator(rows)
    batch = collator(rows)
    assert batch["counterfactual_mask"].shape == batch["counterfactual_labels"].shape == (12, 1)
    assert batch["counterfactual_mask"].all()
    for i, row in enumerate(rows):
        pair = collator.sampler.draw(row, 0)["counterfactual"][0]
        ids = collator.tokenizer(*pair.texts)["input_ids"]
        assert batch["counterfactual_input_ids"][i, 0, : len(ids)].tolist() == ids
        label = -1 if pair.label == "not entailment" else SNLI.label_names.index(pair.label)
        assert int(batch["counterfactual_labels"][i]) == label
        assert list(RULES)[int(batch["counterfactual_rules"][i])] == pair.rule
    collator.set_epoch(1)
    assert not torch.equal(collator(rows)["counterfactual_labels"], batch["counterfactual_labels"])


def test_a_pair_that_is_cut_is_not_valid():
    # The label is only correct for the complete texts.
    rows = made_rows(12)
    whole = make_collator(rows)(rows)["counterfactual_attention_mask"].sum(-1).flatten()
    limit = int(whole.median())
    cut = make_collator(rows, max_length=limit)(rows)["counterfactual_mask"].flatten()
    assert torch.equal(cut, whole < limit)


def test_evaluation_draws_no_pairs(tmp_path):
    trainer = make_trainer(tmp_path, made_rows(8), method="counterfactual")
    batch = next(iter(trainer.get_eval_dataloader(made_rows(8))))
    assert not any(key.startswith("counterfactual") for key in batch)


@pytest.mark.parametrize("class_weights", [None, [0.5, 1.0, 2.0]])
def test_the_loss_is_the_three_cross_entropies(tmp_path, class_weights):
    rows = made_rows(8)
    options = {"alpha": 0.7, "beta": 1.3, "class_weights": class_weights}
    # Pairs with one known label, and pairs with one excluded label.
    options["rules"] = ["self_pair", "opposite=9"]
    trainer = make_trainer(
        tmp_path,
        rows,
        method="counterfactual",
        per_device_train_batch_size=8,
        max_steps=1,
        **options,
    )
    batch = next(iter(trainer.get_train_dataloader()))
    weight = None if class_weights is None else torch.tensor(class_weights)
    model = tiny_model("bert").eval()

    def mean_entropy(inputs, labels):
        logits = model(**inputs).logits
        return F.cross_entropy(logits, labels, weight=weight)

    def select(kind):
        mask = batch[f"{kind}_mask"]
        keys = ("input_ids", "attention_mask", "token_type_ids")
        return {key: batch[f"{kind}_{key}"][mask] for key in keys}, mask

    with torch.no_grad():
        expected = mean_entropy(select_anchor_inputs(batch), batch["labels"])
        fickle, mask = select("fickle")
        expected += 0.7 * mean_entropy(fickle, batch["labels"][mask.nonzero()[:, 0]])
        pairs, mask = select("counterfactual")
        labels = batch["counterfactual_labels"][mask]
        excluded = labels == -1
        assert 0 < excluded.sum() < len(labels)
        chances = model(**pairs).logits.softmax(-1)
        losses = -torch.where(
            excluded, 1 - chances[:, 0], chances.gather(1, labels.clamp(0)[:, None])[:, 0]
        ).log()
        weights = torch.ones(3) if weight is None else weight
        weights = torch.where(excluded, 1, weights[labels.clamp(0)])
        expected += 1.3 * (losses * weights).sum() / weights.sum()
    trainer.train()
    assert logged(trainer, "loss")[0] == pytest.approx(float(expected), abs=1e-4)


def test_logs_have_the_loss_of_each_rule(tmp_path):
    trainer = make_trainer(
        tmp_path, made_rows(24), method="counterfactual", rules=["swap", "self_pair"], max_steps=4
    )
    trainer.train()
    keys = {key for entry in trainer.state.log_history for key in entry}
    assert {"loss_counterfactual", "loss_rule_swap", "loss_rule_self_pair"} <= keys
    assert "loss_rule_drop" not in keys
    assert all(0 < valid <= 1 for valid in logged(trainer, "counterfactual_valid"))


def test_the_example_in_the_help_declares_the_labels():
    commands = EPILOG.replace("\\\n", " ").splitlines()
    [example] = [line for line in commands if "--method counterfactual" in line]
    args, _ = make_parser().parse_known_args(shlex.split(example)[2:])
    rules = build_rules(
        user_task(args.columns), ["negative", "positive"], label_flip=args.label_flip
    )
    [pair] = rules.list_pairs(("A good film.",), 1)
    assert (pair.texts[0], pair.label) == ("A bad film.", "negative")


def test_a_sentence_task_trains_on_declared_labels(tmp_path):
    texts = ["A happy dog.", "A sad dog.", "The hot sun.", "The cold sun."]
    rows = [{"text": text, "label": i % 2, "idx": i} for i, text in enumerate(texts)]
    task = user_task(["text"], ["good", "bad"])
    trainer = make_trainer(
        tmp_path,
        rows,
        model=tiny_model("bert", num_labels=2),
        method="counterfactual",
        label_flip={"good": "bad", "bad": "good"},
        max_steps=1,
        trainer_options={"task": task},
    )
    batch = next(iter(trainer.get_train_dataloader()))
    mask = batch["counterfactual_mask"].flatten()
    assert mask.any()
    assert torch.equal(batch["counterfactual_labels"].flatten()[mask], 1 - batch["labels"][mask])


def test_preview_shows_the_pairs_with_their_labels(tmp_path):
    trainer = make_trainer(tmp_path, made_rows(8), method="counterfactual")
    preview = trainer.preview(4)
    assert "entailment by" in str(preview) or "contradiction by" in str(preview)
    assert preview.shares["counterfactual"] == 1.0


def test_saved_perturbations_name_the_rules(tmp_path):
    trainer = make_trainer(
        tmp_path, made_rows(8), method="counterfactual", rules=["swap=2"], held_out_pairs=0.2
    )
    trainer.save_perturbations(tmp_path)
    text = (tmp_path / "perturbations.json").read_text()
    assert '"swap": 2.0' in text and '"held_out_pairs": 0.2' in text
