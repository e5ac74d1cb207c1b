"""The frame of the command line: help, errors, exit statuses and fast startup.

Arguments that a command must refuse are in `bad_calls/commands.py`.
"""

import shutil
import subprocess
import sys
import time
from importlib import import_module
from types import SimpleNamespace

import pytest

from hf_bat import HfBatError, __version__, cli
from hf_bat.sweep import make_grid, parse_flags
from hf_bat.tasks import build_task


@pytest.fixture
def fake_command(monkeypatch):
    """Register a subcommand `fake` that calls a function or raises an error."""

    def register(run):
        def raise_error(args):
            raise run

        module = SimpleNamespace(
            HELP="a fake command",
            EPILOG="example:\n  hf-bat fake",
            add_arguments=lambda parser: None,
            run=raise_error if isinstance(run, BaseException) else run,
        )
        monkeypatch.setitem(sys.modules, "hf_bat.commands.fake", module)
        monkeypatch.setitem(cli.COMMANDS, "fake", "a fake command")

    return register


def test_help_is_fast_and_imports_no_framework():
    code = (
        "import sys\nfrom hf_bat.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "heavy = [n for n in ('torch', 'transformers', 'datasets', 'numpy') if n in sys.modules]\n"
        "assert not heavy, heavy\n"
    )
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        seconds.append(time.perf_counter() - start)
        assert done.returncode == 0, done.stderr
        assert "demo" in done.stdout and "examples:" in done.stdout
    assert min(seconds) < 1.0


@pytest.mark.parametrize("name", sorted(cli.COMMANDS))
def test_help_of_each_command_has_an_example(name, capsys):
    module = import_module(f"hf_bat.commands.{name}")
    assert module.HELP and f"hf-bat {name}" in module.EPILOG
    with pytest.raises(SystemExit) as end:
        cli.main([name, "--help"])
    assert end.value.code == 0
    assert f"hf-bat {name}" in capsys.readouterr().out


@pytest.mark.parametrize("action", ["build", "convert", "info", "push"])
def test_help_of_each_action_has_its_own_example(action, capsys):
    with pytest.raises(SystemExit):
        cli.main(["lexicon", action, "--help"])
    _, examples = capsys.readouterr().out.split("examples:\n")
    assert f"  hf-bat lexicon {action} " in examples


def test_modules_of_other_commands_are_not_imported(monkeypatch, fake_command):
    fake_command(lambda args: 0)
    monkeypatch.setitem(cli.COMMANDS, "no_such_module", "its import would fail")
    assert cli.main(["fake"]) == 0


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_knows_every_command_and_its_options(shell, tmp_path, capsys):
    pytest.importorskip("shtab")
    with pytest.raises(SystemExit) as end:
        cli.main(["--completion", shell])
    script = capsys.readouterr().out
    assert end.value.code == 0 and all(name in script for name in cli.COMMANDS)
    for option in ("--fail-if", "--learning_rate", "--dry_run"):
        assert option in script
    if shell == "bash" and (bash := shutil.which("bash")):
        # Complete `hf-bat attack --fail` as a shell does.
        lines = (
            f"{script}\nCOMP_WORDS=(hf-bat attack --fail); COMP_CWORD=2; COMP_LINE='hf-bat attack --fail'\n"
            'COMP_POINT=${#COMP_LINE}; _shtab_hf_bat hf-bat --fail attack; echo "<${COMPREPLY[*]}>"\n'
        )
        done = subprocess.run([bash, "-c", lines], capture_output=True, text=True)
        assert "<--fail-if>" in done.stdout, done.stderr


def test_version_and_list(capsys):
    for option, expected in (
        ("--version", [__version__]),
        ("--list", ["premise + hypothesis", "method  triplet"]),
    ):
        with pytest.raises(SystemExit) as end:
            cli.main([option])
        assert end.value.code == 0
        printed = capsys.readouterr().out
        assert all(text in printed for text in expected)


