"""README and docs: every block runs or has a reason not to, links work, and the reference is complete."""

import ast
import dataclasses
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
from unittest import mock

import pytest
from doc_blocks import (
    ROOT,
    RUN,
    SHOWN,
    check_flags,
    list_blocks,
    list_commands,
    list_pages,
    run_command,
)
from tiny_models import tiny_model
from training_helpers import SYNONYMS, made_rows, tokenizer_for_made_rows

from hf_bat.counterfactual import RULES
from hf_bat.methods import METHODS

PAGES = list_pages()
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")
PUBLIC = ("hf_bat", "hf_bat.attack", "hf_bat.lexicon", "hf_bat.losses", "hf_bat.metrics",
          "hf_bat.perturbations", "hf_bat.plots", "hf_bat.evaluation.representations",
          "hf_bat.sweep")  # fmt: skip
# Allowed reasons for not running a block. Models and rows are in `working_folder`.
REASONS = {
    "needs the Hub",
    "needs an endpoint",
    "needs GPUs",
    "needs a package registry",
    "needs the model trained above",
    "needs the models trained above",
    "minutes of training",
    "hours of training",
    "minutes of measuring",
    "writes into the package",
}
# Page -> replacements that make its blocks run in seconds.
SMALLER = {
    "README.md": {
        '"train", 2400': '"train", 32',
        '"validation", 300': '"validation", 12',
        'report_to="none"': 'report_to="none", use_cpu=True',
    },
    "docs/howto/ci.md": {"synonym.asr>0.3": "synonym.asr>1", "f1<0.7": "f1<0"},
    "docs/certify.md": {"--smooth 100": "--smooth 10", "samples=100": "samples=10"},
    "docs/tutorial.md": {'"train", 2400': '"train", 32', '"validation", 300': '"validation", 24'},
}
# Pages whose blocks train the packaged encoder rather than a tiny model.
SLOW = {"README.md", "docs/tutorial.md"}


def name_page(page):
    return page.relative_to(ROOT).as_posix()


def shrink(page, code):
    for old, new in SMALLER.get(name_page(page), {}).items():
        code = code.replace(old, new)
    return code


def test_replacements_match_the_pages():
    for name, changes in SMALLER.items():
        for old in changes:
            assert old in (ROOT / name).read_text("utf-8"), f"{name}: {old}"


@pytest.mark.parametrize("page", PAGES, ids=name_page)
def test_blocks_say_what_they_are_and_parse(page):
    for block in list_blocks(page):
        assert block.language in (*RUN, *SHOWN), f"{block.where}: name the block's language"
        if block.reason is not None:
            assert block.language in RUN, f"{block.where}: only code is run or not"
            assert block.reason in REASONS, f"{block.where}: unknown reason: {block.reason!r}"
        if block.language == "python":
            compile(block.code, block.where, "exec")
        if block.language == "bash":
            for words in list_commands(block.code):
                check_flags(words, block.where)


@pytest.mark.parametrize("page", PAGES, ids=name_page)
def test_blocks_fit_on_a_narrow_screen(page):
    for block in list_blocks(page):
        is_drawing = "│" in block.code
        wide = [line for line in block.code.splitlines() if len(line) > 80]
        assert is_drawing or not wide, f"{block.where}: wider than 80 columns: {wide}"


def test_blocks_and_reasons_are_understood():
    reasons = {block.reason for page in PAGES for block in list_blocks(page)} - {None}
    assert reasons == REASONS
    assert list_commands("for x in a b; do\n  X=1 hf-bat perturb \\\n --n 2  # two\ndone") == [
        ["hf-bat", "perturb", "--n", "2"]
    ]


@pytest.mark.parametrize(
    ("command", "keyword"),
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
        ("python -m hf_bat.sweep.worker o/config.json", "not understood"),
        ("cd o && hf-bat demo", "not understood"),
        ("nohup python benchmarks/bench_tables.py t.pkl", "not understood"),
    ],
)
def test_wrong_flags_are_found(command, keyword):
    with pytest.raises(AssertionError, match=keyword):
        check_flags(list_commands(command)[0], "here")


def test_our_commands_are_recognized():
    for command in ("hf-bat demo ...", "accelerate launch -m hf_bat.cli demo",
                    "python benchmarks/bench_tables.py t.pkl",
                    "torchrun examples/run_glue_bat.py ..."):  # fmt: skip
        assert check_flags(list_commands(command)[0], "here"), command
    assert not check_flags(["pip", "install", "hf_bat[demo]"], "here")


