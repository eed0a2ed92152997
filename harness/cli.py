"""``points24``: find the installed commands, run one and return its exit status.

Commands register under the entry-point group ``points24.commands`` (see pyproject.toml), so packages above
`harness` can add their own.

Exit status: 0 done, 1 some of the work failed, 2 bad input, 3 integrity, 130 interrupted, 143 terminated.
Data goes to standard output; progress and messages go to standard error.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points, version

from points24.harness.executors.ending import Terminated, terminable
from points24.harness.files import disk_error
from points24.tasks.errors import InputError

COMMAND_GROUP = "points24.commands"


@dataclass(frozen=True)
class Command:
    """One subcommand. Its module imports slow packages inside `run`."""

    help: str
    """One line, for the list of commands."""
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]
    """Returns the exit status; raises `InputError` for bad input."""
    goes_on: bool = False
    """Whether the same command goes on where an interrupted one has stopped."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    goes_on = False
    if isinstance(sys.stdout, io.TextIOWrapper):  # a locale of ASCII alone: what it lacks becomes \u2026
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        with terminable():
            args = _arguments(argv)
            goes_on = args.command.goes_on
            status = args.command.run(args)
            sys.stdout.flush()
            return status
    except InputError as e:
        print(f"points24: error: {e}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as e:
        end, status = ("terminated", 143) if isinstance(e, Terminated) else ("interrupted", 130)
        then = "; the same command goes on from here" if goes_on else ""
        print(f"points24: {end}{then}", file=sys.stderr)
        return status
    except BrokenPipeError:
        # The reader (`| head`) has closed the pipe, which is no error. Python would report it again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as e:
        if (why := disk_error(e)) is None:
            raise
        print(f"points24: error: {why}", file=sys.stderr)
        return 2


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = _parser()
    args, rest = parser.parse_known_args(argv)
    # argparse accepts positional arguments in one place only; key=value may also stand between options.
    if any(word.startswith("-") for word in rest) or (rest and not hasattr(args, "overrides")):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        args.overrides = [*args.overrides, *rest]
    return args


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="points24",
        description="The 24-point card game as a benchmark of generalisation after fine-tuning.",
        epilog="Scoring is lm-eval's: lm_eval --model hf --model_args pretrained=MODEL --tasks points24",
    )
    parser.add_argument("--version", action="version", version=f"points24 {version('points24')}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for entry in sorted(entry_points(group=COMMAND_GROUP), key=lambda entry: entry.name):
        command: Command = entry.load()
        subparser = subparsers.add_parser(entry.name, help=command.help, description=command.help)
        command.add_arguments(subparser)
        subparser.set_defaults(command=command)
    return parser


def runnable(command: Sequence[str]) -> list[str]:
    """The command for a subprocess, with ``points24`` and ``torchrun`` run by this Python."""
    modules = {"points24": "points24.harness.cli", "torchrun": "torch.distributed.run"}
    words: list[str] = []
    for word in command:
        words += [sys.executable, "-m", modules[word]] if word in modules else [word]
    return words


if __name__ == "__main__":  # accelerate launch -m points24.harness.cli
    sys.exit(main())
