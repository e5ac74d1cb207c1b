"""Grids of runs, their keys, and what is refused of them."""

import hashlib
import json
import shutil

import pytest
from sweep_helpers import BASE
from training_helpers import ANTONYMS, SYNONYMS

from hf_bat import HfBatError, cli
from hf_bat.perturbations.number import NUMBER_VERSION
from hf_bat.sweep import make_grid, make_run, parse_flags, read_grid
from hf_bat.sweep.identity import identity


def test_a_grid_makes_each_run_once():
    runs = make_grid(BASE, read_grid(["method=normal,pairwise", "alpha=0.5,1", "seed=1,2"]))
    assert [run.label(["method", "alpha", "seed"]) for run in runs] == [
        "method=normal seed=1", "method=normal seed=2",
        "method=pairwise alpha=0.5 seed=1", "method=pairwise alpha=0.5 seed=2",
        "method=pairwise alpha=1.0 seed=1", "method=pairwise alpha=1.0 seed=2",
    ]  # fmt: skip
    assert len({run.key for run in runs}) == 6
    assert len(make_grid(BASE, {})) == 1
    assert read_grid(["lambda=0.5,1"]) == {"contrastive_weight": [0.5, 1.0]}


def test_a_grid_varies_a_list_of_several_members():
    """Its members were taken for one: "unknown obstinate edit 'antonym negation'"."""
    grid = read_grid(
        ["obstinate_edits=antonym,antonym negation", "attacks=synonym, antonym 'negation'"]
    )
    assert grid == {
        "obstinate_edits": [["antonym"], ["antonym", "negation"]],
        "attacks": [["synonym"], ["antonym", "negation"]],
    }
    runs = make_grid({**BASE, "method": "pairwise"}, grid)
    assert len({run.key for run in runs}) == 4
    assert runs[-1].arguments["obstinate_edits"] == ["antonym", "negation"]
    assert read_grid(["class_weights=1 2,1 1"]) == {"class_weights": [[1.0, 2.0], [1.0, 1.0]]}
    # What is no list is one word, whatever is in it.
    assert read_grid(["train_file=my rows.csv,it's"]) == {"train_file": ["my rows.csv", "it's"]}


def test_a_grid_leaves_out_for_likelihood_what_its_triplet_term_alone_uses():
    base = {**BASE, "pooling": "mean", "mask": "authors", "distance": "euclidean"}

    def arguments(*axes, **more):
        return [run.arguments for run in make_grid({**base, **more}, read_grid(axes))]

    triplet, likelihood = arguments("method=triplet,likelihood")
    assert all(triplet[name] == base[name] for name in ("pooling", "mask", "distance"))
    assert not {"pooling", "mask", "distance"} & likelihood.keys()
    runs = arguments("method=likelihood", "lambda=0,0.5", "pooling=cls,mean")
    assert [(run["contrastive_weight"], run.get("pooling")) for run in runs] == [
        (0.0, None), (0.5, "cls"), (0.5, "mean")
    ]  # fmt: skip
    with pytest.raises(HfBatError, match="--mask is used by none of these runs"):
        arguments("method=likelihood", eval_distances=True)
    del base["mask"]
    (measured,) = arguments("method=likelihood", eval_distances=True)
    assert measured["pooling"] == "mean" and measured["distance"] == "euclidean"
    with pytest.raises(HfBatError, match="is of the triplet term"):
        make_grid({**base, "method": "likelihood"}, read_grid(["seed=1,2"]))


def test_a_run_that_ends_inside_its_clean_epochs_is_refused_before_any_is_made():
    message = "num_train_epochs=1.0 ends inside clean_epochs=1, .*never as 'a2t'"
    with pytest.raises(HfBatError, match=message):
        make_grid({**BASE, "num_train_epochs": 1.0}, read_grid(["method=normal,a2t"]))
    cut = {**BASE, "method": "a2t", "num_train_epochs": 1.0, "max_steps": 2}
    # Two steps may be more than one epoch, or a trial of the command; the run itself warns.
    assert len(make_grid(cut, {})) == len(make_grid({**cut, "clean_epochs": 0}, {})) == 1
    assert len(make_grid({**BASE, "method": "a2t", "num_train_epochs": 0.0}, {})) == 1


