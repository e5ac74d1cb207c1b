"""The loss is exactly as defined in the paper for any division of a window into micro-batches."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny_models import tiny_model
from training_helpers import (
    ANTONYMS,
    METHODS,
    SYNONYMS,
    largest_difference,
    logged,
    made_rows,
    make_arguments,
    make_trainer,
    tokenizer_for_made_rows,
    weights_of,
)
from transformers import DataCollatorWithPadding, Trainer

from hf_bat import (
    AntonymPerturbation,
    BalancedTrainer,
    PerturbationCollator,
    SynonymPerturbation,
)
from hf_bat.losses import pair_distance, pairwise_loss, triplet_loss

CASES = [(method, {}) for method in METHODS] + [("triplet", {"mask": "authors"})]
SGD = {"optim": "sgd", "learning_rate": 0.1}


def plain_row(idx):
    """Return a row without words that can be perturbed."""
    return {"premise": "Two girls.", "hypothesis": "It waits.", "label": idx % 3, "idx": idx}


def uneven_rows():
    """Return 48 rows, including eight scattered rows that can be perturbed."""
    rich = made_rows(100, seed=5)
    chosen = (0, 1, 2, 17, 18, 30, 31, 47)
    return [{**rich[i], "idx": i} if i in chosen else plain_row(i) for i in range(48)]


def run(folder, rows, batch, accumulation, model=None, **options):
    trainer = make_trainer(
        folder,
        rows,
        model=model,
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=accumulation,
        num_train_epochs=1,
        **{**SGD, **options},
    )
    trainer.train()
    return trainer


@pytest.mark.parametrize("rows", [made_rows(40), uneven_rows()], ids=["even", "uneven"])
@pytest.mark.parametrize(("method", "options"), CASES)
def test_accumulation_changes_nothing(tmp_path, rows, method, options):
    options = {"method": method, **options}
    whole = run(tmp_path, rows, 16, 1, **options)
    for batch, accumulation in ((4, 4), (8, 2)):
        other = run(tmp_path, rows, batch, accumulation, **options)
        assert largest_difference(weights_of(whole.model), weights_of(other.model)) < 2e-6
        assert other.state.global_step == whole.state.global_step == 3
        for key in {key for entry in whole.state.log_history for key in entry}:
            if key.startswith(
                ("loss", "fickle", "obstinate", "counterfactual", "label_drop", "grad_norm")
            ):
                # For a gradient norm of 14, float32 rounding errors exceed the absolute bound.
                expected = pytest.approx(logged(whole, key), abs=5e-6, rel=2e-6)
                assert logged(other, key) == expected, key


def test_uneven_rows_have_micro_batches_without_a_valid_pair(tmp_path):
    trainer = make_trainer(tmp_path, uneven_rows(), method="triplet")
    valid = [int(batch["fickle_mask"].sum()) for batch in trainer.get_train_dataloader()]
    assert 0 in valid and max(valid) > 0


class TokenisedRows(torch.utils.data.Dataset):
    def __init__(self, rows, tokenizer):
        self.rows = [
            {**tokenizer(row["premise"], row["hypothesis"]), "labels": row["label"]} for row in rows
        ]

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, place):
        return self.rows[place]


def test_normal_without_a_task_is_the_stock_trainer_step_by_step(tmp_path):
    tokenizer = tokenizer_for_made_rows()
    rows = TokenisedRows(made_rows(24), tokenizer)
    runs = []
    for kind in (Trainer, BalancedTrainer):
        trainer = kind(
            model=tiny_model("bert", dropout=0.1),
            args=make_arguments(tmp_path, num_train_epochs=2, lr_scheduler_type="linear"),
            train_dataset=rows,
            eval_dataset=rows,
            processing_class=tokenizer,
            data_collator=DataCollatorWithPadding(tokenizer),
        )
        trainer.train()
        runs.append((trainer, trainer.evaluate()))
    (stock, stock_metrics), (ours, our_metrics) = runs
    assert logged(ours, "loss") == pytest.approx(logged(stock, "loss"), abs=1e-6)
    assert largest_difference(weights_of(stock.model), weights_of(ours.model)) < 1e-6
    assert our_metrics["eval_loss"] == pytest.approx(stock_metrics["eval_loss"], abs=1e-6)
    assert {k for k in stock_metrics if "loss" in k} == {k for k in our_metrics if "loss" in k}


def test_normal_on_raw_rows_is_the_stock_trainer_on_tokenised_ones(tmp_path):
    tokenizer = tokenizer_for_made_rows()
    rows = made_rows(24)
    stock = Trainer(
        model=tiny_model("bert"),
        args=make_arguments(tmp_path),
        train_dataset=TokenisedRows(rows, tokenizer),
        data_collator=DataCollatorWithPadding(tokenizer),
    )
    stock.train()
    ours = make_trainer(tmp_path, rows, method="normal")
    ours.train()
    assert logged(ours, "loss") == pytest.approx(logged(stock, "loss"), abs=1e-6)
    assert largest_difference(weights_of(stock.model), weights_of(ours.model)) < 1e-6


def vectors_by_hand(model, tokenizer, texts, pooling):
    """Use one forward pass per text, without batches and padding."""
    found = []
    for sentences in texts:
        encoded = tokenizer(*sentences, return_tensors="pt")
        outputs = model(**encoded, output_hidden_states=True)
        states = outputs.hidden_states[-1][0]
        found.append(states[0] if pooling == "cls" else states.mean(0))
    return torch.stack(found)


@pytest.mark.parametrize("distance", ["cosine", "euclidean", "manhattan"])
@pytest.mark.parametrize(("method", "mask"), [("pairwise", "paper"), ("triplet", "paper"),
                                              ("triplet", "authors")])  # fmt: skip
def test_the_first_loss_is_the_papers_formula(tmp_path, method, mask, distance):
    pooling = "mean" if distance == "euclidean" else "cls"
    rows = made_rows(12, seed=2) + [plain_row(12)]
    options = {"distance": distance, "pooling": pooling, "margin": 0.7}
    if method == "triplet":
        options |= {"mask": mask, "contrastive_weight": 1.7}
    else:
        options |= {"alpha": 0.6, "beta": 1.4}
    trainer = make_trainer(
        tmp_path, rows, method=method, per_device_train_batch_size=13, max_steps=1, **options
    )
    sampler, tokenizer, model = (
        trainer.data_collator.sampler,
        trainer.processing_class,
        tiny_model("bert"),
    )
    texts = [(row["premise"], row["hypothesis"]) for row in rows]
    drawn = [sampler.draw(row, 0) for row in rows]
    with torch.no_grad():
        logits = torch.cat([model(**tokenizer(*t, return_tensors="pt")).logits for t in texts])
        anchors = vectors_by_hand(model, tokenizer, texts, pooling)
        versions, masks = [], []
        for kind in ("fickle", "obstinate"):
            chosen = [row[kind][0] or text for row, text in zip(drawn, texts, strict=True)]
            versions.append(vectors_by_hand(model, tokenizer, chosen, pooling))
            masks.append(torch.tensor([row[kind][0] is not None for row in drawn]))
        cross_entropy = F.cross_entropy(logits, torch.tensor([row["label"] for row in rows]))
        if method == "triplet":
            term = 1.7 * triplet_loss(anchors, *versions, *masks, 0.7, mask, distance)
        else:
            term = pairwise_loss(anchors, *versions, *masks, 0.6, 1.4, 0.7, distance)
    trainer.train()
    (loss,) = logged(trainer, "loss")
    assert loss == pytest.approx((cross_entropy + term).item(), abs=2e-5)
    assert logged(trainer, "loss_ce")[0] == pytest.approx(cross_entropy.item(), abs=2e-5)
    for kind, mask_of_kind, vectors in zip(("fickle", "obstinate"), masks, versions, strict=True):
        assert 0 < mask_of_kind.sum() < 13
        expected = pair_distance(anchors, vectors, distance)[mask_of_kind].mean().item()
        assert logged(trainer, f"{kind}_distance")[0] == pytest.approx(expected, abs=2e-5)
        share = mask_of_kind.float().mean().item()
        assert logged(trainer, f"{kind}_valid")[0] == pytest.approx(share, abs=1e-6)


def test_the_obstinate_draws_spare_the_skipped_label_of_a_model_with_another_order(tmp_path):
    model = tiny_model("bert")
    model.config.id2label = {0: "contradiction", 1: "entailment", 2: "neutral"}
    model.config.label2id = {"contradiction": 0, "entailment": 1, "neutral": 2}
    rows = [{"premise": "It is hot.", "hypothesis": "Waits.", "label": i % 3} for i in range(6)]
    trainer = make_trainer(tmp_path, rows, model=model, method="triplet")
    batch = trainer.data_collator(list(trainer.train_dataset))
    assert batch["labels"].tolist() == [1, 2, 0, 1, 2, 0]
    assert batch["obstinate_mask"][:, 0].tolist() == [True, False, True, True, False, True]


@pytest.mark.parametrize("accumulation", [1, 4])
@pytest.mark.parametrize("method", ["pairwise", "triplet"])
def test_the_loss_is_the_weighted_sum_of_its_logged_components(tmp_path, method, accumulation):
    weights = {"alpha": 0.5, "beta": 2.0} if method == "pairwise" else {"contrastive_weight": 2.5}
    trainer = run(tmp_path, uneven_rows(), 4, accumulation, method=method, **weights)
    names = {"alpha": "loss_fickle", "beta": "loss_obstinate", "contrastive_weight": "loss_triplet"}
    for entry in trainer.state.log_history[:-1]:
        expected = entry["loss_ce"] + sum(
            weight * entry.get(names[name], 0.0) for name, weight in weights.items()
        )
        assert entry["loss"] == pytest.approx(expected, abs=1e-5)


def test_components_over_several_steps_are_means_over_their_pairs(tmp_path):
    rows = uneven_rows()
    every = run(tmp_path, rows, 4, 1, method="triplet", learning_rate=0.0)
    once = run(tmp_path, rows, 4, 1, method="triplet", learning_rate=0.0, logging_steps=12)
    masks = [batch["fickle_mask"] for batch in every.get_train_dataloader()]
    # Logged for each step and weighted here by the step's valid pairs; and logged over all steps.
    pairs = {"loss_ce": [len(m) for m in masks], "fickle_distance": [m.sum() for m in masks]}
    for key, counts in pairs.items():
        logs = [entry.get(key, 0.0) for entry in every.state.log_history[:-1]]
        mean = sum(v * int(n) for v, n in zip(logs, counts, strict=True)) / int(sum(counts))
        assert logged(once, key) == pytest.approx([mean], abs=1e-5)


@pytest.mark.parametrize("accumulation", [1, 4])
def test_label_smoothing_and_class_weights_are_torchs(tmp_path, accumulation):
    rows = made_rows(16)
    weights = [0.5, 1.0, 3.0]
    trainer = run(
        tmp_path, rows, 16 // accumulation, accumulation,
        label_smoothing_factor=0.2, class_weights=weights, max_steps=1,
    )  # fmt: skip
    model, tokenizer = tiny_model("bert"), trainer.processing_class
    inputs = [(row["premise"], row["hypothesis"]) for row in rows]
    with torch.no_grad():
        logits = torch.cat([model(**tokenizer(*t, return_tensors="pt")).logits for t in inputs])
        expected = F.cross_entropy(
            logits,
            torch.tensor([row["label"] for row in rows]),
            weight=torch.tensor(weights),
            label_smoothing=0.2,
        )
    assert logged(trainer, "loss") == pytest.approx([expected.item()], abs=1e-5)


def test_a_window_of_rows_that_weigh_nothing_moves_nothing(tmp_path):
    """Their smoothed loss is not 0 but their weight is, so the quotient was 4e11."""
    rows = [{**row, "label": 0} for row in made_rows(4)]
    trainer = run(
        tmp_path, rows, 4, 1, label_smoothing_factor=0.1, class_weights=[0.0, 1.0, 1.0], max_steps=1,
        optim="sgd",
    )  # fmt: skip
    assert logged(trainer, "loss") == [0.0] and logged(trainer, "grad_norm") == [0.0]
    assert largest_difference(weights_of(trainer.model), weights_of(tiny_model("bert"))) == 0.0


def test_label_smoothing_alone_is_the_stock_trainers(tmp_path):
    tokenizer = tokenizer_for_made_rows()
    rows = made_rows(12)
    stock = Trainer(
        model=tiny_model("bert"),
        args=make_arguments(tmp_path, label_smoothing_factor=0.1),
        train_dataset=TokenisedRows(rows, tokenizer),
        data_collator=DataCollatorWithPadding(tokenizer),
    )
    stock.train()
    ours = make_trainer(tmp_path, rows, label_smoothing_factor=0.1)
    ours.train()
    assert logged(ours, "loss") == pytest.approx(logged(stock, "loss"), abs=1e-6)


def focal_loss(outputs, labels, num_items_in_batch=None):
    """A custom loss as documented by transformers: a sum divided by the number of items in the window."""
    likelihood = F.log_softmax(outputs.logits, -1).gather(1, labels[:, None])[:, 0]
    return -((1 - likelihood.exp()) ** 2 * likelihood).sum() / num_items_in_batch


@pytest.mark.parametrize("method", ["normal", "triplet"])
def test_a_users_loss_is_honoured_and_divided_once(tmp_path, method):
    rows = uneven_rows()
    options = {"method": method, "trainer_options": {"compute_loss_func": focal_loss}}
    whole = run(tmp_path, rows, 16, 1, **options)
    cut = run(tmp_path, rows, 4, 4, **options)
    assert largest_difference(weights_of(whole.model), weights_of(cut.model)) < 2e-6
    assert logged(cut, "loss") == pytest.approx(logged(whole, "loss"), abs=5e-6)
    if method == "normal":
        model, tokenizer = tiny_model("bert"), whole.processing_class
        first = next(iter(whole.get_train_dataloader()))
        keys = ("input_ids", "attention_mask", "token_type_ids")
        outputs = model(**{key: first[key] for key in keys})
        expected = focal_loss(outputs, first["labels"], 16).item()
        assert tokenizer.pad_token_id == 0
        assert logged(whole, "loss")[0] == pytest.approx(expected, abs=1e-5)


class LogitPenalty(BalancedTrainer):
    """Adds a term as described in docs/howto/own-loss.md, or without the division."""

    divides = True

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        loss, outputs = super().compute_loss(
            model, inputs, return_outputs=True, num_items_in_batch=num_items_in_batch
        )
        penalty = outputs.logits.square().mean()
        if model.training and self.divides:
            penalty = penalty / self.current_gradient_accumulation_steps
        loss = loss + 0.1 * penalty
        return (loss, outputs) if return_outputs else loss


class UndividedPenalty(LogitPenalty):
    divides = False


@pytest.mark.parametrize("method", ["normal", "triplet"])
def test_a_term_in_compute_loss_is_divided_by_the_steps_of_its_window(tmp_path, method):
    def end(kind, batch, accumulation):
        # The last window has half as many micro-batches.
        options = {"trainer_class": kind, "method": method}
        trainer = run(tmp_path, made_rows(40), batch, accumulation, **options)
        return weights_of(trainer.model), trainer.evaluate(made_rows(8))["eval_loss"]

    (whole, loss), plain = end(LogitPenalty, 16, 1), end(BalancedTrainer, 16, 1)[0]
    divided, other_loss = end(LogitPenalty, 4, 4)
    assert largest_difference(whole, divided) < 2e-6
    assert other_loss == pytest.approx(loss, abs=1e-5)
    assert largest_difference(whole, plain) > 1e-3
    assert largest_difference(whole, end(UndividedPenalty, 4, 4)[0]) > 1e-3


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("share", [False, True])
def test_clean_epochs_and_warm_up_of_the_weights(tmp_path, share, own):
    rows = made_rows(16)
    warmup = 0.5 if share else 8  # of the 16 steps
    collator = PerturbationCollator(
        tokenizer_for_made_rows(), ("premise", "hypothesis"), SynonymPerturbation(SYNONYMS),
        AntonymPerturbation(ANTONYMS), clean_epochs=1, max_length=128, seed=3,
    )  # fmt: skip
    clean = {"trainer_options": {"data_collator": collator}} if own else {"clean_epochs": 1}
    trainer = make_trainer(
        tmp_path, rows, method="pairwise", num_train_epochs=4, weight_warmup_steps=warmup, **clean,
        **SGD,
    )  # fmt: skip
    trainer.train()
    for step, entry in enumerate(trainer.state.log_history[:-1]):
        if step < 4:
            assert "loss_fickle" not in entry and entry["loss"] == pytest.approx(entry["loss_ce"])
            continue
        scale = min(1.0, (step - 3) / 8)
        term = entry.get("loss_fickle", 0.0) + 1.2 * entry["loss_obstinate"]
        assert entry["loss"] == pytest.approx(entry["loss_ce"] + scale * term, abs=1e-5)


def test_several_draws_and_real_rows_train(tmp_path, shared_rows):
    rows = shared_rows("snli/train.jsonl.gz", 24)
    kept = sum(row["label"] != -1 for row in rows)
    options = {"trainer_options": {"synonyms": None, "antonyms": None}}
    runs = [
        run(tmp_path, rows, batch, accumulation, method="triplet", num_fickle=2, num_obstinate=3,
            **options)
        for batch, accumulation in ((8, 1), (2, 4))
    ]  # fmt: skip
    assert all(len(trainer.train_dataset) == kept for trainer in runs)
    assert largest_difference(*(weights_of(trainer.model) for trainer in runs)) < 2e-6
    assert logged(runs[0], "obstinate_valid")[0] > 0


@pytest.mark.parametrize("make", [list, torch.tensor, np.array, tuple])
@pytest.mark.parametrize("method", ["normal", "likelihood"])
def test_whole_class_weights_train_as_fractions_do(tmp_path, method, make):
    losses = []
    for weights in ([1.0, 3.0, 2.0], make([1, 3, 2])):
        trainer = make_trainer(
            tmp_path, made_rows(12), method=method, max_steps=2, class_weights=weights
        )
        trainer.train()
        trainer.args.to_json_string()
        losses.append(logged(trainer, "loss"))
    assert losses[0] == losses[1]
