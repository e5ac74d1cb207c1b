"""What README and docs show: code that runs or at least parses, links that lead somewhere."""

import re
import shlex

import pytest

FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")
PAGES = ("README.md", "examples/README.md", "docs")


def pages(repository):
    for name in PAGES:
        path = repository / name
        yield from sorted(path.rglob("*.md")) if path.is_dir() else [path]


def test_python_blocks_parse(repository):
    blocks = 0
    for page in pages(repository):
        for language, code in FENCE.findall(page.read_text("utf-8")):
            if language == "python":
                compile(code, str(page), "exec")
                blocks += 1
    assert blocks >= 5


def test_links_lead_to_files(repository):
    for page in pages(repository):
        for target in LINK.findall(page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_commands_of_hf_bat_take_the_flags_that_are_shown(repository):
    from hf_bat.cli import COMMANDS, build_parser

    shown = 0
    for page in pages(repository):
        for _, block in FENCE.findall(page.read_text("utf-8")):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True) if line.startswith("hf-bat ") else []
                if len(words) < 2 or words[1] not in COMMANDS:
                    continue
                parser = build_parser(words[1])
                try:
                    parser.parse_args(words[1:])
                except SystemExit as stop:
                    assert stop.code == 0, f"{page.name}: {line}"
                shown += 1
    assert shown >= 4


@pytest.mark.slow
def test_the_readme_example_runs(repository, minilm, tmp_path, monkeypatch, capsys):
    (code,) = (
        code
        for language, code in FENCE.findall((repository / "README.md").read_text("utf-8"))
        if language == "python"
    )
    assert "max_steps=100" in code and "limit=100" in code
    code = code.replace("max_steps=100", "max_steps=2, use_cpu=True").replace(
        "limit=100", "limit=12"
    )
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})
    printed = capsys.readouterr().out
    assert "->" in printed and "rows with a valid draw" in printed