def test_a_key_stands_for_what_the_result_depends_on(tmp_path):
    def key(**more):
        return make_run({**BASE, "method": "pairwise", **more}).key

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
def test_flags_that_change_no_figure_make_no_other_run(flags):
    """The run was made a second time."""
    base = "--model_name_or_path m --task snli --method pairwise"
    assert make_run(parse_flags(f"{base} {flags}")).key == make_run(parse_flags(base)).key


def test_flags_of_workers_and_checkpoints_that_change_figures_make_another_run():
    def key(**more):
        return make_run({**BASE, **more}).key

    two = {"dataloader_num_workers": 2}
    keys = [
        key(),
        key(**two, dataloader_persistent_workers=True),  # dropout draws otherwise
        key(save_only_model=True),  # a run that was interrupted goes on without its optimizer
        key(dataloader_in_order=False),
        key(**two, dataloader_in_order=False),
    ]
    assert len({*keys}) == len(keys)


@pytest.mark.parametrize("option", ["obstinate_edits", "attacks"])
def test_a_key_minds_the_version_of_number_edits(option, monkeypatch):
    """A sweep went on under the same names with other edits."""
    pairwise = {**BASE, "method": "pairwise"}
    with_numbers = {**pairwise, option: ["antonym", "number"]}
    without, before = make_run(pairwise).key, make_run(with_numbers).key
    monkeypatch.setattr("hf_bat.sweep.identity.NUMBER_VERSION", NUMBER_VERSION + 1)
    assert make_run(pairwise).key == without and make_run(with_numbers).key != before


def test_a_key_minds_the_content_of_every_local_model(tmp_path):
    def folder(name, content="{}"):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "config.json").write_text(content)
        return str(tmp_path / name)

    def key(**more):
        base = {**BASE, "model_name_or_path": folder("model"), "method": "a2t", "seed": 7}
        return make_run({**base, **more}).key

    one, same, other = folder("one"), folder("same"), folder("other", '{"x": 1}')
    mlm = {"a2t_candidates": "mlm"}
    keys = [key(), key(encoder=one), key(encoder=other), key(encoder="some/encoder"),
            key(**mlm, mlm_model=one), key(**mlm, mlm_model=other),
            key(**mlm, mlm_model="some/model")]  # fmt: skip
    assert len({*keys}) == len(keys)
    assert key(encoder=same) == keys[1] and key(**mlm, mlm_model=same) == keys[4]
    folder("same", '{"x": 1}')
    assert key(encoder=same) == keys[2], "as it is now"
    (tmp_path / "empty").mkdir()
    with pytest.raises(HfBatError, match="--encoder .*empty holds no model"):
        key(encoder=str(tmp_path / "empty"))


