"""`minisift predict`: label the texts of the command line, of a file or of a pipe."""

from __future__ import annotations

import contextlib
import itertools
import json as jsonlib
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, TextIO

from cyclopts import Parameter

from minisift.cli import flags
from minisift.cli.reading import load, tell
from minisift.data.examples import Span
from minisift.data.inputs import Input, InputFormat, read_inputs
from minisift.decoding.labelling import OnLong
from minisift.files import whole


@dataclass(frozen=True)
class Source:
    """The arguments of `read_inputs` as flags; their defaults are its own."""

    input: flags.PathOrDash | None = None
    """File to label; - is stdin, the default."""
    input_format: InputFormat | None = None
    """A text a line; JSON Lines; a JSON array or object; CSV (or .tsv) with a header row; Parquet. By the
    file's ending if not given, else lines."""
    text_field: str | None = None
    """Field or column that holds the text, "text" by default; data.text is one inside of another."""
    encoding: str | None = None
    """Of the file; utf-8 by default."""


def predict(
    labeler: flags.Labeler,
    /,
    *text: str,
    output: flags.PathOrDash = "-",
    threshold: flags.Threshold = 0.0,
    prefer: flags.Prefer = "balance",
    on_long: OnLong = "window",
    threads: int | None = None,
    sequences: int | None = None,
    json: flags.Json = False,
    source: Annotated[Source | None, Parameter(name="*", group="Input")] = None,
) -> None:
    """Label text.

    Example: `minisift predict ner.gguf "Angela Merkel visited Paris."`

    Example: `minisift predict ner.gguf --input texts.csv --output labels.jsonl`

    Parameters
    ----------
    text
        Texts; without any, --input is read.
    output
        JSONL file to write; - is stdout.
    threshold
        Score that a span needs: a number, or by label as in '{"PER": 0.8}'.
    on_long
        Texts longer than those of the training: label in windows, or in one piece ("error" where that is too long).
    threads
        Of a GGUF file; one a core by default.
    sequences
        Texts of a GGUF file that run at once.
    """
    items = _inputs(text, source or Source())
    to_stdout = output == "-"
    readable = not json and to_stdout and (bool(text) or sys.stdout.isatty())
    with contextlib.ExitStack() as stack:
        file = sys.stdout if to_stdout else stack.enter_context(_output(output))
        loaded = load(labeler, threads=threads, sequences=sequences)
        started = time.monotonic()
        items, shown = itertools.tee(items)
        texts = (item.text for item in items)
        answers = loaded.stream(texts, threshold=threshold, prefer=prefer, on_long=on_long)
        count = replaced = 0
        for item, spans in zip(shown, answers, strict=False):
            if readable:
                _show(file, item, spans, loaded.labels)
            else:
                print(_record(item, spans), file=file, flush=True)
            count += 1
            replaced += "spans" in item.record
    print(f"{count} texts in {time.monotonic() - started:.1f} s", file=sys.stderr)
    if replaced:
        print(f"{replaced} records had spans, which are replaced", file=sys.stderr)
    tell(answers.counts)


def _inputs(texts: Sequence[str], source: Source) -> Iterator[Input]:
    """The texts to label. A file with a wrong name, format or first record raises an error at once."""
    options = {name: value for name, value in asdict(source).items() if value is not None}
    if texts:
        if options:
            names = ", ".join(map(flags.flag, options))
            raise ValueError(f"texts and {names}; fix: give the texts, or a file of them")
        return (Input(text, {"text": text}) for text in texts)
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


def _show(file: TextIO, item: Input, spans: Sequence[Span], labels: Sequence[str]) -> None:
    """Print a text with its spans in colour, and a line for each."""
    # what draws takes long to load
    from minisift.cli.showing import coloured, show

    text = item.text if isinstance(item.text, str) else item.text.text
    rows = [
        f"  {f'{span.start}-{span.end}':>9}  {span.label:12}  {span.score:.2f}  {span.text}"
        for span in spans
    ]
    show(file, coloured(text, spans, labels), *rows)


def _record(item: Input, spans: Sequence[Span]) -> str:
    # a Parquet file may hold dates and the like, which become strings
    return jsonlib.dumps(item.with_spans(spans), ensure_ascii=False, default=str)
