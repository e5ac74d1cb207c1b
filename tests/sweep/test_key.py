"""Keys of runs: equal for runs with equal results, different for all others."""

import hashlib
import json
import shutil

import pytest
from sweep_helpers import BASE
from training_helpers import ANTONYMS, SYNONYMS

from hf_bat import HfBatError
from hf_bat.perturbations.characters import CHARACTERS_VERSION
from hf_bat.perturbations.number import NUMBER_VERSION
from hf_bat.sweep import make_run, parse_flags
from hf_bat.sweep.key import identify


def make_key(method="normal", **arguments):
    return make_run({**BASE, "method": method, **arguments}).key


def test_key_depends_on_arguments_launcher_and_content_of_files(tmp_path):
    def key(**arguments):
        return make_key("pairwise", **arguments)

    plain = key()
    assert plain == key(alpha=1.0, beta=1.2) == key(seed=42) == key(disable_tqdm=True, save_steps=7)
    others = {key(alpha=0.9), key(seed=1), key(learning_rate=1e-4), key(attacks=["antonym"])}
    assert plain not in others and len(others) == 4
    assert make_run(BASE, ["accelerate", "launch"]).key != make_run(BASE).key
    one, other = tmp_path / "one.jsonl", tmp_path / "other.jsonl"
    one.write_text("{}\n")
    shutil.copy(one, other)
    assert key(train_file=str(one)) == key(train_file=str(other)) != plain
    changed = tmp_path / "changed.jsonl"
    changed.write_text("{} \n")
    assert key(train_file=str(changed)) != key(train_file=str(one))


@pytest.mark.parametrize(
    "flags",
    [
        "--dataloader_num_workers 2 --dataloader_prefetch_factor 4 --dataloader_pin_memory false",
        "--run_name mine --project ours --logging_first_step --log_on_each_node false",
        "--log_level_replica error --do_train --do_eval --do_predict --ddp_timeout 60",
    ],
)
def test_key_ignores_flags_that_change_no_figure(flags):
    base = "--model_name_or_path m --task snli --method pairwise"
    assert make_run(parse_flags(f"{base} {flags}")).key == make_run(parse_flags(base)).key


def test_key_depends_on_flags_of_workers_and_checkpoints_that_change_figures():
    two = {"dataloader_num_workers": 2}
    keys = [
        make_key(),
        make_key(**two, dataloader_persistent_workers=True),  # dropout draws different numbers
        make_key(save_only_model=True),  # an interrupted run resumes without its optimizer
        make_key(dataloader_in_order=False),
        make_key(**two, dataloader_in_order=False),
    ]
    assert len({*keys}) == len(keys)


@pytest.mark.parametrize("option", ["obstinate_edits", "attacks"])
def test_key_depends_on_the_version_of_number_edits(option, monkeypatch):
    numbers = {option: ["antonym", "number"]}
    without, before = make_key("pairwise"), make_key("pairwise", **numbers)
    monkeypatch.setattr("hf_bat.sweep.key.NUMBER_VERSION", NUMBER_VERSION + 1)
    assert make_key("pairwise") == without and make_key("pairwise", **numbers) != before


@pytest.mark.parametrize("option", ["fickle_edits", "attacks"])
def test_key_depends_on_the_version_of_character_edits(option, monkeypatch):
    letters = {option: ["synonym", "typo"]}
    without, before = make_key("pairwise"), make_key("pairwise", **letters)
    monkeypatch.setattr("hf_bat.sweep.key.CHARACTERS_VERSION", CHARACTERS_VERSION + 1)
    assert make_key("pairwise") == without and make_key("pairwise", **letters) != before
    # An explicit default is the same run.
    assert make_key("pairwise", fickle_edits=["synonym"]) == without


def test_key_depends_on_the_content_of_local_models(tmp_path):
    def make_folder(name, content="{}"):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "config.json").write_text(content)
        return str(tmp_path / name)

    def key(**arguments):
        return make_key("a2t", model_name_or_path=make_folder("model"), **arguments)

    one, same = make_folder("one"), make_folder("same")
    other = make_folder("other", '{"x": 1}')
    mlm = {"a2t_candidates": "mlm"}
    keys = [key(), key(encoder=one), key(encoder=other), key(encoder="some/encoder"),
            key(**mlm, mlm_model=one), key(**mlm, mlm_model=other),
            key(**mlm, mlm_model="some/model")]  # fmt: skip
    assert len({*keys}) == len(keys)
    assert key(encoder=same) == keys[1] and key(**mlm, mlm_model=same) == keys[4]
    make_folder("same", '{"x": 1}')
    assert key(encoder=same) == keys[2], "the content of now counts"
    (tmp_path / "empty").mkdir()
    with pytest.raises(HfBatError, match="--encoder .*empty"):
        key(encoder=str(tmp_path / "empty"))


