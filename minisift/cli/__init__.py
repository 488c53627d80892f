"""The command line: `minisift fit | plan | prompt | predict | evaluate | export`, the words of the functions.

A command is a module with `add(commands)`, which declares its flags, and `run(given)`, which does it.
"""

from __future__ import annotations

import argparse
import io
import logging
import sys
from collections.abc import Sequence
from typing import NoReturn

import minisift
from minisift.cli import evaluate, export, fit, plan, predict, prompt


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status. Errors are one line on stderr, status 2."""
    logging.basicConfig(level=logging.ERROR, format="%(message)s", stream=sys.stderr)
    logging.getLogger("minisift").setLevel(logging.INFO)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # lone surrogates, which UTF-8 has no bytes for, become JSON's escapes
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        given = parser().parse_args(arguments)
        given.run(given)
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except (ValueError, TypeError, OSError, ImportError, MemoryError, RuntimeError) as error:
        print(f"minisift: {_message(error)}", file=sys.stderr)
        return 2
    return 0


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line; the namespace it gives has the command to run as `run`."""
    parser = _Parser(
        prog="minisift", description="Label spans in text with a small language model."
    )
    parser.add_argument("--version", action="version", version=minisift.__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (fit, plan, prompt, predict, evaluate, export):
        command.add(commands)
    for each in commands.choices.values():
        each.add_argument(
            "--json", action="store_true", default=False, help="print JSON for machines"
        )
    return parser


class _Parser(argparse.ArgumentParser):
    """Raises ValueError for a wrong line, which `main` reports as it does any other error."""

    def error(self, message: str) -> NoReturn:
        fix = "" if "; fix: " in message else f"; fix: see {self.prog} --help"
        raise ValueError(message + fix)


def _message(error: BaseException) -> str:
    """What an error says, on one line; for an error of the operating system also what to do."""
    text = " ".join(map(str.strip, str(error).splitlines()))
    if isinstance(error, OSError) and error.errno is not None and "; fix: " not in text:
        text += "; fix: look at this path, who may write there, and the room on the disk"
    return text
