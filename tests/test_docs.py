"""README and docs: every block runs or says why not, links lead somewhere, the reference is whole."""

import ast
import importlib.util
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from importlib import import_module

import pytest
from doc_blocks import ROOT, RUN, SHOWN, blocks, check_flags, commands, pages, run_command
from tiny_models import tiny_model
from training_helpers import SYNONYMS, made_rows, tokenizer_for_made_rows

PAGES = pages()
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")
PUBLIC = ("hf_bat", "hf_bat.attack", "hf_bat.lexicon", "hf_bat.losses", "hf_bat.metrics",
          "hf_bat.perturbations", "hf_bat.plots", "hf_bat.evaluation.representations",
          "hf_bat.sweep")  # fmt: skip
# The reasons there may be for not running a block; whatever needs a model or rows finds them in
# `working_folder`.
REASONS = {
    "needs the Hub",
    "needs GPUs",
    "needs a package registry",
    "needs the model trained above",
    "needs the models trained above",
    "minutes of training",
    "hours of training",
    "minutes of measuring",
    "writes into the package",
}
# Page -> what is made smaller in its blocks, so that they run in seconds.
SMALLER = {
    "README.md": {"max_steps=100": "max_steps=2, use_cpu=True", "limit=100": "limit=12"},
    "docs/certify.md": {"--smooth 100": "--smooth 10", "samples=100": "samples=10"},
    "docs/tutorial.md": {'"train", 1600': '"train", 32', '"validation", 300': '"validation", 24'},
}
# Whose blocks train the packaged encoder rather than a tiny model.
SLOW = {"README.md", "docs/tutorial.md"}


def name_of(page):
    return page.relative_to(ROOT).as_posix()


def smaller(page, code):
    for written, instead in SMALLER.get(name_of(page), {}).items():
        code = code.replace(written, instead)
    return code


def test_what_is_made_smaller_is_in_the_pages():
    for name, changes in SMALLER.items():
        for written in changes:
            assert written in (ROOT / name).read_text("utf-8"), f"{name}: {written}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_blocks_say_what_they_are_and_parse(page):
    for block in blocks(page):
        assert block.language in (*RUN, *SHOWN), f"{block.where}: name the block's language"
        if block.reason is not None:
            assert block.language in RUN, f"{block.where}: only code is run or not"
            assert block.reason in REASONS, f"{block.where}: no such reason: {block.reason!r}"
        if block.language == "python":
            compile(block.code, block.where, "exec")
        if block.language == "bash":
            for words in commands(block.code):
                check_flags(words, block.where)


def test_blocks_and_reasons_are_understood():
    given = {block.reason for page in PAGES for block in blocks(page)} - {None}
    assert given == REASONS
    assert commands("for x in a b; do\n  X=1 hf-bat perturb \\\n --n 2  # two\ndone") == [
        ["hf-bat", "perturb", "--n", "2"]
    ]


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("hf-bat perturb --no-such-flag", "does not take"),
        ("hf-bat perturb ... --no-such-flag", "does not take"),
        ("accelerate launch --multi_gpu -m hf_bat.cli attack --no-such-flag", "does not take"),
        ("hf-bat sweep --base '--no_such_flag 1' --output_dir o", "no_such_flag"),
        ("hf-bat sweep --base '--task snli' --grid no_such_flag=1 --output_dir o", "no_such_flag"),
        ("torchrun examples/run_glue_bat.py ... --no_such_flag", "no_such_flag"),
        ("python examples/by_feature/lora.py --no_such_flag", "does not take"),
        ("python benchmarks/bench_tables.py --no-such-flag", "does not take"),
        ("python scripts/build_demo_data.py --no-such-flag", "does not take"),
        ("python -m hf_bat.sweep.train_run o/config.json", "not understood"),
        ("cd o && hf-bat demo", "not understood"),
        ("nohup python benchmarks/bench_tables.py t.pkl", "not understood"),
    ],
)
def test_a_command_of_ours_is_parsed_or_refused(command, says):
    with pytest.raises(AssertionError, match=says):
        check_flags(commands(command)[0], "here")


