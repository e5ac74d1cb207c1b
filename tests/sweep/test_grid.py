"""Grids of runs: flags, axes and combinations."""

import pytest
from sweep_helpers import BASE

from hf_bat import HfBatError, cli
from hf_bat.sweep import make_grid, make_run, read_grid
from hf_bat.sweep.key import identify


def test_grid_makes_each_run_once():
    runs = make_grid(BASE, read_grid(["method=normal,pairwise", "alpha=0.5,1", "seed=1,2"]))
    assert [run.label(["method", "alpha", "seed"]) for run in runs] == [
        "method=normal seed=1", "method=normal seed=2",
        "method=pairwise alpha=0.5 seed=1", "method=pairwise alpha=0.5 seed=2",
        "method=pairwise alpha=1.0 seed=1", "method=pairwise alpha=1.0 seed=2",
    ]  # fmt: skip
    assert len({run.key for run in runs}) == 6
    assert len(make_grid(BASE, {})) == 1
    assert read_grid(["lambda=0.5,1"]) == {"contrastive_weight": [0.5, 1.0]}


def test_grid_varies_lists():
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
    # A value that is not a list is one word, regardless of its characters.
    assert read_grid(["train_file=my rows.csv,it's"]) == {"train_file": ["my rows.csv", "it's"]}


def test_options_of_the_triplet_term_are_dropped_for_likelihood_without_it():
    base = {**BASE, "pooling": "mean", "mask": "authors", "distance": "euclidean"}

    def list_arguments(*axes, **more):
        return [run.arguments for run in make_grid({**base, **more}, read_grid(axes))]

    triplet, likelihood = list_arguments("method=triplet,likelihood")
    assert all(triplet[name] == base[name] for name in ("pooling", "mask", "distance"))
    assert not {"pooling", "mask", "distance"} & likelihood.keys()
    runs = list_arguments("method=likelihood", "lambda=0,0.5", "pooling=cls,mean")
    assert [(run["contrastive_weight"], run.get("pooling")) for run in runs] == [
        (0.0, None), (0.5, "cls"), (0.5, "mean")
    ]  # fmt: skip
    with pytest.raises(HfBatError, match="--mask is used by none"):
        list_arguments("method=likelihood", eval_distances=True)
    del base["mask"]
    (measured,) = list_arguments("method=likelihood", eval_distances=True)
    assert measured["pooling"] == "mean" and measured["distance"] == "euclidean"
    with pytest.raises(HfBatError, match="distance=euclidean"):
        make_grid({**base, "method": "likelihood"}, read_grid(["seed=1,2"]))


def test_run_that_ends_inside_its_clean_epochs_is_refused():
    with pytest.raises(HfBatError, match="clean_epochs"):
        make_grid({**BASE, "num_train_epochs": 1.0}, read_grid(["method=normal,a2t"]))
    cut = {**BASE, "method": "a2t", "num_train_epochs": 1.0, "max_steps": 2}
    # Two steps may be more than one epoch, or a test of the command. The run itself logs a warning.
    assert len(make_grid(cut, {})) == len(make_grid({**cut, "clean_epochs": 0}, {})) == 1
    assert len(make_grid({**BASE, "method": "a2t", "num_train_epochs": 0.0}, {})) == 1


def test_weight_is_refused_if_no_method_of_the_grid_has_it():
    grid = {"method": ["normal", "safer"]}
    for base, more in (({**BASE, "margin": 3.0}, {}), (BASE, {"margin": [1.0, 3.0]})):
        with pytest.raises(HfBatError, match="--margin .*normal, safer"):
            make_grid(base, {**grid, **more})
    assert len(make_grid({**BASE, "margin": 3.0}, {"method": ["normal", "pairwise"]})) == 2


@pytest.mark.parametrize(
    ("words", "keyword"),
    [
        (["--grid", "alpha=soft"], "'soft'"),
        (["--grid", "seed=1", "--grid", "model_name_or_path=x"], "model_name_or_path"),
        (["--launcher", "python 'open"], "--launcher"),
    ],
)
def test_bad_command_is_one_line_and_makes_nothing(words, keyword, capsys, tmp_path):
    base = ["--base", "--model_name_or_path m --task snli", "--output_dir", str(tmp_path / "out")]
    assert cli.main(["sweep", *base, *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("hf-bat: error: ") and keyword in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("axis", ["hub_token=hf_secret", "hub-token=hf_secret,"])
def test_token_is_refused_and_not_shown(axis, capsys, tmp_path):
    out = tmp_path / "out"
    base = "--model_name_or_path m --task snli"
    for words in (["--base", base, "--grid", axis], ["--base", f"{base} --hub_token hf_secret"]):
        assert cli.main(["sweep", *words, "--output_dir", str(out)]) == 2
        error = capsys.readouterr().err
        assert "--hub_token" in error and "HF_TOKEN" in error
        assert "hf_secret" not in error and error.count("\n") == 1
    with pytest.raises(HfBatError, match="--hub_token"):
        make_run({**BASE, "hub_token": "hf_secret"})
    assert make_run({**BASE, "hub_token": None, "push_to_hub": False}).key == make_run(BASE).key
    assert "hub_token" not in identify({**BASE, "hub_token": "hf_secret"})
    assert not out.exists()