def test_key_is_the_hash_of_arguments_and_launcher(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    config = hashlib.sha256(b"{}").hexdigest()
    model = {"sha256": hashlib.sha256(f"config.json {config}".encode()).hexdigest()}
    run = {**BASE, "model_name_or_path": str(tmp_path), "method": "a2t", "seed": 7}
    added = {
        "adversarial_weight": 1.0,
        "synonyms": "default: counterfitted",
        "row_choice": "even",
        "fit_grammar": True,
    }
    hub = {**BASE, "encoder": "some/encoder", "method": "a2t"}
    content = {**run, "model_name_or_path": model, **added}
    for arguments, known in ((run, content), (hub, {**hub, **added})):
        assert identify(arguments) == known
        whole = json.dumps([known, []], sort_keys=True).encode()
        assert make_run(arguments).key == hashlib.sha256(whole).hexdigest()[:16]


@pytest.mark.parametrize(
    ("method", "given"),
    [
        ("likelihood", {"label_filter": "prefer"}),
        ("likelihood", {"clean_epochs": 0, "obstinate_edits": ["antonym"]}),
        ("likelihood", {"other_margin": 0.15, "other_limit": 0.4, "contrastive_weight": 0.0}),
        ("pairwise", {"clean_epochs": 0}),
        ("pairwise", {"label_filter": "off"}),
        ("pairwise", {"obstinate_edits": ["antonym"]}),
        ("triplet", {"clean_epochs": 0, "label_filter": "off", "obstinate_edits": ["antonym"]}),
        ("a2t", {"clean_epochs": 1, "adversarial_weight": 1.0}),
        ("safer", {"clean_epochs": 0}),
        ("normal", {"clean_epochs": 0}),
    ],
)
def test_key_is_the_same_if_a_default_is_given(method, given):
    plain = make_run({**BASE, "method": method})
    whole = make_run({**BASE, "method": method, **given})
    assert whole.key == plain.key
    assert whole.arguments == dict(sorted({**plain.arguments, **given}.items()))


def test_default_of_other_limit_is_at_least_other_margin():
    for margin, limit in ((0.5, 0.5), (0.1, 0.4)):
        plain = make_key("likelihood", other_margin=margin)
        assert plain == make_key("likelihood", other_margin=margin, other_limit=limit)


def test_key_differs_if_a_value_is_not_the_default_of_the_method():
    key = make_key
    keys = [
        key("likelihood"), key("likelihood", label_filter="off"), key("likelihood", label_filter="only"),
        key("likelihood", clean_epochs=1), key("likelihood", other_limit=0.5),
        key("likelihood", other_margin=0.5), key("likelihood", other_margin=0.5, other_limit=0.6),
        key("pairwise"), key("pairwise", label_filter="prefer"), key("pairwise", clean_epochs=1),
        key("pairwise", obstinate_edits=["negation"]),
        key("pairwise", obstinate_edits=["antonym", "negation"]),
        key("a2t"), key("a2t", clean_epochs=0), key("safer"), key("safer", clean_epochs=1),
    ]  # fmt: skip
    assert len({*keys}) == len(keys)


def test_runs_of_the_study_keep_their_keys(repository, tmp_path, monkeypatch):
    files = (repository / "docs" / "results" / "study").glob("*.json")
    runs = [run for path in files if (run := json.loads(path.read_text("utf-8")).get("run"))]
    assert len(runs) > 20 and any("clean_epochs" in run["arguments"] for run in runs)
    # Some runs used bf16 on a GPU.
    monkeypatch.setattr("transformers.training_args.is_torch_bf16_gpu_available", lambda: True)
    for run in runs:
        # Their files are on another machine, so the recorded hashes replace them.
        hashes = {n: v["sha256"] for n, v in run["identity"].items() if isinstance(v, dict)}
        for function in ("_hash_file", "_hash_model"):
            monkeypatch.setattr(
                f"hf_bat.sweep.key.{function}", lambda path, name, known=hashes: known[name]
            )
        # The defaults were different: WordNet's synonyms, the first rows, full weights from the first step,
        # and edits that were not fitted to the sentence.
        tables = {"synonyms": "wordnet", "row_choice": "first", "fit_grammar": False}
        tables |= run["arguments"]
        if run["arguments"].get("method") in ("pairwise", "triplet", "likelihood"):
            tables.setdefault("weight_warmup_steps", 0.0)
        arguments = {**tables, "model_name_or_path": str(tmp_path)}
        assert identify(arguments) == run["identity"]
        assert make_run(arguments).key == run["key"]


def test_key_depends_on_the_content_of_a_table_on_the_hub(tmp_path, monkeypatch):
    local, other = tmp_path / "synonyms.json.gz", tmp_path / "other.json.gz"
    SYNONYMS.save(local)
    ANTONYMS.save(other)
    served = {"me/synonyms": local, "me/same": local, "me/antonyms": other}

    def download(repo, file, repo_type, revision):
        assert (file, repo_type, revision) == ("table.json.gz", "dataset", None)
        return str(served[repo])

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)

    def key(synonyms):
        return make_key("safer", synonyms=synonyms)

    first = key("hf://datasets/me/synonyms")
    assert first == key("hf://datasets/me/same") == key(str(local))
    assert first != key("hf://datasets/me/antonyms") == key(str(other))
    served["me/synonyms"] = other
    assert key("hf://datasets/me/synonyms") == key(str(other)), "the content of now counts"


