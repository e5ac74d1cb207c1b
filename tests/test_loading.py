"""Unsuitable models and tokenizers: no words, no trained head, other precision, effects of padding."""

import json
import logging

import numpy as np
import pytest
import torch
from tiny_models import ARCHITECTURES, tiny_masked_lm, tiny_model, tiny_tokenizer
from training_helpers import made_rows, make_trainer, tokenizer_for_made_rows
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertTokenizerFast,
    CanineTokenizer,
)

from hf_bat import HfBatError
from hf_bat.attack import Attack, MaskedLMPerturbation, SentenceEncoder, TransformersModel
from hf_bat.cli import main
from hf_bat.finetune import make_parser, run
from hf_bat.loading import check_tokenizer, warn_about_padding

COMMANDS = ("attack", "certify", "contrast")
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
    "special_tokens_map.json",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with rows, a table, a classifier with its tokenizer, and incomplete models."""
    path = tmp_path_factory.mktemp("loading")
    rows = [{**row, "original_idx": None} for row in made_rows(12)]
    rows[1]["original_idx"] = rows[0]["idx"]
    (path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (path / "synonyms.json").write_text(json.dumps({"big": ["large"], "man": ["guy"]}))
    model, tokenizer = tiny_model("bert"), tokenizer_for_made_rows()
    for name in ("whole", "encoder", "half"):
        tokenizer.save_pretrained(path / name)
    model.save_pretrained(path / "whole")
    model.save_pretrained(path / "wordless")  # without a tokenizer
    model.base_model.save_pretrained(path / "encoder")
    tiny_model("bert").to(torch.bfloat16).save_pretrained(path / "half")
    return path


def run_command(folder, name, model, *options):
    words = [name, "--model", folder / model, "--task", "snli", "--data", folder / "rows.jsonl"]
    extra = {
        "attack": ["--attacks", "synonym", "--synonyms", folder / "synonyms.json"],
        "certify": ["--synonyms", folder / "synonyms.json", "--samples", 10],
        "contrast": [],
    }
    return main([str(word) for word in (*words, *extra[name], *options)])


def train(folder, model, output, *options):
    words = ["--model_name_or_path", folder / model, "--task_name", "snli", "--output_dir", output]
    words += ["--train_file", folder / "rows.jsonl", "--validation_file", folder / "rows.jsonl"]
    words += ["--max_steps", 1, "--report_to", "none", "--use_cpu", *options]
    return run([str(word) for word in words], make_parser(), "train")


def read_error(capsys):
    lines = [line for line in capsys.readouterr().err.splitlines() if "error: " in line]
    assert len(lines) == 1
    return lines[0]


# ---- a tokenizer without words -----------------------------------------------------------------------


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_refuse_a_folder_without_tokenizer_files(folder, capsys, name):
    assert run_command(folder, name, "wordless") == 2
    assert "--tokenizer" in read_error(capsys)
    assert run_command(folder, name, "wordless", "--tokenizer", folder / "whole") == 0


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_name_the_checkpoint_in_a_folder_without_a_model(folder, capsys, name):
    for step in (9, 114):
        (folder / "run" / f"checkpoint-{step}").mkdir(parents=True, exist_ok=True)
    assert run_command(folder, name, "run") == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert str(folder / "run" / "checkpoint-114") in line


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_say_that_a_folder_is_absent(folder, capsys, name):
    assert run_command(folder, name, "absent") == 2
    assert "no such folder" in read_error(capsys)


def test_training_refuses_it_and_writes_no_model(folder, tmp_path, capsys):
    assert train(folder, "wordless", tmp_path / "out", "--do_train") == 2
    assert "--tokenizer_name" in read_error(capsys)
    assert not list((tmp_path / "out").glob("*"))
    named = ("--do_train", "--tokenizer_name", folder / "whole")
    assert train(folder, "wordless", tmp_path / "out", *named) == 0


@pytest.mark.parametrize(
    "architecture", [a for a in ARCHITECTURES if a not in ("modernbert", "llama")]
)
def test_no_architecture_gets_a_tokenizer_from_nothing(tmp_path, architecture):
    # transformers creates a tokenizer with only special tokens for each of these.
    model = tiny_model(architecture)
    model.config.save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    with pytest.raises(HfBatError, match="knows no words"):
        check_tokenizer(tokenizer, model)


def test_words_of_other_scripts_and_of_no_language_are_words():
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    for words in (["река", "спит"], ["在", "河"], ["acgt", "ttga"], ["dog"]):
        vocabulary = {word: number for number, word in enumerate([*special, *words])}
        check_tokenizer(BertTokenizerFast(vocab=vocabulary), tiny_model("bert"))
    marks = {word: number for number, word in enumerate([*special, ".", "##,"])}
    with pytest.raises(HfBatError, match="knows no words"):
        check_tokenizer(BertTokenizerFast(vocab=marks), tiny_model("bert"))


@pytest.mark.parametrize("use", [Attack, make_trainer], ids=["attack", "training"])
def test_a_padding_token_beyond_the_embeddings_is_refused(tmp_path, use):
    model, tokenizer = tiny_model("gpt2", vocab_size=200), tiny_tokenizer()
    tokenizer.add_special_tokens({"pad_token": "<new>"})
    model.resize_token_embeddings(len(tokenizer) - 1)

    def call():
        if use is Attack:
            return Attack("synonym", model, task="snli", tokenizer=tokenizer)
        return make_trainer(tmp_path, made_rows(4), model=model, tokenizer=tokenizer)

    with pytest.raises(HfBatError, match="resize_token_embeddings"):
        call()
    model.resize_token_embeddings(len(tokenizer))
    call()


# ---- missing weights ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_refuse_an_encoder_without_a_head(folder, capsys, name):
    assert run_command(folder, name, "encoder") == 2
    assert "classifier" in read_error(capsys)


def test_training_gives_an_encoder_a_head_and_evaluation_does_not(folder, tmp_path, capsys):
    assert train(folder, "encoder", tmp_path / "a", "--do_eval") == 2
    assert "classifier" in read_error(capsys)
    assert train(folder, "encoder", tmp_path / "b", "--do_train", "--do_eval") == 0
    assert run_command(folder, "contrast", tmp_path / "b") == 0


def test_an_adapter_needs_a_head_of_its_own_or_of_its_base(folder, tmp_path):
    peft = pytest.importorskip("peft")
    for base, task_type, is_trained in (
        ("encoder", "SEQ_CLS", True),
        ("encoder", "FEATURE_EXTRACTION", False),
        ("whole", "FEATURE_EXTRACTION", True),
    ):
        model = AutoModelForSequenceClassification.from_pretrained(folder / base)
        config = peft.LoraConfig(task_type=task_type, target_modules=["query"])
        path = tmp_path / f"{base}-{task_type}"
        peft.get_peft_model(model, config).save_pretrained(path)
        if is_trained:
            TransformersModel(path, folder / "whole")
            continue
        with pytest.raises(HfBatError, match="classifier"):
            TransformersModel(path, folder / "whole")


def test_a_masked_language_model_needs_its_head_and_words(folder, tmp_path):
    with pytest.raises(HfBatError, match="trained masked language model"):
        _ = MaskedLMPerturbation(folder / "encoder").identity
    tiny_masked_lm().save_pretrained(tmp_path)
    with pytest.raises(HfBatError, match="knows no words"):
        _ = MaskedLMPerturbation(tmp_path).identity
    with pytest.raises(HfBatError, match="knows no words"):
        SentenceEncoder(str(tmp_path)).encode(["A dog."])


# ---- precision ---------------------------------------------------------------------------------------


def test_a_checkpoint_in_bfloat16_is_trained_in_float32(folder, tmp_path):
    assert train(folder, "half", tmp_path / "out", "--do_train", "--learning_rate", "2e-5") == 0
    before = AutoModelForSequenceClassification.from_pretrained(folder / "half").float()
    after = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out")
    assert after.dtype == torch.float32
    for (name, old), new in zip(before.named_parameters(), after.parameters(), strict=True):
        if name.endswith("query.weight"):
            # In bfloat16, a step of 2e-5 does not change any weight above 0.01.
            assert (old != new).float().mean() > 0.9, name


def test_half_weights_are_trained_with_a_warning_unless_they_are_frozen(folder, tmp_path, caplog):
    model = AutoModelForSequenceClassification.from_pretrained(folder / "half")
    assert model.dtype == torch.bfloat16
    make_trainer(tmp_path, made_rows(4), model=model).get_train_dataloader()
    assert "dtype=torch.float32" in caplog.text
    caplog.clear()
    peft = pytest.importorskip("peft")
    model = peft.get_peft_model(model, peft.LoraConfig(target_modules=["query"]))
    make_trainer(tmp_path, made_rows(4), model=model).get_train_dataloader()
    assert "dtype=torch.float32" not in caplog.text


@pytest.mark.parametrize(
    ("saved", "dtype", "loaded"),
    [
        ("half", "float32", torch.float32),
        ("half", "bfloat16", torch.bfloat16),
        ("half", "float16", torch.float32),
        ("whole", "bfloat16", torch.float32),
    ],
)
def test_an_attack_computes_in_the_precision_of_dtype(folder, saved, dtype, loaded):
    model = TransformersModel(folder / saved, dtype=dtype, device="cpu")
    assert model.model.dtype == loaded
    whole = TransformersModel(folder / "whole", device="cpu")
    text = [("A big dog.", "It runs.")]
    with model.session():
        answer = model.probabilities(model.keys(text))
    with whole.session():
        exact = whole.probabilities(whole.keys(text))
    # The same weights, rounded to 8 bits.
    assert 0 < np.abs(answer - exact).max() < 0.05


# ---- padding -----------------------------------------------------------------------------------------


def make_canine():
    config = AutoConfig.for_model(
        "canine", hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        num_hash_buckets=512, max_position_embeddings=512, num_labels=3, initializer_range=0.2,
    )  # fmt: skip
    torch.manual_seed(0)
    return AutoModelForSequenceClassification.from_config(config).eval()


def tokenizer_with(side):
    tokenizer = tiny_tokenizer(padding_side=side)
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    return tokenizer


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_models_that_mask_their_padding_are_told_from_others(architecture, caplog):
    model = tiny_model(architecture).train()
    # Relative and rotary positions do not change if all tokens are shifted.
    sides = ("left", "right") if architecture in ("llama", "qwen2", "qwen3") else ("right",)
    sides = ("left",) if architecture == "xlnet" else sides
    for side in ("left", "right"):
        caplog.clear()
        warn_about_padding(model, tokenizer_with(side), 64)
        assert ("depend on the padding" in caplog.text) == (side not in sides)
    assert model.training


@pytest.mark.parametrize("case", ["canine", "bert padded left", "bert"])
def test_answers_do_not_depend_on_the_batch(case, caplog):
    texts = [(row["premise"], row["hypothesis"]) for row in made_rows(20)]
    if case == "canine":
        tokenizer, model = CanineTokenizer(), make_canine()
        check_tokenizer(tokenizer, model)  # it has no embedding table
        model = TransformersModel(model, tokenizer, max_length=256)
    else:
        side = "left" if case.endswith("left") else "right"
        model = TransformersModel(tiny_model("bert"), tiny_tokenizer(padding_side=side))
    with caplog.at_level(logging.WARNING), model.session():
        keys = model.keys(texts)
        together = model.probabilities(keys)
        alone = np.concatenate([model.probabilities([key]) for key in keys])
    np.testing.assert_allclose(together, alone, atol=1e-6)
    assert ("depend on the padding" in caplog.text) == (case != "bert")


def test_rounding_in_half_precision_is_not_padding_that_is_read(caplog):
    bert = tiny_model("bert")
    # As accelerate prepares a model for `--bf16`.
    bert.forward = torch.autocast("cpu", dtype=torch.bfloat16)(bert.forward)
    model = TransformersModel(bert, tiny_tokenizer(), dtype="bfloat16")
    with model.session():
        model.probabilities(model.keys([("A man sleeps.", "A man is awake.")]))
    assert "depend on the padding" not in caplog.text


def test_saliency_does_not_depend_on_the_batch():
    model = TransformersModel(tiny_model("bert"), tiny_tokenizer(padding_side="left"))
    asked = [((row["premise"], row["hypothesis"]), 0) for row in made_rows(6)]
    with model.session():
        together = model.saliency(asked)
        for question, weights in zip(asked, together, strict=True):
            for one, other in zip(weights, model.saliency([question])[0], strict=True):
                np.testing.assert_allclose(one, other, rtol=1e-4)


def test_training_warns_of_a_model_that_reads_its_padding(tmp_path, caplog):
    for side in ("left", "right"):
        caplog.clear()
        make_trainer(tmp_path, made_rows(4), tokenizer=tokenizer_for_made_rows(padding_side=side))
        assert ("padding_side" in caplog.text) == (side == "left")