def test_commands_of_ours_are_told_from_others():
    for command in ("hf-bat demo ...", "accelerate launch -m hf_bat.cli demo",
                    "python benchmarks/bench_tables.py t.pkl",
                    "torchrun examples/run_glue_bat.py ..."):  # fmt: skip
        assert check_flags(commands(command)[0], "here"), command
    assert not check_flags(["pip", "install", "hf_bat[demo]"], "here")


@pytest.fixture(scope="session")
def working_folder(tmp_path_factory):
    """What the pages' commands find where they run: tiny models, a tiny encoder, a table, rows."""
    folder = tmp_path_factory.mktemp("docs")
    names = ("entailment", "neutral", "contradiction")
    for seed, name in enumerate(("model", "triplet")):
        model = tiny_model("bert", seed=seed)
        model.config.id2label = dict(enumerate(names))
        model.config.label2id = {label: i for i, label in enumerate(names)}
        model.save_pretrained(folder / name)
    tiny_model("bert").save_pretrained(folder / "encoder")  # whose labels have no names
    for name in ("model", "triplet", "encoder"):
        tokenizer_for_made_rows().save_pretrained(folder / name)
    for name, n, seed in (("train", 24, 0), ("dev", 16, 1)):
        lines = "".join(json.dumps(row) + "\n" for row in made_rows(n, seed))
        (folder / f"{name}.jsonl").write_text(lines)
    SYNONYMS.save(folder / "synonyms.json.gz")
    edited = [
        {**row, "original_idx": None if row["idx"] < 4 else row["idx"] % 4}
        for row in made_rows(12, 2)
    ]
    (folder / "contrast.jsonl").write_text("".join(json.dumps(row) + "\n" for row in edited))
    return folder