def test_a_run_without_an_encoder_has_the_key_that_it_always_had(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    config = hashlib.sha256(b"{}").hexdigest()
    model = {"sha256": hashlib.sha256(f"config.json {config}".encode()).hexdigest()}
    run = {**BASE, "model_name_or_path": str(tmp_path), "method": "a2t", "seed": 7}
    content = {**run, "model_name_or_path": model, "adversarial_weight": 1.0}
    hub = {**BASE, "encoder": "some/encoder", "method": "a2t"}
    for arguments, known in ((run, content), (hub, {**hub, "adversarial_weight": 1.0})):
        assert identity(arguments) == known
        whole = json.dumps([known, []], sort_keys=True).encode()
        assert make_run(arguments).key == hashlib.sha256(whole).hexdigest()[:16]


def test_a_weight_that_no_method_of_the_grid_has_is_refused():
    """It was passed by."""
    grid = {"method": ["normal", "safer"]}
    for base, more in (({**BASE, "margin": 3.0}, {}), (BASE, {"margin": [1.0, 3.0]})):
        with pytest.raises(
            HfBatError, match=r"--margin is used by none of these runs \(methods: normal, safer"
        ):
            make_grid(base, {**grid, **more})
    assert len(make_grid({**BASE, "margin": 3.0}, {"method": ["normal", "pairwise"]})) == 2


@pytest.mark.parametrize(
    ("method", "written_out"),
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
def test_a_default_counts_the_same_written_out(method, written_out):
    """The run was made a second time."""
    plain = make_run({**BASE, "method": method})
    whole = make_run({**BASE, "method": method, **written_out})
    assert whole.key == plain.key
    assert whole.arguments == dict(sorted({**plain.arguments, **written_out}.items()))


def test_a_limit_that_follows_the_margin_counts_the_same_written_out():
    """It is at least `other_margin` where it is left out."""
    above = {**BASE, "method": "likelihood", "other_margin": 0.5}
    assert make_run(above).key == make_run({**above, "other_limit": 0.5}).key
    below = {**BASE, "method": "likelihood", "other_margin": 0.1}
    assert make_run(below).key == make_run({**below, "other_limit": 0.4}).key


def test_what_is_no_default_of_the_method_makes_another_run():
    def key(method, **more):
        return make_run({**BASE, "method": method, **more}).key

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


def test_the_runs_of_the_results_have_the_keys_that_they_were_made_under(
    repository, tmp_path, monkeypatch
):
    files = (repository / "docs" / "results" / "study").glob("*.json")
    runs = [run for path in files if (run := json.loads(path.read_text("utf-8")).get("run"))]
    assert len(runs) > 20 and any("clean_epochs" in run["arguments"] for run in runs)
    # Some were made on a GPU, which a test's machine may not have.
    monkeypatch.setattr("transformers.training_args.is_torch_bf16_gpu_available", lambda: True)
    for run in runs:
        # Files and model of another machine: what was noted of their content stands for them.
        hashes = {n: v["sha256"] for n, v in run["identity"].items() if isinstance(v, dict)}
        for function in ("_hash_file", "_hash_model"):
            monkeypatch.setattr(
                f"hf_bat.sweep.identity.{function}", lambda path, name, known=hashes: known[name]
            )
        arguments = {**run["arguments"], "model_name_or_path": str(tmp_path)}
        assert identity(arguments) == run["identity"]
        assert make_run(arguments).key == run["key"]


def test_a_key_minds_the_content_of_a_table_on_the_hub(tmp_path, monkeypatch):
    """It said that there was no such file."""
    local, other = tmp_path / "synonyms.json.gz", tmp_path / "other.json.gz"
    SYNONYMS.save(local)
    ANTONYMS.save(other)
    served = {"me/synonyms": local, "me/same": local, "me/antonyms": other}

    def download(repo, file, repo_type, revision):
        assert (file, repo_type, revision) == ("table.json.gz", "dataset", None)
        return str(served[repo])

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)

    def key(synonyms):
        return make_run({**BASE, "method": "safer", "synonyms": synonyms}).key

    found = key("hf://datasets/me/synonyms")
    assert found == key("hf://datasets/me/same") == key(str(local))
    assert found != key("hf://datasets/me/antonyms") == key(str(other))
    served["me/synonyms"] = other
    assert key("hf://datasets/me/synonyms") == key(str(other)), "as it is now"


def test_a_key_minds_when_checkpoints_are_written_where_the_best_one_is_the_result():
    def key(**more):
        return make_run({**BASE, **more}).key

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


@pytest.mark.parametrize(
    ("grid", "says"),
    [
        (["alpha"], "not of the form name=value"),
        (["alpha=1,,2"], "not of the form name=value"),
        (["alpha=1,1.0"], "gives a value twice"),
        (["seed=1,01"], "gives a value twice"),
        (["alpha=1", "alpha=2"], "names alpha twice"),
        (["alpha=soft"], "invalid float value: 'soft'"),
        (["alhpa=1"], "unrecognized arguments: --alhpa"),
        (["method=tripelt"], "unknown method 'tripelt'"),
        (["margin=1"], "margin=1.0 does not apply to method='normal'"),
        (["seed=1", "model_name_or_path=x"], "--base and --grid both name model_name_or_path"),
        (
            ["gradient_accumulation_steps=1,0"],
            "--gradient_accumulation_steps must be at least 1, not 0",
        ),
        (["output_dir=x"], "each run has its own folder"),
        (["train_file=nowhere.jsonl"], "--train_file nowhere.jsonl: No such file"),
        (["synonyms=hf://datasets/nobody/x"], "cannot fetch the table of nobody/x from the Hub"),
        (["resume_from_checkpoint=x"], "runs resume by themselves"),
        (
            ["hub_model_id=me/a,me/b"],
            "leave --hub_model_id out of the runs' flags: all runs would go",
        ),
        (["representations=1,-1"], "--representations must be at least 0, not -1"),
        (["do_eval=True,False"], "leave --do_eval False out: every run trains and is evaluated"),
        (["learning-rate=soft"], "invalid float value: 'soft'"),
        (
            ["method=pairwise", "obstinate_edits=antonym nagation"],
            "'nagation'",
        ),
        (["obstinate_edits=antonym 'negation"], "No closing quotation"),
        (["attacks=antonym synonym,antonym  synonym"], "gives a value twice"),
        (["synonyms=hf://nobody/x"], "a table on the Hub is hf://datasets/OWNER/NAME"),
    ],
)
def test_a_bad_grid_is_one_line(grid, says, capsys, tmp_path):
    words = [word for axis in grid for word in ("--grid", axis)]
    base = "--model_name_or_path m --task snli"
    assert cli.main(["sweep", "--base", base, *words, "--output_dir", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("hf-bat: error: ") and says in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("base", "says"),
    [
        ("--task snli", "name no --model_name_or_path"),
        ("--model_name_or_path m", "need either --task_name or --columns"),
        ("--model_name_or_path m --task snil", "did you mean 'snli'"),
        ("--model_name_or_path m --task snli --nonsense 3", "unrecognized arguments: --nonsense"),
        (
            "--model_name_or_path m --task snli --output_dir o",
            "leave --output_dir out .*own folder",
        ),
        (
            "--model_name_or_path m --task snli --resume_from_checkpoint o/checkpoint-3",
            "leave --resume_from_checkpoint out .*runs resume by themselves",
        ),
        ("--model_name_or_path m --task snli --push_to_hub", "leave --push_to_hub out .*hf upload"),
        (
            "--model_name_or_path m --task snli --hub-private-repo true",
            "leave --hub_private_repo out .*push a run's model afterwards",
        ),
        (
            "--model_name_or_path m --task snli --hub_strategy end",
            "leave --hub_strategy out .*hf upl",
        ),
    ],
)
def test_bad_flags_of_the_runs_are_one_line(base, says):
    with pytest.raises(HfBatError, match=says):
        make_grid(parse_flags(base), {})


@pytest.mark.parametrize("axis", ["hub_token=hf_secret", "hub-token=hf_secret,"])
def test_a_token_is_refused_and_not_repeated(axis, capsys, tmp_path):
    """It was written into every configuration and result."""
    out = tmp_path / "out"
    base = "--model_name_or_path m --task snli"
    for words in (["--base", base, "--grid", axis], ["--base", f"{base} --hub_token hf_secret"]):
        assert cli.main(["sweep", *words, "--output_dir", str(out)]) == 2
        error = capsys.readouterr().err
        assert "leave --hub_token out" in error and "`hf auth login` or set HF_TOKEN" in error
        assert "hf_secret" not in error and error.count("\n") == 1
    with pytest.raises(HfBatError, match="leave --hub_token out"):
        make_run({**BASE, "hub_token": "hf_secret"})
    assert make_run({**BASE, "hub_token": None, "push_to_hub": False}).key == make_run(BASE).key
    assert "hub_token" not in identity({**BASE, "hub_token": "hf_secret"})
    assert not out.exists()


@pytest.mark.parametrize("flag", ["--launcher", "--base"])
def test_quotes_that_are_not_closed_are_one_line(flag, capsys, tmp_path):
    words = {"--base": "--model_name_or_path m --task snli", "--launcher": "python"}
    words[flag] += " 'open"
    words["--output_dir"] = str(tmp_path / "out")
    assert cli.main(["sweep", *(word for pair in words.items() for word in pair)]) == 2
    error = capsys.readouterr().err
    assert "no closing quotation; close the quotes" in error and error.count("\n") == 1
