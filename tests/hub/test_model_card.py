"""The model card: its text, the model index for the Hub's library, and no secrets."""

import copy
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
from datasets import Dataset
from huggingface_hub import ModelCard
from tiny_models import tiny_masked_lm, tiny_model
from training_helpers import (
    ANTONYMS,
    SYNONYMS,
    made_rows,
    make_arguments,
    make_trainer,
    tokenizer_for_made_rows,
)

from hf_bat import HfBatError, get_task
from hf_bat.errors import describe_cause
from hf_bat.files import get_hub_name
from hf_bat.methods import METHODS
from hf_bat.model_card import Evaluation, _list_options

TOKEN = "hf_thisisasecretofthetests"


def accuracy(prediction):
    right = prediction.predictions.argmax(-1) == prediction.label_ids
    return {"accuracy": float(right.mean())}


def trained(folder, evaluate=True, **options):
    # No label is skipped, so all rows that a random model classifies correctly are attacked.
    task = replace(get_task("snli"), skipped_labels=())
    extra = {"eval_dataset": made_rows(30, seed=1), "compute_metrics": accuracy, "task": task}
    chosen = {"method": "triplet", "max_steps": 1, "attacks": ["antonym", "synonym"], **options}
    trainer = make_trainer(folder, made_rows(8), trainer_options=extra, **chosen)
    trainer.train()
    if evaluate:
        trainer.evaluate()
    return trainer


@pytest.fixture(scope="module")
def pushed(tmp_path_factory):
    """Return a trainer with secrets and the card that it writes."""
    folder = tmp_path_factory.mktemp("secret-place") / "balanced"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_TOKEN", TOKEN)
        trainer = trained(folder, margin=0.7, num_fickle=2, hub_token=TOKEN, max_attack_samples=25)
        trainer.save_perturbations(folder)
        trainer.create_model_card(finetuned_from=str(folder))
    return trainer, (folder / "README.md").read_text("utf-8")


def test_the_index_reads_back_to_the_same_values(pushed):
    trainer, text = pushed
    data = ModelCard(text).data
    (evaluation,) = trainer.evaluations
    assert data.eval_results == evaluation.to_results()
    found = {}
    for result in data.eval_results:
        about = result.metric_args or {}
        found[result.metric_type, about.get("attack"), about.get("figure")] = result
    assert found["accuracy", None, None].metric_value == evaluation.metrics["eval_accuracy"]
    for attack, report in trainer.meter.reports.items():
        summary = report[attack]
        for figure in ("asr", "asr_confident"):
            if summary.get(figure) is None:
                continue
            result = found["attack_success_rate", attack, figure]
            assert result.metric_value == summary[figure]
            assert result.metric_args["recipe_hash"] == summary["recipe"]["hash"]
            assert result.metric_args["interval_95"] == summary[f"{figure}_interval"]
            assert result.metric_args["attempted"] == summary["attempted"]
            assert result.metric_args["rows"] == 25
    assert ("attack_success_rate", "antonym", "asr_confident") in found
    assert data.tags[:2] == ["hf_bat", "triplet"]
    assert data.library_name == "transformers" and data.pipeline_tag == "text-classification"


def test_the_text_has_method_tables_and_both_rates(pushed):
    trainer, text = pushed
    for table in (SYNONYMS.minus(ANTONYMS), ANTONYMS):
        assert table.fingerprint in text
    for attack, report in trainer.meter.reports.items():
        assert report[attack]["recipe"]["hash"] in text
        assert f"| {attack} | 25 |" in text
    assert "`contrastive_weight`: 1.0" in text and "`margin`: 0.7" in text
    assert "`num_fickle`: 2" in text and "`num_obstinate`" not in text
    assert "trained on 8 rows" in text and "max(0, d(x, x_f) + margin - d(x, x_o))" in text
    assert "**strict**" in text and "**confident**" in text
    assert "synonyms.json.gz" in text
    assert "learning_rate: 0.001" in text
    assert "Balancing Tradeoffs between Fickleness and Obstinacy" in text
    assert "More information needed" not in text
    assert not re.search(r"{[{%]|[%}]}", text), "a placeholder of the template was left"


