"""Measure the readability of the package: size, names, comments, English and import cycles.

Run it on the full package or on given files: `python scripts/measure_code.py [PATH ...]`. With
`--list NAME`, it prints the places behind a figure (`markers`, `names` or `comments`).
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parents[1] / "hf_bat"
METHODS = {"normal", "safer", "a2t", "pairwise", "triplet", "likelihood"}

# Phrases that a maintainer would not write today. Each is a rough test, and a few hits are ordinary
# English, so only the number per 1,000 words is meaningful.
MARKERS = re.compile(
    r"""(?:^|(?<=[.:;]\s))Of\s            # "Of the rows under evaluation, ..."
    | (?:^|(?<=[.;]\s))What\s             # a "what" clause as a subject
    | \balone\b | \banew\b | \blikewise\b | \bhereof\b | \bthereof\b | \bwhereof\b | \bwherein\b
    | \b(?:stands?|stood)\b
    | ,\sfor\s(?:it|they|the|a|an|its|their|that|this|there|no|each)\b   # "for" as "because"
    | \bwhere\sNone\b | \bwhere\s(?:there|it|they|one|that|none|nothing)\s(?:is|are|has|have)\b
    | \b(?:none|nothing|no\s\w+)\sis\s(?:given|named|there|asked|known)\b
    | \bso\s(?:many|much|few)\b(?!\sthat|\sas)
    | \bpass(?:es|ed)?\s\w+\s(?:\w+\s)?by\b
    | \bbe\s(?:it|they)\b | \bnor\b | \ball\selse\b | \bthat\sthere\sis\b
    | \bis\sno\s\w+ | \bare\sno\s\w+\b(?<!are\sno\sneed)
    | \bone's\sown\b | \bof\s(?:its|their|your)\sown\b | \ba\suser's\sown\b
    | \bin\s(?:the|its|their)\splace(?:\sof)?\b | \bnothing\sbut\b | \ball\sbut\b
    | \bby\sits(?:elf|\sname)\b | \bthose\sof\b | \bthat\sof\b | \bwho(?:ever|m)\b
    | \bmust\snot\sbe\sof\b | \bas\sthere\sare\b | \bfrom\shere\son\b | \bgo(?:es)?\son\b
    """,
    re.VERBOSE | re.MULTILINE,
)
VERBS = """accept adapt add adjust align allow apply append ask assert attack average backward balance
batch bind blend bound build call cancel canonicalize cap capture cast catch certify change
    check choose clamp clean clear clip close collate collect combine compare compile complete
compute configure connect convert copy count cover create cut cycle decide declare decode
deduplicate define delete derive describe detach detect digest disable discard distribute
download drain draw drop edit embed emit enable encode end ensure enter enumerate escape
estimate evaluate exclude execute exit expand expect explain export extend extract fail fall
feed fetch fill filter find finish fit fix flatten flip follow forget format forward gather
generate get give group guard guess handle hash have hide hold identify ignore import include
index infer init insert inspect install interleave invert iterate join keep label last launch
leave limit link list load locate log look lower make map mark mask match mean measure merge
    mix move name negate normalize note number obtain open order pack pad parse pass patch pick
pin plan plot pool pop prefer prepare preview print protect prove pull push put raise rank
read rebuild receive recompute reconcile record reduce refuse register reject release reload
remember remove rename render reorder repeat replace report request require reset resolve
    restore restrict resume retry return revert rewrite round run sample save scale scan schedule
score search see select send separate serialize set settle shard share shift shorten show
shuffle simplify singularize size skip slice smooth sort split spread stack stamp start stop
store stream strip submit substitute sum summarize swap switch synchronize take tell test tie
tile tokenize toggle touch track train transform translate trim truncate try turn uncase undo
unpack unwrap update upload use validate verify visit wait walk warn watch weigh widen
work wrap write yield"""
PREFIXES = {"is", "has", "can", "should", "needs", "to", "from", "as", "on", "with", "without"}


def list_files(paths: list[str]) -> list[Path]:
    """Return the Python files at or below `paths`, or in the full package if `paths` is empty."""
    roots = [Path(path) for path in paths] or [PACKAGE]
    return sorted(f for root in roots for f in ([root] if root.is_file() else root.rglob("*.py")))


def list_comments(source: str) -> list[tuple[int, str]]:
    """Return (line, text) of each comment, without tool directives."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return [
        (token.start[0], token.string.lstrip("#: "))
        for token in tokens
        if token.type == tokenize.COMMENT and not re.match(r"#\s*(type:|noqa|fmt:)", token.string)
    ]


def list_strings(tree: ast.AST) -> Iterator[tuple[int, str, bool]]:
    """Yield (line, text, is a docstring) of each string that people read."""
    docstrings = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            text = ast.get_docstring(node)
            if text:
                docstrings.add(id(node.body[0].value))  # type: ignore[attr-defined]
                yield node.body[0].lineno, re.sub(r"(?m)^\s*(>>>|\.\.\.).*$", "", text), True
    for node in ast.walk(tree):
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if is_text and id(node) not in docstrings and len(node.value.split()) > 3:
            yield node.lineno, node.value, False