def test_no_command_prints_the_help(capsys):
    assert cli.main([]) == 0
    assert "commands:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (HfBatError("unknown task 'snlii';\n known: snli"), "unknown task 'snlii'; known: snli"),
        (FileNotFoundError(2, "No such file", "absent.json"), "absent.json: No such file"),
        (NotADirectoryError(20, "Not a directory", "a/x.json"), "a/x.json: Not a directory"),
        (OSError(28, "No space left on device", "x.json"), "x.json: No space left on device"),
        (OSError("the connection\nbroke"), "the connection broke"),
        (TimeoutError(), "TimeoutError"),
    ],
)
def test_errors_of_input_and_system_are_one_line_and_status_2(fake_command, capsys, error, line):
    fake_command(error)
    assert cli.main(["fake"]) == 2
    assert capsys.readouterr().err == f"hf-bat: error: {line}\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["attack", "--model", "m", "--rows", "kept.jsonl"], "kept.jsonl"),
        (["attack", "--model", "m"], "--rows"),
        (["certify", "--model", "m", "--rows", "kept.jsonl"], "kept.jsonl"),
        (["certify", "--model", "m"], "--rows"),
        (["train", "--output_dir", "o", "--model_name_or_path", "m"], "--resume_from_checkpoint"),
        (["sweep", "--base", "--task snli", "--output_dir", "o"], "same command"),
    ],
)
def test_an_interrupted_command_says_how_to_continue(arguments, told, monkeypatch, capsys):
    def interrupt(args):
        raise KeyboardInterrupt

    monkeypatch.setattr(import_module(f"hf_bat.commands.{arguments[0]}"), "run", interrupt)
    assert cli.main(arguments) == 130
    [line] = capsys.readouterr().err.splitlines()
    assert told in line


def test_interruption_has_its_status_and_bugs_are_raised(fake_command):
    fake_command(KeyboardInterrupt())
    assert cli.main(["fake"]) == 130
    fake_command(ValueError("a bug"))
    with pytest.raises(ValueError, match="a bug"):
        cli.main(["fake"])


def test_a_process_exits_with_status_1_only_for_a_met_condition():
    code = (
        "import sys\nfrom types import SimpleNamespace\nfrom hf_bat import cli\n"
        "def run(args):\n    raise ValueError('of a model')\n"
        "sys.modules['hf_bat.commands.fake'] = SimpleNamespace(\n"
        "    HELP='', EPILOG='', add_arguments=lambda parser: None, run=run)\n"
        "cli.COMMANDS['fake'] = ''\nsys.argv = ['hf-bat', 'fake']\nsys.exit(cli.main())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert "Traceback" in done.stderr and "of a model" in done.stderr


def test_a_reader_that_stops_early_is_not_an_error():
    code = (
        "import sys\nfrom types import SimpleNamespace\nfrom hf_bat import cli\n"
        "def run(args):\n    for i in range(200_000):\n        print(i)\n    return 0\n"
        "sys.modules['hf_bat.commands.fake'] = SimpleNamespace(HELP='h', EPILOG='e',"
        " add_arguments=lambda p: None, run=run)\n"
        "cli.COMMANDS['fake'] = 'h'\n"
        "sys.exit(cli.main(['fake']))\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdout and child.stderr
    assert child.stdout.readline() == "0\n"
    child.stdout.close()
    assert child.wait(timeout=60) == 141
    assert child.stderr.read() == ""


def test_a_reader_that_stops_before_the_list_is_not_an_error():
    child = subprocess.Popen(
        [sys.executable, "-m", "hf_bat.cli", "--list"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert child.stdout is not None and child.stderr is not None
    child.stdout.close()
    assert child.stderr.read() == b""
    assert child.wait() == 141


def test_a_sweep_reads_the_flags_of_a_user_task():
    base = "--model_name_or_path m --columns text --label_column gold --class_names a b --skipped_labels a"
    (run,) = make_grid(parse_flags(base), {})
    task = build_task(run.arguments)
    assert (task.label_column, task.label_names) == ("gold", ("a", "b"))
    assert (task.columns, task.skipped_labels) == (("text",), ("a",))