def test_the_card_contains_no_secret_and_no_folder(pushed):
    trainer, text = pushed
    assert TOKEN not in text
    assert trainer.args.output_dir not in text
    assert "secret-place" not in text and "/tmp" not in text
    assert os.uname().nodename not in text
    assert "base_model" not in text


def test_saved_arguments_hold_no_token(pushed):
    import torch

    trainer, _ = pushed
    trainer.save_model()
    folder = trainer.args.output_dir
    held = torch.load(f"{folder}/training_args.bin", weights_only=False)
    assert held.hub_token is None and held.margin == 0.7
    for kept in (trainer.args, copy.copy(trainer.args), copy.deepcopy(trainer.args)):
        assert kept.hub_token == TOKEN


def test_a_card_is_rewritten_and_keeps_other_tags(pushed):
    trainer, first = pushed
    trainer.create_model_card(tags="mine", model_name="Of mine", dataset="snli", license="mit")
    text = (Path(trainer.args.output_dir) / "README.md").read_text("utf-8")
    data = ModelCard(text).data
    assert {"mine", "hf_bat", "triplet"} <= set(data.tags) and len(set(data.tags)) == len(data.tags)
    assert data.license == "mit" and data.model_name == "Of mine"
    assert data.eval_results == ModelCard(first).data.eval_results
    assert text.count("## Method") == 1


def test_figures_of_other_weights_are_left_out(tmp_path):
    trainer = trained(
        tmp_path,
        evaluate=False,
        attacks=None,
        max_steps=2,
        eval_strategy="steps",
        eval_steps=1,
        save_strategy="steps",
        save_steps=1,
        load_best_model_at_end=True,
        metric_for_best_model="accuracy",
    )
    best = trainer.state.best_global_step
    assert [e.step for e in trainer.evaluations] == [1, 2]
    trainer.create_model_card()
    (result,) = ModelCard.load(tmp_path / "README.md").data.eval_results
    assert result.metric_value == trainer.evaluations[best - 1].metrics["eval_accuracy"]
    assert "No attack was run on this model" in (tmp_path / "README.md").read_text("utf-8")


def test_evaluations_with_and_without_attacks_make_one_table(tmp_path):
    """With 4 steps of 8 rows, 2 per epoch, evaluations at steps 1 and 3 do not attack."""
    trainer = trained(
        tmp_path,
        max_steps=4,
        per_device_train_batch_size=4,
        eval_strategy="steps",
        eval_steps=1,
        attack_every="epoch",
    )
    logged = copy.deepcopy(trainer.state.log_history)
    trainer.create_model_card()
    assert trainer.state.log_history == logged
    text = (tmp_path / "README.md").read_text("utf-8")
    table = [line for line in text.splitlines() if re.match(r"\| (Training Loss|No log|\d)", line)]
    columns = [cell.strip() for cell in table[0].split("|")]
    place = columns.index("Antonym Asr")
    assert [row.split("|")[place].strip() == "–" for row in table[1:]] == [True, False, True, False]


def test_two_sets_are_two_entries_and_the_last_figures_count(tmp_path):
    trainer = trained(tmp_path, method="normal", attacks=None)
    trainer.evaluate(made_rows(9, seed=5), metric_key_prefix="eval_mm")
    trainer.evaluate({"a": made_rows(7, seed=6)})
    trainer.create_model_card()
    text = (tmp_path / "README.md").read_text("utf-8")
    results = ModelCard(text).data.eval_results
    assert [r.dataset_split for r in results] == ["eval", "eval_mm", "eval_a"]
    assert "`eval_mm`: 9 rows" in text and "`eval_a`: 7 rows" in text
    trainer.train()
    trainer.create_model_card()
    text = (tmp_path / "README.md").read_text("utf-8")
    assert "Not evaluated in the run" in text and "model-index" not in text


def test_rows_of_the_hub_are_named_as_the_hub_names_them(tmp_path):
    rows = Dataset.from_list(
        [*made_rows(6), {**made_rows(1)[0], "label": -1, "idx": 6}], split="validation"
    )
    rows.info.builder_name = "snli"
    trainer = make_trainer(
        tmp_path, rows, max_steps=1, trainer_options={"compute_metrics": accuracy}
    )
    trainer.train()
    trainer.evaluate(rows)
    trainer.create_model_card()
    card = ModelCard.load(tmp_path / "README.md")
    (result,) = card.data.eval_results
    assert (result.dataset_type, result.dataset_split) == ("stanfordnlp/snli", "validation")
    assert card.data.datasets == ["stanfordnlp/snli"]
    # The row without a label is not counted.
    assert "trained on 6 rows of `stanfordnlp/snli`, split `validation`" in card.text
    assert "`eval`: 6 rows of `stanfordnlp/snli`, split `validation`" in card.text


