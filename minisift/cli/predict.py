"""`minisift predict`: label the texts of the command line, of a file or of a pipe."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import sys
import time
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from minisift.cli import flags
from minisift.cli.reading import load, tell
from minisift.data.examples import Span
from minisift.data.inputs import FORMATS, Input, read_inputs
from minisift.decoding.labelling import OnLong
from minisift.files import whole


def add(commands: Any) -> None:
    parser = commands.add_parser("predict", help="label text")
    parser.set_defaults(run=run)
    parser.add_argument("labeler", help="GGUF file or adapter folder")
    parser.add_argument("text", nargs="*", help="texts; without any, --input is read")
    _add_input(parser)
    parser.add_argument("--output", default="-", help="JSONL file to write; - is stdout")
    parser.add_argument(
        "--threshold",
        type=flags.threshold,
        default=0.0,
        help='score that a span needs: a number, or by label as in {"PER": 0.8}',
    )
    flags.add_prefer(parser)
    parser.add_argument(
        "--on-long",
        choices=typing.get_args(OnLong),
        default="window",
        help="texts longer than those of the training: label in windows, or in one piece",
    )
    parser.add_argument("--threads", type=int, help="of a GGUF file; one a core by default")
    parser.add_argument("--sequences", type=int, help="texts of a GGUF file that run at once")


def _add_input(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `read_inputs` as flags; their defaults are its own."""
    absent: Any = argparse.SUPPRESS
    group = parser.add_argument_group("input")
    group.add_argument("--input", default=absent, help="file to label; - is stdin, the default")
    group.add_argument(
        "--input-format",
        choices=FORMATS,
        default=absent,
        help="a text a line; JSON Lines; a JSON array or object; CSV (or .tsv) with a header row; "
        "Parquet. By the file's ending if not given, else lines",
    )
    group.add_argument(
        "--text-field",
        default=absent,
        help="field or column that holds the text, 'text' by default; data.text is one inside of another",
    )
    group.add_argument("--encoding", default=absent, help="of the file; utf-8 by default")


def run(given: argparse.Namespace) -> None:
    items = _inputs(given)
    to_stdout = given.output == "-"
    readable = not given.json and to_stdout and (bool(given.text) or sys.stdout.isatty())
    with contextlib.ExitStack() as stack:
        output = sys.stdout if to_stdout else stack.enter_context(_output(given.output))
        labeler = load(given.labeler, threads=given.threads, sequences=given.sequences)
        started = time.monotonic()
        items, shown = itertools.tee(items)
        texts = (item.text for item in items)
        answers = labeler.stream(
            texts, threshold=given.threshold, prefer=given.prefer, on_long=given.on_long
        )
        count = replaced = 0
        for item, spans in zip(shown, answers, strict=False):
            print((_readable if readable else _record)(item, spans), file=output, flush=True)
            count += 1
            replaced += "spans" in item.record
    print(f"{count} texts in {time.monotonic() - started:.1f} s", file=sys.stderr)
    if replaced:
        print(f"{replaced} records had spans, which are replaced", file=sys.stderr)
    tell(answers.counts)


def _inputs(given: argparse.Namespace) -> Iterator[Input]:
    """The texts to label. A file with a wrong name, format or first record raises an error at once."""
    options = flags.options(given, ("input", "input_format", "text_field", "encoding"))
    if given.text:
        if options:
            names = ", ".join(map(flags.flag, options))
            raise ValueError(f"texts and {names}; fix: give the texts, or a file of them")
        return (Input(text, {"text": text}) for text in given.text)
    path, format = options.pop("input", "-"), options.pop("input_format", None)
    items = read_inputs(path, format=format, **options)
    return items if path == "-" else itertools.chain(list(itertools.islice(items, 1)), items)


@contextlib.contextmanager
def _output(path: str) -> Iterator[TextIO]:
    """A file to write, which appears whole at the end, or a pipe or device.

    Raises OSError at once if it cannot be written.
    """
    if Path(path).is_dir():
        raise IsADirectoryError(f"{path}: a folder; fix: give a file as --output")
    is_special = Path(path).exists() and not Path(path).is_file()
    with contextlib.ExitStack() as stack:
        try:
            place = Path(path) if is_special else stack.enter_context(whole(path))
            file = place.open("w", encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise OSError(
                f"{path}: cannot be written ({error.strerror}); fix: give another --output"
            ) from None
        yield stack.enter_context(file)


def _readable(item: Input, spans: Sequence[Span]) -> str:
    rows = [
        f"  {f'{span.start}-{span.end}':>9}  {span.label:12}  {span.score:.2f}  {span.text}"
        for span in spans
    ]
    return "\n".join([item.text if isinstance(item.text, str) else item.text.text, *rows])


def _record(item: Input, spans: Sequence[Span]) -> str:
    # a Parquet file may hold dates and the like, which become strings
    return json.dumps(item.with_spans(spans), ensure_ascii=False, default=str)