@pytest.fixture(scope="session")
def working_folder(tmp_path_factory):
    """Return a folder with files used by the pages: tiny models, a tiny encoder, a table and rows."""
    folder = tmp_path_factory.mktemp("docs")
    names = ("entailment", "neutral", "contradiction")
    # Seeds of models that correctly classify rows with antonyms.
    for seed, name in ((1, "model"), (5, "triplet")):
        model = tiny_model("bert", seed=seed)
        model.config.id2label = dict(enumerate(names))
        model.config.label2id = {label: i for i, label in enumerate(names)}
        model.save_pretrained(folder / name)
    tiny_model("bert").save_pretrained(folder / "encoder")  # without label names
    for name in ("model", "triplet", "encoder"):
        tokenizer_for_made_rows().save_pretrained(folder / name)
    for name, count, seed in (("train", 24, 0), ("dev", 16, 1)):
        lines = "".join(json.dumps(row) + "\n" for row in made_rows(count, seed))
        (folder / f"{name}.jsonl").write_text(lines)
    SYNONYMS.save(folder / "synonyms.json.gz")
    edited = [
        {**row, "original_idx": None if row["idx"] < 4 else row["idx"] % 4}
        for row in made_rows(12, 2)
    ]
    (folder / "contrast.jsonl").write_text("".join(json.dumps(row) + "\n" for row in edited))
    (folder / "heuristics_evaluation_set.txt").write_text(
        "gold_label\tsentence1\tsentence2\theuristic\n"
        "non-entailment\tThe cook saw the judge .\tThe judge saw the cook .\tlexical_overlap\n"
        "entailment\tThe cook slept .\tThe cook slept .\tsubsequence\n"
    )
    return folder


def has_runnable_block(page):
    return any(block.language in RUN and block.reason is None for block in list_blocks(page))


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=pytest.mark.slow if name_page(page) in SLOW else ())
        for page in PAGES
        if has_runnable_block(page)
    ],
    ids=name_page,
)
def test_blocks_run(page, request, working_folder, tmp_path, monkeypatch):
    if name_page(page) in SLOW:
        request.getfixturevalue("minilm")
    shutil.copytree(working_folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "docs").symlink_to(ROOT / "docs")  # commands for saved runs read from there
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    namespace = {"__name__": "page"}
    # Rules and methods that a page registers must not affect later tests.
    with mock.patch.dict(METHODS), mock.patch.dict(RULES):
        for block in list_blocks(page):
            if block.reason is not None or block.language not in RUN:
                continue
            if block.language == "python":
                exec(compile(shrink(page, block.code), block.where, "exec"), namespace)
            else:
                for words in list_commands(shrink(page, block.code)):
                    run_command(words, block.where)


def test_links_point_to_files():
    for page in PAGES:
        for target in LINK.findall(page.read_text("utf-8")):
            if target == "../../issues":  # GitHub and GitLab resolve it to the repository's issues
                continue
            assert (page.parent / target).exists(), f"{name_page(page)}: {target}"


def test_every_page_is_in_the_navigation():
    listed = set(re.findall(r"[\w./-]+\.md", (ROOT / "mkdocs.yml").read_text("utf-8")))
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert pages == listed


@pytest.mark.parametrize("module", PUBLIC)
def test_every_public_name_is_in_the_reference(module):
    text = "\n".join(p.read_text("utf-8") for p in (ROOT / "docs" / "reference").glob("*.md"))
    listed = [path.rsplit(".", 1) for path in re.findall(r"^::: ([\w.]+)$", text, re.M)]
    shown = [getattr(import_module(home), name) for home, name in listed]
    public = import_module(module)
    missing = [n for n in public.__all__ if not any(getattr(public, n) is value for value in shown)]
    assert not missing, f"not in docs/reference: {missing}"