def test_a_run_that_only_evaluates_does_not_claim_to_have_trained(tmp_path):
    trainer = make_trainer(tmp_path, None, method="triplet")
    trainer.evaluate(made_rows(6))
    trainer.create_model_card()
    text = (tmp_path / "README.md").read_text("utf-8")
    assert "did not train" in text and "contrastive_weight" not in text


def test_the_card_of_an_adapter(tmp_path):
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query"])
    model = peft.get_peft_model(tiny_model("bert"), config)
    trainer = make_trainer(tmp_path, made_rows(4), model=model, method="safer", max_steps=1)
    trainer.train()
    trainer.save_model()
    trainer.create_model_card()
    card = ModelCard.load(tmp_path / "README.md")
    assert card.data.library_name == "peft" and "hf_bat" in card.data.tags
    assert "AutoPeftModelForSequenceClassification" in card.text
    assert "[More Information Needed]" not in card.text


def test_a_rate_over_nothing_is_not_in_the_index():
    recipe = {"name": "r", "hash": "0" * 64}
    summary = {"recipe": recipe, "rows": 3, "attempted": 0, "asr": None, "asr_interval": None}
    found = Evaluation("eval", 0, 3, {"type": "t", "name": "t"}, {}, {"synonym": summary})
    assert found.to_results() == []


def test_a_card_names_tables_and_what_was_not_measured(tmp_path):
    rows = [{**row, "premise": "Der Hund.", "hypothesis": "Ein Hund."} for row in made_rows(12)]
    tables = {"synonyms": {"hund": ["köter"]}}
    trainer = make_trainer(tmp_path, None, attacks=["synonym"], trainer_options=tables)
    metrics = trainer.evaluate(rows)
    assert "eval_synonym_attackable" in metrics and "eval_synonym_asr" not in metrics
    trainer.create_model_card()
    text = (tmp_path / "README.md").read_text("utf-8")
    assert "- synonym: own table (" in text
    assert "- synonym: success rate not measured: constraints allow no edit" in text


def test_figures_of_the_label_filter_are_in_the_index_with_their_intervals():
    found = {"asr": 0.5, "asr_interval": [0.4, 0.6], "asr_confident": 0.25}
    valid = {"asr": 0.2, "asr_interval": [0.1, 0.3], "keep_rate": 0.125}
    recipe = {"name": "r", "hash": "0" * 64}
    summary = {"recipe": recipe, "rows": 3, "attempted": 2, **found, "label_valid": valid}
    metrics = {"eval_accuracy": 1.0, "eval_antonym_valid_asr": 0.2, "eval_loss": 0.1, "epoch": 3.0}
    evaluation = Evaluation("eval", 0, 3, {"type": "t", "name": "t"}, metrics, {"antonym": summary})
    index = {
        (result.metric_args or {}).get("figure", result.metric_type): result
        for result in evaluation.to_results()
    }
    assert set(index) == {"accuracy", "asr", "asr_confident", "valid_asr", "valid_keep_rate"}
    assert index["asr"].metric_args["interval_95"] == [0.4, 0.6]
    assert index["valid_asr"].metric_args["interval_95"] == [0.1, 0.3]
    assert "likely change the label" in index["valid_asr"].metric_name


@pytest.mark.parametrize("method", [*METHODS])
def test_the_card_of_each_method(tmp_path, method):
    text = card_after_training(tmp_path, method=method, weight_warmup_steps=None)
    assert f"Method `{method}`" in text and "`L = CE(" in text
    assert all(f"`{name}`: {value}" in text for name, value in METHODS[method].weights.items())
    assert "Options other than the defaults" not in text
    assert text.count("| synonyms | 6 |") == (method != "normal")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "(one word replaced by an antonym: the label should change)"),
        ({"obstinate_edits": ["negation"]}, "(a negation put in or taken out: the label"),
        (
            {"obstinate_edits": ["sister", "number"]},
            "(one word replaced by another of its class that excludes it or one number changed: the",
        ),
    ],
)
def test_the_card_says_which_obstinate_edits_were_drawn(tmp_path, options, said):
    assert said in card_after_training(tmp_path, method="triplet", **options)