def test_key_depends_on_checkpoints_if_the_best_one_is_the_result():
    key = make_key
    best = {"load_best_model_at_end": True, "metric_for_best_model": "accuracy"}
    epochs = key(**best, eval_strategy="epoch")
    assert epochs == key(**best, eval_strategy="epoch", save_strategy="epoch", save_steps=7)
    steps = {**best, "eval_strategy": "steps", "eval_steps": 5, "save_strategy": "steps"}
    keys = {
        epochs,
        key(**steps),
        key(**steps, save_steps=5),
        key(**steps, save_steps=10),
        key(**{**best, "save_strategy": "best"}, eval_strategy="epoch"),
        key(**{**best, "metric_for_best_model": "loss"}, eval_strategy="epoch"),
        key(eval_strategy="epoch"),
    }
    assert len(keys) == 7
    assert key(**steps, save_steps=10) == key(**steps, save_steps=10.0, save_total_limit=3)
    assert key(eval_strategy="epoch", save_strategy="steps") == key(eval_strategy="epoch")
    assert key(eval_strategy="steps") != key(eval_strategy="steps", logging_steps=7)
    assert key(**steps) == key(**steps, logging_steps=7)


# The key of this run when WordNet's synonyms, the first rows of a file, and edits that were not fitted to
# the sentence were still the defaults.
OLD_RUN = (
    "--model_name_or_path some/model --task snli --attacks antonym synonym --row_choice first "
    "--fit_grammar False"
)
OLD_KEY = "93484b9f9def9fe2"


def test_a_run_with_the_wordnet_synonyms_has_the_key_that_it_had_as_the_default():
    assert make_run(parse_flags(f"{OLD_RUN} --synonyms wordnet")).key == OLD_KEY
    keys = {make_run(parse_flags(OLD_RUN + more)).key for more in ("", " --synonyms counterfitted")}
    assert len(keys) == 2 and OLD_KEY not in keys


def test_fitted_edits_are_in_the_key_of_runs_that_draw_or_try_some():
    base = "--model_name_or_path some/model --task snli"

    def key(flags):
        return make_run(parse_flags(f"{base} {flags}")).key

    for uses in ("--method triplet", "--attacks sister", "--method safer --attacks number"):
        assert key(uses) != key(f"{uses} --no_fit_grammar"), uses
    for not_used in ("", "--method safer --attacks synonym negation", "--method counterfactual"):
        assert key(not_used) == key(f"{not_used} --no_fit_grammar"), not_used
    negation = "--method triplet --obstinate_edits negation"
    assert key(negation) == key(f"{negation} --no_fit_grammar")


def test_the_choice_of_rows_is_in_the_key_where_a_limit_keeps_some():
    base = "--model_name_or_path some/model --task snli"
    for limit in ("--max_train_samples 9", "--max_eval_samples 9", "--attacks antonym"):
        plain, even, first = (
            make_run(parse_flags(f"{base} {limit} {more}")).key
            for more in ("", "--row_choice even", "--row_choice first")
        )
        assert plain == even != first
    keys = {
        make_run(parse_flags(f"{base} {more}")).key
        for more in ("", "--row_choice even", "--row_choice first")
    }
    assert len(keys) == 1, "all rows are used"


def test_the_default_synonyms_are_in_the_key_where_they_are_used():
    def uses_them(**arguments):
        return "synonyms" in identify(arguments)

    assert uses_them(method="pairwise") and uses_them(method="normal", attacks=["a2t"])
    assert not uses_them(method="normal", attacks=["antonym", "textfooler-wordnet"])
    # The defense and training with it use the WordNet synonyms, but an attack does not.
    assert not uses_them(method="safer", canonicalize=True)
    assert uses_them(method="safer", canonicalize=True, attacks=["paper-synonym"])
