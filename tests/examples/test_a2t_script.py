"""The training script with `--method a2t`."""

from test_run_glue_bat import flags_for, in_process, read, script, snli  # noqa: F401

from hf_bat import SubstitutionTable
from hf_bat.attack.rows import read_rows


def test_a2t_from_the_command_line(tiny_folder, tmp_path, in_process):  # noqa: F811
    output = tmp_path / "out"
    flags = flags_for(
        tiny_folder, output, *snli(tiny_folder), "--do_train", "--num_train_epochs", 2,
        "--attack_share", 0.5, "--attack_budget", 30, "--adversarial_weight", 0.5, method="a2t",
    )  # fmt: skip
    status, _, error = in_process(*flags)
    assert status == 0, error
    found = read_rows(output / "_adversarial" / "epoch-1.jsonl")
    assert len(found) == 20 and all(row["queries"] <= 30 for row in found)
    assert [path.name for path in (output / "_adversarial").iterdir()] == ["epoch-1.jsonl"]
    history = read(output / "trainer_state.json")["log_history"]
    assert [e["adversarial_attacked"] for e in history if "adversarial_attacked" in e] == [20]
    table = SubstitutionTable.load(output / "synonyms.json.gz")
    described = read(output / "perturbations.json")
    assert described["method"] == "a2t" and described["fickle"]["table"] == table.fingerprint
    assert described["attack"]["hash"].startswith(found[0]["recipe"])
    status, _, error = in_process(*flags, "--a2t_candidates", "mlm")
    assert status == 2 and error.count("\n") == 1 and "needs mlm_model" in error
