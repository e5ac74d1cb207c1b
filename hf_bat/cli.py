"""The command `hf-bat`.

Each subcommand is a module of `hf_bat.commands` with `HELP`, `EPILOG`, `add_arguments(parser)` and
`run(args) -> int`. Only the module of the chosen subcommand is imported, and it imports heavy libraries
inside `run`, which keeps `hf-bat --help` fast.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import traceback
from collections.abc import Sequence
from contextlib import nullcontext
from importlib import import_module
from typing import Any

from hf_bat.attack.ranks import leave
from hf_bat.commands.options import add_shared
from hf_bat.console import (
    apply_style,
    escape_output,
    get_interrupt_status,
    hide_output,
    interrupt_on_sigterm,
    strip_log_escapes,
)
from hf_bat.errors import HfBatError, describe_failure, find_wrong_option, suggest
from hf_bat.version import __version__

# Module of `hf_bat.commands` -> its line in `hf-bat --help`, in this order.
COMMANDS = {
    "demo": "train a small encoder with and without balanced training and compare",
    "lexicon": "build, convert, describe and upload tables of synonyms and antonyms",
    "train": "fine-tune and evaluate a classifier with balanced training",
    "perturb": "show rows with the versions that training would draw",
    "suite": "write a suite of labeled edits of your rows",
    "augment": "write your rows with edited copies, as a data set with a card",
    "attack": "attack a classifier: which edits change its prediction, which fail to",
    "certify": "certify a smoothed classifier: rows that no synonym substitution flips",
    "contrast": "score a classifier on rows that people edited",
    "compare": "pair two models' attack rows: difference, interval, McNemar's test",
    "sweep": "train over a grid of arguments and draw the fickle/obstinate frontier",
    "report": "turn an output folder into one HTML page",
}

_EPILOG = """\
examples:
  hf-bat demo
  hf-bat train --model_name_or_path bert-base-uncased --task snli --method triplet --output_dir out
  hf-bat perturb --task snli --data dev.jsonl.gz --n 10
"""
_PIPE_CLOSED = 141  # 128 + SIGPIPE


class _Parser(argparse.ArgumentParser):
    """Parser that reports errors in one line, like all errors of hf-bat."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        words = sys.argv[1:] if args is None else list(args)
        # Checked first. Otherwise a misspelled required option would be reported as missing.
        if not self._subparsers:
            wrong = find_wrong_option(words, self._option_string_actions, abbreviate=False)
            if wrong is not None:
                self.error(wrong)
        return super().parse_known_args(words, namespace)

    def error(self, message: str) -> None:  # type: ignore[override]
        choice = re.search(r"invalid choice: '(.*)' \(choose from (.*)\)", message)
        if choice:
            hint = suggest(choice[1], re.findall(r"[\w-]+", choice[2]))
            message = message.replace("(choose", f"{hint[1:]} (choose") if hint else message
        self.exit(2, f"{self.prog}: error: {message} (see `{self.prog} --help`)\n")