@pytest.mark.parametrize("label_filter", ["off", "only", "prefer"])
def test_the_card_has_the_term_of_other_edits_only_where_there_is_one(tmp_path, label_filter):
    text = card_after_training(tmp_path, method="likelihood", label_filter=label_filter)
    assert "`drop = log p(y|x) - log p(y|x_o)`" in text
    for weight in ("other_margin", "other_limit"):
        assert (weight in text) == (label_filter == "prefer")


def card_after_training(folder, **options):
    trainer = make_trainer(folder, made_rows(4), max_steps=1, **options)
    trainer.train()
    trainer.create_model_card()
    return (folder / "README.md").read_text("utf-8")


def test_a_local_folder_is_not_a_name_on_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner" / "model").mkdir(parents=True)
    assert get_hub_name("owner/model") is None
    assert get_hub_name("owner/other") == "owner/other"
    assert get_hub_name("../model") is None and get_hub_name(None) is None
    assert get_hub_name(str(tmp_path / "gone")) is None


def test_options_name_models_of_the_hub_whole_and_folders_by_their_last_part(tmp_path, monkeypatch):
    """Regression: relative folders were in the card unchanged."""
    (tmp_path / "here" / "models" / "mlm").mkdir(parents=True)
    (tmp_path / "secret-client" / "enc").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")

    def named(source):
        flags = {"method": "a2t", "a2t_candidates": "mlm", "mlm_model": source}
        return _list_options(make_arguments(tmp_path, **flags))["mlm_model"]

    assert named("google-bert/bert-base-uncased") == "google-bert/bert-base-uncased"
    assert named("roberta-base") == "roberta-base"
    assert (
        named("models/mlm") == named("./models/mlm/") == "mlm"
    )  # looks like a Hub name, but is a local folder
    assert named("../secret-client/enc") == named(str(tmp_path / "secret-client" / "enc")) == "enc"
    assert named("private/models/gone") == named("~/gone") == "gone"


def test_no_text_that_is_pushed_names_a_folder(tmp_path, monkeypatch):
    """Regression: `perturbations.json` had the encoder's path."""
    for name, model in (
        ("private/models/mlm", tiny_masked_lm()),
        ("secret-client/enc", tiny_model("bert").bert),
    ):
        model.save_pretrained(tmp_path / name)
        tokenizer_for_made_rows().save_pretrained(tmp_path / name)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    models = {"mlm_model": "../private/models/mlm", "encoder": "../secret-client/enc"}
    out = tmp_path / "out"
    trainer = make_trainer(
        out, made_rows(4), method="a2t", clean_epochs=0, max_steps=1, a2t_candidates="mlm", **models
    )
    trainer.train()
    trainer.evaluate(made_rows(4))
    trainer.save_model()
    trainer.save_perturbations(out)
    trainer.save_state()
    trainer.create_model_card(finetuned_from="../secret-client/enc")
    assert "- `encoder`: enc\n" in (out / "README.md").read_text("utf-8")
    assert "sentence-similarity" in (out / "perturbations.json").read_text("utf-8")
    for path in out.rglob("*"):
        # Trainer pickles the arguments unchanged, as docs/hub.md says.
        if path.is_file() and path.name != "training_args.bin":
            content = path.read_bytes()
            for word in (b"private", b"secret-client", str(tmp_path).encode()):
                assert word not in content, f"{path.name}: {word}"


def test_an_unreachable_hub_is_reported_before_training(tmp_path):
    with pytest.raises(HfBatError, match=r"^cannot create me/model on the Hub: .*push later$"):
        make_trainer(tmp_path, made_rows(4), push_to_hub=True, hub_model_id="me/model")


def test_the_first_cause_includes_the_message_of_the_server():
    class Refused(Exception):
        server_message = "no rights\nto write"

    try:
        try:
            raise KeyError("inner")
        except KeyError as inner:
            raise Refused("outer") from inner
    except Refused as error:
        assert describe_cause(error) == "'inner' (no rights to write)"