def is_verb_name(name: str) -> bool:
    """Return whether a function name starts with a verb or a common prefix such as `is`."""
    words = name.strip("_").split("_")
    return words[0] in VERBS.split() or words[0] in PREFIXES


def list_functions(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield (line, name) of each function, except for properties and special methods."""
    for node in ast.walk(tree):
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        decorators = {ast.unparse(d).split("(")[0].split(".")[-1] for d in node.decorator_list}
        if decorators & {"property", "cached_property"} or node.name.startswith("__"):
            continue
        yield node.lineno, node.name


def find_imports(path: Path, tree: ast.AST, modules: set[str]) -> set[str]:
    """Return the modules of the package that a file imports, including those below TYPE_CHECKING."""
    found = set()
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names] + [node.module]
        found |= {name for name in names if name in modules}
    return found


def find_circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Find groups of modules that import each other, directly or indirectly (Tarjan)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    circles = []

    def visit(module: str) -> None:
        order[module] = low[module] = len(order)
        stack.append(module)
        for other in sorted(graph[module]):
            if other not in order:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], order[other])
        if low[module] == order[module]:
            group = stack[stack.index(module) :]
            del stack[stack.index(module) :]
            if len(group) > 1:
                circles.append(sorted(group))

    for module in sorted(graph):
        if module not in order:
            visit(module)
    return circles


def name_module(path: Path) -> str:
    """Return the dotted module name of a file below the parent of the package."""
    try:
        parts = path.resolve().relative_to(PACKAGE.parent).with_suffix("").parts
    except ValueError:
        parts = (path.stem,)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def measure(paths: list[str]) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """Measure the Python files at or below the given paths.

    Args:
        paths: Files or folders. If empty, the full package is measured.

    Returns:
        Figures by name, and the places behind them: `markers`, `names` and `comments`.
    """
    lines = code_lines = words = markers = docstrings = marked = functions = verbs = 0
    naming = set()
    places: dict[str, list[str]] = {"markers": [], "names": [], "comments": []}
    sources = {path: path.read_text("utf-8") for path in list_files(paths)}
    trees = {path: ast.parse(source) for path, source in sources.items()}
    for path, source in sources.items():
        tree = trees[path]
        lines += source.count("\n")
        covered: set[int] = set()
        for node in ast.walk(tree):
            has_body = isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
            if has_body and ast.get_docstring(node) is not None:
                covered |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
            if isinstance(node, ast.Constant) and node.value in METHODS:
                naming.add(name_module(path))
        covered |= {
            number
            for number, line in enumerate(source.split("\n"), 1)
            if not line.strip() or line.strip().startswith("#")
        }
        code_lines += source.count("\n") + 1 - len(covered)
        comments = list_comments(source)
        places["comments"] += [f"{path}:{line}: {text}" for line, text in comments]
        spoken = [(line, text, False) for line, text in comments] + list(list_strings(tree))
        for line, text, is_docstring in spoken:
            hits = list(MARKERS.finditer(text))
            words += len(text.split())
            markers += len(hits)
            docstrings += is_docstring
            marked += is_docstring and bool(hits)
            for hit in hits:
                around = " ".join(text[max(0, hit.start() - 30) : hit.end() + 30].split())
                places["markers"].append(f"{path}:{line}: [{hit[0].strip()}] ...{around}...")
        for line, name in list_functions(tree):
            functions += 1
            verbs += is_verb_name(name)
            if not is_verb_name(name):
                places["names"].append(f"{path}:{line}: {name}")
    modules = {name_module(path) for path in sources}
    graph = {name_module(p): find_imports(p, trees[p], modules) - {name_module(p)} for p in sources}
    figures = {
        "files": len(sources),
        "lines": lines,
        "code lines": code_lines,
        "comments per 100 code lines": 100 * len(places["comments"]) / max(1, code_lines),
        "archaic turns per 1,000 words": 1000 * markers / max(1, words),
        "docstrings with one, in percent": 100 * marked / max(1, docstrings),
        "function names that begin with a verb, in percent": 100 * verbs / max(1, functions),
        "modules that name a method": sorted(naming),
        "import circles": find_circles(graph),
    }
    return figures, places


def main() -> None:
    """Print the figures, or the places behind one of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("paths", nargs="*")
    parser.add_argument("--list", choices=["markers", "names", "comments"])
    args = parser.parse_args()
    figures, places = measure(args.paths)
    if args.list:
        print("\n".join(places[args.list]))
        return
    for name, value in figures.items():
        if isinstance(value, list):
            value = f"{len(value)}: {', '.join(map(str, value))}" if value else "none"
        print(f"{name}: {value:.1f}" if isinstance(value, float) else f"{name}: {value}")


if __name__ == "__main__":
    main()
