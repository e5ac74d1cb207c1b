"""The command `hf-bat`.

A subcommand is a module of `hf_bat.commands` with `HELP`, `EPILOG`, `add_arguments(parser)` and
`run(args) -> int`. It is imported when it is asked for, and it imports what is heavy inside `run`,
so that `hf-bat --help` is there at once.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from importlib import import_module

from hf_bat.attack.ranks import leave
from hf_bat.console import paint, plain_logs, silence
from hf_bat.errors import HfBatError
from hf_bat.version import __version__

# Name -> (module, the line that `hf-bat --help` shows), in the order shown.
COMMANDS: dict[str, tuple[str, str]] = {
    "demo": (
        "hf_bat.commands.demo",
        "train a small encoder with and without balanced training and compare",
    ),
    "lexicon": (
        "hf_bat.commands.lexicon",
        "build, convert and look at the tables of synonyms and antonyms",
    ),
    "perturb": (
        "hf_bat.commands.perturb",
        "show rows with the versions that training would draw",
    ),
    "attack": (
        "hf_bat.commands.attack",
        "attack a classifier: which edits change its prediction, which fail to",
    ),
    "certify": (
        "hf_bat.commands.certify",
        "certify a smoothed classifier: rows that no synonym substitution flips",
    ),
    "contrast": (
        "hf_bat.commands.contrast",
        "score a classifier on rows that people edited",
    ),
    "compare": (
        "hf_bat.commands.compare",
        "pair two models' attack rows: difference, interval, McNemar's test",
    ),
    "sweep": (
        "hf_bat.commands.sweep",
        "train over a grid of arguments and draw the fickle/obstinate frontier",
    ),
    "report": (
        "hf_bat.commands.report",
        "turn an output folder into one HTML page",
    ),
}

_EPILOG = """\
examples:
  hf-bat demo
  hf-bat perturb --task snli --data dev.jsonl.gz --n 10
"""
_INTERRUPTED = 130  # 128 + SIGINT, as shells report it
_PIPE_CLOSED = 141  # 128 + SIGPIPE


class _Parser(argparse.ArgumentParser):
    """Errors in the one form that all of hf-bat's errors have."""

    def error(self, message: str) -> None:  # type: ignore[override]
        self.exit(2, f"{self.prog}: error: {message} (see `{self.prog} --help`)\n")


class _ListAction(argparse.Action):
    """`--list`: prints and exits, as `--version` does."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from hf_bat.attack import ALIASES, RECIPES
        from hf_bat.methods import METHODS
        from hf_bat.tasks import TASKS

        for name, method in METHODS.items():
            weights = ", ".join(f"{weight} {value}" for weight, value in method.weights.items())
            print(f"method  {name:<11} {weights}".rstrip())
        short = {recipe: name for name, recipe in ALIASES.items()}
        for recipe in RECIPES:
            print(f"attack  {short.get(recipe, recipe):<11} recipe {recipe}")
        for name, task in TASKS.items():
            labels = ", ".join(task.label_names)
            print(f"task    {name:<11} {' + '.join(task.columns)} -> {labels}")
        parser.exit(0)


def build_parser(chosen: str | None = None) -> argparse.ArgumentParser:
    """The parser of the whole command line.

    Args:
        chosen: the subcommand whose arguments are needed; only its module is imported.

    Returns:
        A parser whose result has `run`, the chosen subcommand's function.
    """
    raw = argparse.RawDescriptionHelpFormatter
    parser = _Parser(
        prog="hf-bat",
        description="Balanced Adversarial Training for transformers.",
        epilog=_EPILOG,
        formatter_class=raw,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"hf-bat {__version__}")
    parser.add_argument(
        "--list", action=_ListAction, nargs=0, help="list methods, attacks and tasks"
    )
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for name, (module_name, summary) in COMMANDS.items():
        if name != chosen:
            subparsers.add_parser(name, help=summary)
            continue
        module = import_module(module_name)
        subparser = subparsers.add_parser(
            name,
            help=summary,
            description=module.HELP,
            epilog=module.EPILOG,
            formatter_class=raw,
            allow_abbrev=False,
        )
        module.add_arguments(subparser)
        _add_quiet(subparser)
        subparser.set_defaults(run=module.run)
    return parser


def _add_quiet(parser: argparse.ArgumentParser) -> None:
    """`--quiet` for a command, and for its actions where it has some."""
    parser.add_argument(
        "--quiet",
        action="store_true",
        default=argparse.SUPPRESS,  # an action must not undo what stands before it
        help="show nothing but errors; files are written all the same",
    )
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                _add_quiet(inner)


def _describe(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: the arguments after the program's name; those of the process where None.

    Returns:
        The exit status: 0 done, 2 bad input (one line on stderr says which), 130 interrupted.

    Example:
        >>> main(["--version"])
        Traceback (most recent call last):
        SystemExit: 0
    """
    if argv is None:
        plain_logs()
        if not sys.stderr.isatty():
            # The libraries' own bars, too, are for terminals; they read this when they are imported.
            for library in ("HF_HUB", "HF_DATASETS"):
                os.environ.setdefault(f"{library}_DISABLE_PROGRESS_BARS", "1")
    arguments = list(sys.argv[1:] if argv is None else argv)
    chosen = next((word for word in arguments if not word.startswith("-")), None)
    parser = build_parser(chosen)
    try:
        args = parser.parse_args(arguments)  # prints, too: --list, --help
        if args.command is None:
            parser.print_help()
            return 0
        quiet = getattr(args, "quiet", False)
        if quiet and argv is None:
            # What torch warns of outside Python; no command has imported it yet.
            os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
        with silence() if quiet else nullcontext():
            status = int(args.run(args))
        sys.stdout.flush()  # here, where a closed pipe can still be caught
        if argv is None:
            leave()
        return status
    except KeyboardInterrupt:
        print("hf-bat: interrupted", file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader has gone (`| head`): let the interpreter flush what is left into nothing.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _PIPE_CLOSED
    except (HfBatError, OSError) as error:
        print(f"hf-bat: {paint('error:', 'bad', sys.stderr)} {_describe(error)}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
