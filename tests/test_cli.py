"""The command line's frame: help, errors, exit statuses, and that it stays light."""

import subprocess
import sys
import time
from importlib import import_module
from types import SimpleNamespace

import pytest

from hf_bat import HfBatError, __version__, cli


@pytest.fixture
def fake_command(monkeypatch):
    """Registers a subcommand `fake` whose `run` is the function given."""

    def register(run):
        module = SimpleNamespace(
            HELP="does it", EPILOG="example:\n  hf-bat fake", add_arguments=lambda p: None, run=run
        )
        monkeypatch.setitem(sys.modules, "hf_bat.commands.fake", module)
        monkeypatch.setitem(cli.COMMANDS, "fake", ("hf_bat.commands.fake", "a fake command"))

    return register


def raising(error):
    def run(args):
        raise error

    return run


def test_help_is_quick_and_imports_no_framework():
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
def test_every_command_exists_and_its_help_has_an_example(name, capsys):
    module = import_module(cli.COMMANDS[name][0])
    assert module.HELP and f"hf-bat {name}" in module.EPILOG
    with pytest.raises(SystemExit) as end:
        cli.main([name, "--help"])
    assert end.value.code == 0
    assert f"hf-bat {name}" in capsys.readouterr().out


@pytest.mark.parametrize("action", ["build", "convert", "info", "push"])
def test_the_help_of_each_action_has_its_own_example(action, capsys):
    with pytest.raises(SystemExit):
        cli.main(["lexicon", action, "--help"])
    _, examples = capsys.readouterr().out.split("examples:\n")
    lines = [line for line in examples.splitlines() if "hf-bat" in line]
    assert lines and all(line.startswith(f"  hf-bat lexicon {action} ") for line in lines)


def test_other_commands_modules_are_not_imported(monkeypatch, fake_command):
    fake_command(lambda args: 0)
    monkeypatch.setitem(cli.COMMANDS, "broken", ("hf_bat.commands.no_such_module", "not there"))
    assert cli.main(["fake"]) == 0


def test_version_and_list(capsys):
    for flag, expected in (
        ("--version", [__version__]),
        ("--list", ["premise + hypothesis", "method  triplet"]),
    ):
        with pytest.raises(SystemExit) as end:
            cli.main([flag])
        assert end.value.code == 0
        printed = capsys.readouterr().out
        assert all(text in printed for text in expected)


def test_no_command_prints_the_help(capsys):
    assert cli.main([]) == 0
    assert "commands:" in capsys.readouterr().out


def test_bad_input_is_one_line_and_status_2(fake_command, capsys):
    fake_command(raising(HfBatError("unknown task 'snlii';\n known: snli")))
    assert cli.main(["fake"]) == 2
    assert capsys.readouterr().err == "hf-bat: error: unknown task 'snlii'; known: snli\n"


def test_missing_file_is_named(fake_command, capsys, tmp_path):
    def run(args):
        (tmp_path / "absent.json").read_text()

    fake_command(run)
    assert cli.main(["fake"]) == 2
    assert "absent.json: No such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (
            NotADirectoryError(20, "Not a directory", "afile/x.json"),
            "afile/x.json: Not a directory",
        ),
        (OSError(28, "No space left on device", "x.json"), "x.json: No space left on device"),
        (OSError("the connection\nbroke"), "the connection broke"),
        (TimeoutError(), "TimeoutError"),
    ],
)
def test_what_the_system_refuses_is_one_line(fake_command, capsys, error, says):
    fake_command(raising(error))
    assert cli.main(["fake"]) == 2
    assert capsys.readouterr().err == f"hf-bat: error: {says}\n"


@pytest.mark.parametrize("arguments", [["nonsense"], ["demo", "--nonsense"], ["--nonsense"]])
def test_bad_arguments_are_one_line_and_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("hf-bat") and "nonsense" in error and error.count("\n") == 1


def test_interruption_and_bugs(fake_command, capsys):
    fake_command(raising(KeyboardInterrupt()))
    assert cli.main(["fake"]) == 130
    fake_command(raising(ValueError("a bug of ours")))
    with pytest.raises(ValueError, match="a bug of ours"):
        cli.main(["fake"])


def test_closed_pipe_is_quiet():
    code = (
        "import sys\nfrom types import SimpleNamespace\nfrom hf_bat import cli\n"
        "def run(args):\n    for i in range(200_000):\n        print(i)\n    return 0\n"
        "sys.modules['fake'] = SimpleNamespace(HELP='h', EPILOG='e',"
        " add_arguments=lambda p: None, run=run)\n"
        "cli.COMMANDS['fake'] = ('fake', 'h')\n"
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


def test_a_reader_that_leaves_a_list_early_is_no_error():
    lister = subprocess.Popen(
        [sys.executable, "-m", "hf_bat.cli", "--list"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert lister.stdout is not None and lister.stderr is not None
    lister.stdout.close()
    assert lister.stderr.read() == b""
    assert lister.wait() == 141


def test_labels_to_skip_need_the_names_of_all(tmp_path, capsys):
    rows = tmp_path / "rows.csv"
    rows.write_text("text,label\nA good day.,good\n")
    assert (
        cli.main(["perturb", "--columns", "text", "--data", str(rows), "--skipped-labels", "good"])
        == 2
    )
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "give --label-names too" in said