def has_work(page):
    return any(block.language in RUN and block.reason is None for block in blocks(page))


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=pytest.mark.slow if name_of(page) in SLOW else ())
        for page in PAGES
        if has_work(page)
    ],
    ids=name_of,
)
def test_blocks_run(page, request, working_folder, tmp_path, monkeypatch):
    if name_of(page) in SLOW:
        request.getfixturevalue("minilm")
    shutil.copytree(working_folder, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    namespace = {"__name__": "page"}
    for block in blocks(page):
        if block.reason is not None or block.language not in RUN:
            continue
        if block.language == "python":
            exec(compile(smaller(page, block.code), block.where, "exec"), namespace)
        else:
            for words in commands(smaller(page, block.code)):
                run_command(words, block.where)


def test_links_lead_to_files():
    for page in PAGES:
        for target in LINK.findall(page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{name_of(page)}: {target}"


def test_every_page_is_in_the_navigation():
    named = set(re.findall(r"[\w./-]+\.md", (ROOT / "mkdocs.yml").read_text("utf-8")))
    there = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert there == named


@pytest.mark.parametrize("module", PUBLIC)
def test_every_public_name_is_in_the_reference(module):
    text = "\n".join(p.read_text("utf-8") for p in (ROOT / "docs" / "reference").glob("*.md"))
    listed = [path.rsplit(".", 1) for path in re.findall(r"^::: ([\w.]+)$", text, re.M)]
    shown = [getattr(import_module(home), name) for home, name in listed]
    public = import_module(module)
    missing = [n for n in public.__all__ if not any(getattr(public, n) is one for one in shown)]
    assert not missing, f"not in docs/reference: {missing}"


def public_values():
    """Where a public name is found first -> its value: of `__all__`, and of the reference."""
    found = {}
    for module in PUBLIC:
        home = import_module(module)
        found.update((f"{module}.{name}", getattr(home, name)) for name in home.__all__)
    for page in sorted((ROOT / "docs" / "reference").glob("*.md")):
        for path in re.findall(r"^::: ([\w.]+)$", page.read_text("utf-8"), re.M):
            home, name = path.rsplit(".", 1)
            found[path] = getattr(import_module(home), name)
    firsts = {id(value): (path, value) for path, value in reversed(found.items())}
    return {path: value for path, value in firsts.values() if callable(value)}


def raises(value):
    """Whether a function, or what makes a class's instances, raises an error in its own body."""
    made_by = (vars(value).get(name) for name in ("__new__", "__init__", "__post_init__"))
    for function in made_by if isinstance(value, type) else [value]:
        if not inspect.isfunction(function):
            continue
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
        except OSError:  # what a data class is given
            continue
        raised = [node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise) and node.exc]
        made = [getattr(one, "func", one) for one in raised]
        if any(getattr(one, "id", "").endswith("Error") for one in made):
            return True
    return False


def missing_sections(value):
    """The sections that a docstring lacks, of those that its signature and body call for."""
    text = inspect.cleandoc(value.__doc__ or "")  # its own: none is inherited
    try:
        signature = inspect.signature(value)
    except ValueError:  # a class made in C
        signature = inspect.Signature()
    nothing = (None, "None", inspect.Signature.empty)
    there = set(re.findall(r"^(\w+):$", text, re.M))
    wanted = [{"Example"}]
    if signature.parameters:
        wanted.append({"Args", "Attributes"})  # a data class may have either
    # A first line that says what is returned is enough, as in Google's style guide.
    says_it = text.startswith(("Return ", "Yield "))
    if not isinstance(value, type) and signature.return_annotation not in nothing and not says_it:
        wanted.append({"Returns", "Yields"})
    if raises(value):
        wanted.append({"Raises"})
    return [" or ".join(sorted(names)) for names in wanted if not names & there]


def test_a_docstring_says_what_is_raised():
    class Positive:
        """One.

        Example:
            >>> Positive()
        """

        def __init__(self):
            raise ValueError("no")

    assert missing_sections(Positive) == ["Raises"]


# The values of now: a module of a metric's name takes the name's place in `hf_bat.metrics` when the doctests
# of the package import it.
@pytest.mark.parametrize(("path", "value"), public_values().items(), ids=public_values())
def test_every_public_name_has_a_whole_docstring(path, value):
    missing = missing_sections(value)
    assert not missing, f"{path}: its docstring lacks {', '.join(missing)}"


def notebook_script():
    path = ROOT / "scripts" / "make_notebook.py"
    spec = importlib.util.spec_from_file_location("make_notebook", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_notebook_is_the_tutorial():
    page, notebook = ROOT / "docs" / "tutorial.md", ROOT / "docs" / "tutorial.ipynb"
    made = notebook_script().make_notebook(page.read_text("utf-8"))
    assert made == notebook.read_text("utf-8"), "run python scripts/make_notebook.py"
    content = json.loads(made)
    code = ["".join(c["source"]) for c in content["cells"] if c["cell_type"] == "code"]
    assert code == [b.code.rstrip("\n") for b in blocks(page) if b.language == "python"]


@pytest.mark.slow
@pytest.mark.xdist_group("processes")
def test_the_notebook_runs(minilm, tmp_path):
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(ROOT / "docs" / "tutorial.ipynb", as_version=4)
    for cell in notebook.cells:
        cell.source = smaller(ROOT / "docs" / "tutorial.md", cell.source)
    client = nbclient.NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    )
    client.execute()
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", ())]
    assert not [out for out in outputs if out.output_type == "error"]
    assert any("this model" in out.get("text", "") for out in outputs)


@pytest.mark.slow
@pytest.mark.xdist_group("processes")
def test_the_documentation_builds(tmp_path):
    pytest.importorskip("mkdocstrings", reason='needs pip install -e ".[docs]"')
    pytest.importorskip("material", reason='needs pip install -e ".[docs]"')
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(tmp_path / "site")],
        capture_output=True, text=True, cwd=ROOT, timeout=300,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    page = (tmp_path / "site" / "reference" / "training" / "index.html").read_text("utf-8")
    assert "BalancedTrainer" in page and "https://fonts" not in page