def list_public_values():
    """Return the public functions and classes by path, from `__all__` and from the reference."""
    values = {}
    for module in PUBLIC:
        home = import_module(module)
        values.update((f"{module}.{name}", getattr(home, name)) for name in home.__all__)
    for page in sorted((ROOT / "docs" / "reference").glob("*.md")):
        for path in re.findall(r"^::: ([\w.]+)$", page.read_text("utf-8"), re.M):
            home, name = path.rsplit(".", 1)
            values[path] = getattr(import_module(home), name)
    # A value with several paths is listed under the first one.
    firsts = {id(value): (path, value) for path, value in reversed(values.items())}
    return {path: value for path, value in firsts.values() if callable(value)}


def has_raise(value):
    """Return whether the body of a function, or of a class's constructors, raises an error."""
    constructors = (vars(value).get(name) for name in ("__new__", "__init__", "__post_init__"))
    for function in constructors if isinstance(value, type) else [value]:
        if not inspect.isfunction(function):
            continue
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
        except OSError:  # generated for a data class
            continue
        raised = [node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise) and node.exc]
        errors = [getattr(node, "func", node) for node in raised]
        if any(getattr(node, "id", "").endswith("Error") for node in errors):
            return True
    return False


def list_missing_sections(value):
    """Return the sections that are missing in a docstring, given the signature and body."""
    text = inspect.cleandoc(value.__doc__ or "")  # not inherited, unlike inspect.getdoc
    try:
        signature = inspect.signature(value)
    except ValueError:  # a class written in C
        signature = inspect.Signature()
    nothing = (None, "None", inspect.Signature.empty)
    present = set(re.findall(r"^(\w+):$", text, re.M))
    # Records that are created by the package and only read by users need no example.
    is_record = dataclasses.is_dataclass(value) or hasattr(value, "_fields")
    required = [] if is_record else [{"Example"}]
    if signature.parameters:
        required.append({"Args", "Attributes"})  # a data class may have either
    # A first line that describes the returned value is enough, as in Google's style guide.
    says_it = text.startswith(("Return ", "Yield "))
    if not isinstance(value, type) and signature.return_annotation not in nothing and not says_it:
        required.append({"Returns", "Yields"})
    if has_raise(value):
        required.append({"Raises"})
    return [" or ".join(sorted(names)) for names in required if not names & present]


def test_a_docstring_names_what_is_raised():
    class Positive:
        """A number.

        Example:
            >>> Positive()
        """

        def __init__(self):
            raise ValueError("no")

    assert list_missing_sections(Positive) == ["Raises"]


# The values are taken now, because doctests import modules of `hf_bat.metrics` that replace the functions of
# the same name.
@pytest.mark.parametrize(("path", "value"), list_public_values().items(), ids=list_public_values())
def test_every_public_name_has_a_complete_docstring(path, value):
    missing = list_missing_sections(value)
    assert not missing, f"{path}: the docstring lacks {', '.join(missing)}"


def load_notebook_script():
    path = ROOT / "scripts" / "make_notebook.py"
    spec = importlib.util.spec_from_file_location("make_notebook", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_notebook_is_the_tutorial():
    page, notebook = ROOT / "docs" / "tutorial.md", ROOT / "docs" / "tutorial.ipynb"
    script = load_notebook_script()
    expected, content = (
        script.make_notebook(page.read_text("utf-8")),
        json.loads(notebook.read_text()),
    )
    cells = script.list_code_cells(content)
    outputs = [cell["outputs"] for cell in cells]
    for cell in cells:
        cell |= {"execution_count": None, "outputs": []}
    assert content == expected, "run python scripts/make_notebook.py"
    code = ["".join(cell["source"]) for cell in cells]
    for source, shown in zip(code, outputs, strict=True):
        assert bool(shown) or "print(" not in source, f"run make_notebook.py --run: {source}"
        assert not [out for out in shown if out["output_type"] == "error"]
    # The page shows the output of the notebook.
    printed = "".join("".join(out.get("text", "")) for shown in outputs for out in shown)
    for block in list_blocks(page):
        if block.language == "text":
            # Long lines are wrapped on the page.
            assert all(line.strip() in printed for line in block.code.splitlines()), block.where
    assert code == [b.code.rstrip("\n") for b in list_blocks(page) if b.language == "python"]


@pytest.mark.slow
@pytest.mark.xdist_group("processes")
def test_the_notebook_runs(minilm, tmp_path):
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(ROOT / "docs" / "tutorial.ipynb", as_version=4)
    for cell in notebook.cells:
        cell.source = shrink(ROOT / "docs" / "tutorial.md", cell.source)
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
