"""The command line: `minisift fit`, `predict`, ..., the words and arguments of the functions.

A command is a file with a function of its name. The function's parameters are the arguments; what they do is
told in its docstring, or below the fields where a dataclass holds them. Of the files only that of the command that
runs is imported, so that text is labelled soon.
"""

from __future__ import annotations

import importlib
import io
import logging
import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError, Group

import minisift

COMMANDS = {
    "Make a labeler": ("check", "prompt", "fit", "plan", "inspect"),
    "Use it": ("predict", "evaluate", "show", "export"),
    "This machine": ("doctor",),
}
"""The commands, in the groups that `minisift --help` shows."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status. Errors are one line on stderr, status 2."""
    logging.basicConfig(level=logging.ERROR, format="%(message)s", stream=sys.stderr)
    logging.getLogger("minisift").setLevel(logging.INFO)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # lone surrogates, which UTF-8 has no bytes for, become JSON's escapes
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        words = sys.argv[1:] if arguments is None else arguments
        status = app(*words[:1])(
            words, exit_on_error=False, print_error=False, result_action="return_value"
        )
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except CycloptsError as error:
        line = " ".join(["minisift", *(error.command_chain or ()), "--help"])
        print(f"minisift: {_message(error, f'see {line}')}", file=sys.stderr)
        return 2
    except (ValueError, TypeError, OSError, ImportError, MemoryError, RuntimeError) as error:
        print(f"minisift: {_message(error)}", file=sys.stderr)
        return 2
    return int(status or 0)


def app(command: str = "") -> App:
    """The command line: the command that is named, or all where it is none of them."""
    found = App(
        name="minisift",
        help="Label spans in text with a small language model.",
        version=minisift.__version__,
        suppress_keyboard_interrupt=False,
    )
    known = [name for names in COMMANDS.values() for name in names]
    for title, names in COMMANDS.items():
        group = Group.create_ordered(title)
        for place, name in enumerate(names):
            if command == name or command not in known:
                function = getattr(importlib.import_module(f"minisift.cli.{name}"), name)
                found.command(function, group=group, sort_key=place)
    found.register_install_completion_command()
    options = Group.create_ordered("Options")
    for word in ("--help", "--version", "--install-completion"):
        found[word].group = options
    return found


def _message(error: BaseException, fix: str = "") -> str:
    """What an error says, on one line, with what to do."""
    text = " ".join(map(str.strip, str(error).splitlines()))
    if isinstance(error, OSError) and error.errno is not None:
        fix = "look at this path, who may write there, and the room on the disk"
    if not fix or "; fix: " in text:
        return text
    return f"{text if text.endswith('...') else text.removesuffix('.')}; fix: {fix}"