class _ListAction(argparse.Action):
    """Prints the methods, attacks and tasks and exits, like `--version`."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        # Only `--list` needs these imports, and importing the attacks takes a second.
        from hf_bat.attack.recipes import RECIPES, shorten_name
        from hf_bat.methods import METHODS
        from hf_bat.tasks import TASKS

        lines = []
        for name, method in METHODS.items():
            weights = ", ".join(f"{weight} {value}" for weight, value in method.weights.items())
            lines.append(("method", name, weights))
        lines += [("attack", shorten_name(recipe), f"recipe {recipe}") for recipe in RECIPES]
        for name, task in TASKS.items():
            labels = ", ".join(task.label_names)
            lines.append(("task", name, f"{' + '.join(task.columns)} -> {labels}"))
        width = max(len(name) for _, name, _ in lines)
        for kind, name, about in lines:
            print(f"{kind:<7} {name:<{width}} {about}".rstrip())
        parser.exit(0)


class _CompletionAction(argparse.Action):
    """Prints a shell completion script for commands and options, and exits."""

    def __call__(self, parser: argparse.ArgumentParser, _: Any, shell: Any, *__: Any) -> None:
        import shtab

        print(shtab.complete(build_parser(*COMMANDS), shell))
        parser.exit(0)


def build_parser(*chosen: str | None) -> argparse.ArgumentParser:
    """Build the command-line parser with only the options of the chosen subcommands.

    The parsed arguments have the function of the subcommand as `run`.
    """
    raw = argparse.RawDescriptionHelpFormatter
    parser = _Parser(
        prog="hf-bat",
        description="Balanced Adversarial Training for transformers.",
        epilog=_EPILOG,
        formatter_class=raw,
        # An abbreviation could change its meaning when an option is added.
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"hf-bat {__version__}")
    parser.add_argument(
        "--list", action=_ListAction, nargs=0, help="list methods, attacks and tasks"
    )
    parser.add_argument(
        "--completion",
        action=_CompletionAction,
        choices=("bash", "zsh", "tcsh"),
        help="print a completion script for commands and options in this shell",
    )
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for name, summary in COMMANDS.items():
        if name not in chosen:
            # The name is enough for the list of commands and for errors.
            subparsers.add_parser(name, help=summary)
            continue
        module = import_module(f"hf_bat.commands.{name}")
        subparser = subparsers.add_parser(
            name,
            help=summary,
            description=module.HELP,
            epilog=module.EPILOG,
            formatter_class=raw,
            allow_abbrev=False,
            parents=getattr(module, "list_parents", list)(),
            conflict_handler="resolve",  # every command has the same --quiet
        )
        module.add_arguments(subparser)
        add_shared(subparser, "--quiet")
        subparser.set_defaults(run=module.run)
    return parser


def _expand(chosen: str | None, arguments: list[str]) -> list[str]:
    """Replace a configuration file in the arguments of the chosen command with its flags."""
    module = sys.modules.get(f"hf_bat.commands.{chosen}")
    if chosen is None or not hasattr(module, "expand_arguments"):
        return arguments
    start = arguments.index(chosen) + 1
    return [*arguments[:start], *module.expand_arguments(arguments[start:])]  # type: ignore[union-attr]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line with `argv` (by default `sys.argv[1:]`), and return the exit status.

    The status is 0 for success, 1 if a condition of `hf-bat attack --fail-if` is met, 2 for bad input (with a
    one-line message on stderr) and other errors, 130 if interrupted, and 143 if interrupted by SIGTERM. If
    `argv` is given, errors other than bad input are raised.
    """
    # Applied to all output, because commands print texts, labels and names from other sources.
    with escape_output():
        return _run_command(argv)


def _run_command(argv: Sequence[str] | None) -> int:
    if argv is None:
        strip_log_escapes()
        if not sys.stderr.isatty():
            # Hugging Face libraries read these variables on import. Their bars should also only go to
            # terminals.
            for library in ("HF_HUB", "HF_DATASETS"):
                os.environ.setdefault(f"{library}_DISABLE_PROGRESS_BARS", "1")
    arguments = list(sys.argv[1:] if argv is None else argv)
    # Find the first word that is a command, because `--completion` takes a value.
    chosen = next((word for word in arguments if word in COMMANDS), None)
    if argv is None and "--quiet" in arguments:
        # torch reads this on import. Its C++ code prints warnings that Python cannot catch.
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    parser = build_parser(chosen)
    args = argparse.Namespace()
    try:
        arguments = _expand(chosen, arguments)
        args = parser.parse_args(arguments)
        if args.command is None:
            parser.print_help()
            return 0
        with interrupt_on_sigterm(), hide_output() if "quiet" in args else nullcontext():
            status = int(args.run(args))
        sys.stdout.flush()  # raises BrokenPipeError here rather than when Python exits
        if argv is None:
            # Only if we own the process, because a Python caller may still use its process group.
            leave()
        return status
    except KeyboardInterrupt as interruption:
        hint = getattr(sys.modules.get(f"hf_bat.commands.{chosen}"), "hint_resume", None)
        told = f"; {hint(args)}" if hint and "run" in args else ""
        print(f"hf-bat: interrupted{told}", file=sys.stderr)
        return get_interrupt_status(interruption)
    except BrokenPipeError:
        # The reader has ended (`| head`), so discard the output that Python flushes on exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _PIPE_CLOSED
    except (HfBatError, OSError) as error:
        label = apply_style("error:", "bad", sys.stderr)
        print(f"hf-bat: {label} {describe_failure(error)}", file=sys.stderr)
        return 2
    except Exception:
        # Other errors are bugs, of this package or of a user's model, and keep their traceback. Python would
        # exit with status 1, which means that a condition of `--fail-if` is met.
        if argv is not None:
            raise
        traceback.print_exc()
        return 2


if __name__ == "__main__":
    sys.exit(main())
