"""Modules only import from the same or earlier rooms, without circular imports."""

import ast
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "hf_bat"
# A room is a module or folder at the top level. Rooms on the same line may import each other.
ORDER = """
errors version text stats files console
lexicon
perturbations canonicalize
reading tasks labels data metrics
counterfactual
augment streams
losses
methods objective pooling collator device loading
attack
certificate evaluation
callbacks a2t training_args
sources saved_perturbations preview model_card checkpoints
trainer
plots run_arguments
finetune
sweep demo
report
commands
cli
"""
LEVELS = {room: level for level, line in enumerate(ORDER.split("\n")) for room in line.split()}


@cache
def read_imports() -> dict[str, set[str]]:
    """Return the package modules that each module imports, including in functions and for types."""
    paths = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        paths[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    imports: dict[str, set[str]] = {}
    for module, path in paths.items():
        imports[module] = set()
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.module and not node.level, f"{path}: relative import"
                # `from hf_bat.attack import engine` imports a module, but `... import Attack` a package.
                members = [f"{node.module}.{alias.name}" for alias in node.names]
                names = [name if name in paths else node.module for name in members]
            else:
                continue
            imports[module] |= {name for name in names if name in paths} - {module}
    return imports


def name_room(module: str) -> str:
    """Return the room of a module."""
    return module.split(".")[1]


def list_later_imports() -> list[tuple[str, str]]:
    """Return (importing module, imported module) for all imports from a later room."""
    return [
        (module, other)
        for module, others in read_imports().items()
        for other in others
        if module != "hf_bat"
        and (other == "hf_bat" or LEVELS[name_room(module)] < LEVELS[name_room(other)])
    ]


def test_every_module_has_a_room():
    assert {name_room(module) for module in read_imports() if module != "hf_bat"} <= set(LEVELS)


def test_no_module_imports_a_later_room():
    assert list_later_imports() == []


def test_no_import_is_part_of_a_circle():
    # The public names of `hf_bat` are loaded on first use, so no module may depend on them.
    graph = {module: others for module, others in read_imports().items() if module != "hf_bat"}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"import circle: {' -> '.join(error.args[1])}")
